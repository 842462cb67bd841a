"""A peer's side of its sessions with one broker endpoint (docs/protocol.md §3).

    STOPPED --start--> WAITING --retry time--> GREETING --WELCOME--> OPEN
       ^                  ^                        |                   |
       |                  +---- refused, 3 s over -+--- silence, BYE, -+
       +---- stop ------------------------------------- failed send, LOST

Sans-IO, and the same for agents and workers: `start`, `receive`, `send_failed` and `tick` return,
in order, what happened; `connect_wanted` and `take_frames` tell the shell what to do.  The dialogs
are the owner's business, not this module's.

Invariant: a session is one connection.  Every HELLO goes out on a fresh socket, nothing but HELLO
is sent before WELCOME, and once a session is over nothing of it is sent or delivered any more.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from msgspec import Struct

from dialgate.codes import Code, Winerror
from dialgate.enums import direct_members
from dialgate.errors import BodyError
from dialgate.wire.bodies import Bye, Error, Lost, Ping, Welcome
from dialgate.wire.body_codec import decode_body, encode
from dialgate.wire.envelope import Envelope, decode_frame, pack_frames
from dialgate.wire.limits import PROTOCOL
from dialgate.wire.verbs import FROM_BROKER, Role, Verb

__all__ = [
    "CloseLink",
    "CloseSession",
    "OpenLink",
    "PeerSession",
    "SessionClosed",
    "SessionEvent",
    "SessionOpened",
    "SessionState",
    "Transmit",
]

WELCOME_S_MAX: Final = 3.0
"""How long a HELLO waits for WELCOME or ERROR (protocol §3)."""
RETRY_S_MIN: Final = 0.25
"""Base of the back-off between sessions; doubled by each one that was not welcomed."""
RETRY_S_MAX: Final = 8.0
SILENT_HEARTBEATS: Final = 3
"""Heartbeats of silence after which the broker counts as lost."""


@direct_members
class SessionState(Enum):
    """Where a link stands."""

    STOPPED = "stopped"
    WAITING = "waiting"
    GREETING = "greeting"
    OPEN = "open"


# What a core of dialogs asks of its links.


@dataclass(frozen=True, slots=True)
class OpenLink:
    """Open a session with this broker endpoint, and again whenever one is over."""

    link: str


@dataclass(frozen=True, slots=True)
class CloseLink:
    """Stop trying that endpoint."""

    link: str
    stops: bool = False
    """Whether this process ends with it, in order."""


class Transmit(Struct, frozen=True, gc=False):
    """Send an encoded message on a session.  If it is over, the message is dropped."""

    session: int
    message: bytes


@dataclass(frozen=True, slots=True)
class CloseSession:
    """End a session with BYE; no `SessionClosed` follows."""

    session: int
    code: Code


# What a link tells it.


@dataclass(frozen=True, slots=True)
class SessionOpened:
    """The broker welcomed session `session`."""

    link: str
    session: int
    welcome: Welcome


@dataclass(frozen=True, slots=True)
class SessionClosed:
    """A session that had been opened is over."""

    link: str
    session: int
    code: Code


SessionEvent = SessionOpened | SessionClosed | Envelope


class PeerSession:
    """The sessions of one peer with one broker endpoint, one after the other.

    Args:
        link: the endpoint's address, as configured.
        role: this peer's role.
        hello: makes the HELLO message for a session number.
        next_session: gives the next session number; it rises over all links of the process.
        jitter: gives a number in [0, 1) that spreads the retries of many peers.
    """

    def __init__(
        self,
        link: str,
        role: Role,
        *,
        hello: Callable[[int], bytes],
        next_session: Callable[[], int],
        jitter: Callable[[], float],
    ) -> None:
        self.link = link
        self.state = SessionState.STOPPED
        self.session = 0
        """Number of the session that is greeting or open."""
        self.connect_wanted = False
        """The shell must close the socket it has and connect a fresh one, then clear this."""
        self.refusal = ""
        """Why the last HELLO was not welcomed; empty after a WELCOME."""
        self.losses: dict[str, int] = {}
        """Sessions that ended, by reason."""
        self.drops: dict[str, int] = {}
        """Messages and frames of the broker that were dropped, by reason."""
        self._accepted = FROM_BROKER[role]
        self._hello = hello
        self._next_session = next_session
        self._jitter = jitter
        self._outbox: list[bytes] = []
        self._failures = 0
        self._heartbeat_s = 1.0
        self._heard_at = 0.0
        self._sent_at = 0.0
        self._retry_at = 0.0

    def connected(self) -> bool:
        """Whether the shell should hold a socket."""
        return self.state is SessionState.OPEN or self.state is SessionState.GREETING

    def start(self, now: float) -> None:
        """Begin to open sessions; without effect on a link that does."""
        if self.state is SessionState.STOPPED:
            self._failures = 0
            self._greet(now)

    def stop(self, code: Code, *, stops: bool = False) -> None:
        """Say BYE if a session is open, and open none any more.  No event follows.

        Args:
            code: why.
            stops: this process ends, in order.
        """
        if self.state is SessionState.OPEN:
            bye = Bye(code=code, stops=True) if stops else Bye(code=code)
            self._outbox.append(encode(Verb.BYE, bye))
        else:
            self._outbox.clear()
        self.state = SessionState.STOPPED

    def close_session(self, code: Code, now: float) -> None:
        """Say BYE and open a new session after the usual wait.  No event follows."""
        if self.state is SessionState.OPEN:
            self._outbox.append(encode(Verb.BYE, Bye(code=code)))
            self._failures = 0
            self._wait(now)

    def send(self, message: bytes) -> int:
        """Queue `message`; return how many are queued, or 0 if no session is open to carry it."""
        if self.state is not SessionState.OPEN:
            return 0
        self._outbox.append(message)
        return len(self._outbox)

    def take_frames(self, now: float) -> list[bytes]:
        """Return what is to be sent now, packed, and forget it."""
        if not self._outbox:
            return []
        frames = pack_frames(self._outbox)
        self._outbox.clear()
        self._sent_at = now
        return frames

    def receive(self, frame: bytes, now: float) -> list[SessionEvent]:
        """Return what `frame` means to the owner, in order."""
        if not self.connected():
            return []
        self._heard_at = now
        messages, fault = decode_frame(frame)
        if fault:
            self._drop(fault)
        if self.state is SessionState.OPEN:
            # The hot path: nothing but dialogs, and nothing for this module to do.
            accepted = self._accepted
            dialogs: list[SessionEvent] = [
                m for m in messages if m[1] is not None and m[0] in accepted
            ]
            if len(dialogs) == len(messages):
                return dialogs
        events: list[SessionEvent] = []
        for message in messages:
            events.extend(self._handle(message, now))
            if not self.connected():
                break
        return events

    def send_failed(self, now: float) -> list[SessionEvent]:
        """Take notice that a frame could not be sent: the session is over."""
        return self._lose("send failed", Winerror.ERROR_CONNECTION_ABORTED.code, now)

    def tick(self, now: float) -> list[SessionEvent]:
        """Do what time asks for: greet, ping, or give the session up."""
        if self.state is SessionState.WAITING and now >= self._retry_at:
            self._greet(now)
        elif self.state is SessionState.GREETING and now >= self._sent_at + WELCOME_S_MAX:
            self.refusal = f"no WELCOME within {WELCOME_S_MAX:g} s"
            return self._lose("no welcome", Winerror.ERROR_TIMEOUT.code, now)
        elif self.state is SessionState.OPEN:
            if now >= self._heard_at + SILENT_HEARTBEATS * self._heartbeat_s:
                return self._lose("silence", Winerror.ERROR_TIMEOUT.code, now)
            if now >= self._sent_at + self._heartbeat_s and not self._outbox:
                self._outbox.append(encode(Verb.PING, Ping(sent_ms=int(now * 1000))))
        return []

    def deadline(self) -> float:
        """Return when `tick` is next of use; `math.inf` if never."""
        if self.state is SessionState.WAITING:
            return self._retry_at
        if self.state is SessionState.GREETING:
            return self._sent_at + WELCOME_S_MAX
        if self.state is SessionState.OPEN:
            return min(
                self._sent_at + self._heartbeat_s,
                self._heard_at + SILENT_HEARTBEATS * self._heartbeat_s,
            )
        return math.inf

    def _greet(self, now: float) -> None:
        self.session = self._next_session()
        self.state = SessionState.GREETING
        self.connect_wanted = True
        self._outbox = [self._hello(self.session)]
        self._sent_at = self._heard_at = now

    def _wait(self, now: float) -> None:
        self.state = SessionState.WAITING
        back_off_s = min(RETRY_S_MIN * 2**self._failures, RETRY_S_MAX)
        self._retry_at = now + back_off_s * (0.5 + self._jitter() / 2)

    def _lose(self, reason: str, code: Code, now: float) -> list[SessionEvent]:
        if not self.connected():
            return []
        was_open = self.state is SessionState.OPEN
        self._failures = 0 if was_open else min(self._failures + 1, 16)
        self.losses[reason] = self.losses.get(reason, 0) + 1
        self._outbox.clear()
        self._wait(now)
        return [SessionClosed(self.link, self.session, code)] if was_open else []

    def _drop(self, reason: str) -> None:
        self.drops[reason] = self.drops.get(reason, 0) + 1

    def _handle(self, message: Envelope, now: float) -> Iterable[SessionEvent]:
        verb, dialog, _attempt, body, _raw = message
        if verb not in self._accepted:
            self._drop("unexpected verb" if verb in Verb._value2member_map_ else "unknown verb")
            return ()
        try:
            if self.state is SessionState.GREETING:
                return self._handle_greeting(verb, body, now)
            if verb == Verb.PING:
                ping = decode_body(body, Ping)
                self._outbox.append(encode(Verb.PONG, ping))
                return ()
            if verb == Verb.BYE:
                return self._lose("bye", decode_body(body, Bye).code, now)
            if verb == Verb.LOST and dialog is None:
                return self._lose("no session at broker", decode_body(body, Lost).code, now)
        except BodyError:
            self._drop("bad body")
            return ()
        if verb in {Verb.PONG, Verb.WELCOME}:
            return ()
        return (message,)

    def _handle_greeting(self, verb: int, body: bytes, now: float) -> Iterable[SessionEvent]:
        if verb == Verb.ERROR:
            error = decode_body(body, Error)
            self.refusal = error.text
            return self._lose("refused", error.code, now)
        if verb in {Verb.LOST, Verb.BYE}:
            return self._lose("refused", Winerror.ERROR_CONNECTION_REFUSED.code, now)
        if verb != Verb.WELCOME:
            return ()
        welcome = decode_body(body, Welcome)
        if welcome.protocol != PROTOCOL:
            self.refusal = f"the broker speaks DSP/{welcome.protocol}"
            return self._lose("refused", Winerror.ERROR_NOT_SUPPORTED.code, now)
        self.state = SessionState.OPEN
        self.refusal = ""
        self._failures = 0
        self._heartbeat_s = welcome.heartbeat_ms / 1000
        return (SessionOpened(self.link, self.session, welcome),)
