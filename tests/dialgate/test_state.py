"""The cluster's state, on a real SQLite file and a real PostgreSQL server."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from dialgate.errors import StateError, StateMismatch
from dialgate.passwords import Argon2
from dialgate.state import (
    check_state,
    open_state,
    shared_secret,
    unbroken,
    upgrade_state,
    writing,
)
from dialgate.tables import SCHEMA
from dialgate.users import add_user, find_user, list_users
from tests.postgresql import PostgreSQL

CHEAP: Final = Argon2(memory_kib=8, passes=1)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


@pytest.fixture
async def state(file: Path) -> AsyncIterator[AsyncEngine]:
    """Open a state in a file."""
    engine = await open_state(f"sqlite:///{file}")
    yield engine
    await engine.dispose()


@pytest.fixture
async def each_state(state_url: str) -> AsyncIterator[AsyncEngine]:
    """Open a state of each kind."""
    engine = await open_state(state_url)
    yield engine
    await engine.dispose()


async def test_all_who_ask_for_a_new_secret_get_the_same(each_state: AsyncEngine) -> None:
    state = each_state
    offered = [bytes([n]) * 32 for n in range(8)]

    got = await asyncio.gather(*(shared_secret(state, "pool", fresh) for fresh in offered))

    assert len(set(got)) == 1
    assert got[0] in offered
    assert await shared_secret(state, "other", b"x") == b"x"


async def test_the_state_outlives_its_engine(state_url: str) -> None:
    first = await open_state(state_url)
    await add_user(first, "ann", b"secret", CHEAP)
    await first.dispose()

    second = await open_state(state_url)
    users = await list_users(second)
    await second.dispose()

    assert [user.name for user in users] == ["ann"]


async def test_the_file_is_its_owners_and_safe_against_a_power_cut(
    state: AsyncEngine, file: Path
) -> None:
    await add_user(state, "ann", b"secret", CHEAP)

    async with state.connect() as connection:
        synchronous = (await connection.exec_driver_sql("PRAGMA synchronous")).scalar()
        journal = (await connection.exec_driver_sql("PRAGMA journal_mode")).scalar()

    assert (synchronous, journal) == (2, "wal")
    assert {stat.S_IMODE(path.stat().st_mode) for path in file.parent.iterdir()} == {0o600}


async def test_processes_that_start_together_make_one_state(state_url: str) -> None:
    engines = await asyncio.gather(*(open_state(state_url) for _ in range(6)))

    await add_user(engines[0], "ann", b"secret", CHEAP)

    assert [len(await list_users(engine)) for engine in engines] == [1] * 6
    for engine in engines:
        await engine.dispose()


async def test_another_programs_database_is_refused_and_left_as_it_is(file: Path) -> None:
    with closing(sqlite3.connect(file)) as foreign:
        foreign.execute("CREATE TABLE meta (id INTEGER)")
        foreign.commit()
    before = file.read_bytes()

    with pytest.raises(StateMismatch, match="belongs to another program"):
        await open_state(f"sqlite:///{file}")

    assert file.read_bytes() == before


async def test_a_file_that_is_no_database_is_refused_and_left_as_it_is(file: Path) -> None:
    file.write_bytes(b"minutes of the meeting\n" * 100)

    with pytest.raises(StateMismatch, match="not a database") as caught:
        await open_state(f"sqlite:///{file}")

    assert "\n" not in str(caught.value)
    assert file.read_bytes() == b"minutes of the meeting\n" * 100


async def test_a_newer_state_is_refused(state: AsyncEngine, file: Path) -> None:
    await set_revision(state, "9999")

    with pytest.raises(StateMismatch, match=f"has schema 9999, and this dialgate knows {SCHEMA}"):
        await open_state(f"sqlite:///{file}")
    with pytest.raises(StateError, match=f"has schema 9999, and this dialgate knows {SCHEMA}"):
        await upgrade_state(f"sqlite:///{file}")


async def test_an_older_state_is_refused_with_what_mends_it(state: AsyncEngine, file: Path) -> None:
    await set_revision(state, "0000")

    with pytest.raises(StateMismatch, match=r"has schema 0000.*: run `dialgate state upgrade`"):
        await open_state(f"sqlite:///{file}")


@pytest.mark.parametrize("url", ["", "nonsense", "sqlite://", "mysql://u:geheim@host/db"])
async def test_an_unknown_kind_of_state_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(StateError) as caught:
        await open_state(url)

    assert "sqlite:////path/to/state.db" in str(caught.value)
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("postgresql://ann:geheim@127.0.0.1:1/dialgate", "the state can't be reached"),
        ("postgresql://ann:geheim@/dialgate?host=/nonexistent", "the state can't be reached"),
        ("postgresql://ann:geheim@h/dialgate?passfile=/x", "the parameter 'passfile' is not known"),
    ],
)
async def test_a_server_that_is_not_there_is_one_line_without_its_password(
    url: str, fault: str
) -> None:
    with pytest.raises(StateError) as caught:
        await open_state(url)

    assert str(caught.value).startswith("postgresql://ann:***@")
    assert fault in str(caught.value)
    assert "geheim" not in str(caught.value)
    assert "\n" not in str(caught.value)


async def test_a_database_that_is_not_there_is_one_line(postgresql: PostgreSQL) -> None:
    url = f"postgresql://dialgate@/nowhere?host={postgresql.directory}"

    with pytest.raises(StateError, match='can\'t be used: database "nowhere" does not exist'):
        await open_state(url)


async def test_a_server_that_comes_back_is_used_again(postgresql: PostgreSQL) -> None:
    engine = await open_state(postgresql.database())
    postgresql.stop()
    try:
        with pytest.raises(StateError, match="can't be reached"):
            await check_state(engine)
    finally:
        postgresql.start()

    await check_state(engine)
    await engine.dispose()


async def set_revision(state: AsyncEngine, revision: str) -> None:
    async with writing(state) as connection:
        await connection.execute(
            text("UPDATE alembic_version SET version_num = :number"), {"number": revision}
        )


async def test_a_missing_directory_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(StateError) as caught:
        await open_state(f"sqlite:///{tmp_path}/none/state.db")

    assert str(caught.value).startswith(f"{tmp_path}/none/state.db: No such file or directory")


async def test_a_state_that_breaks_later_is_a_state_error(state: AsyncEngine, file: Path) -> None:
    with closing(sqlite3.connect(file)) as breaker:
        breaker.execute("DROP TABLE users")
        breaker.commit()

    with pytest.raises(StateError, match="no such table"):
        await find_user(state, "ann")


async def test_a_state_can_be_asked_whether_it_answers(state: AsyncEngine, file: Path) -> None:
    await check_state(state)
    with closing(sqlite3.connect(file)) as breaker:
        breaker.execute("DROP TABLE meta")
        breaker.commit()

    with pytest.raises(StateError, match="no such table"):
        await check_state(state)


async def test_work_that_is_given_up_in_the_middle_gives_the_writers_lock_back(
    state: AsyncEngine, file: Path
) -> None:
    """However often it is cancelled: the driver's own clean-up can be broken off as well."""
    begun = asyncio.Event()

    @unbroken
    async def work() -> None:
        begun.set()
        async with writing(state) as connection:
            await connection.execute(text("UPDATE meta SET value = value"))

    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        tasks = [asyncio.create_task(work()) for _ in range(4)]
        await begun.wait()
        for _ in range(4):
            await asyncio.sleep(0.01)
            for task in tasks:
                task.cancel()
        other.execute("ROLLBACK")
        given_up = await asyncio.gather(*tasks, return_exceptions=True)
        async with asyncio.timeout(5):
            while not may_write(other):  # noqa: ASYNC110 - SQLite sets no event
                await asyncio.sleep(0.01)

    assert [type(each) for each in given_up] == [asyncio.CancelledError] * 4


def may_write(connection: sqlite3.Connection) -> bool:
    try:
        connection.execute("PRAGMA busy_timeout = 0")
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError:
        return False
    connection.execute("ROLLBACK")
    return True
