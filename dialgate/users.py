"""Local users in the cluster's state, as `dialgate users` keeps them and workers look them up.

A name has one spelling (Unicode's NFC), and upper and lower case differ.  Invariant: a password is
stored as its hash only, and is in no exception's text.

Every function that takes an engine raises `StateError`, in one line, when the database can't be
asked.
"""

from __future__ import annotations

import asyncio
import re
import time
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import delete, insert, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from dialgate.errors import StateError, UsageError
from dialgate.passwords import Argon2, check_password
from dialgate.state import reading, unbroken, writing
from dialgate.tables import USERS
from dialgate.wire.limits import USERNAME_BYTES_MAX

__all__ = [
    "User",
    "UserTerms",
    "add_user",
    "change_password",
    "find_user",
    "list_users",
    "normalize_name",
    "remove_user",
    "replace_hash",
    "set_disabled",
    "set_password",
    "set_terms",
]

ROLES_MAX: Final = 16
"""Roles that a user may have."""
_ROLE: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class UserTerms:
    """What an operator lays down about a user; None leaves it as it is."""

    roles: Sequence[str] | None = None
    valid_from_s: int | None = None
    """0: always was."""
    valid_until_s: int | None = None
    """0: always will be."""
    must_change: bool | None = None

    def values(self) -> dict[str, Any]:
        """Return the columns to set.

        Raises:
            UsageError: a role has no fit name, there are too many, or the dates are in disorder.
        """
        values: dict[str, Any] = {}
        if self.roles is not None:
            values["roles"] = _stored_roles(self.roles)
        if self.valid_from_s and self.valid_until_s and self.valid_from_s >= self.valid_until_s:
            raise UsageError("the user would be valid until before he is valid from")
        for name in ("valid_from_s", "valid_until_s", "must_change"):
            if (value := getattr(self, name)) is not None:
                values[name] = value
        return values


NO_TERMS: Final = UserTerms()


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
    """When anything but the hash's cost was last set, by whoever."""
    roles: tuple[str, ...] = ()
    valid_from: datetime | None = None
    """None: always was."""
    valid_until: datetime | None = None
    """None: always will be; at that moment he is valid no more."""
    must_change: bool = False
    """Whether the next login begins with a new password."""
    password_set: datetime | None = None
    copied_until: datetime | None = None
    """Until when the copy counts that he came with (`dialgate.user_sync`); None: he is our own."""

    def is_valid(self, now: datetime) -> bool:
        """Return whether he may log in at `now`, his password apart."""
        begun = self.valid_from is None or now >= self.valid_from
        over = self.valid_until is not None and now >= self.valid_until
        return begun and not over and not self.disabled

    def needs_new_password(self, now: datetime, days_max: int) -> bool:
        """Return whether he must choose one; `days_max` is how old one may be, 0: as it likes."""
        if not days_max or self.password_set is None:
            return self.must_change
        return self.must_change or now >= self.password_set + timedelta(days=days_max)


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
    engine: AsyncEngine,
    name: str,
    password: bytes,
    argon2: Argon2 | None = None,
    terms: UserTerms = NO_TERMS,
) -> None:
    """Store a new user, enabled.

    Raises:
        UsageError: `name`, `password` or `terms` are unfit.
        StateError: there is a user of that name, who is left as he is.
    """
    name = normalize_name(name)
    given = terms.values()
    hashed = await _hash(password, argon2)
    now_s = int(time.time())
    values = {
        "name": name,
        "password_hash": hashed,
        "disabled": False,
        "created_s": now_s,
        "changed_s": now_s,
        "password_s": now_s,
        "roles": "",
        "valid_from_s": 0,
        "valid_until_s": 0,
        "must_change": False,
        **given,
    }
    user = insert(USERS).values(values)
    async with writing(engine) as connection:
        try:
            await connection.execute(user)
        except IntegrityError:
            raise StateError(
                f"there is a user {name!r} already: `dialgate users passwd` sets his password"
            ) from None


@unbroken
async def find_user(engine: AsyncEngine, name: str) -> User | None:
    """Return the user whose stored name is exactly `name`; not one of a copy that is too old."""
    until_s = USERS.c.copied_until_s
    counts = or_(until_s.is_(None), until_s > int(time.time()))
    found = await _read(engine, select(USERS).where(USERS.c.name == name, counts))
    return found[0] if found else None


async def list_users(engine: AsyncEngine) -> list[User]:
    """Return every user, by name."""
    return await _read(engine, select(USERS).order_by(USERS.c.name))


async def set_password(
    engine: AsyncEngine,
    name: str,
    password: bytes,
    argon2: Argon2 | None = None,
    *,
    must_change: bool = False,
) -> None:
    """Give a user a new password, which he may have to change at once.

    Raises:
        UsageError: `password` is unfit.
        StateError: there is no such user.
    """
    hashed = await _hash(password, argon2)
    now_s = int(time.time())
    await _change(engine, name, password_hash=hashed, password_s=now_s, must_change=must_change)


@unbroken
async def change_password(engine: AsyncEngine, user: User, password_hash: str) -> bool:
    """Store what `user` chose himself; False: his password was changed meanwhile, and stands."""
    now_s = int(time.time())
    statement = (
        update(USERS)
        .where(USERS.c.name == user.name, USERS.c.password_hash == user.password_hash)
        .values(password_hash=password_hash, password_s=now_s, must_change=False, changed_s=now_s)
    )
    async with writing(engine) as connection:
        return (await connection.execute(statement)).rowcount == 1


async def set_terms(engine: AsyncEngine, name: str, terms: UserTerms) -> None:
    """Lay down what `terms` has about a user.

    Raises:
        UsageError: `terms` are unfit.
        StateError: there is no such user.
    """
    await _change(engine, name, **terms.values())


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


@unbroken
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
            roles=tuple(row.roles.split()),
            valid_from=_moment(row.valid_from_s),
            valid_until=_moment(row.valid_until_s),
            must_change=row.must_change,
            password_set=datetime.fromtimestamp(row.password_s, UTC),
            copied_until=_moment(row.copied_until_s or 0),
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


def _moment(seconds: int) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if seconds else None


def _stored_roles(roles: Sequence[str]) -> str:
    """Return roles as one column holds them: apart by spaces, each once.

    Raises:
        UsageError: one has no fit name, or there are too many.
    """
    for role in roles:
        if not _ROLE.fullmatch(role):
            raise UsageError(f"{role!r} is no role: write 1 to 64 of A-Z a-z 0-9 . _ -")
    if len(set(roles)) > ROLES_MAX:
        raise UsageError(f"a user has at most {ROLES_MAX} roles")
    return " ".join(sorted(set(roles)))


def _require_one(rows: int, name: str) -> None:
    if not rows:
        raise StateError(f"there is no user {name!r}: `dialgate users list` shows them all")
