"""Copies of users between two states: who is copied, replaced, kept, and when nobody counts."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from dialgate.errors import CopyError
from dialgate.passwords import Argon2
from dialgate.state import open_state
from dialgate.user_sync import copy_until_s, store_copy, take_copy
from dialgate.users import UserTerms, add_user, find_user, list_users, remove_user, set_disabled

CHEAP = Argon2(memory_kib=8, passes=1)
DAY_S = 86_400


@pytest.fixture
async def centre(tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    engine = await open_state(f"sqlite:///{tmp_path}/centre.db")
    for name in ("ann", "bob", "noc-1"):
        await add_user(engine, name, b"xyzzy", CHEAP, UserTerms(roles=["operator"]))
    yield engine
    await engine.dispose()


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    engine = await open_state(f"sqlite:///{tmp_path}/site.db")
    await add_user(engine, "glass", b"hammer", CHEAP)
    yield engine
    await engine.dispose()


def now_s() -> int:
    return int(time.time())


async def names(engine: AsyncEngine) -> list[str]:
    return [user.name for user in await list_users(engine)]


async def test_a_copied_user_is_as_he_is_at_the_centre(
    centre: AsyncEngine, site: AsyncEngine
) -> None:
    copy = await take_copy(centre, ["*"], now_s(), DAY_S)

    assert await store_copy(site, copy) == (3, [])

    theirs, ours = await find_user(centre, "ann"), await find_user(site, "ann")
    assert theirs is not None
    assert ours is not None
    assert ours.copied_until is not None
    assert (ours.password_hash, ours.roles) == (theirs.password_hash, ("operator",))
    assert await names(site) == ["ann", "bob", "glass", "noc-1"]
    assert await copy_until_s(site) == copy.until_s


async def test_only_users_with_the_names_asked_for_are_copied(centre: AsyncEngine) -> None:
    copy = await take_copy(centre, ["noc-*", "ann"], now_s(), DAY_S)

    assert [user["name"] for user in copy.users] == ["ann", "noc-1"]


async def test_the_next_copy_takes_the_place_of_the_last(
    centre: AsyncEngine, site: AsyncEngine
) -> None:
    await store_copy(site, await take_copy(centre, ["*"], now_s() - 60, DAY_S))
    await remove_user(centre, "bob")
    await set_disabled(centre, "ann", True)

    await store_copy(site, await take_copy(centre, ["*"], now_s(), DAY_S))

    ann = await find_user(site, "ann")
    assert ann is not None
    assert ann.disabled
    assert await names(site) == ["ann", "glass", "noc-1"]


async def test_a_user_of_the_sites_own_stays_as_he_is(
    centre: AsyncEngine, site: AsyncEngine
) -> None:
    await add_user(centre, "glass", b"another", CHEAP)
    before = await find_user(site, "glass")

    assert await store_copy(site, await take_copy(centre, ["*"], now_s(), DAY_S)) == (3, ["glass"])
    assert await find_user(site, "glass") == before


async def test_a_copy_that_is_older_than_the_last_changes_nothing(
    centre: AsyncEngine, site: AsyncEngine
) -> None:
    now = now_s()
    old = await take_copy(centre, ["*"], now - 60, DAY_S)
    await remove_user(centre, "bob")
    await store_copy(site, await take_copy(centre, ["*"], now - 50, DAY_S))

    with pytest.raises(CopyError, match="is 10 s older than the copy that is here"):
        await store_copy(site, old)

    assert await names(site) == ["ann", "glass", "noc-1"]


async def test_an_older_copy_is_refused_after_an_empty_one_too(
    centre: AsyncEngine, site: AsyncEngine
) -> None:
    """Who takes everybody's access away must not see it come back with yesterday's file."""
    old = await take_copy(centre, ["*"], now_s() - 60, DAY_S)
    await store_copy(site, await take_copy(centre, [], now_s(), DAY_S))

    with pytest.raises(CopyError, match="older"):
        await store_copy(site, old)

    assert await names(site) == ["glass"]
    assert await copy_until_s(site) is None


async def test_the_same_copy_may_come_again(centre: AsyncEngine, site: AsyncEngine) -> None:
    copy = await take_copy(centre, ["*"], now_s(), DAY_S)

    assert await store_copy(site, copy) == await store_copy(site, copy) == (3, [])


async def test_whom_a_copy_brought_that_is_too_old_is_not_found(
    centre: AsyncEngine, site: AsyncEngine
) -> None:
    await store_copy(site, await take_copy(centre, ["*"], now_s() - DAY_S - 1, DAY_S))

    assert await find_user(site, "ann") is None
    assert await find_user(site, "glass") is not None
    assert "ann" in await names(site), "an operator sees why"


async def test_copied_users_are_not_copied_on(centre: AsyncEngine, site: AsyncEngine) -> None:
    """Else a site with a key could give its users a longer life than the centre does."""
    await store_copy(site, await take_copy(centre, ["*"], now_s(), DAY_S))

    copy = await take_copy(site, ["*"], now_s(), DAY_S)

    assert [user["name"] for user in copy.users] == ["glass"]


async def test_a_copy_of_another_version_changes_nothing(
    centre: AsyncEngine, site: AsyncEngine
) -> None:
    copy = await take_copy(centre, ["*"], now_s(), DAY_S)

    with pytest.raises(CopyError, match="has schema 0001, and this dialgate"):
        await store_copy(site, msgspec.structs.replace(copy, schema="0001"))
    with pytest.raises(CopyError, match="has users without some of their columns"):
        await store_copy(site, msgspec.structs.replace(copy, users=[{"name": "eve"}]))

    assert await names(site) == ["glass"]
