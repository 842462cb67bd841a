"""`dialgate port ACT`: says whether it worked, and why not."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from dialgate.cli import main, port
from port_agents import orders
from tests.dialgate.cli.fake_broker import FakeBroker, fake_broker
from tests.dialgate.sample import altered, write

COMMAND = "/api/v1/ports/command"


@pytest.fixture
def broker() -> Iterator[FakeBroker]:
    with fake_broker() as running:
        yield running


@pytest.fixture
def config(broker: FakeBroker, tmp_path: Path) -> str:
    return str(write(tmp_path, altered(("127.0.0.1:7780", broker.address))))


@pytest.mark.parametrize("code", [0, ["win", 0]])
@pytest.mark.parametrize(
    ("act", "done"),
    [("hangup", "hung up"), ("reset", "reset"), ("probe", "answers"), ("enable", "enabled")],
)
def test_what_worked_is_said(
    act: str,
    done: str,
    code: object,
    broker: FakeBroker,
    config: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    broker.answers[COMMAND] = (200, {"code": code, "text": "done"})

    words = ["port", act, "oslo/1", "--config", config, "--agent", "oslo-1", "--reason", "test"]
    assert main(words) == 0
    assert capsys.readouterr().out == f"oslo/1: {done}\n"
    ((order, _),) = broker.orders
    assert order.pop("operator")
    assert order == {"hport": "oslo/1", "act": act, "agent": "oslo-1", "reason": "test"}


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (
            {"code": ["win", 31], "text": "ERROR_GEN_FAILURE"},
            "it does not do as told, ERROR_GEN_FAILURE",
        ),
        ({"code": ["ras", 619]}, "ERROR_PORT_DISCONNECTED"),
        ({"code": ["new", 5]}, "new:5"),
        ({}, "the broker's answer has no code"),
    ],
)
def test_what_failed_is_said_with_the_ports_own_reason(
    answer: object,
    reason: str,
    broker: FakeBroker,
    config: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    broker.answers[COMMAND] = (200, answer)
    broker.answers["/api/v1/ports"] = (
        200,
        {"ports": [{"hport": "oslo/1", "state": "faulted", "reason": "ATZ: no answer\x1b"}]},
    )

    assert main(["port", "reset", "oslo/1", "--config", config]) == 1
    assert capsys.readouterr().err == (
        f"dialgate: oslo/1: not reset: {reason} (faulted, ATZ: no answer\\x1b)\n"
    )


def test_each_code_that_agents_answer_has_words() -> None:
    told = {
        *re.findall(r"(?:Raserror|Winerror)\.(\w+)", inspect.getsource(orders)),
    } - {"ERROR_USER_DISCONNECTION"}  # Which goes to workers.

    assert told == set(port._WHY)


def test_an_order_that_is_refused_is_one_line(
    broker: FakeBroker, config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    broker.answers[COMMAND] = (404, {"text": 'no port "x" is known here'})

    assert main(["port", "hangup", "x", "--config", config]) == 1
    assert capsys.readouterr().err.endswith('refuses: no port "x" is known here\n')


def test_the_operators_token_is_shown(broker: FakeBroker, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("long-word\n")
    broker.answers[COMMAND] = (200, {"code": 0})
    line = f'"{broker.address}"\noperator_token_file = "{token}"'
    config = write(tmp_path, altered(('"127.0.0.1:7780"', line)))

    assert main(["port", "reset", "oslo/1", "--config", str(config)]) == 0
    assert [shown for _, shown in broker.orders] == ["Bearer long-word"]


def test_a_token_that_cannot_be_read_is_one_line(
    broker: FakeBroker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = f'"{broker.address}"\noperator_token_file = "{tmp_path}/none"'
    config = write(tmp_path, altered(('"127.0.0.1:7780"', line)))

    assert main(["port", "reset", "oslo/1", "--config", str(config)]) == 1
    (error,) = capsys.readouterr().err.splitlines()
    assert error.startswith(f"dialgate: {tmp_path}/none: the operators' token can't be read")


@pytest.mark.parametrize(("tone", "mode"), [("--busy", "busy"), ("--ring", "ring"), ("", "ring")])
def test_a_port_is_disabled_as_callers_shall_hear_it(
    tone: str, mode: str, broker: FakeBroker, config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    broker.answers[COMMAND] = (200, {"code": 0, "text": "done"})

    assert main(["port", "disable", "oslo/1", "--config", config, *filter(None, [tone])]) == 0
    assert capsys.readouterr().out == "oslo/1: disabled\n"
    ((order, _),) = broker.orders
    assert (order["act"], order["mode"]) == ("disable", mode)


def test_busy_goes_with_disable_only(config: str) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["port", "reset", "oslo/1", "--config", config, "--busy"])
