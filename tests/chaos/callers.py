"""Scripted callers, who write down what they typed and saw.

A caller knows his line's number, a name and a password, and reads what the screen says: so he takes
a question that comes anew, after a fault, as a human would, and answers it.

Invariant: what lets a user in is not in the history, only whether it was right.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import count
from random import Random
from typing import Final

from dialgate.history import Dialled, Event, HungUp, Prompted, Saw, Typed

PATIENCE_S: Final = 60.0
"""How long a caller waits for the next word before he takes the line for stuck."""
BUSY_S: Final = 0.2
"""Pause of a caller who hears the busy tone."""
NUMBERS: Final = range(10_000, 32_000)
"""A caller's number is the TCP port that he calls from, below those that the system gives away."""

_SIGNS: Final = re.compile(rb"(login: )|(Password: )|(Login incorrect)|welcome (\w+)\.")
_NAME, _PASSWORD, _REFUSED, _WELCOME = range(1, 5)


class Act(StrEnum):
    """What a caller does."""

    GOOD = "the right password"
    SECOND_TRY = "a wrong password, then the right one"
    TYPE_AHEAD = "name and password at once"
    WRONG = "wrong passwords until he is hung up on"
    SILENT = "says nothing"
    HANG_UP_RINGING = "hangs up while it rings"
    HANG_UP_NAME = "hangs up at the first question"
    HANG_UP_PASSWORD = "hangs up at the second question"
    HANG_UP_HALF = "hangs up in the middle of his password"
    HANG_UP_CHECK = "hangs up while he is checked"
    HANG_UP_ONLINE = "hangs up in the session"


_IMPATIENT: Final = {
    _NAME: {Act.HANG_UP_NAME},
    _PASSWORD: {Act.HANG_UP_PASSWORD},
    _WELCOME: {Act.HANG_UP_ONLINE},
}
"""Who hangs up at the sight of what."""


@dataclass(frozen=True, slots=True)
class Wait:
    """How long a caller waited for the next word, on one line."""

    hport: str
    began_at: float
    ended_at: float


@dataclass(slots=True)
class Line:
    """A telephone number."""

    hport: str
    address: tuple[str, int]
    numbers: count[int] = field(default_factory=lambda: count(0))


@dataclass(slots=True)
class Callers:
    """All callers of a run, and what they have written.

    Args:
        users: names and passwords.
        random: chooses who does what.
        write: takes each event at once.
        choice: what they choose from.
        patience_s: how long they wait for the next word.
    """

    users: dict[str, str]
    random: Random
    write: Callable[[Event], None]
    choice: Sequence[Act]
    patience_s: float
    waits: list[Wait] = field(default_factory=list)
    acts: Counter[Act] = field(default_factory=Counter)
    admitted: int = 0
    """Callers who saw a service's greeting."""
    stopping: bool = False

    async def keep_calling(self, line: Line) -> None:
        """Call one line again and again, half of the time at once, until `stopping`."""
        while not self.stopping:
            await self.call(line, self.random.choice(self.choice))
            if self.random.random() < 0.5:
                await asyncio.sleep(self.random.uniform(0.0, 1.0))

    async def call(self, line: Line, act: Act) -> bool:
        """Make one call; return whether it got to a service."""
        self.acts[act] += 1
        one = _Call(self, line, act)
        return await one.make()


