"""Tries charged in the state before they are checked: what callers meet, what is counted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec
import pytest
from msgspec.structs import replace
from sqlalchemy import Table, func, select
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.testing import capture_logs

from auth_workers.authenticators import (
    UNKNOWN_USER,
    Accepted,
    Login,
    Rejected,
    Result,
    Terms,
    TryBarred,
    Unavailable,
)
from auth_workers.authenticators.local import Local, StoredUsers
from auth_workers.charging import UNCHARGED_MAX, UNCHARGED_S, Charging
from auth_workers.dialog import DialogEnded
from auth_workers.hashing import HashingPool
from auth_workers.testing import FACTS, TERMS, Caller, Event
from auth_workers.verdict import Granted, Refused, Undecided, Verdict
from dialgate.lockout import Limit
from dialgate.passwords import Argon2
from dialgate.state import open_state, reading, writing
from dialgate.tables import TRIES, USERS
from dialgate.tries import Rules
from dialgate.users import add_user

RULES: Final = Rules(
    place=Limit(tries=4, wait_s=60, wait_max_s=600, forget_s=3600),
    user=Limit(tries=8, wait_s=60, wait_max_s=600, forget_s=3600),
    number_known_s=3600,
)
BREAK_GLASS: Final = replace(TERMS, break_glass=True)


class Door:
    """Opens to ann's secret; counts what it checks, and what was charged by then."""

    def __init__(self, house: House, *, result: Result | None = None) -> None:
        self.checked = 0
        self.reached = asyncio.Event()
        self.charged_then: list[int] = []
        self._house = house
        self._result = result

    async def authenticate(self, login: Login) -> Result:
        password = await login.password()
        login.known |= login.user == "ann"
        self.checked += 1
        if not self._house.broken:
            self.charged_then.append(await self._house.charged())
        if self._result is not None:
            return self._result
        right = (login.user, password) == ("ann", b"secret")
        return Accepted(login.user) if right else Rejected()


class Stubborn(Door):
    """Asks on after it was told that the guess must not be checked."""

    async def authenticate(self, login: Login) -> Result:
        try:
            return await super().authenticate(login)
        except TryBarred:
            return Accepted((await login.ask(b"Again: ")).decode())


class Discreet(Door):
    """Doesn't tell who is known, as a RADIUS server."""

    async def authenticate(self, login: Login) -> Result:
        await login.password()
        known, result = login.known, await super().authenticate(login)
        login.known = known
        return result


class House:
    """A state, and what counts in it."""

    def __init__(self, state: AsyncEngine) -> None:
        self.state = state
        self.now = 1_800_000_000.0
        self.broken = False
        self.charging = Charging(state, RULES, clock=lambda: self.now, patience_s=0.0)

    async def charged(self) -> int:
        """Return how many tries were charged, ever."""
        statement = select(func.sum(TRIES.c.charged)).where(TRIES.c.place == "")
        async with reading(self.state) as connection:
            return (await connection.execute(statement)).scalar_one() or 0

    async def call(
        self, *script: bytes | Event, door: Door, number: str = "5550100", terms: Terms = TERMS
    ) -> Verdict:
        facts = msgspec.structs.replace(FACTS, caller=number)
        return await Caller(*script, facts=facts).meets(door, terms, self.charging)

    async def breaks(self, *others: Table) -> None:
        """Take tables away, as a state that can't be asked."""
        async with writing(self.state) as connection:
            for table in (TRIES, *others):
                await connection.run_sync(table.drop)
        self.broken = True


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    engine = await open_state(f"sqlite:///{tmp_path}/state.db")
    yield House(engine)
    await engine.dispose()


async def test_a_try_is_charged_before_it_is_checked(house: House) -> None:
    door = Door(house)

    await house.call(b"ann", b"a", b"ann", b"b", b"ann", b"secret", door=door)

    assert door.charged_then == [1, 2, 3]
    assert house.charging.charged == 3


async def test_a_locked_user_is_not_checked_and_hears_what_everybody_hears(house: House) -> None:
    door = Door(house)
    wrong = [b"ann", b"x"] * 3
    assert isinstance(await house.call(*wrong, door=door), Refused)

    verdict = await house.call(b"ann", b"y", b"ann", b"secret", b"ann", b"secret", door=door)

    assert verdict == Refused(UNKNOWN_USER, attributes={"message": "Login incorrect"})
    assert door.checked == 4
    assert (house.charging.barred, house.charging.locks) == (2, 1)


