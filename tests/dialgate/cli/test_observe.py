"""`dialgate status|agents|workers|ports`: what the broker says, as columns and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from dialgate.cli import main
from tests.dialgate.cli.fake_broker import FakeBroker, fake_broker
from tests.dialgate.sample import altered, write

PORTS = {
    "ports": [
        {"agent": "oslo-1", "hport": "oslo/2", "state": "idle", "since_ms": 7_500_000},
        {
            "agent": "oslo-1",
            "hport": "oslo/1",
            "state": "faulted",
            "reason": "no answer \x1b[2J",
            "since_ms": 14_000,
            "dialog": None,
            "worker": "worker-1",
        },
    ]
}


@pytest.fixture
def broker() -> Iterator[FakeBroker]:
    with fake_broker() as running:
        yield running


@pytest.fixture
def config(broker: FakeBroker, tmp_path: Path) -> str:
    return str(write(tmp_path, altered(("127.0.0.1:7780", broker.address))))


def test_ports_are_columns_in_order_and_printable(
    broker: FakeBroker, config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    broker.answers["/api/v1/ports"] = (200, PORTS)

    assert main(["ports", "--config", config]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "AGENT   HPORT   STATE    SINCE  WORKER    DIALOG  REASON",
        "oslo-1  oslo/1  faulted  14s    worker-1  -       no answer \\x1b[2J",
        "oslo-1  oslo/2  idle     2h05m  -         -       -",
    ]


def test_json_is_whole(broker: FakeBroker, config: str, capsys: pytest.CaptureFixture[str]) -> None:
    broker.answers["/api/v1/ports"] = (200, PORTS)

    assert main(["ports", "--config", config, "-o", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)["ports"]
    assert sorted(rows, key=lambda row: row["since_ms"], reverse=True) == PORTS["ports"]


@pytest.mark.parametrize("command", ["agents", "workers", "ports"])
def test_nobody_there_is_an_empty_table(
    command: str, broker: FakeBroker, config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    broker.answers[f"/api/v1/{command}"] = (200, {command: []})

    assert main([command, "--config", config]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_status_is_a_line_a_figure(
    broker: FakeBroker, config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    broker.answers["/api/v1/status"] = (
        200,
        {"name": "b", "uptime_ms": 61_000, "draining": False, "ports": {"idle": 3}},
    )

    assert main(["status", "--config", config]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "name        b",
        "uptime      1m01s",
        "draining    no",
        "ports.idle  3",
    ]
    assert main(["status", "--config", config, "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["ports"] == {"idle": 3}


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ((503, {"text": "draining"}), "draining"),
        ((404, b"<html>"), "HTTP status 404"),
        ((200, b"not json"), "HTTP status 200"),
        ((200, [1]), "HTTP status 200"),
    ],
)
def test_a_refusal_is_one_line(
    answer: tuple[int, object],
    reason: str,
    broker: FakeBroker,
    config: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    broker.answers["/api/v1/agents"] = answer

    assert main(["agents", "--config", config]) == 1
    assert capsys.readouterr().err == (
        f"dialgate: the broker at http://{broker.address} refuses: {reason}\n"
    )


def test_a_broker_that_is_not_there_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with fake_broker() as gone:
        pass
    config = write(tmp_path, altered(("127.0.0.1:7780", gone.address)))

    assert main(["ports", "--config", str(config)]) == 1
    assert capsys.readouterr().err == (
        f"dialgate: the broker at http://{gone.address} does not answer (Connection refused): "
        "is it running?\n"
    )


def test_a_broker_on_every_interface_is_asked_on_loopback(
    broker: FakeBroker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    port = broker.address.rpartition(":")[2]
    broker.answers["/api/v1/agents"] = (200, {"agents": []})
    config = write(tmp_path, altered(("127.0.0.1:7780", f"0.0.0.0:{port}")))

    assert main(["agents", "--config", str(config)]) == 0
    assert capsys.readouterr().err == ""


def test_a_file_that_names_no_broker_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write(tmp_path, "[cluster]\nname = 'north'\n")

    assert main(["ports", "--config", str(config)]) == 1
    assert capsys.readouterr().err == (
        f"{config}: broker: is missing: name a file that has a [broker] table with --config\n"
    )
