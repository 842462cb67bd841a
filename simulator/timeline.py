"""Virtual time: what is to happen, in the order in which it does.

Invariant: time never goes back; of two things due at the same moment the one asked for first comes
first, so that a seed is a schedule.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable

__all__ = ["Timeline"]


class Timeline:
    """The clock and what is under way."""

    def __init__(self) -> None:
        self.now = 0.0
        """Seconds since the world began."""
        self.events = 0
        """What has happened so far."""
        self.is_stopped = False
        """Whether nothing more happens."""
        self._order = 0
        self._heap: list[tuple[float, int, Callable[..., object], tuple[object, ...]]] = []
        """Due, order, what to call, its arguments."""

    def at(self, when: float, what: Callable[..., object], *args: object) -> None:
        """Let `what` happen at `when`, or now if that is past."""
        self._order += 1
        due = when if when > self.now else self.now  # noqa: FURB136 - max() takes three times as long
        heapq.heappush(self._heap, (due, self._order, what, args))

    def after(self, wait_s: float, what: Callable[..., object], *args: object) -> None:
        """Let `what` happen in `wait_s` seconds, of which there may be none."""
        self._order += 1
        heapq.heappush(self._heap, (self.now + wait_s, self._order, what, args))

    def run(self, until: float) -> None:
        """Let everything happen that is due by `until`."""
        heap = self._heap
        while heap and heap[0][0] <= until and not self.is_stopped:
            due, _, what, args = heapq.heappop(heap)
            self.now = due
            self.events += 1
            what(*args)
        if not self.is_stopped:
            self.now = until

    def stop(self) -> None:
        """Let nothing more happen: this world is broken."""
        self.is_stopped = True
