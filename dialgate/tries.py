"""Tries and lock-outs in the cluster's state, where nothing that dies or moves resets them.

A try is charged before its guess is checked: to the user at the place that the caller comes from
(his number, or the port where no number is known), and to the user as a whole.  The rule of waiting
is `dialgate.lockout`'s.  One place counts for the whole user only as far as its own limit, so that
whoever calls from one number can shut out nobody but himself; and numbers from which the user got
in before stay open to him while he is locked as a whole.

Invariants: `charged` of a row never falls, so checked ≤ charged ≤ submitted, whatever is killed.  A
name has a row whether or not there is such a user.

Every function raises `StateError`, in one line, when the database can't be asked.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Row, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from dialgate.lockout import FRESH, Limit, Standing, charged, taken_back
from dialgate.state import reading, unbroken, writing
from dialgate.tables import TRIES
from dialgate.text import printable

__all__ = [
    "Barred",
    "Lock",
    "Place",
    "Rules",
    "Ticket",
    "accept",
    "charge",
    "fail",
    "forget_old",
    "key_of",
    "list_locks",
    "take_back",
    "unlock",
]

PLACE_CHARS_MAX: Final = 256
"""Longest place; what a modem says of the caller may be anything."""
ROWS_MAX: Final = 1_000_000
"""Most rows kept; beyond them the oldest go first.  Names are the callers' invention."""
OPEN_S: Final = 5
"""How long after the last try it may still turn out that those before a lock were right; a try that
is open for longer is taken for one whose worker died."""
_EVERYWHERE: Final = ""
"""The place of a user's row as a whole."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a caller comes from."""

    number: str
    """His number; empty where none is known."""
    agent: str
    hport: str

    def __str__(self) -> str:
        words = f"number {self.number}" if self.number else f"port {self.hport} of {self.agent}"
        return printable(words)[:PLACE_CHARS_MAX]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """When to let wait."""

    place: Limit
    """For a user at one place."""
    user: Limit
    """For a user as a whole."""
    number_known_s: int
    """How long a number from which he got in stays open to him."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """A charged try, by which it is taken back or found right."""

    user: str
    """The user's key, not his name."""
    place: str
    counted_for_user: bool
    """Whether the user's row as a whole counts it, too."""
    known: bool
    """Whether somebody of this name got in before."""
    locks: int
    """How many of the two rows are locked from this try on, unless it is right."""


@dataclass(frozen=True, slots=True)
class Barred:
    """A try that must not be checked, since a lock holds."""

    open: bool
    """Tries that the lock followed from are still being checked: it may go when one is right."""
    known: bool
    """Whether somebody of this name got in before."""


@dataclass(frozen=True, slots=True)
class Lock:
    """A lock that holds."""

    user: str
    place: str
    """Empty: the user as a whole."""
    counted: int
    until_s: int


@unbroken
async def charge(
    engine: AsyncEngine,
    user: str,
    place: Place,
    rules: Rules,
    now_s: int,
    *,
    break_glass: bool = False,
) -> Ticket | Barred:
    """Charge a try that is about to be checked, unless a lock holds.

    Args:
        engine: the state.
        user: as the caller says he is called, known or not.
        place: where he comes from.
        rules: the policy's.
        now_s: seconds since 1970.
        break_glass: a lock of the user as a whole doesn't hold for him.
    """
    key, at = key_of(user), str(place)
    async with writing(engine) as connection:
        whole, here = await _held_rows(connection, key, at, now_s)
        number_known = bool(place.number) and now_s < here.admitted_s + rules.number_known_s
        known = whole.admitted_s > 0
        bars = [here] if _standing(here).is_locked(now_s) else []
        if _standing(whole).is_locked(now_s) and not number_known and not break_glass:
            bars.append(whole)
        if bars:
            return Barred(all(row.open and now_s < row.last_s + OPEN_S for row in bars), known)
        standing = charged(_standing(here), rules.place, now_s)
        as_whole = _standing(whole)
        counts = standing.counted <= rules.place.tries and not as_whole.is_locked(now_s)
        if counts:
            as_whole = charged(as_whole, rules.user, now_s)
        await _store(connection, here, standing, charged=here.charged + 1, open=here.open + 1)
        await _store(
            connection, whole, as_whole, charged=whole.charged + 1, open=whole.open + counts
        )
    locks = standing.is_locked(now_s) + (counts and as_whole.is_locked(now_s))
    return Ticket(key, at, counts, known, locks)


@unbroken
async def accept(engine: AsyncEngine, ticket: Ticket, now_s: int) -> None:
    """Take notice that a charged try was right: the user's count begins anew, there and as a whole.

    What other places have counted stays with them.
    """
    async with writing(engine) as connection:
        whole, here = await _held_rows(connection, ticket.user, ticket.place, now_s)
        await _close(connection, here, ticket, FRESH, last_s=now_s, admitted_s=now_s)
        await _close(connection, whole, ticket, FRESH, last_s=now_s, admitted_s=now_s)


