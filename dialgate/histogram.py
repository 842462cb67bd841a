"""A histogram of durations over plain integers, for the loops that have no time for more.

One `observe` is a binary search and two additions; everything that Prometheus wants of it is made
when it scrapes.  Not thread-safe: an event loop's own.

Invariant: each observation is in exactly one bucket, the first whose bound is not below it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from itertools import accumulate
from math import inf
from typing import Final

from prometheus_client.core import HistogramMetricFamily
from prometheus_client.utils import floatToGoString

__all__ = ["ANSWER_BOUNDS_S", "CALL_BOUNDS_S", "Histogram"]

ANSWER_BOUNDS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
"""For what a machine answers: up to the lease after END and the queue's time (10 s)."""

CALL_BOUNDS_S: Final = (0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0)
"""For what a caller takes part in: up to the longest authentication time (600 s)."""


class Histogram:
    """Counts durations by bucket.

    Args:
        bounds: the buckets' upper bounds in seconds, rising; one without a bound follows them.
    """

    __slots__ = ("_bounds", "_counts", "_sum_s")

    def __init__(self, bounds: Sequence[float]) -> None:
        assert list(bounds) == sorted(set(bounds)), "bounds must rise"
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(bounds) + 1)
        self._sum_s = 0.0

    @property
    def count(self) -> int:
        """Observations so far."""
        return sum(self._counts)

    def observe(self, seconds: float) -> None:
        """Count one duration; one below 0 (a clock's jest) counts as 0."""
        duration_s = max(seconds, 0.0)
        self._counts[bisect_left(self._bounds, duration_s)] += 1
        self._sum_s += duration_s

    def add_to(self, family: HistogramMetricFamily, labels: Sequence[str] = ()) -> None:
        """Add this histogram to `family` under the values `labels` of the family's labels."""
        bounds = map(floatToGoString, (*self._bounds, inf))
        buckets = list(zip(bounds, accumulate(self._counts), strict=True))
        family.add_metric(labels, buckets, self._sum_s)

    def as_metric(
        self, name: str, documentation: str, labels: Mapping[str, str] | None = None
    ) -> HistogramMetricFamily:
        """Return this histogram as a family of its own, for a collector to yield.

        `name` ends in `_seconds`; `labels` are the same for every bucket.
        """
        labels = labels or {}
        family = HistogramMetricFamily(name, documentation, labels=list(labels))
        self.add_to(family, list(labels.values()))
        return family
