"""Records of calls as the agents' spools keep them: the words, the file, and how it is read.

A spool is one SQLite file of one agent, which alone writes it (`port_agents.spool`); anyone who may
read the file can read the calls, while the agent runs and when it does not.  Protocol §8 says what
a record holds.

Invariant: a call has at most one start and one stop record; no record holds an answer of a caller.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import quote

import msgspec

from dialgate.errors import DialgateError
from dialgate.wire.record import CallFacts, CallRecord, DialogFacts, Kind, Step

__all__ = [
    "APPLICATION_ID",
    "SCHEMA",
    "SCHEMA_VERSION",
    "UNDER_WAY",
    "UNSTORED",
    "CallFacts",
    "CallRecord",
    "DialogFacts",
    "SpoolError",
    "Step",
    "check_format",
    "read_calls",
    "read_records_of",
    "read_unfinished",
]

APPLICATION_ID: Final = 0x44475350
"""Marks the file as ours: "DGSP", in SQLite's header."""
SCHEMA_VERSION: Final = 2
"""A file of a newer version is refused, never changed."""
SCHEMA: Final = (
    """
    CREATE TABLE records (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        record BLOB NOT NULL UNIQUE,
        call BLOB NOT NULL,
        kind TEXT NOT NULL CHECK (kind IN ('start', 'interim', 'stop')),
        made_at REAL NOT NULL,
        body TEXT NOT NULL,
        stored_at REAL
    ) STRICT
    """,
    "CREATE UNIQUE INDEX one_start_one_stop ON records (call, kind) WHERE kind <> 'interim'",
    "CREATE INDEX by_call ON records (call, number)",
    "CREATE INDEX by_time ON records (made_at)",
)
"""`stored_at`: when a broker named the record in RECORDED; null until then."""
UNDER_WAY: Final = """
    CREATE TABLE IF NOT EXISTS under_way (call BLOB PRIMARY KEY, body TEXT NOT NULL) STRICT
"""
"""Calls that have no stop record yet; since version 2."""
UNSTORED: Final = "CREATE INDEX IF NOT EXISTS unstored ON records (number) WHERE stored_at IS NULL"
"""Made at each opening: the first spools were without it."""

_LATEST: Final = """
    SELECT record, call, kind, made_at, body FROM records AS latest
    WHERE made_at >= ?
      AND number = (SELECT max(number) FROM records WHERE call = latest.call)
    ORDER BY number DESC LIMIT ?
"""
"""The last record of each call, newest first."""
_OF_CALL: Final = """
    SELECT record, call, kind, made_at, body FROM records WHERE call = ? ORDER BY number
"""
_UNFINISHED: Final = """
    SELECT call, body FROM records AS first
    WHERE kind = 'start'
      AND NOT EXISTS (SELECT 1 FROM records WHERE call = first.call AND kind = 'stop')
    UNION ALL
    SELECT call, body FROM under_way
    WHERE NOT EXISTS (
        SELECT 1 FROM records WHERE call = under_way.call AND kind IN ('start', 'stop')
    )
"""
"""Each call that has no stop, as its start record tells of it, or the note that it is under way."""


class SpoolError(DialgateError):
    """A spool that can't be opened or read; the text names the file."""


def read_calls(path: str | Path, since: float = 0.0, limit: int = 1000) -> list[CallRecord]:
    """Return the last record of each call, newest first, at most `limit`; the file is not changed.

    Args:
        path: the spool.
        since: wall clock, seconds since 1970; calls without a record from then on are left out.
        limit: most calls to return.

    Raises:
        SpoolError: the file can't be read, or is no spool.
    """
    if not Path(path).exists():
        raise SpoolError(f"{path}: no such file: has the agent of this machine been started yet?")
    with _reading(path) as connection:
        return _records(connection.execute(_LATEST, (since, limit)))


def read_records_of(path: str | Path, call: str) -> list[CallRecord]:
    """Return every record of a call, whose id is in hex, in the order in which they were made.

    Raises:
        SpoolError: the file can't be read, or is no spool.
    """
    with _reading(path) as connection:
        return _records(connection.execute(_OF_CALL, (bytes.fromhex(call),)))


def read_unfinished(path: str | Path, agent: str) -> dict[bytes, CallFacts]:
    """Return what is known of `agent`'s calls that have no stop record, by their ids.

    Raises:
        SpoolError: the file can't be read, is no spool, or was not opened by this version yet.
    """
    with _reading(path) as connection:
        rows = connection.execute(_UNFINISHED).fetchall()
        unfinished = {call: msgspec.json.decode(body, type=CallFacts) for call, body in rows}
    return {call: facts for call, facts in unfinished.items() if facts.agent == agent}


def _records(rows: Iterable[tuple[bytes, bytes, Kind, float, str]]) -> list[CallRecord]:
    return [
        CallRecord(
            record=record,
            call=call,
            kind=kind,
            made_at=made_at,
            facts=msgspec.json.decode(body, type=CallFacts),
        )
        for record, call, kind, made_at, body in rows
    ]


@contextmanager
def _reading(path: str | Path) -> Iterator[sqlite3.Connection]:
    """Give a connection that changes nothing; what goes wrong is told as a `SpoolError`."""
    address = f"file:{quote(str(path))}?mode=ro"
    try:
        with closing(sqlite3.connect(address, uri=True, timeout=5.0)) as connection:
            check_format(connection, path)
            yield connection
    except (sqlite3.Error, msgspec.MsgspecError) as error:
        raise SpoolError(f"{path}: can't be read: {error}") from error


def check_format(connection: sqlite3.Connection, path: str | Path) -> None:
    """Return when the open file is a spool that this version knows.

    Raises:
        SpoolError: it is something else, or newer.
        sqlite3.Error: it is no SQLite file, or can't be read.
    """
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION_ID:
        raise SpoolError(f"{path}: is no spool of dialgate: name another file as agent.spool")
    if version > SCHEMA_VERSION:
        raise SpoolError(f"{path}: was made by a newer dialgate: install that again, or another")