@unbroken
async def fail(engine: AsyncEngine, ticket: Ticket, now_s: int) -> None:
    """Take notice that a charged try was wrong, as it was counted already."""
    async with writing(engine) as connection:
        whole, here = await _held_rows(connection, ticket.user, ticket.place, now_s)
        await _close(connection, here, ticket, _standing(here))
        await _close(connection, whole, ticket, _standing(whole))


@unbroken
async def take_back(engine: AsyncEngine, ticket: Ticket, rules: Rules, now_s: int) -> None:
    """Take back a try of which nobody could say whether it was right: no user is locked for it.

    It stays charged.  The caller learns nothing by it, so it is no free guess.
    """
    async with writing(engine) as connection:
        whole, here = await _held_rows(connection, ticket.user, ticket.place, now_s)
        await _close(connection, here, ticket, taken_back(_standing(here), rules.place))
        if ticket.counted_for_user:
            await _close(connection, whole, ticket, taken_back(_standing(whole), rules.user))


async def unlock(engine: AsyncEngine, user: str) -> int:
    """Forget what was counted for `user`, everywhere; return how many rows that changed."""
    statement = (
        update(TRIES)
        .where(TRIES.c.user == key_of(user), TRIES.c.counted > 0)
        .values(counted=0, locked_until_s=0, open=0)
    )
    async with writing(engine) as connection:
        return (await connection.execute(statement)).rowcount


async def list_locks(engine: AsyncEngine, now_s: int) -> list[Lock]:
    """Return every lock that holds, by user and place."""
    statement = (
        select(TRIES).where(TRIES.c.locked_until_s > now_s).order_by(TRIES.c.user, TRIES.c.place)
    )
    async with reading(engine) as connection:
        rows = await connection.execute(statement)
        return [Lock(row.user, row.place, row.counted, row.locked_until_s) for row in rows]


@unbroken
async def forget_old(
    engine: AsyncEngine, rules: Rules, now_s: int, rows_max: int = ROWS_MAX
) -> int:
    """Drop rows that have no effect any more, and the oldest beyond `rows_max`; return how many."""
    idle_s = max(rules.place.forget_s, rules.user.forget_s)
    old = delete(TRIES).where(
        TRIES.c.last_s < now_s - idle_s,
        TRIES.c.admitted_s < now_s - rules.number_known_s,
        TRIES.c.locked_until_s <= now_s,
    )
    newest = select(TRIES.c.last_s).order_by(TRIES.c.last_s.desc()).offset(rows_max).limit(1)
    async with writing(engine) as connection:
        dropped = (await connection.execute(old)).rowcount
        last_s = (await connection.execute(newest)).scalar_one_or_none()
        if last_s is not None:
            beyond = delete(TRIES).where(TRIES.c.last_s <= last_s)
            dropped += (await connection.execute(beyond)).rowcount
    return dropped


def key_of(user: str) -> str:
    """Return what tries for `user` are counted under, however he spells his name.

    Directories ignore case and forms of letters, and a spelling must not be worth another try.
    """
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", user).casefold())


async def _hold(connection: AsyncConnection, user: str, place: str, now_s: int) -> None:
    """Hold the rows of a user and of a place, made if there are none, until the transaction ends.

    The user's own comes first, always, so that two transactions can't wait for one another.
    """
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    fresh = {
        "user": user,
        "charged": 0,
        "counted": 0,
        "locked_until_s": 0,
        "last_s": now_s,
        "admitted_s": 0,
        "open": 0,
    }
    rows = [{**fresh, "place": each} for each in (_EVERYWHERE, place)]
    as_it_is = {"charged": TRIES.c.charged}
    statement = insert(TRIES).on_conflict_do_update(
        index_elements=[TRIES.c.user, TRIES.c.place], set_=as_it_is
    )
    await connection.execute(statement, rows)


async def _held_rows(
    connection: AsyncConnection, user: str, place: str, now_s: int
) -> tuple[Row[Any], Row[Any]]:
    """Return the user's row as a whole and that of the place, held until the transaction ends."""
    await _hold(connection, user, place, now_s)
    statement = (
        select(TRIES)
        .where(TRIES.c.user == user, TRIES.c.place.in_([_EVERYWHERE, place]))
        .order_by(TRIES.c.place)
    )
    whole, here = (await connection.execute(statement)).all()
    return whole, here


async def _close(
    connection: AsyncConnection, row: Row[Any], ticket: Ticket, standing: Standing, **values: int
) -> None:
    """Store what became of a row by the end of a try that was open."""
    counted = bool(row.place) or ticket.counted_for_user
    await _store(connection, row, standing, open=max(row.open - counted, 0), **values)


async def _store(
    connection: AsyncConnection, row: Row[Any], standing: Standing, **values: int
) -> None:
    statement = (
        update(TRIES)
        .where(TRIES.c.user == row.user, TRIES.c.place == row.place)
        .values(
            **{
                "counted": standing.counted,
                "locked_until_s": standing.locked_until_s,
                "last_s": standing.last_s,
                **values,
            }
        )
    )
    await connection.execute(statement)


def _standing(row: Row[Any]) -> Standing:
    return Standing(row.counted, row.locked_until_s, row.last_s)
