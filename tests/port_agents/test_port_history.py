"""What a port has been through."""

from __future__ import annotations

import pytest

from port_agents.call import Call, Disconnect
from port_agents.port_history import PortHistory
from tests.port_agents.line_bench import SETTINGS, ready


def over(
    bytes_in: int | None = 0, connected_at: float | None = 10.0, ended_at: float = 100.0
) -> Call:
    call = Call(bytes(16), 5.0)
    call.connected_at, call.ended_at, call.bytes_in = connected_at, ended_at, bytes_in
    return call


def test_calls_are_counted_by_what_only_they_show() -> None:
    history = PortHistory()
    history.over(over(connected_at=None))
    history.over(over(bytes_in=0))
    history.over(over(bytes_in=1, ended_at=19.9))
    history.over(over(bytes_in=1))

    counters = history.counters
    assert (counters.calls, counters.unanswered, counters.silent, counters.short) == (4, 1, 1, 1)


def unconnected(disconnect: Disconnect) -> Call:
    call = over(connected_at=None)
    call.disconnect = disconnect
    return call


def test_an_answer_that_led_to_no_connection_is_another_kind_than_a_call_that_only_rang() -> None:
    history = PortHistory()
    history.over(unconnected(Disconnect.UNANSWERED))
    history.over(unconnected(Disconnect.NO_CONNECTION))

    assert (history.counters.unanswered, history.counters.no_carriers) == (1, 1)


def test_what_a_direct_service_moved_uncounted_is_no_silence() -> None:
    history = PortHistory()
    history.over(over(bytes_in=None))

    assert (history.counters.silent, history.counters.in_vain) == (0, 0)


def test_calls_in_vain_are_counted_in_a_row_and_who_only_rang_says_nothing() -> None:
    history = PortHistory()
    for call in (over(), unconnected(Disconnect.NO_CONNECTION), unconnected(Disconnect.UNANSWERED)):
        history.over(call)
    assert history.counters.in_vain == 2

    history.over(over(bytes_in=1))
    assert history.counters.in_vain == 0


@pytest.mark.parametrize("says", [b"\r\nNO CARRIER\r\n", b"\r\nERROR\r\n", b""])
def test_each_way_in_which_an_answer_leads_to_nothing_is_counted(says: bytes) -> None:
    bench = ready()
    bench.far.faults.silent = True
    bench.do(bench.line.receive(b"\r\nRING\r\n", bench.now))
    bench.do(bench.line.receive(says, bench.now))
    bench.wait(SETTINGS.modem.answer_timeout_s)

    assert bench.line.history.counters.no_carriers == 1
