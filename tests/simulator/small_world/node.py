"""One broker of a small world: its switchboard, and who has a session with it."""

from __future__ import annotations

import math
from itertools import count
from typing import Any

from broker.dispatch import Workers
from broker.entries import Entry, State
from broker.post import Post
from broker.sessions import AgentSession, WorkerSession
from broker.switchboard import Switchboard
from dialgate.errors import ProtocolError
from dialgate.wire.bodies import Hello
from dialgate.wire.envelope import decode_frame
from dialgate.wire.verbs import Role, Verb
from tests.simulator.small_world.parts import AGENT, Broken, Facts, Input, Part
from tests.simulator.small_world.told import COUNTS, LIMITS

__all__ = ["Node"]


class Node(Part):
    """One broker's switchboard."""

    def __init__(self) -> None:
        super().__init__()
        self.agent: AgentSession | None = None
        self.workers: dict[str, WorkerSession] = {}
        self.pool = Workers()
        self.post = Post({Role.AGENT: {}, Role.WORKER: {}})
        self.board = Switchboard(LIMITS, self.post, self.pool, COUNTS, ignore)

    def take(self, what: Input) -> None:
        match what:
            case ("message", peer, message):
                self.hear(peer, message)
            case ("over", peer) if peer == AGENT:
                assert self.agent is not None, "a session is over once"
                self.agent.is_over = True
                self.board.agent_lost(self.agent, self.now)
                self.agent = None
            case ("over", peer):
                self.worker_over(peer)
            case ("open", peer, instance):
                self.greet(peer, instance)
            case ("credit", peer, room):
                worker = self.workers[peer]
                worker.credit = room + worker.sent
                self.board.credit_arrived(worker)
            case ("pass", passed_s):
                self.pass_time(passed_s)
                self.board.tick(self.now)
            case _:
                raise AssertionError(what)
        self.speak()

    def greet(self, peer: str, instance: bytes) -> None:
        """Open a session; what is left of the peer's last one is over."""
        hello = Hello(
            protocol=1,
            role="agent" if peer == AGENT else "worker",
            name=peer,
            instance=instance,
            session=1,
            version="",
            site="s",
            capacity=4,
        )
        if peer == AGENT:
            if self.agent is not None:
                self.agent.is_over = True
            self.board.agent_left(peer, self.now)
            self.agent = AgentSession(self.connection(peer), hello, None, self.now)
            return
        self.worker_over(peer)
        session = WorkerSession(self.connection(peer), hello, None, self.now)
        self.workers[peer] = session
        self.pool.add(session)
        self.board.worker_welcomed(session)

    def worker_over(self, peer: str) -> None:
        session = self.workers.pop(peer, None)
        if session is not None:
            session.is_over = True
            self.pool.remove(session)
            self.board.worker_over(session, self.now)

    def connection(self, peer: str) -> bytes:
        """Return a routing id that nothing here speaks to any more."""
        used = {x.connection for each in self.entries() for x in (each.agent, each.worker) if x}
        return next(x for n in count(1) if (x := f"{peer}/{n}".encode()) not in used)

    def hear(self, peer: str, message: bytes) -> None:
        envelope: Any
        [envelope], _ = decode_frame(message)
        board, verb = self.board, Verb(envelope[0])
        if peer == AGENT:
            assert self.agent is not None, "who speaks has a session"
            by_agent = {
                Verb.BEGIN: board.begin,
                Verb.RECEIVED: board.received,
                Verb.END: board.end,
            }
            try:
                by_agent[verb](self.agent, envelope, self.now)
            except ProtocolError as error:
                raise Broken(f"I8: the agent is told {error}") from error
            return
        by_worker = {
            Verb.SEND: board.send,
            Verb.RECEIVE: board.send,
            Verb.COMPLETE: board.complete,
            Verb.REFUSED: board.refused,
            Verb.END_REPLY: board.end_reply,
        }
        by_worker[verb](self.workers[peer], envelope, self.now)

    def speak(self) -> None:
        """Say what is in the post, to those who have not gone."""
        sessions = {AGENT: self.agent, **self.workers}
        for box in (self.post.agents, self.post.workers):
            for connection, messages in box.items():
                peer = connection.decode().partition("/")[0]
                session = sessions.get(peer)
                if session is not None and session.connection == connection:
                    self.said += [(peer, message) for message in messages]
            box.clear()

    def due(self) -> float:
        return self.board.deadline()

    def settle(self) -> None:
        pool = self.pool
        self.workers = dict(sorted(self.workers.items()))
        # Who is chosen next stays the same; how often each was is of no interest.
        for each in self.workers.values():
            each.credit, each.sent = each.credit - each.sent, 0
        for workers in pool._by_pool.values():
            workers.sort(key=lambda each: each.used)
            for place, each in enumerate(workers):
                each.used = place
            workers.sort(key=lambda each: each.name)
        pool._uses = len(self.workers)
        pool._by_instance = dict(sorted(pool._by_instance.items()))
        for entry in self.entries():
            if entry.worker is not None:
                entry.owner = b""
            if entry.state == State.OWNED:
                entry.due = math.inf
        by_worker = self.board.entries._by_worker
        for worker in sorted(by_worker, key=lambda each: each.connection):
            by_worker[worker] = by_worker.pop(worker)

    def entries(self) -> list[Entry]:
        return list(self.board.entries.by_dialog.values())

    def facts(self) -> Facts:
        entries = self.entries()
        with_agent = sum(each.agent is not None for each in entries)
        outline = [(x.dialog, x.attempt, x.state, x.agent is None) for x in entries]
        return Facts(
            outline=(self.agent is None, len(self.workers), *sorted(outline)),
            due_s=self.due_s(),
            fault="" if with_agent <= 1 else "I1: two entries of the port have an agent",
            unrest="I3: a broker keeps a dialog" if entries else "",
            begins=frozenset((each.dialog, each.attempt) for each in entries if each.begin),
        )


def ignore(_entry: object, _state: str) -> None:
    """Observe nothing."""
