"""The demo's console over real connections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from port_agents import demo_console
from port_agents.demo_console import PROMPT, PlantConsole

GREETING = b"\r\nPlant console of the demo; help shows what it understands.\r\n" + PROMPT


@pytest.fixture
async def console() -> AsyncIterator[PlantConsole]:
    async with PlantConsole() as opened:
        yield opened


async def typed(console: PlantConsole, *pieces: bytes) -> bytes:
    """Return what a visitor sees who types `pieces`, a moment apart, and leaves."""
    reader, writer = await asyncio.open_connection("127.0.0.1", console.port)
    for piece in pieces:
        writer.write(piece)
        await asyncio.sleep(0.02)
    writer.write_eof()
    async with asyncio.timeout(5.0):
        seen = await reader.read()
    writer.close()
    return seen.removeprefix(GREETING)


@pytest.mark.parametrize("end", [b"\r", b"\n", b"\r\n", b"\r\x00"])
async def test_every_terminals_line_end_is_one(console: PlantConsole, end: bytes) -> None:
    assert await typed(console, b"echo one" + end) == b"one\r\n" + PROMPT


async def test_a_line_may_come_in_pieces(console: PlantConsole) -> None:
    assert await typed(console, b"ec", b"ho o", b"ne\r") == b"one\r\n" + PROMPT


async def test_status_is_true(console: PlantConsole) -> None:
    await typed(console)

    assert b", visits 2, here now 1\r\n" in await typed(console, b"status\r")


async def test_quit_hangs_up(console: PlantConsole) -> None:
    assert await typed(console, b"quit\r") == b"bye\r\n"


@pytest.mark.parametrize("line", [b"\x1b[2J\r", b"echo \x07\x9b\r", b"\xff\xfd\x01\r"])
async def test_nothing_that_a_terminal_would_obey_is_echoed(
    console: PlantConsole, line: bytes
) -> None:
    seen = await typed(console, line)

    assert not set(seen) & (set(range(32)) - {13, 10} | set(range(127, 256)))


async def test_a_line_without_end_is_bounded(console: PlantConsole) -> None:
    seen = await typed(console, b"x" * 100_000, b"\recho y\r")

    assert len(seen) < 600
    assert seen.endswith(b"y\r\n" + PROMPT)


async def test_a_silent_visitor_is_sent_away(
    console: PlantConsole, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo_console, "IDLE_S", 0.05)

    reader, writer = await asyncio.open_connection("127.0.0.1", console.port)

    async with asyncio.timeout(5.0):
        assert await reader.read() == GREETING
    writer.close()


async def test_visitors_are_sent_away_when_the_console_closes() -> None:
    async with PlantConsole() as console:
        reader, writer = await asyncio.open_connection("127.0.0.1", console.port)
        await reader.readexactly(len(GREETING))

    async with asyncio.timeout(5.0):
        assert await reader.read() == b""
    writer.close()
