"""`dialgate keys`: the files of a cluster from nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dialgate.cli import main
from dialgate.keys import load_directory
from tests.dialgate.sample import altered, write


@pytest.fixture
def config(tmp_path: Path) -> str:
    return str(write(tmp_path, altered(("/etc/dialgate/keys", f"{tmp_path}/keys"))))


def rights(tmp_path: Path) -> list[tuple[str, str, str, tuple[str, ...]]]:
    return sorted(
        (right.role, right.name, right.site, right.hports)
        for right in load_directory(tmp_path / "keys").rights
    )


def test_init_and_new_make_what_the_configuration_needs(config: str, tmp_path: Path) -> None:
    assert main(["keys", "init", "--config", config]) == 0
    for role, name in (("broker", "broker-1"), ("worker", "worker-1"), ("agent", "oslo-1")):
        assert main(["keys", "new", role, name, "--config", config]) == 0

    assert rights(tmp_path) == [
        ("agent", "oslo-1", "oslo", ("oslo/1", "oslo/2")),
        ("broker", "broker-1", "", ()),
        ("worker", "worker-1", "", ()),
    ]


@pytest.mark.parametrize(
    ("arguments", "right"),
    [
        (["--site", "bergen"], ("bergen", ("bergen/*",))),
        (["--hports", "a/*", "b"], ("", ("a/*", "b"))),
        (["--site", "bergen", "--hports", "b/1"], ("bergen", ("b/1",))),
        ([], ("", ("*",))),
    ],
)
def test_an_agents_key_says_where_it_is_and_what_it_may_speak_for(
    arguments: list[str], right: tuple[str, tuple[str, ...]], tmp_path: Path
) -> None:
    directory = ["--directory", f"{tmp_path}/keys"]
    main(["keys", "init", *directory])

    assert main(["keys", "new", "agent", "a", *directory, *arguments]) == 0
    assert rights(tmp_path) == [("agent", "a", *right)]


def test_a_key_without_limits_is_made_with_a_word_about_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = ["--directory", f"{tmp_path}/keys"]
    main(["keys", "init", *directory])

    main(["keys", "new", "agent", "a", *directory])

    assert capsys.readouterr().err == (
        "dialgate: agent a may speak for every port: limit it with --site, --hports\n"
    )


def test_what_is_there_is_not_made_again(
    config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["keys", "init", "--config", config])
    main(["keys", "new", "worker", "w", "--config", config])
    before = (tmp_path / "keys" / "worker-w.secret").read_text()

    assert main(["keys", "init", "--config", config]) == 0
    assert "nothing was changed" in capsys.readouterr().out
    assert main(["keys", "new", "worker", "w", "--config", config]) == 1
    assert "exists" in capsys.readouterr().err
    assert (tmp_path / "keys" / "worker-w.secret").read_text() == before


@pytest.mark.parametrize(
    "arguments", [["worker", "../w"], ["worker", ""], ["broker", "b", "--site", "oslo"]]
)
def test_what_makes_no_sense_is_wrong_usage(
    arguments: list[str], config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["keys", "init", "--config", config])

    assert main(["keys", "new", *arguments, "--config", config]) == 2
    assert capsys.readouterr().err.startswith("dialgate: ")


def test_the_list_has_public_keys_only(
    config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["keys", "init", "--config", config])
    main(["keys", "new", "agent", "oslo-1", "--config", config])
    capsys.readouterr()

    assert main(["keys", "list", "--config", config, "-o", "json"]) == 0
    out = capsys.readouterr().out
    (row,) = json.loads(out)["keys"]
    assert (row["role"], row["name"], row["site"]) == ("agent", "oslo-1", "oslo")
    assert (tmp_path / "keys" / "agent-oslo-1.secret").read_text().strip() not in out
    assert main(["keys", "list", "--config", config]) == 0
    assert capsys.readouterr().out.startswith("ROLE   NAME    SITE  HPORTS")
