"""Who is connected: the session records that the broker's cores share, and what a key may.

Records only: broker.registry opens and ends sessions, broker.dispatch spends a worker's credit,
broker.switchboard binds dialogs to sessions.

Invariant: a session that is `over` is in no table, so identity (`is`) tells whether a message comes
by the session that a dialog is bound to.
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar, Final, NamedTuple, Protocol

from dialgate.wire.bodies import Hello
from dialgate.wire.verbs import Role

__all__ = [
    "REVOKED",
    "AgentSession",
    "Over",
    "Revoked",
    "Right",
    "Session",
    "Turn",
    "WorkerSession",
]


class Right(Protocol):
    """What the holder of a CURVE key may be (protocol §7)."""

    @property
    def role(self) -> str:
        """Which role it is bound to."""

    @property
    def name(self) -> str:
        """The one name that it may use."""

    @property
    def key(self) -> str:
        """The public key."""

    def may_be_at(self, site: str) -> bool:
        """Return whether it may be an agent of `site`."""

    def may_speak_for(self, hport: str) -> bool:
        """Return whether it may have the port `hport`."""


class Revoked:
    """Stands where a right would, once the key is known no more."""


REVOKED: Final = Revoked()


class Over(StrEnum):
    """Why a session is over."""

    BYE = "bye"
    NEWER = "newer session"
    SILENCE = "silence"
    SEND_FAILED = "send failed"
    ERRORS = "errors"
    """It made `errors_max` errors: sent BYE."""
    REVOKED = "key revoked"
    STOPPED = "broker stopped"


class Session:
    """One connection that began with a HELLO we welcomed."""

    role: ClassVar[Role]
    __slots__ = (
        "connection",
        "faults",
        "heard_at",
        "instance",
        "is_over",
        "name",
        "number",
        "opened_at",
        "right",
        "sent_at",
        "version",
    )

    def __init__(
        self, connection: bytes, hello: Hello, right: Right | Revoked | None, now: float
    ) -> None:
        self.connection = connection
        """Routing id: where to send, never who it is."""
        self.name = hello.name
        self.instance = hello.instance
        self.number = hello.session
        self.version = hello.version
        self.right = right
        self.opened_at = self.heard_at = self.sent_at = now
        self.is_over = False
        self.faults: dict[str, int] = {}
        """Messages refused or dropped as this peer's own fault, by reason."""


class AgentSession(Session):
    """A port agent's session."""

    role = Role.AGENT
    __slots__ = ("hports", "listed", "site", "up_s", "warned")

    def __init__(
        self, connection: bytes, hello: Hello, right: Right | Revoked | None, now: float
    ) -> None:
        super().__init__(connection, hello, right, now)
        assert isinstance(hello.site, str), "an agent's HELLO has a site"
        self.site = hello.site
        self.up_s = hello.up_ms / 1000 if isinstance(hello.up_ms, int) else None
        """How long its process had run when it said HELLO; None: it did not say."""
        self.hports: set[str] = set()
        """Ports that count as this agent's."""
        self.warned: set[str] = set()
        """Ports for which it was told that another agent has them too."""
        self.listed: set[str] | None = set()
        """Ports named by LINES so far; None once the whole list was here."""

    def may_speak_for(self, hport: str) -> bool:
        """Return whether its key allows `hport`; without keys every port is."""
        right = self.right
        return right is None or (not isinstance(right, Revoked) and right.may_speak_for(hport))


class Turn(NamedTuple):
    """An agent's process has started, or ends in order."""

    agent: AgentSession
    started: bool
    ago_s: float = 0.0
    """How long ago that was."""


class WorkerSession(Session):
    """An auth worker's session."""

    role = Role.WORKER
    __slots__ = ("capacity", "credit", "is_draining", "pools", "sent", "used")

    def __init__(
        self, connection: bytes, hello: Hello, right: Right | Revoked | None, now: float
    ) -> None:
        super().__init__(connection, hello, right, now)
        assert isinstance(hello.capacity, int), "a worker's HELLO has a capacity"
        self.capacity = hello.capacity
        self.pools = hello.pools
        self.credit = 0
        """BEGINs that may have been sent in this session, in all."""
        self.sent = 0
        """BEGINs that were.  Those to an owner count too, so this may exceed `credit`."""
        self.used = 0
        """Place in the order of last use: the lower, the longer ago."""
        self.is_draining = False

    @property
    def room(self) -> int:
        """Credit left for a BEGIN that need not go to this worker; never below 0."""
        return 0 if self.is_draining else max(self.credit - self.sent, 0)
