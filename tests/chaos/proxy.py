"""A TCP proxy that is as bad as a network: it delays, stalls one way or both, and cuts.

It stands between one peer and one broker.  TCP loses no byte inside a connection, so a partition
holds them back, as a network that drops packets does: when it heals, they arrive late; and what was
begun meanwhile is held as well.  A cut resets connections and refuses new ones.

Invariant: bytes pass unchanged and in their order, or not at all.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import Enum, auto
from typing import Final

CHUNK_BYTES: Final = 64 * 1024
CHUNKS_MAX: Final = 256
"""What waits in one direction of a connection before its sender is made to wait."""


class Way(Enum):
    """A direction."""

    THERE = auto()
    """From the peer to the broker."""
    BACK = auto()


class Link:
    """One proxied link; `address` is what the peer connects to."""

    def __init__(self, name: str, target: tuple[str, int]) -> None:
        self.name: Final = name
        self.address: tuple[str, int] = ("", 0)
        self.delay_s = 0.0
        """How much later everything arrives."""
        self._target = target
        self._open = {way: asyncio.Event() for way in Way}
        self._is_cut = False
        self._connections: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self.heal()

    @asynccontextmanager
    async def served(self, host: str) -> AsyncIterator[None]:
        """Serve peers while the context lasts."""
        server = await asyncio.start_server(self._connected, host, 0)
        self.address = server.sockets[0].getsockname()[:2]
        try:
            yield
        finally:
            server.close()
            self._reset()

    def heal(self) -> None:
        """Be a good network again."""
        self.delay_s = 0.0
        self._is_cut = False
        for way in self._open.values():
            way.set()

    def stall(self, *ways: Way) -> None:
        """Let nothing through in these directions until it heals; nobody is told."""
        for way in ways:
            self._open[way].clear()

    def cut(self) -> None:
        """Reset what is connected, and refuse what comes, until it heals."""
        self._is_cut = True
        self._reset()

    def _reset(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if self._is_cut:
                return
            self._writers.add(writer)
            far_reader, far_writer = await asyncio.open_connection(*self._target)
            self._writers.add(far_writer)
            async with asyncio.TaskGroup() as pumps:
                pumps.create_task(self._pump(reader, far_writer, Way.THERE))
                pumps.create_task(self._pump(far_reader, writer, Way.BACK))
            self._writers.discard(far_writer)
        except (OSError, ExceptionGroup):
            pass  # One side is gone: so is the other.
        finally:
            self._writers.discard(writer)
            writer.transport.abort()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: Way
    ) -> None:
        """Pass bytes on in one direction; a chunk waits its delay, and for the way to be open."""
        loop = asyncio.get_running_loop()
        chunks: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(CHUNKS_MAX)

        async def take() -> None:
            data = b"-"
            while data:
                with contextlib.suppress(ConnectionError):
                    data = await reader.read(CHUNK_BYTES)
                await chunks.put((loop.time() + self.delay_s, data))

        async with asyncio.TaskGroup() as tasks:
            taking = tasks.create_task(take())
            while True:
                due, data = await chunks.get()
                await asyncio.sleep(max(0.0, due - loop.time()))
                await self._open[way].wait()
                if not data:
                    break
                writer.write(data)
                await writer.drain()
            taking.cancel()
        writer.transport.abort()
