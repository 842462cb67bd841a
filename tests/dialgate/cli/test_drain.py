"""`dialgate drain`: the order, the wait for its end, and what is said when it does not come."""

from __future__ import annotations

import threading
import time
from argparse import ArgumentTypeError
from collections.abc import Iterator
from pathlib import Path

import pytest

from dialgate.cli import drain, main
from dialgate.cli.drain import parse_duration_s
from tests.dialgate.cli.fake_broker import FakeBroker, fake_broker
from tests.dialgate.sample import altered, write

DRAIN = "/api/v1/drain"
TOLD = (200, {"code": 0, "text": "draining"})


@pytest.fixture
def broker() -> Iterator[FakeBroker]:
    with fake_broker() as running:
        running.answers[DRAIN] = TOLD
        yield running


@pytest.fixture
def config(broker: FakeBroker, tmp_path: Path) -> str:
    return str(write(tmp_path, altered(("127.0.0.1:7780", broker.address))))


def worker(instance: str) -> dict[str, str]:
    return {"name": "worker-1", "instance": instance}


def line(hport: str, state: str, agent: str = "oslo-1") -> dict[str, str]:
    return {"agent": agent, "hport": hport, "state": state}


def test_a_worker_is_drained_once_it_has_left_whatever_its_heir_is_called(
    broker: FakeBroker,
    config: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(drain, "POLL_S", 0.01)
    broker.answers["/api/v1/workers"] = (200, {"workers": [worker("old")]})

    def leave() -> None:
        while not broker.orders:
            time.sleep(0.01)
        broker.answers["/api/v1/workers"] = (200, {"workers": [worker("new")]})

    leaving = threading.Thread(target=leave)
    leaving.start()
    words = ["drain", "worker", "worker-1", "--deadline", "10m", "--reason", "upgrade"]
    assert main([*words, "--config", config]) == 0
    leaving.join()

    assert capsys.readouterr().out == "worker worker-1: drained in 0 s\n"
    ((order, _),) = broker.orders
    assert order.pop("operator")
    assert order == {
        "role": "worker",
        "name": "worker-1",
        "deadline_ms": 600_000,
        "reason": "upgrade",
    }


def test_a_broker_is_drained_once_it_is_gone_or_another_process_is_there(
    broker: FakeBroker,
    config: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(drain, "POLL_S", 0.01)
    broker.answers["/api/v1/status"] = (200, {"instance": "old"})

    def leave() -> None:
        while not broker.orders:
            time.sleep(0.01)
        broker.answers["/api/v1/status"] = (200, {"instance": "new"})

    leaving = threading.Thread(target=leave)
    leaving.start()
    assert main(["drain", "broker", "broker-1", "--config", config]) == 0
    leaving.join()

    assert capsys.readouterr().out == "broker broker-1: drained in 0 s\n"


def test_an_agent_is_drained_when_its_lines_have_no_callers(
    broker: FakeBroker, config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [line("oslo/1", "disabled"), line("oslo/2", "ringing"), line("x", "online", "other")]
    broker.answers["/api/v1/ports"] = (200, {"ports": lines})

    assert main(["drain", "agent", "oslo-1", "--config", config]) == 0
    assert capsys.readouterr().out == "agent oslo-1: drained in 0 s\n"


def test_callers_who_stay_past_the_deadline_are_named_and_left_alone(
    broker: FakeBroker,
    config: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(drain, "GRACE_S", 0.0)
    lines = [line("oslo/2", "online"), line("oslo/1", "authenticating"), line("oslo/3", "disabled")]
    broker.answers["/api/v1/ports"] = (200, {"ports": lines})

    assert main(["drain", "agent", "oslo-1", "--deadline", "0", "--config", config]) == 1
    assert capsys.readouterr().err == (
        "dialgate: agent oslo-1: still has callers, whom nobody hangs up on: oslo/1, oslo/2\n"
    )


def test_without_waiting_the_order_is_given_and_no_more(
    broker: FakeBroker, config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["drain", "agent", "oslo-1", "--no-wait", "--config", config]) == 0
    assert capsys.readouterr().out == "agent oslo-1: draining\n"


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ((200, {"code": ["win", 50], "text": "ERROR_NOT_SUPPORTED"}), "does not drain: ERROR_NOT"),
        ((503, {"text": "worker w is not connected here"}), "refuses: worker w is not connected"),
    ],
)
def test_who_does_not_drain_is_told_why(
    answer: tuple[int, object],
    error: str,
    broker: FakeBroker,
    config: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    broker.answers[DRAIN] = answer
    broker.answers["/api/v1/workers"] = (200, {"workers": []})

    assert main(["drain", "worker", "w", "--config", config]) == 1
    assert error in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("10m", 600), ("2h", 7200), ("0", 0)]
)
def test_times_are_written_with_their_unit(text: str, seconds: float) -> None:
    assert parse_duration_s(text) == seconds


@pytest.mark.parametrize("text", ["", "m", "-1", "1d", "25h", "1.5m", "9999999"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match="is no time up to a day"):
        parse_duration_s(text)
