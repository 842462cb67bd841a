"""The ledger, on real databases: stored before told, and a state that fails and comes back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from sqlalchemy import select

from broker import ledger as ledger_module
from broker.ledger import Ledger
from broker.receipts import Receipt
from broker.sessions import Turn
from dialgate.calls import Wanted, find_calls
from dialgate.state import open_state, reading
from dialgate.tables import AGENT_TURNS
from tests.broker.test_receipts import record
from tests.postgresql import PostgreSQL

NOBODY: Any = cast("Any", None)


class Told:
    """Notes which records were told as stored."""

    def __init__(self) -> None:
        self.records: list[bytes] = []

    def __call__(self, receipts: Sequence[Receipt]) -> None:
        self.records += [each.record.record for each in receipts]


@asynccontextmanager
async def open_ledger(url: str, told: Told) -> AsyncIterator[Ledger]:
    ledger = Ledger(url, told, retry_s=0.02)
    try:
        yield ledger
    finally:
        await ledger.aclose()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - the ledger's thread sets no event of ours
            await asyncio.sleep(0.01)


async def stored(url: str) -> set[bytes]:
    engine = await open_state(url)
    try:
        return {each.record for each in await find_calls(engine, Wanted())}
    finally:
        await engine.dispose()


def receipts(*numbers: int) -> list[Receipt]:
    return [Receipt(NOBODY, record(number)) for number in numbers]


async def test_what_is_told_is_in_the_state(state_url: str) -> None:
    told = Told()
    async with open_ledger(state_url, told) as ledger:
        ledger.store(receipts(1, 2))
        ledger.store(receipts(2, 3))
        await until(lambda: len(told.records) == 4)

        assert await stored(state_url) == {n.to_bytes(16) for n in (1, 2, 3)}
        assert (ledger.stored, ledger.doubled, ledger.waiting) == (3, 1, 0)


async def test_what_waits_is_stored_before_the_end(state_url: str) -> None:
    async with open_ledger(state_url, Told()) as ledger:
        ledger.store(receipts(*range(1200)))

    assert len(await stored(state_url)) == 1000, "as many as are asked for at a time"
    assert ledger.waiting == 0


async def test_starts_and_ends_of_agents_are_in_the_state_once(state_url: str) -> None:
    agent: Any = SimpleNamespace(name="oslo-1", instance=bytes(16))
    before = time.time()
    async with open_ledger(state_url, Told()) as ledger:
        ledger.note_turns([Turn(agent, started=True, ago_s=60.0)])
        ledger.note_turns([Turn(agent, started=True, ago_s=61.0), Turn(agent, started=False)])

    engine = await open_state(state_url)
    async with reading(engine) as connection:
        rows = (await connection.execute(select(AGENT_TURNS).order_by(AGENT_TURNS.c.at))).all()
    await engine.dispose()
    assert [(row.agent, row.started) for row in rows] == [("oslo-1", True), ("oslo-1", False)]
    assert rows[0].at == pytest.approx(before - 60, abs=5)


async def test_a_server_that_is_away_costs_no_record(postgresql: PostgreSQL) -> None:
    url = postgresql.database()
    told = Told()
    async with open_ledger(url, told) as ledger:
        ledger.store(receipts(1))
        await until(lambda: len(told.records) == 1)
        postgresql.stop()
        try:
            ledger.store(receipts(2, 3))
            await until(lambda: bool(ledger.failing))
            assert len(told.records) == 1
        finally:
            postgresql.start()
        await until(lambda: len(told.records) == 3)
        await until(lambda: not ledger.failing)

    assert await stored(url) == {n.to_bytes(16) for n in (1, 2, 3)}


async def test_a_state_that_cannot_be_opened_is_tried_until_it_can(tmp_path: Path) -> None:
    directory = tmp_path / "later"
    url = f"sqlite:///{directory}/state.db"
    told = Told()
    async with open_ledger(url, told) as ledger:
        ledger.store(receipts(1))
        await until(lambda: ledger.errors > 1)
        assert ledger.failing.startswith(f"{directory}/state.db: ")
        assert told.records == []

        directory.mkdir()
        await until(lambda: len(told.records) == 1)


async def test_beyond_the_limit_records_stay_with_their_agents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_module, "WAITING_MAX", 3)
    async with open_ledger(f"sqlite:///{tmp_path}/none/state.db", Told()) as ledger:
        ledger.store(receipts(1, 2))
        ledger.store(receipts(3, 4, 5))

        assert (ledger.waiting, ledger.dropped) == (3, 2)


async def test_the_end_does_not_wait_for_a_state_that_fails(tmp_path: Path) -> None:
    before = asyncio.get_running_loop().time()
    async with open_ledger(f"sqlite:///{tmp_path}/none/state.db", Told()) as ledger:
        ledger.store(receipts(1))

    assert asyncio.get_running_loop().time() - before < ledger_module.CLOSE_S
    assert list(tmp_path.iterdir()) == []
