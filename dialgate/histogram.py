"""A histogram of durations over plain integers, for the loops that have no time for more.

Pure.  One `observe` is a binary search and two additions; what Prometheus wants of it is made when
it scrapes (`dialgate.metrics`).  Not thread-safe: an event loop's own.

Invariant: each observation is in exactly one bucket, the first whose bound is not below it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Final

__all__ = ["ANSWER_BOUNDS_S", "CALL_BOUNDS_S", "Histogram"]

_Bounds = Sequence[float]

# fmt: off
ANSWER_BOUNDS_S: Final[_Bounds] = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
)
# fmt: on
"""For what a machine answers: up to the lease after END and the queue's time (10 s)."""

CALL_BOUNDS_S: Final[_Bounds] = (0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0)
"""For what a caller takes part in: up to the longest authentication time (600 s)."""


class Histogram:
    """Counts durations by bucket.

    Args:
        bounds: the buckets' upper bounds in seconds, rising; one without a bound follows them.
    """

    __slots__ = ("bounds", "counts", "sum_s")

    def __init__(self, bounds: Sequence[float]) -> None:
        assert list(bounds) == sorted(set(bounds)), "bounds must rise"
        self.bounds: Final = tuple(bounds)
        self.counts: Final = [0] * (len(bounds) + 1)
        """Durations up to each bound and above the one before; the last: above all of them."""
        self.sum_s = 0.0

    def observe(self, seconds: float) -> None:
        """Count one duration; one below 0 (a clock's jest) counts as 0."""
        duration_s = max(seconds, 0.0)
        self.counts[bisect_left(self.bounds, duration_s)] += 1
        self.sum_s += duration_s
