"""Server-Sent Events for observers: a snapshot, then every change with a rising id (protocol §9).

One pump looks at the board's changes, encodes them once and gives the same bytes to all readers.
A reader that falls behind loses what waits for it and gets a fresh snapshot instead, so that a
slow one costs a bounded queue and holds up nobody.

A snapshot is an event `snapshot`, which says how many items follow, and the items as events of
their own, all under the id of the last change in it: who handles changes handles it, too.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final, Protocol

import msgspec

__all__ = ["Board", "Feed", "Item", "Reader", "TooManyReaders"]

READERS_MAX: Final = 32
CHUNKS_MAX: Final = 256
"""Turns of the pump that may wait for one reader."""
PUMP_S: Final = 0.1
"""How long a change may wait, so that one write carries many."""
KEEP_ALIVE_S: Final = 15.0
"""Longest silence: a proxy cuts what seems dead."""
KEEP_ALIVE: Final = b": here\n\n"

Item = tuple[str, dict[str, Any]]
"""An event's name and its fields."""


class TooManyReaders(Exception):
    """`READERS_MAX` streams are open."""


class Board(Protocol):
    """What the feed needs of broker.board."""

    last_id: int

    def watch(self, *, on: bool) -> None:
        """Begin or cease to keep changes."""

    def since(self, change_id: int, /) -> Sequence[tuple[int, str, dict[str, Any]]] | None:
        """Return the changes after `change_id`; None if a snapshot is needed first."""


class Reader:
    """One open stream."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._chunks: deque[bytes] = deque()
        self._wake = asyncio.Event()
        self._wake.set()
        self._is_behind = True
        """Gets a snapshot next: it has had none, or lost changes."""

    def put(self, chunk: bytes) -> None:
        """Queue a turn's changes, or note that there are too many of them."""
        if len(self._chunks) >= CHUNKS_MAX:
            self.fall_behind()
        else:
            self._chunks.append(chunk)
            self._wake.set()

    def fall_behind(self) -> None:
        """Drop what waits; a snapshot replaces it."""
        self._chunks.clear()
        self._is_behind = True
        self._wake.set()

    async def next(self, keep_alive_s: float = KEEP_ALIVE_S) -> bytes:
        """Return what to write next; empty once the feed is closed."""
        if not self._feed.is_closed:
            with suppress(TimeoutError):
                async with asyncio.timeout(keep_alive_s):
                    await self._wake.wait()
        if self._feed.is_closed:
            return b""
        if self._is_behind:
            chunk = self._feed.snapshot()
            self._is_behind = False
        else:
            chunk = b"".join(self._chunks)
        # What waited is in the chunk, or older than the snapshot.
        self._chunks.clear()
        self._wake.clear()
        return chunk or KEEP_ALIVE


class Feed:
    """The readers of one board.

    Args:
        board: whose changes they get.
        items: gives all that there is at this moment.
    """

    def __init__(self, board: Board, items: Callable[[], Iterable[Item]]) -> None:
        self.is_closed = False
        self._board = board
        self._items = items
        self._readers: set[Reader] = set()
        self._last_id = board.last_id
        """The last change that readers got."""

    @property
    def readers(self) -> int:
        """How many streams are open."""
        return len(self._readers)

    @contextmanager
    def reader(self) -> Iterator[Reader]:
        """Add a reader while the context lasts.

        Raises:
            TooManyReaders: there is no room for another.
        """
        if len(self._readers) >= READERS_MAX:
            raise TooManyReaders
        reader = Reader(self)
        if not self._readers:
            self._board.watch(on=True)
        self._readers.add(reader)
        try:
            yield reader
        finally:
            self._readers.discard(reader)
            if not self._readers:
                self._board.watch(on=False)

    async def pump(self) -> None:
        """Give changes to readers until cancelled."""
        while True:
            await asyncio.sleep(PUMP_S)
            self.turn()

    def turn(self) -> None:
        """Give every reader the changes since the last turn."""
        last_id, self._last_id = self._last_id, self._board.last_id
        if not self._readers:
            return
        changes = self._board.since(last_id)
        if changes is None:
            for reader in self._readers:
                reader.fall_behind()
        elif changes:
            chunk = b"".join(_encode(*change) for change in changes)
            for reader in self._readers:
                reader.put(chunk)

    def snapshot(self) -> bytes:
        """Return all that there is, encoded, with no change before it still under way."""
        self.turn()
        items = [_encode(self._last_id, name, fields) for name, fields in self._items()]
        return _encode(self._last_id, "snapshot", {"items": len(items)}) + b"".join(items)

    def close(self) -> None:
        """End all streams."""
        self.is_closed = True
        for reader in self._readers:
            reader.fall_behind()


def _encode(change_id: int, name: str, fields: dict[str, Any]) -> bytes:
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (
        change_id,
        name.encode(),
        msgspec.json.encode(fields),
    )
