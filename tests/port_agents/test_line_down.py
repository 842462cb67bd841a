"""What callers get while no broker can be reached: `when_down`."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from port_agents.line import DOWN_S, NO_BROKER
from port_agents.line_actions import LineState
from port_agents.modem_actions import ModemState
from tests.port_agents.dialog_bench import HOME
from tests.port_agents.line_bench import SETTINGS, Bench


def without_broker(when_down: Literal["ring", "busy", "answer"]) -> Bench:
    bench = Bench(settings=replace(SETTINGS, when_down=when_down), route=None)
    bench.plug_in()
    return bench


def test_it_rings_and_the_first_ring_behind_a_brokers_return_is_answered() -> None:
    bench = without_broker("ring")
    bench.wait(2 * DOWN_S)
    assert bench.far.is_idle
    assert (bench.line.state, bench.line.reason) == (LineState.IDLE, NO_BROKER)
    bench.ring()
    bench.wait(3 * DOWN_S)
    assert bench.line.state is LineState.RINGING
    assert not bench.far.is_online

    bench.do(bench.line.route(HOME, bench.now))
    bench.wait(2)
    assert bench.far.is_online


def test_it_is_busy_after_a_restarts_time_and_on_hook_when_a_broker_is_back() -> None:
    bench = without_broker("busy")
    bench.wait(DOWN_S - 4)
    assert bench.line.modem.state is ModemState.IDLE
    bench.wait(4)
    assert bench.line.modem.state is ModemState.OFF_HOOK
    assert not bench.far.is_idle

    bench.do(bench.line.route(HOME, bench.now))
    bench.wait(4)
    assert bench.line.modem.state is ModemState.IDLE
    bench.call()
    assert bench.far.is_online


def test_it_is_answered_and_who_waited_the_queue_time_hears_a_last_word() -> None:
    bench = without_broker("answer")
    bench.wait(2 * DOWN_S)
    bench.call()
    assert bench.far.is_online

    bench.wait(60)
    assert b"try again later" in bench.screen
    assert not bench.far.is_online
    assert [kind for kind, _ in bench.records] == ["stop"]


def test_a_call_that_is_there_goes_on_when_the_broker_goes() -> None:
    bench = Bench(settings=replace(SETTINGS, when_down="busy"))
    bench.plug_in()
    bench.call()
    bench.admit()
    bench.do(bench.line.session_over(HOME.session, bench.now))
    bench.wait(2 * DOWN_S)

    assert bench.line.state is LineState.ONLINE
