"""A serial port behind a terminal server, by RFC 2217, on the event loop.

A shell around `port_agents.rfc2217`; one connection a port and no thread.

Invariants: what waits to be written is bounded; a connection that is gone, a silent one within
`KEEPALIVE`, is closed at once and told of once; after `close` nothing is called.
"""

from __future__ import annotations

import asyncio
import math
import os
import socket
from typing import Final, cast

from dialgate.settings import HostPort, PortSettings, parse_terminal_server
from port_agents.bounded_writer import WRITE_BYTES_MAX
from port_agents.device import PortError, PortListener
from port_agents.modem_actions import ModemLines
from port_agents.rfc2217 import (
    Action,
    ComPort,
    ComPortSettings,
    Heard,
    Hold,
    LinesAre,
    Opened,
    Refused,
    Send,
)

__all__ = ["NetworkPort", "connect_port"]

CONNECT_S: Final = 5.0
"""How long a terminal server may take to accept."""
KEEPALIVE: Final = {
    socket.TCP_KEEPIDLE: 10,
    socket.TCP_KEEPINTVL: 5,
    socket.TCP_KEEPCNT: 3,
    socket.TCP_USER_TIMEOUT: 20_000,
}
"""A terminal server that is silently gone is noticed within 25 s (seconds, times; milliseconds)."""
START_BITS: Final = 1


async def connect_port(settings: PortSettings, listener: PortListener) -> NetworkPort:
    """Connect to the port that `settings.device` names, and set its line.

    Raises:
        PortError: it doesn't accept in time, or is no RFC 2217 port.
    """
    place = parse_terminal_server(settings.device)
    port = NetworkPort(settings, listener)
    try:
        async with asyncio.timeout(CONNECT_S):
            await _connected(place, port)
        await port.opened()
    except TimeoutError as error:
        text = f"did not accept within {CONNECT_S:g} s: is the terminal server up?"
        raise PortError(f"{settings.device}: {text}") from error
    except OSError as error:
        raise PortError(f"{settings.device}: {_reason(error)}") from error
    except BaseException:
        port.close()
        raise
    return port


async def _connected(place: HostPort, port: NetworkPort) -> None:
    await asyncio.get_running_loop().create_connection(lambda: port, place.host, place.port)


