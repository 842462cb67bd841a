"""Readers of the feed get a snapshot, then each change once and in order, however slow they are.

The board is a fake of a few lines that keeps a bounded list of changes like the real one.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any, NamedTuple

import pytest

from broker.events import CHUNKS_MAX, KEEP_ALIVE, READERS_MAX, Feed, Item, Reader, TooManyReaders


class Event(NamedTuple):
    id: int
    name: str
    fields: dict[str, Any]


class Board:
    """Ports by name; keeps the last `kept` changes."""

    def __init__(self, kept: int = 10_000) -> None:
        self.last_id = 0
        self.kept = kept
        self.changes: list[tuple[int, str, dict[str, Any]]] = []
        self.states: dict[str, str] = {}

    def watch(self, *, on: bool) -> None:
        """This fake keeps changes at all times."""

    def change(self, hport: str, state: str) -> None:
        self.last_id += 1
        self.states[hport] = state
        self.changes.append((self.last_id, "line", {"hport": hport, "state": state}))
        del self.changes[: -self.kept]

    def since(self, change_id: int) -> list[tuple[int, str, dict[str, Any]]] | None:
        oldest = self.changes[0][0] if self.changes else self.last_id + 1
        return None if change_id < oldest - 1 else [c for c in self.changes if c[0] > change_id]

    def items(self) -> list[Item]:
        return [("line", {"hport": h, "state": s}) for h, s in self.states.items()]


def parse(stream: bytes) -> list[Event]:
    """Return the events of a stream, as a browser would; comments are none."""
    events = []
    for block in stream.decode().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if line[0] != ":")
        if fields:
            events.append(Event(int(fields["id"]), fields["event"], json.loads(fields["data"])))
    return events


def line(change_id: int, hport: str, state: str) -> Event:
    return Event(change_id, "line", {"hport": hport, "state": state})


async def read(reader: Reader) -> list[Event]:
    return parse(await reader.next(keep_alive_s=0))


async def test_a_stream_begins_with_a_snapshot_under_the_id_of_its_last_change() -> None:
    board = Board()
    board.change("oslo/1", "idle")
    board.change("oslo/2", "online")
    feed = Feed(board, board.items)

    with feed.reader() as reader:
        events = await read(reader)

    assert events == [
        Event(2, "snapshot", {"items": 2}),
        line(2, "oslo/1", "idle"),
        line(2, "oslo/2", "online"),
    ]


async def test_changes_follow_in_order_and_once() -> None:
    board = Board()
    feed = Feed(board, board.items)
    with feed.reader() as reader:
        await read(reader)
        board.change("oslo/1", "ringing")
        feed.turn()
        board.change("oslo/1", "answering")
        feed.turn()

        assert await read(reader) == [line(1, "oslo/1", "ringing"), line(2, "oslo/1", "answering")]
        assert await reader.next(keep_alive_s=0) == KEEP_ALIVE


async def test_a_change_before_the_snapshot_does_not_come_again_after_it() -> None:
    board = Board()
    feed = Feed(board, board.items)
    with feed.reader() as early, feed.reader() as late:
        await read(early)
        board.change("oslo/1", "ringing")
        board.change("oslo/1", "idle")

        assert await read(late) == [Event(2, "snapshot", {"items": 1}), line(2, "oslo/1", "idle")]
        feed.turn()

        assert await read(early) == [line(1, "oslo/1", "ringing"), line(2, "oslo/1", "idle")]
        assert await read(late) == []


async def test_a_slow_reader_gets_a_fresh_snapshot_and_the_others_miss_nothing() -> None:
    board = Board()
    feed = Feed(board, board.items)
    with feed.reader() as slow, feed.reader() as quick:
        await read(slow)
        await read(quick)
        seen = []
        for number in range(CHUNKS_MAX + 1):
            board.change("oslo/1", f"state {number}")
            feed.turn()
            seen += await read(quick)

        assert [event.id for event in seen] == list(range(1, CHUNKS_MAX + 2))
        assert await read(slow) == [
            Event(CHUNKS_MAX + 1, "snapshot", {"items": 1}),
            line(CHUNKS_MAX + 1, "oslo/1", f"state {CHUNKS_MAX}"),
        ]


async def test_changes_that_the_board_has_forgotten_are_made_up_for_by_a_snapshot() -> None:
    board = Board(kept=3)
    feed = Feed(board, board.items)
    with feed.reader() as reader:
        await read(reader)
        for _ in range(4):
            board.change("oslo/1", "idle")
        feed.turn()

        assert await read(reader) == [Event(4, "snapshot", {"items": 1}), line(4, "oslo/1", "idle")]


async def test_a_stream_over_the_limit_is_refused_until_another_ends() -> None:
    board = Board()
    feed = Feed(board, board.items)
    contexts = [feed.reader() for _ in range(READERS_MAX)]
    for context in contexts:
        context.__enter__()

    with pytest.raises(TooManyReaders), feed.reader():
        pass
    contexts[0].__exit__(None, None, None)
    with feed.reader():
        assert feed.readers == READERS_MAX


async def test_a_waiting_reader_is_woken_when_the_feed_closes() -> None:
    board = Board()
    feed = Feed(board, board.items)
    with feed.reader() as reader:
        await read(reader)
        waiting = asyncio.ensure_future(reader.next())
        await asyncio.sleep(0)
        feed.close()

        assert await waiting == b""
        assert await reader.next() == b""


async def test_the_pump_brings_changes_to_readers_by_itself() -> None:
    board = Board()
    feed = Feed(board, board.items)
    async with asyncio.timeout(5):
        with feed.reader() as reader:
            pump = asyncio.ensure_future(feed.pump())
            await reader.next()
            board.change("oslo/1", "ringing")

            assert parse(await reader.next()) == [line(1, "oslo/1", "ringing")]
            pump.cancel()
