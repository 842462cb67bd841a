"""A TCP console as the service behind a line: what callers reach is one connection of their own.

Not a telnet client: bytes pass unchanged, as terminal servers offer on their raw ports.

Invariant: after `stop` nothing is told, and the connection is gone within the grace.
"""

from __future__ import annotations

import asyncio
import os
import socket
from typing import Final, cast

from port_agents.bounded_writer import WRITE_BYTES_MAX
from port_agents.service_contract import ServiceError, ServiceListener

__all__ = ["Console", "connect_console"]

KEEPALIVE: Final = {
    socket.TCP_KEEPIDLE: 30,
    socket.TCP_KEEPINTVL: 10,
    socket.TCP_KEEPCNT: 3,
    socket.TCP_USER_TIMEOUT: 60_000,
}
"""A console that is silently gone is noticed within a minute (seconds, times; milliseconds)."""


async def connect_console(
    host: str, port: int, connect_timeout_s: float, listener: ServiceListener
) -> Console:
    """Connect to a console.

    Raises:
        ServiceError: it does not accept within `connect_timeout_s`.
    """
    place = f"tcp://{f'[{host}]' if ':' in host else host}:{port}"
    try:
        async with asyncio.timeout(connect_timeout_s):
            _, console = await asyncio.get_running_loop().create_connection(
                lambda: Console(listener), host, port
            )
    except TimeoutError as error:
        text = f"{place}: did not accept within {connect_timeout_s:g} s"
        raise ServiceError(text) from error
    except OSError as error:
        raise ServiceError(f"{place}: {_reason(error)}") from error
    # Not before the caller of this function has the console in hands.
    asyncio.get_running_loop().call_soon(console.resume_output)
    return console


class Console(asyncio.Protocol):
    """One connection to a console."""

    def __init__(self, listener: ServiceListener) -> None:
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._bytes_in = 0
        self._bytes_out = 0
        self._stopping = False
        self._closed = asyncio.Event()
        self._drained: asyncio.Handle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Watch the connection and hear of each write that has gone out."""
        # uvloop's transports have the methods of asyncio.Transport, but are none.
        self._transport = cast("asyncio.Transport", transport)
        connection = self._transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in KEEPALIVE.items():
            connection.setsockopt(socket.IPPROTO_TCP, option, value)
        self._transport.set_write_buffer_limits(high=0)
        self._transport.pause_reading()

    def data_received(self, data: bytes) -> None:
        """Pass on what the console says."""
        if not self._stopping:
            self._bytes_out += len(data)
            self._listener.on_output(data)

    def resume_writing(self) -> None:
        """Tell that all has gone out."""
        if not self._stopping:
            self._listener.on_drained()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell that the console hung up, unless we did."""
        self._closed.set()
        if self._drained is not None:
            self._drained.cancel()
        if not self._stopping:
            reason = _reason(exc) if isinstance(exc, OSError) else "the console hung up"
            self._listener.on_end(reason)

    @property
    def bytes_in(self) -> int:
        """How many bytes were written to the console."""
        return self._bytes_in

    @property
    def bytes_out(self) -> int:
        """How many bytes the console has sent."""
        return self._bytes_out

    @property
    def unwritten(self) -> int:
        """How many bytes wait for the network."""
        return self._transport.get_write_buffer_size()

    def write(self, data: bytes) -> bool:
        """Send all of `data` to the console; False when there is no room."""
        if self._transport.is_closing() or self.unwritten + len(data) > WRITE_BYTES_MAX:
            return False
        self._bytes_in += len(data)
        self._transport.write(data)
        if not self.unwritten:
            self._drained = self._loop.call_soon(self._listener.on_drained)
        return True

    def pause_output(self) -> None:
        """Leave output in the network: the console has to wait."""
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_output(self) -> None:
        """Take output again."""
        if not self._transport.is_closing():
            self._transport.resume_reading()

    async def stop(self, grace_s: float) -> bool:
        """Close the connection; what was written goes out first, for at most `grace_s`."""
        self._stopping = True
        if self._drained is not None:
            self._drained.cancel()
        self._transport.close()
        try:
            async with asyncio.timeout(grace_s):
                await self._closed.wait()
        except TimeoutError:
            self._transport.abort()
        return True


def _reason(error: OSError) -> str:
    """Return in words what went wrong; name look-ups and multiple addresses have no errno."""
    return os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
