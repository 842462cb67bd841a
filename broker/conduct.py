"""How peers behave: who makes too many errors is not listened to for a while (protocol §3).

A peer is its CURVE key, or without keys its connection.  Both can be made up at will by who has
none, so only the last `offenders_max` are remembered.
"""

from __future__ import annotations

from collections import deque

from broker.limits import BrokerLimits

__all__ = ["Conduct"]


class Conduct:
    """Errors and penalties by peer."""

    def __init__(self, limits: BrokerLimits) -> None:
        self._limits = limits
        self._errors: dict[str | bytes, deque[float]] = {}
        self._until: dict[str | bytes, float] = {}
        """Peers under a penalty, in the order in which it ends."""

    def erred(self, peer: str | bytes, now: float) -> bool:
        """Charge an error; return True if it was one too many and a penalty begins."""
        times = self._errors.pop(peer, None) or deque(maxlen=self._limits.errors_max)
        times.append(now)
        is_full = len(times) == self._limits.errors_max
        if is_full and now - times[0] <= self._limits.errors_window_s:
            _bound(self._until, self._limits.offenders_max)
            self._until[peer] = now + self._limits.penalty_s
            return True
        _bound(self._errors, self._limits.offenders_max)
        self._errors[peer] = times
        return False

    def is_penalised(self, peer: str | bytes, now: float) -> bool:
        """Return whether this peer's frames are to be dropped unread."""
        until = self._until.get(peer)
        if until is None:
            return False
        if now < until:
            return True
        del self._until[peer]
        return False


def _bound(table: dict[str | bytes, float] | dict[str | bytes, deque[float]], size: int) -> None:
    """Make room for one more by forgetting the oldest."""
    if len(table) >= size:
        del table[next(iter(table))]
