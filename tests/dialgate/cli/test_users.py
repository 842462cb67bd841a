"""`dialgate users`: what becomes of a user, and how a password is read."""

from __future__ import annotations

import getpass
import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dialgate.cli import main
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
