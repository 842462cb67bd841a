"""Which worker takes the next dialog, and which dialog the next credit.

Protocol §5's "assign" and §6.8: the worker that owns the dialog, with or without credit; else the
worker of the pool with most credit left, then the least recently used.  Waiting dialogs go by the
highest attempt, then first come, first served.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from broker.entries import Entry
from broker.sessions import WorkerSession

__all__ = ["Queue", "Workers"]


class Workers:
    """The worker sessions, by pool and by instance."""

    def __init__(self) -> None:
        self._by_pool: dict[str, list[WorkerSession]] = {}
        self._by_instance: dict[bytes, WorkerSession] = {}
        self._uses = 0

    def add(self, worker: WorkerSession) -> None:
        """Let `worker` be chosen from now on."""
        self._by_instance[worker.instance] = worker
        for pool in set(worker.pools):
            self._by_pool.setdefault(pool, []).append(worker)

    def remove(self, worker: WorkerSession) -> None:
        """Choose `worker` no more."""
        del self._by_instance[worker.instance]
        for pool in set(worker.pools):
            self._by_pool[pool].remove(worker)
            if not self._by_pool[pool]:
                del self._by_pool[pool]

    def choose(self, pool: str, owner: bytes) -> WorkerSession | None:
        """Return the worker for a dialog of `pool` that `owner` (or nobody: empty) has had."""
        worker = self._by_instance.get(owner)
        if worker is not None:
            return worker
        best, most = None, 0
        # One loop with nothing called, since it runs for every dialog.
        for each in self._by_pool.get(pool, ()):
            room = each.credit - each.sent
            if room < most or room <= 0 or each.is_draining:
                continue
            if best is None or room > most or each.used < best.used:
                best, most = each, room
        return best

    def use(self, worker: WorkerSession) -> None:
        """Charge `worker` one BEGIN: every one sent in the session counts (protocol §6.8)."""
        worker.sent += 1
        self._uses += 1
        worker.used = self._uses


class Queue:
    """Entries that wait for a worker."""

    def __init__(self) -> None:
        self._by_due: dict[Entry, None] = {}
        self._by_pool: dict[str, dict[int, dict[Entry, None]]] = {}
        """Pool → attempt → entries, each in the order of arrival."""

    def __len__(self) -> int:
        return len(self._by_due)

    def add(self, entry: Entry, due: float) -> None:
        """Let `entry` wait until `due`, which is never before that of an entry added earlier."""
        entry.due = due
        self._by_due[entry] = None
        attempts = self._by_pool.setdefault(entry.pool, {})
        attempts.setdefault(entry.attempt, {})[entry] = None

    def remove(self, entry: Entry) -> None:
        """Take `entry` out."""
        del self._by_due[entry]
        attempts = self._by_pool[entry.pool]
        del attempts[entry.attempt][entry]
        if not attempts[entry.attempt]:
            del attempts[entry.attempt]
            if not attempts:
                del self._by_pool[entry.pool]

    def next_of(self, pools: Iterable[str]) -> Entry | None:
        """Return who is next in any of `pools`; he stays in the queue."""
        heads = [
            next(iter(attempts[max(attempts)]))
            for pool in pools
            if (attempts := self._by_pool.get(pool))
        ]
        return min(heads, key=_highest_attempt_then_first, default=None)

    def owned_by(self, instance: bytes) -> list[Entry]:
        """Return those that prefer the worker `instance`, in the order to be served."""
        owned = [entry for entry in self._by_due if entry.owner == instance]
        return sorted(owned, key=_highest_attempt_then_first)

    def first(self) -> Entry:
        """Return who has waited longest; he stays in the queue, which is not empty."""
        return next(iter(self._by_due))

    def deadline(self) -> float:
        """Return when the first entry's time is over; `math.inf` without any."""
        return self.first().due if self._by_due else math.inf


def _highest_attempt_then_first(entry: Entry) -> tuple[int, float]:
    return -entry.attempt, entry.due
