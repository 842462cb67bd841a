"""Breadth-first search through all that can happen in a small cluster of real cores.

One port, two brokers, two workers: the agent's core with its line and a simulated modem, each
broker's switchboard, each worker's core.  From every state every step is tried: deliver the first
message of any channel, let the caller dial, answer or hang up, break a session, kill and start a
process, let time pass.  States that no core can tell apart are one; a search that ends has seen
them all.

What bounds a search is in `Bounds`, and besides: a caller acts and a process dies at any moment,
but time passes only while no message is under way (a message is faster than a timer), sessions open
in one step (HELLO and WELCOME are `broker.registry`'s), and credit is told at once.
"""

from __future__ import annotations

import copyreg
import io
import math
import pickle
import time
from collections import deque
from collections.abc import Iterator
from enum import Enum
from functools import partial
from itertools import count
from typing import Any, ClassVar, Final, NamedTuple

from msgspec import Struct

from auth_workers.session import Worker
from auth_workers.session_actions import Answer, CancelTask, StartTask
from auth_workers.session_dialog import Question
from auth_workers.session_dialog import State as TaskState
from auth_workers.verdict import Granted, Undecided
from broker.counts import Counts
from broker.dispatch import Workers
from broker.limits import BrokerLimits
from broker.post import Post
from broker.sessions import AgentSession, WorkerSession
from broker.switchboard import Switchboard
from dialgate.codes import NO_ERROR
from dialgate.errors import ProtocolError
from dialgate.histogram import ANSWER_BOUNDS_S, Histogram
from dialgate.session import CloseLink, OpenLink, Transmit
from dialgate.wire.bodies import Begin, Drain, Hello, Ready, Welcome
from dialgate.wire.body_codec import decode_body
from dialgate.wire.envelope import decode_frame
from dialgate.wire.verbs import Role, Verb
from port_agents.agent import Agent
from port_agents.agent_actions import OnPort
from port_agents.brokers import Brokers
from port_agents.counters import AgentCounters
from port_agents.dialog_actions import Phase
from port_agents.line_actions import (
    LineSettings,
    LineState,
    Record,
    ServiceLimits,
    StartService,
    StopService,
    WriteLine,
)
from port_agents.modem_actions import ModemLines, ModemSettings, Reopen, SetDtr
from port_agents.simulated_modem import (
    CallDropped,
    LinesChanged,
    SimulatedModem,
    ToDte,
)

BROKERS: Final = ("A", "B")
WORKERS: Final = ("v", "w")
PORT: Final = "p"
LIMITS: Final = BrokerLimits()
WELCOME: Final = Welcome(
    protocol=1,
    name="",
    instance=bytes(16),
    heartbeat_ms=1000,
    end_lease_ms=10_000,
    queue_timeout_ms=10_000,
    frame_bytes_max=65536,
    body_bytes_max=16384,
)
SETTINGS: Final = LineSettings(
    hport=PORT,
    site="s",
    agent="a",
    device="simulated",
    service="console",
    services={"console": ServiceLimits()},
    modem=ModemSettings(init=("ATE0S0=0",), dtr_low_ms=0),
)
COUNTERS: Final = AgentCounters(Histogram(ANSWER_BOUNDS_S), Histogram(ANSWER_BOUNDS_S))
COUNTS: Final = Counts()
END: Final = b""
"""In a channel: the session is over, which this end learns now."""
UNTOLD: Final = frozenset(
    {"counters", "_counters", "_counts", "drops", "_drops", "since", "_since", "_timers", "_order"}
    | {"reattached", "settings", "_limits", "forgotten_early", "_note", "rang_at", "connected_at"}
    | {"handed_over_at", "ended", "began_at", "opened_at", "heard_at", "sent_at", "_last_dte_at"}
    | {"new_id", "_new_id", "now", "trail", "_last_command", "bytes_in", "bytes_out", "_facts"}
    | {"ids", "history", "records", "_last_disconnect", "hports", "warned", "listed", "right"}
    | {"pools", "version", "capacity", "site", "faults", "_registers", "_settings", "central"}
    | {"order", "up_s"}
)
"""Fields that no decision depends on: counts, times of what is over, settings.  `began_at` is the
broker's, for a metric; the agent's own is `_begun_at`."""