async def test_of_a_locked_user_nothing_more_is_asked(house: House) -> None:
    await house.call(*[b"ann", b"x"] * 3, door=Door(house))
    with suppress(DialogEnded):
        await house.call(b"ann", b"x", Event.HANG_UP, door=Door(house))
    caller = Caller(b"ann", b"secret", b"ann", Event.HANG_UP)

    with pytest.raises(DialogEnded):
        await caller.meets(Stubborn(house), TERMS, house.charging)

    assert b"Again" not in caller.screen


async def test_a_lock_that_no_open_try_can_lift_is_not_waited_on(house: House) -> None:
    patient = Charging(house.state, RULES, clock=lambda: house.now, patience_s=3600.0)
    wrong = Caller(*[b"ann", b"x"] * 3)
    await wrong.meets(Door(house), TERMS, house.charging)
    with suppress(DialogEnded):
        await Caller(b"ann", b"x", Event.HANG_UP).meets(Door(house), TERMS, house.charging)

    async with asyncio.timeout(20):
        with suppress(DialogEnded):
            await Caller(b"ann", b"y", Event.HANG_UP).meets(Door(house), TERMS, patient)

    assert patient.barred == 1


async def test_the_screen_and_the_pauses_of_a_locked_user_are_as_of_any_other(
    house: House,
) -> None:
    """Neither text nor pauses tell a locked user from an unknown one or a wrong password."""
    screens = []
    for _ in range(3):
        caller = Caller(*[b"ann", b"x"] * 3)
        await caller.meets(Door(house), TERMS, house.charging)
        screens.append((caller.screen, caller.pauses))

    assert house.charging.barred > 0
    assert screens[0] == screens[1] == screens[2]


async def test_who_got_in_before_is_known_by_name_and_others_are_not(house: House) -> None:
    """Whatever his authenticator knows of names: a RADIUS server doesn't tell."""
    door = Discreet(house)
    await house.call(b"ann", b"secret", door=door)

    with capture_logs() as logs:
        for name in (b"ann", b"hunter2"):
            for _ in range(2):
                await house.call(*[name, b"x"] * 3, door=door, number="5550123")

    shown = {(entry["event"], entry["user"]) for entry in logs}
    assert shown == {
        (event, user)
        for event in ("try failed", "user locked", "user is locked")
        for user in ("ann", UNKNOWN_USER)
    }


async def test_unknown_users_are_locked_like_known_ones(house: House) -> None:
    door = Door(house)
    for name in (b"ann", b"nobody"):
        before = door.checked
        for _ in range(3):
            await house.call(*[name, b"x"] * 3, door=door)
        assert door.checked - before == RULES.place.tries


async def test_when_the_wait_is_over_the_user_gets_in(house: House) -> None:
    for _ in range(2):
        await house.call(*[b"ann", b"x"] * 3, door=Door(house))
    assert isinstance(await house.call(*[b"ann", b"secret"] * 3, door=Door(house)), Refused)

    house.now += 60

    assert await house.call(b"ann", b"secret", door=Door(house)) == Granted("ann")


async def test_an_attacker_locks_nobody_out_but_from_his_own_number(house: House) -> None:
    for _ in range(20):
        await house.call(*[b"ann", b"x"] * 3, door=Door(house), number="5550666")
        house.now += 601

    assert await house.call(b"ann", b"secret", door=Door(house)) == Granted("ann")


async def test_unavailable_is_charged_and_never_counts_against_the_user(house: House) -> None:
    door = Door(house, result=Unavailable("radius: no answer"))
    for _ in range(10):
        assert isinstance(await house.call(b"ann", b"secret", door=door), Undecided)

    assert await house.charged() == 10
    assert await house.call(b"ann", b"secret", door=Door(house)) == Granted("ann")


async def test_who_hangs_up_while_he_is_checked_has_failed(house: House) -> None:
    """Else each guess could be taken back in the moment before its refusal."""

    class Slow(Door):
        async def authenticate(self, login: Login) -> Result:
            await super().authenticate(login)
            self.reached.set()
            await asyncio.Event().wait()
            raise AssertionError

    for _ in range(RULES.place.tries):
        caller = Caller(b"ann", b"x")
        call = asyncio.create_task(caller.meets(slow := Slow(house), TERMS, house.charging))
        await slow.reached.wait()
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)

    assert isinstance(await house.call(*[b"ann", b"secret"] * 3, door=Door(house)), Refused)


