"""What each process does on each input, asked once: a process in one state is a small number.

A process's answer depends on nothing but its state and the input, and five processes have far fewer
states each than states together; the real cores run only for what has not been asked before, and
the rest of the search is about numbers.

Invariant: one number is one state that `Teller` tells apart from every other.
"""

from __future__ import annotations

from typing import Any, Final, Generic, NamedTuple, TypeVar

from dialgate.wire.envelope import decode_frame
from dialgate.wire.verbs import Verb
from tests.simulator.small_world.parts import (
    WORKERS,
    Attempt,
    Broken,
    Facts,
    Input,
    Part,
    Said,
)
from tests.simulator.small_world.told import Teller, frozen, thaw

__all__ = ["ABSENT", "END", "NOBODY", "Channel", "Move", "Numbers", "Parts", "begins_in", "renamed"]

NOBODY: Final = 0
"""Number of a process that is not up."""
END: Final = b""
"""In a channel: the session is over, which this end learns now."""
V, W = (name.encode() for name in WORKERS)
BETWEEN: Final = b"worker-?"

T = TypeVar("T")


def renamed(data: bytes) -> bytes:
    """Return bytes with the two workers' names exchanged."""
    return data.replace(V, BETWEEN).replace(W, V).replace(BETWEEN, W)


class Channel(NamedTuple):
    """A session: what is under way on it in both directions."""

    is_open: bool
    """Whether what is sent gets under way."""
    up: tuple[bytes, ...] = ()
    """To the broker."""
    down: tuple[bytes, ...] = ()


ABSENT: Final = Channel(is_open=False)


def begins_in(messages: tuple[bytes, ...]) -> frozenset[Attempt]:
    """Return the dialogs and attempts of the BEGINs among messages."""
    found = set()
    for message in messages:
        if message != END:
            [(verb, dialog, attempt, _, _)], _ = decode_frame(message)
            if verb == Verb.BEGIN and dialog is not None:
                found.add((dialog, attempt))
    return frozenset(found)


class Numbers(Generic[T]):
    """Gives values numbers, from 0 on."""

    def __init__(self, *first: T) -> None:
        self.values: list[T] = []
        self._numbers: dict[T, int] = {}
        for value in first:
            self.of(value)

    def of(self, value: T) -> int:
        """Return the number of a value."""
        number = self._numbers.get(value)
        if number is None:
            number = self._numbers[value] = len(self.values)
            self.values.append(value)
        return number


class Move(NamedTuple):
    """What an input leads to."""

    after: int
    said: tuple[Said, ...]
    broken: str = ""
    """A rule that does not hold."""


class Parts:
    """All states of processes that were come to.

    Args:
        is_whole: tell all states apart, and forget nothing.
    """

    def __init__(self, *, is_whole: bool = False) -> None:
        self.facts: list[Facts] = [Facts()]
        self._teller = Teller(is_whole=is_whole)
        self._settles = not is_whole
        self._frozen: list[bytes] = [b""]
        self._numbers: dict[bytes, int] = {}
        self._moves: dict[tuple[int, Input], Move] = {}
        self._renamed: dict[int, int] = {NOBODY: NOBODY}

    def of(self, part: Part) -> int:
        """Return the number of a process's state."""
        if self._settles:
            part.settle()
        told = self._teller.told(part, part.now)
        number = self._numbers.get(told)
        if number is None:
            number = self._numbers[told] = len(self.facts)
            self.facts.append(part.facts())
            self._frozen.append(frozen(part))
        return number

    def move(self, number: int, what: Input) -> Move:
        """Return what an input leads to."""
        known = self._moves.get((number, what))
        if known is None:
            known = self._moves[number, what] = self._ask(thaw(self._frozen[number]), what)
        return known

    def renamed(self, number: int) -> int:
        """Return the state with the workers' names exchanged."""
        other = self._renamed.get(number)
        if other is None:
            other = self.of(thaw(renamed(self._frozen[number])))
            self._renamed[number], self._renamed[other] = other, number
        return other

    def _ask(self, part: Any, what: Input) -> Move:
        try:
            part.take(what)
        except Broken as broken:
            return Move(NOBODY, (), str(broken))
        said, part.said = tuple(part.said), []
        after = self.of(part)
        return Move(after, said, self.facts[after].fault)
