"""A byte-level proxy between a RADIUS client and its server, which alters or drops what passes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final

__all__ = ["Alter", "proxy"]

Address = tuple[str, int]
Alter = Callable[[bytes, bytes], Sequence[bytes]]
"""Given a request and its reply, what the client gets instead of the reply."""
LOOPBACK: Final = "127.0.0.1"


class _Front(asyncio.DatagramProtocol):
    """The client's side; each request goes on through a socket of its own."""

    def __init__(self, server: Address, alter: Alter, drop: int) -> None:
        self.transport: asyncio.DatagramTransport
        self._server = server
        self._alter = alter
        self._drop = drop
        self._tasks: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self.transport = transport

    def datagram_received(self, data: bytes, client: Address) -> None:
        if self._drop > 0:
            self._drop -= 1
            return
        task = asyncio.get_running_loop().create_task(self._relay(data, client))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _relay(self, request: bytes, client: Address) -> None:
        back = _Back()
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: back, remote_addr=self._server
        )
        try:
            transport.sendto(request)
            async with asyncio.timeout(5):
                for datagram in self._alter(request, await back.reply):
                    self.transport.sendto(datagram, client)
        except TimeoutError:
            pass
        finally:
            transport.close()


class _Back(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.reply: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, _address: Address) -> None:
        if not self.reply.done():
            self.reply.set_result(data)


@asynccontextmanager
async def proxy(
    server: str, alter: Alter = lambda _, reply: [reply], *, drop: int = 0
) -> AsyncIterator[str]:
    """Serve between a client and `server`; give the address at which the client finds it.

    Args:
        server: HOST:PORT.
        alter: what becomes of replies.
        drop: how many requests are lost at first.
    """
    host, _, port = server.rpartition(":")
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: _Front((host, int(port)), alter, drop), local_addr=(LOOPBACK, 0)
    )
    try:
        yield f"{LOOPBACK}:{transport.get_extra_info('sockname')[1]}"
    finally:
        transport.close()
