"""Who tells what, on SQLite and PostgreSQL: everything once, nothing not at all."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_workers.radius.accounting import Status
from auth_workers.radius.ledger import (
    ENTERED_MAX,
    KEPT_S,
    LOOK_BACK_S,
    TURN_SENDINGS,
    Claim,
    Ledger,
)
from dialgate.agent_turns import AgentTurn, store_turns
from dialgate.calls import store_records
from dialgate.state import open_state, reading
from dialgate.tables import ACCOUNTING
from tests.auth_workers.radius.calls import NOON, record

LEASE_S: Final = 30.0


@pytest.fixture
async def state(state_url: str) -> AsyncIterator[AsyncEngine]:
    engine = await open_state(state_url)
    yield engine
    await engine.dispose()


def ledger(state: AsyncEngine, worker: int = 1, name: str = "corp") -> Ledger:
    return Ledger(state, name, worker.to_bytes(16, "big"))


async def rows(state: AsyncEngine) -> int:
    async with reading(state) as connection:
        return len((await connection.execute(ACCOUNTING.select())).all())


def turn(*, started: bool = True, at: float = NOON - 9, agent: str = "oslo-1") -> AgentTurn:
    return AgentTurn(agent, bytes(16), started, at)


def ids(claims: list[Claim]) -> list[int]:
    return [int.from_bytes(each.record.record, "big") for each in claims if each.record]


async def test_a_record_is_claimed_told_and_done(state: AsyncEngine) -> None:
    now, mine = time.time(), ledger(state)
    await store_records(state, [record(1, "start")])

    assert await mine.enter(now) == 1
    assert await mine.enter(now) == 0
    (claim,) = await mine.claim(16, now, LEASE_S)
    assert claim.record == record(1, "start")
    assert (claim.turn, claim.sendings, claim.made_at) == (Status.START, 1, NOON)
    assert await mine.waiting() == 1

    await mine.finish(claim)

    assert await mine.waiting() == 0
    assert await mine.claim(16, now + 10 * LEASE_S, LEASE_S) == []


async def test_a_claim_is_one_workers_alone_until_its_lease_is_over(state: AsyncEngine) -> None:
    """A worker that is killed says nothing more; another takes its rows over."""
    now, killed, other = time.time(), ledger(state, 1), ledger(state, 2)
    await store_records(state, [record(1, "start")])
    await killed.enter(now)
    (lost,) = await killed.claim(16, now, LEASE_S)

    assert await other.claim(16, now + LEASE_S - 1, LEASE_S) == []
    (taken,) = await other.claim(16, now + LEASE_S, LEASE_S)
    assert taken.sendings == 2

    await killed.put_back(lost, 0.0)  # It was not dead, only slow: too late.
    assert await killed.claim(16, now + LEASE_S + 1, LEASE_S) == []
    await other.finish(taken)
    assert await other.waiting() == 0


async def test_what_is_put_back_is_due_again_later(state: AsyncEngine) -> None:
    now, mine = time.time(), ledger(state)
    await store_records(state, [record(1, "start")])
    await mine.enter(now)
    (claim,) = await mine.claim(16, now, LEASE_S)

    await mine.put_back(claim, now + 2)

    assert await mine.claim(16, now + 1, LEASE_S) == []
    (again,) = await mine.claim(16, now + 2, LEASE_S)
    assert again.sendings == 2


async def test_no_stop_is_told_before_its_start_is_answered(state: AsyncEngine) -> None:
    now, mine = time.time(), ledger(state)
    stops = [record(2, made_at=NOON + 9), record(4, call=2, made_at=NOON + 5)]
    await store_records(state, [*stops, record(1, "start")])
    await mine.enter(now)

    first = await mine.claim(16, now, LEASE_S)
    assert ids(first) == [1, 4]  # Another call's stop waits for nobody.
    assert await mine.claim(16, now, LEASE_S) == []

    await mine.finish(first[0])
    assert ids(await mine.claim(16, now, LEASE_S)) == [2]


async def test_workers_that_claim_at_once_share_the_work(state: AsyncEngine) -> None:
    now, workers = time.time(), [ledger(state, number) for number in range(1, 5)]
    await store_records(state, [record(n, "start", call=n) for n in range(1, 41)])
    await asyncio.gather(*(each.enter(now) for each in workers))

    claims = await asyncio.gather(*(each.claim(8, now, LEASE_S) for each in workers))
    rest = await workers[0].claim(40, now, LEASE_S)

    claimed = [number for each in [*claims, rest] for number in ids(each)]
    assert sorted(claimed) == list(range(1, 41))


async def test_who_was_not_admitted_or_by_another_table_is_not_told_of(state: AsyncEngine) -> None:
    now, mine = time.time(), ledger(state)
    strangers = [
        record(1, call=1, verdict="failure"),
        record(2, call=2, attributes={"radius": "another"}),
        record(3, call=3, attributes={"radius": "corp"}),
        record(4, call=4),  # By a local user's password.
    ]
    await store_records(state, strangers)
    assert await mine.enter(now) == 4

    assert sorted(ids(await mine.claim(16, now, LEASE_S))) == [3, 4]
    assert await mine.waiting() == 2


async def test_tables_tell_their_servers_each_for_itself(state: AsyncEngine) -> None:
    now, corp, field = time.time(), ledger(state), ledger(state, name="field")
    await store_records(state, [record(1, "start")])
    await corp.enter(now)
    await field.enter(now)

    assert ids(await corp.claim(16, now, LEASE_S)) == [1]
    assert ids(await field.claim(16, now, LEASE_S)) == [1]


async def test_an_agents_start_and_end_are_told_once_whoever_saw_them(state: AsyncEngine) -> None:
    now, mine = time.time(), ledger(state)
    await store_turns(state, [turn(), turn(at=NOON), turn(agent="bergen-1", started=False)], now)
    await store_turns(state, [turn()], now)
    assert await mine.enter(now) == 0  # No records.
    await mine.enter(now)

    claims = await mine.claim(16, now, LEASE_S)

    told = {(each.record, each.turn, each.agent, each.made_at) for each in claims}
    assert told == {
        (None, Status.ON, "oslo-1", NOON - 9),
        (None, Status.OFF, "bergen-1", NOON - 9),
    }
    assert len(claims) == 2


async def test_calls_wait_until_their_agents_start_is_told(state: AsyncEngine) -> None:
    """A server may end all sessions of the agent by it, those that came since included."""
    now, mine = time.time(), ledger(state)
    await store_turns(state, [turn()], now)
    await store_records(state, [record(1, "start"), record(2, "start", call=2, agent="bergen-1")])
    await mine.enter(now)

    start, other = await mine.claim(16, now, LEASE_S)
    assert (start.turn, ids([other])) == (Status.ON, [2])
    assert await mine.claim(16, now, LEASE_S) == []

    await mine.finish(start)
    assert ids(await mine.claim(16, now, LEASE_S)) == [1]


async def test_calls_wait_for_no_server_that_does_not_care_for_starts(state: AsyncEngine) -> None:
    now, mine = time.time(), ledger(state)
    await store_turns(state, [turn()], now)
    await store_records(state, [record(1, "start")])
    await mine.enter(now)
    for _ in range(TURN_SENDINGS - 1):
        (start,) = await mine.claim(16, now, LEASE_S)
        await mine.put_back(start, now)

    assert [each.turn for each in await mine.claim(16, now, LEASE_S)] == [Status.ON]
    assert ids(await mine.claim(16, now, LEASE_S)) == [1]


async def test_records_of_long_ago_are_left_alone(state: AsyncEngine) -> None:
    """A table that is new doesn't tell its servers of last year's calls."""
    await store_records(state, [record(1)])

    assert await ledger(state).enter(time.time() + LOOK_BACK_S + 1) == 0


async def test_a_backlog_is_entered_in_parts_and_in_whole(state: AsyncEngine) -> None:
    now, mine = time.time() + 3000, ledger(state)
    await store_records(state, [record(n, call=n) for n in range(1, ENTERED_MAX + 11)])

    assert await mine.enter(now) == ENTERED_MAX
    assert await mine.enter(now) == 10
    assert await mine.enter(now) == 0


async def test_what_is_done_is_forgotten_when_it_would_not_be_found_again(
    state: AsyncEngine,
) -> None:
    now, mine = time.time(), ledger(state)
    await store_records(state, [record(1, call=1), record(2, call=2)])
    await mine.enter(now)
    first, _ = await mine.claim(16, now, LEASE_S)
    await mine.finish(first)

    await mine.forget(now + KEPT_S - 1)
    assert await rows(state) == 2
    await mine.forget(now + KEPT_S + 1)
    assert await rows(state) == 1  # The one that is still to be told.


async def test_a_claim_reads_no_more_of_a_backlog_than_it_takes(tmp_path: Path) -> None:
    """A server that was away for a day leaves thousands of rows; each index has its part in it."""
    state = await open_state(f"sqlite:///{tmp_path}/state.db")
    said: list[tuple[str, Any]] = []

    @event.listens_for(state.sync_engine, "before_cursor_execute")
    def note(_connection: Any, _cursor: Any, statement: str, values: Any, *_: Any) -> None:
        said.append((statement, values))

    await ledger(state).claim(16, time.time(), LEASE_S)

    statement, values = next(each for each in said if each[0].startswith("UPDATE"))
    async with reading(state) as connection:
        plan = await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", tuple(values))
        steps = "\n".join(row.detail for row in plan)
    await state.dispose()
    for index in ("accounting_waiting", "accounting_of_calls", "accounting_turns"):
        assert f"USING INDEX {index} " in steps
    assert "SCAN" not in steps
    assert "ORDER BY" not in steps
