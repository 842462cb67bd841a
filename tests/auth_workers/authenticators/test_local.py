"""Local users, with real argon2 at a low cost and a scripted caller."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

import pytest

from auth_workers.authenticators import Accepted, Rejected, Unavailable
from auth_workers.authenticators.local import Local
from auth_workers.hashing import HashingPool
from auth_workers.testing import Caller
from dialgate.errors import StateError
from dialgate.passwords import Argon2
from dialgate.users import User

CHEAP: Final = Argon2(memory_kib=8, passes=1)
DATE: Final = datetime(2026, 11, 22, tzinfo=UTC)
ANN: Final = User("ann", CHEAP.hash(b"secret"), disabled=False, created=DATE, changed=DATE)
BOB: Final = User("bob", CHEAP.hash(b"hunter2"), disabled=True, created=DATE, changed=DATE)


class Hashing(HashingPool):
    """Counts what was checked against what."""

    def __init__(self) -> None:
        super().__init__(CHEAP, 1)
        self.checked: list[str] = []

    async def matches(self, password_hash: str, password: bytes) -> bool:
        self.checked.append(password_hash)
        return await super().matches(password_hash, password)


class Site:
    """Local users on the bench."""

    def __init__(self, *users: User) -> None:
        self.users = {user.name: user for user in users}
        self.broken = False
        self.rehashed: dict[str, str] = {}
        self.hashing = Hashing()
        self.local = Local(self.find, self.rehash, self.hashing)

    async def find(self, name: str) -> User | None:
        if self.broken:
            raise StateError("/state.db: the state can't be used: disk I/O error")
        return self.users.get(name)

    async def rehash(self, user: User, password_hash: str) -> None:
        if self.broken:
            raise StateError("gone")
        self.rehashed[user.name] = password_hash


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site(ANN, BOB)
    yield site
    site.hashing.close()


async def test_the_right_password_is_accepted(site: Site) -> None:
    caller = Caller(b"secret")

    assert await caller.tries("ann", site.local) == Accepted("ann")
    assert caller.screen == b"Password: "


@pytest.mark.parametrize(
    ("name", "password"),
    [
        pytest.param("ann", b"sesame", id="wrong password"),
        pytest.param("eve", b"secret", id="unknown user"),
        pytest.param("bob", b"hunter2", id="disabled user, right password"),
        pytest.param("bob", b"sesame", id="disabled user, wrong password"),
        pytest.param("Ann", b"secret", id="another case"),
        pytest.param("ann", b"", id="empty password"),
    ],
)
async def test_nothing_tells_why_a_try_failed(site: Site, name: str, password: bytes) -> None:
    """One text, and one hash of the same cost for each guess."""
    caller = Caller(password)

    assert await caller.tries(name, site.local) == Rejected()
    assert caller.screen == b"Password: "
    assert len(site.hashing.checked) == 1
    assert not CHEAP.is_outdated(site.hashing.checked[0])


async def test_a_state_that_does_not_answer_decides_nothing(site: Site) -> None:
    site.broken = True

    assert isinstance(await Caller(b"secret").tries("ann", site.local), Unavailable)


async def test_a_damaged_hash_decides_nothing(site: Site) -> None:
    site.users["ann"] = replace(ANN, password_hash="$argon2id$broken")

    assert isinstance(await Caller(b"secret").tries("ann", site.local), Unavailable)


async def test_an_outdated_hash_is_renewed_at_login(site: Site) -> None:
    dearer = Argon2(memory_kib=16, passes=1)
    site.users["ann"] = replace(ANN, password_hash=dearer.hash(b"secret"))

    assert await Caller(b"secret").tries("ann", site.local) == Accepted("ann")

    assert CHEAP.matches(site.rehashed["ann"], b"secret")
    assert not CHEAP.is_outdated(site.rehashed["ann"])


async def test_a_hash_that_cannot_be_renewed_does_not_keep_the_user_out() -> None:
    dearer = Argon2(memory_kib=16, passes=1)
    site = Site(replace(ANN, password_hash=dearer.hash(b"secret")))

    async def fail(_user: User, _password_hash: str) -> None:
        raise StateError("read-only file system")

    local = Local(site.find, fail, site.hashing)

    assert await Caller(b"secret").tries("ann", local) == Accepted("ann")


async def test_no_hash_is_in_a_representation() -> None:
    assert ANN.password_hash not in repr(ANN)