class Bounds(NamedTuple):
    """How much may happen in one history."""

    calls: int = 2
    broker_crashes: int = 0
    worker_crashes: int = 0
    agent_crashes: int = 0
    session_losses: int = 0
    delays_end: bool = False
    """Whether workers answer END with 0."""
    states_max: int = 1_000_000


class Broken(Exception):
    """An invariant does not hold."""


class Node:
    """One broker that is up."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.agent: AgentSession | None = None
        self.workers: dict[str, WorkerSession] = {}
        self.pool = Workers()
        self.post = Post({Role.AGENT: {}, Role.WORKER: {}})
        self.board = Switchboard(LIMITS, self.post, self.pool, COUNTS, ignore)


class Channel:
    """A session: what is under way on it in both directions."""

    def __init__(self, peer: str, broker: str, number: int) -> None:
        self.peer = peer
        self.broker = broker
        self.number = number
        self.up: deque[bytes] = deque()
        self.down: deque[bytes] = deque()
        self.is_open = True
        """Whether what is sent gets under way."""


class Ids:
    """Gives ids that nobody names."""

    def __init__(self) -> None:
        self.taken: set[bytes] = set()

    def __call__(self) -> bytes:
        new = next(x for x in map(_id, count(1)) if x not in self.taken)
        self.taken.add(new)
        return new


def _id(number: int) -> bytes:
    return number.to_bytes(16, "big")


class World:
    """One state of the cluster, and how it got there."""

    def __init__(self, bounds: Bounds) -> None:
        self.left = bounds._replace(states_max=0)
        self.now = 0.0
        self.ids = Ids()
        self.nodes: dict[str, Node] = {}
        self.workers: dict[str, Worker] = {}
        self.incarnations = dict.fromkeys(WORKERS, 0)
        self.channels: list[Channel] = []
        self.wanted: list[str] = []
        """Links that the agent wants."""
        self.caller = 0
        """Number of the caller on the line; 0: nobody."""
        self.last_caller = 0
        self.speakers: dict[tuple[bytes, int], bytes] = {}
        """By dialog and attempt: the worker that was given it."""
        self.modem = SimulatedModem()
        self.is_serving = False
        self.stops: dict[bytes, int] = {}
        for name in BROKERS:
            self.nodes[name] = Node(name)
        self.start_agent()
        for name in WORKERS:
            self.start_worker(name)
        self.connect("a", "A")
        for broker in BROKERS:
            for name in WORKERS:
                self.connect(name, broker)
        self.settle()
        # What all have to say at first is of no interest in which order.
        while any(channel.up or channel.down for channel in self.channels):
            for channel in self.channels:
                while channel.up:
                    self.up(channel)
                while channel.down:
                    self.down(channel)
            self.settle()
        self.trail: list[str] = []

    # Processes.

    def start_agent(self) -> None:
        choice = Brokers("a", BROKERS, weight=weight)
        self.agent = Agent(choice, [SETTINGS], COUNTERS, self.ids)
        self.wanted = []
        self.modem.dtr(True, self.now)
        self.do(self.agent.start(self.now))
        self.do(self.agent.opened(PORT, lines_of(LinesChanged(dcd=False, ri=False)), self.now))

    def start_worker(self, name: str) -> None:
        self.incarnations[name] += 1
        instance = f"{name}{self.incarnations[name]}".encode().ljust(16, b".")
        self.workers[name] = Worker(instance, capacity=4, links=2)

    def kill(self, name: str) -> None:
        """Kill a process; whoever speaks to it learns of it in time."""
        for channel in list(self.channels):
            if name in {channel.peer, channel.broker}:
                is_peer = channel.peer == name
                channel.up.clear()
                channel.down.clear()
                channel.is_open = False
                (channel.up if is_peer else channel.down).append(END)
        if name in BROKERS:
            del self.nodes[name]
        elif name in WORKERS:
            del self.workers[name]
        else:
            self.is_serving = False
            self.from_modem(self.modem.dtr(False, self.now), is_heard=False)
            self.caller = 0

    # Sessions.

    def connect(self, peer: str, broker: str) -> None:
        """Open a session; the broker ends one that it still has of this peer."""
        node = self.nodes[broker]
        for channel in list(self.channels):
            if (channel.peer, channel.broker) == (peer, broker):
                self.channels.remove(channel)
        # Old numbers come again when nothing of theirs is left: they are compared for equality.
        taken = {x.number for x in self.channels if x.peer == peer}
        channel = Channel(peer, broker, next(x for x in count(1) if x not in taken))
        self.channels.append(channel)
        connection = f"{peer}{channel.number}".encode()
        hello = Hello(
            protocol=1,
            role="agent" if peer == "a" else "worker",
            name=peer,
            instance=bytes(16),
            session=channel.number,
            version="",
            site="s",
            capacity=4,
        )
        if peer == "a":
            if node.agent is not None:
                node.agent.is_over = True
            node.board.agent_left("a", self.now)
            node.agent = AgentSession(connection, hello, None, self.now)
            self.do(self.agent.session_opened(broker, channel.number, WELCOME, self.now))
            return
        self.worker_over(node, peer)
        session = node.workers[peer] = WorkerSession(connection, hello, None, self.now)
        session.instance = self.workers[peer]._instance
        node.pool.add(session)
        node.board.worker_welcomed(session)
        core = self.workers[peer]
        self.do_worker(peer, core.session_opened(broker, channel.number, WELCOME, self.now))

    def worker_over(self, node: Node, peer: str) -> None:
        session = node.workers.pop(peer, None)
        if session is not None:
            session.is_over = True
            node.pool.remove(session)
            node.board.worker_over(session, self.now)

    def lose(self, channel: Channel) -> None:
        """Lose a session with what is under way."""
        channel.is_open = False
        for way in (channel.up, channel.down):
            way.clear()
            way.append(END)

    # Messages.

    def up(self, channel: Channel) -> None:
        """Deliver to the broker."""
        message = channel.up.popleft()
        node = self.nodes.get(channel.broker)
        if node is None:
            return
        if message == END:
            if channel.peer != "a":
                self.worker_over(node, channel.peer)
            elif node.agent is not None:
                node.agent.is_over = True
                node.board.agent_lost(node.agent, self.now)
                node.agent = None
            if not channel.down:
                self.channels.remove(channel)
            return
        [envelope], _ = decode_frame(message)
        verb = envelope[0]
        if channel.peer == "a":
            handler = {
                Verb.BEGIN: node.board.begin,
                Verb.RECEIVED: node.board.received,
                Verb.END: node.board.end,
            }.get(Verb(verb))
            if handler is not None and node.agent is not None:
                try:
                    handler(node.agent, envelope, self.now)  # type: ignore[arg-type]
                except ProtocolError as error:
                    raise Broken(f"I8: the agent is told {error}") from error
            return
        worker = node.workers[channel.peer]
        if verb == Verb.READY:
            worker.credit = decode_body(envelope[3], Ready).credit
            node.board.credit_arrived(worker)
        elif verb == Verb.DRAIN:
            worker.is_draining = decode_body(envelope[3], Drain).deadline_ms >= 0
        else:
            self.from_worker(node, worker, envelope)

    def from_worker(self, node: Node, worker: WorkerSession, envelope: Any) -> None:
        board = node.board
        handlers = {
            Verb.SEND: board.send,
            Verb.RECEIVE: board.send,
            Verb.COMPLETE: board.complete,
            Verb.REFUSED: board.refused,
            Verb.END_REPLY: board.end_reply,
        }
        handlers[Verb(envelope[0])](worker, envelope, self.now)

    def down(self, channel: Channel) -> None:
        """Deliver to the peer."""
        message = channel.down.popleft()
        peer, number = channel.peer, channel.number
        if message == END:
            if not channel.up:
                self.channels.remove(channel)
            if peer == "a":
                self.do(self.agent.session_closed(number, NO_ERROR, self.now))
            elif peer in self.workers:
                closed = self.workers[peer].session_closed(number, NO_ERROR, self.now)
                self.do_worker(peer, closed)
            return
        [(verb, dialog, attempt, body, _)], _ = decode_frame(message)
        if peer == "a":
            self.do(self.agent.message(number, verb, dialog, attempt, body, self.now))
            self.hold_speakers()
            return
        core = self.workers[peer]
        if verb == Verb.BEGIN and dialog is not None:
            owner = self.speakers.setdefault((dialog, attempt), core._instance)
            if owner != core._instance:
                raise Broken("I1: two workers have one attempt")
        self.do_worker(peer, core.message(number, verb, dialog, attempt, body, self.now))

    def hold_speakers(self) -> None:
        """I1: the agent has taken the words of that worker only which has its BEGIN."""
        dialog = self.agent.lines[PORT].dialog
        if dialog is None or dialog.phase is not Phase.BEGUN:
            return
        exchange = dialog._exchange
        known = [x for (d, _), x in self.speakers.items() if d == dialog.dialog]
        if exchange.worker and exchange.worker not in known:
            raise Broken("I1: a worker speaks that has no BEGIN")

    # What cores want.

    def do(self, actions: list[Any]) -> None:
        for action in actions:
            match action:
                case Transmit(session, message):
                    self.send("a", session, message, is_up=True)
                case OpenLink(link):
                    if link not in self.wanted:
                        self.wanted.append(link)
                case CloseLink(link):
                    self.wanted.remove(link)
                    for channel in self.channels:
                        if (channel.peer, channel.broker) == ("a", link) and channel.is_open:
                            # BYE: it comes behind what was said; nothing more is heard.
                            channel.is_open = False
                            channel.down.clear()
                            channel.up.append(END)
                case OnPort(_, wanted):
                    self.on_port(wanted)
                case _:
                    pass

    def on_port(self, action: Any) -> None:
        match action:
            case WriteLine(data):
                self.from_modem(self.modem.dte(data, self.now))
                self.do(self.agent.drained(PORT, self.now))
            case SetDtr(on):
                self.from_modem(self.modem.dtr(on, self.now))
            case Reopen():
                raise Broken("a device is opened that was never closed")
            case StartService(_, admission):
                if self.is_serving:
                    raise Broken("I1: two services on a port")
                if not self.caller or admission.user != f"caller{self.caller}":
                    raise Broken(f"I2: {admission.user} is let in for caller {self.caller}")
                self.is_serving = True
            case StopService():
                self.is_serving = False
                self.do(self.agent.service_ended(PORT, "", self.now))
            case Record("stop", call):
                self.stops[call.id] = self.stops.get(call.id, 0) + 1
                if self.stops[call.id] > 1:
                    raise Broken("I6: two stop records")
            case _:
                pass

    def from_modem(self, actions: list[Any], *, is_heard: bool = True) -> None:
        for action in actions:
            match action:
                case ToDte(data) if is_heard:
                    self.do(self.agent.receive(PORT, data, self.now))
                case LinesChanged() if is_heard:
                    self.do(self.agent.lines_changed(PORT, lines_of(action), self.now))
                case CallDropped():
                    self.caller = 0
                case _:
                    pass

    def do_worker(self, name: str, actions: list[Any]) -> None:
        core = self.workers[name]
        for action in actions:
            match action:
                case Transmit(session, message):
                    self.send(name, session, message, is_up=True)
                case StartTask(task=task, begin=begin, attempt=attempt):
                    if self.left.delays_end:
                        core.delay_end(task, on=True)
                    if attempt > 1 and begin.seq and begin.cookie == b"used":
                        # The one try is used up: a free guess would be a second one.
                        verdict = Undecided(NO_ERROR._replace(namespace="ras", number=645))
                        self.do_worker(name, core.complete(task, verdict, self.now))
                        self.finish(name, task)
                        continue
                    question = Question(b"?", 64, 0, b"used")
                    self.do_worker(name, core.receive(task, question)[1])
                case Answer(task=task, data=data):
                    verdict_ = Granted(data.decode())
                    self.do_worker(name, core.complete(task, verdict_, self.now))
                    self.finish(name, task)
                case CancelTask(task=task):
                    self.do_worker(name, core.finished(task, self.now))
                case _:
                    pass

    def finish(self, name: str, task: int) -> None:
        if not self.left.delays_end:
            self.do_worker(name, self.workers[name].finished(task, self.now))

    def send(self, peer: str, session: int, message: bytes, *, is_up: bool) -> None:
        if message[1] == Verb.LINES:
            return  # For observers.
        for channel in self.channels:
            if (channel.peer, channel.number) == (peer, session) and channel.is_open:
                (channel.up if is_up else channel.down).append(message)

    def settle(self) -> None:
        """Put what brokers want to say under way, and tell them of credit."""
        for channel in self.channels:
            for message in [x for x in channel.up if x != END and x[1] == Verb.READY]:
                channel.up.remove(message)
                node = self.nodes.get(channel.broker)
                worker = None if node is None else node.workers.get(channel.peer)
                if node is not None and worker is not None:
                    [envelope], _ = decode_frame(message)
                    worker.credit = decode_body(envelope[3], Ready).credit
                    node.board.credit_arrived(worker)
        for node in self.nodes.values():
            for box in (node.post.agents, node.post.workers):
                for connection, messages in list(box.items()):
                    for message in messages:
                        to = connection.decode()
                        self.send(to[0], int(to[1:]), message, is_up=False)
                box.clear()

    # What can't matter any more.

    def forget(self) -> None:
        """Forget what nobody will name again, so that states which differ by it are one.

        That is: ids of calls and dialogs that are over everywhere, how many tasks and BEGINs there
        were, and in which of many turns a worker was last chosen.
        """
        live = set(self.named())
        self.ids.taken = live
        self.stops = {x: each for x, each in self.stops.items() if x in live}
        self.speakers = {x: each for x, each in self.speakers.items() if x[0] in live}
        for core in self.workers.values():
            kept = core.attempts._kept
            core.attempts._kept = {x: each for x, each in kept.items() if x in live}
            core._last_task = max(core._tasks, default=0)
        for channel in self.channels:
            if channel.is_open and channel.peer != "a":
                account = self.workers[channel.peer].credit._accounts[channel.number]
                session = self.nodes[channel.broker].workers[channel.peer]
                spent, account.spent = account.spent, 0
                account.granted -= spent
                session.credit -= spent
                session.sent -= spent
        for node in self.nodes.values():
            turns = sorted({each.used for each in node.workers.values()})
            for each in node.workers.values():
                each.used = turns.index(each.used)
            node.pool._uses = len(turns)

    def named(self) -> Iterator[bytes]:
        """Yield the ids of calls and dialogs that somebody still names."""
        line = self.agent.lines[PORT]
        if line.call is not None:
            yield line.call.id
        yield from self.agent._dialogs
        begins = []
        for node in self.nodes.values():
            for entry in node.board.entries.by_dialog.values():
                yield entry.dialog
                begins.append(entry.begin)
        for core in self.workers.values():
            yield from core._dialogs
        for channel in self.channels:
            begins += [x for way in (channel.up, channel.down) for x in way]
        for message in begins:
            if message:
                [(verb, dialog, _, body, _)], _ = decode_frame(message)
                if dialog is not None:
                    yield dialog
                if verb == Verb.BEGIN:
                    yield decode_body(body, Begin).call

    # Steps.

    def steps(self) -> Iterator[tuple[str, Any]]:
        """Yield every step that may be taken, as what it is and what to call."""
        for index, channel in enumerate(self.channels):
            if channel.up:
                yield f"{channel.peer} > {channel.broker}: {told(channel.up[0])}", ("up", index)
            if channel.down:
                yield f"{channel.broker} > {channel.peer}: {told(channel.down[0])}", ("down", index)
        left = self.left
        if left.calls and not self.caller and self.modem.is_idle:
            yield "a caller dials", ("dial",)
        dialog = self.agent.lines[PORT].dialog
        if self.caller:
            yield "the caller hangs up", ("hang_up",)
            if dialog is not None and dialog._exchange._is_open:
                yield "the caller answers", ("answer",)
        if left.session_losses:
            for index, channel in enumerate(self.channels):
                if channel.is_open:
                    name = f"{channel.peer} and {channel.broker} lose their session"
                    yield name, ("lose", index)
        yield from self.deaths()
        for broker in self.nodes:
            for peer in ("a", *self.workers):
                if (peer != "a" or broker in self.wanted) and self.is_apart(peer, broker):
                    yield f"{peer} greets {broker}", ("connect", peer, broker)
        if not any(channel.up or channel.down for channel in self.channels):
            due = self.deadline()
            if due < math.inf:
                yield f"{due - self.now:g} s pass", ("wait",)

    def deaths(self) -> Iterator[tuple[str, Any]]:
        left = self.left
        for name in BROKERS:
            if name not in self.nodes:
                yield f"{name} starts", ("start_broker", name)
            elif left.broker_crashes:
                yield f"{name} is killed", ("kill_broker", name)
        for name in WORKERS:
            if name not in self.workers:
                yield f"{name} starts", ("restart_worker", name)
            elif left.worker_crashes:
                yield f"{name} is killed", ("kill_worker", name)
        if left.agent_crashes:
            yield "a is killed and starts", ("kill_agent",)

    def is_apart(self, peer: str, broker: str) -> bool:
        """Return whether a peer knows of no session with a broker."""
        return not any(
            (x.peer, x.broker) == (peer, broker) and (x.is_open or END in x.down)
            for x in self.channels
        )

    def take(self, name: str, step: Any) -> None:
        self.trail.append(name)
        left = self.left
        match step:
            case ("up", index):
                self.up(self.channels[index])
            case ("down", index):
                self.down(self.channels[index])
            case ("dial",):
                self.left = left._replace(calls=left.calls - 1)
                self.last_caller += 1
                self.caller = self.last_caller
                self.from_modem(self.modem.ring(self.now))
            case ("hang_up",):
                self.caller = 0
                self.from_modem(self.modem.far_hang_up(self.now))
            case ("answer",):
                answer = f"caller{self.caller}\r".encode()
                self.from_modem(self.modem.line(answer, self.now))
            case ("lose", index):
                self.left = left._replace(session_losses=left.session_losses - 1)
                self.lose(self.channels[index])
            case ("kill_broker", name):
                self.left = left._replace(broker_crashes=left.broker_crashes - 1)
                self.kill(name)
            case ("start_broker", name):
                self.nodes[name] = Node(name)
            case ("kill_worker", name):
                self.left = left._replace(worker_crashes=left.worker_crashes - 1)
                self.kill(name)
            case ("restart_worker", name):
                self.start_worker(name)
                for broker in list(self.nodes):
                    self.connect(name, broker)
            case ("kill_agent",):
                self.left = left._replace(agent_crashes=left.agent_crashes - 1)
                self.kill("a")
                self.start_agent()
            case ("connect", peer, broker):
                self.connect(peer, broker)
            case ("wait",):
                self.wait()
            case _:
                raise AssertionError(step)
        self.settle()
        self.forget()

    def deadline(self) -> float:
        boards = [node.board.deadline() for node in self.nodes.values()]
        tasks = [due for core in self.workers.values() for due in worker_due(core)]
        return min(self.agent.deadline(), self.modem.deadline(), *boards, *tasks, math.inf)

    def wait(self) -> None:
        self.now = max(self.now, self.deadline())
        if self.modem.deadline() <= self.now:
            self.from_modem(self.modem.tick(self.now))
        if self.agent.deadline() <= self.now:
            self.do(self.agent.tick(self.now))
        for node in self.nodes.values():
            node.board.tick(self.now)
        for name, core in self.workers.items():
            self.do_worker(name, core.tick(self.now))

    def check(self) -> None:
        """I1 for brokers; I3 where nothing can happen any more."""
        for node in self.nodes.values():
            with_agent = [x for x in node.board.entries.by_dialog.values() if x.agent is not None]
            if len(with_agent) > 1:
                raise Broken(f"I1: {node.name} has two entries of the port with an agent")

    def check_end(self) -> None:
        """I3, I4: where nothing happens any more, nothing is left."""
        line = self.agent.lines[PORT]
        if line.state is not LineState.IDLE:
            raise Broken(f"I3: the port is {line.state}")
        for node in self.nodes.values():
            if node.board.entries.by_dialog:
                raise Broken(f"I3: {node.name} keeps a dialog")
        for name, core in self.workers.items():
            if core.open_dialogs:
                raise Broken(f"I4: {name} keeps a task")


def worker_due(core: Worker) -> Iterator[float]:
    """Yield when something of a worker's is due."""
    for dialog in core._tasks.values():
        yield dialog.started_at + core._dialog_max_s
        if dialog.silent:
            yield dialog.lost_at + core._reattach_s
        if dialog.state is TaskState.DELAYED:
            yield dialog.ended_at + dialog.lease_s


