"""The bank as an agent and its callers meet it: a PTY on one side, TCP on the other."""

from __future__ import annotations

import asyncio
import os
import signal
import termios
import tty
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Self

import pytest

from port_agents.bank import Bank
from port_agents.bank_line import BankLine
from port_agents.bank_modem import BACKLOG_BYTES_MAX, RESULTS_BYTES_MAX
from port_agents.simulated_modem import SimulatedModemSettings
from tests.integration.processes import DIALGATE, dialgate, free_port

QUICK = SimulatedModemSettings(ring_interval_s=0.2)
PATIENCE_S = 10.0


class Device:
    """A tty as an agent uses it."""

    def __init__(self, path: Path) -> None:
        self.fd = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        tty.setraw(self.fd)
        self.heard = bytearray()

    async def expect(self, text: bytes) -> bytes:
        """Return what was heard up to the end of `text`."""
        async with asyncio.timeout(PATIENCE_S):
            while text not in self.heard:
                self._read()
                await asyncio.sleep(0.001)
        end = self.heard.index(text) + len(text)
        heard = bytes(self.heard[:end])
        del self.heard[:end]
        return heard

    async def write(self, data: bytes) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while data:
                try:
                    data = data[os.write(self.fd, data) :]
                except BlockingIOError:
                    await asyncio.sleep(0.001)

    def _read(self) -> None:
        try:
            self.heard += os.read(self.fd, 65536)
        except BlockingIOError:
            return


@pytest.fixture
async def bank(tmp_path: Path) -> AsyncIterator[Bank]:
    async with Bank(tmp_path, 2, calling=1, settings=QUICK) as running:
        yield running


@pytest.fixture
async def line(bank: Bank) -> BankLine:
    return bank.lines[0]


@pytest.fixture
async def device(line: BankLine) -> AsyncIterator[Device]:
    opened = Device(line.device)
    try:
        yield opened
    finally:
        os.close(opened.fd)


class Caller:
    """A telephone; it hangs up when its context is left."""

    def __init__(self, line: BankLine) -> None:
        self._line = line

    async def __aenter__(self) -> Self:
        self.reader, self.writer = await asyncio.open_connection(*self._line.dial)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()

    async def hears(self, size: int = -1) -> bytes:
        """Return `size` bytes, or all up to the end of the call."""
        async with asyncio.timeout(PATIENCE_S):
            return await (self.reader.read() if size < 0 else self.reader.readexactly(size))


async def until(happened: Callable[[], bool]) -> None:
    for _ in range(round(PATIENCE_S / 0.01)):
        if happened():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not happen")


async def answer(device: Device) -> None:
    await device.expect(b"RING\r\n")
    await device.write(b"ATE0A\r")
    await device.expect(b"\r\nCONNECT 38400\r\n")


async def test_who_connects_rings_and_an_answer_joins_the_two(
    line: BankLine, device: Device
) -> None:
    every_byte = bytes(range(256))
    async with Caller(line) as caller:
        await answer(device)

        await device.write(every_byte)
        caller.writer.write(every_byte + b"\n")

        assert await caller.hears(256) == every_byte
        assert await device.expect(b"\xff\n") == every_byte + b"\n"


async def test_it_rings_on_until_it_is_answered(line: BankLine, device: Device) -> None:
    async with Caller(line):
        assert await device.expect(b"RING\r\n" * 1)
        assert await device.expect(b"RING\r\n" * 1)


async def test_what_is_typed_early_follows_connect(line: BankLine, device: Device) -> None:
    async with Caller(line) as caller:
        caller.writer.write(b"x" * 2000)
        await device.expect(b"RING\r\n")
        await asyncio.sleep(0.1)
        await device.write(b"ATE0A\r")

        await device.expect(b"CONNECT 38400\r\n" + b"x" * 1024)

        caller.writer.write(b"y")
        assert await device.expect(b"y") == b"y"


async def test_a_second_caller_hears_busy(line: BankLine, device: Device) -> None:
    async with Caller(line), Caller(line) as second:
        assert await second.hears() == b"BUSY\r\n"


async def test_a_caller_who_leaves_is_no_carrier(line: BankLine, device: Device) -> None:
    async with Caller(line):
        await answer(device)

    await device.expect(b"\r\nNO CARRIER\r\n")
    assert line.modem.is_idle


