"""Many seeds, one after another or a few at a time, and the sum of what became of them.

Invariant: the sum does not depend on how many processes did the work, its times aside.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context, parent_process
from threading import Thread
from typing import Any, Final

import msgspec
from msgspec import Struct, field

from simulator.plan import Plan
from simulator.run import Outcome, simulate

__all__ = ["Total", "outcomes", "processes"]

_OF_EACH: Final = (
    "calls",
    "served",
    "dialogs",
    "attempts",
    "events",
    "checks",
    "records",
    "doubled",
)
_SUMS: Final = ("seeds", *_OF_EACH, "simulated_s", "cpu_s")


class Total(Struct, kw_only=True):
    """The sum of many outcomes."""

    seeds: int = 0
    calls: int = 0
    served: int = 0
    dialogs: int = 0
    attempts: int = 0
    events: int = 0
    checks: int = 0
    records: int = 0
    doubled: int = 0
    simulated_s: float = 0.0
    cpu_s: float = 0.0
    elapsed_s: float = 0.0
    """What it took by the clock on the wall; whoever ran the seeds says it."""
    faults: Counter[str] = field(default_factory=Counter)
    failures: list[Outcome] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        """Count one outcome."""
        self.seeds += 1
        for name in _OF_EACH:
            setattr(self, name, getattr(self, name) + getattr(outcome, name))
        self.simulated_s += outcome.simulated_s
        self.cpu_s += outcome.cpu_s
        self.faults.update(outcome.faults)
        if outcome.failure is not None:
            self.failures.append(outcome)

    def join(self, other: Total) -> None:
        """Count what another sum has counted."""
        for name in _SUMS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.faults.update(other.faults)
        self.failures += other.failures

    @property
    def times_real(self) -> float:
        """Simulated time to time on the wall: what this machine does with all jobs."""
        return self.simulated_s / self.elapsed_s if self.elapsed_s else 0.0

    @property
    def times_real_a_processor(self) -> float:
        """Simulated time to processor time: what one seed does alone."""
        return self.simulated_s / self.cpu_s if self.cpu_s else 0.0

    def lines(self) -> list[str]:
        """Return the sum for people."""
        faults = ", ".join(f"{kind} {count:,}" for kind, count in self.faults.most_common())
        return [
            f"seeds      {self.seeds:,}, of which broke a rule: {len(self.failures):,}",
            f"calls      {self.calls:,}, served: {self.served:,}",
            f"dialogs    {self.dialogs:,}, begun again: {self.attempts - self.dialogs:,}",
            f"records    {self.records:,} stored once, offered again: {self.doubled:,}",
            f"events     {self.events:,}, ports held against the rules: {self.checks:,}",
            f"faults     {self.faults.total():,}: {faults}",
            (
                f"time       {self.simulated_s / 3600:,.1f} h in {self.elapsed_s:,.0f} s, "
                f"{self.cpu_s:,.0f} s of a processor"
            ),
            (
                f"speed      {self.times_real:,.0f} times real time, "
                f"{self.times_real_a_processor:,.0f} on each processor"
            ),
        ]

    def report(self) -> dict[str, Any]:
        """Return the sum for machines."""
        report: dict[str, Any] = msgspec.to_builtins(self)
        report["failures"] = [
            {"seed": each.plan.seed, "mode": each.plan.mode, "rule": str(each.failure)}
            for each in self.failures
        ]
        return report


def outcomes(plans: Sequence[Plan], jobs: int) -> Iterator[Outcome]:
    """Yield what becomes of each plan, in their order."""
    jobs = min(jobs, len(plans))
    if jobs == 1:
        yield from map(simulate, plans)
        return
    with processes(jobs) as pool:
        yield from pool.map(simulate, plans)


def processes(jobs: int) -> ProcessPoolExecutor:
    """Return that many processes, which are gone when this one is, whatever ended it.

    Each is a fresh interpreter: what this process has open is no part of a world.
    """
    return ProcessPoolExecutor(
        jobs, mp_context=get_context("spawn"), initializer=_leave_with_parent
    )


def _leave_with_parent() -> None:
    """See to it that this process does not go on with what was queued when nobody waits for it."""
    Thread(target=_outlive_nobody, daemon=True).start()


def _outlive_nobody() -> None:
    parent = parent_process()
    assert parent is not None, "a pool's process was started by one"
    parent.join()
    os._exit(1)
