"""Local users in the cluster's state, as `dialgate users` keeps them and workers look them up.

A name has one spelling (Unicode's NFC), and upper and lower case differ.  Invariant: a password is
stored as its hash only, and is in no exception's text.

Every function that takes an engine raises `StateError`, in one line, when the database can't be
asked.
"""

from __future__ import annotations

import asyncio
import time
import unicodedata
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from dialgate.errors import StateError, UsageError
from dialgate.passwords import Argon2, check_password
from dialgate.state import reading, writing
from dialgate.tables import USERS
from dialgate.wire.limits import USERNAME_BYTES_MAX

__all__ = [
    "User",
    "add_user",
    "find_user",
    "list_users",
    "normalize_name",
    "remove_user",
    "replace_hash",
    "set_disabled",
    "set_password",
]


@dataclass(frozen=True, slots=True)
class User:
    """One local user as stored."""

    name: str
    """In Unicode's NFC, at most 256 bytes of UTF-8; upper and lower case differ."""
    password_hash: str = field(repr=False)
    """argon2id, in the PHC string format."""
    disabled: bool
    """Whether logins are refused, whatever the password."""
    created: datetime
    changed: datetime
    """When password or `disabled` was last set, by whoever."""


def normalize_name(name: str) -> str:
    """Return `name` in the one spelling under which a user is stored.

    Raises:
        UsageError: it is empty, over 256 bytes of UTF-8, has a control character, or a space at
            an end.
    """
    name = unicodedata.normalize("NFC", name)
    if not name or name != name.strip():
        raise UsageError("a user's name must not be empty, nor begin or end with a space")
    if any(unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp"} for char in name):
        raise UsageError("a user's name must not have control characters")
    if len(name.encode()) > USERNAME_BYTES_MAX:
        raise UsageError(f"a user's name must not be longer than {USERNAME_BYTES_MAX} bytes")
    return name


async def add_user(
    engine: AsyncEngine, name: str, password: bytes, argon2: Argon2 | None = None
) -> None:
    """Store a new user, enabled.

    Raises:
        UsageError: `name` or `password` is unfit.
        StateError: there is a user of that name, who is left as he is.
    """
    name = normalize_name(name)
    hashed = await _hash(password, argon2)
    now_s = int(time.time())
    user = insert(USERS).values(
        name=name, password_hash=hashed, disabled=False, created_s=now_s, changed_s=now_s
    )
    async with writing(engine) as connection:
        try:
            await connection.execute(user)
        except IntegrityError:
            raise StateError(
                f"there is a user {name!r} already: `dialgate users passwd` sets his password"
            ) from None


async def find_user(engine: AsyncEngine, name: str) -> User | None:
    """Return the user whose stored name is exactly `name`."""
    found = await _read(engine, select(USERS).where(USERS.c.name == name))
    return found[0] if found else None


async def list_users(engine: AsyncEngine) -> list[User]:
    """Return every user, by name."""
    return await _read(engine, select(USERS).order_by(USERS.c.name))


async def set_password(
    engine: AsyncEngine, name: str, password: bytes, argon2: Argon2 | None = None
) -> None:
    """Give a user a new password.

    Raises:
        UsageError: `password` is unfit.
        StateError: there is no such user.
    """
    await _change(engine, name, password_hash=await _hash(password, argon2))


async def set_disabled(engine: AsyncEngine, name: str, disabled: bool) -> None:  # noqa: FBT001 - the value set
    """Let a user log in no more, or again; setting what is set already is no error.

    Raises:
        StateError: there is no such user.
    """
    await _change(engine, name, disabled=disabled)


async def remove_user(engine: AsyncEngine, name: str) -> None:
    """Forget a user.

    Raises:
        StateError: there is no such user.
    """
    name = normalize_name(name)
    async with writing(engine) as connection:
        result = await connection.execute(delete(USERS).where(USERS.c.name == name))
    _require_one(result.rowcount, name)


async def replace_hash(engine: AsyncEngine, user: User, password_hash: str) -> None:
    """Store the same password's hash at a new cost, unless the password was changed meanwhile."""
    statement = (
        update(USERS)
        .where(USERS.c.name == user.name, USERS.c.password_hash == user.password_hash)
        .values(password_hash=password_hash)
    )
    async with writing(engine) as connection:
        await connection.execute(statement)


async def _hash(password: bytes, argon2: Argon2 | None) -> str:
    check_password(password)
    return await asyncio.to_thread((argon2 or Argon2()).hash, password)


async def _read(engine: AsyncEngine, statement: Any) -> list[User]:
    async with reading(engine) as connection:
        rows = (await connection.execute(statement)).all()
    return [
        User(
            name=row.name,
            password_hash=row.password_hash,
            disabled=row.disabled,
            created=datetime.fromtimestamp(row.created_s, UTC),
            changed=datetime.fromtimestamp(row.changed_s, UTC),
        )
        for row in rows
    ]


async def _change(engine: AsyncEngine, name: str, **values: object) -> None:
    name = normalize_name(name)
    statement = (
        update(USERS).where(USERS.c.name == name).values(changed_s=int(time.time()), **values)
    )
    async with writing(engine) as connection:
        result = await connection.execute(statement)
    _require_one(result.rowcount, name)


def _require_one(rows: int, name: str) -> None:
    if not rows:
        raise StateError(f"there is no user {name!r}: `dialgate users list` shows them all")
