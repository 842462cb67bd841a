"""`dialgate doctor`: what is wrong with this machine's lines, each with the line that mends it.

A shell around the modem's own core: what it says of a modem is what the agent would say.  A line
that its agent has is not touched: `dialgate port probe` asks there.

Invariant: nothing is changed but by opening a line: its modem is initialised, as at any start.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from dialgate.errors import DialgateError
from dialgate.manual import add_config, new_parser
from dialgate.settings import PortSettings, Settings, load, require
from dialgate.settings.devices import serial_device_fault
from dialgate.settings.endpoints import TERMINAL_SERVER
from port_agents.descriptors import raise_limit
from port_agents.device import Device, PortError
from port_agents.line_locks import OURS, LineLocks
from port_agents.line_settings import line_settings
from port_agents.modem import Modem
from port_agents.modem_actions import Action, Flush, ModemLines, ModemState, SetDtr, Write
from port_agents.network_port import connect_port
from port_agents.serial_port import open_port

__all__ = ["examine", "main"]

PATIENCE_S: Final = 30.0
"""How long a modem may take until it is ready: all init commands, and a hang-up before them."""

_PROC: Final = Path("/proc")
_GETTYS: Final = ("agetty", "getty", "mgetty", "mingetty")


def main(argv: Sequence[str]) -> int:
    """Examine the lines; return 1 if there is a fault, else 0."""
    parser = new_parser(
        "doctor",
        """
        Examines this machine's lines: device, permissions, other programs' locks, a getty or
        ModemManager on it, what the modem says to its init commands and how fast, carrier detect,
        file descriptors. Each finding is followed by what mends it. Stop the agent first, or see
        of its lines only what can be seen from beside.
        """,
        examples=["dialgate doctor", "dialgate doctor oslo/1 oslo/2"],
    )
    parser.add_argument("hports", nargs="*", metavar="HPORT", help="ports to examine (all)")
    add_config(parser)
    options = parser.parse_args(argv)
    settings = load(options.config)
    lines = require(settings, "agent", options.config).lines
    if unknown := set(options.hports) - {line.hport for line in lines}:
        raise DialgateError(f"no port {', '.join(sorted(unknown))} is in {options.config}")
    faults = 0
    if missing := raise_limit(len(lines)):
        faults += _say("descriptors", missing)
    if _running("ModemManager"):
        mend = "systemctl mask --now ModemManager, or ENV{ID_MM_DEVICE_IGNORE}=1 by udev"
        faults += _say("ModemManager", f"runs and opens modems at any time: {mend}")
    for line in lines:
        if not options.hports or line.hport in options.hports:
            faults += asyncio.run(examine(settings, line))
    return 1 if faults else 0


async def examine(settings: Settings, port: PortSettings) -> int:
    """Print what there is to say of one port; return how many faults that are."""
    faults = 0
    is_remote = port.device.startswith(TERMINAL_SERVER)
    if fault := serial_device_fault(port.device):
        return _say(port.hport, f"{fault}: name the device that is there, see /dev/serial/by-path")
    if not is_remote:
        for getty, name in _gettys(port.device):
            mend = f"systemctl disable --now serial-getty@{name}"
            faults += _say(port.hport, f"{getty} waits for logins on {port.device}: {mend}")
        directory = require(settings, "agent").locks
        if directory and (holder := LineLocks(directory).holder(port.device)):
            if holder.startswith(OURS):
                _say(port.hport, f"{holder} has it: dialgate port probe {port.hport} asks there")
                return faults
            return faults + _say(port.hport, f"{port.device} is in use by {holder}: end it")
    patient = _Patient(settings, port)
    try:
        faults += await patient.examine()
    except PortError as error:
        faults += _say(port.hport, str(error))
    return faults


class _Patient:
    """One line under examination: its device, and the core that an agent would work it with."""

    def __init__(self, settings: Settings, port: PortSettings) -> None:
        self._port = port
        self._modem = Modem(line_settings(settings, port).modem)
        self._device: Device | None = None
        self._changed = asyncio.Event()
        self._lost = ""

    async def examine(self) -> int:
        """Open the line, make its modem ready, and tell of it.

        Raises:
            PortError: it can't be opened.
        """
        is_remote = self._port.device.startswith(TERMINAL_SERVER)
        device: Device
        if is_remote:
            device = await connect_port(self._port, self)
        else:
            device = open_port(self._port, self)
        self._device = device
        try:
            lines = device.lines()
            _say(self._port.hport, f"{self._port.device} is open; {_shown(lines)}")
            return await self._ready(lines) if self._port.modem else 0
        finally:
            device.close()

    async def _ready(self, lines: ModemLines | None) -> int:
        hport = self._port.hport
        self._do(self._modem.opened(lines, time.monotonic()))
        give_up_at = time.monotonic() + PATIENCE_S
        ends = {ModemState.IDLE, ModemState.FAULTED, ModemState.CLOSED}
        while self._modem.state not in ends and not self._lost:
            due = min(self._modem.deadline(), give_up_at) - time.monotonic()
            self._changed.clear()
            try:
                async with asyncio.timeout(max(0.0, due)):
                    await self._changed.wait()
            except TimeoutError:
                self._do(self._modem.tick(time.monotonic()))
            if time.monotonic() >= give_up_at:
                break
        for answer in self._modem.answers:
            said = f'"{answer.answer}" in {answer.took_ms} ms' if answer.answer else "nothing"
            _say(hport, f"{answer.command}: {said}")
        if self._modem.state is ModemState.IDLE:
            _say(hport, "ready")
            return 0
        why = self._lost or self._modem.reason or "the modem was not ready in time"
        return _say(hport, f"{why}: look at power, cable, baud and init")

    def _do(self, actions: Sequence[Action]) -> None:
        for action in actions:
            match action:
                case Write(data) if self._device is not None:
                    self._device.write(data)
                case SetDtr(on) if self._device is not None:
                    self._device.set_dtr(on=on)
                case Flush() if self._device is not None:
                    self._device.flush()
                case _:
                    pass  # What only an agent does: this is one look, and no service.

    # What the device tells.

    def on_bytes(self, data: bytes) -> None:
        """Let the core read."""
        self._do(self._modem.receive(data, time.monotonic()))
        self._changed.set()

    def on_drained(self) -> None:
        """Do nothing: nobody waits for it."""

    def on_lines(self, lines: ModemLines) -> None:
        """Let the core see the modem lines."""
        self._do(self._modem.lines_changed(lines, time.monotonic()))
        self._changed.set()

    def on_lost(self, reason: str) -> None:
        """Note that the device is gone."""
        self._lost = f"{self._port.device}: {reason}"
        self._changed.set()


def _shown(lines: ModemLines | None) -> str:
    if lines is None:
        return 'it has no modem lines: dcd = "ignore"'
    words = {"DCD": lines.dcd, "DSR": lines.dsr, "CTS": lines.cts, "RI": lines.ri}
    text = ", ".join(f"{name} {'high' if high else 'low'}" for name, high in words.items())
    return f"{text}; DCD must be low with no call: &C1 in init" if lines.dcd else text


def _say(what: str, text: str) -> int:
    """Print one finding; return 1, for those who count faults."""
    sys.stdout.write(f"{what}: {text}\n")
    return 1


def _commands() -> Iterator[list[str]]:
    """Yield the command line of every process that may be seen."""
    for entry in _PROC.iterdir():
        if entry.name.isdecimal():
            try:
                words = (entry / "cmdline").read_text(errors="replace").split("\0")
            except OSError:
                continue
            yield words


def _running(name: str) -> bool:
    return any(Path(words[0]).name == name for words in _commands())


def _gettys(device: str) -> list[tuple[str, str]]:
    """Return the programs that wait for logins on a device, each with the device's short name."""
    name = Path(os.path.realpath(device)).name
    return [
        (Path(words[0]).name, name)
        for words in _commands()
        if Path(words[0]).name in _GETTYS and any(name in {x, Path(x).name} for x in words[1:])
    ]
