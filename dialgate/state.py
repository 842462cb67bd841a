"""The cluster's SQL state: a database with dialgate's tables, and the secret that workers share.

SQLAlchemy Core over SQLite by default and PostgreSQL for a cluster, by the same statements.  This
module is no cache and decides nothing: whoever asks gets what is stored at that moment.
Invariant: a database that is not dialgate's, or that a newer dialgate made, is never written to.

Every function raises `StateError`, in one line, when the database can't be asked.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from functools import wraps
from pathlib import Path
from typing import Any, Final, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, column, insert, inspect, select, table, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from dialgate.database import AUTOCOMMIT, make_engine, parse_url, place_of, told_as_state_error
from dialgate.errors import StateError, StateMismatch
from dialgate.tables import BASELINE, META, SCHEMA, SECRETS, VERSION_TABLE

__all__ = [
    "check_state",
    "open_state",
    "reading",
    "shared_secret",
    "unbroken",
    "upgrade_state",
    "writing",
]

P = ParamSpec("P")
T = TypeVar("T")

_VERSION: Final = table(VERSION_TABLE, column("version_num"))
_LOCK: Final = text("SELECT pg_advisory_xact_lock(1145524304)")
"""PostgreSQL: of those who make or change tables, one at a time.  Any number that is ours does."""
_turns: Final[WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock]] = WeakKeyDictionary()
"""Alembic's context is one a process, so migrations take turns here, too."""


async def open_state(url: str) -> AsyncEngine:
    """Return an engine on the state at `url`, whose tables are made if it is new.

    Args:
        url: `sqlite:////path/to/file` (made if it isn't there, readable by its owner only), or
            `postgresql://user@host/database`.

    Raises:
        StateMismatch: it belongs to another program, or is of another version.
        StateError: it can't be opened.
    """
    parsed = parse_url(url)
    if _is_missing_file(parsed):
        await _make_file(parsed)
    engine = make_engine(parsed)
    try:
        await _prepare(engine)
    except BaseException:
        await engine.dispose()
        raise
    return engine


async def upgrade_state(url: str) -> tuple[str, str]:
    """Give the state at `url` the tables of this version; return its revisions before and after.

    Programs of the older version go on with what they have open, but don't start any more.
    "" is the revision of a database without tables.

    Raises:
        StateError: as `open_state`.
    """
    parsed = parse_url(url)
    if _is_missing_file(parsed):
        await _make_file(parsed)
        return "", SCHEMA
    engine = make_engine(parsed)
    try:
        async with _preparing(engine) as connection:
            before = await connection.run_sync(_revision, place_of(parsed))
            if before != SCHEMA:
                await _migrate(connection)
        await _set_journal(engine)
    finally:
        await engine.dispose()
    return before, SCHEMA


def unbroken(work: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Let `work`, which uses a connection, run to its end even if its caller is cancelled.

    A connection whose work is broken off is closed by the driver in the background, and that can
    be broken off as well: with SQLite the writers' lock is then never given back.
    """

    @wraps(work)
    async def whole(*args: P.args, **kwargs: P.kwargs) -> T:
        task = asyncio.get_running_loop().create_task(work(*args, **kwargs))
        _at_work.add(task)
        task.add_done_callback(_worked)
        return await asyncio.shield(task)

    return whole


def _worked(task: asyncio.Task[Any]) -> None:
    _at_work.discard(task)
    if not task.cancelled():
        task.exception()  # Nobody may be left to hear of it.


_at_work: Final[set[asyncio.Task[Any]]] = set()
"""The loop itself keeps no task alive."""


@asynccontextmanager
async def writing(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """Give a connection in a transaction, which is committed at the end unless something raised."""
    with told_as_state_error(engine.url):
        async with engine.begin() as connection:
            yield connection


@asynccontextmanager
async def reading(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """Give a connection for single statements that only read: it takes no lock."""
    with told_as_state_error(engine.url):
        async with engine.connect() as connection:
            yield await connection.execution_options(**{AUTOCOMMIT: True})


async def check_state(engine: AsyncEngine) -> None:
    """Ask the state for as little as possible, to see that it answers."""
    async with reading(engine) as connection:
        await connection.execute(select(META.c.value).where(META.c.key == "product"))


async def shared_secret(engine: AsyncEngine, name: str, fresh: bytes) -> bytes:
    """Return the secret stored under `name`; if there is none, store `fresh` first.

    Of several processes that ask for a new secret at once, all get the same one.
    """
    stored = select(SECRETS.c.value).where(SECRETS.c.name == name)
    async with writing(engine) as connection:
        with suppress(IntegrityError):  # There is one already, and the first stands.
            async with connection.begin_nested():
                await connection.execute(insert(SECRETS).values(name=name, value=fresh))
        return bytes((await connection.execute(stored)).scalar_one())


def _is_missing_file(parsed: URL) -> bool:
    return parsed.drivername == "sqlite" and not Path(parsed.database or "").exists()


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
            engine = make_engine(parsed.set(database=str(draft)))
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


@asynccontextmanager
async def _preparing(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """Give a connection in a transaction that no other process prepares the database beside."""
    async with writing(engine) as connection:
        if engine.dialect.name == "postgresql":
            await connection.execute(_LOCK)
        yield connection


async def _prepare(engine: AsyncEngine) -> None:
    """Make the tables in an empty database, or accept it as ours; else write nothing."""
    place = place_of(engine.url)
    async with _preparing(engine) as connection:
        revision = await connection.run_sync(_revision, place)
        if not revision:
            await _migrate(connection)
        elif revision != SCHEMA:
            raise StateMismatch(
                f"{place}: has schema {revision}, and this dialgate needs {SCHEMA}: "
                "run `dialgate state upgrade`"
            )
    await _set_journal(engine)


async def _set_journal(engine: AsyncEngine) -> None:
    """Let SQLite's readers and writer not wait for each other.

    Only for a database that was found ours: setting the journal's mode writes to the file.
    """
    if engine.dialect.name == "sqlite":
        async with reading(engine) as connection:
            await connection.exec_driver_sql("PRAGMA journal_mode=WAL")


def _revision(connection: Connection, place: str) -> str:
    """Return which revision the database's tables have, "" if there are none.

    Raises:
        StateMismatch: they are another program's, or a newer dialgate's.
    """
    inspector = inspect(connection)
    tables = inspector.get_table_names()
    if not tables:
        return ""
    meta: dict[str, str] = {}
    if META.name in tables:
        columns = {each["name"] for each in inspector.get_columns(META.name)}
        if columns == {"key", "value"}:
            meta = {row.key: row.value for row in connection.execute(select(META))}
    if meta.get("product") != "dialgate":
        raise StateMismatch(f"{place}: belongs to another program: name another database")
    if _VERSION.name not in tables:
        return BASELINE
    revision = str(connection.execute(select(_VERSION.c.version_num)).scalar_one())
    if revision > SCHEMA:
        raise StateMismatch(
            f"{place}: has schema {revision}, and this dialgate knows {SCHEMA}: "
            "run the newer dialgate, or name another database"
        )
    return revision


async def _migrate(connection: AsyncConnection) -> None:
    from dialgate.migrations import bring_up_to_date  # noqa: PLC0415 - Alembic is slow to load

    async with _turns.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
        await connection.run_sync(bring_up_to_date)
