"""Durations in, Prometheus' text out: what a scrape shows is compared literally."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from dialgate.histogram import ANSWER_BOUNDS_S, CALL_BOUNDS_S, Histogram

BOUNDS: Final = (0.1, 1.0)


class Families(Collector):
    """Shows the families that it was given."""

    def __init__(self, *families: Metric) -> None:
        self.families = families

    def collect(self) -> Iterator[Metric]:
        yield from self.families


def scrape(*families: Metric) -> list[str]:
    registry = CollectorRegistry()
    registry.register(Families(*families))
    return generate_latest(registry).decode().splitlines()


def test_a_duration_is_in_every_bucket_from_the_first_bound_not_below_it() -> None:
    histogram = Histogram(BOUNDS)
    for duration_s in (0.0, 0.1, 0.5, 1.0, 7.0):
        histogram.observe(duration_s)

    assert scrape(histogram.as_metric("answer_seconds", "How long.")) == [
        "# HELP answer_seconds How long.",
        "# TYPE answer_seconds histogram",
        'answer_seconds_bucket{le="0.1"} 2.0',
        'answer_seconds_bucket{le="1.0"} 4.0',
        'answer_seconds_bucket{le="+Inf"} 5.0',
        "answer_seconds_count 5.0",
        "answer_seconds_sum 8.6",
    ]


def test_an_unused_histogram_shows_zeros() -> None:
    lines = scrape(Histogram(BOUNDS).as_metric("answer_seconds", "How long."))

    assert lines[-2:] == ["answer_seconds_count 0.0", "answer_seconds_sum 0.0"]


def test_a_duration_below_zero_counts_as_zero() -> None:
    histogram = Histogram(BOUNDS)
    histogram.observe(-3.0)

    assert (
        scrape(histogram.as_metric("answer_seconds", "How long."))[-1] == "answer_seconds_sum 0.0"
    )


def test_labels_stand_at_every_bucket() -> None:
    lines = scrape(Histogram((1.0,)).as_metric("s", "How long.", {"end": "normal"}))

    assert lines[2:] == [
        's_bucket{end="normal",le="1.0"} 0.0',
        's_bucket{end="normal",le="+Inf"} 0.0',
        's_count{end="normal"} 0.0',
        's_sum{end="normal"} 0.0',
    ]


def test_several_histograms_share_a_family() -> None:
    fast, slow = Histogram((1.0,)), Histogram((1.0,))
    fast.observe(0.5)
    family = HistogramMetricFamily("s", "How long.", labels=["end"])
    fast.add_to(family, ["normal"])
    slow.add_to(family, ["abnormal"])

    assert [line for line in scrape(family) if "_count" in line] == [
        's_count{end="normal"} 1.0',
        's_count{end="abnormal"} 0.0',
    ]


@pytest.mark.parametrize("bounds", [(1.0, 0.5), (1.0, 1.0)], ids=["falling", "repeated"])
def test_bounds_that_do_not_rise_are_a_programmers_error(bounds: tuple[float, ...]) -> None:
    with pytest.raises(AssertionError, match="rise"):
        Histogram(bounds)


@pytest.mark.parametrize("bounds", [ANSWER_BOUNDS_S, CALL_BOUNDS_S], ids=["answer", "call"])
def test_the_common_bounds_rise(bounds: tuple[float, ...]) -> None:
    assert Histogram(bounds).count == 0


@given(st.lists(st.floats(min_value=0, max_value=1e6), max_size=50))
def test_no_observation_is_lost_or_counted_twice(durations: list[float]) -> None:
    histogram = Histogram(ANSWER_BOUNDS_S)
    for duration_s in durations:
        histogram.observe(duration_s)

    family = histogram.as_metric("answer_seconds", "How long.")
    counts = {
        sample.labels["le"]: sample.value for sample in family.samples if "le" in sample.labels
    }

    assert counts == {
        **{str(b): sum(d <= b for d in durations) for b in ANSWER_BOUNDS_S},
        "+Inf": len(durations),
    }
