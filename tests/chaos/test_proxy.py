"""The fault proxy passes everything on unchanged, or late, or not at all, as it is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from tests.chaos.proxy import Link, Way

SOON_S = 0.2
"""What has not come by then is held."""


class Far:
    """A broker that repeats what it hears, in brackets."""

    heard = b""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(1000):
                self.heard += data
                writer.write(b"<" + data + b">")
        writer.transport.abort()


@asynccontextmanager
async def linked() -> AsyncIterator[tuple[Link, Far, Callable[[], Awaitable[Near]]]]:
    far = Far()
    server = await asyncio.start_server(far.serve, "127.0.0.1", 0)
    link = Link("near to far", server.sockets[0].getsockname())

    nears: list[Near] = []

    async def connect() -> Near:
        nears.append(Near(*await asyncio.open_connection(*link.address)))
        return nears[-1]

    async with link.served("127.0.0.1"):
        yield link, far, connect
        for near in nears:
            near.hang_up()
    server.close()
    await asyncio.sleep(0.05)  # The transports' own last steps.


class Near:
    """A peer."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def hang_up(self) -> None:
        self._writer.transport.abort()

    def say(self, data: bytes) -> None:
        self._writer.write(data)

    async def hears(self, wanted: bytes) -> None:
        async with asyncio.timeout(5):
            assert await self._reader.readexactly(len(wanted)) == wanted

    async def hears_nothing(self) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(SOON_S):
                await self._reader.read(1)

    async def is_cut_off(self) -> bool:
        async with asyncio.timeout(5):
            try:
                return await self._reader.read(1) == b""
            except ConnectionError:
                return True


async def test_a_good_link_passes_bytes_unchanged_in_both_directions() -> None:
    async with linked() as (_, _, connect):
        near = await connect()
        near.say(b"one")

        await near.hears(b"<one>")


async def test_a_slow_link_delivers_everything_later_and_in_order() -> None:
    async with linked() as (link, _, connect):
        near = await connect()
        link.delay_s = SOON_S
        began_at = asyncio.get_running_loop().time()
        near.say(b"one")
        await asyncio.sleep(0.05)
        near.say(b"two")

        await near.hears(b"<one>")
        assert asyncio.get_running_loop().time() - began_at >= 2 * SOON_S
        await near.hears(b"<two>")


@pytest.mark.parametrize(("way", "heard"), [(Way.THERE, b""), (Way.BACK, b"one")])
async def test_a_half_open_link_holds_one_direction_back_until_it_heals(
    way: Way, heard: bytes
) -> None:
    async with linked() as (link, far, connect):
        near = await connect()
        link.stall(way)
        near.say(b"one")
        await near.hears_nothing()
        assert far.heard == heard

        link.heal()
        await near.hears(b"<one>")


async def test_what_begins_during_a_partition_waits_for_its_end() -> None:
    async with linked() as (link, _, connect):
        link.stall(*Way)
        near = await connect()
        near.say(b"one")
        await near.hears_nothing()

        link.heal()
        await near.hears(b"<one>")


async def test_a_cut_resets_what_is_connected_and_refuses_what_comes_until_it_heals() -> None:
    async with linked() as (link, _, connect):
        near = await connect()
        near.say(b"one")
        await near.hears(b"<one>")
        link.cut()

        assert await near.is_cut_off()
        assert await (await connect()).is_cut_off()
        link.heal()
        near = await connect()
        near.say(b"two")
        await near.hears(b"<two>")