async def test_a_caller_who_leaves_while_it_rings_stops_the_ringing(
    line: BankLine, device: Device
) -> None:
    async with Caller(line):
        await device.expect(b"RING\r\n")

    await until(lambda: line.modem.is_idle)


async def test_a_hang_up_ends_the_callers_connection(line: BankLine, device: Device) -> None:
    await device.write(b"ATS12=1\r")
    async with Caller(line) as caller:
        await answer(device)
        await asyncio.sleep(0.05)
        await device.write(b"+++")
        await device.expect(b"OK")
        await device.write(b"ATH\r")

        assert await caller.hears() == b"+++"


async def test_the_bank_can_let_a_caller_hang_up(line: BankLine, device: Device) -> None:
    async with Caller(line) as caller:
        await answer(device)

        line.hang_up()

        assert await caller.hears() == b""
        await device.expect(b"NO CARRIER")


async def test_lines_are_apart(bank: Bank, device: Device) -> None:
    other = Device(bank.lines[1].device)
    async with Caller(bank.lines[0]), Caller(bank.lines[1]) as second:
        await answer(device)
        await answer(other)
        await other.write(b"second")

        assert await second.hears(6) == b"second"
    os.close(other.fd)


async def test_a_megabyte_passes_whole_both_ways(line: BankLine, device: Device) -> None:
    block = os.urandom(1_000_000) + b"\x00the end\x00"
    async with Caller(line) as caller:
        await answer(device)

        caller.writer.write(block)
        assert await device.expect(b"\x00the end\x00") == block
        async with asyncio.TaskGroup() as tasks:
            heard = tasks.create_task(caller.hears(len(block)))
            tasks.create_task(device.write(block))
        assert heard.result() == block


async def test_a_caller_waits_for_an_agent_that_does_not_read(
    line: BankLine, device: Device
) -> None:
    async with Caller(line) as caller:
        await answer(device)
        caller.writer.write(bytes(16_000_000))

        await until(lambda: len(line._backlog) > BACKLOG_BYTES_MAX)
        held = len(line._backlog)
        await asyncio.sleep(0.2)

        assert len(line._backlog) == held < 1_000_000
        caller.writer.transport.abort()


async def test_what_nobody_reads_is_lost_as_on_a_wire(line: BankLine) -> None:
    for _ in range(20_000):
        line._write_device(b"\r\nRING\r\n")

    assert line.bytes_lost > 0
    assert len(line._backlog) <= RESULTS_BYTES_MAX


async def test_the_device_is_raw_and_outlives_its_agent(line: BankLine) -> None:
    for _ in range(2):
        fd = os.open(line.device, os.O_RDWR | os.O_NOCTTY)
        _, output, _, local, *_ = termios.tcgetattr(fd)
        os.close(fd)

        assert not output & termios.OPOST
        assert not local & (termios.ECHO | termios.ICANON | termios.ISIG)

    async with Caller(line):
        again = Device(line.device)
        await answer(again)
        os.close(again.fd)


# Modems that dial.


@asynccontextmanager
async def calling(bank: Bank) -> AsyncIterator[Device]:
    """Open the first modem that dials; leaving closes it."""
    modem = Device(bank.callers[0].device)
    try:
        yield modem
    finally:
        os.close(modem.fd)


async def dial(modem: Device, line: BankLine) -> None:
    await modem.write(b"ATDT%d\r" % line.dial[1])


async def test_a_modem_that_dials_hears_connect_once_the_line_has_answered(
    bank: Bank, line: BankLine, device: Device
) -> None:
    every_byte = bytes(range(256))
    async with calling(bank) as modem:
        await modem.write(b"ATE0\r")
        await modem.expect(b"OK\r\n")
        await dial(modem, line)
        await device.expect(b"RING\r\n")
        assert modem.heard == b""
        await device.write(b"ATE0A\r")
        assert await modem.expect(b"38400\r\n") == b"\r\nCONNECT 38400\r\n"
        await device.expect(b"CONNECT 38400\r\n")

        await device.write(every_byte)
        await modem.write(every_byte)

        assert await modem.expect(b"\xff") == every_byte
        assert await device.expect(b"\xff") == every_byte


