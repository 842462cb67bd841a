"""What the worker's core tells its shell to do, in the order in which it is to be done."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from msgspec import Struct

from dialgate.codes import Code
from dialgate.enums import direct_members
from dialgate.session import Transmit
from dialgate.wire.bodies import Begin, Facts

__all__ = [
    "Action",
    "Answer",
    "CancelTask",
    "Concluded",
    "Info",
    "Leave",
    "Outcome",
    "Replied",
    "StartTask",
    "Transmit",
    "Unplug",
]


@direct_members
class Outcome(Enum):
    """What became of a task: the values of a metric's label."""

    SUCCESS = "success"
    FAILURE = "failure"
    ERROR = "error"
    ENDED = "ended"
    """END came before a verdict: mostly the caller hung up."""
    LOST = "lost"
    """Its session was over, and the dialog went on elsewhere or not at all."""
    SUPERSEDED = "superseded"
    """A later attempt of the dialog began anew."""


class Info(NamedTuple):
    """GetInfo of the contract (RAS_SECURITY_INFO)."""

    last_error: Code
    """600 while a Receive runs, then its status; 0 before the first."""
    bytes_received: int
    """Of the last Receive."""
    device_name: str


class StartTask(Struct, frozen=True, gc=False):
    """Begin: start a task that conducts this dialog, and return at once."""

    task: int
    """Names this task in everything it asks; never used twice by a process."""
    dialog: bytes
    attempt: int
    begin: Begin
    facts: Facts


class CancelTask(Struct, frozen=True, gc=False):
    """Stop the task; say `finished` when its clean-up is through."""

    task: int
    why: Code


@dataclass(frozen=True, slots=True)
class Unplug:
    """The dialog is over, but its task asked to delay that: nothing more comes from the caller."""

    task: int
    why: Code


class Answer(Struct, frozen=True, gc=False):
    """The Receive that runs is over."""

    task: int
    status: Code
    data: bytes

    def __repr__(self) -> str:
        """Name the answer's length only: it may be a password."""
        return f"Answer({self.task}, {self.status}, <{len(self.data)} bytes>)"


class Concluded(Struct, frozen=True, gc=False):
    """A task has come to its outcome; once a task, for logs and metrics."""

    task: int
    outcome: Outcome
    code: Code
    user: str
    duration_s: float


class Replied(Struct, frozen=True, gc=False):
    """END_REPLY went out for a dialog that was here; for metrics."""

    after_s: float


@dataclass(frozen=True, slots=True)
class Leave:
    """Nothing is left to do: say BYE to every broker and open no session any more."""

    code: Code


Action = Transmit | StartTask | CancelTask | Unplug | Answer | Concluded | Replied | Leave
