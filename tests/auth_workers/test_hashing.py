"""Password checks off the loop, bounded."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Final

import pytest

from auth_workers.hashing import HashingPool
from dialgate.errors import BackendUnavailable
from dialgate.passwords import Argon2

CHEAP: Final = Argon2(memory_kib=8, passes=1)


class Gated(Argon2):
    """An argon2 whose checks wait until the test opens the gate."""

    def __init__(self) -> None:
        super().__init__(memory_kib=8, passes=1)
        self.gate = threading.Event()
        self.running = 0
        self.most = 0
        self._lock = threading.Lock()

    def matches(self, password_hash: str, password: bytes) -> bool:
        with self._lock:
            self.running += 1
            self.most = max(self.most, self.running)
        self.gate.wait(10.0)
        with self._lock:
            self.running -= 1
        return super().matches(password_hash, password)


@pytest.fixture
def gated() -> Iterator[Gated]:
    argon2 = Gated()
    yield argon2
    argon2.gate.set()


async def test_passwords_are_checked_and_hashed() -> None:
    pool = HashingPool(CHEAP, 1)
    hashed = await pool.hash(b"secret")

    assert await pool.matches(hashed, b"secret")
    assert not await pool.matches(hashed, b"sesame")
    assert pool.waiting == 0
    pool.close()


async def test_no_more_checks_run_at_once_than_there_are_threads(gated: Gated) -> None:
    pool = HashingPool(gated, 2)
    checks = [asyncio.ensure_future(pool.matches(gated.decoy, b"x")) for _ in range(6)]
    while gated.running < 2:  # noqa: ASYNC110 - threads set no event of the loop
        await asyncio.sleep(0)
    assert pool.waiting == 6
    gated.gate.set()

    assert await asyncio.gather(*checks) == [False] * 6
    assert gated.most == 2
    pool.close()


async def test_beyond_the_room_nothing_is_decided(gated: Gated) -> None:
    pool = HashingPool(gated, 1, waiting_max=1)
    checks = [asyncio.ensure_future(pool.matches(gated.decoy, b"x")) for _ in range(2)]
    await asyncio.sleep(0)

    with pytest.raises(BackendUnavailable, match="2 logins wait"):
        await pool.matches(gated.decoy, b"x")

    assert pool.refused == 1
    gated.gate.set()
    await asyncio.gather(*checks)
    pool.close()


async def test_a_caller_who_hangs_up_makes_room(gated: Gated) -> None:
    pool = HashingPool(gated, 1)
    checks = [asyncio.ensure_future(pool.matches(gated.decoy, b"x")) for _ in range(3)]
    await asyncio.sleep(0)

    for check in checks:
        check.cancel()
    await asyncio.gather(*checks, return_exceptions=True)

    assert pool.waiting == 0
    gated.gate.set()
    pool.close()
