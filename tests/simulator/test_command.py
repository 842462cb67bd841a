"""`dialgate simulate`: its words, its answer, its exit status."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dialgate.cli import main
from port_agents.line import Line

SMALL = ["--duration", "60", "--ports", "4"]


def test_a_run_that_holds_prints_its_sums(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    report = tmp_path / "report.json"

    status = main(["simulate", "--seeds", "2", *SMALL, "--report", str(report)])

    assert status == 0
    assert "seeds      2, of which broke a rule: 0" in capsys.readouterr().out
    said = json.loads(report.read_text())
    assert said["seeds"] == 2
    assert said["failures"] == []
    assert said["faults"]


def test_a_seed_that_breaks_a_rule_is_shown_with_its_trace_and_how_to_replay_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Line, "_settled", lambda _line, actions, _now: actions)

    status = main(["simulate", "--seed", "1", *SMALL])

    out = capsys.readouterr().out
    assert status == 1
    assert "seed 1 broke I6 at " in out
    assert "again: dialgate simulate --seed 1 --mode safety --duration 60" in out
    assert " dials p0" in out


@pytest.mark.parametrize(
    "wrong", [["--seeds", "0"], ["--duration", "5"], ["--mode", "hope"], ["--jobs", "x"]]
)
def test_what_makes_no_sense_is_refused(
    wrong: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["simulate", *wrong])

    assert ended.value.code == 2
    assert "usage: dialgate simulate" in capsys.readouterr().err


def test_a_report_that_cannot_be_written_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "--seed", "1", *SMALL, "--report", "/nowhere/report.json"]) == 1
    assert capsys.readouterr().err == (
        "dialgate: /nowhere/report.json: can't be written: No such file or directory\n"
    )


def test_two_jobs_come_to_the_same_sums(tmp_path: Path) -> None:
    sums = []
    for jobs in ("1", "2"):
        report = tmp_path / jobs
        assert (
            main(["simulate", "--seeds", "2", *SMALL, "--jobs", jobs, "--report", str(report)]) == 0
        )
        said = json.loads(report.read_text())
        del said["cpu_s"], said["elapsed_s"]
        sums.append(said)

    assert sums[0] == sums[1]