class NetworkPort(asyncio.Protocol):
    """One connection to a port of a terminal server."""

    def __init__(self, settings: PortSettings, listener: PortListener) -> None:
        self._device = settings.device
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self._core = ComPort(
            ComPortSettings(
                settings.baud,
                settings.bytesize,
                settings.parity,
                settings.stopbits,
                rtscts=settings.rtscts,
                xonxoff=settings.xonxoff,
            )
        )
        bits = START_BITS + settings.bytesize + (settings.parity != "none") + settings.stopbits
        self._byte_s = bits / settings.baud
        self._transport: asyncio.Transport | None = None
        self._opened: asyncio.Future[None] = self._loop.create_future()
        self._timer: asyncio.TimerHandle | None = None
        self._held = bytearray()
        """What the server's flow control keeps here."""
        self._is_held = False
        self._gone_at = -math.inf
        """When all that was written will have left the server's line, at its speed."""
        self._drain_timer: asyncio.TimerHandle | None = None
        self._loss: asyncio.Handle | None = None

    # The connection.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to negotiate."""
        # uvloop's transports have the methods of asyncio.Transport, but are none.
        self._transport = cast("asyncio.Transport", transport)
        connection = self._transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for option, value in KEEPALIVE.items():
            connection.setsockopt(socket.IPPROTO_TCP, option, value)
        self._perform(self._core.begin(self._loop.time()))

    def data_received(self, data: bytes) -> None:
        """Take what the server sent."""
        if not self.closed:
            self._perform(self._core.receive(data, self._loop.time()))

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell that the connection is gone, unless we closed it."""
        if not self.closed:
            reason = _reason(exc) if isinstance(exc, OSError) else self._core.ended()
            self._lose(reason)

    async def opened(self) -> None:
        """Wait until the line can be used, for at most the protocol's own bounds.

        Raises:
            PortError: it is no RFC 2217 port.
        """
        await self._opened

    # The device.

    @property
    def closed(self) -> bool:
        """Whether the connection is closed, by `close` or because it is gone."""
        return self._transport is None

    @property
    def unwritten(self) -> int:
        """How many bytes wait for the network."""
        waiting = 0 if self._transport is None else self._transport.get_write_buffer_size()
        return waiting + len(self._held)

    def write(self, data: bytes) -> bool:
        """Send all of `data` in order; return False, sending none of it, when there is no room."""
        if self._transport is None or self.unwritten + len(data) > WRITE_BYTES_MAX:
            return False
        if self._is_held:
            self._held += data
        else:
            self._transport.write(self._core.data(data))
        self._gone_at = max(self._gone_at, self._loop.time()) + len(data) * self._byte_s
        self._watch_line()
        return True

    def flush(self) -> None:
        """Discard what waits at the server in both directions."""
        self._held.clear()
        self._send(self._core.purge())

    def set_dtr(self, *, on: bool) -> bool:
        """Raise or drop DTR at the server; it does so behind all that was written."""
        return self._send(self._core.set_dtr(on=on))

    def set_break(self, *, on: bool) -> bool:
        """Begin or end a break."""
        return self._send(self._core.set_break(on=on))

    def lines(self) -> ModemLines | None:
        """Return the modem lines as last told; None: the server does not tell of them."""
        return self._core.lines

    def watch_carrier(self, *, in_call: bool) -> None:
        """Do nothing: the server tells of changes by itself."""

    def pause_reading(self) -> None:
        """Leave what comes in the network: the server has to wait."""
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read again."""
        if self._transport is not None:
            self._transport.resume_reading()

    def close(self) -> None:
        """Close the connection; what waits is lost.  Closing again does nothing."""
        if self._loss is not None:
            self._loss.cancel()
        for timer in (self._timer, self._drain_timer):
            if timer is not None:
                timer.cancel()
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()

    # What the core wants.

    def _perform(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case Send(data):
                    self._send(data)
                case Heard(data):
                    self._listener.on_bytes(data)
                case Opened():
                    if not self._opened.done():
                        self._opened.set_result(None)
                case LinesAre(lines):
                    self._listener.on_lines(lines)
                case Hold(on):
                    self._hold(on=on)
                case Refused(reason):
                    self._lose(reason)
            if self.closed:
                return
        self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if (deadline := self._core.deadline()) < math.inf:
            self._timer = self._loop.call_at(deadline, self._tick)

    def _tick(self) -> None:
        self._perform(self._core.tick(self._loop.time()))

    def _send(self, data: bytes) -> bool:
        if self._transport is None:
            return False
        self._transport.write(data)
        return True

    def _hold(self, *, on: bool) -> None:
        self._is_held = on
        if not on and self._held:
            self._send(self._core.data(bytes(self._held)))
            self._held.clear()

    def _watch_line(self) -> None:
        if self._drain_timer is None:
            self._drain_timer = self._loop.call_at(self._gone_at, self._look_at_line)

    def _look_at_line(self) -> None:
        """Tell that everything should have left the line by now, or look again later."""
        self._drain_timer = None
        if self.unwritten or self._loop.time() < self._gone_at:
            self._gone_at = max(self._gone_at, self._loop.time() + self._byte_s * self.unwritten)
            self._watch_line()
        else:
            self._listener.on_drained()

    def _lose(self, reason: str) -> None:
        self.close()
        if not self._opened.done():
            self._opened.set_exception(PortError(f"{self._device}: {reason}"))
        else:
            self._loss = self._loop.call_soon(self._listener.on_lost, reason)


def _reason(error: OSError) -> str:
    """Return in words what went wrong; name look-ups and several addresses have no errno."""
    return os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
