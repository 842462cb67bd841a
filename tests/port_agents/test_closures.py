"""Closed ports outlive the agent, or it is said that they do not."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from dialgate.codes import NO_ERROR, Code, Winerror
from port_agents.closures import ClosureError, Closures, closures_file, read_closures
from port_agents.line_actions import Closure

NOISY = Closure("disable by eve: noisy", is_busy=True)


class Told:
    """Collects what is told of what was kept."""

    def __init__(self) -> None:
        self.kept: list[tuple[str, Code]] = []
        self._changed = asyncio.Event()

    def __call__(self, hport: str, code: Code) -> None:
        self.kept.append((hport, code))
        self._changed.set()

    async def until(self, number: int) -> None:
        async with asyncio.timeout(5):
            while len(self.kept) < number:
                self._changed.clear()
                await self._changed.wait()


async def test_what_was_kept_is_read_by_the_next_run(tmp_path: Path) -> None:
    told = Told()
    file = closures_file(str(tmp_path / "spool.db"))
    closures = Closures(file, read_closures(file), told)
    closures.keep("oslo/1", NOISY)
    closures.keep("oslo/2", Closure("drain by ann"))
    closures.keep("oslo/2", None)
    await told.until(3)

    assert read_closures(file) == {"oslo/1": NOISY}
    assert {code for _, code in told.kept} == {NO_ERROR}
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.name == "spool.db.closed"


async def test_a_disk_that_takes_nothing_is_told_of(tmp_path: Path) -> None:
    told = Told()
    Closures(tmp_path / "nowhere" / "file", {}, told).keep("oslo/1", NOISY)
    await told.until(1)

    assert told.kept == [("oslo/1", Winerror.ERROR_GEN_FAILURE.code)]


def test_a_file_that_is_damaged_stops_the_agent(tmp_path: Path) -> None:
    file = tmp_path / "spool.db.closed"
    file.write_text("{")

    with pytest.raises(ClosureError, match="says not which ports are disabled: move it away"):
        read_closures(file)
