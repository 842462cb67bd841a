"""`dialgate users`: what becomes of a user, and how a password is read."""

from __future__ import annotations

import asyncio
import getpass
import io
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from dialgate.cli import main
from dialgate.lockout import Limit
from dialgate.settings import load
from dialgate.state import open_state
from dialgate.tries import Place, Rules, charge
from tests.dialgate.sample import altered, write


class Input:
    """Standard input: `line` through a pipe, or a terminal."""

    def __init__(self, line: bytes, *, terminal: bool = False) -> None:
        self.buffer = io.BytesIO(line)
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal


@pytest.fixture
def config(tmp_path: Path) -> str:
    """Return a configuration whose state is empty."""
    return str(write(tmp_path, altered(("/var/lib/dialgate/state.db", f"{tmp_path}/state.db"))))


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return the function that sets what comes from standard input."""

    def come(line: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", Input(line))

    return come


def names(config: str, capsys: pytest.CaptureFixture[str]) -> list[tuple[str, bool]]:
    capsys.readouterr()
    assert main(["users", "list", "--config", config, "-o", "json"]) == 0
    users = json.loads(capsys.readouterr().out)["users"]
    return [(user["name"], user["disabled"]) for user in users]


def test_the_life_of_a_user(config: str, typed: Any, capsys: pytest.CaptureFixture[str]) -> None:
    typed(b"first secret\n")
    assert main(["users", "add", "ann", "--config", config]) == 0
    assert capsys.readouterr().out == "ann: added\n"
    assert names(config, capsys) == [("ann", False)]

    assert main(["users", "disable", "ann", "--config", config]) == 0
    assert names(config, capsys) == [("ann", True)]

    assert main(["users", "enable", "ann", "--config", config]) == 0
    typed(b"second secret\n")
    assert main(["users", "passwd", "ann", "--config", config]) == 0
    assert names(config, capsys) == [("ann", False)]

    assert main(["users", "remove", "ann", "--config", config]) == 0
    assert names(config, capsys) == []


def test_a_user_who_is_not_there_is_one_line(
    config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["users", "disable", "bob", "--config", config]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("dialgate: ")
    assert "bob" in line


def test_the_list_shows_no_hash(
    config: str, typed: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    typed(b"secret\n")
    main(["users", "add", "ann", "--config", config])

    for output in ("json", "table"):
        main(["users", "list", "--config", config, "-o", output])

    out = capsys.readouterr().out
    assert "NAME  DISABLED" in out
    assert "argon2" not in out


@pytest.mark.parametrize("line", [b"", b"\n", b"\x00\n", b"x" * 2000])
def test_an_unfit_password_is_refused_and_not_shown(
    line: bytes, config: str, typed: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    typed(line)

    assert main(["users", "add", "ann", "--config", config]) == 2
    err = capsys.readouterr().err
    assert err.startswith("dialgate: the password ")
    assert "xxx" not in err
    assert names(config, capsys) == []


def terminal(monkeypatch: pytest.MonkeyPatch, answers: Iterator[str]) -> list[str]:
    prompts: list[str] = []

    def ask(prompt: str) -> str:
        prompts.append(prompt)
        try:
            return next(answers)
        except StopIteration:
            raise EOFError from None

    monkeypatch.setattr(sys, "stdin", Input(b"", terminal=True))
    monkeypatch.setattr(getpass, "getpass", ask)
    return prompts


def test_on_a_terminal_the_password_is_asked_twice(
    config: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    prompts = terminal(monkeypatch, iter(["s3cret", "s3cret"]))

    assert main(["users", "add", "ann", "--config", config]) == 0
    assert prompts == ["Password: ", "Again: "]
    assert names(config, capsys) == [("ann", False)]


@pytest.mark.parametrize("answers", [["one", "two"], ["one"], []])
def test_a_slip_of_the_finger_changes_nothing(
    answers: list[str],
    config: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    terminal(monkeypatch, iter(answers))

    assert main(["users", "add", "ann", "--config", config]) == 2
    assert names(config, capsys) == []


def test_a_password_is_no_argument(config: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["users", "add", "ann", "s3cret", "--config", config])

    assert ended.value.code == 2


# ----------------------------------------------------------------------------- terms of a user


def user(config: str, capsys: pytest.CaptureFixture[str], name: str = "ann") -> dict[str, Any]:
    capsys.readouterr()
    assert main(["users", "list", "--config", config, "-o", "json"]) == 0
    users = json.loads(capsys.readouterr().out)["users"]
    found: dict[str, Any] = next(user for user in users if user["name"] == name)
    return found


def test_a_user_is_added_with_roles_dates_and_a_first_password(
    config: str, typed: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    typed(b"for the first time\n")
    options = ["--role", "field", "--role", "night", "--must-change"]
    dates = ["--valid-from", "2027-01-01", "--valid-until", "2027-06-30"]

    assert main(["users", "add", "ann", *options, *dates, "--config", config]) == 0

    ann = user(config, capsys)
    assert ann["roles"] == ["field", "night"]
    assert ann["valid_from"] == "2027-01-01T00:00:00+00:00"
    assert ann["valid_until"] == "2027-07-01T00:00:00+00:00"  # All of that day is his.
    assert ann["must_change"] is True


def test_what_is_set_of_a_user_leaves_the_rest(
    config: str, typed: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    typed(b"long enough\n")
    main(["users", "add", "ann", "--role", "field", "--config", config])

    moment = "2027-06-30T18:00+02:00"
    assert main(["users", "set", "ann", "--valid-until", moment, "--config", config]) == 0
    assert user(config, capsys)["valid_until"] == "2027-06-30T16:00:00+00:00"
    assert user(config, capsys)["roles"] == ["field"]

    assert main(["users", "set", "ann", "--no-role", "--must-change", "--config", config]) == 0
    assert main(["users", "set", "ann", "--valid-until", "any", "--config", config]) == 0
    ann = user(config, capsys)
    assert (ann["roles"], ann["must_change"], ann["valid_until"]) == ([], True, "")

    typed(b"another one\n")
    assert main(["users", "passwd", "ann", "--config", config]) == 0
    assert user(config, capsys)["must_change"] is False


@pytest.mark.parametrize(
    "options",
    [
        ["--valid-from", "2027-07-01", "--valid-until", "2027-06-30"],
        ["--role", "no role"],
        [part for number in range(17) for part in ("--role", f"r{number}")],
    ],
)
def test_terms_that_make_no_sense_are_refused(
    options: list[str], config: str, typed: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    typed(b"long enough\n")

    assert main(["users", "add", "ann", *options, "--config", config]) == 2
    assert names(config, capsys) == []


def test_a_date_that_is_none_is_wrong_usage(config: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["users", "set", "ann", "--valid-until", "soon", "--config", config])

    assert ended.value.code == 2


def test_an_operator_is_told_of_a_weak_password_and_may_set_it(
    config: str, typed: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    typed(b"hush\n")

    assert main(["users", "add", "ann", "--config", config]) == 0
    err = capsys.readouterr().err
    assert err == (
        "dialgate: warning: The password needs at least 8 characters; it is set all the same\n"
    )


# -------------------------------------------------------------------------------------- locks

_LIMIT: Final = Limit(tries=5, wait_s=60, wait_max_s=3600, forget_s=86_400)
RULES: Final = Rules(place=_LIMIT, user=replace(_LIMIT, tries=20), number_known_s=0)


def fail(config: str, numbers: int, times: int) -> None:
    """Have ann fail from several numbers."""

    async def work() -> None:
        state = await open_state(load(config).cluster.state)
        for number in range(numbers):
            place = Place(f"555{number}", "oslo-1", "oslo/1")
            for _ in range(times):
                await charge(state, "ann", place, RULES, int(time.time()))
        await state.dispose()

    asyncio.run(work())


def test_locks_are_listed_and_lifted(
    config: str, typed: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    typed(b"long enough\n")
    main(["users", "add", "ann", "--config", config])
    assert user(config, capsys)["locked"] == ""

    fail(config, 2, 5)
    assert user(config, capsys)["locked"] == "at 2 places"
    fail(config, 6, 5)
    assert user(config, capsys)["locked"] == "everywhere"

    assert main(["users", "unlock", "ann", "--config", config]) == 0
    assert capsys.readouterr().out == "ann: may try again\n"
    assert user(config, capsys)["locked"] == ""
    assert main(["users", "unlock", "ann", "--config", config]) == 1
