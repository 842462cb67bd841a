"""What a port has been through: counters of its calls, and its last one.

Pure.  What the modem counts is in `ModemCounters`; here is what only calls show, such as a modem
that connects and then gives nothing.  Prometheus gets the sums over all ports (`metrics`).

Invariant: a call counts once, when it is over, in each kind that it is of.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from port_agents.call import Call, Disconnect

__all__ = ["IN_VAIN_MIN", "PortCounters", "PortHistory"]

SHORT_CALL_S: Final = 10.0
"""A call that was connected for less is short: many of them are a bad line or a scan."""
IN_VAIN_MIN: Final = 5
"""Calls in a row that a port answered in vain, so that somebody should look at its line."""


class PortCounters(Struct):
    """Running totals of one port since the agent's start."""

    calls: int = 0
    """Calls that rang or connected."""
    unanswered: int = 0
    """Calls that only rang."""
    no_carriers: int = 0
    """Calls that were answered and led to no connection."""
    silent: int = 0
    """Calls that were connected and gave not one byte."""
    short: int = 0
    """Calls that were connected for less than `SHORT_CALL_S`."""
    in_vain: int = 0
    """Calls in a row, up to the last, that were answered and gave no connection or no byte."""


class PortHistory:
    """The calls of one port."""

    def __init__(self) -> None:
        self.counters: Final = PortCounters()
        self.last: Call | None = None
        """The last call that is over."""

    def over(self, call: Call) -> None:
        """Take note of a call that is over."""
        self.last = call
        self.counters.calls += 1
        if call.connected_at is None:
            self._not_connected(call)
            return
        is_silent = call.bytes_in == 0  # None: nobody counted what a direct service moved.
        self.counters.silent += is_silent
        self.counters.in_vain = self.counters.in_vain + 1 if is_silent else 0
        ended_at = call.connected_at if call.ended_at is None else call.ended_at
        self.counters.short += ended_at - call.connected_at < SHORT_CALL_S

    def _not_connected(self, call: Call) -> None:
        if call.disconnect is Disconnect.NO_CONNECTION:
            self.counters.no_carriers += 1
            self.counters.in_vain += 1
        else:
            self.counters.unanswered += 1  # Which says nothing of who was not answered.
