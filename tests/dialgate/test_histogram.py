"""Each duration goes to one bucket: examples at the bounds, and a property against counting."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialgate.histogram import ANSWER_BOUNDS_S, CALL_BOUNDS_S, Histogram


def test_a_duration_goes_to_the_first_bucket_whose_bound_is_not_below_it() -> None:
    histogram = Histogram((0.1, 1.0))
    for duration_s in (0.0, 0.1, 0.5, 1.0, 7.0):
        histogram.observe(duration_s)

    assert histogram.counts == [2, 2, 1]
    assert histogram.sum_s == pytest.approx(8.6)


def test_a_duration_below_zero_counts_as_zero() -> None:
    histogram = Histogram((0.1, 1.0))
    histogram.observe(-3.0)

    assert (histogram.counts, histogram.sum_s) == ([1, 0, 0], 0.0)


@pytest.mark.parametrize("bounds", [(1.0, 0.5), (1.0, 1.0)], ids=["falling", "repeated"])
def test_bounds_that_do_not_rise_are_a_programmers_error(bounds: tuple[float, ...]) -> None:
    with pytest.raises(AssertionError, match="rise"):
        Histogram(bounds)


@pytest.mark.parametrize("bounds", [ANSWER_BOUNDS_S, CALL_BOUNDS_S], ids=["answer", "call"])
def test_the_common_bounds_rise(bounds: tuple[float, ...]) -> None:
    assert Histogram(bounds).bounds == bounds


@given(st.lists(st.floats(min_value=0, max_value=1e6), max_size=50))
def test_no_observation_is_lost_or_counted_twice(durations: list[float]) -> None:
    histogram = Histogram(ANSWER_BOUNDS_S)
    for duration_s in durations:
        histogram.observe(duration_s)

    below = [sum(d <= bound for d in durations) for bound in ANSWER_BOUNDS_S]

    assert [sum(histogram.counts[: index + 1]) for index in range(len(below))] == below
    assert sum(histogram.counts) == len(durations)
