"""Integers in, Prometheus' text out: what a scrape shows is compared literally."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from dialgate import metrics
from dialgate.histogram import Histogram


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


def test_a_counter_has_a_sample_for_each_row() -> None:
    rows = [(["agent"], 3), (["worker"], 0)]

    assert scrape(metrics.counter("hellos_total", "HELLOs.", ["role"], rows)) == [
        "# HELP hellos_total HELLOs.",
        "# TYPE hellos_total counter",
        'hellos_total{role="agent"} 3.0',
        'hellos_total{role="worker"} 0.0',
    ]


def test_a_counter_without_total_in_its_name_is_a_programmers_error() -> None:
    with pytest.raises(AssertionError, match="hellos"):
        metrics.counter("hellos", "HELLOs.", [], [])


def test_a_gauge_without_labels_has_one_sample() -> None:
    assert scrape(metrics.gauge("waiting", "Waiting.", [], [((), 7)]))[2:] == ["waiting 7.0"]


def test_a_histogram_shows_for_each_bound_what_was_not_above_it() -> None:
    histogram = Histogram((0.1, 1.0))
    for duration_s in (0.0, 0.1, 0.5, 1.0, 7.0):
        histogram.observe(duration_s)

    assert scrape(metrics.histogram("answer_seconds", "How long.", "", {"": histogram})) == [
        "# HELP answer_seconds How long.",
        "# TYPE answer_seconds histogram",
        'answer_seconds_bucket{le="0.1"} 2.0',
        'answer_seconds_bucket{le="1.0"} 4.0',
        'answer_seconds_bucket{le="+Inf"} 5.0',
        "answer_seconds_count 5.0",
        "answer_seconds_sum 8.6",
    ]


def test_histograms_of_one_family_differ_by_their_label() -> None:
    normal, abnormal = Histogram((1.0,)), Histogram((1.0,))
    normal.observe(0.5)
    family = metrics.histogram("s_seconds", "x", "end", {"normal": normal, "abnormal": abnormal})

    assert [line for line in scrape(family) if "_count" in line] == [
        's_seconds_count{end="normal"} 1.0',
        's_seconds_count{end="abnormal"} 0.0',
    ]


def test_build_info_tells_the_release() -> None:
    (sample,) = metrics.build_info("broker").samples

    assert (sample.name, sample.value) == ("dialgate_broker_build_info", 1)
    assert set(sample.labels) == {"version", "python"}
