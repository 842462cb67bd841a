"""The command line as a whole: help, wrong words, and what each costs."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from dialgate.cli import COMMANDS, main

HEAVY = ("aiohttp", "sqlalchemy", "zmq", "msgspec", "structlog", "prometheus_client", "rich")


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])

    out = capsys.readouterr().out
    assert ended.value.code == 0
    assert [name for name in COMMANDS if f"\n  {name} " not in out] == []


def test_help_imports_nothing_that_is_slow() -> None:
    script = (
        "import contextlib, sys; from dialgate.cli import main\n"
        "with contextlib.suppress(SystemExit): main(['--help'])\n"
        "print([name for name in sys.argv[1:] if name in sys.modules])"
    )

    done = subprocess.run(
        [sys.executable, "-c", script, *HEAVY], capture_output=True, text=True, check=True
    )

    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    "command", ["check", "users", "keys", "status", "ports", "calls", "port", "node"]
)
def test_every_command_has_a_manual(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])

    out = capsys.readouterr().out
    assert ended.value.code == 0
    assert [part for part in ("examples:", "exit status:") if part not in out] == []


@pytest.mark.parametrize("command", ["check", "node", "users", "keys"])
def test_a_manuals_text_is_filled_paragraphs(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([command, "--help"])

    description, *_ = re.split("(?m)^(positional arguments|options):$", capsys.readouterr().out)
    paragraphs = description.split("\n\n")[1:]
    assert [text for text in paragraphs if "  " in text] == []


@pytest.mark.parametrize("arguments", [[], ["chek"], ["--nonsense"]])
def test_wrong_usage_is_said_and_has_a_status_of_its_own(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)

    assert ended.value.code == 2
    assert "dialgate: error: " in capsys.readouterr().err


def test_the_version_is_the_distributions(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("dialgate 0.")


def test_a_reader_who_has_seen_enough_is_no_error() -> None:
    command = f"{sys.executable} -m dialgate check --help | head -n 1"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)

    assert done.stderr == ""
