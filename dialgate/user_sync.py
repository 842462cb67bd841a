"""Copies of the cluster's users in a site's state: taken at the centre, stored at the site.

A copied user is marked with the time until which his copy counts; a user without is the state's
own.  A copy takes the place of the one before it as a whole, so who was removed at the centre is
gone at the site with the next.  Tokens and recovery codes stay at the centre: in a network that is
cut, nobody could say whether a code has been used at the other end.

Invariants: a copy never changes or removes a user of the site's own; an older one never takes the
place of a newer; at the centre only users of its own are copied.

Every function raises `StateError`, in one line, when the database can't be asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Final, NamedTuple

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from dialgate.errors import CopyError
from dialgate.state import reading, writing
from dialgate.tables import META, SCHEMA, USERS
from dialgate.user_copy import UserCopy

__all__ = ["Stored", "copy_until_s", "store_copy", "take_copy"]

_COPIED_S: Final = "users_copied_s"
"""Key in the table `meta`: when the copy was made that is here, seconds since 1970."""
_COLUMNS: Final = [column for column in USERS.columns if column.name != "copied_until_s"]
_NAMES: Final = {column.name for column in _COLUMNS}


class Stored(NamedTuple):
    """What became of a copy."""

    users: int
    """Users of the copy that are here now."""
    kept: list[str]
    """Names in the copy that users of the site's own have, who stay as they are."""


async def take_copy(
    engine: AsyncEngine, patterns: Sequence[str], now_s: int, max_age_s: int
) -> UserCopy:
    """Return the users whose names fit one of `patterns`, as `fnmatch` reads them.

    Args:
        engine: the centre's state.
        patterns: which users.
        now_s: the wall clock, seconds since 1970.
        max_age_s: how long the copy counts.
    """
    own = select(*_COLUMNS).where(USERS.c.copied_until_s.is_(None)).order_by(USERS.c.name)
    async with reading(engine) as connection:
        rows = (await connection.execute(own)).mappings().all()
    users = [dict(row) for row in rows if any(fnmatchcase(row["name"], x) for x in patterns)]
    return UserCopy(schema=SCHEMA, made_s=now_s, until_s=now_s + max_age_s, users=users)


async def store_copy(engine: AsyncEngine, copy: UserCopy) -> Stored:
    """Let `copy`, which was checked, take the place of the one that is here.

    Raises:
        CopyError: it is older than that, or of another version of dialgate.
    """
    if copy.schema != SCHEMA:
        raise CopyError(
            f"has schema {copy.schema}, and this dialgate {SCHEMA}: "
            "upgrade centre and site to the same version"
        )
    if any(row.keys() != _NAMES for row in copy.users):
        raise CopyError("has users without some of their columns")
    async with writing(engine) as connection:
        last_s = await _last(connection)
        if last_s is not None and copy.made_s < last_s:
            raise CopyError(f"is {last_s - copy.made_s} s older than the copy that is here")
        await connection.execute(delete(USERS).where(USERS.c.copied_until_s.is_not(None)))
        own = set((await connection.execute(select(USERS.c.name))).scalars())
        rows = [
            {**row, "copied_until_s": copy.until_s} for row in copy.users if row["name"] not in own
        ]
        if rows:
            await connection.execute(insert(USERS), rows)
        made = {"value": str(copy.made_s)}
        if last_s is None:
            await connection.execute(insert(META).values(key=_COPIED_S, **made))
        else:
            await connection.execute(update(META).where(META.c.key == _COPIED_S).values(made))
    return Stored(len(rows), sorted(str(x["name"]) for x in copy.users if x["name"] in own))


async def copy_until_s(engine: AsyncEngine) -> int | None:
    """Return until when the copied users count, in seconds since 1970; None: there are none."""
    async with reading(engine) as connection:
        until = await connection.execute(select(func.max(USERS.c.copied_until_s)))
        until_s: int | None = until.scalar_one()
        return until_s


async def _last(connection: AsyncConnection) -> int | None:
    value = (
        await connection.execute(select(META.c.value).where(META.c.key == _COPIED_S))
    ).scalar_one_or_none()
    return None if value is None else int(value)
