"""What a port's dialog is told and what it asks for: the words of `dialog`.

Not the behaviour; that is `port_agents.dialog`.  `Transmit` (dialgate.session) and `Ask`
(port_agents.terminal) are its actions, too.

Invariant: plain values; nothing here shows an answer, a cookie or a verdict's attributes in `repr`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, Final

from msgspec import Struct

from dialgate.codes import NO_ERROR, Code
from dialgate.enums import direct_members
from dialgate.session import Transmit
from dialgate.wire.bodies import ERROR, FAILURE, SUCCESS, Complete, Facts, Welcome
from port_agents.terminal import Ask

__all__ = [
    "DEFAULTS",
    "Action",
    "CancelAsk",
    "Closed",
    "Decided",
    "Opening",
    "Phase",
    "Route",
    "Show",
    "Unserved",
    "Verdict",
]

_OUTCOMES: Final = {SUCCESS: "success", FAILURE: "failure", ERROR: "error"}


@dataclass(frozen=True, slots=True)
class Route:
    """A session that BEGINs can go by, with the numbers its broker stated in WELCOME."""

    session: int
    heartbeat_s: float = 1.0
    end_lease_s: float = 10.0
    queue_timeout_s: float = 10.0
    is_local: bool = False
    """Whether the broker is one on the site's own machine (`[agent] local_brokers`)."""

    @classmethod
    def welcomed(cls, session: int, welcome: Welcome, *, is_local: bool = False) -> Route:
        """Return the route of a session that `welcome` opened."""
        return cls(
            session,
            welcome.heartbeat_ms / 1000,
            welcome.end_lease_ms / 1000,
            welcome.queue_timeout_ms / 1000,
            is_local,
        )

    @property
    def lease_s(self) -> float:
        """How long END is waited on: the broker's lease, and time to hear of it or of its death."""
        return self.end_lease_s + 3 * self.heartbeat_s


DEFAULTS: Final = Route(session=0)
"""The numbers that hold before the first WELCOME; no session has number 0."""


@direct_members
class Phase(Enum):
    """Where a dialog stands."""

    WAITING = auto()
    """No BEGIN is outstanding; one will be sent when there is a session for it and it is time."""
    BEGUN = auto()
    CLEANING_UP = auto()
    """END(0) is out, a verdict was accepted."""
    ENDING = auto()
    """END with a reason is out."""
    DELAYED = auto()
    """END was answered 0: a COMPLETE is owed."""
    CLOSED = auto()


@dataclass(frozen=True, slots=True)
class Opening:
    """What BEGIN says of the call."""

    hport: str
    call: bytes
    facts: Facts
    pool: str = "default"


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a dialog was decided, by a worker or, where nobody could, as our own ERROR."""

    msg_id: int
    """SUCCESS, FAILURE or ERROR."""
    error: Code = NO_ERROR
    """Nonzero with ERROR only."""
    username: str = ""
    domain: str = ""
    attributes: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def given(cls, body: Complete) -> Verdict:
        """Return the verdict that a worker's COMPLETE holds."""
        return cls(body.msg_id, body.error, body.username, body.domain, body.attributes)

    @property
    def outcome(self) -> str:
        """One of success, failure, error."""
        return _OUTCOMES[self.msg_id]


class Show(Struct, frozen=True, gc=False):
    """Write the data of a SEND to the caller."""

    data: bytes

    def __repr__(self) -> str:
        """Name the data's length only."""
        return f"Show(<{len(self.data)} bytes>)"


class CancelAsk(Struct, frozen=True, gc=False):
    """Withdraw the open question from the caller."""


class Decided(Struct, frozen=True, gc=False):
    """There is a verdict.  On success wait for `Closed`; else say the last word and hang up."""

    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Unserved:
    """The broker has no worker, or no room: `move` the dialog to another broker, or `give_up`."""

    session: int
    """Of that broker."""
    code: Code


class Closed(Struct, frozen=True, gc=False):
    """The dialog is over; nothing of it counts any more."""

    handed_over: bool
    """Whether the line goes to its service now."""


Action = Transmit | Ask | Show | CancelAsk | Decided | Unserved | Closed
