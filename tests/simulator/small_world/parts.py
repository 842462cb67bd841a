"""A process of a small world: a real core, and around it what its shell would do.

`take` is one input at one moment; what the process then says is in `said`, by whom it is for.
Nothing but inputs leads from one state to another, so a process need not be asked twice what it
does.  What others may know of its state is in its `Facts`.

`small_world.site` has the agent's process, `node` the brokers', `desk` the workers'.

Invariants: a session's number is given again only when nothing of the old one is left; what nobody
can compare any more is forgotten (`settle`), so that states which differ by it are one.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from itertools import count
from typing import Any, Final, NamedTuple

__all__ = [
    "AGENT",
    "BROKERS",
    "WORKERS",
    "Attempt",
    "Broken",
    "Facts",
    "Input",
    "Part",
    "Said",
    "Word",
    "free_number",
]

AGENT: Final = "a"
BROKERS: Final = ("A", "B")
WORKERS: Final = ("worker-v", "worker-w")
"""Of one length and like nothing else that is said, so that one can be put in the other's place."""
MOMENT_S: Final = 1e-6
"""Times nearer to each other are one."""

Attempt = tuple[bytes, int]
"""A dialog and an attempt."""
Input = tuple[Any, ...]
"""What is done to a process, and with what."""


class Word(NamedTuple):
    """Something that a process says to those who look on, and not in a message."""

    kind: str
    """`closed`: an agent ends this session, behind what it has said; `credit`: look how many BEGINs
    a worker may be sent; `heard`: an agent has taken a worker's word."""
    dialog: bytes = b""
    attempt: int = 0
    worker: bytes = b""


Said = tuple[str, bytes | Word]
"""To whom, and the message."""


class Broken(Exception):
    """An invariant does not hold."""


class Facts(NamedTuple):
    """What others may know of a process in one state."""

    outline: tuple[Any, ...] = ()
    """The state in words that name neither workers nor times."""
    due_s: float = math.inf
    """When something of it is due, from now on."""
    fault: str = ""
    """A rule that does not hold."""
    unrest: str = ""
    """What there must not be while nothing is under way or due."""
    caller: int = 0
    links: tuple[str, ...] = ()
    """Sessions that an agent wants."""
    may_dial: bool = False
    may_answer: bool = False
    waits: bool = False
    """Whether a BEGIN is out, and the caller is asked nothing."""
    begun: Attempt | None = None
    """What an agent's dialog is at."""
    begins: frozenset[Attempt] = frozenset()
    """BEGINs that a broker holds and has given to nobody."""
    instance: bytes = bytes(16)
    remembers: frozenset[bytes] = frozenset()
    """Dialogs that are over at a worker, and whose attempt it remembers."""
    delayed: tuple[int, ...] = ()
    """Tasks whose END was answered 0."""
    is_kept: bool = False
    """Whether a worker keeps a task that nobody hears, for some time."""
    unspent: tuple[tuple[str, int], ...] = ()
    """By broker: the BEGINs that a worker may still be sent."""


class Part(ABC):
    """A process.  Its clock runs only when it is told so; only differences count."""

    def __init__(self) -> None:
        self.now = 0.0
        self.said: list[Said] = []

    @abstractmethod
    def take(self, what: Input) -> None:
        """Take an input.

        Raises:
            Broken: a rule does not hold.
        """

    @abstractmethod
    def due(self) -> float:
        """Return when something is due."""

    @abstractmethod
    def settle(self) -> None:
        """Forget what nobody can compare any more."""

    @abstractmethod
    def facts(self) -> Facts:
        """Return what others may know."""

    def pass_time(self, passed_s: float) -> None:
        """Let time pass; one's own deadline is met exactly."""
        self.now += passed_s
        due = self.due()
        if abs(due - self.now) < MOMENT_S:
            self.now = max(self.now, due)

    def due_s(self) -> float:
        """Return in how many seconds something is due."""
        return max(0.0, round(self.due() - self.now, 6))


def free_number(broker: str, used: set[int]) -> int:
    """Return a number for a session that is none of `used`: odd with A, even with B."""
    return next(n for n in count(1 + BROKERS.index(broker), len(BROKERS)) if n not in used)
