"""Engines for the kinds of database that hold the cluster's state: SQLite and PostgreSQL.

SQLAlchemy by aiosqlite and asyncpg; here is all that differs between the two.  Invariant: what was
committed has reached the disk (SQLite: WAL and synchronous=FULL; PostgreSQL: synchronous_commit);
a URL's password is in no text made here.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from dialgate.errors import StateError, StateMismatch

__all__ = ["AUTOCOMMIT", "BUSY_S", "make_engine", "parse_url", "place_of", "told_as_state_error"]

BUSY_S: Final = 5.0
"""How long a statement waits: for other writers, for a free connection, for the server."""
CONNECTIONS_MAX: Final = 8
"""Most connections a process opens; each costs a thread with SQLite."""
AUTOCOMMIT: Final = "dialgate_autocommit"
"""Execution option of a connection that reads one statement at a time and takes no lock."""

_DRIVERS: Final = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg"}
_TLS: Final = {"sslmode": "ssl", "ssl": "ssl"}
"""libpq's name for it, and asyncpg's."""
_QUERY: Final = frozenset({"host", "port", *_TLS})
"""What may follow a PostgreSQL URL's question mark."""
_EXAMPLES: Final = "sqlite:////path/to/state.db or postgresql://user@host/database"


def parse_url(url: str) -> URL:
    """Return the parts of a state's URL.

    Raises:
        StateError: it is of no kind that is known here.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise StateError(f"the state's URL can't be read: write {_EXAMPLES}") from None
    if parsed.drivername not in _DRIVERS or not parsed.database:
        raise StateError(f"{place_of(parsed)}: no state that dialgate knows: write {_EXAMPLES}")
    allowed = _QUERY if parsed.drivername == "postgresql" else frozenset[str]()
    if unknown := sorted(parsed.query.keys() - allowed):
        known = ", ".join(sorted(allowed)) or "none"
        raise StateError(
            f"{place_of(parsed)}: the parameter {unknown[0]!r} is not known: there is {known}"
        )
    return parsed


def make_engine(parsed: URL) -> AsyncEngine:
    """Return an engine on the database; nothing is opened yet."""
    settings = _sqlite_settings() if parsed.drivername == "sqlite" else _postgresql_settings()
    engine = create_async_engine(
        _for_driver(parsed),
        pool_size=CONNECTIONS_MAX,
        max_overflow=0,
        pool_timeout=BUSY_S,
        hide_parameters=True,
        **settings,
    )
    if parsed.drivername == "sqlite":
        _tune_sqlite(engine.sync_engine)
    return engine


def place_of(url: URL) -> str:
    """Return how an error names the database: SQLite's file, or the URL without its password."""
    if url.get_backend_name() == "sqlite":
        return url.database or ""
    return url.set(drivername=url.get_backend_name()).render_as_string(hide_password=True)


@contextmanager
def told_as_state_error(url: URL) -> Iterator[None]:
    """Raise what goes wrong with the database as `StateError`, in one line."""
    try:
        yield
    except SQLAlchemyError as error:
        original = getattr(error, "orig", None) or error
        # The adapter's text begins with the name of the driver's class.
        reason = _first_line(original.__cause__ or original)
        is_none = getattr(original, "sqlite_errorcode", 0) == sqlite3.SQLITE_NOTADB
        kind = StateMismatch if is_none else StateError
        raise kind(f"{place_of(url)}: the state can't be used: {reason}") from error
    except OSError as error:
        reason = _first_line(error)
        raise StateError(f"{place_of(url)}: the state can't be reached: {reason}") from error
    except Exception as error:
        # SQLAlchemy hands on what asyncpg raises while it connects.
        if not type(error).__module__.startswith("asyncpg."):
            raise
        reason = _first_line(error)
        raise StateError(f"{place_of(url)}: the state can't be used: {reason}") from error


def _first_line(error: BaseException) -> str:
    text = str(error).splitlines()
    return text[0] if text else type(error).__name__


def _for_driver(parsed: URL) -> URL:
    query = {_TLS.get(key, key): value for key, value in parsed.query.items()}
    return parsed.set(drivername=_DRIVERS[parsed.drivername], query=query)


def _sqlite_settings() -> dict[str, Any]:
    return {"connect_args": {"timeout": BUSY_S, "isolation_level": None}}


def _postgresql_settings() -> dict[str, Any]:
    return {
        # The server may have been restarted since a connection was last used.
        "pool_pre_ping": True,
        "connect_args": {
            "timeout": BUSY_S,
            "command_timeout": BUSY_S,
            "server_settings": {"application_name": "dialgate", "synchronous_commit": "on"},
        },
    }


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
        if not connection.get_execution_options().get(AUTOCOMMIT):
            connection.exec_driver_sql("BEGIN IMMEDIATE")

    event.listen(engine, "connect", connect)
    event.listen(engine, "begin", begin)
