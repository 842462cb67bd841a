"""What an agent tells observers of its ports: LINES (protocol §4, verb 9).

Pure.

Invariant: a message stays within a body's 16 KiB, whatever the reasons of its ports say.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Final

from dialgate.wire.bodies import Lines
from dialgate.wire.bodies import LineState as LineReport
from dialgate.wire.body_codec import encode
from dialgate.wire.verbs import Verb
from port_agents.line import Line
from port_agents.port_history import detail_of

__all__ = ["LINES_PER_MESSAGE", "REASON_CHARS_MAX", "lines_messages"]

LINES_PER_MESSAGE: Final = 6
REASON_CHARS_MAX: Final = 256


def lines_messages(lines: Sequence[Line], now: float) -> Iterator[bytes]:
    """Yield the LINES messages that tell of `lines`; the last one says that they are complete."""
    for start in range(0, len(lines), LINES_PER_MESSAGE):
        end = start + LINES_PER_MESSAGE
        reports = tuple(_report(line, now) for line in lines[start:end])
        yield encode(Verb.LINES, Lines(lines=reports, complete=end >= len(lines)))


def _report(line: Line, now: float) -> LineReport:
    since_s = now - line.since if line.since > -math.inf else 0.0
    return LineReport(
        hport=line.settings.hport,
        state=line.state.value,
        reason=line.reason[:REASON_CHARS_MAX],
        since_ms=max(0, int(since_s * 1000)),
        detail=detail_of(
            line.history, line.modem.lines, line.modem.answers, line.modem.counters, now
        ),
    )
