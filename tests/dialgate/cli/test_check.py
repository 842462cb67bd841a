"""`dialgate check` prints every fault and warning."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dialgate.cli import main
from tests.dialgate.sample import SAMPLE, altered, write


def broker_only(tmp_path: Path, *changes: tuple[str, str]) -> Path:
    start, end = SAMPLE.index("[worker]"), SAMPLE.index("[services.console]")
    return write(tmp_path, altered(*changes, text=SAMPLE[:start] + SAMPLE[end:]))


def test_a_good_file_is_said_to_be_good(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = broker_only(tmp_path)

    assert main(["check", str(file)]) == 0
    assert capsys.readouterr().out == f"{file}: no fault\n"


def test_a_warning_is_marked_and_stops_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = broker_only(tmp_path, ('http = "127.0.0.1:7780"', 'http = "0.0.0.0:7780"'))

    assert main(["check", str(file)]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith(f'{file}:9: broker.http: warning: "0.0.0.0:7780" is not a loopback')
    assert second == f"{file}: no fault"


def test_all_faults_are_printed_and_the_status_is_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = broker_only(tmp_path, ("insecure = true", "insecure = 7"), ("tries = 3", "tires = 3"))

    assert main(["check", str(file)]) == 1
    assert capsys.readouterr().out.splitlines() == [
        f"{file}:10: broker.insecure: is 7: write true or false",
        f"{file}:17: policies[0].tires: is no key that is known here: did you mean tries?",
    ]


def test_faults_of_this_machine_are_found_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(tmp_path, altered(("/dev/ttyS0", str(tmp_path)), ("/dev/ttyS1", os.devnull)))

    assert main(["check", str(file)]) == 1
    keys = [line.split(": ")[1] for line in capsys.readouterr().out.splitlines()]
    assert {"agent.ports[0].device", "agent.ports[1].device"} <= set(keys)
