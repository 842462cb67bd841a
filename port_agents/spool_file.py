"""The spool's file: one SQLite database, used by one thread.

Not when something is written, nor what is tried again: that is `port_agents.spool`.  Invariant:
each method's work is on the disk when it returns, or nothing of it is there.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from dialgate.records import (
    APPLICATION_ID,
    SCHEMA,
    SCHEMA_VERSION,
    UNDER_WAY,
    UNSTORED,
    CallFacts,
    CallRecord,
    SpoolError,
    check_format,
)
from dialgate.wire.record import encode_record
from port_agents.record_sender import Spooled

__all__ = ["Note", "Outcome", "SpoolFile"]

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
_LOAD: Final = """
    SELECT number, record, call, kind, made_at, body FROM records
    WHERE stored_at IS NULL AND number > ? ORDER BY number LIMIT ?
"""
_MARK: Final = "UPDATE records SET stored_at = ? WHERE record = ? AND stored_at IS NULL"
_COUNTS: Final = "SELECT count(*), coalesce(sum(stored_at IS NULL), 0) FROM records"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the records of one transaction."""

    kept: int
    doubled: int
    refused: int


class Note(NamedTuple):
    """That a call is under way, and what is known of it."""

    call: bytes
    facts: CallFacts


class SpoolFile:
    """The file, used by the spool's thread alone."""

    def __init__(self, path: Path, records_max: int) -> None:
        self.path = path
        self.records = 0
        """How many the file holds."""
        self.unstored = 0
        """How many of them no broker has stored."""
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
        execute(UNSTORED)
        execute(f"PRAGMA application_id = {APPLICATION_ID}")
        execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        execute("COMMIT")
        self.records, self.unstored = execute(_COUNTS).fetchone()

    def insert(self, batch: Sequence[CallRecord | Note]) -> Outcome:
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
                if isinstance(each, Note):
                    execute(_NOTE, (each.call, msgspec.json.encode(each.facts).decode()))
                elif each.kind == "stop":
                    execute(_FORGET, (each.call,))
            execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                execute("ROLLBACK")
            raise
        self.records = records + kept
        self.unstored += kept
        return Outcome(kept, len(fitting) - kept, len(new) - len(fitting))

    def load(self, after: int, limit: int) -> list[Spooled]:
        """Return the oldest unstored records behind number `after`, encoded to be sent."""
        rows = self._connection.execute(_LOAD, (after, limit)).fetchall()
        return [
            Spooled(
                number,
                record,
                encode_record(
                    CallRecord(
                        record=record,
                        call=call,
                        kind=kind,
                        made_at=made_at,
                        facts=msgspec.json.decode(body, type=CallFacts),
                    )
                ),
            )
            for number, record, call, kind, made_at, body in rows
        ]

    def mark(self, records: Sequence[bytes]) -> None:
        """Note that a broker has stored these records."""
        execute = self._connection.execute
        now = time.time()
        execute("BEGIN IMMEDIATE")
        try:
            marked = sum(execute(_MARK, (now, record)).rowcount for record in records)
            execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                execute("ROLLBACK")
            raise
        self.unstored -= marked

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


def _row(record: CallRecord) -> tuple[bytes, bytes, str, float, str]:
    body = msgspec.json.encode(record.facts).decode()
    return record.record, record.call, record.kind, record.made_at, body


def _words(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
