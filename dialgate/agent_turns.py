"""When agents started and stopped, in the cluster's state: brokers note it, accounting tells it.

Each turn is there once, whichever brokers saw it: its id is made of the agent's process and of what
it did.  Rows are dropped when nobody asks for them any more.

Every function raises `StateError`, in one line, when the database can't be asked.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final, NamedTuple

from sqlalchemy import delete
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncEngine

from dialgate.state import writing
from dialgate.tables import AGENT_TURNS

__all__ = ["KEPT_S", "AgentTurn", "store_turns"]

KEPT_S: Final = 7 * 86_400.0
"""How long a turn is kept: for longer than accounting looks back."""
_INSERTS: Final = {
    "postgresql": postgresql.insert(AGENT_TURNS).on_conflict_do_nothing(),
    "sqlite": sqlite.insert(AGENT_TURNS).on_conflict_do_nothing(),
}


class AgentTurn(NamedTuple):
    """An agent's process has started, or is about to end in order."""

    agent: str
    instance: bytes
    """Of the process."""
    started: bool
    at: float
    """Seconds since 1970."""

    @property
    def id(self) -> bytes:
        """16 bytes, the same wherever it was seen."""
        text = f"{self.agent}/{self.instance.hex()}/{self.started}"
        return hashlib.sha256(text.encode()).digest()[:16]


async def store_turns(engine: AsyncEngine, turns: Sequence[AgentTurn], now: float) -> None:
    """Store turns that are not there yet, and drop what is old.

    Args:
        engine: the state.
        turns: at least one.
        now: seconds since 1970.
    """
    rows = [
        {
            "id": turn.id,
            "agent": turn.agent,
            "started": turn.started,
            "at": turn.at,
            "stored_at": now,
        }
        for turn in turns
    ]
    old = delete(AGENT_TURNS).where(AGENT_TURNS.c.stored_at < now - KEPT_S)
    async with writing(engine) as connection:
        await connection.execute(_INSERTS[engine.dialect.name], rows)
        await connection.execute(old)
