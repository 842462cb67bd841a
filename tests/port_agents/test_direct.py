"""A program on the line's own device.

The device is a PTY, and what no PTY has, modem lines and the driver's counters, is said by a fake
of the ioctls: so DCD and byte counts are not shown here against a real UART.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import struct
import termios
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import pytest

from dialgate.settings import ServiceSettings
from port_agents.call import Call, Passed
from port_agents.direct import count_passed
from port_agents.line_actions import StopService
from tests.port_agents.test_port import SERVICES, Bench, running

ICOUNT: Final = 0x545D
WAIT_S: Final = 10


class Uart:
    """What the fake says for the device: its lines, and bytes counted so far."""

    def __init__(self) -> None:
        self.bits = termios.TIOCM_CD | termios.TIOCM_DSR
        self.counted: tuple[int, int] | None = (1000, 2000)


@pytest.fixture
def uart(monkeypatch: pytest.MonkeyPatch) -> Uart:
    state = Uart()
    real = fcntl.ioctl

    def ioctl(fd: int, request: int, argument: bytes = b"") -> bytes | int:
        if request == termios.TIOCMGET:
            return struct.pack("I", state.bits)
        if request in (termios.TIOCMBIS, termios.TIOCMBIC):
            return argument
        if request == ICOUNT:
            if state.counted is None:
                raise OSError(25, "Inappropriate ioctl for device")
            return struct.pack("20i", 0, 0, 0, 0, *state.counted, *[0] * 14)
        return real(fd, request, argument) if argument else real(fd, request)

    monkeypatch.setattr(fcntl, "ioctl", ioctl)
    return state


@pytest.fixture
async def bench(
    uart: Uart, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Bench]:
    report = tmp_path / "report"
    script = f"""
    (readlink /proc/$$/fd/0; ps -o sid=,pid=,tty= -p $$; : </dev/tty && echo has a terminal
    cat /proc/self/fdinfo/0 | grep flags) >{report}.new; mv {report}.new {report}
    read -r word; echo "heard $word"; read -r word
    """
    direct = ServiceSettings(command=("/bin/sh", "-c", script), direct=True)
    missing = ServiceSettings(command=("/does/not/exist",), direct=True)
    monkeypatch.setitem(SERVICES, "direct", direct)
    monkeypatch.setitem(SERVICES, "missing", missing)
    async with running(tmp_path, dcd="auto") as made:
        yield made


async def soon(condition: Callable[[], bool]) -> None:
    """Wait for what another process does: it has no event."""
    async with asyncio.timeout(WAIT_S):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def read_until(master: int, wanted: bytes) -> None:
    seen = bytearray()
    os.set_blocking(master, False)

    def read() -> bool:
        with suppress(BlockingIOError):
            seen.extend(os.read(master, 4096))
        return wanted in seen

    await soon(read)


async def report_of(directory: Path) -> list[str]:
    path = directory / "report"
    await soon(path.exists)
    return path.read_text().splitlines()


async def test_the_program_leads_a_session_on_the_device_itself_and_blocks(
    bench: Bench, tmp_path: Path
) -> None:
    await bench.call("direct")
    device, process, terminal, flags = await report_of(tmp_path)

    assert device == os.path.realpath(bench.device)
    session, leader, name = process.split()
    assert session == leader
    assert f"/dev/{name}" == device
    assert terminal == "has a terminal"
    assert not int(flags.split()[1], 8) & os.O_NONBLOCK
    bench.port.do(StopService())
    await bench.agent.until(lambda: ("ended", "oslo/1", "") in bench.agent.told)


async def test_nothing_is_relayed_and_the_drivers_counters_are_the_records(
    bench: Bench, uart: Uart
) -> None:
    await bench.call("direct")
    os.write(bench.master, b"hello\n")
    await read_until(bench.master, b"heard hello")
    uart.counted = (1006, 2013)
    os.write(bench.master, b"bye\n")
    await bench.agent.until(lambda: ("ended", "oslo/1", "") in bench.agent.told)

    assert bench.agent.received == bench.agent.said == b""
    assert ("passed", "oslo/1", Passed(6, 13)) in bench.agent.told


async def test_a_driver_that_does_not_count_gives_no_number(bench: Bench, uart: Uart) -> None:
    uart.counted = None
    await bench.call("direct")
    os.write(bench.master, b"one\ntwo\n")
    await bench.agent.until(lambda: ("ended", "oslo/1", "") in bench.agent.told)

    assert ("passed", "oslo/1", None) in bench.agent.told
    call = Call(id=bytes(16), rang_at=0.0)
    call.count(bytes_in=10)
    call.pass_by(None)
    call.count(bytes_in=10)
    assert call.bytes_in is call.bytes_out is None


async def test_carrier_is_watched_while_the_program_has_the_device(
    bench: Bench, uart: Uart, tmp_path: Path
) -> None:
    await bench.call("direct")
    await report_of(tmp_path)
    uart.bits = 0
    await bench.agent.until(lambda: any(not lines.dcd for _, _, lines in bench.told("lines")))
    bench.port.do(StopService())
    await bench.agent.until(lambda: ("ended", "oslo/1", "") in bench.agent.told)


async def test_the_agent_reads_again_when_the_program_has_ended(bench: Bench) -> None:
    await bench.call("direct")
    os.write(bench.master, b"one\ntwo\n")
    await bench.agent.until(lambda: ("ended", "oslo/1", "") in bench.agent.told)
    os.write(bench.master, b"ATH")

    await bench.agent.until(lambda: b"ATH" in bench.agent.received)
    assert not bench.told("closed")


async def test_a_program_that_cannot_start_leaves_the_device_with_the_agent(bench: Bench) -> None:
    await bench.call("missing")
    await bench.agent.until(lambda: bool(bench.told("ended")))

    ((_, _, failure),) = bench.told("ended")
    assert "/does/not/exist: can't be started on" in failure
    os.write(bench.master, b"still here")
    await bench.agent.until(lambda: b"still here" in bench.agent.received)


async def test_a_device_without_modem_lines_is_not_lent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SERVICES, "direct", ServiceSettings(command=("/bin/true",), direct=True))
    async with running(tmp_path) as made:
        await made.call("direct")
        await made.agent.until(lambda: bool(made.told("ended")))

    ((_, _, failure),) = made.told("ended")
    assert "has no modem lines here" in failure


def test_counters_that_wrapped_are_read_as_they_are(
    uart: Uart, monkeypatch: pytest.MonkeyPatch
) -> None:
    uart.counted = (-1, -2)
    assert count_passed(0) == Passed(2**32 - 1, 2**32 - 2)
