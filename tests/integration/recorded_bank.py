"""A bank of simulated modems in this process that writes down what each modem is told."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from port_agents.bank import Bank
from port_agents.bank_line import BankLine
from port_agents.simulated_modem import IncomingCall, SimulatedAction

__all__ = ["RING", "RecordedLine", "recorded_bank"]

RING: Final = "RING"


class RecordedLine:
    """One line, and what its modem was told."""

    def __init__(self, line: BankLine, patch: pytest.MonkeyPatch) -> None:
        self.device: Final = line.device.resolve()
        """The PTY itself."""
        self.dial: Final = line.dial
        self.modem: Final = line.modem
        self.told: Final[list[str]] = []
        """Each command line the modem was given, in order, and `RING` where it rang."""
        self._typed = b""
        dte, ring = self.modem.dte, self.modem.ring

        def recorded_dte(data: bytes, now: float) -> list[SimulatedAction]:
            if self.modem._mode.name == "COMMAND":
                *lines, self._typed = (self._typed + data).split(b"\r")
                self.told.extend(line.decode("latin-1") for line in lines)
            return dte(data, now)

        def recorded_ring(now: float, call: IncomingCall) -> list[SimulatedAction]:
            self.told.append(RING)
            return ring(now, call)

        patch.setattr(self.modem, "dte", recorded_dte)
        patch.setattr(self.modem, "ring", recorded_ring)

    @property
    def settings(self) -> dict[str, int]:
        """What the modem is set to, registers included."""
        return {**self.modem._settings, "S0": self.modem._registers[0]}


@contextmanager
def recorded_bank(directory: Path, lines: int) -> Iterator[list[RecordedLine]]:
    """Run a bank in a thread of its own while the context lasts."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def opened() -> Bank:
        return await Bank(directory, lines).__aenter__()

    try:
        bank = asyncio.run_coroutine_threadsafe(opened(), loop).result(10)
        with pytest.MonkeyPatch.context() as patch:
            yield [RecordedLine(line, patch) for line in bank.lines]
        asyncio.run_coroutine_threadsafe(bank.close(), loop).result(10)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
