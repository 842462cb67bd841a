"""A bank of simulated modems: each on a PTY for the agent, and on a TCP port for its callers.

Line k is the device `ttyMk` in the bank's directory and answers the phone at the TCP port base + k:
who connects there calls, who closes the connection hangs up.  A PTY has no modem lines, so an agent
uses it with `dcd = "ignore"`.  Programs that call with a modem find some at `ttyCk`, for which a
line's TCP port is its number.

Invariant: all lines are open, or none; when the bank is closed its devices are gone.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from dialgate.errors import DialgateError
from dialgate.manual import new_parser
from port_agents.bank_caller import BankCaller
from port_agents.bank_line import BankLine
from port_agents.simulated_modem import SimulatedModemSettings

__all__ = ["Bank", "main", "parse_calling", "parse_dial", "parse_lines", "raise_descriptor_limit"]

LINES_MAX: Final = 1024
"""Most lines of one bank."""
_BASE_PORT_MAX: Final = 65_535 - LINES_MAX
CALLING_MAX: Final = 64
"""Most modems that dial: each looks every 50 ms whether a program has come."""
DESCRIPTORS_PER_LINE: Final = 4
"""PTY, its other end, listener, caller."""
SOON: Final = SimulatedModemSettings(ring_interval_s=1.0)
"""Rings sooner again than the telephone does, so that nobody has to wait."""


class Bank:
    """All lines, as an asynchronous context.

    `async with Bank(directory, 8, base_port=2300) as bank:` opens `ttyM1` … `ttyM8`, which answer
    at 2301 … 2308; base port 0 takes any free ports (`bank.lines[0].dial`).  `calling` modems that
    dial are `ttyC1` and so on.
    """

    def __init__(
        self,
        directory: Path,
        count: int,
        *,
        host: str = "127.0.0.1",
        base_port: int = 0,
        calling: int = 0,
        settings: SimulatedModemSettings = SOON,
    ) -> None:
        self.directory: Final = directory
        self.lines: Final[list[BankLine]] = []
        self.callers: Final[list[BankCaller]] = []
        """Modems that dial."""
        self._count = count
        self._calling = calling
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
            for number in range(1, self._calling + 1):
                device = self.directory / f"ttyC{number}"
                self.callers.append(
                    caller := BankCaller(device, str(number), self._line_at, self._settings)
                )
                caller.open_device()
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
        while self.callers:
            self.callers.pop().close()
        while self.lines:
            self.lines.pop().close()

    def _line_at(self, number: str) -> BankLine | None:
        """Return the line that has the number."""
        return next((line for line in self.lines if str(line.dial[1]) == number), None)


def parse_dial(text: str) -> tuple[str, int]:
    """Return host and base port of `text`, as `127.0.0.1:2300` or `[::1]:2300`.

    Raises:
        argparse.ArgumentTypeError: it is neither, or the lines' ports would pass 65535.
    """
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT, as 127.0.0.1:2300")
    if not 0 < int(port) <= _BASE_PORT_MAX:
        what = f"{text!r} leaves no room for PORT + k: write a port from 1 to {_BASE_PORT_MAX}"
        raise argparse.ArgumentTypeError(what)
    return host.removeprefix("[").removesuffix("]"), int(port)


def parse_lines(text: str) -> int:
    """Return how many lines `text` asks for.

    Raises:
        argparse.ArgumentTypeError: it is no number from 1 to `LINES_MAX`.
    """
    if not text.isdecimal() or not 1 <= int(text) <= LINES_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to {LINES_MAX}")
    return int(text)


def parse_calling(text: str) -> int:
    """Return how many modems that dial `text` asks for.

    Raises:
        argparse.ArgumentTypeError: it is no number from 0 to `CALLING_MAX`.
    """
    if not text.isdecimal() or int(text) > CALLING_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to {CALLING_MAX}")
    return int(text)


def main(argv: Sequence[str]) -> int:
    """Run a bank until a signal; return the exit status.

    Raises:
        DialgateError: a line can't be opened.
    """
    parser = new_parser(
        "bank",
        """
        Runs simulated modems: line k is the PTY ttyMk, and answers at the TCP port PORT + k. The
        PTYs ttyC1 … are modems to call with: line k has the number PORT + k.
        """,
        examples=[
            "dialgate bank --directory /run/bank",
            "nc 127.0.0.1 2301",
            "minicom -D /run/bank/ttyC1     then type: ATDT2301",
        ],
    )
    parser.add_argument("--ports", type=parse_lines, default=8, metavar="N", help="lines (8)")
    parser.add_argument(
        "--dial",
        type=parse_dial,
        default=("127.0.0.1", 2300),
        metavar="HOST:PORT",
        help="line k answers at PORT + k (127.0.0.1:2300)",
    )
    parser.add_argument(
        "--calling",
        type=parse_calling,
        default=1,
        metavar="N",
        help="modems that dial, ttyC1 … (1)",
    )
    parser.add_argument("--directory", type=Path, required=True, help="where ttyM1 … appear")
    arguments = parser.parse_args(argv)
    host, base_port = arguments.dial
    bank = Bank(
        arguments.directory,
        arguments.ports,
        host=host,
        base_port=base_port,
        calling=arguments.calling,
    )
    raise_descriptor_limit(arguments.ports + arguments.calling)
    try:
        asyncio.run(_serve(bank))
    except OSError as error:
        raise DialgateError(f"bank: {error.strerror or error}") from error
    return 0


def raise_descriptor_limit(lines: int, others: int = 64) -> None:
    """Let this process open what so many lines and `others` need, as far as the system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if (needed := lines * DESCRIPTORS_PER_LINE + others) > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(needed, hard), hard))


async def _serve(bank: Bank) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with bank:
        for line in bank.lines:
            sys.stdout.write(f"{line.device} answers at {line.dial[0]} {line.dial[1]}\n")
        for caller in bank.callers:
            sys.stdout.write(f"{caller.device} dials\n")
        sys.stdout.flush()
        await stopped.wait()
