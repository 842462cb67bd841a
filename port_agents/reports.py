"""What an agent tells observers of its ports: LINES (protocol §4, verb 9; §10).

Pure.  Of what it tells beyond a port's state, only what a session has not been told yet: most
changes are steps of a call, and what they change is told when the port has come to rest.

Invariant: a message stays within a body's 16 KiB, whatever the reasons of its ports say.
"""

from __future__ import annotations

import math
from typing import Any, Final

from msgspec import UNSET
from msgspec.structs import asdict, replace

from dialgate.wire.bodies import Lines
from dialgate.wire.bodies import LineState as LineReport
from dialgate.wire.body_codec import encode
from dialgate.wire.verbs import Verb
from port_agents.call import Call
from port_agents.line import Line
from port_agents.line_actions import LineState
from port_agents.modem_actions import InitAnswer, ModemCounters, ModemLines
from port_agents.port_history import PortCounters

__all__ = ["LINES_PER_MESSAGE", "REASON_CHARS_MAX", "Reports"]

LINES_PER_MESSAGE: Final = 6
REASON_CHARS_MAX: Final = 256
ANSWERS_MAX: Final = 6
"""Answers of the modem that are told; the last ones."""
TEXT_CHARS_MAX: Final = 64
"""Of each text that is told, so that a LINES message stays within its 16 KiB."""
AT_REST: Final = (
    LineState.IDLE,
    LineState.DISABLED,
    LineState.FAULTED,
    LineState.QUARANTINED,
    LineState.UNKNOWN,
)
"""States of a port that has no call."""


class Reports:
    """What observers are to be told, and what the session that LINES go by has been told."""

    def __init__(self) -> None:
        self.due: Final[dict[str, Line]] = {}
        """By HPORT, ports of which there may be something new to tell."""
        self._session: int | None = None
        self._known: dict[str, _Known] = {}
        """By HPORT."""

    def changed(self, line: Line) -> None:
        """Take note that there may be something new to tell of `line`."""
        self.due[line.settings.hport] = line

    def take(self, session: int, now: float) -> list[bytes]:
        """Return the LINES messages that are due; to another session they are to be all ports."""
        is_list = session != self._session
        if is_list:
            self._session = session
            self._known.clear()
        lines = [*self.due.values()]
        self.due.clear()
        messages: list[bytes] = []
        for start in range(0, len(lines), LINES_PER_MESSAGE):
            end = start + LINES_PER_MESSAGE
            reports = tuple([self._report(line, now) for line in lines[start:end]])
            is_complete = not is_list or end >= len(lines)
            messages.append(encode(Verb.LINES, Lines(lines=reports, complete=is_complete)))
        return messages

    def _report(self, line: Line, now: float) -> LineReport:
        hport = line.settings.hport
        known = self._known.get(hport)
        if known is None:
            known = self._known[hport] = _Known()
        return LineReport(
            hport=hport,
            state=line.state.value,
            reason=line.reason[:REASON_CHARS_MAX],
            since_ms=_ms(now - line.since) if line.since > -math.inf else 0,
            detail=known.news(line, now) or UNSET,
        )


class _Known:
    """What a session has been told of a port beyond its state."""

    def __init__(self) -> None:
        self._is_told = False
        """Whether it has been told anything."""
        self._lines: ModemLines | None = None
        self._answers: list[InitAnswer] = []
        self._calls = PortCounters()
        self._modem = ModemCounters()
        self._last: Call | None = None

    def news(self, line: Line, now: float) -> dict[str, Any]:
        """Return what has not been told of `line` yet, in bounded size, as told from now on."""
        modem, history, is_first = line.modem, line.history, not self._is_told
        self._is_told = True
        news: dict[str, Any] = {}
        if is_first or modem.lines != self._lines:
            self._lines = modem.lines
            news["modem_lines"] = _shown(modem.lines)
        if not is_first and line.state not in AT_REST:
            return news
        if is_first or modem.answers != self._answers:
            self._answers = [*modem.answers]
            news["init_answers"] = [_answered(each) for each in modem.answers[-ANSWERS_MAX:]]
        if is_first or history.counters != self._calls or modem.counters != self._modem:
            self._calls, self._modem = replace(history.counters), replace(modem.counters)
            news["counters"] = {**asdict(history.counters), **asdict(modem.counters)}
        if is_first or history.last is not self._last:
            self._last = history.last
            news["last_call"] = None if history.last is None else _told(history.last, now)
        return news


def _shown(lines: ModemLines | None) -> dict[str, bool] | None:
    if lines is None:
        return None
    return {"dcd": lines.dcd, "dsr": lines.dsr, "ri": lines.ri, "cts": lines.cts}


def _answered(answer: InitAnswer) -> dict[str, Any]:
    return {
        "command": answer.command[:TEXT_CHARS_MAX],
        "answer": answer.answer[:TEXT_CHARS_MAX],
        "ms": answer.took_ms,
    }


def _told(call: Call, now: float) -> dict[str, Any]:
    connected_at, ended_at = call.connected_at, now if call.ended_at is None else call.ended_at
    verdict = None if call.dialog is None else call.dialog.verdict
    return {
        "call": call.id.hex(),
        "ended_ms": _ms(now - ended_at),
        "connected_ms": None if connected_at is None else _ms(ended_at - connected_at),
        "caller": call.caller.number[:TEXT_CHARS_MAX],
        "connect_text": call.connect_text[:TEXT_CHARS_MAX],
        "user": "" if verdict is None else verdict.username[:TEXT_CHARS_MAX],
        "service": call.service[:TEXT_CHARS_MAX],
        "disconnect": "" if call.disconnect is None else call.disconnect.value,
        "bytes_in": call.bytes_in,
        "bytes_out": call.bytes_out,
    }


def _ms(seconds: float) -> int:
    return max(0, round(seconds * 1000))
