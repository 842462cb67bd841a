"""The cluster's SQL state: users, and the secret that the worker pool keeps for itself.

SQLAlchemy Core over SQLite (WAL, synchronous=FULL: what was answered survives a power cut) by
default; PostgreSQL takes the same statements.  This module is no cache and decides nothing: whoever
asks gets what is stored at that moment.  Invariant: a database that is not dialgate's, or that a
newer dialgate made, is never written to.

Every function raises `StateError`, in one line, when the database can't be asked.
"""

from __future__ import annotations

import asyncio
import os
import time
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Engine,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    delete,
    event,
    insert,
    inspect,
    select,
    update,
)
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from dialgate.errors import StateError, UsageError
from dialgate.passwords import Argon2, check_password
from dialgate.wire.limits import USERNAME_BYTES_MAX

__all__ = [
    "User",
    "add_user",
    "check_state",
    "find_user",
    "list_users",
    "normalize_name",
    "open_state",
    "remove_user",
    "replace_hash",
    "set_disabled",
    "set_password",
    "shared_secret",
]

SCHEMA: Final = 1
"""Version of the tables below; a newer one is refused."""
BUSY_S: Final = 5.0
"""How long a statement waits for other writers, and for a free connection."""
CONNECTIONS_MAX: Final = 8
"""Most connections a process opens; each costs a thread with SQLite."""

_DRIVERS: Final = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg"}
_AUTOCOMMIT: Final = "dialgate_autocommit"
"""Execution option of a connection that reads one statement at a time and takes no lock."""

_metadata = MetaData()
_meta = Table(
    "meta",
    _metadata,
    Column("key", String(64), primary_key=True),
    Column("value", Text, nullable=False),
)
_users = Table(
    "users",
    _metadata,
    Column("name", String(USERNAME_BYTES_MAX), primary_key=True),
    Column("password_hash", Text, nullable=False),
    Column("disabled", Boolean, nullable=False),
    Column("created_s", BigInteger, nullable=False),
    Column("changed_s", BigInteger, nullable=False),
)
_secrets = Table(
    "secrets",
    _metadata,
    Column("name", String(64), primary_key=True),
    Column("value", LargeBinary, nullable=False),
)


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


async def open_state(url: str) -> AsyncEngine:
    """Return an engine on the state at `url`, whose tables are made if it is new.

    Args:
        url: `sqlite:////path/to/file` (made if it isn't there, readable by its owner only), or
            `postgresql://user@host/database`.

    Raises:
        StateError: it can't be opened, belongs to another program, or to a newer dialgate.
    """
    place, engine = _make_engine(url)
    try:
        with _told_as_state_error(place):
            async with engine.begin() as connection:
                await _prepare_schema(connection, place)
            if engine.dialect.name == "sqlite":
                # Only now: setting the journal's mode writes to the file, so it must be ours.
                async with engine.connect() as connection:
                    await connection.execution_options(**{_AUTOCOMMIT: True})
                    await connection.exec_driver_sql("PRAGMA journal_mode=WAL")
    except BaseException:
        await engine.dispose()
        raise
    return engine


async def check_state(engine: AsyncEngine) -> None:
    """Ask the state for as little as possible, to see that it answers."""
    with _told_as_state_error(_place_of(engine)):
        async with engine.connect() as connection:
            await connection.execution_options(**{_AUTOCOMMIT: True})
            await connection.execute(select(_meta.c.value).where(_meta.c.key == "schema"))


def normalize_name(name: str) -> str:
    """Return `name` in the one spelling under which a user is stored (NFC).

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
    user = insert(_users).values(
        name=name, password_hash=hashed, disabled=False, created_s=now_s, changed_s=now_s
    )
    with _told_as_state_error(_place_of(engine)):
        try:
            async with engine.begin() as connection:
                await connection.execute(user)
        except IntegrityError:
            raise StateError(
                f"there is a user {name!r} already: `dialgate users passwd` sets his password"
            ) from None


async def find_user(engine: AsyncEngine, name: str) -> User | None:
    """Return the user whose stored name is exactly `name`."""
    found = await _read(engine, select(_users).where(_users.c.name == name))
    return found[0] if found else None


async def list_users(engine: AsyncEngine) -> list[User]:
    """Return every user, by name."""
    return await _read(engine, select(_users).order_by(_users.c.name))


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
    with _told_as_state_error(_place_of(engine)):
        async with engine.begin() as connection:
            result = await connection.execute(delete(_users).where(_users.c.name == name))
    _require_one(result.rowcount, name)


async def replace_hash(engine: AsyncEngine, user: User, password_hash: str) -> None:
    """Store the same password's hash at a new cost, unless the password was changed meanwhile."""
    statement = (
        update(_users)
        .where(_users.c.name == user.name, _users.c.password_hash == user.password_hash)
        .values(password_hash=password_hash)
    )
    with _told_as_state_error(_place_of(engine)):
        async with engine.begin() as connection:
            await connection.execute(statement)


