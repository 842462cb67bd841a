"""`dialgate policy explain`: the answer to an operator's "why can't he get in?"."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from dialgate.cli import main
from dialgate.passwords import Argon2
from dialgate.state import open_state
from dialgate.users import UserTerms, add_user
from tests.dialgate.sample import altered, write

POLICIES: Final = """
[[policies]]
name = "emergency"
users = ["glass"]
authenticators = ["local"]
break_glass = true
[[policies]]
name = "engineers"
roles = ["engineer", "admin"]
sites = ["oslo", "bergen"]
required_callers = ["+47*"]
chain = "all"
authenticators = ["corp", "local"]
services = ["console"]
role_services = { admin = ["shell"] }
[[policies]]
hours = ["07:00-18:00"]
weekdays = ["mon", "tue", "wed", "thu", "fri"]
time_zone = "Europe/Oslo"
callers = ["+47*", "5550*"]
called = ["800*"]
authenticators = ["corp", "local"]
banner = "Authorised users only."
preset = "pci"
[authenticators.corp]
kind = "local"
[services.shell]
command = ["/bin/sh"]
"""
OLD: Final = '[[policies]]\nsites = ["*"]\nports = ["*"]\nauthenticators = ["local"]\ntries = 3\n'
MONDAY: Final = ("--at", "2026-11-23T12:00+01:00")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    text = altered(
        ("/var/lib/dialgate/state.db", f"{tmp_path}/state.db"),
        (OLD, POLICIES),
        ('device = "/dev/ttyS0"', 'device = "/dev/ttyS0"\nnumber = "8001"'),
    )
    return write(tmp_path, text)


def explained(
    config: Path, capsys: pytest.CaptureFixture[str], *options: str, status: int = 0
) -> Any:
    """Return the JSON that is printed for a call at port oslo/1."""
    arguments = ("--config", str(config), "--port", "oslo/1", "-o", "json", *options)
    assert main(["policy", "explain", *arguments]) == status
    return json.loads(capsys.readouterr().out)


def test_it_says_which_policy_decides_and_which_key_of_the_others_failed(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = explained(
        config, capsys, *MONDAY, "--caller", "+4722", "--user", "ann", "--role", "guest"
    )

    assert answer["policies"] == [
        {
            "place": 0,
            "name": "emergency",
            "matches": "no",
            "why": ['users: glass, and it is "ann"'],
        },
        {
            "place": 1,
            "name": "engineers",
            "matches": "no",
            "why": ["roles: admin or engineer, and his are guest"],
        },
        {"place": 2, "name": "policies[2]", "matches": "yes", "why": []},
    ]
    assert (answer["door"], answer["decides"]) == ("policies[2]", "policies[2]")
    assert answer["gets"] == {
        "services": [""],
        "session_timeout_s": 0,
        "idle_timeout_s": 900,
        "refused_for_number": False,
        "break_glass": False,
    }


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--site", "turku"), 'sites: oslo or bergen, and it is "turku"'),
        (
            ("--at", "2026-11-23T18:00+01:00"),
            "hours: 07:00-18:00, and it is mon 18:00 in Europe/Oslo",
        ),
        (
            ("--at", "2026-11-22T12:00+01:00"),
            "weekdays: mon or tue or wed or thu or fri, and it is sun 12:00 in Europe/Oslo",
        ),
        (("--caller", "+46"), 'callers: +47* or 5550*, and it is "+46"'),
        (("--caller", ""), "callers: +47* or 5550*, and it is not given"),
        (("--called", "900"), 'called: 800*, and it is "900"'),
        (("--port", "oslo/2"), "called: 800*, and it is not given"),
    ],
)
def test_every_key_that_fails_is_named(
    config: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], reason: str
) -> None:
    call = (*MONDAY, "--caller", "+47", "--user", "glass", *options)
    answer = explained(config, capsys, *call)

    assert any(reason in policy["why"] for policy in answer["policies"])


def test_a_port_that_no_policy_is_for_lets_nobody_in(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = ("--site", "turku", "--user", "ann", "--role", "guest", "--at", "2026-11-22T12:00+00:00")
    answer = explained(config, capsys, *call, status=1)

    assert (answer["decides"], answer["gets"]) == (None, None)


def test_it_says_what_is_asked_in_order(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = explained(
        config, capsys, *MONDAY, "--caller", "+4722", "--user", "eve", "--role", "admin"
    )

    assert answer["asked"] == [
        'shown: "Authorised users only."',
        '"login: " for his name',
        "by the authenticator corp",
        "by the authenticator local",
        '"Service: " of the menu: console, shell',
    ]
    assert answer["gets"]["services"] == ["console", "shell"]
    assert answer["policies"][2]["why"] == ["comes after engineers"]


async def test_a_local_users_roles_are_looked_up(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = await open_state(f"sqlite:///{tmp_path}/state.db")
    cheap = Argon2(memory_kib=8, passes=1)
    await add_user(engine, "eve", b"xyzzy-42", cheap, UserTerms(roles=["engineer"]))
    await engine.dispose()
    call = (*MONDAY, "--caller", "+4722", "--user")

    known = await asyncio.to_thread(explained, config, capsys, *call, "eve")
    given = await asyncio.to_thread(explained, config, capsys, *call, "eve", "--role", "guest")
    unknown = await asyncio.to_thread(explained, config, capsys, *call, "bob")

    assert [answer["policies"][1]["matches"] for answer in (known, given, unknown)] == [
        "yes",
        "no",
        "open",
    ]


def test_without_a_state_none_is_made(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    explained(config, capsys, *MONDAY, "--caller", "+47", "--user", "eve")

    assert list(tmp_path.iterdir()) == [config]


def test_at_the_door_users_and_roles_are_open(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = explained(config, capsys, *MONDAY, "--caller", "+4722")

    assert [policy["matches"] for policy in answer["policies"]] == ["open", "open", "yes"]
    assert answer["door"] == "policies[2]"


def test_for_people_it_is_a_table_and_sentences(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = (*MONDAY, "--user", "ann", "--role", "admin", "--caller", "1")
    arguments = ("--config", str(config), "--port", "oslo/1", *options)
    assert main(["policy", "explain", *arguments]) == 0
    text = capsys.readouterr().out

    assert "site oslo, port oslo/1, from 1, user ann, roles admin\n" in text
    assert "1      engineers    yes      -\n" in text
    assert "Decides:      engineers\n" in text
    assert "Gets:         nothing: he must call from one of required_callers\n" in text


@pytest.fixture
def in_oslo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Set this machine's clock to Oslo's time."""
    monkeypatch.setenv("TZ", "Europe/Oslo")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("in_oslo")
def test_an_hour_that_is_left_out_is_no_time_of_this_machine(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["policy", "explain", "--config", str(config), "--port", "oslo/1", "--at"]

    with pytest.raises(SystemExit):
        main([*arguments, "2027-03-28T02:30"])
    assert "does not come here, as the clocks go forward" in capsys.readouterr().err

    for there in ("2027-03-28T01:30", "2027-03-28T03:30", "2027-10-31T02:30"):
        main([*arguments, there])
        day = there.replace("T", " ")
        assert f" {day} " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--role", "admin"), "roles are a user's: name him with --user"),
        (("--at", "noon"), "'noon' is no time: write 2026-11-22T21:40"),
    ],
)
def test_what_does_not_go_together_is_wrong_usage(
    config: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], says: str
) -> None:
    arguments = ["policy", "explain", "--config", str(config), "--port", "oslo/1", *options]
    try:
        status: object = main(arguments)
    except SystemExit as ended:
        status = ended.code

    assert status == 2
    assert says in capsys.readouterr().err
