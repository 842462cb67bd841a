"""A process of a small world: a real core, and around it what its shell would do.

`take` is one input at one moment; what the process then says is in `said`, by whom it is for.
Nothing but inputs leads from one state to another, so a process need not be asked twice what it
does.  What others may know of its state is in its `Facts`.

Here are the brokers' `Node` and the workers' `Desk`; `small_world.site` has the agent's.

Invariants: a session's number is given again only when nothing of the old one is left; what nobody
can compare any more is forgotten (`settle`), so that states which differ by it are one.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from itertools import count
from typing import Any, Final, NamedTuple

from auth_workers.session import Worker
from auth_workers.session_actions import Answer, CancelTask, StartTask
from auth_workers.session_dialog import Question
from auth_workers.session_dialog import State as TaskState
from auth_workers.verdict import Granted
from broker.dispatch import Workers
from broker.entries import Entry, State
from broker.post import Post
from broker.sessions import AgentSession, WorkerSession
from broker.switchboard import Switchboard
from dialgate.codes import NO_ERROR
from dialgate.errors import ProtocolError
from dialgate.session import Transmit
from dialgate.wire.bodies import Hello
from dialgate.wire.envelope import decode_frame
from dialgate.wire.verbs import Role, Verb
from tests.simulator.small_world.told import COUNTS, LIMITS, WELCOME

__all__ = ["AGENT", "BROKERS", "WORKERS", "Broken", "Desk", "Facts", "Node", "Part", "Said", "Word"]

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


class Desk(Part):
    """One worker, whose tasks ask once, by its name, and let in whoever answers them.

    Args:
        name: one of `WORKERS`.
        life: how many processes of that kind there were.
        delays_end: whether its tasks go on behind END.
    """

    def __init__(self, name: str, life: int, *, delays_end: bool) -> None:
        super().__init__()
        self.delays_end = delays_end
        self.instance = f"{name}.life{life:03}".encode()
        # No task is ended by its age: the agent ends the dialog when it is as old.
        self.core = Worker(self.instance, capacity=4, links=len(BROKERS), dialog_max_s=math.inf)
        self.sessions: dict[str, int] = {}

    def take(self, what: Input) -> None:
        core = self.core
        match what:
            case ("message", broker, message):
                [(verb, dialog, attempt, body, _)], _ = decode_frame(message)
                number = self.sessions[broker]
                self.do(core.message(number, verb, dialog, attempt, body, self.now))
            case ("over", broker):
                self.do(core.session_closed(self.sessions.pop(broker), NO_ERROR, self.now))
            case ("open", broker):
                used = {*self.sessions.values(), *(x.session for x in core._tasks.values())}
                self.sessions[broker] = number = free_number(broker, used)
                self.do(core.session_opened(broker, number, WELCOME, self.now))
            case ("finish", task):
                self.do(core.finished(task, self.now))
            case ("forget", dialogs):
                for each in dialogs:
                    del core.attempts._kept[each]
            case ("pass", passed_s):
                self.pass_time(passed_s)
                self.do(core.tick(self.now))
            case _:
                raise AssertionError(what)

    def do(self, actions: list[Any]) -> None:
        core = self.core
        for action in actions:
            match action:
                case Transmit(session, message):
                    said = Word("credit") if message[1] == Verb.READY else message
                    self.said += [(x, said) for x, n in self.sessions.items() if n == session]
                case StartTask(task=task):
                    core.delay_end(task, on=self.delays_end)
                    self.do(core.receive(task, Question(self.instance, 64, 0, b"asked"))[1])
                case Answer(task=task, data=data):
                    user, question = data.split(b" to ")
                    if question != self.instance:
                        raise Broken(f"I5: an answer to {question!r} is taken for another's")
                    self.do(core.complete(task, Granted(user.decode()), self.now))
                    if not self.delays_end:
                        self.do(core.finished(task, self.now))
                case CancelTask(task=task):
                    self.do(core.finished(task, self.now))
                case _:
                    pass

    def due(self) -> float:
        due = [math.inf]
        for dialog in self.core._tasks.values():
            if dialog.silent:
                due.append(dialog.lost_at + self.core._reattach_s)
            if dialog.state is TaskState.DELAYED:
                due.append(dialog.ended_at + dialog.lease_s)
        return min(due)

    def settle(self) -> None:
        core = self.core
        new = {old: index + 1 for index, old in enumerate(core._tasks)}
        for dialog in core._tasks.values():
            dialog.task = new[dialog.task]
            if not dialog.silent:
                dialog.lost_at = math.inf
            elif dialog.session not in self.sessions.values():
                dialog.session = 0
            if dialog.state is not TaskState.DELAYED:
                dialog.ended_at = math.inf
        for table in (core._tasks, core._silent, core._ended):
            kept = [(new[old], each) for old, each in table.items()]
            table.clear()
            table.update(kept)
        core._last_task = len(new)
        self.sessions = dict(sorted(self.sessions.items()))
        accounts = core.credit._accounts
        for account in accounts.values():
            account.granted, account.spent = account.unspent, 0
        core.credit._accounts = {n: accounts[n] for n in self.sessions.values()}
        core._leases = {n: core._leases[n] for n in self.sessions.values()}

    def facts(self) -> Facts:
        core = self.core
        accounts = core.credit._accounts
        tasks = core._tasks.items()
        outline = [(x.dialog, x.attempt, x.state.value, x.silent) for x in core._tasks.values()]
        return Facts(
            outline=(*self.sessions, *sorted(outline)),
            due_s=self.due_s(),
            unrest="I4: a worker keeps a task" if core.open_dialogs else "",
            instance=self.instance,
            remembers=frozenset(core.attempts._kept),
            delayed=tuple(task for task, x in tasks if x.state is TaskState.DELAYED and x.alive),
            unspent=tuple((link, accounts[n].unspent) for link, n in self.sessions.items()),
        )


def free_number(broker: str, used: set[int]) -> int:
    """Return a number for a session that is none of `used`: odd with A, even with B."""
    return next(n for n in count(1 + BROKERS.index(broker), len(BROKERS)) if n not in used)


def ignore(_entry: object, _state: str) -> None:
    """Observe nothing."""
