"""Which records are still to be accounted, in the cluster's state: claimed, told, done.

Workers share the work: each claims a few rows with a lease, tells the server, and notes that it is
done.  A killed worker's rows are claimed by another when the lease is over, so that a record may be
told twice and never not at all; servers know it by Acct-Session-Id and Acct-Status-Type.  Of one
call, one row is claimed at a time, the oldest first: no Start comes after its Stop; and nothing of
an agent while an older start or end of it is not told, which a server may end its sessions by.

Records are looked for that were stored within `LOOK_BACK_S`; a table that is new accounts no older
ones.  Every function raises `StateError`, in one line, when the database can't be asked.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from sqlalchemy import Row, delete, exists, func, literal_column, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from auth_workers.radius.accounting import ADMITTED_BY, Status, admission_of
from dialgate.state import reading, writing
from dialgate.tables import ACCOUNTING, AGENT_TURNS, CALL_RECORDS
from dialgate.wire.record import CallFacts, CallRecord

__all__ = ["LOOK_BACK_S", "Claim", "Ledger"]

LOOK_BACK_S: Final = 86_400.0
"""How far back records are looked for that are not in the table yet."""
LOOK_BACK_EVERY_S: Final = 3600.0
"""How often that is; between, records are looked for that were stored within `RECENT_S`, brokers'
clocks being off included."""
RECENT_S: Final = 600.0
KEPT_S: Final = 2 * LOOK_BACK_S
"""How long a row is kept that is done: for longer than its record would be found again."""
ENTERED_MAX: Final = 256
"""Records that are entered at a time."""
TURN_SENDINGS: Final = 3
"""Sendings of an agent's start or end that its calls wait for: a server may not care for these."""

_rows: Final = ACCOUNTING.c
_records: Final = CALL_RECORDS.c
_turns: Final = AGENT_TURNS.c
_INSERTS: Final = {
    "postgresql": postgresql.insert(ACCOUNTING).on_conflict_do_nothing(),
    "sqlite": sqlite.insert(ACCOUNTING).on_conflict_do_nothing(),
}


@dataclass(frozen=True, slots=True)
class Claim:
    """A row that this worker may tell its server about until the lease is over."""

    row: bytes
    record: CallRecord | None
    """What is told; None: the agent's turn."""
    turn: Status
    """START where a record is told; else ON or OFF."""
    agent: str
    made_at: float
    """When what is told happened, seconds since 1970."""
    sendings: int
    """How often it was claimed, this time included."""


