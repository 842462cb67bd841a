"""A modem of the simulated bank that dials: what a caller's program has before it.

It stands for the computer of somebody far away.  A program opens its device and says ATD with the
number of a line, which is that line's TCP port; what follows is as between real modems.  It is
never called itself.

A PTY has no DTR.  What a serial driver does with it, this does: while no process has the device
open DTR is down, so that a program which ends has hung up.

Invariant: nothing that the modem said to one program is read by the next.
"""

from __future__ import annotations

import asyncio
import errno
import os
import termios
from collections.abc import Callable
from pathlib import Path
from typing import Final

from port_agents.bank_line import BankLine
from port_agents.bank_modem import BankModem
from port_agents.simulated_modem import SimulatedModemSettings

__all__ = ["BankCaller", "Exchange"]

Exchange = Callable[[str], BankLine | None]
"""Finds the line that has a number."""

CLOSED_POLL_S: Final = 0.05
"""How soon to look again at a device that no process has open."""


class BankCaller(BankModem):
    """A modem that dials.

    Args:
        device: where programs find it.
        number: what the exchange tells of it.
        exchange: knows all lines.
        settings: of the modem.
    """

    def __init__(
        self, device: Path, number: str, exchange: Exchange, settings: SimulatedModemSettings
    ) -> None:
        super().__init__(device, settings)
        self._number = number
        self._exchange = exchange
        self._let_go()
        self._is_open = True
        """Whether a process has the device open, as far as is known."""
        self._next_look: asyncio.TimerHandle | None = None

    def close(self) -> None:
        """Hang up and take the device away."""
        super().close()
        if self._next_look is not None:
            self._next_look.cancel()

    def _has_answered(self) -> None:
        """Do nothing: it is the far end that has answered."""

    def _dialled(self, number: str) -> None:
        line = self._exchange(number)
        if line is None:
            self._perform(self.modem.far_hang_up(self._loop.time()))
            return
        self._far = line
        if not line.pick_up(self, self._number):
            self._far = None
            self._perform(self.modem.far_busy(self._loop.time()))

    # The device, as its DTR has it.

    def _read(self) -> bytes:
        try:
            data = super()._read()
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            self._closed()
            return b""
        if not self._is_open:
            self._is_open = True
            self._perform(self.modem.dtr(on=True, now=self._loop.time()))
            self._loop.add_reader(self._master, self._read_device)
        return data

    def _closed(self) -> None:
        """Drop DTR when the last process has closed the device, and look out for the next one."""
        if self._is_open:
            self._is_open = False
            self._perform(self.modem.dtr(on=False, now=self._loop.time()))
            self._loop.remove_reader(self._master)
            fd = os.open(self._tty, os.O_RDWR | os.O_NOCTTY)
            termios.tcflush(fd, termios.TCIFLUSH)
            os.close(fd)
        self._next_look = self._loop.call_later(CLOSED_POLL_S, self._read_device)

    def _write_device(self, data: bytes) -> None:
        if self._is_open:
            super()._write_device(data)
