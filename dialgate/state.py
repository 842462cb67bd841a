"""The cluster's SQL state: its database, its tables, and the secret that the worker pool shares.

SQLAlchemy Core over SQLite (WAL, synchronous=FULL: what was answered survives a power cut) by
default; PostgreSQL takes the same statements.  This module is no cache and decides nothing: whoever
asks gets what is stored at that moment.  Invariant: a database that is not dialgate's, or that a
newer dialgate made, is never written to.

Every function raises `StateError`, in one line, when the database can't be asked.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
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
    event,
    insert,
    inspect,
    select,
)
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from dialgate.errors import StateError
from dialgate.wire.limits import USERNAME_BYTES_MAX

__all__ = [
    "USERS",
    "check_state",
    "open_state",
    "reading",
    "shared_secret",
    "writing",
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
USERS: Final = Table(
    "users",
    _metadata,
    Column("name", String(USERNAME_BYTES_MAX), primary_key=True),
    Column("password_hash", Text, nullable=False),
    Column("disabled", Boolean, nullable=False),
    Column("created_s", BigInteger, nullable=False),
    Column("changed_s", BigInteger, nullable=False),
)
"""Local users (`dialgate.users`); times in seconds since 1970."""
_secrets = Table(
    "secrets",
    _metadata,
    Column("name", String(64), primary_key=True),
    Column("value", LargeBinary, nullable=False),
)


async def open_state(url: str) -> AsyncEngine:
    """Return an engine on the state at `url`, whose tables are made if it is new.

    Args:
        url: `sqlite:////path/to/file` (made if it isn't there, readable by its owner only), or
            `postgresql://user@host/database`.

    Raises:
        StateError: it can't be opened, belongs to another program, or to a newer dialgate.
    """
    parsed = _parse(url)
    if _is_missing_file(parsed):
        await _make_file(parsed)
    engine = _make_engine(parsed)
    try:
        await _prepare(engine)
    except BaseException:
        await engine.dispose()
        raise
    return engine


@asynccontextmanager
async def writing(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """Give a connection in a transaction, which is committed at the end unless something raised."""
    with _told_as_state_error(_place(engine.url)):
        async with engine.begin() as connection:
            yield connection


@asynccontextmanager
async def reading(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """Give a connection for single statements that only read: it takes no lock."""
    with _told_as_state_error(_place(engine.url)):
        async with engine.connect() as connection:
            yield await connection.execution_options(**{_AUTOCOMMIT: True})


async def check_state(engine: AsyncEngine) -> None:
    """Ask the state for as little as possible, to see that it answers."""
    async with reading(engine) as connection:
        await connection.execute(select(_meta.c.value).where(_meta.c.key == "schema"))


async def shared_secret(engine: AsyncEngine, name: str, fresh: bytes) -> bytes:
    """Return the secret stored under `name`; if there is none, store `fresh` first.

    Of several processes that ask for a new secret at once, all get the same one.
    """
    stored = select(_secrets.c.value).where(_secrets.c.name == name)
    async with writing(engine) as connection:
        with suppress(IntegrityError):  # There is one already, and the first stands.
            async with connection.begin_nested():
                await connection.execute(insert(_secrets).values(name=name, value=fresh))
        return bytes((await connection.execute(stored)).scalar_one())


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise StateError(
            "the state's URL can't be read: write it as sqlite:////path/to/state.db"
        ) from None
    if parsed.drivername not in _DRIVERS or not parsed.database:
        raise StateError(
            f"{_place(parsed)}: no state that dialgate knows: write sqlite:////path/to/state.db"
        )
    return parsed


def _is_missing_file(parsed: URL) -> bool:
    return parsed.drivername == "sqlite" and not Path(parsed.database or "").exists()


def _make_engine(parsed: URL) -> AsyncEngine:
    settings: dict[str, Any] = {"pool_size": CONNECTIONS_MAX, "max_overflow": 0}
    if parsed.drivername == "sqlite":
        settings["connect_args"] = {"timeout": BUSY_S, "isolation_level": None}
    try:
        engine = create_async_engine(
            parsed.set(drivername=_DRIVERS[parsed.drivername]),
            pool_timeout=BUSY_S,
            hide_parameters=True,
            **settings,
        )
    except ModuleNotFoundError as error:
        raise StateError(
            f"{_place(parsed)}: needs the Python package {error.name}: install it"
        ) from None
    if parsed.drivername == "sqlite":
        _tune_sqlite(engine.sync_engine)
    return engine


async def _make_file(parsed: URL) -> None:
    """Make a new SQLite file, for its owner's eyes only; SQLite gives the mode to its other files.

    It is made beside its place and put there whole: processes that start together would lock each
    other out while the journal's mode is set.
    """
    file = Path(parsed.database or "")
    draft = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
    try:
        os.close(os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        try:
            engine = _make_engine(parsed.set(database=str(draft)))
            try:
                await _prepare(engine)
            finally:
                await engine.dispose()
            with suppress(FileExistsError):  # Another process was quicker: its file stands.
                os.link(draft, file)
        finally:
            draft.unlink()
    except OSError as error:
        raise StateError(f"{file}: {error.strerror}: make its directory writable") from None


async def _prepare(engine: AsyncEngine) -> None:
    """Make the tables in an empty database, or accept it as ours; else write nothing."""
    async with writing(engine) as connection:
        await _prepare_schema(connection, _place(engine.url))
    if engine.dialect.name == "sqlite":
        # Only now: setting the journal's mode writes to the file, so it must be ours.
        async with reading(engine) as connection:
            await connection.exec_driver_sql("PRAGMA journal_mode=WAL")


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


def _place(url: URL) -> str:
    return url.database or "" if url.drivername.startswith("sqlite") else repr(url)
