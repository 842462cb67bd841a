"""A serial device on the event loop, on real PTYs; what no PTY has is said by a fake ioctl.

Method: the test holds the master side and waits for what the listener is told, never for time.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import pty
import struct
import termios
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio
import serial

from dialgate.settings import PortSettings
from port_agents import serial_port
from port_agents.bounded_writer import WRITE_BYTES_MAX
from port_agents.device import PortError
from port_agents.modem_actions import ModemLines
from port_agents.serial_port import open_port


class Listener:
    """Collects what it is told, and lets a test wait for it."""

    def __init__(self) -> None:
        self.received = b""
        self.drained = 0
        self.lines: list[ModemLines] = []
        self.lost: list[str] = []
        self._changed = asyncio.Event()

    def on_bytes(self, data: bytes) -> None:
        self.received += data
        self._changed.set()

    def on_drained(self) -> None:
        self.drained += 1
        self._changed.set()

    def on_lines(self, lines: ModemLines) -> None:
        self.lines.append(lines)
        self._changed.set()

    def on_lost(self, reason: str) -> None:
        self.lost.append(reason)
        self._changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                self._changed.clear()
                await self._changed.wait()


class Line:
    """A PTY: the port under test on one side, the test's hand on the other."""

    def __init__(self) -> None:
        self.master, slave = pty.openpty()
        self.device = os.ttyname(slave)
        self.listener = Listener()
        self.port = open_port(self.settings(), self.listener)
        os.close(slave)

    def settings(self, **others: object) -> PortSettings:
        fields = {"hport": "oslo/1", "device": self.device, "service": "console", **others}
        return PortSettings(**fields)  # type: ignore[arg-type]

    def sends(self, data: bytes) -> None:
        os.write(self.master, data)

    def hears(self, count: int) -> bytes:
        heard = b""
        while len(heard) < count:
            heard += os.read(self.master, count - len(heard))
        return heard

    def hang_up(self) -> None:
        os.close(self.master)
        self.master = -1


def open_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@pytest_asyncio.fixture
async def line() -> AsyncIterator[Line]:
    line = Line()
    yield line
    line.port.close()
    if line.master >= 0:
        line.hang_up()


@pytest.fixture
def modem_bits(monkeypatch: pytest.MonkeyPatch) -> dict[str, int | OSError]:
    """Stand in for a UART: TIOCMGET answers `bits`, or raises it."""
    state: dict[str, int | OSError] = {"bits": 0}
    real = fcntl.ioctl

    def ioctl(fd: int, request: int, argument: bytes) -> bytes:
        if request == termios.TIOCMGET:
            if isinstance(state["bits"], OSError):
                raise state["bits"]
            return struct.pack("I", state["bits"])
        if request in (termios.TIOCMBIS, termios.TIOCMBIC):
            (bits,) = struct.unpack("I", argument)
            assert isinstance(state["bits"], int)
            on = request == termios.TIOCMBIS
            state["bits"] = state["bits"] | bits if on else state["bits"] & ~bits
            return argument
        return real(fd, request, argument)

    monkeypatch.setattr(fcntl, "ioctl", ioctl)
    return state


async def test_bytes_pass_unchanged_in_both_directions(line: Line) -> None:
    every_byte = bytes(range(256))

    line.sends(every_byte)
    await line.listener.until(lambda: len(line.listener.received) == 256)
    assert line.port.write(every_byte)

    assert line.listener.received == every_byte
    assert line.hears(256) == every_byte
    assert line.port.counters == serial_port.SerialCounters(bytes_in=256, bytes_out=256)


async def test_the_device_is_set_as_the_settings_say(line: Line) -> None:
    line.port.close()
    settings = line.settings(baud=9600, bytesize=7, parity="even", stopbits=2, xonxoff=True)
    # A PTY is always 8 bits without parity, whatever it is told: the rest shows.
    port = open_port(settings, line.listener)

    iflag, _, cflag, lflag, ispeed, ospeed, _ = termios.tcgetattr(line.master)

    port.close()
    assert (ispeed, ospeed) == (termios.B9600, termios.B9600)
    assert iflag & (termios.IXON | termios.IXOFF) == termios.IXON | termios.IXOFF
    assert cflag & (termios.CSTOPB | termios.CRTSCTS) == termios.CSTOPB | termios.CRTSCTS
    assert not lflag & (termios.ECHO | termios.ICANON | termios.ISIG)


