"""The registry: which peers have a session, from HELLO to its end (protocol §3).

    HELLO ──> welcomed ──> PING after a heartbeat in which we sent nothing
      │                └─> over: BYE, a newer session of the same process, three heartbeats of
      │                    silence, a failed send, too many errors, a key revoked, broker stopped
      ├──> refused: ERROR 50 another protocol, 5 wrong role or key, 183 not higher or not the first
      │                   170 name in use, or more sessions than there may be
      └──> the name is in use by another process: that one is asked with PING, this one waits a
           heartbeat at most

Sans-IO.  Not here: what sessions say of dialogs (broker.switchboard), of ports (broker.board).

Invariant: one session a connection, one a name and role, one an instance.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final, NamedTuple

from broker.breach import Breach, as_breach
from broker.conduct import Conduct
from broker.counts import Counts, Drop
from broker.limits import SILENT_HEARTBEATS, BrokerLimits
from broker.post import Post
from broker.replies import BUSY, DENIED, INVALID, NOBODY
from broker.sessions import AgentSession, Over, Revoked, Right, Session, WorkerSession
from dialgate.codes import Code, Winerror
from dialgate.errors import ProtocolError
from dialgate.wire.bodies import Hello, Ping, Welcome
from dialgate.wire.body_codec import decode_body, decode_map, encode
from dialgate.wire.envelope import Envelope
from dialgate.wire.limits import BODY_BYTES_MAX, FRAME_BYTES_MAX, PROTOCOL
from dialgate.wire.verbs import Role, Verb

__all__ = ["Registry"]

OTHER_PROTOCOL: Final = Winerror.ERROR_NOT_SUPPORTED.code
NOT_FIRST: Final = Winerror.ERROR_ALREADY_EXISTS.code

HELLO: Final = int(Verb.HELLO)

LIVENESS_FRACTION: Final = 0.1
"""In heartbeats: how much later than the first is due sessions are looked through, so at most that
often.  A peer whose own PING is on its way is then spared ours."""


class _Known(NamedTuple):
    """The last session that used a name."""

    connection: bytes
    instance: bytes
    number: int

    def is_repeated_by(self, connection: bytes, hello: Hello) -> bool:
        """Return whether `hello` is one that the same process can't have meant to send now."""
        not_higher = self.instance == hello.instance and hello.session <= self.number
        return not_higher or self.connection == connection


class _Newcomer(NamedTuple):
    """A HELLO that waits for a sign of life of the session that has its name."""

    connection: bytes
    hello: Hello
    right: Right | Revoked | None
    asked_at: float
    """When the other session was sent PING."""

    def is_repeated_by(self, other: _Newcomer) -> bool:
        """Return whether `other` is no newer HELLO of the same process."""
        known = _Known(self.connection, self.hello.instance, self.hello.session)
        return known.is_repeated_by(other.connection, other.hello)


