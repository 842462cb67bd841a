"""How many sessions a user has at once, over all agents and workers.

A port has one session at most, so the table has a row a port: the session that was last admitted
there.  It is over when the call's stop record is in the state, when the port has another one, or,
should its agent never be heard of again, when its time is up.

Invariant: of workers that ask at once no more get leave than there may be.

Every function raises `StateError`, in one line, when the database can't be asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import ColumnElement, delete, exists, func, insert, select, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from dialgate.state import unbroken, writing
from dialgate.tables import CALL_RECORDS, USER_SESSIONS
from dialgate.tries import key_of

__all__ = ["UNBOUNDED_S", "Session", "claim_session"]

UNBOUNDED_S: Final = 7 * 86_400
"""How long a session without a limit of its own counts if its end is never heard of."""

_TURN: Final = text("SELECT pg_advisory_xact_lock(hashtextextended(:user, 0))")
"""PostgreSQL: of those who ask for the same user, one at a time.  SQLite has one writer anyway."""


@dataclass(frozen=True, slots=True)
class Session:
    """A session that a worker is about to grant."""

    user: str
    agent: str
    hport: str
    call: bytes
    until_s: int
    """When it is over at the latest, seconds since 1970."""


@unbroken
async def claim_session(
    engine: AsyncEngine, session: Session, sessions_max: int, now_s: int
) -> bool:
    """Note a session of a user, unless he has `sessions_max` others (0: no limit).

    Return whether he may have it.
    """
    async with writing(engine) as connection:
        if connection.dialect.name == "postgresql":
            await connection.execute(_TURN, {"user": key_of(session.user)})
        if sessions_max and await _others(connection, session, now_s) >= sessions_max:
            return False
        await connection.execute(delete(USER_SESSIONS).where(_is_port_of(session)))
        await connection.execute(
            insert(USER_SESSIONS).values(
                agent=session.agent,
                hport=session.hport,
                call=session.call,
                user=key_of(session.user),
                until_s=session.until_s,
            )
        )
    return True


async def _others(connection: AsyncConnection, session: Session, now_s: int) -> int:
    """Return how many sessions the user has at other ports."""
    table = USER_SESSIONS.c
    is_over = exists().where(CALL_RECORDS.c.call == table.call, CALL_RECORDS.c.kind == "stop")
    count = select(func.count()).where(
        table.user == key_of(session.user),
        table.until_s > now_s,
        ~_is_port_of(session),
        ~is_over,
    )
    return int((await connection.execute(count)).scalar_one())


def _is_port_of(session: Session) -> ColumnElement[bool]:
    table = USER_SESSIONS.c
    return (table.agent == session.agent) & (table.hport == session.hport)
