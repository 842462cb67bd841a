"""Tries and lock-outs in a real state, SQLite and PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from dialgate import tries
from dialgate.lockout import Limit
from dialgate.state import open_state, reading
from dialgate.tables import TRIES
from dialgate.tries import OPEN_S, Barred, Place, Rules, Ticket

NOW: Final = 1_800_000_000
RULES: Final = Rules(
    place=Limit(tries=3, wait_s=60, wait_max_s=600, forget_s=3600),
    user=Limit(tries=5, wait_s=60, wait_max_s=600, forget_s=3600),
    number_known_s=30_000,
)
OWN: Final = Place("5550100", "oslo-1", "oslo/1")
"""From where ann calls."""
OTHERS: Final = [Place(f"555020{digit}", "oslo-1", "oslo/1") for digit in range(10)]


@pytest.fixture
async def state(tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    engine = await open_state(f"sqlite:///{tmp_path}/state.db")
    yield engine
    await engine.dispose()


@pytest.fixture
async def each_state(state_url: str) -> AsyncIterator[AsyncEngine]:
    engine = await open_state(state_url)
    yield engine
    await engine.dispose()


async def fails(
    state: AsyncEngine, user: str, place: Place, times: int = 1, now_s: int = NOW
) -> int:
    """Have `user` fail at `place`; return how many of the tries were charged."""
    tickets = [await tries.charge(state, user, place, RULES, now_s) for _ in range(times)]
    for ticket in tickets:
        if isinstance(ticket, Ticket):
            await tries.fail(state, ticket, now_s)
    return len([ticket for ticket in tickets if isinstance(ticket, Ticket)])


async def may_try(state: AsyncEngine, user: str, place: Place, now_s: int = NOW) -> bool:
    """Return whether a try would be charged; it is taken back."""
    ticket = await tries.charge(state, user, place, RULES, now_s)
    if isinstance(ticket, Ticket):
        await tries.take_back(state, ticket, RULES, now_s)
    return isinstance(ticket, Ticket)


async def gets_in(state: AsyncEngine, user: str, place: Place, now_s: int = NOW) -> None:
    ticket = await tries.charge(state, user, place, RULES, now_s)
    assert isinstance(ticket, Ticket)
    await tries.accept(state, ticket, now_s)


async def charged(state: AsyncEngine, user: str) -> int:
    """Return how many tries the user's row as a whole has charged, ever."""
    statement = select(TRIES.c.charged).where(TRIES.c.user == user, TRIES.c.place == "")
    async with reading(state) as connection:
        number: int = (await connection.execute(statement)).scalar_one()
        return number


async def test_after_the_last_failed_try_a_user_waits_there_and_only_there(
    each_state: AsyncEngine,
) -> None:
    assert await fails(each_state, "ann", OWN, 5) == 3

    assert not await may_try(each_state, "ann", OWN, NOW + 59)
    assert await may_try(each_state, "ann", OTHERS[0])
    assert await may_try(each_state, "bob", OWN)
    assert await may_try(each_state, "ann", OWN, NOW + 60)


async def test_the_port_counts_where_no_number_is_known(state: AsyncEngine) -> None:
    hidden = replace(OWN, number="")
    assert await fails(state, "ann", hidden, 5) == 3

    assert await may_try(state, "ann", replace(hidden, hport="oslo/2"))
    assert await may_try(state, "ann", replace(hidden, agent="oslo-2"))
    assert not await may_try(state, "ann", hidden)


async def test_another_port_or_site_is_no_new_start_for_a_number(state: AsyncEngine) -> None:
    assert await fails(state, "ann", OWN, 3) == 3

    assert not await may_try(state, "ann", replace(OWN, agent="bergen-1", hport="bergen/7"))


async def test_many_numbers_lock_the_user_as_a_whole(each_state: AsyncEngine) -> None:
    assert [await fails(each_state, "ann", place) for place in OTHERS] == [1] * 5 + [0] * 5

    assert not await may_try(each_state, "ann", OWN)
    assert await may_try(each_state, "ann", OWN, NOW + 60)


