"""One line of the simulated bank that answers the phone: a modem, and who calls it.

Who connects to the line's TCP port calls, and so does another modem of the bank that dials the same
number (`port_agents.bank_caller`).

Invariant: a line has one caller at most; another one hears BUSY.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final, cast

from port_agents.bank_modem import BankModem, FarEnd
from port_agents.simulated_modem import IncomingCall, SimulatedModemSettings

__all__ = ["EARLY_BYTES_MAX", "BankLine"]

EARLY_BYTES_MAX: Final = 1024
"""What a line keeps of what its caller sends before the call is answered."""
LINGER_S: Final = 2.0
"""How long a caller who reads nothing keeps a call that the modem has ended."""


class BankLine(BankModem):
    """One line: a modem, its PTY, its telephone."""

    def __init__(self, device: Path, settings: SimulatedModemSettings) -> None:
        super().__init__(device, settings)
        self.dial: tuple[str, int] = ("", 0)
        """Address and TCP port that callers connect to."""
        self._early = bytearray()
        self._server: asyncio.Server | None = None

    async def open(self, host: str, port: int) -> None:
        """Make the device and answer the phone; port 0 takes a free one.

        Raises:
            OSError: the TCP port is taken, or the device's name can't be made.
        """
        self._server = await self._loop.create_server(lambda: _Caller(self), host, port)
        address = self._server.sockets[0].getsockname()
        self.dial = (address[0], address[1])
        self.open_device()

    def close(self) -> None:
        """Hang up and take the device away."""
        if self._server is not None:
            self._server.close()
        super().close()

    def hang_up(self) -> None:
        """Let the caller hang up, if there is one."""
        if self._far is not None:
            self._drop()
            self.dropped()

    def pick_up(self, caller: FarEnd, number: str) -> bool:
        """Let `caller` ring, who calls from `number`; return False if the line is busy."""
        if self._far is not None or not self.modem.is_idle:
            return False
        self._far = caller
        self._early.clear()
        self._perform(self.modem.ring(self._loop.time(), IncomingCall(number)))
        return True

    def hear(self, data: bytes) -> None:
        """Pass on what the caller sent, or keep the beginning of it until CONNECT."""
        if self.modem.is_online:
            super().hear(data)
        else:
            self._early += data[: EARLY_BYTES_MAX - len(self._early)]

    def _has_answered(self) -> None:
        if self._far is not None:
            self._far.answered()
        early = bytes(self._early)
        self._early.clear()
        self.hear(early)

    def _dialled(self, number: str) -> None:  # noqa: ARG002  # as all modems
        """Let it come to nothing: from a line that answers nobody calls."""
        self._perform(self.modem.far_hang_up(self._loop.time()))


class _Caller(asyncio.Protocol):
    """A TCP connection as a telephone."""

    def __init__(self, line: BankLine) -> None:
        self._line: BankLine | None = line
        self._transport: asyncio.Transport | None = None
        self._is_held = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ring, or hear that the line is busy."""
        # uvloop's transports have the methods of asyncio.Transport, but are none.
        self._transport = cast("asyncio.Transport", transport)
        # What the exchange tells of the caller: the TCP port he calls from.
        number = str(transport.get_extra_info("peername")[1])
        if self._line is not None and not self._line.pick_up(self, number):
            self._line = None
            self._transport.write(b"BUSY\r\n")
            self.dropped()

    def data_received(self, data: bytes) -> None:
        """Speak into the telephone."""
        if self._line is not None:
            self._line.hear(data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio's
        """Hang up."""
        line, self._line = self._line, None
        if line is not None:
            line.dropped()

    def pause_writing(self) -> None:
        """Make the modem wait: the caller reads too slowly."""
        if self._line is not None:
            self._line.hold(held=True)

    def resume_writing(self) -> None:
        """Let the modem go on."""
        if self._line is not None:
            self._line.hold(held=False)

    def hear(self, data: bytes) -> None:
        """Let the caller hear `data`."""
        if self._transport is not None:
            self._transport.write(data)

    def answered(self) -> None:
        """Do nothing: who listens hears it."""

    def hold(self, held: bool) -> None:  # noqa: FBT001  # a state, set as it is
        """Make the caller wait, or go on: the agent reads too slowly."""
        if self._transport is None or held == self._is_held:
            return
        self._is_held = held
        if held:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def dropped(self) -> None:
        """End the connection from this side; what was said is still delivered, within a bound."""
        self._line = None
        if self._transport is not None:
            self._transport.close()
            asyncio.get_running_loop().call_later(LINGER_S, self._transport.abort)