def ignore(_entry: object, _state: str) -> None:
    """Observe nothing."""


def weight(_agent: str, link: str) -> bytes:
    """Order brokers by name."""
    return bytes([255 - ord(link)])


def told(message: bytes) -> str:
    """Return a message in a word."""
    if message == END:
        return "(over)"
    [(verb, _, attempt, _, _)], _ = decode_frame(message)
    return f"{Verb(verb).name}({attempt})"


def lines_of(changed: LinesChanged) -> ModemLines:
    return ModemLines(dcd=changed.dcd, dsr=True, ri=changed.ri, cts=True)


# States that no core can tell apart.


def fields_of(kind: type, cache: dict[type, tuple[str, ...]] = {}) -> tuple[str, ...]:  # noqa: B006
    """Return the names of a class's slots and structs' fields."""
    known = cache.get(kind)
    if known is None:
        names = [*kind.__struct_fields__] if issubclass(kind, Struct) else []
        for base in kind.__mro__:
            slots = base.__dict__.get("__slots__", ())
            names += [slots] if isinstance(slots, str) else slots if type(slots) is tuple else ()
        known = cache[kind] = tuple(
            name for name in dict.fromkeys(names) if name not in UNTOLD and name[:2] != "__"
        )
    return known


PLAIN: Final = frozenset({int, str, bytes, bool, type(None)})