async def test_a_program_that_ends_has_hung_up_and_the_next_one_reads_none_of_it(
    bank: Bank, line: BankLine, device: Device
) -> None:
    async with calling(bank) as modem:
        await dial(modem, line)
        await answer(device)
        await device.write(b"for nobody else")
        await until(lambda: not line.modem.is_idle)

    await device.expect(b"\r\nNO CARRIER\r\n")
    async with calling(bank) as modem:
        await modem.write(b"ATE0\r")
        assert await modem.expect(b"OK\r\n") == b"ATE0\r\r\nOK\r\n"


async def test_a_line_that_hangs_up_is_no_carrier_at_the_modem_that_dialled(
    bank: Bank, line: BankLine, device: Device
) -> None:
    await device.write(b"ATS12=1\r")
    async with calling(bank) as modem:
        await dial(modem, line)
        await answer(device)
        await modem.expect(b"CONNECT 38400\r\n")
        await asyncio.sleep(0.05)
        await device.write(b"+++")
        await device.expect(b"OK")
        await device.write(b"ATH\r")

        assert await modem.expect(b"NO CARRIER\r\n") == b"+++\r\nNO CARRIER\r\n"
    assert line.modem.is_idle


async def test_a_line_in_a_call_is_busy_and_a_number_that_no_line_has_is_no_carrier(
    bank: Bank, line: BankLine, device: Device
) -> None:
    async with Caller(line), calling(bank) as modem:
        await answer(device)
        await dial(modem, line)
        await modem.expect(b"\r\nBUSY\r\n")
        await modem.write(b"ATDT5551\r")
        await modem.expect(b"\r\nNO CARRIER\r\n")


async def test_a_program_that_reads_nothing_holds_the_line_up(
    bank: Bank, line: BankLine, device: Device
) -> None:
    block = os.urandom(300_000) + b"\x00the end\x00"
    async with calling(bank) as modem:
        await dial(modem, line)
        await answer(device)
        await modem.expect(b"CONNECT 38400\r\n")

        writing = asyncio.create_task(device.write(block))
        await until(lambda: len(bank.callers[0]._backlog) > BACKLOG_BYTES_MAX)
        assert not writing.done()

        assert await modem.expect(b"\x00the end\x00") == block
        await writing


async def test_all_lines_open_or_none(tmp_path: Path, bank: Bank) -> None:
    host, port = bank.lines[0].dial
    other = Bank(tmp_path / "other", 2, host=host, base_port=port - 1)

    with pytest.raises(OSError, match="address already in use"):
        await other.__aenter__()

    assert list((tmp_path / "other").iterdir()) == []


async def test_the_program_serves_until_a_signal_and_leaves_nothing(tmp_path: Path) -> None:
    base_port = free_port() - 1
    program = await asyncio.create_subprocess_exec(
        *(*DIALGATE, "bank", "--ports", "1", "--dial", f"127.0.0.1:{base_port}"),
        *("--directory", str(tmp_path)),
        stdout=asyncio.subprocess.PIPE,
    )
    assert program.stdout is not None
    async with asyncio.timeout(PATIENCE_S):
        said = await program.stdout.readline()
    assert said == f"{tmp_path}/ttyM1 answers at 127.0.0.1 {base_port + 1}\n".encode()
    assert (tmp_path / "ttyM1").is_char_device()
    async with asyncio.timeout(PATIENCE_S):
        assert await program.stdout.readline() == f"{tmp_path}/ttyC1 dials\n".encode()
    assert (tmp_path / "ttyC1").is_char_device()

    program.send_signal(signal.SIGTERM)

    async with asyncio.timeout(PATIENCE_S):
        assert await program.wait() == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--dial", "127.0.0.1"], "'127.0.0.1' is not HOST:PORT"),
        (["--dial", "127.0.0.1:65000"], "leaves no room for PORT + k"),
        (["--ports", "0"], "'0' is not a number from 1 to 1024"),
        (["--calling", "65"], "'65' is not a number from 0 to 64"),
    ],
)
def test_wrong_arguments_are_told(tmp_path: Path, arguments: list[str], complaint: str) -> None:
    answered = dialgate("bank", "--directory", tmp_path, *arguments)

    assert answered.returncode == 2
    assert complaint in answered.stderr
