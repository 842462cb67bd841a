"""Where records of calls are kept: each agent's disk, each broker's memory, the cluster's table.

What sends records and answers them are the real cores (`port_agents.record_sender`,
`broker.receipts`).  Replaced are SQLite and SQL, which are a dict each, and the thread of
`broker.ledger`, of which here are the batches, the limit and the tries while the state is away.

Invariant: what is on a disk or in the table is there after any process was killed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from broker.ledger import BATCH_MAX, RETRY_S, WAITING_MAX
from broker.receipts import Receipt
from dialgate.records import CallFacts, CallRecord
from dialgate.wire.record import encode_record
from port_agents.record_sender import Spooled
from simulator.hosts import Host

__all__ = ["DISK_S", "Ledger", "Spool", "Table"]

DISK_S: Final = 0.004
"""What a transaction takes."""


class Spool:
    """One agent's disk."""

    def __init__(self) -> None:
        self.is_full = False
        """Whether nothing can be written; what is there can be read."""
        self.kept: list[CallRecord] = []
        self.under_way: dict[bytes, Callable[[], CallFacts]] = {}
        """Notes of calls that have no stop record yet; few are ever read."""
        self.unkept: list[CallRecord] = []
        """In the memory of the process, until there is room."""
        self.unstored: dict[bytes, Spooled] = {}
        """By record: what no broker has stored as far as is known here, the oldest first."""

    def keep(self, record: CallRecord) -> bytes:
        """Write a record, for which there is room; return its message."""
        self.kept.append(record)
        message = encode_record(record)
        self.unstored[record.record] = Spooled(len(self.kept), record.record, message)
        if record.kind == "stop":
            self.under_way.pop(record.call, None)
        return message

    def load(self, after: int, limit: int) -> list[Spooled]:
        """Return the oldest unstored records behind number `after`."""
        return [each for each in self.unstored.values() if each.number > after][:limit]

    def mark_stored(self, records: Sequence[bytes]) -> None:
        """Note that a broker has stored these; on a full disk nobody can."""
        if not self.is_full:
            for record in records:
                self.unstored.pop(record, None)

    def unfinished(self) -> dict[bytes, CallFacts]:
        """Return what is known of calls that have no stop record."""
        stopped = {record.call for record in self.kept if record.kind == "stop"}
        started = {each.call: each.facts for each in self.kept if each.kind == "start"}
        noted = {call: read() for call, read in self.under_way.items()}
        return {call: facts for call, facts in {**noted, **started}.items() if call not in stopped}


class Table:
    """The records in the cluster's state: each once, and of a call one start and one stop."""

    def __init__(self) -> None:
        self.rows: dict[bytes, CallRecord] = {}
        self.doubled = 0
        """Records that were offered again."""
        self._ends: set[tuple[bytes, str]] = set()

    def store(self, records: Sequence[CallRecord]) -> None:
        """Store those that are not there yet."""
        for each in records:
            end = (each.call, each.kind)
            if each.record in self.rows or end in self._ends:
                self.doubled += 1
                continue
            self.rows[each.record] = each
            if each.kind != "interim":
                self._ends.add(end)


class Ledger:
    """What one broker's process does with records: `broker.ledger` without its thread.

    Args:
        host: the process; it must run for anything to happen.
        table: the cluster's.
        state_fault: says why the state can't be asked, or nothing.
        tell: takes what was committed.
    """

    def __init__(
        self,
        host: Host,
        table: Table,
        state_fault: Callable[[], str],
        tell: Callable[[Sequence[Receipt]], None],
    ) -> None:
        self.waiting: deque[Receipt] = deque()
        self._host = host
        self._table = table
        self._state_fault = state_fault
        self._tell = tell
        self._is_busy = False

    def store(self, receipts: Sequence[Receipt]) -> None:
        """Queue records for the state."""
        self.waiting.extend(receipts[: WAITING_MAX - len(self.waiting)])
        if not self._is_busy:
            self._is_busy = True
            self._host.timeline.after(DISK_S, self._host.turn, self._commit)

    def _commit(self) -> None:
        later = self._host.timeline.after
        if self._state_fault():
            later(RETRY_S, self._host.turn, self._commit)
            return
        batch = [self.waiting.popleft() for _ in range(min(BATCH_MAX, len(self.waiting)))]
        self._table.store([each.record for each in batch])
        # A process that is killed between the two has stored what it has told nobody.
        later(DISK_S, self._host.turn, self._tell, batch)
        self._is_busy = bool(self.waiting)
        if self._is_busy:
            later(DISK_S, self._host.turn, self._commit)
