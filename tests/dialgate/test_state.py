"""The cluster's state, on a real SQLite file."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from dialgate.errors import StateError, UsageError
from dialgate.passwords import Argon2
from dialgate.state import (
    add_user,
    find_user,
    list_users,
    normalize_name,
    open_state,
    remove_user,
    replace_hash,
    set_disabled,
    set_password,
    shared_secret,
)

CHEAP: Final = Argon2(memory_kib=8, passes=1)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


@pytest.fixture
async def state(file: Path) -> AsyncIterator[AsyncEngine]:
    engine = await open_state(f"sqlite:///{file}")
    yield engine
    await engine.dispose()


async def test_a_new_user_is_found_by_his_name(state: AsyncEngine) -> None:
    await add_user(state, "ann", b"secret", CHEAP)

    user = await find_user(state, "ann")

    assert user is not None
    assert (user.name, user.disabled) == ("ann", False)
    assert CHEAP.matches(user.password_hash, b"secret")
    assert user.created == user.changed
    assert user.password_hash not in repr(user)


async def test_upper_and_lower_case_are_different_users(state: AsyncEngine) -> None:
    await add_user(state, "ann", b"secret", CHEAP)

    assert await find_user(state, "Ann") is None
    await add_user(state, "Ann", b"other", CHEAP)
    assert [user.name for user in await list_users(state)] == ["Ann", "ann"]


async def test_a_name_is_stored_in_one_spelling(state: AsyncEngine) -> None:
    await add_user(state, "zoe\u0308", b"secret", CHEAP)

    assert await find_user(state, "zo\u00eb") is not None
    with pytest.raises(StateError, match="already"):
        await add_user(state, "zo\u00eb", b"secret", CHEAP)


async def test_a_user_is_added_once(state: AsyncEngine) -> None:
    await add_user(state, "ann", b"secret", CHEAP)

    with pytest.raises(StateError, match="there is a user 'ann' already"):
        await add_user(state, "ann", b"other", CHEAP)

    user = await find_user(state, "ann")
    assert user is not None
    assert CHEAP.matches(user.password_hash, b"secret")


async def test_a_user_is_disabled_and_enabled(state: AsyncEngine) -> None:
    await add_user(state, "ann", b"secret", CHEAP)

    for disabled in (True, True, False):
        await set_disabled(state, "ann", disabled)
        user = await find_user(state, "ann")
        assert user is not None
        assert user.disabled is disabled


async def test_a_password_is_changed(state: AsyncEngine) -> None:
    await add_user(state, "ann", b"secret", CHEAP)

    await set_password(state, "ann", b"other", CHEAP)

    user = await find_user(state, "ann")
    assert user is not None
    assert CHEAP.matches(user.password_hash, b"other")


async def test_a_user_is_removed(state: AsyncEngine) -> None:
    await add_user(state, "ann", b"secret", CHEAP)

    await remove_user(state, "ann")

    assert await list_users(state) == []


async def test_what_is_done_to_nobody_is_an_error(state: AsyncEngine) -> None:
    for change in (
        set_password(state, "bob", b"secret", CHEAP),
        set_disabled(state, "bob", True),
        remove_user(state, "bob"),
    ):
        with pytest.raises(StateError, match="there is no user 'bob'"):
            await change


async def test_a_hash_is_not_replaced_after_the_password_was_changed(state: AsyncEngine) -> None:
    await add_user(state, "ann", b"secret", CHEAP)
    before = await find_user(state, "ann")
    assert before is not None
    await replace_hash(state, before, "rehashed")
    rehashed = await find_user(state, "ann")
    assert rehashed is not None
    await set_password(state, "ann", b"other", CHEAP)

    await replace_hash(state, rehashed, "too late")

    after = await find_user(state, "ann")
    assert rehashed.password_hash == "rehashed"
    assert after is not None
    assert CHEAP.matches(after.password_hash, b"other")


@pytest.mark.parametrize(
    "name", ["", " ann", "ann ", "a\nb", "a\x1bb", "a\x85b", "\ud800", "a\u2028b", "ä" * 129]
)
async def test_an_unfit_name_is_refused(state: AsyncEngine, name: str) -> None:
    with pytest.raises(UsageError):
        await add_user(state, name, b"secret", CHEAP)

    assert await list_users(state) == []


def test_the_longest_name_has_256_bytes() -> None:
    assert normalize_name("ä" * 128) == "ä" * 128


async def test_an_empty_password_is_refused(state: AsyncEngine) -> None:
    with pytest.raises(UsageError, match="empty"):
        await add_user(state, "ann", b"", CHEAP)


async def test_all_who_ask_for_a_new_secret_get_the_same(state: AsyncEngine) -> None:
    offered = [bytes([n]) * 32 for n in range(8)]

    got = await asyncio.gather(*(shared_secret(state, "pool", fresh) for fresh in offered))

    assert len(set(got)) == 1
    assert got[0] in offered
    assert await shared_secret(state, "other", b"x") == b"x"


async def test_the_state_outlives_its_engine(file: Path) -> None:
    first = await open_state(f"sqlite:///{file}")
    await add_user(first, "ann", b"secret", CHEAP)
    await first.dispose()

    second = await open_state(f"sqlite:///{file}")
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


async def test_processes_that_start_together_make_one_state(file: Path) -> None:
    engines = await asyncio.gather(*(open_state(f"sqlite:///{file}") for _ in range(6)))

    await add_user(engines[0], "ann", b"secret", CHEAP)

    assert [len(await list_users(engine)) for engine in engines] == [1] * 6
    for engine in engines:
        await engine.dispose()


async def test_another_programs_database_is_refused_and_left_as_it_is(file: Path) -> None:
    with closing(sqlite3.connect(file)) as foreign:
        foreign.execute("CREATE TABLE meta (id INTEGER)")
        foreign.commit()
    before = file.read_bytes()

    with pytest.raises(StateError, match="belongs to another program"):
        await open_state(f"sqlite:///{file}")

    assert file.read_bytes() == before


async def test_a_file_that_is_no_database_is_refused_and_left_as_it_is(file: Path) -> None:
    file.write_bytes(b"minutes of the meeting\n" * 100)

    with pytest.raises(StateError, match="not a database") as caught:
        await open_state(f"sqlite:///{file}")

    assert "\n" not in str(caught.value)
    assert file.read_bytes() == b"minutes of the meeting\n" * 100


async def test_a_newer_state_is_refused(state: AsyncEngine, file: Path) -> None:
    with closing(sqlite3.connect(file)) as newer:
        newer.execute("UPDATE meta SET value = '2' WHERE key = 'schema'")
        newer.commit()

    with pytest.raises(StateError, match="has schema 2, and this dialgate knows 1"):
        await open_state(f"sqlite:///{file}")


@pytest.mark.parametrize("url", ["", "nonsense", "sqlite://", "mysql://u:geheim@host/db"])
async def test_an_unknown_kind_of_state_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(StateError) as caught:
        await open_state(url)

    assert "sqlite:////path/to/state.db" in str(caught.value)
    assert "geheim" not in str(caught.value)


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
