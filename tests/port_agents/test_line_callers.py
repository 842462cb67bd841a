"""Who calls: numbers that a port lets ring, and users whom a service knows otherwise."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dialgate.codes import Raserror
from dialgate.wire.bodies import Facts
from dialgate.wire.body_codec import decode_body
from port_agents.call import Disconnect
from port_agents.line_actions import LineSettings, LineState
from port_agents.simulated_modem_actions import IncomingCall
from tests.port_agents.line_bench import GONE, SETTINGS, called, online, ready


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


def test_who_rings_while_the_last_call_is_not_over_is_not_in_its_record() -> None:
    bench = called(settings=refusing("556*", rings=2))
    bench.hang_up()
    bench.wait(1)
    bench.do(bench.far.ring(bench.now, IncomingCall(number="5559999")))
    bench.wait(1)
    bench.end_reply()

    assert [(kind, call.caller.number) for kind, call in bench.records] == [("stop", "5551234")]


def test_who_is_cut_off_behind_his_end_had_it_when_he_went() -> None:
    bench = online()
    bench.hang_up()
    gone_at = bench.now
    bench.take()
    bench.wait(1)
    bench.do(bench.line.cut(Disconnect.AGENT_STOPPED, GONE, bench.now))
    bench.service_ends()

    assert "stop" not in bench.take()
    assert bench.records[-1][1].ended_at == gone_at


# The service's word (rashost.md, rule 5).


def test_a_service_that_names_the_user_who_was_admitted_changes_nothing() -> None:
    bench = online()
    bench.take()

    assert bench.line.service_user("ann", bench.now) == (True, [])
    assert bench.line.state is LineState.ONLINE


def test_r5_a_service_that_names_another_user_ends_the_call() -> None:
    bench = online()
    bench.take()

    same, actions = bench.line.service_user("eve", bench.now)
    bench.do(actions)
    bench.service_ends()
    bench.wait(15)

    assert not same
    assert bench.take() == [
        "stop",
        "hanging-up user-mismatch",
        "record stop user-mismatch",
        "idle",
    ]
    assert bench.records[-1][1].code == Raserror.ERROR_AUTHENTICATION_FAILURE.code


@pytest.mark.parametrize("stage", ["idle", "login", "over"])
def test_a_word_about_a_caller_who_is_at_no_service_is_not_his(stage: str) -> None:
    bench = ready() if stage == "idle" else called() if stage == "login" else online()
    if stage == "over":
        bench.hang_up()
    before = bench.line.state

    assert bench.line.service_user("ann", bench.now) == (False, [])
    assert bench.line.state is before