async def shared_secret(engine: AsyncEngine, name: str, fresh: bytes) -> bytes:
    """Return the secret stored under `name`; if there is none, store `fresh` first.

    Of several processes that ask for a new secret at once, all get the same one.
    """
    with _told_as_state_error(_place_of(engine)):
        try:
            async with engine.begin() as connection:
                await connection.execute(insert(_secrets).values(name=name, value=fresh))
        except IntegrityError:
            pass  # There is one, and the first stands.
        async with engine.connect() as connection:
            await connection.execution_options(**{_AUTOCOMMIT: True})
            stored = await connection.execute(
                select(_secrets.c.value).where(_secrets.c.name == name)
            )
            return bytes(stored.scalar_one())


async def _hash(password: bytes, argon2: Argon2 | None) -> str:
    check_password(password)
    return await asyncio.to_thread((argon2 or Argon2()).hash, password)


async def _read(engine: AsyncEngine, statement: Any) -> list[User]:
    with _told_as_state_error(_place_of(engine)):
        async with engine.connect() as connection:
            await connection.execution_options(**{_AUTOCOMMIT: True})
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
        update(_users).where(_users.c.name == name).values(changed_s=int(time.time()), **values)
    )
    with _told_as_state_error(_place_of(engine)):
        async with engine.begin() as connection:
            result = await connection.execute(statement)
    _require_one(result.rowcount, name)


def _require_one(rows: int, name: str) -> None:
    if not rows:
        raise StateError(f"there is no user {name!r}: `dialgate users list` shows them all")


def _make_engine(url: str) -> tuple[str, AsyncEngine]:
    """Return the place as an operator knows it (no password), and an engine on it."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise StateError(
            "the state's URL can't be read: write it as sqlite:////path/to/state.db"
        ) from None
    place = _place(parsed)
    driver = _DRIVERS.get(parsed.drivername)
    if driver is None or (driver == _DRIVERS["sqlite"] and not parsed.database):
        raise StateError(
            f"{place}: no state that dialgate knows: write sqlite:////path/to/state.db"
        )
    settings: dict[str, Any] = {"pool_size": CONNECTIONS_MAX, "max_overflow": 0}
    if parsed.drivername == "sqlite":
        _make_private(Path(parsed.database or ""))
        settings["connect_args"] = {"timeout": BUSY_S, "isolation_level": None}
    try:
        engine = create_async_engine(
            parsed.set(drivername=driver), pool_timeout=BUSY_S, hide_parameters=True, **settings
        )
    except ModuleNotFoundError as error:
        raise StateError(f"{place}: needs the Python package {error.name}: install it") from None
    if engine.dialect.name == "sqlite":
        _tune_sqlite(engine.sync_engine)
    return place, engine


def _make_private(file: Path) -> None:
    """Make `file`, for its owner's eyes only, unless it is there; SQLite copies the mode."""
    try:
        os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise StateError(f"{file}: {error.strerror}: make its directory writable") from None


def _tune_sqlite(engine: Engine) -> None:
    """Let commits reach the disk, and transactions take the writers' lock when they begin.

    A transaction that reads first and writes later would otherwise fail at once when another
    writer came between, without waiting its turn.
    """

    def connect(connection: Any, _record: object) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.close()

    def begin(connection: Connection) -> None:
        if not connection.get_execution_options().get(_AUTOCOMMIT):
            connection.exec_driver_sql("BEGIN IMMEDIATE")

    event.listen(engine, "connect", connect)
    event.listen(engine, "begin", begin)


async def _prepare_schema(connection: AsyncConnection, place: str) -> None:
    """Make the tables in an empty database, or accept it as ours; else write nothing."""
    tables: Sequence[str] = await connection.run_sync(lambda sync: inspect(sync).get_table_names())
    if not tables:
        await connection.run_sync(_metadata.create_all)
        rows = [{"key": "product", "value": "dialgate"}, {"key": "schema", "value": str(SCHEMA)}]
        await connection.execute(insert(_meta), rows)
        return
    meta: dict[str, str] = {}
    if _meta.name in tables:
        columns = await connection.run_sync(
            lambda sync: {column["name"] for column in inspect(sync).get_columns(_meta.name)}
        )
        if columns == {"key", "value"}:
            meta = {row.key: row.value for row in await connection.execute(select(_meta))}
    if meta.get("product") != "dialgate":
        raise StateError(f"{place}: belongs to another program: name another database")
    version = meta.get("schema", "")
    if version != str(SCHEMA):
        raise StateError(
            f"{place}: has schema {version}, and this dialgate knows {SCHEMA}: "
            "run the newer dialgate, or name another database"
        )


@contextmanager
def _told_as_state_error(place: str) -> Iterator[None]:
    try:
        yield
    except SQLAlchemyError as error:
        cause = getattr(error, "orig", None) or error
        reason = str(cause).splitlines()[0] if str(cause) else type(cause).__name__
        raise StateError(f"{place}: the state can't be used: {reason}") from error
    except OSError as error:
        raise StateError(f"{place}: the state can't be reached: {error}") from error


def _place_of(engine: AsyncEngine) -> str:
    return _place(engine.url)


def _place(url: URL) -> str:
    return url.database or "" if url.drivername.startswith("sqlite") else repr(url)
