"""When a worker that drains may go.  Sans-IO."""

from __future__ import annotations

import math
from typing import Final

__all__ = ["DRAIN_S_MIN", "Departure"]

DRAIN_S_MIN: Final = 0.25
"""How long a worker with nothing to do stays after its DRAIN, for BEGINs that cross it."""


class Departure:
    """A drain: begun once, by an operator's order or a signal, and never taken back."""

    def __init__(self) -> None:
        self.draining = False
        self._began_at = 0.0
        self._deadline = math.inf

    def begin(self, deadline_s: float, now: float) -> bool:
        """Begin, or bring the deadline forward; return whether it begins with this."""
        self._deadline = min(self._deadline, now + deadline_s)
        if self.draining:
            return False
        self.draining = True
        self._began_at = now
        return True

    def remaining_ms(self, now: float) -> int:
        """Return what DRAIN tells of the deadline."""
        return max(0, round((self._deadline - now) * 1000))

    def due(self, busy: int) -> float:
        """Return when to leave, with `busy` dialogs open; `math.inf`: there is no such time."""
        if busy or not self.draining:
            return self._deadline
        return min(self._deadline, self._began_at + DRAIN_S_MIN)
