"""Records of calls in the state, on SQLite and PostgreSQL: each exactly once, whatever is offered.

The property offers the records of invented calls again and again, in any order and in batches of
any size, some of which fail half-way; a dictionary knows what must be in the table.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from dialgate.calls import Wanted, find_calls, records_of, store_records
from dialgate.errors import StateError
from dialgate.state import open_state, reading, writing
from dialgate.tables import CALL_RECORDS
from dialgate.wire.record import CallFacts, CallRecord, DialogFacts, Kind


@pytest.fixture
async def state(state_url: str) -> AsyncIterator[AsyncEngine]:
    """Open a state of each kind."""
    engine = await open_state(state_url)
    yield engine
    await engine.dispose()


def record(
    number: int,
    kind: Kind = "stop",
    *,
    call: int | None = None,
    hport: str = "oslo/1",
    user: str = "ann",
) -> CallRecord:
    dialog = DialogFacts(dialog="00", attempts=1, user=user)
    return CallRecord(
        record=number.to_bytes(16),
        call=(number if call is None else call).to_bytes(16),
        kind=kind,
        made_at=float(number),
        facts=CallFacts(site="oslo", agent="oslo-1", hport=hport, rang_at=0.0, dialogs=(dialog,)),
    )


async def table(engine: AsyncEngine) -> set[tuple[bytes, bytes, str]]:
    columns = CALL_RECORDS.c
    async with reading(engine) as connection:
        rows = await connection.execute(select(columns.record, columns.call, columns.kind))
        return {(bytes(row.record), bytes(row.call), row.kind) for row in rows}


async def test_a_record_is_read_as_it_was_stored(state: AsyncEngine) -> None:
    assert await store_records(state, [record(7)]) == 1

    assert await find_calls(state, Wanted()) == [record(7)]
    assert await records_of(state, record(7).call) == [record(7)]
    assert await records_of(state, record(8).call) == []


async def test_what_is_there_already_is_not_stored_again(state: AsyncEngine) -> None:
    first = [record(1, "start", call=9), record(2, call=9)]

    assert await store_records(state, first) == 2
    assert await store_records(state, [*first, record(3), record(3)]) == 1
    second_of_the_call = [record(4, "start", call=9), record(5, call=9)]
    assert await store_records(state, second_of_the_call) == 0
    assert await store_records(state, [record(6, "interim", call=9)]) == 1

    assert {number[-1] for number, _, _ in await table(state)} == {1, 2, 3, 6}


async def test_a_call_is_shown_by_its_last_record_newest_first(state: AsyncEngine) -> None:
    await store_records(
        state, [record(5, "start", call=1), record(6, call=1), record(7, "start", call=2)]
    )
    await store_records(state, [record(1, "start", call=3)])

    assert [each.record[-1] for each in await find_calls(state, Wanted())] == [7, 6, 1]
    assert [each.record[-1] for each in await find_calls(state, Wanted(limit=1))] == [7]
    assert [each.record[-1] for each in await find_calls(state, Wanted(since=6.0))] == [7, 6]


async def test_a_stop_is_the_last_whatever_the_clock_said(state: AsyncEngine) -> None:
    await store_records(state, [record(6, "start", call=1), record(5, "stop", call=1)])

    assert [each.kind for each in await find_calls(state, Wanted())] == ["stop"]


async def test_calls_are_found_by_user_and_port(state: AsyncEngine) -> None:
    await store_records(
        state,
        [record(1), record(2, user="bob"), record(3, hport="oslo/2"), record(4, user="a\0b")],
    )

    async def found(wanted: Wanted) -> list[int]:
        return [each.record[-1] for each in await find_calls(state, wanted)]

    assert await found(Wanted(user="bob")) == [2]
    assert await found(Wanted(hport="oslo/2")) == [3]
    assert await found(Wanted(user="bob", hport="oslo/2")) == []
    assert await found(Wanted(user="a\ufffdb")) == [4]


async def test_a_record_that_cannot_be_read_is_one_line(state: AsyncEngine) -> None:
    await store_records(state, [record(1)])
    async with writing(state) as connection:
        await connection.exec_driver_sql("UPDATE call_records SET facts = '{}'")

    with pytest.raises(StateError, match="can't be read"):
        await find_calls(state, Wanted())


KINDS: Sequence[Kind] = ("start", "start", "interim", "interim", "stop", "stop")
RECORDS = [
    record(number, kind, call=call)
    for number, (call, kind) in enumerate((call, kind) for call in range(4) for kind in KINDS)
]


@pytest.fixture(scope="module")
def an_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the URL of the state that all examples use in turn."""
    return f"sqlite:///{tmp_path_factory.mktemp('calls')}/state.db"


@settings(max_examples=40)
@given(
    offers=st.lists(
        st.tuples(st.lists(st.sampled_from(RECORDS), min_size=1, max_size=12), st.booleans()),
        max_size=12,
    )
)
def test_each_record_is_there_once_whatever_is_offered(
    an_url: str, offers: Sequence[tuple[list[CallRecord], bool]]
) -> None:
    model: dict[bytes, CallRecord] = {}
    taken: set[tuple[bytes, str]] = set()

    def expect(batch: Sequence[CallRecord]) -> int:
        before = len(model)
        for each in batch:
            once = (each.call, each.kind)
            if each.record not in model and (each.kind == "interim" or once not in taken):
                model[each.record] = each
                taken.add(once)
        return len(model) - before

    async def offer(engine: AsyncEngine, batch: Sequence[CallRecord], fails: bool) -> None:
        if fails:  # Killed before the commit: nothing of it may be there.
            with pytest.raises(ZeroDivisionError):
                await die_in(engine, row(batch[0]))
        else:
            assert await store_records(engine, batch) == expect(batch)

    async def play() -> None:
        engine = await open_state(an_url)
        try:
            async with writing(engine) as connection:
                await connection.execute(CALL_RECORDS.delete())
            for batch, fails in offers:
                await offer(engine, batch, fails)
            assert {number for number, _, _ in await table(engine)} == set(model)
        finally:
            await engine.dispose()

    asyncio.run(play())


async def die_in(engine: AsyncEngine, values: dict[str, object]) -> None:
    async with writing(engine) as connection:
        await connection.execute(CALL_RECORDS.insert().prefix_with("OR IGNORE"), [values])
        raise ZeroDivisionError


def row(each: CallRecord) -> dict[str, object]:
    return {
        "record": each.record,
        "call": each.call,
        "kind": each.kind,
        "made_at": 0.0,
        "stored_at": 0.0,
        "agent": "",
        "site": "",
        "hport": "",
        "username": "",
        "facts": "{}",
    }