def key(value: Any, now: float, seen: dict[int, int]) -> Any:
    """Return what is told of a value by all that can be done with it; times are relative."""
    kind = type(value)
    if kind in PLAIN:
        return value
    if kind is float:
        return value if math.isinf(value) else round(value - now, 6)
    if isinstance(value, Enum):
        return value.name
    if id(value) in seen:
        return seen[id(value)]
    if isinstance(value, tuple | list | deque):
        return tuple([key(each, now, seen) for each in value])
    seen[id(value)] = -len(seen) - 1
    if isinstance(value, bytearray):
        return bytes(value)
    if isinstance(value, dict):
        return tuple([(key(k, now, seen), key(v, now, seen)) for k, v in value.items()])
    if isinstance(value, set | frozenset):
        return frozenset(key(each, now, seen) for each in value)
    if callable(value) or isinstance(value, partial):
        return None
    names = fields_of(kind)
    pairs = [(name, getattr(value, name, None)) for name in names]
    pairs += [x for x in getattr(value, "__dict__", {}).items() if x[0] not in UNTOLD]
    return (
        kind.__name__,
        *[(name, each if name.endswith("_s") else key(each, now, seen)) for name, each in pairs],
    )


SHARED: Final = {type(each): each for each in (SETTINGS, COUNTERS, COUNTS, LIMITS, WELCOME)}
"""One of each is enough: nothing in them changes, or nothing that is decided by."""


