"""The broker's core: one closed table of verbs a role, and who handles each (docs/protocol.md).

It composes what decides: registry (sessions), switchboard (dialogs), board (observers), commands
(operators), receipts (records of calls).  Messages and `now` in; what is to be sent lies in
`outbox_agents` and `outbox_workers` afterwards, by connection and in order.  The loop around it
sends and empties them.

The budget is about a microsecond a message: SEND, RECEIVE, RECEIVED and COMPLETE cost one look-up
by dialog and a few comparisons, and nothing of them is decoded.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Final

from broker.board import Board
from broker.breach import Breach, as_breach
from broker.commands import Commands
from broker.counts import Counts, Drop
from broker.dispatch import Workers
from broker.limits import BrokerLimits
from broker.receipts import Receipt, Receipts
from broker.registry import Registry
from broker.replies import DENIED
from broker.sessions import AgentSession, Over, Revoked, Right, Session, Turn, WorkerSession
from broker.switchboard import DialogMessage, Switchboard
from dialgate.codes import Winerror
from dialgate.errors import ProtocolError
from dialgate.wire.bodies import Bye, Command, Commanded, Drain, Lines, Ping, Ready
from dialgate.wire.body_codec import decode_body, encode
from dialgate.wire.envelope import Envelope
from dialgate.wire.verbs import FROM_AGENT, FROM_WORKER, Role, Verb

__all__ = ["Broker"]

Handler = Callable[[Any, Any, float], None]
"""Takes session, message and now.  One of a session verb takes an `Envelope`, one of a dialog verb
a `DialogMessage`: the envelope codec has seen to it that they are."""

GOODBYE: Final = Winerror.ERROR_GRACEFUL_DISCONNECT.code
CLAIMED: Final = Winerror.ERROR_ALREADY_EXISTS.code
_KNOWN_VERBS: Final = frozenset(map(int, Verb))


class Broker:
    """One broker.

    Args:
        limits: its numbers.
        name: as configured.
        instance: 16 random bytes, new with each start.
    """

    def __init__(self, limits: BrokerLimits, *, name: str, instance: bytes) -> None:
        self.name = name
        self.instance = instance
        self.counts: Final = Counts()
        self.registry: Final = Registry(limits, self.counts, name=name, instance=instance)
        self.board: Final = Board(limits, self.counts)
        self.commands: Final = Commands(limits, self.counts)
        self._post = self.registry.post
        self.receipts: Final = Receipts(self._post, self.counts)
        self._workers = Workers()
        self.switchboard: Final = Switchboard(
            limits, self._post, self._workers, self.counts, self.board.dialog_changed
        )
        self.turns: Final[list[Turn]] = []
        """Starts and ends of agents' processes, for the loop to take."""
        self.outbox_agents: Final[dict[bytes, list[bytes]]] = self._post.agents
        self.outbox_workers: Final[dict[bytes, list[bytes]]] = self._post.workers
        self.stops_at = math.inf
        """When a broker that drains says BYE."""
        self.is_stopped = False
        self._sessions = self.registry.sessions
        self.registry.opened = self._opened
        self.registry.closed = self._closed
        board = self.switchboard
        self._handlers: dict[Role, dict[int, Handler]] = {
            Role.AGENT: {
                Verb.HELLO: self._hello_again,
                Verb.PING: self._ping,
                Verb.PONG: _ignore,
                Verb.BYE: self._bye,
                Verb.LINES: self._lines,
                Verb.COMMANDED: self._commanded,
                Verb.RECORD: self._record,
                Verb.BEGIN: self._begin,
                Verb.RECEIVED: board.received,
                Verb.END: board.end,
            },
            Role.WORKER: {
                Verb.HELLO: self._hello_again,
                Verb.READY: self._ready,
                Verb.PING: self._ping,
                Verb.PONG: _ignore,
                Verb.DRAIN: self._worker_drains,
                Verb.BYE: self._bye,
                Verb.REFUSED: board.refused,
                Verb.SEND: board.send,
                Verb.RECEIVE: board.send,
                Verb.COMPLETE: board.complete,
                Verb.END_REPLY: board.end_reply,
            },
        }
        assert self._handlers[Role.AGENT].keys() == FROM_AGENT
        assert self._handlers[Role.WORKER].keys() == FROM_WORKER

    # ------------------------------------------------------------------ from the loop

    def receive(
        self,
        role: Role,
        connection: bytes,
        messages: list[Envelope],
        fault: str,
        right: Right | Revoked | None,
        now: float,
    ) -> None:
        """Handle one frame, as `decode_frame` has read it.

        Args:
            role: whose endpoint it came by.
            connection: its routing id.
            messages: what came before the fault.
            fault: the frame's first fault; empty if it has none.
            right: what the sender's key may; None where there are no keys.
            now: monotonic seconds, as everywhere.
        """
        if self.is_stopped:
            return
        self._post.now = now
        session = self._sessions[role].get(connection)
        if session is None:
            session = self.registry.greet(role, connection, messages, fault, right, now)
            if session is None:
                return
            messages = messages[1:]
        elif session.right is not right and not self.registry.recheck(session, right, now):
            self.counts.drops[Drop.AFTER_BYE] += len(messages)
            return
        session.heard_at = now
        handlers = self._handlers[role]
        received = self.counts.received[role]
        for index, message in enumerate(messages):
            verb = message[0]
            handler = handlers.get(verb)
            try:
                if handler is None:
                    self._not_handled(role, verb)
                    continue
                received[verb] += 1
                handler(session, message, now)
            except ProtocolError as error:
                self.registry.answer(as_breach(error, verb), role, connection, right, now)
            if session.is_over:
                self.counts.drops[Drop.AFTER_BYE] += len(messages) - index - 1
                return
        if fault:
            self.registry.malformed(fault, role, connection, right, now)

    def send_failed(self, role: Role, connection: bytes, now: float) -> None:
        """Take notice that a message could not be sent: that session is over."""
        self._post.now = now
        self.counts.drops[Drop.UNSENT] += 1
        self._post.outbox(role).pop(connection, None)
        session = self._sessions[role].get(connection)
        if session is not None:
            self.registry.end(session, Over.SEND_FAILED, now)
            self._post.outbox(role).pop(connection, None)

    def tick(self, now: float) -> None:
        """Do what time asks for."""
        self._post.now = now
        self.registry.tick(now)
        self.switchboard.tick(now)
        self.commands.tick(now)
        if now >= self.stops_at:
            self.stop(now)

    def deadline(self) -> float:
        """Return when `tick` is next of use; `math.inf` if never."""
        return min(
            self.registry.deadline(),
            self.switchboard.deadline(),
            self.commands.deadline(),
            self.stops_at,
        )

    def recorded(self, receipts: Sequence[Receipt], now: float) -> None:
        """Take notice that records, which lay in `receipts.taken`, are on the disk."""
        self._post.now = now
        self.receipts.stored(receipts)

    # ------------------------------------------------------------------ from operators

    def drain(self, deadline_ms: int, now: float) -> None:
        """Send the agents away; serve what they BEGIN until the deadline, then stop."""
        self._post.now = now
        self.stops_at = min(self.stops_at, now + deadline_ms / 1000)
        for agent in self._sessions[Role.AGENT].values():
            self._send_drain(agent, now)

    def stop(self, now: float) -> None:
        """Say BYE to all.  Whoever comes now is not welcomed any more."""
        self._post.now = now
        self.stops_at = math.inf
        self.is_stopped = True
        for sessions in self._sessions.values():
            for session in list(sessions.values()):
                self.registry.end(session, Over.STOPPED, now, GOODBYE)

    def drain_worker(self, name: str, deadline_ms: int, now: float) -> bool:
        """Order a worker to finish and leave; return whether it is here to be told."""
        worker = self.registry.by_name[Role.WORKER].get(name)
        if worker is None:
            return False
        self._post.now = now
        self._post.send(worker, encode(Verb.DRAIN, Drain(deadline_ms=deadline_ms)))
        return True

    def command(self, agent_name: str, command: Command, now: float) -> bool:
        """Send an operator's order; return whether it was sent.

        If so, its id is answered once in `commands.answers`, in bounded time.
        """
        agent = self.registry.by_name[Role.AGENT].get(agent_name)
        if not isinstance(agent, AgentSession) or not self.commands.sent(command.id, agent, now):
            return False
        self._post.now = now
        self._post.send(agent, encode(Verb.COMMAND, command))
        return True

    # ------------------------------------------------------------------ sessions come and go

    def _opened(self, session: Session, now: float) -> None:
        if isinstance(session, AgentSession):
            self.switchboard.agent_left(session.name, now)
            self.board.agent_changed(session, now)
            if session.up_s is not None:
                self.turns.append(Turn(session, started=True, ago_s=session.up_s))
            if self.stops_at < math.inf:
                self._send_drain(session, now)
        elif isinstance(session, WorkerSession):
            self._workers.add(session)
            self.switchboard.worker_welcomed(session)
            self._show_worker(session, now)

    def _closed(self, session: Session, why: Over, now: float) -> None:
        if isinstance(session, AgentSession):
            if why in {Over.BYE, Over.NEWER}:
                self.switchboard.agent_left(session.name, now)
            else:
                self.switchboard.agent_lost(session, now)
            self.commands.agent_over(session)
            self.board.agent_changed(session, now)
        elif isinstance(session, WorkerSession):
            self._workers.remove(session)
            self.switchboard.worker_over(session, now)
            self._show_worker(session, now)

    def _show_worker(self, worker: WorkerSession, now: float) -> None:
        self.board.worker_changed(worker, self.switchboard.entries.load(worker), now)

    def _send_drain(self, agent: Session, now: float) -> None:
        left_ms = max(0, int((self.stops_at - now) * 1000))
        self._post.send(agent, encode(Verb.DRAIN, Drain(deadline_ms=left_ms)))

    # ------------------------------------------------------------------ verbs

    def _not_handled(self, role: Role, verb: int) -> None:
        if verb not in _KNOWN_VERBS:
            # A newer peer: rolling upgrades must not cost it its session.
            self.counts.drops[Drop.UNKNOWN_VERB] += 1
            return
        self.counts.received[role][verb] += 1
        name = Verb(verb).name
        raise Breach(DENIED, "verb not allowed", f"{name} is not for {role}s to send")

    def _hello_again(self, _session: Session, _message: Envelope, _now: float) -> None:
        raise Breach(CLAIMED, "second HELLO", "HELLO: this connection has a session")

    def _ping(self, session: Session, message: Envelope, _now: float) -> None:
        self._post.send(session, encode(Verb.PONG, decode_body(message[3], Ping)))

    def _bye(self, session: Session, message: Envelope, now: float) -> None:
        bye = decode_body(message[3], Bye)
        if bye.stops is True and isinstance(session, AgentSession):
            self.turns.append(Turn(session, started=False))
        self.registry.end(session, Over.BYE, now)

    def _ready(self, worker: WorkerSession, message: Envelope, _now: float) -> None:
        credit = decode_body(message[3], Ready).credit
        if credit < worker.credit:
            self.counts.drops[Drop.STALE_CREDIT] += 1
            return
        worker.credit = credit
        self.switchboard.credit_arrived(worker)

    def _worker_drains(self, worker: WorkerSession, message: Envelope, now: float) -> None:
        decode_body(message[3], Drain)
        worker.is_draining = True
        self._show_worker(worker, now)

    def _begin(self, agent: AgentSession, message: DialogMessage, now: float) -> None:
        hport = self.switchboard.begin(agent, message, now)
        if hport and hport not in agent.hports:
            self._claim(agent, hport)

    def _lines(self, agent: AgentSession, message: Envelope, now: float) -> None:
        lines = decode_body(message[3], Lines)
        for line in lines.lines:
            self._claim(agent, line.hport)
        self.board.list_lines(agent, lines.lines, complete=lines.complete, now=now)

    def _claim(self, agent: AgentSession, hport: str) -> None:
        holder = self.board.claim(agent, hport)
        if holder:
            # Not a breach: the port is served, and its agent is not charged for it.
            self.counts.errors[Role.AGENT, "hport of two agents"] += 1
            text = f"{hport} is a port of {holder}, too"
            self._post.error(Role.AGENT, agent.connection, CLAIMED, text)

    def _commanded(self, agent: AgentSession, message: Envelope, _now: float) -> None:
        self.commands.answered(agent, decode_body(message[3], Commanded))

    def _record(self, agent: AgentSession, message: Envelope, _now: float) -> None:
        self.receipts.take(agent, message[3])


def _ignore(_session: Session, _message: Envelope, _now: float) -> None:
    """Do nothing: any frame is a sign of life, and this one is nothing else."""
