"""Bounded writing, on a pipe whose other end the test holds."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator

import pytest_asyncio

from port_agents.bounded_writer import WRITE_BYTES_MAX, BoundedWriter


class Pipe:
    def __init__(self) -> None:
        self.reader, self.fd = os.pipe()
        os.set_blocking(self.fd, False)
        self.empty = asyncio.Event()
        self.errors: list[int | None] = []
        self.writer = BoundedWriter(
            self.fd, self.empty.set, lambda error: self.errors.append(error.errno)
        )

    def fill(self) -> int:
        """Fill the pipe past what it takes at once; return how much was written."""
        written = 0
        while not len(self.writer):
            self.writer.write(bytes([written % 251]) * 4096)
            written += 4096
        return written

    def take(self, count: int) -> bytes:
        taken = b""
        while len(taken) < count:
            taken += os.read(self.reader, count - len(taken))
        return taken

    def close(self) -> None:
        self.writer.clear()
        os.close(self.fd)
        os.close(self.reader)


@pytest_asyncio.fixture
async def pipe() -> AsyncIterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.close()


async def test_what_is_taken_at_once_does_not_wait(pipe: Pipe) -> None:
    assert pipe.writer.write(b"RING")

    assert pipe.empty.is_set()
    assert (len(pipe.writer), pipe.writer.written) == (0, 4)
    assert pipe.take(4) == b"RING"


async def test_what_is_not_taken_at_once_leaves_in_order_later(pipe: Pipe) -> None:
    written = pipe.fill()
    pipe.empty.clear()
    pipe.writer.write(b"the end")

    taken = await asyncio.to_thread(pipe.take, written + 7)
    async with asyncio.timeout(10):
        await pipe.empty.wait()

    assert taken.endswith(b"the end")
    assert pipe.writer.written == written + 7
    assert len(pipe.writer) == 0


async def test_a_write_without_room_is_refused_whole_and_counted(pipe: Pipe) -> None:
    pipe.fill()
    room = WRITE_BYTES_MAX - len(pipe.writer)

    assert not pipe.writer.write(b"x" * (room + 1))
    assert pipe.writer.write(b"x" * room)

    assert len(pipe.writer) == WRITE_BYTES_MAX
    assert pipe.writer.refused == 1


async def test_what_waits_can_be_forgotten_and_writing_goes_on(pipe: Pipe) -> None:
    pipe.fill()
    before = pipe.writer.written

    pipe.writer.clear()
    pipe.take(before)
    assert pipe.writer.write(b"RING")

    assert pipe.take(4) == b"RING"


async def test_an_error_is_told_once_and_nothing_waits_after_it(pipe: Pipe) -> None:
    os.close(pipe.reader)

    pipe.writer.write(b"x")

    pipe.reader = os.open(os.devnull, os.O_RDONLY)
    assert pipe.errors == [errno.EPIPE]
    assert len(pipe.writer) == 0
