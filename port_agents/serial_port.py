"""A serial device on the event loop: bytes, modem lines and DTR.

A shell: it knows neither modem commands nor calls, and decides nothing.  The device is opened and
set by pyserial and then read and written directly, for pyserial's own read and write wait in
select(), which fails beyond some 200 ports.

Invariants: what waits to be written is bounded; a device that is gone is closed at once (its
reader would spin) and told of once; after `close` nothing is called.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import select
import struct
import termios
from dataclasses import dataclass
from typing import Final

import serial

from dialgate.settings import PortSettings
from port_agents.bounded_writer import BoundedWriter
from port_agents.device import PortError, PortListener
from port_agents.modem_actions import ModemLines

__all__ = ["SerialCounters", "SerialPort", "open_port"]

READ_BYTES: Final = 4096
"""Taken in one turn of the loop, so that a busy line does not starve the others."""
POLL_IN_CALL_S: Final = 0.05
"""How often modem lines are read while carrier matters."""
POLL_IDLE_S: Final = 1.0
"""How often otherwise: 512 idle lines shall cost next to nothing."""
DRAIN_POLL_S: Final = 0.01
"""How often the driver is asked whether its last byte has left."""

LENT_HUNG_UP_S: Final = 1.0
"""How long a device that is lent may be hung up before it counts as gone."""

_GONE: Final = frozenset({errno.EIO, errno.ENXIO, errno.ENODEV, errno.EBADF})
_CC: Final = 6
"""Where tcgetattr keeps the control characters."""
_PARITY: Final = {
    "none": serial.PARITY_NONE,
    "even": serial.PARITY_EVEN,
    "odd": serial.PARITY_ODD,
    "mark": serial.PARITY_MARK,
    "space": serial.PARITY_SPACE,
}
_MEND: Final = {
    errno.ENOENT: "no such device: look at the cable, or for its name in /dev/serial/by-path",
    errno.EACCES: "permission denied: add the user of this program to the device's group",
    errno.EPERM: "permission denied: add the user of this program to the device's group",
    errno.EBUSY: "in use: stop the other program (`fuser -v` names it; often ModemManager)",
    errno.EAGAIN: "in use: stop the other program (`fuser -v` names it; often ModemManager)",
    errno.ENOTTY: "not a serial device: name a tty or PTY",
    errno.EISDIR: "not a serial device: name a tty or PTY",
    errno.EIO: "does not answer: no hardware is behind it",
    errno.ENXIO: "does not answer: no hardware is behind it",
    errno.ENODEV: "does not answer: no hardware is behind it",
}


@dataclass(frozen=True, slots=True)
class SerialCounters:
    """Running totals of one open port."""

    bytes_in: int = 0
    bytes_out: int = 0
    """Given to the driver."""
    writes_refused: int = 0
    """Writes that found the buffer full."""


def open_port(settings: PortSettings, listener: PortListener) -> SerialPort:
    """Open and set a device, and begin to read it on the running event loop.

    Raises:
        PortError: the device can't be opened or set.
    """
    try:
        with contextlib.closing(
            serial.Serial(
                settings.device,
                settings.baud,
                settings.bytesize,
                _PARITY[settings.parity],
                settings.stopbits,
                xonxoff=settings.xonxoff,
                rtscts=settings.rtscts,
                exclusive=not settings.dial_out,
            )
        ) as opened:
            # The copy keeps the settings and the lock; with the original go pyserial's four pipes.
            fd = os.dup(opened.fileno())
            if not settings.dial_out and not os.ttyname(fd).startswith("/dev/pts/"):
                # On a PTY it would outlive us, for as long as somebody holds the other side.
                fcntl.ioctl(fd, termios.TIOCEXCL)
    except (OSError, ValueError, termios.error) as error:
        raise PortError(f"{settings.device}: {_explanation(error)}") from error
    return SerialPort(fd, listener)


class SerialPort:
    """An open device.  It belongs to the event loop on which it was made."""

    def __init__(self, fd: int, listener: PortListener) -> None:
        """Take over `fd`, a tty that does not block."""
        self._fd = fd
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self._writer = BoundedWriter(fd, self._watch_driver, self._lose)
        self._bytes_in = 0
        self._lines: ModemLines | None = None
        self._in_call = False
        self._is_lent = False
        self._reading = False
        self._drain_timer: asyncio.Handle | None = None
        self._loss: asyncio.Handle | None = None
        self._drained = asyncio.Event()
        self._drained.set()
        self._poll_timer = self._loop.call_soon(self._poll)
        self.resume_reading()

    @property
    def closed(self) -> bool:
        """Whether the device is closed, by `close` or because it is gone."""
        return self._fd < 0

    @property
    def counters(self) -> SerialCounters:
        """The running totals as they are now."""
        return SerialCounters(self._bytes_in, self._writer.written, self._writer.refused)

    @property
    def unwritten(self) -> int:
        """How many bytes wait for room in the driver."""
        return len(self._writer)

    def write(self, data: bytes) -> bool:
        """Write all of `data` in order; return False, writing none of it, when there is no room."""
        if self.closed or not self._writer.write(data):
            return False
        if not self.closed:
            self._drained.clear()
        return True

    def flush(self) -> None:
        """Discard what waits in both directions, in the driver too."""
        if self.closed:
            return
        self._writer.clear()
        with contextlib.suppress(termios.error):
            termios.tcflush(self._fd, termios.TCIOFLUSH)
        if not self._drained.is_set():
            self._watch_driver()

    async def drain(self, bound_s: float) -> bool:
        """Wait until the last byte has left the driver; return False if `bound_s` did not do."""
        try:
            async with asyncio.timeout(bound_s):
                await self._drained.wait()
        except TimeoutError:
            return False
        return not self.closed

    def set_dtr(self, *, on: bool) -> bool:
        """Raise or drop DTR; return False where the device has no such line."""
        request = termios.TIOCMBIS if on else termios.TIOCMBIC
        try:
            fcntl.ioctl(self._fd, request, struct.pack("I", termios.TIOCM_DTR))
        except (OSError, ValueError):
            return False
        return True

    def share(self) -> None:
        """Let others open the device: a direct service is about to."""
        with contextlib.suppress(OSError):
            fcntl.ioctl(self._fd, termios.TIOCNXCL)

    def lines(self) -> ModemLines | None:
        """Return the modem lines as they are now; None: unknown, the device has none (a PTY)."""
        if self.closed:
            return None
        try:
            answer = fcntl.ioctl(self._fd, termios.TIOCMGET, struct.pack("I", 0))
        except OSError as error:
            if error.errno in _GONE and not self._is_lent:
                self._lose(error)
            return None
        (bits,) = struct.unpack("I", answer)
        return ModemLines(
            dcd=bool(bits & termios.TIOCM_CD),
            dsr=bool(bits & termios.TIOCM_DSR),
            ri=bool(bits & termios.TIOCM_RI),
            cts=bool(bits & termios.TIOCM_CTS),
        )

    def watch_carrier(self, *, in_call: bool) -> None:
        """Read modem lines every 50 ms in a call, every second otherwise."""
        if in_call != self._in_call and not self.closed:
            self._in_call = in_call
            self._poll_timer.cancel()
            self._poll_timer = self._loop.call_soon(self._poll)

    def pause_reading(self) -> None:
        """Leave what comes in the driver, because it can't be passed on."""
        if self._reading:
            self._reading = False
            self._loop.remove_reader(self._fd)

    def resume_reading(self) -> None:
        """Read again."""
        if not self._reading and not self.closed:
            self._reading = True
            self._loop.add_reader(self._fd, self._read_ready)

    def lend(self) -> int:
        """Leave the device to another program, look on at its lines only, return the descriptor.

        A hang-up is no loss at once from now on: the kernel hangs a terminal up when the leader of
        its session exits.  Once a program had it, close this one and open the device anew.
        """
        self.pause_reading()
        self._is_lent = True
        with contextlib.suppress(termios.error):
            # pyserial has left 0 there, with which a read that finds nothing looks like the end.
            settings = termios.tcgetattr(self._fd)
            settings[_CC][termios.VMIN] = 1
            termios.tcsetattr(self._fd, termios.TCSANOW, settings)
        return self._fd

    def keep(self) -> None:
        """Go on as before `lend`, since no program took the device."""
        self._is_lent = False
        self.resume_reading()

    def close(self) -> None:
        """Close the device; what waits is lost, `drain` ends.  Closing again does nothing."""
        if self._loss is not None:
            self._loss.cancel()
        if self.closed:
            return
        self.pause_reading()
        self._writer.clear()
        self._poll_timer.cancel()
        if self._drain_timer is not None:
            self._drain_timer.cancel()
        os.close(self._fd)
        self._fd = -1
        self._drained.set()

    def _read_ready(self) -> None:
        try:
            data = os.read(self._fd, READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._lose(error)
            return
        if not data:
            self._lose("end of file: the other end is closed")
            return
        self._bytes_in += len(data)
        self._listener.on_bytes(data)

    def _watch_driver(self) -> None:
        """See to it that `_look_at_driver` comes soon."""
        if self._drain_timer is None:
            self._drain_timer = self._loop.call_soon(self._look_at_driver)

    def _look_at_driver(self) -> None:
        """Tell that everything has left, or look again later."""
        self._drain_timer = None
        if self._writer:
            return
        try:
            answer = fcntl.ioctl(self._fd, termios.TIOCOUTQ, struct.pack("I", 0))
        except OSError:
            answer = struct.pack("I", 0)
        if struct.unpack("I", answer) != (0,):
            self._drain_timer = self._loop.call_later(DRAIN_POLL_S, self._look_at_driver)
            return
        self._drained.set()
        self._listener.on_drained()

    def _poll(self) -> None:
        """Tell of changed lines; notice a device that went while reading pauses."""
        interval_s = POLL_IN_CALL_S if self._in_call else POLL_IDLE_S
        self._poll_timer = self._loop.call_later(interval_s, self._poll)
        if not self._reading and self._is_hung_up():
            if not self._is_lent:
                self._lose("end of file: the other end is closed")
                return
            self._poll_timer.cancel()
            self._loss = self._loop.call_later(
                LENT_HUNG_UP_S, self._lose, "hung up, and the program that has it goes on"
            )
            return
        lines = self.lines()
        if lines is not None and lines != self._lines:
            self._lines = lines
            self._listener.on_lines(lines)

    def _is_hung_up(self) -> bool:
        poll = select.poll()
        poll.register(self._fd, 0)
        return bool(poll.poll(0))

    def _lose(self, reason: OSError | str) -> None:
        text = os.strerror(reason.errno or 0) if isinstance(reason, OSError) else reason
        self.close()
        self._loss = self._loop.call_soon(self._listener.on_lost, text)


def _explanation(error: Exception) -> str:
    """Return in one line why a device can't be opened and how to mend it."""
    number = error.errno if isinstance(error, OSError) else None
    if number is None:
        # pyserial says "could not configure port" and leaves the number in what it caught.
        arguments = (error.__context__ or error).args
        number = arguments[0] if arguments and isinstance(arguments[0], int) else None
    return _MEND.get(number or 0) or " ".join(str(error).split())
