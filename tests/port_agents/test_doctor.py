"""The doctor says what is wrong with a line, and what mends it."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dialgate.settings import Settings, load, require
from port_agents import doctor
from port_agents.bank import Bank
from tests.dialgate.sample import altered, write

Said = Callable[[], str]


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Said:
    return lambda: capsys.readouterr().out


def settings_for(directory: Path, device: Path, *more: str) -> Settings:
    options = "\n".join(('dcd = "ignore"', "escape_guard_ms = 60", *more))
    changes = (('"/dev/ttyS0"', f'"{device}"'), ("baud = 38400", options))
    spool = f'spool = "/var/lib/dialgate/spool.db"\nlocks = "{directory}"'
    text = altered(*changes, ('spool = "/var/lib/dialgate/spool.db"', spool))
    return load(write(directory, text))


async def test_a_healthy_modem_is_told_with_its_answers(tmp_path: Path, said: Said) -> None:
    async with Bank(tmp_path, 1, base_port=0) as bank:
        settings = settings_for(tmp_path, bank.lines[0].device)

        faults = await doctor.examine(settings, require(settings, "agent").lines[0])

    lines = said().splitlines()
    assert faults == 0
    assert lines[0].endswith('is open; it has no modem lines: dcd = "ignore"')
    assert lines[1].startswith('oslo/1: ATZ: "OK" in ')
    assert lines[-1] == "oslo/1: ready"


async def test_a_modem_that_refuses_is_a_fault_with_its_words(tmp_path: Path, said: Said) -> None:
    async with Bank(tmp_path, 1, base_port=0) as bank:
        bank.lines[0].modem.faults.refuses = "E0"
        settings = settings_for(tmp_path, bank.lines[0].device)

        faults = await doctor.examine(settings, require(settings, "agent").lines[0])

    assert faults == 1
    assert 'init command "ATE0Q0V1X4&C1&D2S0=0": the modem said "ERROR": look at' in said()


async def test_a_device_that_is_not_there_is_a_fault(tmp_path: Path, said: Said) -> None:
    settings = settings_for(tmp_path, tmp_path / "ttyS9")

    assert await doctor.examine(settings, require(settings, "agent").lines[0]) == 1
    assert 'ttyS9" does not exist on this machine: name the device' in said()


async def test_a_line_that_another_program_has_is_not_touched(tmp_path: Path, said: Said) -> None:
    master, slave = pty.openpty()
    tty.setraw(slave)
    device = tmp_path / "tty"
    device.symlink_to(os.ttyname(slave))
    name = os.ttyname(slave).removeprefix("/dev/").replace("/", "_")
    (tmp_path / f"LCK..{name}").write_text(f"{os.getppid():10d}\n")
    settings = settings_for(tmp_path, device)

    assert await doctor.examine(settings, require(settings, "agent").lines[0]) == 1
    assert "in use by" in said()
    os.close(master)
    os.close(slave)


@contextmanager
def named(*command: str) -> Iterator[None]:
    """Run a program that calls itself so, and waits."""
    with subprocess.Popen(
        command, executable="/bin/cat", stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        words = Path(f"/proc/{process.pid}/cmdline")
        while not words.read_text().startswith(command[0]):
            assert process.poll() is None
        yield
        process.kill()


async def test_a_getty_on_the_line_is_a_fault_with_what_ends_it(tmp_path: Path, said: Said) -> None:
    async with Bank(tmp_path, 1, base_port=0) as bank:
        device = bank.lines[0].device
        settings = settings_for(tmp_path, device)
        with named("agetty", "-", os.path.realpath(device)):
            faults = await doctor.examine(settings, require(settings, "agent").lines[0])
        name = Path(os.path.realpath(device)).name

    first, *_, last = said().splitlines()
    assert first.endswith(f": systemctl disable --now serial-getty@{name}")
    assert (faults, last) == (1, "oslo/1: ready")


def test_a_modem_manager_is_a_fault_with_what_ends_it(tmp_path: Path, said: Said) -> None:
    settings_for(tmp_path, tmp_path / "tty")
    with named("ModemManager", "-"):
        status = doctor.main(["--config", str(next(tmp_path.glob("*.toml"))), "oslo/1"])

    assert status == 1
    assert "systemctl mask --now ModemManager" in said()


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[int]:
    """Run what looks like an agent; give its process id."""
    program = tmp_path / "dialgate"
    program.write_text("print(flush=True); input()")
    command = [sys.executable, str(program), "agent"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process.pid
        process.communicate(b"\n")


async def test_a_line_that_the_agent_has_is_no_fault(
    tmp_path: Path, agent: int, said: Said
) -> None:
    master, slave = pty.openpty()
    device = tmp_path / "tty"
    device.symlink_to(os.ttyname(slave))
    name = os.ttyname(slave).removeprefix("/dev/").replace("/", "_")
    (tmp_path / f"LCK..{name}").write_text(f"{agent:10d}\n")
    settings = settings_for(tmp_path, device)

    assert await doctor.examine(settings, require(settings, "agent").lines[0]) == 0
    told = f"dialgate agent (process {agent}) has it: dialgate port probe oslo/1 asks there"
    assert said() == f"oslo/1: {told}\n"
    os.close(master)
    os.close(slave)
