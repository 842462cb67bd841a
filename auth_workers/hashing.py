"""Password hashing off the event loop, and bounded.

argon2id takes 19 MiB and tens of milliseconds of a core on purpose.  A few threads do it (it
releases the interpreter's lock), a bounded number of callers wait for them, and beyond that nothing
is decided: a flood of logins must neither eat the memory nor stall the dialogs that only type.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from dialgate.errors import BackendUnavailable
from dialgate.passwords import Argon2

__all__ = ["WAITING_MAX", "HashingPool"]

WAITING_MAX: Final = 256
"""Checks that may wait for each thread: about 10 s of work."""

_T = TypeVar("_T")


class HashingPool:
    """Checks passwords in threads of its own.

    Args:
        argon2: the cost.
        concurrency: checks at once; each takes a thread and 19 MiB.
        waiting_max: checks that may wait for each of them.
    """

    def __init__(self, argon2: Argon2, concurrency: int, *, waiting_max: int = WAITING_MAX) -> None:
        self.argon2 = argon2
        self.waiting = 0
        """Checks that are running or waiting."""
        self.refused = 0
        """Checks for which there was no room."""
        self._room = concurrency * (1 + waiting_max)
        self._threads = ThreadPoolExecutor(concurrency, thread_name_prefix="hashing")

    async def matches(self, password_hash: str, password: bytes) -> bool:
        """Return whether `password` is the one that was hashed.

        Raises:
            BackendUnavailable: too many wait already.
            StateError: the hash is damaged.
        """
        return await self._run(lambda: self.argon2.matches(password_hash, password))

    async def hash(self, password: bytes) -> str:
        """Return `password`'s hash at the pool's cost.

        Raises:
            BackendUnavailable: too many wait already.
        """
        return await self._run(lambda: self.argon2.hash(password))

    def close(self) -> None:
        """Let running checks end, and forget those that wait."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _run(self, work: Callable[[], _T]) -> _T:
        if self.waiting >= self._room:
            self.refused += 1
            raise BackendUnavailable(f"{self.waiting} logins wait for their password to be checked")
        self.waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self.waiting -= 1