class Registry:
    """All sessions of one broker."""

    def __init__(
        self,
        limits: BrokerLimits,
        counts: Counts,
        *,
        name: str,
        instance: bytes,
    ) -> None:
        self.sessions: Final[dict[Role, dict[bytes, Session]]] = {Role.AGENT: {}, Role.WORKER: {}}
        """By connection."""
        self.by_name: Final[dict[Role, dict[str, Session]]] = {Role.AGENT: {}, Role.WORKER: {}}
        self.post: Final = Post(self.sessions)
        self.opened: Callable[[Session, float], None] = _ignore_opened
        """Called after WELCOME, before anything else of that session."""
        self.closed: Callable[[Session, Over, float], None] = _ignore_closed
        """Called once a session is in no table any more."""
        self._limits = limits
        self._heartbeat_s = limits.heartbeat_ms / 1000
        self._counts = counts
        self._conduct = Conduct(limits)
        self._known: dict[Role, dict[str, _Known]] = {Role.AGENT: {}, Role.WORKER: {}}
        self._instances: dict[bytes, Session] = {}
        self._newcomers: dict[tuple[Role, str], _Newcomer] = {}
        self._look_at = math.inf
        self._welcome = encode(
            Verb.WELCOME,
            Welcome(
                protocol=PROTOCOL,
                name=name,
                instance=instance,
                heartbeat_ms=limits.heartbeat_ms,
                end_lease_ms=limits.end_lease_ms,
                queue_timeout_ms=limits.queue_timeout_ms,
                frame_bytes_max=FRAME_BYTES_MAX,
                body_bytes_max=BODY_BYTES_MAX,
            ),
        )

    # ------------------------------------------------------------------ HELLO

    def greet(
        self,
        role: Role,
        connection: bytes,
        messages: list[Envelope],
        fault: str,
        right: Right | Revoked | None,
        now: float,
    ) -> Session | None:
        """Handle a frame that came by a connection without a session.

        If it begins with a HELLO that is welcomed, the rest is for the caller to handle.

        Returns:
            the new session, if there is one.
        """
        if self._conduct.is_penalised(_peer(connection, right), now):
            self._counts.drops[Drop.PENALTY] += 1
            return None
        session = None
        if messages and messages[0][0] == HELLO:
            self._counts.received[role][HELLO] += 1
            try:
                session = self._hello(role, connection, messages[0][3], right, now)
            except ProtocolError as error:
                self.answer(as_breach(error, HELLO), role, connection, right, now)
        else:
            self._counts.drops[Drop.NO_SESSION] += 1
            self.post.no_session(role, connection, NOBODY)
        if session is None and fault:
            self.malformed(fault, role, connection, right, now)
        return session

    def _hello(
        self,
        role: Role,
        connection: bytes,
        body: bytes,
        right: Right | Revoked | None,
        now: float,
    ) -> Session | None:
        protocol = decode_map(body).get("protocol")
        if type(protocol) is int and protocol != PROTOCOL:
            # Before its fields are judged: another protocol may have others.
            self._refuse(role, connection, OTHER_PROTOCOL, f"this broker speaks DSP/{PROTOCOL}")
            return None
        hello = decode_body(body, Hello)
        if hello.role != role.value:
            raise Breach(DENIED, "wrong role", f"HELLO: this endpoint is for {role}s")
        _check_right(right, role, hello.name, hello.site or "")
        known = self._known[role].get(hello.name)
        if known is not None and known.is_repeated_by(connection, hello):
            text = f"HELLO: session {known.number} of this process was here before"
            self._refuse(role, connection, NOT_FIRST, text)
            return None
        namesake = self._instances.get(hello.instance)
        if namesake is not None and (namesake.role, namesake.name) != (role, hello.name):
            text = f"HELLO: this instance has a session as {namesake.name}"
            self._refuse(role, connection, NOT_FIRST, text)
            return None
        current = self.by_name[role].get(hello.name)
        if current is not None and current.instance != hello.instance:
            self._contest(current, _Newcomer(connection, hello, right, now))
            return None
        if current is not None:
            self.end(current, Over.NEWER, now)
        elif len(self.sessions[role]) >= self._limits.sessions_max:
            self._refuse(role, connection, BUSY, f"HELLO: {self._limits.sessions_max} {role}s here")
            return None
        return self._open(connection, hello, right, now)

    def _open(
        self, connection: bytes, hello: Hello, right: Right | Revoked | None, now: float
    ) -> Session:
        kind = AgentSession if hello.role == "agent" else WorkerSession
        session = kind(connection, hello, right, now)
        role = session.role
        self.sessions[role][connection] = session
        self.by_name[role][session.name] = session
        self._instances[session.instance] = session
        self._remember(session)
        self._look_at = min(self._look_at, now + self._heartbeat_s)
        self.post.send(session, self._welcome)
        self.opened(session, now)
        return session

    def _remember(self, session: Session) -> None:
        known = self._known[session.role]
        known.pop(session.name, None)
        if len(known) >= self._limits.names_max:
            here = self.by_name[session.role]
            known.pop(next((name for name in known if name not in here), session.name), None)
        known[session.name] = _Known(session.connection, session.instance, session.number)

    def _contest(self, current: Session, newcomer: _Newcomer) -> None:
        """Ask whoever has the name whether he lives, once, whoever wants it."""
        role, hello = current.role, newcomer.hello
        waiting = self._newcomers.get((role, hello.name))
        if waiting is not None and waiting.is_repeated_by(newcomer):
            self._refuse(role, newcomer.connection, NOT_FIRST, "HELLO: one of this process waits")
            return
        if waiting is not None and waiting.hello.instance != hello.instance:
            self._refuse_name(role, newcomer)
            return
        if waiting is None:
            self._counts.names_contested += 1
            self.post.send(current, encode(Verb.PING, Ping(sent_ms=int(newcomer.asked_at * 1000))))
        else:
            newcomer = newcomer._replace(asked_at=waiting.asked_at)
        self._newcomers[role, hello.name] = newcomer

    def _settle(self, role: Role, name: str, now: float) -> None:
        """Let the newcomer in, or not, once it is known whether the other lives."""
        newcomer = self._newcomers.pop((role, name))
        current = self.by_name[role].get(name)
        if current is not None and current.heard_at > newcomer.asked_at:
            self._refuse_name(role, newcomer)
            return
        if current is not None:
            self.end(current, Over.SILENCE, now)
        self._open(newcomer.connection, newcomer.hello, newcomer.right, now)

    def _refuse_name(self, role: Role, newcomer: _Newcomer) -> None:
        text = f"HELLO: another process is here as {newcomer.hello.name}"
        self._refuse(role, newcomer.connection, BUSY, text)

    def _refuse(self, role: Role, connection: bytes, code: Code, text: str) -> None:
        self._counts.hellos_refused[role, code.number] += 1
        self.post.error(role, connection, code, text)

    # ------------------------------------------------------------------ life

    def recheck(self, session: Session, right: Right | Revoked | None, now: float) -> bool:
        """Hold a session against what its sender's key may now; return whether it goes on."""
        try:
            site = session.site if isinstance(session, AgentSession) else ""
            _check_right(right, session.role, session.name, site)
        except Breach as breach:
            self.end(session, Over.REVOKED, now, breach.code)
            return False
        session.right = right
        return True

    def end(self, session: Session, why: Over, now: float, bye: Code | None = None) -> None:
        """End a session, with BYE if there is somebody to tell."""
        if session.is_over:
            return
        session.is_over = True
        role = session.role
        if bye is not None:
            self.post.bye(role, session.connection, bye)
        del self.sessions[role][session.connection]
        del self.by_name[role][session.name]
        del self._instances[session.instance]
        self._counts.sessions_over[role, why] += 1
        self.closed(session, why, now)
        if (role, session.name) in self._newcomers and why is not Over.NEWER:
            self._settle(role, session.name, now)

    def answer(
        self,
        breach: Breach,
        role: Role,
        connection: bytes,
        right: Right | Revoked | None,
        now: float,
    ) -> None:
        """Send ERROR, and BYE if it was one too many."""
        session = self.sessions[role].get(connection)
        self._counts.errors[role, breach.reason] += 1
        if session is not None:
            session.faults[breach.reason] = session.faults.get(breach.reason, 0) + 1
        self.post.error(role, connection, breach.code, str(breach))
        if not self._conduct.erred(_peer(connection, right), now):
            return
        self._counts.penalties[role] += 1
        if session is None:
            self.post.bye(role, connection, INVALID)
        else:
            self.end(session, Over.ERRORS, now, INVALID)

    def malformed(
        self,
        fault: str,
        role: Role,
        connection: bytes,
        right: Right | Revoked | None,
        now: float,
    ) -> None:
        """Answer a frame's first fault; `fault` is one of decode_frame's reasons."""
        self._counts.malformed[role, fault] += 1
        self.answer(Breach(INVALID, "malformed", fault), role, connection, right, now)

    def tick(self, now: float) -> None:
        """Ping who was not sent anything for a heartbeat; give up who was silent for three."""
        for (role, name), newcomer in list(self._newcomers.items()):
            if now >= newcomer.asked_at + self._heartbeat_s:
                self._settle(role, name, now)
        if now < self._look_at:
            return
        heartbeat_s, silence_s = self._heartbeat_s, SILENT_HEARTBEATS * self._heartbeat_s
        look_at = now + heartbeat_s
        for sessions in self.sessions.values():
            for session in list(sessions.values()):
                if now >= session.heard_at + silence_s:
                    self.end(session, Over.SILENCE, now)
                    continue
                if now >= session.sent_at + heartbeat_s:
                    self.post.send(session, encode(Verb.PING, Ping(sent_ms=int(now * 1000))))
                look_at = min(look_at, session.sent_at + heartbeat_s, session.heard_at + silence_s)
        self._look_at = look_at + LIVENESS_FRACTION * heartbeat_s
        if not any(self.sessions.values()):
            self._look_at = math.inf

    def deadline(self) -> float:
        """Return when `tick` is next of use; `math.inf` if never."""
        if not self._newcomers:
            return self._look_at
        asked = min(newcomer.asked_at for newcomer in self._newcomers.values())
        return min(self._look_at, asked + self._heartbeat_s)


def _check_right(right: Right | Revoked | None, role: Role, name: str, site: str) -> None:
    """Hold who speaks against what the key may; without keys there is nothing to check.

    Raises:
        Breach: the key is revoked, or stands for somebody else.
    """
    if right is None:
        return
    if isinstance(right, Revoked):
        raise Breach(DENIED, "key revoked", "the key of this connection is not known any more")
    if (right.role, right.name) != (role, name):
        raise Breach(DENIED, "not its key", f"the key of this connection is not {name}'s")
    if role is Role.AGENT and not right.may_be_at(site):
        raise Breach(DENIED, "not its key", f"the key of this connection is not one of site {site}")


def _peer(connection: bytes, right: Right | Revoked | None) -> str | bytes:
    return connection if right is None or isinstance(right, Revoked) else right.key


def _ignore_opened(_session: Session, _now: float) -> None:
    pass


def _ignore_closed(_session: Session, _why: Over, _now: float) -> None:
    pass
