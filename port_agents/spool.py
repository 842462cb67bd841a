"""Keep the records of calls on this machine's disk.

The event loop only puts a record into a bounded queue; one thread writes what is queued, in order,
a transaction at a time, and each transaction is on the disk before the next begins (WAL,
synchronous=FULL).  What can't be written stays queued and is tried again, so a full disk costs no
record until the queue is full, and never a call.

Invariants: `keep` neither waits nor raises; a record that is not kept is counted; no more than
`records_max` records are in the file: the oldest ones of calls that are over and that a broker has
stored make room.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from dialgate.records import CallFacts, CallRecord
from port_agents.record_sender import Spooled
from port_agents.spool_file import Note, SpoolFile

__all__ = ["Spool", "SpoolCounters"]

RECORDS_MAX: Final = 100_000
"""In the file: about 70 MB."""
QUEUE_MAX: Final = 10_000
"""Records that wait for the disk."""
BATCH_MAX: Final = 500
"""Records in one transaction."""
FULL: Final = 0.9
"""Part of the file's room from which on new calls are not answered: calls that are under way, and
those that ring unanswered, have the rest."""
RETRY_S: Final = 1.0
"""Until what could not be written is tried again."""


@dataclass(slots=True)
class SpoolCounters:
    """Running totals since the spool was opened."""

    records_kept: int = 0
    """Records that are on the disk."""
    records_refused: int = 0
    """Records lost: file or queue was full."""
    records_doubled: int = 0
    """Records dropped because they were there already, or were a second start or stop of a call."""
    write_errors: int = 0
    """Transactions that failed; their records were tried again."""


class Spool:
    """An agent's spool, as `open` returns it."""

    def __init__(
        self,
        file: SpoolFile,
        thread: ThreadPoolExecutor,
        on_error: Callable[[str], None],
        records_max: int,
        retry_s: float,
    ) -> None:
        """Begin to write what is kept to an open file, in its thread."""
        self.on_written: Callable[[], None] = lambda: None
        """Called when records were written, or could not be."""
        self.is_failing = False
        """Whether the last transaction failed, so that records wait for the disk."""
        self.counters = SpoolCounters()
        self._file = file
        self._thread = thread
        self._on_error = on_error
        self._retry_s = retry_s
        self._is_told = False
        """Whether the failures that go on were told."""
        self._records_max = records_max
        self._queue: deque[CallRecord | Note] = deque()
        self._queued = asyncio.Event()
        self._written = asyncio.Event()
        self._written.set()
        self._writing = asyncio.create_task(self._write_queued())

    @classmethod
    async def open(
        cls,
        path: str | Path,
        on_error: Callable[[str], None],
        *,
        records_max: int = RECORDS_MAX,
        retry_s: float = RETRY_S,
    ) -> Spool:
        """Open a spool, which is made if it is not there.

        Args:
            path: the file; only its owner may read it.
            on_error: told in one line, once for each run of failures, that records are not kept.
            records_max: most records in the file.
            retry_s: seconds until a failed transaction is tried again.

        Raises:
            SpoolError: the file can't be used.
        """
        thread = ThreadPoolExecutor(1, "spool")
        file = SpoolFile(Path(path), records_max)
        try:
            await asyncio.get_running_loop().run_in_executor(thread, file.open)
        except BaseException:
            thread.shutdown(wait=False)
            raise
        return cls(file, thread, on_error, records_max, retry_s)

    @property
    def waiting(self) -> int:
        """How many records and notes are not on the disk yet."""
        return len(self._queue)

    @property
    def records(self) -> int:
        """How many records the file holds."""
        return self._file.records

    @property
    def unstored(self) -> int:
        """How many records no broker has stored yet."""
        return self._file.unstored + self.waiting

    @property
    def records_max(self) -> int:
        """How many records the file may hold."""
        return self._records_max

    @property
    def is_full(self) -> bool:
        """Whether the next call's records may find no room; those under way have some left."""
        return self.is_failing or self.unstored >= self._records_max * FULL

    def keep(self, record: CallRecord) -> bool:
        """Queue a record for the disk; return False when the queue is full."""
        if not self._put(record):
            self._refused(1, "the queue of records is full")
            return False
        return True

    def note(self, call: bytes, facts: CallFacts) -> None:
        """Queue for the disk that a call is under way, until its stop record is kept."""
        self._put(Note(call, facts))

    def _put(self, entry: CallRecord | Note) -> bool:
        if len(self._queue) >= QUEUE_MAX:
            return False
        self._queue.append(entry)
        self._written.clear()
        self._queued.set()
        return True

    async def load(self, after: int, limit: int) -> list[Spooled]:
        """Return the oldest unstored records behind number `after`; none if the file fails."""
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._thread, self._file.load, after, limit)
        except (sqlite3.Error, msgspec.MsgspecError) as error:
            self._fail(f"records can't be read, so none are sent: {error}")
            return []

    async def mark_stored(self, records: Sequence[bytes]) -> None:
        """Note that a broker has stored these records; if the file fails, they are sent again."""
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._thread, self._file.mark, records)
        except sqlite3.Error as error:
            self._fail(f"it can't be noted which records are stored: {error}")

    async def flush(self, bound_s: float) -> bool:
        """Wait until all records are on the disk; return False if `bound_s` did not do."""
        try:
            async with asyncio.timeout(bound_s):
                await self._written.wait()
        except TimeoutError:
            return False
        return True

    async def close(self, bound_s: float = 5.0) -> bool:
        """Write what is queued and close the file; return whether all of it was written.

        Closing again does nothing.
        """
        if self._writing.done():
            return not self._queue
        written = await self.flush(bound_s)
        self._writing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._writing
        await asyncio.get_running_loop().run_in_executor(self._thread, self._file.close)
        self._thread.shutdown(wait=False)
        return written

    async def _write_queued(self) -> None:
        while True:
            await self._queued.wait()
            self._queued.clear()
            while self._queue:
                await self._write_batch()
            self._written.set()

    async def _write_batch(self) -> None:
        batch = list(itertools.islice(self._queue, BATCH_MAX))
        loop = asyncio.get_running_loop()
        try:
            outcome = await loop.run_in_executor(self._thread, self._file.insert, batch)
        except sqlite3.Error as error:
            self.counters.write_errors += 1
            self.is_failing = True
            self._fail(f"records can't be written, and wait: {error}")
            self.on_written()
            await asyncio.sleep(self._retry_s)
            return
        self.is_failing = False
        for _ in batch:
            self._queue.popleft()
        self.counters.records_kept += outcome.kept
        self.counters.records_doubled += outcome.doubled
        if outcome.refused:
            self._refused(outcome.refused, "the spool is full of records that no broker has stored")
        else:
            self._is_told = False
        self.on_written()

    def _refused(self, count: int, reason: str) -> None:
        self.counters.records_refused += count
        self._fail(f"records are lost: {reason}")

    def _fail(self, what: str) -> None:
        if not self._is_told:
            self._is_told = True
            self._on_error(f"{self._file.path}: {what}")