async def test_without_the_state_nothing_is_checked_and_nobody_is_refused(house: House) -> None:
    await house.breaks()
    door = Door(house)

    verdict = await house.call(b"ann", b"secret", door=door)

    assert isinstance(verdict, Undecided)
    assert door.checked == 0


async def test_a_state_that_goes_away_before_the_try_is_settled_lets_nobody_in(
    house: House,
) -> None:
    class Cutting(Door):
        async def authenticate(self, login: Login) -> Result:
            result = await super().authenticate(login)
            await house.breaks()
            return result

    assert isinstance(await house.call(b"ann", b"secret", door=Cutting(house)), Undecided)


async def test_a_break_glass_user_is_checked_without_the_state_and_that_is_counted(
    house: House,
) -> None:
    await house.breaks()

    verdict = await house.call(b"ann", b"secret", door=Door(house), terms=BREAK_GLASS)

    assert verdict == Granted("ann")
    assert house.charging.uncharged == 1


@pytest.mark.parametrize("password", [b"plugh", b"wrong"])
async def test_a_local_break_glass_user_is_neither_refused_nor_let_in_without_the_state(
    house: House, password: bytes
) -> None:
    """His password is in the state: nobody can say whether this is it."""
    hashing = HashingPool(Argon2(memory_kib=8, passes=1), 1)
    await add_user(house.state, "glass", b"plugh", hashing.argon2)
    local = Local(StoredUsers(house.state), hashing)
    await house.breaks(USERS)

    verdict = await Caller(b"glass", password).meets(local, BREAK_GLASS, house.charging)

    assert isinstance(verdict, Undecided)
    assert house.charging.uncharged == 1
    hashing.close()


async def test_without_the_state_break_glass_guesses_are_few(house: House) -> None:
    await house.breaks()
    door = Door(house)
    for _ in range(UNCHARGED_MAX):
        await house.call(*[b"ann", b"x"] * 3, door=door, terms=BREAK_GLASS)
    assert door.checked == UNCHARGED_MAX

    house.now += UNCHARGED_S
    await house.call(*[b"ann", b"x"] * 3, door=door, terms=BREAK_GLASS)

    assert door.checked == UNCHARGED_MAX + 3


async def test_an_authenticator_that_goes_on_after_the_bar_decides_nothing(house: House) -> None:
    """Whatever somebody else's code makes of it: a guess that was not charged lets nobody in."""

    class Stubborn(Door):
        async def authenticate(self, login: Login) -> Result:
            for _ in range(2):
                try:
                    await login.password()
                except TryBarred:
                    self.checked += 1
            return Accepted(login.user)

    await house.breaks()
    stubborn = Stubborn(house)

    assert isinstance(await house.call(b"ann", b"secret", door=stubborn), Undecided)
    assert stubborn.checked == 2


async def test_no_place_and_no_ticket_holds_an_answer(house: House) -> None:
    caller = Caller(b"ann", b"hush-hush")
    login = Login(caller.dialog, "ann", TERMS, house.charging.charge)
    await caller.goes_through(login.ask(b"login: "))
    await caller.goes_through(login.password())

    assert login.ticket is not None
    assert "hush" not in repr((login.ticket, login.barred))


async def test_a_user_who_calls_on_many_lines_at_once_gets_in_on_all(house: House) -> None:
    """His tries count as failed until they are found right; the others wait for that."""
    charging = Charging(house.state, RULES, clock=lambda: house.now)
    callers = [Caller(b"ann", b"secret") for _ in range(30)]

    verdicts = await asyncio.gather(
        *(caller.meets(Door(house), TERMS, charging) for caller in callers)
    )

    assert set(map(type, verdicts)) == {Granted}
    assert charging.barred == 0


async def test_guesses_on_many_lines_at_once_are_no_more_than_one_after_another(
    house: House,
) -> None:
    charging = Charging(house.state, RULES, clock=lambda: house.now)
    door = Door(house)
    callers = [Caller(b"ann", b"x") for _ in range(30)]

    await asyncio.gather(
        *(caller.meets(door, replace(TERMS, tries_max=1), charging) for caller in callers)
    )

    assert door.checked == RULES.place.tries
    assert charging.barred == 30 - RULES.place.tries
