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
import os
import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from dialgate.records import (
    APPLICATION_ID,
    SCHEMA,
    SCHEMA_VERSION,
    UNDER_WAY,
    CallFacts,
    CallRecord,
    SpoolError,
    check_format,
)

__all__ = ["Spool", "SpoolCounters"]

RECORDS_MAX: Final = 100_000
"""In the file: about 70 MB."""
QUEUE_MAX: Final = 10_000
"""Records that wait for the disk."""
BATCH_MAX: Final = 500
"""Records in one transaction."""
RETRY_S: Final = 1.0
"""Until what could not be written is tried again."""

_INSERT: Final = (
    "INSERT OR IGNORE INTO records (record, call, kind, made_at, body) VALUES (?, ?, ?, ?, ?)"
)
_NOTE: Final = "INSERT OR REPLACE INTO under_way (call, body) VALUES (?, ?)"
_FORGET: Final = "DELETE FROM under_way WHERE call = ?"
_MAKE_ROOM: Final = """
    DELETE FROM records WHERE number IN (
        SELECT number FROM records AS old
        WHERE stored_at IS NOT NULL AND EXISTS (
            SELECT 1 FROM records
            WHERE call = old.call AND kind = 'stop' AND stored_at IS NOT NULL
        )
        ORDER BY number LIMIT ?
    )
"""


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


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What became of the records of one transaction."""

    kept: int
    doubled: int
    refused: int


class _Note(NamedTuple):
    """That a call is under way, and what is known of it."""

    call: bytes
    facts: CallFacts


class Spool:
    """An agent's spool, as `open` returns it."""

    def __init__(
        self,
        file: _SpoolFile,
        thread: ThreadPoolExecutor,
        on_error: Callable[[str], None],
        retry_s: float,
    ) -> None:
        """Begin to write what is kept to an open file, in its thread."""
        self.counters = SpoolCounters()
        self._file = file
        self._thread = thread
        self._on_error = on_error
        self._retry_s = retry_s
        self._failing = False
        self._queue: deque[CallRecord | _Note] = deque()
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
        file = _SpoolFile(Path(path), records_max)
        try:
            await asyncio.get_running_loop().run_in_executor(thread, file.open)
        except BaseException:
            thread.shutdown(wait=False)
            raise
        return cls(file, thread, on_error, retry_s)

    @property
    def waiting(self) -> int:
        """How many records and notes are not on the disk yet."""
        return len(self._queue)

    @property
    def records(self) -> int:
        """How many records the file holds."""
        return self._file.records

    def keep(self, record: CallRecord) -> bool:
        """Queue a record for the disk; return False when the queue is full."""
        if not self._put(record):
            self._refused(1, "the queue of records is full")
            return False
        return True

    def note(self, call: bytes, facts: CallFacts) -> None:
        """Queue for the disk that a call is under way, until its stop record is kept."""
        self._put(_Note(call, facts))

    def _put(self, entry: CallRecord | _Note) -> bool:
        if len(self._queue) >= QUEUE_MAX:
            return False
        self._queue.append(entry)
        self._written.clear()
        self._queued.set()
        return True

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
            self._fail(f"records can't be written, and wait: {error}")
            await asyncio.sleep(self._retry_s)
            return
        for _ in batch:
            self._queue.popleft()
        self.counters.records_kept += outcome.kept
        self.counters.records_doubled += outcome.doubled
        if outcome.refused:
            self._refused(outcome.refused, "the spool is full of records that no broker has stored")
        else:
            self._failing = False

    def _refused(self, count: int, reason: str) -> None:
        self.counters.records_refused += count
        self._fail(f"records are lost: {reason}")

    def _fail(self, what: str) -> None:
        if not self._failing:
            self._failing = True
            self._on_error(f"{self._file.path}: {what}")


class _SpoolFile:
    """The file, used by the spool's thread alone."""

    def __init__(self, path: Path, records_max: int) -> None:
        self.path = path
        self.records = 0
        self._records_max = records_max
        self._connection: sqlite3.Connection

    def open(self) -> None:
        """Open the file, and make it or its table if they are not there."""
        try:
            # Made here, so that nobody else can read it even for a moment.
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self._connection = sqlite3.connect(self.path, isolation_level=None, timeout=5.0)
        except (OSError, sqlite3.Error) as error:
            raise SpoolError(f"{self.path}: can't be opened: {_words(error)}") from error
        try:
            self._prepare()
        except sqlite3.Error as error:
            self.close()
            raise SpoolError(f"{self.path}: can't be used as spool: {error}") from error
        except SpoolError:
            self.close()
            raise

    def _prepare(self) -> None:
        execute = self._connection.execute
        (tables,) = execute("SELECT count(*) FROM sqlite_schema").fetchone()
        is_new = tables == 0
        if not is_new:
            check_format(self._connection, self.path)
            (damage,) = execute("PRAGMA quick_check(1)").fetchone()
            if damage != "ok":
                raise SpoolError(f"{self.path}: is damaged: move it away and start again")
        execute("PRAGMA journal_mode = WAL")
        execute("PRAGMA synchronous = FULL")
        # Asks for the lock, so that a file that can't be written is refused here.
        execute("BEGIN IMMEDIATE")
        for statement in SCHEMA if is_new else ():
            execute(statement)
        execute(UNDER_WAY)
        execute(f"PRAGMA application_id = {APPLICATION_ID}")
        execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        execute("COMMIT")
        (self.records,) = execute("SELECT count(*) FROM records").fetchone()

    def insert(self, batch: Sequence[CallRecord | _Note]) -> _Outcome:
        """Write a batch durably, as far as there is room; all of it or, with an error, nothing.

        Notes of calls that are under way need no room: there are no more of them than ports.
        """
        execute = self._connection.execute
        new = [each for each in batch if isinstance(each, CallRecord)]
        execute("BEGIN IMMEDIATE")
        try:
            records = self.records
            if (excess := records + len(new) - self._records_max) > 0:
                records -= execute(_MAKE_ROOM, (excess,)).rowcount
            fitting = new[: max(0, self._records_max - records)]
            kept = sum(execute(_INSERT, _row(record)).rowcount for record in fitting)
            for each in batch:
                if isinstance(each, _Note):
                    execute(_NOTE, (each.call, msgspec.json.encode(each.facts).decode()))
                elif each.kind == "stop":
                    execute(_FORGET, (each.call,))
            execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                execute("ROLLBACK")
            raise
        self.records = records + kept
        return _Outcome(kept, len(fitting) - kept, len(new) - len(fitting))

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


def _row(record: CallRecord) -> tuple[bytes, bytes, str, float, str]:
    body = msgspec.json.encode(record.facts).decode()
    return record.record, record.call, record.kind, record.made_at, body


def _words(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
