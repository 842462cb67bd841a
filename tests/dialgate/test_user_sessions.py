"""Sessions of users, counted in a real state, SQLite and PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

import pytest
from sqlalchemy import func, insert, select
from sqlalchemy.ext.asyncio import AsyncEngine

from dialgate.state import open_state, reading, writing
from dialgate.tables import CALL_RECORDS, USER_SESSIONS
from dialgate.user_sessions import Session, claim_session

NOW: Final = 1_800_000_000


@pytest.fixture
async def state(state_url: str) -> AsyncIterator[AsyncEngine]:
    engine = await open_state(state_url)
    yield engine
    await engine.dispose()


def session(port: int, user: str = "ann", *, call: int = 0, until_s: int = NOW + 600) -> Session:
    return Session(user, "oslo-1", f"oslo/{port}", (call or port).to_bytes(16), until_s)


async def stop(state: AsyncEngine, call: int, kind: str = "stop") -> None:
    """Store a record of a call."""
    record = {
        "record": (call * 8 + len(kind)).to_bytes(16),
        "call": call.to_bytes(16),
        "kind": kind,
        "made_at": float(NOW),
        "stored_at": float(NOW),
        **dict.fromkeys(("agent", "site", "hport", "username"), "-"),
        "facts": "{}",
    }
    async with writing(state) as connection:
        await connection.execute(insert(CALL_RECORDS).values(record))


async def test_a_user_has_so_many_sessions_and_no_more(state: AsyncEngine) -> None:
    assert await claim_session(state, session(1), 2, NOW)
    assert await claim_session(state, session(2), 2, NOW)
    assert not await claim_session(state, session(3), 2, NOW)
    assert await claim_session(state, session(3, "bob"), 1, NOW)


async def test_a_name_in_another_spelling_is_the_same_user(state: AsyncEngine) -> None:
    assert await claim_session(state, session(1, "Ann"), 1, NOW)
    assert not await claim_session(state, session(2, "ann"), 1, NOW)


async def test_a_session_is_over_when_its_stop_record_is_stored(state: AsyncEngine) -> None:
    await claim_session(state, session(1), 1, NOW)
    await stop(state, 1, "start")
    await stop(state, 7)
    assert not await claim_session(state, session(2), 1, NOW)

    await stop(state, 1)
    assert await claim_session(state, session(2), 1, NOW)


async def test_who_dials_the_same_port_again_has_left_it(state: AsyncEngine) -> None:
    assert await claim_session(state, session(1, call=10), 1, NOW)
    assert await claim_session(state, session(1, call=11), 1, NOW)
    assert not await claim_session(state, session(2), 1, NOW)


async def test_a_port_of_another_user_is_not_his_any_more(state: AsyncEngine) -> None:
    await claim_session(state, session(1, "ann", call=10), 1, NOW)
    await claim_session(state, session(1, "bob", call=11), 1, NOW)

    assert await claim_session(state, session(2, "ann"), 1, NOW)


async def test_a_session_whose_agent_is_never_heard_of_again_ends_with_its_time(
    state: AsyncEngine,
) -> None:
    await claim_session(state, session(1, until_s=NOW + 600), 1, NOW)

    assert not await claim_session(state, session(2), 1, NOW + 599)
    assert await claim_session(state, session(2), 1, NOW + 600)


async def test_without_a_limit_sessions_are_noted_all_the_same(state: AsyncEngine) -> None:
    assert await claim_session(state, session(1), 0, NOW)
    assert await claim_session(state, session(2), 0, NOW)
    assert not await claim_session(state, session(3), 2, NOW)


async def test_of_many_that_ask_at_once_no_more_get_leave_than_there_may_be(
    state: AsyncEngine,
) -> None:
    answers = await asyncio.gather(
        *(claim_session(state, session(port), 3, NOW) for port in range(1, 21))
    )

    assert sum(answers) == 3
    async with reading(state) as connection:
        rows = (await connection.execute(select(func.count()).select_from(USER_SESSIONS))).scalar()
    assert rows == 3