async def test_one_number_can_never_lock_the_user_as_a_whole(state: AsyncEngine) -> None:
    """An attacker can't lock the engineer on call out from his own number."""
    for wait in range(20):
        await fails(state, "ann", OTHERS[0], 3, NOW + 600 * wait)

    assert await may_try(state, "ann", OWN, NOW + 600 * 19 + 1)
    assert await charged(state, "ann") > RULES.user.tries


async def test_a_number_from_which_he_got_in_stays_open_to_a_user_who_is_locked(
    state: AsyncEngine,
) -> None:
    await gets_in(state, "ann", OWN)
    for place in OTHERS:
        await fails(state, "ann", place)
    unknown = Place("5559999", "oslo-1", "oslo/1")

    assert await may_try(state, "ann", OWN)
    assert not await may_try(state, "ann", unknown)
    assert await fails(state, "ann", OWN, 5) == 3  # His own number has its own limit all the same.


async def test_failing_at_a_number_that_stays_open_makes_no_lock_of_the_user_longer(
    state: AsyncEngine,
) -> None:
    await gets_in(state, "ann", OWN)
    for place in OTHERS:
        await fails(state, "ann", place)
    before = [each for each in await tries.list_locks(state, NOW) if not each.place]

    await fails(state, "ann", OWN, 2, NOW + 10)

    assert before
    assert [each for each in await tries.list_locks(state, NOW) if not each.place] == before


async def test_a_port_is_no_number_that_stays_open(state: AsyncEngine) -> None:
    hidden = replace(OWN, number="")
    await gets_in(state, "ann", hidden)
    for place in OTHERS:
        await fails(state, "ann", place)

    assert not await may_try(state, "ann", hidden)


async def test_a_break_glass_user_is_not_locked_as_a_whole(state: AsyncEngine) -> None:
    for place in OTHERS:
        await fails(state, "ann", place)

    tickets = [
        await tries.charge(state, "ann", OWN, RULES, NOW, break_glass=True) for _ in range(5)
    ]
    assert [isinstance(each, Ticket) for each in tickets] == [True] * 3 + [False] * 2


async def test_getting_in_begins_the_count_anew(each_state: AsyncEngine) -> None:
    await fails(each_state, "ann", OWN, 2)
    await gets_in(each_state, "ann", OWN)

    assert await fails(each_state, "ann", OWN, 5) == 3


async def test_who_gets_in_forgives_nothing_to_other_numbers(state: AsyncEngine) -> None:
    await fails(state, "ann", OTHERS[0], 3)
    await gets_in(state, "ann", OWN)

    assert not await may_try(state, "ann", OTHERS[0])


async def test_a_try_without_a_decision_locks_nobody_and_stays_charged(state: AsyncEngine) -> None:
    for _ in range(10):
        assert await may_try(state, "ann", OWN)

    assert await charged(state, "ann") == 10
    assert await tries.list_locks(state, NOW) == []


async def test_a_spelling_is_not_worth_another_try(state: AsyncEngine) -> None:
    assert await fails(state, "Stra\u00dfe", OWN, 3) == 3

    for spelling in ("STRASSE", "strasse", "stra\u00dfe", "\uff33trasse"):
        assert not await may_try(state, spelling, OWN)


async def test_unlocking_a_user_unlocks_him_everywhere(each_state: AsyncEngine) -> None:
    for place in OTHERS:
        await fails(each_state, "ann", place, 3)
    before = await charged(each_state, "ann")

    await fails(each_state, "bob", OWN, 3)

    assert await tries.unlock(each_state, "Ann") > 1
    assert await tries.unlock(each_state, "Ann") == 0

    assert {lock.user for lock in await tries.list_locks(each_state, NOW)} == {"bob"}
    assert await may_try(each_state, "ann", OTHERS[0])
    assert await charged(each_state, "ann") >= before


