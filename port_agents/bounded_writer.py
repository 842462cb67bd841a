"""Writing to a descriptor that does not block, with a limit on what may wait.

Not a transport: it does not read and does not own the descriptor.

Invariant: bytes leave in the order of the writes, and a write is taken whole or not at all; never
more than `WRITE_BYTES_MAX` bytes wait.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Final

__all__ = ["WRITE_BYTES_MAX", "BoundedWriter"]

WRITE_BYTES_MAX: Final = 65_536
"""What may wait for the other side: on a line of 38400 bit/s, 17 s."""


class BoundedWriter:
    """Writes to one descriptor on the running event loop."""

    def __init__(
        self,
        fd: int,
        on_empty: Callable[[], None],
        on_error: Callable[[OSError], None],
    ) -> None:
        """Write to `fd`.  `on_empty` is called when all has been written, also within `write`."""
        self.written = 0
        """Running total of the bytes written."""
        self.refused = 0
        """Running total of the writes refused."""
        self._fd = fd
        self._on_empty = on_empty
        self._on_error = on_error
        self._loop = asyncio.get_running_loop()
        self._buffer = bytearray()

    def __len__(self) -> int:
        return len(self._buffer)

    def write(self, data: bytes) -> bool:
        """Write all of `data`; return False, writing none of it, when there is no room."""
        if len(self._buffer) + len(data) > WRITE_BYTES_MAX:
            self.refused += 1
            return False
        waiting = bool(self._buffer)
        self._buffer += data
        if waiting:
            return True
        self._write_ready()
        if self._buffer:
            self._loop.add_writer(self._fd, self._write_ready)
        return True

    def clear(self) -> None:
        """Forget what waits, and the descriptor until the next write."""
        self._buffer.clear()
        self._loop.remove_writer(self._fd)

    def _write_ready(self) -> None:
        try:
            count = os.write(self._fd, self._buffer)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self.clear()
            self._on_error(error)
            return
        self.written += count
        del self._buffer[:count]
        if not self._buffer:
            self._loop.remove_writer(self._fd)
            self._on_empty()
