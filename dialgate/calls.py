"""Calls in the cluster's state: records as brokers store them, and how they are found again.

The table holds every record once: by its id, and of a call one start and one stop, whatever is
offered.  Invariant: a record is never changed.

Every function raises `StateError`, in one line, when the database can't be asked.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from sqlalchemy import Select, case, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncEngine

from dialgate.errors import StateError
from dialgate.state import reading, writing
from dialgate.tables import CALL_RECORDS
from dialgate.wire.record import CallFacts, CallRecord

__all__ = ["Wanted", "find_calls", "records_of", "store_records"]

_INSERTS: Final = {
    # What is there already, by whichever key, stays as it is.
    "postgresql": postgresql.insert(CALL_RECORDS).on_conflict_do_nothing(),
    "sqlite": sqlite.insert(CALL_RECORDS).on_conflict_do_nothing(),
}
_columns: Final = CALL_RECORDS.c


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which calls to find."""

    since: float = 0.0
    """Seconds since 1970; calls whose last record was made before are left out."""
    user: str = ""
    """Of the call's last dialog; empty: any."""
    hport: str = ""
    limit: int = 1000


async def store_records(engine: AsyncEngine, records: Sequence[CallRecord]) -> int:
    """Store records that are not there yet, all in one transaction; return how many those were.

    They are on the disk when this returns.
    """
    statement = _INSERTS[engine.dialect.name].returning(_columns.record)
    now = time.time()
    async with writing(engine) as connection:
        stored = await connection.execute(statement, [_row(each, now) for each in records])
        return len(stored.all())


async def find_calls(engine: AsyncEngine, wanted: Wanted) -> list[CallRecord]:
    """Return the last record of each call that is wanted, newest call first."""
    newest = func.row_number().over(
        partition_by=_columns.call,
        # A stop that was stored before the start that was made before it is still the last.
        order_by=(case((_columns.kind == "stop", 1), else_=0).desc(), _columns.made_at.desc()),
    )
    ranked = (
        select(*_columns, newest.label("rank")).where(_columns.made_at >= wanted.since).subquery()
    )
    found = select(ranked).where(ranked.c.rank == 1)
    if wanted.user:
        found = found.where(ranked.c.username == wanted.user)
    if wanted.hport:
        found = found.where(ranked.c.hport == wanted.hport)
    return await _read(engine, found.order_by(ranked.c.made_at.desc()).limit(wanted.limit))


async def records_of(engine: AsyncEngine, call: bytes) -> list[CallRecord]:
    """Return every record of a call, in the order in which they were made; none: no such call."""
    found = select(CALL_RECORDS).where(_columns.call == call)
    return await _read(engine, found.order_by(_columns.made_at))


async def _read(engine: AsyncEngine, statement: Select[Any]) -> list[CallRecord]:
    async with reading(engine) as connection:
        rows = (await connection.execute(statement)).all()
    try:
        return [_record(row) for row in rows]
    except msgspec.MsgspecError as error:
        raise StateError(f"a record of a call in the state can't be read: {error}") from error


def _record(row: Row[Any]) -> CallRecord:
    return CallRecord(
        record=bytes(row.record),
        call=bytes(row.call),
        kind=row.kind,
        made_at=row.made_at,
        facts=msgspec.json.decode(row.facts, type=CallFacts),
    )


def _row(record: CallRecord, now: float) -> dict[str, Any]:
    facts = record.facts
    return {
        "record": record.record,
        "call": record.call,
        "kind": record.kind,
        "made_at": record.made_at,
        "stored_at": now,
        "agent": facts.agent,
        "site": facts.site,
        "hport": facts.hport,
        # PostgreSQL's text has no NUL; in JSON it is spelled out.
        "username": facts.dialogs[-1].user.replace("\0", "\ufffd") if facts.dialogs else "",
        "facts": msgspec.json.encode(facts).decode(),
    }
