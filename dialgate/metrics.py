"""How all of dialgate's metrics are named and made; which there are, is the programs' business.

Each program has one module `metrics` with one collector: everything that it shows, in one place.
The hot paths count in plain integers and `dialgate.histogram`; the collector reads them when
Prometheus scrapes, on the event loop, so it has to be quick and must not wait.

Names (docs/metrics.md, prometheus.io/docs/practices/naming):
- `dialgate_PROGRAM_` in front: dialgate_broker_, dialgate_agent_, dialgate_worker_.  One exception:
  `dialgate_ports` of agents, what all of this is about.
- base units, spelled at the end: `_seconds`, `_bytes`.  Counters end in `_total`; what can fall
  doesn't.
- labels take values from closed sets (verbs, states, reasons), or from what the operator has
  configured (site, names of agents and workers).  Never callers, users, dialogs or hports.
- every value of an enumerated set is there from the start, at 0: a rate can't be taken of what
  appears with its first event.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from itertools import accumulate
from math import inf
from typing import Final

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.utils import floatToGoString

from dialgate.histogram import Histogram

__all__ = ["build_info", "counter", "gauge", "histogram"]

Rows = Iterable[tuple[Sequence[str], float]]
"""Values of the labels, in the order of the family's, and the sample's value."""

_VERSION: Final = version("dialgate")


def counter(
    name: str, documentation: str, labels: Sequence[str], rows: Rows
) -> CounterMetricFamily:
    """Return the counter `name`, which ends in `_total`, with a sample for each row."""
    assert name.endswith("_total"), name
    family = CounterMetricFamily(name, documentation, labels=labels)
    for values, number in rows:
        family.add_metric(values, number)
    return family


def gauge(name: str, documentation: str, labels: Sequence[str], rows: Rows) -> GaugeMetricFamily:
    """Return the gauge `name` with a sample for each row."""
    family = GaugeMetricFamily(name, documentation, labels=labels)
    for values, number in rows:
        family.add_metric(values, number)
    return family


def histogram(
    name: str, documentation: str, label: str, histograms: Mapping[str, Histogram]
) -> HistogramMetricFamily:
    """Return the histogram `name`, which ends in `_seconds`.

    `histograms` are by value of `label`; with an empty `label` there is one, under "".
    """
    assert name.endswith("_seconds"), name
    family = HistogramMetricFamily(name, documentation, labels=[label] if label else [])
    for value, each in histograms.items():
        bounds = map(floatToGoString, (*each.bounds, inf))
        buckets = list(zip(bounds, accumulate(each.counts), strict=True))
        family.add_metric([value] if label else [], buckets, each.sum_s)
    return family


def build_info(program: str) -> GaugeMetricFamily:
    """Return `dialgate_PROGRAM_build_info`: 1, with the release and the Python it runs on."""
    return gauge(
        f"dialgate_{program}_build_info",
        "Always 1; the labels say which release this is.",
        ["version", "python"],
        [([_VERSION, platform.python_version()], 1)],
    )
