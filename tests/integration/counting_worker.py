"""A real auth worker that notes each password check in a file before it makes it.

The file is COUNT of the environment: a byte a check, written before the check begins.

    COUNT=/path/to/file python -m tests.integration.counting_worker --config worker.toml
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from auth_workers import service
from auth_workers.hashing import HashingPool
from dialgate.passwords import Argon2


class Counting(HashingPool):
    """Counts, and checks."""

    def __init__(self, argon2: Argon2, concurrency: int) -> None:
        super().__init__(argon2, concurrency)
        self._file = os.open(Path(os.environ["COUNT"]), os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    async def matches(self, password_hash: str, password: bytes) -> bool:
        os.write(self._file, b".")
        return await super().matches(password_hash, password)


if __name__ == "__main__":
    vars(service)["HashingPool"] = Counting
    sys.exit(service.main(sys.argv[1:]))
