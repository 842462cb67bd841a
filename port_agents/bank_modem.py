"""A simulated modem on a PTY that a program opens as its serial device.

No more than the wires between `port_agents.simulated_modem` and the machine; where its telephone
line leads is its subclasses' business.

Invariant: bytes pass unchanged and in order; what waits for a slow program is bounded by making the
far end wait, and what no call is about is lost, as on a wire.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import math
import os
import tty
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Final, Protocol

from port_agents.simulated_modem import (
    CallAnswered,
    CallDropped,
    Dialled,
    LinesChanged,
    SimulatedAction,
    SimulatedModem,
    SimulatedModemSettings,
    ToCaller,
    ToDte,
)

__all__ = ["BACKLOG_BYTES_MAX", "RESULTS_BYTES_MAX", "BankModem", "FarEnd"]

BACKLOG_BYTES_MAX: Final = 16 * 1024
"""What waits for a slow program before the far end is made to wait."""
RESULTS_BYTES_MAX: Final = 64
"""What the modem itself said and nobody has read yet."""
READ_BYTES: Final = 4096
"""What a PTY gives at a time."""


class FarEnd(Protocol):
    """Who is at the other end of a telephone line."""

    def hear(self, data: bytes) -> None:
        """Take what this end has sent."""

    def hold(self, held: bool) -> None:  # noqa: FBT001  # a state, set as it is
        """Send nothing, or go on: this end reads too slowly."""

    def answered(self) -> None:
        """Note that this end, which was called, has answered."""

    def dropped(self) -> None:
        """Note that this end has hung up."""


class BankModem(ABC):
    """One modem and its PTY; to whom it is connected, it is a far end itself."""

    def __init__(self, device: Path, settings: SimulatedModemSettings) -> None:
        self.device: Final = device
        """Where a program finds the PTY."""
        self.modem: Final = SimulatedModem(settings)
        """Its `faults` may be changed at any time."""
        self.bytes_lost = 0
        """What the device's driver lost, as nobody read it."""
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._master, slave = os.openpty()
        self._slave: int | None = slave
        """Held open, so that programs may close the device and open it again."""
        self._tty = os.ttyname(slave)
        tty.setraw(slave)
        os.set_blocking(self._master, False)
        self._backlog = bytearray()
        self._far: FarEnd | None = None
        self._is_held = False

    def open_device(self) -> None:
        """Make the device's name and take what is written there.

        Raises:
            OSError: the name can't be made.
        """
        with contextlib.suppress(FileNotFoundError):
            self.device.unlink()
        self.device.symlink_to(self._tty)
        self._loop.add_reader(self._master, self._read_device)

    def close(self) -> None:
        """Hang up and take the device away."""
        self._drop()
        if self._timer is not None:
            self._timer.cancel()
        self._loop.remove_reader(self._master)
        self._loop.remove_writer(self._master)
        with contextlib.suppress(FileNotFoundError):
            self.device.unlink()
        os.close(self._master)
        self._let_go()

    def _let_go(self) -> None:
        """Hold the device open no longer."""
        if self._slave is not None:
            os.close(self._slave)
            self._slave = None

    # The telephone line, as the far end uses it.

    def hear(self, data: bytes) -> None:
        """Let the modem hear what the far end has sent."""
        self._perform(self.modem.line(data, self._loop.time()))

    def hold(self, held: bool) -> None:  # noqa: FBT001  # a state, set as it is
        """Make this modem's program wait, or go on: the far end takes no more, or does again."""
        if held == self._is_held:
            return
        self._is_held = held
        if held:
            self._loop.remove_reader(self._master)
        else:
            self._loop.add_reader(self._master, self._read_device)

    def answered(self) -> None:
        """Note that whoever this modem has dialled has answered."""
        self._perform(self.modem.far_answered(self._loop.time()))

    def dropped(self) -> None:
        """Note that the far end has hung up; what of it still waits is cut off."""
        self._far = None
        self.hold(held=False)
        self._lose()
        self._perform(self.modem.far_hang_up(self._loop.time()))

    @abstractmethod
    def _has_answered(self) -> None:
        """Note that the modem has a carrier, and has said so."""

    @abstractmethod
    def _dialled(self, number: str) -> None:
        """Call a number."""

    def _send(self, data: bytes) -> None:
        if self._far is not None:
            self._far.hear(data)

    def _drop(self) -> None:
        """Hang up at this end."""
        far, self._far = self._far, None
        if far is not None:
            self.hold(held=False)
            far.dropped()

    # The device.

    def _read_device(self) -> None:
        if data := self._read():
            self._perform(self.modem.dte(data, self._loop.time()))

    def _read(self) -> bytes:
        """Return what was written to the device, nothing if there is none."""
        with contextlib.suppress(BlockingIOError):
            return os.read(self._master, READ_BYTES)
        return b""

    def _write_device(self, data: bytes) -> None:
        self._backlog += data
        self._drain()
        if len(self._backlog) > RESULTS_BYTES_MAX and self._far is None:
            # A serial line waits for nobody: what no call is about is lost, but not the NO CARRIER
            # that ended the last one.
            self._lose()

    def _lose(self) -> None:
        self.bytes_lost += len(self._backlog)
        self._backlog.clear()

    def _drain(self) -> None:
        try:
            while self._backlog:
                del self._backlog[: os.write(self._master, self._backlog)]
        except BlockingIOError:
            pass
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            self._lose()  # No process has the device open.
        if self._backlog:
            self._loop.add_writer(self._master, self._drain)
        else:
            self._loop.remove_writer(self._master)
        if self._far is not None:
            self._far.hold(len(self._backlog) > BACKLOG_BYTES_MAX)

    # The modem.

    def _tick(self) -> None:
        self._perform(self.modem.tick(self._loop.time()))

    def _perform(self, actions: Iterable[SimulatedAction]) -> None:
        said = bytearray()
        then: list[Callable[[], None]] = []
        """May make the modem say more, so it comes behind what it says now."""
        for action in actions:
            match action:
                case ToDte(data):
                    said += data
                case ToCaller(data):
                    self._send(data)
                case CallAnswered():
                    then.append(self._has_answered)
                case CallDropped():
                    self._drop()
                case Dialled(number):
                    then.append(partial(self._dialled, number))
                case LinesChanged():
                    pass  # A PTY has no modem lines.
        if said:
            self._write_device(bytes(said))
        self._set_timer()
        for follow in then:
            follow()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        due = self.modem.deadline()
        self._timer = None if due == math.inf else self._loop.call_at(due, self._tick)