async def test_an_open_port_takes_one_descriptor(line: Line) -> None:
    before = open_descriptors()
    line.port.close()

    assert open_descriptors() == before - 1


async def test_drained_is_told_when_everything_has_left(line: Line) -> None:
    line.port.write(b"login: ")
    assert line.listener.drained == 0, "never from inside a call"

    await line.listener.until(lambda: line.listener.drained == 1)

    assert line.hears(7) == b"login: "


async def test_what_the_driver_does_not_take_waits_and_keeps_its_order(line: Line) -> None:
    text = bytes(range(256)) * 200
    assert line.port.write(text[:50_000])
    assert line.port.write(text[50_000:])
    assert line.port.unwritten > 0

    heard = await asyncio.to_thread(line.hears, len(text))
    await line.listener.until(lambda: line.listener.drained == 1)

    assert heard == text
    assert line.port.unwritten == 0


async def test_a_write_that_does_not_fit_is_refused_whole_and_counted(line: Line) -> None:
    line.port.write(b"x" * WRITE_BYTES_MAX)
    room = WRITE_BYTES_MAX - line.port.unwritten

    assert not line.port.write(b"y" * (room + 1))
    assert line.port.write(b"z" * room)

    assert line.port.counters.writes_refused == 1
    assert line.port.unwritten == WRITE_BYTES_MAX


async def test_a_refused_write_leaves_nothing_to_drain(line: Line) -> None:
    assert not line.port.write(b"x" * (WRITE_BYTES_MAX + 1))

    assert await line.port.drain(bound_s=0.01)


async def test_drain_waits_until_the_last_byte_has_left(line: Line) -> None:
    line.port.write(b"x" * 60_000)

    _, drained = await asyncio.gather(
        asyncio.to_thread(line.hears, 60_000), line.port.drain(bound_s=10)
    )

    assert drained


async def test_drain_ends_at_its_bound_when_nobody_reads(line: Line) -> None:
    line.port.write(b"x" * 60_000)

    assert not await line.port.drain(bound_s=0.01)


async def test_drain_of_nothing_returns_at_once(line: Line) -> None:
    assert await line.port.drain(bound_s=0.01)