class Ledger:
    """The rows of one table `[authenticators.NAME]`.

    Args:
        state: the cluster's.
        name: the table's.
        worker: this process, 16 bytes.
    """

    def __init__(self, state: AsyncEngine, name: str, worker: bytes) -> None:
        self._state = state
        self._name = name
        self._worker = worker
        self._looked_back_at = -math.inf

    async def enter(self, now: float) -> int:
        """Enter what is not there yet, at most `ENTERED_MAX` records; return how many these are.

        Args:
            now: seconds since 1970.
        """
        if now >= self._looked_back_at + LOOK_BACK_EVERY_S:
            since, self._looked_back_at = now - LOOK_BACK_S, now
        else:
            since = now - RECENT_S
        known = exists().where(_rows.authenticator == self._name, _rows.record == _records.record)
        unknown = (
            select(CALL_RECORDS)
            .where(_records.stored_at >= since, ~known)
            .order_by(_records.stored_at)
            .limit(ENTERED_MAX)
        )
        turned = exists().where(_rows.authenticator == self._name, _rows.record == _turns.id)
        turns = select(AGENT_TURNS).where(_turns.stored_at >= since, ~turned).limit(ENTERED_MAX)
        async with reading(self._state) as connection:
            found = [_record(row) for row in await connection.execute(unknown)]
            rows = [self._row_of_turn(turn, now) for turn in await connection.execute(turns)]
        rows += [self._row_of(record, now) for record in found]
        if len(found) == ENTERED_MAX:
            self._looked_back_at = -math.inf  # There are more.
        if rows:
            async with writing(self._state) as connection:
                await connection.execute(_INSERTS[self._state.dialect.name], rows)
        return len(found)

    async def claim(self, most: int, now: float, lease_s: float) -> list[Claim]:
        """Claim the oldest rows that are due, of each call one, at most `most`.

        Args:
            most: how many.
            now: seconds since 1970.
            lease_s: how long they are this worker's alone.
        """
        candidate, earlier = ACCOUNTING.alias("candidate").c, ACCOUNTING.alias("earlier").c
        waits = (
            earlier.authenticator == self._name,
            ~earlier.done,
            earlier.made_at < candidate.made_at,
        )
        blocked = or_(
            exists().where(*waits, earlier.call == candidate.call),
            exists().where(
                *waits,
                earlier.agent == candidate.agent,
                # In the words of the index.
                earlier.turn != literal_column(f"{Status.START:d}"),
                earlier.sendings < TURN_SENDINGS,
            ),
        )
        chosen = (
            select(candidate.record)
            .where(
                candidate.authenticator == self._name,
                ~candidate.done,
                candidate.due_at <= now,
                ~blocked,
            )
            .order_by(candidate.made_at)
            .limit(most)
            .with_for_update(skip_locked=True)
        )
        claimed = (
            update(ACCOUNTING)
            .where(
                _rows.authenticator == self._name,
                _rows.record.in_(chosen),
                # Once more, for a row that another worker has claimed meanwhile.
                _rows.due_at <= now,
            )
            .values(due_at=now + lease_s, worker=self._worker, sendings=_rows.sendings + 1)
            .returning(*_rows)
        )
        async with writing(self._state) as connection:
            rows = (await connection.execute(claimed)).all()
            records = await _find(connection, [row.record for row in rows])
        return [
            Claim(
                row=bytes(row.record),
                record=records.get(bytes(row.record)),
                turn=Status(row.turn),
                agent=row.agent,
                made_at=row.made_at,
                sendings=row.sendings,
            )
            for row in sorted(rows, key=lambda row: row.made_at)
        ]

    async def finish(self, claim: Claim) -> None:
        """Note that the server has answered."""
        await self._change(claim, done=True)

    async def put_back(self, claim: Claim, due_at: float) -> None:
        """Let the row be claimed again from `due_at` on, seconds since 1970."""
        await self._change(claim, due_at=due_at)

    async def waiting(self) -> int:
        """Return how many rows are not done."""
        rows = (_rows.authenticator == self._name, ~_rows.done)
        async with reading(self._state) as connection:
            found = await connection.execute(select(func.count()).where(*rows))
            return int(found.scalar_one())

    async def forget(self, now: float) -> None:
        """Delete rows that are done and that no record would be entered for again."""
        old = (_rows.authenticator == self._name, _rows.done, _rows.entered_at < now - KEPT_S)
        async with writing(self._state) as connection:
            await connection.execute(delete(ACCOUNTING).where(*old))

    async def _change(self, claim: Claim, **values: Any) -> None:
        mine = (
            _rows.authenticator == self._name,
            _rows.record == claim.row,
            # Who took it over after the lease decides from then on.
            _rows.worker == self._worker,
            _rows.sendings == claim.sendings,
        )
        async with writing(self._state) as connection:
            await connection.execute(update(ACCOUNTING).where(*mine).values(**values))

    def _row_of(self, record: CallRecord, now: float) -> dict[str, Any]:
        """Return the row of a record, done at once if there is nothing to tell."""
        admission = admission_of(record)
        by = self._name if admission is None else admission.attributes.get(ADMITTED_BY, self._name)
        return {
            **self._new_row(record.record, record.facts.agent, record.made_at, now),
            "call": record.call,
            "turn": Status.START,
            "done": admission is None or by != self._name,
        }

    def _row_of_turn(self, turn: Row[Any], now: float) -> dict[str, Any]:
        """Return the row of an agent's start or end."""
        return {
            **self._new_row(turn.id, turn.agent, turn.at, now),
            "call": turn.id,
            "turn": Status.ON if turn.started else Status.OFF,
            "done": False,
        }

    def _new_row(self, row: bytes, agent: str, made_at: float, now: float) -> dict[str, Any]:
        return {
            "authenticator": self._name,
            "record": row,
            "agent": agent,
            "made_at": made_at,
            "entered_at": now,
            "due_at": now,
            "worker": b"",
            "sendings": 0,
        }


async def _find(connection: AsyncConnection, rows: Sequence[bytes]) -> dict[bytes, CallRecord]:
    found = await connection.execute(select(CALL_RECORDS).where(_records.record.in_(rows)))
    return {bytes(row.record): _record(row) for row in found}


def _record(row: Any) -> CallRecord:
    return CallRecord(
        record=bytes(row.record),
        call=bytes(row.call),
        kind=row.kind,
        made_at=row.made_at,
        facts=msgspec.json.decode(row.facts, type=CallFacts),
    )
