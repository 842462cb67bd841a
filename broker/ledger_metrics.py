"""The broker's Prometheus metrics of the records that it stores (docs/metrics.md)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from dialgate.metrics import counter, gauge

__all__ = ["LedgerCollector", "Storing"]


class Storing(Protocol):
    """What broker.ledger counts."""

    stored: int
    doubled: int
    dropped: int
    errors: int
    failing: str

    @property
    def waiting(self) -> int:
        """How many records are not stored yet."""


class LedgerCollector(Collector):
    """Shows one ledger, from plain integers that it counts."""

    def __init__(self, ledger: Storing) -> None:
        self._ledger = ledger

    def collect(self) -> Iterator[Metric]:
        """Yield every family."""
        ledger = self._ledger
        yield counter(
            "dialgate_broker_records_total",
            "Records of calls: stored, there already, or dropped for want of room here.",
            ["outcome"],
            [
                (("stored",), ledger.stored),
                (("doubled",), ledger.doubled),
                (("dropped",), ledger.dropped),
            ],
        )
        yield gauge(
            "dialgate_broker_records_waiting",
            "Records of calls that are to be stored; their agents have them until then.",
            [],
            [((), ledger.waiting)],
        )
        yield gauge(
            "dialgate_broker_state_failing",
            "1 while the state can't be opened or written, so that records stay with the agents.",
            [],
            [((), int(bool(ledger.failing)))],
        )
        yield counter(
            "dialgate_broker_state_errors_total",
            "Times that the state could not be opened or written; it is tried again.",
            [],
            [((), ledger.errors)],
        )