async def test_drain_waits_for_the_driver(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = [5, 1, 0]
    real = fcntl.ioctl

    def ioctl(fd: int, request: int, argument: bytes) -> bytes:
        if request == termios.TIOCOUTQ:
            return struct.pack("I", waiting.pop(0))
        return real(fd, request, argument)

    monkeypatch.setattr(fcntl, "ioctl", ioctl)
    line.port.write(b"Login incorrect\r\n")

    assert await line.port.drain(bound_s=10)
    assert waiting == []


async def test_flush_discards_what_waits_in_both_directions(line: Line) -> None:
    line.port.write(b"x" * 60_000)
    line.port.pause_reading()
    line.sends(b"left over from the last call")

    line.port.flush()

    assert line.port.unwritten == 0
    await line.listener.until(lambda: line.listener.drained == 1)
    line.port.resume_reading()
    line.sends(b"new")
    await line.listener.until(lambda: line.listener.received.endswith(b"new"))
    assert line.listener.received == b"new"


async def test_a_device_that_goes_is_closed_at_once_and_told_once(line: Line) -> None:
    line.hang_up()

    await line.listener.until(lambda: line.listener.lost != [])

    assert line.port.closed
    assert not line.port.write(b"x")
    assert not await line.port.drain(bound_s=0)
    assert len(line.listener.lost) == 1


async def test_a_device_that_goes_is_noticed_while_reading_pauses(line: Line) -> None:
    line.port.pause_reading()
    line.hang_up()

    await line.listener.until(lambda: line.listener.lost != [])

    assert line.listener.lost == ["end of file: the other end is closed"]


async def test_a_write_to_a_device_that_is_gone_is_told_as_a_loss(line: Line) -> None:
    line.port.pause_reading()
    line.hang_up()

    line.port.write(b"x")
    assert line.listener.lost == [], "never from inside a call"

    await line.listener.until(lambda: line.listener.lost != [])
    assert line.listener.lost == ["Input/output error"]


async def test_nothing_is_told_after_close(line: Line) -> None:
    line.sends(b"x")
    line.port.write(b"x")
    line.port.close()
    line.port.close()
    line.hang_up()
    await asyncio.get_running_loop().run_in_executor(None, int)

    assert line.listener.received == b""
    assert line.listener.drained == 0
    assert line.listener.lost == []


async def test_a_pty_has_no_modem_lines(line: Line) -> None:
    assert line.port.lines() is None
    assert not line.port.set_dtr(on=False)


async def test_modem_lines_are_told_at_first_and_when_they_change(
    line: Line, modem_bits: dict[str, int | OSError]
) -> None:
    line.port.watch_carrier(in_call=True)
    await line.listener.until(lambda: len(line.listener.lines) == 1)
    modem_bits["bits"] = termios.TIOCM_CD | termios.TIOCM_DSR
    await line.listener.until(lambda: len(line.listener.lines) == 2)
    modem_bits["bits"] = termios.TIOCM_RI | termios.TIOCM_CTS
    await line.listener.until(lambda: len(line.listener.lines) == 3)

    assert line.listener.lines == [
        ModemLines(dcd=False, dsr=False, ri=False, cts=False),
        ModemLines(dcd=True, dsr=True, ri=False, cts=False),
        ModemLines(dcd=False, dsr=False, ri=True, cts=True),
    ]


async def test_dtr_is_raised_and_dropped(line: Line, modem_bits: dict[str, int | OSError]) -> None:
    assert line.port.set_dtr(on=True)
    raised = modem_bits["bits"]
    assert line.port.set_dtr(on=False)

    assert (raised, modem_bits["bits"]) == (termios.TIOCM_DTR, 0)


@pytest.mark.parametrize("error", [OSError(25, "ENOTTY"), OSError(22, "EINVAL"), OSError("bare")])
async def test_an_ioctl_that_fails_means_that_lines_are_unknown(
    line: Line, modem_bits: dict[str, int | OSError], error: OSError
) -> None:
    modem_bits["bits"] = error

    assert line.port.lines() is None
    assert not line.port.closed


async def test_a_device_whose_lines_fail_to_answer_is_lost(
    line: Line, modem_bits: dict[str, int | OSError]
) -> None:
    modem_bits["bits"] = OSError(errno.EIO, "Input/output error")

    await line.listener.until(lambda: line.listener.lost != [])

    assert line.listener.lost == ["Input/output error"]


async def test_a_device_in_use_is_refused(line: Line) -> None:
    with pytest.raises(PortError, match=r"/dev/pts/\d+: in use: stop the other program"):
        open_port(line.settings(), line.listener)


@pytest.mark.parametrize(
    ("device", "text"),
    [
        ("/dev/ttyNONE7", "no such device: look at the cable"),
        ("/dev/null", "not a serial device: name a tty or PTY"),
        ("/dev", "not a serial device: name a tty or PTY"),
    ],
)
async def test_a_device_that_cannot_be_opened_says_how_to_mend_it(device: str, text: str) -> None:
    settings = PortSettings(hport="oslo/1", device=device, service="console")

    with pytest.raises(PortError) as refused:
        open_port(settings, Listener())

    assert str(refused.value).startswith(f"{device}: {text}")


async def test_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    settings = PortSettings(hport="oslo/1", device=str(tmp_path / "file"), service="console")

    with pytest.raises(PortError, match="not a serial device"):
        open_port(settings, Listener())


async def test_a_device_without_permission_names_the_mend(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(serial, "Serial", refuse)

    with pytest.raises(PortError, match="permission denied: add the user"):
        open_port(line.settings(), line.listener)
