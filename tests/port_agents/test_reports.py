"""What is told of ports: everything at first, then what has not been told in the session."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from dialgate.wire.bodies import Lines
from dialgate.wire.body_codec import decode_body
from dialgate.wire.envelope import decode_frame
from dialgate.wire.limits import BODY_BYTES_MAX
from port_agents.call import Call, Disconnect
from port_agents.line_actions import LineState
from port_agents.modem_actions import Caller, CallerNumber, InitAnswer, ModemLines
from port_agents.reports import Reports
from tests.port_agents.line_bench import Bench, ready

ALL = ["modem_lines", "init_answers", "counters", "last_call"]
UP = ModemLines(dcd=True, dsr=True, ri=False, cts=True)


def told(reports: Reports, bench: Bench, session: int = 1) -> Any:
    """Return `detail` of what is told now; None: there is none."""
    reports.changed(bench.line)
    (message,) = reports.take(session, bench.now)
    ((_, _, _, body, _),), _ = decode_frame(message)
    (line,) = decode_body(body, Lines).lines
    return None if line.detail is msgspec.UNSET else line.detail


def after_a_call() -> Bench:
    bench = ready()
    bench.call()
    bench.type(b"a")
    bench.hang_up()
    bench.end_reply()
    bench.wait(5)
    return bench


def test_an_idle_port_tells_its_lines_its_modems_answers_and_its_last_call() -> None:
    detail = told(Reports(), after_a_call())

    assert list(detail) == ALL
    assert detail["modem_lines"] == {"dcd": False, "dsr": True, "ri": False, "cts": True}
    assert detail["init_answers"][0] == {"command": "ATZ", "answer": "OK", "ms": 0}
    assert (detail["counters"]["calls"], detail["counters"]["faults"]) == (1, 0)
    assert detail["last_call"]["disconnect"] == "caller"
    assert detail["last_call"]["caller"] == ""
    assert detail["last_call"]["ended_ms"] >= 1000


def test_without_a_call_and_without_lines_that_is_told() -> None:
    bench = ready()
    bench.line.closed("gone", bench.now)
    bench.line.opened(None, bench.now)
    detail = told(Reports(), bench)

    assert (detail["modem_lines"], detail["last_call"]) == (None, None)


def test_what_was_told_is_not_told_again_in_the_session_but_all_of_it_in_the_next() -> None:
    reports, bench = Reports(), after_a_call()

    first = told(reports, bench)
    assert told(reports, bench) is None
    assert told(reports, bench, session=2) == first
    assert told(reports, bench, session=1) == first


def test_modem_lines_are_told_when_they_are_others() -> None:
    reports, bench = Reports(), ready()
    told(reports, bench)
    bench.do(bench.line.lines_changed(UP, bench.now))

    assert told(reports, bench)["modem_lines"]["dcd"]


def test_what_a_call_changes_is_told_when_the_port_is_at_rest() -> None:
    reports, bench = Reports(), ready()
    before = told(reports, bench)
    bench.line.modem.counters.stray_results += 1
    bench.call()

    assert list(told(reports, bench)) == ["modem_lines"]
    assert told(reports, bench) is None
    bench.hang_up()
    bench.end_reply()
    bench.wait(5)
    after = told(reports, bench)
    assert bench.line.state is LineState.IDLE
    assert after["modem_lines"] == before["modem_lines"]
    assert (after["counters"]["calls"], after["counters"]["stray_results"]) == (1, 1)
    assert after["last_call"]["disconnect"] == "caller"


def test_a_session_that_finds_a_call_is_told_all_of_the_port() -> None:
    bench = ready()
    bench.call()

    assert list(told(Reports(), bench)) == ALL


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (lambda line: line.modem.answers.append(InitAnswer("AT", "OK", 1)), "init_answers"),
        (lambda line: setattr(line.modem.counters, "probes", 1), "counters"),
        (lambda line: setattr(line.history.counters, "calls", 1), "counters"),
        (lambda line: setattr(line.history, "last", Call(bytes(16), 5.0)), "last_call"),
    ],
)
def test_at_rest_only_what_is_new_is_told(change: Any, name: str) -> None:
    reports, bench = Reports(), ready()
    told(reports, bench)
    change(bench.line)

    assert list(told(reports, bench)) == [name]
    assert told(reports, bench) is None


def test_the_longest_reports_stay_within_a_body() -> None:
    reports = Reports()
    for number in range(12):
        line = ready().line
        line.reason = "r" * 400
        line.modem.answers = [InitAnswer("A" * 80, "x" * 128, 10**9)] * 32
        call = Call(bytes(16), 5.0)
        call.connected_at, call.ended_at = 10.0, 100.0
        call.caller = Caller(CallerNumber.GIVEN, "5" * 128)
        call.connect_text, call.service, call.disconnect = "C" * 128, "s" * 64, Disconnect.OPERATOR
        line.history.last = call
        reports.due[str(number)] = line

    messages = reports.take(1, 1e6)

    assert len(messages) == 2
    assert max(map(len, messages)) < BODY_BYTES_MAX
    assert msgspec.msgpack.decode(messages[0])
