"""What a port has been through, and what is told of it."""

from __future__ import annotations

import msgspec
import pytest

from dialgate.wire.limits import BODY_BYTES_MAX
from port_agents.call import Call, Disconnect
from port_agents.line import Line
from port_agents.modem_actions import Caller, CallerNumber, InitAnswer, ModemLines
from port_agents.port_history import PortHistory, detail_of
from port_agents.reports import lines_messages
from tests.port_agents.line_bench import SETTINGS, called, ready

UP = ModemLines(dcd=True, dsr=True, ri=False, cts=True)


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


def test_an_idle_port_tells_its_lines_its_modems_answers_and_its_last_call() -> None:
    bench = ready()
    bench.call()
    bench.type(b"a")
    bench.hang_up()
    bench.end_reply()
    bench.wait(5)
    line = bench.line
    told = detail_of(
        line.history, line.modem.lines, line.modem.answers, line.modem.counters, bench.now
    )

    assert told["modem_lines"] == {"dcd": False, "dsr": True, "ri": False, "cts": True}
    assert told["init_answers"][0] == {"command": "ATZ", "answer": "OK", "ms": 0}
    assert (told["counters"]["calls"], told["counters"]["faults"]) == (1, 0)
    assert told["last_call"]["disconnect"] == "caller"
    assert told["last_call"]["caller"] == ""
    assert told["last_call"]["ended_ms"] >= 1000


def test_without_a_call_and_without_lines_that_is_told() -> None:
    line = called().line
    told = detail_of(PortHistory(), None, [], line.modem.counters, 0.0)

    assert (told["modem_lines"], told["init_answers"], told["last_call"]) == (None, [], None)


def test_the_longest_reports_stay_within_a_body() -> None:
    lines: list[Line] = []
    for _ in range(12):
        line = ready().line
        line.reason = "r" * 400
        line.modem.answers = [InitAnswer("A" * 80, "x" * 128, 10**9)] * 32
        call = over()
        call.caller = Caller(CallerNumber.GIVEN, "5" * 128)
        call.connect_text, call.service, call.disconnect = "C" * 128, "s" * 64, Disconnect.OPERATOR
        line.history.last = call
        lines.append(line)

    messages = list(lines_messages(lines, 1e6))

    assert len(messages) == 2
    assert max(map(len, messages)) < BODY_BYTES_MAX
    assert msgspec.msgpack.decode(messages[0])
