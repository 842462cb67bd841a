"""Programs are found by name among the installed ones."""

from __future__ import annotations

from importlib.metadata import EntryPoint, EntryPoints

import pytest

from dialgate.cli import main, programs

calls: list[list[str]] = []


def program(argv: list[str]) -> int:
    calls.append(list(argv))
    return 7


def test_a_program_gets_its_arguments_and_gives_the_exit_status(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def entry_points(*, group: str, name: str) -> EntryPoints:
        assert (group, name) == ("dialgate.programs", "demo")
        return EntryPoints([EntryPoint(name, f"{__name__}:program", group)])

    monkeypatch.setattr(programs, "entry_points", entry_points)
    monkeypatch.setattr(EntryPoint, "load", lambda _: program)

    assert main(["demo", "--ports", "8", "--", "-x"]) == 7
    assert calls == [["--ports", "8", "--", "-x"]]


def test_a_program_that_is_not_installed_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(programs, "entry_points", lambda **_: EntryPoints())

    assert main(["broker"]) == 1
    assert capsys.readouterr().err == (
        "dialgate: the program 'broker' is not installed: install dialgate again\n"
    )
