"""Local users, on a real SQLite file."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from dialgate.errors import StateError, UsageError
from dialgate.passwords import Argon2
from dialgate.state import open_state
from dialgate.users import (
    add_user,
    change_password,
    find_user,
    list_users,
    normalize_name,
    remove_user,
    replace_hash,
    set_disabled,
    set_password,
)

CHEAP: Final = Argon2(memory_kib=8, passes=1)


@pytest.fixture
async def state(tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    engine = await open_state(f"sqlite:///{tmp_path}/state.db")
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


async def test_a_password_that_was_changed_meanwhile_stands(state: AsyncEngine) -> None:
    await add_user(state, "ann", b"secret", CHEAP)
    before = await find_user(state, "ann")
    assert before is not None
    await set_password(state, "ann", b"other", CHEAP)

    assert not await change_password(state, before, "his own choice, too late")

    after = await find_user(state, "ann")
    assert after is not None
    assert CHEAP.matches(after.password_hash, b"other")


async def test_what_is_done_to_one_user_leaves_another_as_he_was(state: AsyncEngine) -> None:
    await add_user(state, "ann", b"secret", CHEAP)
    await add_user(state, "bob", b"other", CHEAP)
    for user in await list_users(state):
        await replace_hash(state, user, "a hash that both have")
    ann, bob = await list_users(state)
    assert ann.password_hash == bob.password_hash

    await replace_hash(state, ann, "only hers")
    ann, other = await list_users(state)
    assert other == bob
    await replace_hash(state, ann, bob.password_hash)
    ann, _ = await list_users(state)
    assert await change_password(state, ann, "her choice")
    await set_password(state, "ann", b"another", CHEAP)
    await set_disabled(state, "ann", True)
    await remove_user(state, "ann")

    assert await list_users(state) == [bob]


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