def shared(name: str) -> Any:
    """Return what all states have in common."""
    return next(each for kind, each in SHARED.items() if kind.__name__ == name)


class Freezer(pickle.Pickler):
    """Makes bytes of a state."""

    dispatch_table: ClassVar = {  # type: ignore[misc]
        **copyreg.dispatch_table,
        **{kind: lambda each: (shared, (type(each).__name__,)) for kind in SHARED},
    }


def frozen(world: World) -> bytes:
    """Return a state as bytes: small, and quickly copied."""
    out = io.BytesIO()
    Freezer(out, pickle.HIGHEST_PROTOCOL).dump(world)
    return out.getvalue()


def thaw(state: bytes) -> World:
    """Return a copy of a state."""
    world: World = pickle.loads(state)  # noqa: S301 - our own
    return world


class Found(NamedTuple):
    """What a search has come to."""

    states: int
    steps: int
    deepest: int
    is_whole: bool
    """Whether every state within the bounds was seen."""


def search(bounds: Bounds, *, until: float = math.inf) -> Found:
    """Visit every state within `bounds`, the nearest first.

    Args:
        bounds: what may happen.
        until: when to stop, in monotonic seconds.

    Raises:
        Broken: a rule doesn't hold; the text has the shortest way there.
    """
    first = World(bounds)
    seen = {hash(key(first, first.now, {}))}
    edge = deque([frozen(first)])
    steps = deepest = 0
    while edge:
        world = edge.popleft()
        now = thaw(world)
        choices = list(now.steps())
        try:
            if not choices:
                now.check_end()
        except Broken as broken:
            raise Broken(f"{broken}\n" + "\n".join(now.trail)) from broken
        for name, step in choices:
            after = thaw(world)
            try:
                after.take(name, step)
                after.check()
            except Broken as broken:
                raise Broken(f"{broken}\n" + "\n".join(after.trail)) from broken
            steps += 1
            told_by = hash(key(after, after.now, {}))
            if told_by not in seen:
                seen.add(told_by)
                edge.append(frozen(after))
                deepest = max(deepest, len(after.trail))
        if len(seen) >= bounds.states_max or time.monotonic() > until:
            return Found(len(seen), steps, deepest, is_whole=False)
    return Found(len(seen), steps, deepest, is_whole=True)