async def test_the_locks_that_hold_are_listed(state: AsyncEngine) -> None:
    await fails(state, "ann", OWN, 3)
    await fails(state, "ann", OTHERS[1], 2)
    await fails(state, "bob", replace(OWN, number=""), 3)

    assert [(lock.user, lock.place) for lock in await tries.list_locks(state, NOW)] == [
        ("ann", ""),
        ("ann", "number 5550100"),
        ("bob", "port oslo/1 of oslo-1"),
    ]
    assert await tries.list_locks(state, NOW + 60) == []


async def test_what_has_no_effect_any_more_is_dropped(each_state: AsyncEngine) -> None:
    await fails(each_state, "ann", OWN)
    await gets_in(each_state, "bob", OWN)

    assert await tries.forget_old(each_state, RULES, NOW + 3600) == 0
    assert await tries.forget_old(each_state, RULES, NOW + 3601) == 2
    assert await tries.forget_old(each_state, RULES, NOW + 30_001) == 2


async def test_a_lock_that_holds_is_not_dropped_however_old_the_tries(state: AsyncEngine) -> None:
    brief = Limit(tries=3, wait_s=60, wait_max_s=600, forget_s=10)
    await fails(state, "ann", OWN, 3)

    await tries.forget_old(state, Rules(place=brief, user=brief, number_known_s=0), NOW + 40)

    assert [lock.user for lock in await tries.list_locks(state, NOW + 40)] == ["ann"]


async def test_the_table_is_bounded(state: AsyncEngine) -> None:
    for number in range(6):
        await fails(state, f"user{number}", OWN, now_s=NOW + number)

    assert await tries.forget_old(state, RULES, NOW + 10, rows_max=4) == 8
    assert await may_try(state, "user5", OWN, NOW + 10)


async def test_of_tries_at_the_same_moment_no_more_are_charged_than_one_after_another(
    each_state: AsyncEngine,
) -> None:
    tickets = await asyncio.gather(
        *(tries.charge(each_state, "ann", place, RULES, NOW) for place in [OWN, *OTHERS[:4]] * 4)
    )

    assert len([each for each in tickets if isinstance(each, Ticket)]) == RULES.user.tries
    assert next(each for each in tickets if isinstance(each, Barred)).open


async def test_any_name_and_any_number_can_be_charged(each_state: AsyncEngine) -> None:
    longest = Place("\x00\u2028" + "9" * 5000, "a" * 64, "h" * 128)

    assert isinstance(await tries.charge(each_state, "\u0390" * 128, longest, RULES, NOW), Ticket)
    assert isinstance(await tries.charge(each_state, "", longest, RULES, NOW), Ticket)


async def test_a_lock_of_tries_that_are_open_may_go_when_one_is_right(state: AsyncEngine) -> None:
    first, *_ = [await tries.charge(state, "ann", OWN, RULES, NOW) for _ in range(3)]
    assert isinstance(first, Ticket)
    assert await tries.charge(state, "ann", OWN, RULES, NOW) == Barred(open=True, known=False)

    await tries.accept(state, first, NOW)

    assert isinstance(await tries.charge(state, "ann", OWN, RULES, NOW), Ticket)


async def test_a_lock_of_tries_that_failed_stays(state: AsyncEngine) -> None:
    await fails(state, "ann", OWN, 3)

    assert await tries.charge(state, "ann", OWN, RULES, NOW) == Barred(open=False, known=False)


async def test_tries_whose_worker_died_have_failed_after_a_while(state: AsyncEngine) -> None:
    for _ in range(3):
        await tries.charge(state, "ann", OWN, RULES, NOW)

    for later_s, is_open in ((OPEN_S - 1, True), (OPEN_S, False)):
        assert await tries.charge(state, "ann", OWN, RULES, NOW + later_s) == Barred(
            is_open, known=False
        )
