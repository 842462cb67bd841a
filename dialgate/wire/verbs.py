"""The closed table of verbs: what each means, where it may come from, what it belongs to.

Nothing is looked up by a name from the wire: a verb that is not here is counted and ignored, one
that its sender's role may not use is refused (docs/protocol.md §3).
"""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import Final

from dialgate.enums import direct_members

__all__ = [
    "DIALOG_VERBS",
    "FROM_AGENT",
    "FROM_BROKER",
    "FROM_WORKER",
    "SESSION_VERBS",
    "Role",
    "Verb",
]


@direct_members
class Role(StrEnum):
    """Who speaks."""

    AGENT = "agent"
    WORKER = "worker"
    BROKER = "broker"


@direct_members
class Verb(IntEnum):
    """DSP/1's verbs, numbered as on the wire (docs/protocol.md §4)."""

    HELLO = 1
    WELCOME = 2
    READY = 3
    PING = 4
    PONG = 5
    DRAIN = 6
    BYE = 7
    ERROR = 8
    LINES = 9
    COMMAND = 10
    COMMANDED = 11
    RECORD = 12
    RECORDED = 13
    BEGIN = 16
    REFUSED = 17
    SEND = 18
    RECEIVE = 19
    RECEIVED = 20
    COMPLETE = 21
    END = 22
    END_REPLY = 23
    LOST = 24


DIALOG_VERBS: Final = frozenset(range(Verb.BEGIN, Verb.LOST + 1))
"""Verbs that belong to a dialog and attempt.  LOST alone may also come with a nil dialog."""

SESSION_VERBS: Final = frozenset(range(Verb.HELLO, Verb.RECORDED + 1))
"""Verbs of a session: dialog nil, attempt 0."""

_BOTH: Final = frozenset({Verb.PING, Verb.PONG, Verb.BYE})

FROM_AGENT: Final = _BOTH | {
    Verb.HELLO,
    Verb.LINES,
    Verb.COMMANDED,
    Verb.RECORD,
    Verb.BEGIN,
    Verb.RECEIVED,
    Verb.END,
}
"""What a broker accepts from a port agent."""

FROM_WORKER: Final = _BOTH | {
    Verb.HELLO,
    Verb.READY,
    Verb.DRAIN,
    Verb.REFUSED,
    Verb.SEND,
    Verb.RECEIVE,
    Verb.COMPLETE,
    Verb.END_REPLY,
}
"""What a broker accepts from an auth worker."""

_FROM_BROKER: Final = _BOTH | {Verb.WELCOME, Verb.DRAIN, Verb.ERROR, Verb.LOST}

FROM_BROKER: Final = {
    Role.AGENT: _FROM_BROKER
    | {
        Verb.COMMAND,
        Verb.RECORDED,
        Verb.REFUSED,
        Verb.SEND,
        Verb.RECEIVE,
        Verb.COMPLETE,
        Verb.END_REPLY,
    },
    Role.WORKER: _FROM_BROKER | {Verb.BEGIN, Verb.RECEIVED, Verb.END},
}
"""What a peer of each role accepts from a broker."""
