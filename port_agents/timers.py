"""When each of many things is next to be looked at: a heap in which stale entries are skipped.

Pure.  A thing is looked at once for each time that it asked for, or earlier: too early does no
harm, so an entry is only ever replaced by an earlier one.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Hashable
from typing import Generic, TypeVar

__all__ = ["Timers"]

T = TypeVar("T", bound=Hashable)


class Timers(Generic[T]):
    """Times in monotonic seconds, by thing."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, T]] = []
        self._due: dict[T, float] = {}
        """The entry of each thing that counts; others in the heap are stale."""
        self._entries = 0
        """Made so far; of two with one time the first made comes first."""

    def set(self, thing: T, when: float) -> None:
        """See to it that `thing` is due at `when` or before."""
        if when < self._due.get(thing, math.inf):
            self._due[thing] = when
            heapq.heappush(self._heap, (when, self._entries, thing))
            self._entries += 1

    def next(self) -> float:
        """Return when the first is due; `math.inf` if none is."""
        heap = self._heap
        while heap:
            when, _, thing = heap[0]
            if self._due.get(thing) == when:
                return when
            heapq.heappop(heap)
        return math.inf

    def take_due(self, now: float) -> list[T]:
        """Return and forget those that are due, the first first."""
        due: list[T] = []
        while self.next() <= now:
            _, _, thing = heapq.heappop(self._heap)
            del self._due[thing]
            due.append(thing)
        return due
