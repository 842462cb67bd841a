"""Who calls, and what a port makes of it before it answers: numbers that it lets ring."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dialgate.wire.bodies import Facts
from dialgate.wire.body_codec import decode_body
from port_agents.call import Disconnect
from port_agents.line_actions import LineSettings, LineState
from port_agents.simulated_modem_actions import IncomingCall
from tests.port_agents.line_bench import SETTINGS, called, ready


def refusing(*patterns: str, **modem: Any) -> LineSettings:
    asks = (*SETTINGS.modem.init, "AT+VCID=1")
    modem = {"refused_callers": patterns, "init": asks, **modem}
    return replace(SETTINGS, modem=replace(SETTINGS.modem, **modem))


@pytest.mark.parametrize(
    "modem",
    [
        pytest.param({"rings": 2}, id="caller id behind the first of two rings"),
        pytest.param({"rings": 1, "caller_id_wait_ms": 500}, id="caller id that is waited for"),
        pytest.param({"rings": 9}, id="nobody waits for the ninth ring"),
    ],
)
def test_a_refused_number_hears_it_ring_and_leaves_a_record(modem: dict[str, Any]) -> None:
    bench = ready(settings=refusing("555*", **modem))
    bench.ring()
    bench.wait(8)
    bench.hang_up()
    bench.wait(15)

    assert bench.take() == ["ringing", "record stop number-refused", "idle"]
    assert bench.records[-1][1].caller.number == "5551234"
    assert bench.counters.calls[Disconnect.NUMBER_REFUSED] == 1


def test_a_refused_number_is_known_by_a_single_ring() -> None:
    bench = ready(settings=refusing("555*", rings=2))
    bench.ring()
    bench.wait(0.5)
    bench.hang_up()
    bench.wait(15)

    assert bench.take() == ["ringing", "record stop number-refused", "idle"]


def test_other_numbers_are_answered_and_so_is_who_gives_none() -> None:
    bench = called(settings=refusing("556*", "*9", rings=2))
    silent = ready(settings=refusing("*", rings=2))
    silent.do(silent.far.ring(silent.now, IncomingCall()))
    silent.wait(3)

    assert bench.line.state is LineState.AUTHENTICATING
    assert silent.line.state is LineState.AUTHENTICATING


def test_the_next_caller_is_answered_after_a_refused_one() -> None:
    bench = ready(settings=refusing("5551*", rings=2))
    bench.call()
    bench.hang_up()
    bench.wait(15)
    bench.do(bench.far.ring(bench.now, IncomingCall(number="5559999")))
    bench.wait(3)

    assert bench.line.state is LineState.AUTHENTICATING


def test_the_lines_own_number_is_told_to_policies_as_the_called_one() -> None:
    bench = called(settings=replace(SETTINGS, called="800100"))

    assert bench.line.dialog is not None
    assert decode_body(bench.line.dialog._facts, Facts).called == "800100"
