"""A terminal server with simulated modems: RFC 2217 as its server's side, a harness and no test.

It knows nothing of dialgate's client: telnet is taken apart here by a pattern, byte for byte as
RFC 854 and 2217 have it.  How it misbehaves is set on it: it need not agree, acknowledge or tell
of modem lines, it has a banner, and DCD is what a test wants it to be.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Iterable
from functools import partial
from typing import Final, Self

from port_agents.simulated_modem import (
    CallAnswered,
    CallDropped,
    Dialled,
    IncomingCall,
    LinesChanged,
    SimulatedAction,
    SimulatedModem,
    SimulatedModemSettings,
    ToCaller,
    ToDte,
)

__all__ = ["ServedLine", "TerminalServer"]

COMMAND: Final = re.compile(
    rb"\xff(?:(?P<iac>\xff)|(?P<verb>[\xfb-\xfe])(?P<option>.)"
    rb"|\xfa(?P<sub>(?:[^\xff]|\xff\xff)*)\xff\xf0|(?P<other>[\xf1-\xf9]))",
    re.DOTALL,
)
DCD, RI, DSR, CTS = 0x80, 0x40, 0x20, 0x10


class ServedLine:
    """One port of the server: a modem, its telephone, and whoever is connected."""

    def __init__(self, *, ring_interval_s: float = 4.0, training_s: float = 0.0) -> None:
        self.modem = SimulatedModem(
            SimulatedModemSettings(ring_interval_s=ring_interval_s, training_s=training_s)
        )
        self.agrees = True
        self.acknowledges = True
        self.tells_lines = True
        self.banner = b""
        self.dcd: bool | None = None
        """None: as the modem has it."""
        self.dcd_late_s = 0.0
        """How much later DCD is told than it changes."""
        self.screen = b""
        """What the caller has seen."""
        self.commands: list[bytes] = []
        """Subnegotiations of COM-PORT-OPTION, as they came."""
        self.commanded_at: list[float] = []
        """When each of them came."""
        self.heard = b""
        """What the client sent down the line."""
        self.connections = 0
        self.is_wedged = False
        """Whether the modem says nothing until its line is opened anew."""
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._dcd = False
        self._told = 0
        self._ri = False
        self._timer: asyncio.TimerHandle | None = None
        self.changed = asyncio.Event()

    # The connection.

    def connected(self, transport: asyncio.Transport) -> None:
        self.connections += 1
        if self.is_wedged and self.connections > 1:
            self.is_wedged = self.modem.faults.silent = False
        self._transport = transport
        self._buffer.clear()
        if self.banner:
            transport.write(self.banner)
        transport.write(b"\xff\xfb\x03\xff\xfb\x01\xff\xfe\x01\xff\xfd\x00")

    def disconnected(self, transport: asyncio.Transport) -> None:
        if transport is not self._transport:
            return  # Another has taken its place.
        self._transport = None
        self.do(self.modem.dtr(False, self._loop.time()))

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while self._buffer:
            if self._buffer[0] != 0xFF:
                end = self._buffer.find(b"\xff")
                end = len(self._buffer) if end < 0 else end
                self._line(bytes(self._buffer[:end]))
                del self._buffer[:end]
                continue
            match = COMMAND.match(bytes(self._buffer))
            if match is None:
                return
            del self._buffer[: match.end()]
            if match["iac"]:
                self._line(b"\xff")
            elif match["verb"]:
                self._negotiated(match["verb"][0], match["option"][0])
            elif match["sub"] is not None and match["sub"][:1] == b"\x2c":
                self._ordered(match["sub"][1:].replace(b"\xff\xff", b"\xff"))

    def _negotiated(self, verb: int, option: int) -> None:
        if option != 44 or verb != 0xFB:
            return
        if not self.agrees:
            self.send(b"\xff\xfe\x2c")
            return
        self.send(b"\xff\xfd\x2c\xff\xfb\x00")
        self.do(self.modem.dtr(True, self._loop.time()))
        self.tell_lines()

    def _ordered(self, command: bytes) -> None:
        self.commands.append(command)
        self.commanded_at.append(self._loop.time())
        if self.acknowledges:
            self.send(b"\xff\xfa\x2c" + bytes([command[0] + 100]) + command[1:] + b"\xff\xf0")
        if command in {b"\x05\x08", b"\x05\x09"}:
            self.do(self.modem.dtr(command == b"\x05\x08", self._loop.time()))
        self.changed.set()

    def _line(self, data: bytes) -> None:
        self.heard += data
        self.do(self.modem.dte(data, self._loop.time()))
        self.changed.set()

    def send(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def cut(self) -> None:
        """Close the connection, as a terminal server that restarts does."""
        if self._transport is not None:
            self._transport.abort()

    # The modem lines.

    def tell_lines(self) -> None:
        if self.tells_lines:
            dcd = self._dcd if self.dcd is None else self.dcd
            bits = DSR | CTS | (DCD if dcd else 0) | (RI if self._ri else 0)
            changed = ((bits ^ self._told) >> 4) & 0x0F
            self._told = bits
            self.send(b"\xff\xfa\x2c\x6b" + bytes([bits | changed]) + b"\xff\xf0")

    def wedge(self) -> None:
        """Say nothing until the line is opened anew."""
        self.is_wedged = self.modem.faults.silent = True

    def strap_dcd(self, dcd: bool | None) -> None:
        """Hold DCD high or low, or let the modem have it."""
        self.dcd = dcd
        self.tell_lines()

    # The telephone.

    def ring(self, number: str = "5551234") -> None:
        self.do(self.modem.ring(self._loop.time(), IncomingCall(number=number)))

    def type(self, data: bytes) -> None:
        self.do(self.modem.line(data, self._loop.time()))

    def hang_up(self) -> None:
        self.do(self.modem.far_hang_up(self._loop.time()))

    async def until_screen(self, text: bytes, patience_s: float = 10.0) -> None:
        """Wait until the caller sees `text`; what is before it scrolls away."""
        async with asyncio.timeout(patience_s):
            while text not in self.screen:
                self.changed.clear()
                await self.changed.wait()
        self.screen = self.screen.partition(text)[2]

    # The wires.

    def do(self, actions: Iterable[SimulatedAction]) -> None:
        for action in actions:
            match action:
                case ToDte(data):
                    self.send(data.replace(b"\xff", b"\xff\xff"))
                case ToCaller(data):
                    self.screen += data
                case LinesChanged(dcd, ri):
                    self._loop.call_later(self.dcd_late_s, self._lines, dcd, ri)
                case CallAnswered() | CallDropped() | Dialled():
                    pass
        self.changed.set()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if (due := self.modem.deadline()) < math.inf:
            self._timer = self._loop.call_at(due, self._tick)

    def _tick(self) -> None:
        self.do(self.modem.tick(self._loop.time()))

    def _lines(self, dcd: bool, ri: bool) -> None:
        self._dcd, self._ri = dcd, ri
        self.tell_lines()


class TerminalServer:
    """Lines at TCP ports of 127.0.0.1; in an `async with`, which opens and closes them."""

    def __init__(self, lines: int = 1, *, port: int = 0, **options: float) -> None:
        self.lines = [ServedLine(**options) for _ in range(lines)]
        self._first = port
        self._servers: list[asyncio.Server] = []

    @property
    def devices(self) -> list[str]:
        """The lines as a port's `device` names them."""
        addresses = [server.sockets[0].getsockname() for server in self._servers]
        return [f"rfc2217://127.0.0.1:{port}" for _, port in addresses]

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        for number, line in enumerate(self.lines):
            port = self._first + number if self._first else 0
            make = partial(_Connection, line)
            self._servers.append(await loop.create_server(make, "127.0.0.1", port))
        return self

    async def __aexit__(self, *_: object) -> None:
        for server in self._servers:
            server.close()
        for line in self.lines:
            line.cut()


class _Connection(asyncio.Protocol):
    """Whoever is connected to a line."""

    def __init__(self, line: ServedLine) -> None:
        self._line = line
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._line.connected(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._line.disconnected(self._transport)

    def data_received(self, data: bytes) -> None:
        self._line.data_received(data)
