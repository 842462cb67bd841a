"""A bank of simulated modems: each on a PTY for the agent, and on a TCP port for its callers.

Line k is the device `ttyMk` in the bank's directory and answers the phone at the TCP port base + k:
who connects there calls, who closes the connection hangs up.  No more than the wires between
`port_agents.simulated_modem` and the machine; a PTY has no modem lines, so an agent uses it with
`dcd = "ignore"`.

Invariant: a line has one caller at most; another one hears BUSY.  Bytes pass unchanged.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import math
import os
import resource
import signal
import sys
import tty
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self, cast

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

EARLY_BYTES_MAX: Final = 1024
"""What a line keeps of what its caller sends before the call is answered."""
BACKLOG_BYTES_MAX: Final = 16 * 1024
"""What waits for a slow agent before the caller is made to wait."""
READ_BYTES: Final = 4096
"""What a PTY gives at a time."""
LINGER_S: Final = 2.0
"""How long a caller who reads nothing keeps a call that the modem has ended."""
LINES_MAX: Final = 1024
"""Most lines of one bank."""
DESCRIPTORS_PER_LINE: Final = 4
"""PTY, its other end, listener, caller."""
DEMO_MODEM: Final = SimulatedModemSettings(ring_interval_s=1.0)
"""Rings sooner than the telephone does, so that nobody has to wait."""


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
        """Note that the connection is over."""
        self._caller = None
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
        if self._backlog and self._caller is None:
            # A serial line waits for nobody: what no call is about is lost.
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


class Bank:
    """All lines, as an asynchronous context.

    `async with Bank(directory, 8, base_port=2300) as bank:` opens `ttyM1` … `ttyM8`, which answer
    at 2301 … 2308; base port 0 takes any free ports (`bank.lines[0].dial`).
    """

    def __init__(
        self,
        directory: Path,
        count: int,
        *,
        host: str = "127.0.0.1",
        base_port: int = 0,
        settings: SimulatedModemSettings = DEMO_MODEM,
    ) -> None:
        self.directory: Final = directory
        self.lines: Final[list[BankLine]] = []
        self._count = count
        self._host = host
        self._base_port = base_port
        self._settings = settings

    async def __aenter__(self) -> Self:
        """Open every line, or none.

        Raises:
            OSError: a TCP port is taken, or a device's name can't be made.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        try:
            for number in range(1, self._count + 1):
                line = BankLine(self.directory / f"ttyM{number}", self._settings)
                self.lines.append(line)
                await line.open(self._host, self._base_port and self._base_port + number)
        except OSError:
            await self.close()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Hang up everywhere."""
        await self.close()

    async def close(self) -> None:
        """Close every line."""
        while self.lines:
            await self.lines.pop().close()


def parse_dial(text: str) -> tuple[str, int]:
    """Return host and base port of `text`, as `127.0.0.1:2300` or `[::1]:2300`.

    Raises:
        argparse.ArgumentTypeError: it is neither.
    """
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdecimal() or not 0 < int(port) < 65_536 - LINES_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT, as 127.0.0.1:2300")
    return host.removeprefix("[").removesuffix("]"), int(port)


def parse_lines(text: str) -> int:
    """Return how many lines `text` asks for.

    Raises:
        argparse.ArgumentTypeError: it is no number from 1 to `LINES_MAX`.
    """
    if not text.isdecimal() or not 1 <= int(text) <= LINES_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to {LINES_MAX}")
    return int(text)


def main(argv: Sequence[str]) -> int:
    """Run a bank until a signal; return the exit status."""
    parser = argparse.ArgumentParser(prog="dialgate bank", description="Simulate a modem bank.")
    parser.add_argument("--ports", type=parse_lines, default=8, metavar="N", help="lines (8)")
    parser.add_argument(
        "--dial",
        type=parse_dial,
        default=("127.0.0.1", 2300),
        metavar="HOST:PORT",
        help="line k answers at PORT + k (127.0.0.1:2300)",
    )
    parser.add_argument("--directory", type=Path, required=True, help="where ttyM1 … appear")
    arguments = parser.parse_args(argv)
    host, base_port = arguments.dial
    bank = Bank(arguments.directory, arguments.ports, host=host, base_port=base_port)
    try:
        _raise_descriptor_limit(arguments.ports)
        asyncio.run(_serve(bank))
    except OSError as error:
        sys.stderr.write(f"dialgate bank: {error.strerror or error}\n")
        return 1
    return 0


def _raise_descriptor_limit(lines: int) -> None:
    """Let this process open what so many lines need, as far as the system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if (needed := lines * DESCRIPTORS_PER_LINE + 64) > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(needed, hard), hard))


async def _serve(bank: Bank) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with bank:
        for line in bank.lines:
            sys.stdout.write(f"{line.device} answers at {line.dial[0]} {line.dial[1]}\n")
        sys.stdout.flush()
        await stopped.wait()
