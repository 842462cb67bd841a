"""Simulated callers: they dial lines of a bank over TCP and behave well, badly, or not at all.

For the demo, and for whoever wants to see a cluster under calls.  A caller knows what a human
caller knows: a number to dial, perhaps a password, and what the screen shows.

Invariant: every call ends within `PATIENCE_S` of its last sign of life, with one outcome.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import Final

__all__ = ["Address", "Behaviour", "Outcome", "Screen", "User", "call", "keep_calling"]

Address = tuple[str, int]

PATIENCE_S: Final = 30.0
"""How long a caller waits for what he expects to see."""
SILENCE_S: Final = 5.0
"""How long the silent one says nothing before he hangs up."""
PAUSE_S: Final = (0.2, 3.0)
"""Shortest and longest pause between two calls of a caller."""
SCREEN_BYTES_MAX: Final = 64 * 1024
"""What a caller remembers of his screen."""

LOGIN: Final = b"login: "
PASSWORD: Final = b"Password: "
ADMITTED: Final = b"> "
"""The end of the console's prompt."""
REFUSED: Final = b"Login incorrect"
BUSY: Final = b"BUSY"


class Behaviour(StrEnum):
    """What a caller does."""

    GOOD = "good password"
    BAD = "bad password"
    SILENCE = "silence"
    GARBAGE = "garbage"
    HANG_UP_RINGING = "hang-up while it rings"
    HANG_UP_AT_FIRST = "hang-up at the first prompt"
    HANG_UP_AT_SECOND = "hang-up at the second prompt"
    HANG_UP_IN_CHECK = "hang-up while the password is checked"
    HANG_UP_ADMITTED = "hang-up when admitted"


class Outcome(StrEnum):
    """How a call ended, as its caller saw it."""

    ADMITTED = "admitted"
    REFUSED = "refused"
    HUNG_UP = "hung up himself"
    BUSY = "busy"
    NO_ANSWER = "no answer"
    CUT_OFF = "cut off"


@dataclass(frozen=True, slots=True)
class User:
    """Who may log in."""

    name: str
    password: str


class LineDown(Exception):
    """The other side has hung up."""


class Screen:
    """What a caller sees and types."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.seen = b""
        self._reader = reader
        self._writer = writer
        self._at = 0
        """Where in `seen` the next expectation begins."""

    async def expect(self, *texts: bytes) -> bytes:
        """Return the first of `texts` that appears behind what was expected before.

        Raises:
            LineDown: the other side hung up before.
            TimeoutError: nothing of it within `PATIENCE_S`.
        """
        async with asyncio.timeout(PATIENCE_S):
            while True:
                found = [
                    (at, text) for text in texts if (at := self.seen.find(text, self._at)) >= 0
                ]
                if found:
                    at, text = min(found)
                    self._at = at + len(text)
                    return text
                await self._look()

    async def wait_for_the_end(self) -> None:
        """Return when the other side has hung up.

        Raises:
            TimeoutError: it has not within `PATIENCE_S`.
        """
        with contextlib.suppress(LineDown):
            async with asyncio.timeout(PATIENCE_S):
                while True:
                    await self._look()

    async def type(self, data: bytes) -> None:
        """Send keys."""
        self._writer.write(data)
        await self._writer.drain()

    async def _look(self) -> None:
        data = await self._reader.read(4096)
        if not data:
            raise LineDown
        self.seen += data
        excess = max(0, len(self.seen) - SCREEN_BYTES_MAX)
        self.seen = self.seen[excess:]
        self._at = max(0, self._at - excess)


async def call(address: Address, behaviour: Behaviour, user: User, random: Random) -> Outcome:
    """Make one call and return how it ended."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            reader, writer = await asyncio.open_connection(*address)
    except (OSError, TimeoutError):
        return Outcome.NO_ANSWER
    screen = Screen(reader, writer)
    try:
        return await _behave(screen, behaviour, user, random)
    except (LineDown, OSError):
        if screen.seen.startswith(BUSY):
            return Outcome.BUSY
        return Outcome.REFUSED if REFUSED in screen.seen else Outcome.CUT_OFF
    except TimeoutError:
        return Outcome.NO_ANSWER
    finally:
        writer.transport.abort()


async def keep_calling(
    addresses: Sequence[Address], users: Sequence[User], outcomes: Counter[Outcome], random: Random
) -> None:
    """Call any of `addresses`, again and again, in any of the ways there are; count outcomes."""
    while True:
        behaviour = random.choice(list(Behaviour))
        outcomes[await call(random.choice(addresses), behaviour, random.choice(users), random)] += 1
        await asyncio.sleep(random.uniform(*PAUSE_S))


async def _behave(screen: Screen, behaviour: Behaviour, user: User, random: Random) -> Outcome:
    match behaviour:
        case Behaviour.GOOD | Behaviour.HANG_UP_ADMITTED:
            await _log_in(screen, user.name, user.password)
            if await screen.expect(ADMITTED, REFUSED) == REFUSED:
                return Outcome.REFUSED
            if behaviour is Behaviour.GOOD:
                await _look_around(screen)
            return Outcome.ADMITTED
        case Behaviour.BAD:
            while True:
                await _log_in(screen, user.name, f"{user.password}{random.randrange(10)}")
        case Behaviour.HANG_UP_RINGING:
            await asyncio.sleep(random.random() / 2)
        case Behaviour.HANG_UP_IN_CHECK:
            await _log_in(screen, user.name, user.password)
        case _:
            await _stop_short(screen, behaviour, user, random)
    return Outcome.HUNG_UP


async def _stop_short(screen: Screen, behaviour: Behaviour, user: User, random: Random) -> None:
    """Get no further than the prompts."""
    await screen.expect(LOGIN)
    match behaviour:
        case Behaviour.SILENCE:
            await asyncio.sleep(SILENCE_S)
        case Behaviour.GARBAGE:
            await screen.type(random.randbytes(2000))
            await asyncio.sleep(random.random())
        case Behaviour.HANG_UP_AT_SECOND:
            await screen.type(f"{user.name}\r".encode())
            await screen.expect(PASSWORD)
        case _:
            pass


async def _look_around(screen: Screen) -> None:
    await screen.type(b"status\r")
    await screen.expect(ADMITTED)
    await screen.type(b"quit\r")
    await screen.wait_for_the_end()


async def _log_in(screen: Screen, name: str, password: str) -> None:
    await screen.expect(LOGIN)
    await screen.type(f"{name}\r".encode())
    await screen.expect(PASSWORD)
    await screen.type(f"{password}\r".encode())