class _Call:
    """One call."""

    def __init__(self, callers: Callers, line: Line, act: Act) -> None:
        self._callers = callers
        self._line = line
        self._act = act
        self._random = callers.random
        self._name = callers.random.choice(list(callers.users))
        self._tries = 0
        self._caller = ""
        self._screen = b""
        self._since = 0.0
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter

    async def make(self) -> bool:
        await self._dial()
        admitted = False
        try:
            if self._act is Act.HANG_UP_RINGING:
                await asyncio.sleep(self._random.uniform(0.0, 0.3))
                return False
            while (sign := await self._look()) is not None:
                kind, text = sign
                if kind == _WELCOME:
                    admitted = True
                    self._callers.admitted += 1
                    self._callers.write(Saw(at=time.time(), caller=self._caller, call=text))
                if self._act in _IMPATIENT.get(kind, ()):
                    break
                if not await self._react(kind):
                    break
        except OSError:
            pass  # The line is down.
        finally:
            self._writer.transport.abort()
            self._callers.write(HungUp(at=time.time(), caller=self._caller))
        return admitted

    async def _dial(self) -> None:
        while True:
            number = NUMBERS[next(self._line.numbers) % len(NUMBERS)]
            self._caller = f"{self._line.hport}#{number}"
            self._since = time.time()
            try:
                self._reader, self._writer = await _connect(self._line.address, number)
            except OSError:  # The number is somebody else's, as likely as not.
                await asyncio.sleep(0.01)
                continue
            self._callers.write(
                Dialled(at=self._since, caller=self._caller, hport=self._line.hport)
            )
            return

    async def _look(self) -> tuple[int, str] | None:
        """Return the next sign on the screen; None when the line is down, or nothing comes."""
        while (found := _SIGNS.search(self._screen)) is None:
            try:
                async with asyncio.timeout(self._callers.patience_s):
                    data = await self._reader.read(4096)
            except TimeoutError:
                self._heard()
                return None
            self._heard()
            if not data:
                return None
            if data.startswith(b"BUSY") and not self._screen:
                await asyncio.sleep(BUSY_S)
                return None
            if not self._screen:
                self._callers.write(Prompted(at=time.time(), caller=self._caller))
            self._screen += data
        self._screen = b" " + self._screen[found.end() :]
        kind = found.lastindex
        assert kind is not None, "each sign is a group"
        return kind, found[kind].decode()

    def _heard(self) -> None:
        if self._since:
            self._callers.waits.append(Wait(self._line.hport, self._since, time.time()))
            self._since = 0.0

    async def _react(self, kind: int) -> bool:
        """Answer what stands on the screen; return False to hang up."""
        if kind == _NAME and self._act is not Act.SILENT:
            if self._act is Act.TYPE_AHEAD:
                await self._type(f"{self._name}\r{self._password()}\r")
            else:
                await self._type(f"{self._name}\r")
        elif kind == _PASSWORD and self._act is not Act.TYPE_AHEAD:
            if self._act is Act.HANG_UP_HALF:
                await self._type(self._callers.users[self._name][:4])
                return False
            await self._type(f"{self._password()}\r")
            if self._act is Act.HANG_UP_CHECK:
                await asyncio.sleep(self._random.uniform(0.0, 0.1))
                return False
        elif kind == _WELCOME:
            await asyncio.sleep(self._random.uniform(0.0, 1.0))
            await self._type("bye\r")
        return True

    def _password(self) -> str:
        """Return the answer that he gives now, and write down whether it is right."""
        self._tries += 1
        wrong = self._act is Act.WRONG or (self._act is Act.SECOND_TRY and self._tries == 1)
        self._callers.write(
            Typed(at=time.time(), caller=self._caller, user=self._name, right=not wrong)
        )
        return "not-that-one" if wrong else self._callers.users[self._name]

    async def _type(self, text: str) -> None:
        self._since = time.time()
        self._writer.write(text.encode())
        await self._writer.drain()


async def _connect(
    address: tuple[str, int], number: int
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect from a TCP port that other lines' callers may use as well.

    Raises:
        OSError: the port is in use, or nobody listens at `address`.
    """
    with contextlib.ExitStack() as stack:
        telephone = stack.enter_context(socket.socket())
        telephone.setblocking(False)
        telephone.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        telephone.bind(("127.0.0.1", number))
        await asyncio.get_running_loop().sock_connect(telephone, address)
        stack.pop_all()
    return await asyncio.open_connection(sock=telephone)
