"""One line of the simulated bank: a modem, the PTY that an agent opens, the telephone.

No more than the wires between `port_agents.simulated_modem` and the machine: it decides nothing but
the pace, so that who sends faster than the other side takes is made to wait.

Invariant: a line has one caller at most; another one hears BUSY.  Bytes pass unchanged.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import tty
from collections.abc import Iterable
from pathlib import Path
from typing import Final, cast

from port_agents.simulated_modem import (
    CallAnswered,
    CallDropped,
    IncomingCall,
    LinesChanged,
    SimulatedAction,
    SimulatedModem,
    SimulatedModemSettings,
    ToCaller,
    ToDte,
)

__all__ = ["BACKLOG_BYTES_MAX", "EARLY_BYTES_MAX", "BankLine"]

EARLY_BYTES_MAX: Final = 1024
"""What a line keeps of what its caller sends before the call is answered."""
BACKLOG_BYTES_MAX: Final = 16 * 1024
"""What waits for a slow agent before the caller is made to wait."""
RESULTS_BYTES_MAX: Final = 64
"""What the modem itself said and nobody has read yet."""
READ_BYTES: Final = 4096
"""What a PTY gives at a time."""
LINGER_S: Final = 2.0
"""How long a caller who reads nothing keeps a call that the modem has ended."""


class BankLine:
    """One line: a modem, its PTY, its telephone."""

    def __init__(self, device: Path, settings: SimulatedModemSettings) -> None:
        self.device: Final = device
        """Where the agent finds the PTY."""
        self.modem: Final = SimulatedModem(settings)
        """Its `faults` may be changed at any time."""
        self.dial: tuple[str, int] = ("", 0)
        """Address and TCP port that callers connect to."""
        self.bytes_lost = 0
        """What the device's driver lost, as nobody read it."""
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self._backlog = bytearray()
        self._early = bytearray()
        self._caller: _Caller | None = None
        self._server: asyncio.Server | None = None

    async def open(self, host: str, port: int) -> None:
        """Make the device and answer the phone; port 0 takes a free one.

        Raises:
            OSError: the TCP port is taken, or the device's name can't be made.
        """
        self._server = await self._loop.create_server(lambda: _Caller(self), host, port)
        address = self._server.sockets[0].getsockname()
        self.dial = (address[0], address[1])
        with contextlib.suppress(FileNotFoundError):
            self.device.unlink()
        self.device.symlink_to(os.ttyname(self._slave))
        self._loop.add_reader(self._master, self._read_device)

    async def close(self) -> None:
        """Hang up and take the device away."""
        if self._server is not None:
            self._server.close()
        self._drop_caller()
        if self._timer is not None:
            self._timer.cancel()
        self._loop.remove_reader(self._master)
        self._loop.remove_writer(self._master)
        with contextlib.suppress(FileNotFoundError):
            self.device.unlink()
        os.close(self._master)
        os.close(self._slave)

    def hang_up(self) -> None:
        """Let the caller hang up, if there is one."""
        if self._caller is not None:
            self._caller.abort()

    # The telephone.

    def pick_up(self, caller: _Caller) -> bool:
        """Let `caller` ring; return False if the line is busy."""
        if self._caller is not None or not self.modem.is_idle:
            return False
        self._caller = caller
        self._early.clear()
        self._perform(self.modem.ring(self._loop.time(), IncomingCall(caller.number)))
        return True

    def caller_sent(self, data: bytes) -> None:
        """Pass on what the caller sent, or keep the beginning of it until CONNECT."""
        if self.modem.is_online:
            self._perform(self.modem.line(data, self._loop.time()))
        else:
            self._early += data[: EARLY_BYTES_MAX - len(self._early)]

    def caller_gone(self) -> None:
        """Note that the connection is over; what of the caller's still waits is cut off with it."""
        self._caller = None
        self.bytes_lost += len(self._backlog)
        self._backlog.clear()
        self._perform(self.modem.far_hang_up(self._loop.time()))

    def pause(self, paused: bool) -> None:  # noqa: FBT001  # as asyncio has it
        """Stop, or go on, reading the device: the caller takes no more, or does again."""
        if paused:
            self._loop.remove_reader(self._master)
        else:
            self._loop.add_reader(self._master, self._read_device)

    # The device.

    def _read_device(self) -> None:
        with contextlib.suppress(BlockingIOError):
            data = os.read(self._master, READ_BYTES)
            self._perform(self.modem.dte(data, self._loop.time()))

    def _write_device(self, data: bytes) -> None:
        self._backlog += data
        self._drain()
        if len(self._backlog) > RESULTS_BYTES_MAX and self._caller is None:
            # A serial line waits for nobody: what no call is about is lost, but not the NO CARRIER
            # that ended the last one.
            self.bytes_lost += len(self._backlog)
            self._backlog.clear()

    def _drain(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while self._backlog:
                del self._backlog[: os.write(self._master, self._backlog)]
        if self._backlog:
            self._loop.add_writer(self._master, self._drain)
        else:
            self._loop.remove_writer(self._master)
        if self._caller is not None:
            self._caller.hold(len(self._backlog) > BACKLOG_BYTES_MAX)

    # The modem.

    def _tick(self) -> None:
        self._perform(self.modem.tick(self._loop.time()))

    def _perform(self, actions: Iterable[SimulatedAction]) -> None:
        said = bytearray()
        answered = False
        for action in actions:
            match action:
                case ToDte(data):
                    said += data
                case ToCaller(data):
                    self._tell_caller(data)
                case CallAnswered():
                    answered = True
                case CallDropped():
                    self._drop_caller()
                case LinesChanged():
                    pass  # A PTY has no modem lines.
        if said:
            self._write_device(bytes(said))
        self._set_timer()
        if answered:
            early = bytes(self._early)
            self._early.clear()
            self.caller_sent(early)

    def _tell_caller(self, data: bytes) -> None:
        if self._caller is not None:
            self._caller.write(data)

    def _drop_caller(self) -> None:
        if self._caller is not None:
            self._caller.close()
            self._caller = None

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        due = self.modem.deadline()
        self._timer = None if due == math.inf else self._loop.call_at(due, self._tick)


class _Caller(asyncio.Protocol):
    """A TCP connection as a telephone."""

    def __init__(self, line: BankLine) -> None:
        self.number = ""
        """What the exchange tells of the caller: the TCP port he calls from."""
        self._line: BankLine | None = line
        self._transport: asyncio.Transport | None = None
        self._is_held = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ring, or hear that the line is busy."""
        # uvloop's transports have the methods of asyncio.Transport, but are none.
        self._transport = cast("asyncio.Transport", transport)
        self.number = str(transport.get_extra_info("peername")[1])
        if self._line is not None and not self._line.pick_up(self):
            self._line = None
            self._transport.write(b"BUSY\r\n")
            self.close()

    def data_received(self, data: bytes) -> None:
        """Speak into the telephone."""
        if self._line is not None:
            self._line.caller_sent(data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio's
        """Hang up."""
        line, self._line = self._line, None
        if line is not None:
            line.caller_gone()

    def pause_writing(self) -> None:
        """Make the modem wait: the caller reads too slowly."""
        if self._line is not None:
            self._line.pause(paused=True)

    def resume_writing(self) -> None:
        """Let the modem go on."""
        if self._line is not None:
            self._line.pause(paused=False)

    def write(self, data: bytes) -> None:
        """Let the caller hear `data`."""
        if self._transport is not None:
            self._transport.write(data)

    def hold(self, held: bool) -> None:  # noqa: FBT001  # a state, set as it is
        """Make the caller wait, or go on: the agent reads too slowly."""
        if self._transport is None or held == self._is_held:
            return
        self._is_held = held
        if held:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def close(self) -> None:
        """End the connection from this side; what was said is still delivered, within a bound."""
        line, self._line = self._line, None
        if line is not None:
            line.pause(paused=False)
        if self._transport is not None:
            self._transport.close()
            asyncio.get_running_loop().call_later(LINGER_S, self._transport.abort)

    def abort(self) -> None:
        """End the connection at once."""
        if self._transport is not None:
            self._transport.abort()
