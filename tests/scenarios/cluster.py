"""The programs of a scenario: the real cores of broker, agent and worker, and peers played by hand.

Shells in virtual time: they do what the real ones do with sockets, ttys and tasks, and decide
nothing.  The login that workers conduct is the one thing invented here: a name, a password that is
"right", three tries counted in the cookie.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Sequence
from functools import partial
from itertools import count
from typing import Final

from msgspec import UNSET

from auth_workers.cookie import Cookies, Progress
from auth_workers.session import Worker
from auth_workers.session_actions import Action as WorkerAction
from auth_workers.session_actions import Answer, CancelTask, Leave, StartTask, Unplug
from auth_workers.session_dialog import Question
from auth_workers.verdict import Granted, Refused, Undecided, Verdict
from broker.core import Broker
from broker.limits import BrokerLimits
from dialgate.codes import NO_ERROR
from dialgate.histogram import ANSWER_BOUNDS_S, Histogram
from dialgate.sealing import Sealer
from dialgate.session import (
    CloseLink,
    OpenLink,
    PeerSession,
    SessionClosed,
    SessionEvent,
    SessionOpened,
    Transmit,
)
from dialgate.wire.bodies import Hello
from dialgate.wire.body_codec import encode
from dialgate.wire.envelope import decode_frame
from dialgate.wire.verbs import Role, Verb
from port_agents.agent import Agent
from port_agents.agent_actions import Action as AgentAction
from port_agents.agent_actions import Finished, OnPort
from port_agents.brokers import Brokers
from port_agents.counters import AgentCounters
from port_agents.line_actions import (
    LineChanged,
    LineSettings,
    LineState,
    Record,
    ServiceLimits,
    StartService,
    StopService,
    WriteLine,
)
from port_agents.modem_actions import ModemLines, ModemSettings, Reopen, SetDtr
from port_agents.record_sender import LoadRecords, MarkStored
from port_agents.simulated_modem import (
    CallAnswered,
    CallDropped,
    Dialled,
    LinesChanged,
    SimulatedAction,
    SimulatedModem,
    ToCaller,
    ToDte,
)
from tests.scenarios.network import Connection, World
from tests.scenarios.words import code, quote

TRIES: Final = 3
TICK_S: Final = 0.25
"""How often a worker's core is told the time."""
UNTOLD: Final = frozenset({LineState.ANSWERING, LineState.RINGING, LineState.UNKNOWN})


class BrokerProgram:
    """A broker and its loop."""

    def __init__(self, world: World, name: str, **limits: int) -> None:
        self.name = name
        self.world = world
        self.connections: dict[bytes, Connection] = {}
        self.core = Broker(BrokerLimits(**limits), name=name, instance=world.names.fresh(name))
        world.actors.append(self)

    def accept(self, connection: Connection) -> None:
        """Take a connection, under a routing id of its own."""
        self.connections[b"%s/%d" % (connection.peer.name.encode(), len(self.connections))] = (
            connection
        )

    def receive(self, connection: Connection, frame: bytes) -> None:
        """Let the core work on a frame, then send."""
        routing_id = next(key for key, each in self.connections.items() if each is connection)
        messages, fault = decode_frame(frame)
        self.core.receive(connection.role, routing_id, messages, fault, None, self.world.now)
        self.flush()

    def flush(self) -> None:
        """Send until the core has nothing more to say."""
        boxes = ((Role.AGENT, self.core.outbox_agents), (Role.WORKER, self.core.outbox_workers))
        while any(box for _, box in boxes):
            for role, box in boxes:
                pending = list(box.items())
                box.clear()
                for routing_id, messages in pending:
                    connection = self.connections[routing_id]
                    if not connection.send(connection.peer, messages):
                        self.core.send_failed(role, routing_id, self.world.now)

    def deadline(self) -> float:
        return self.core.deadline()

    def tick(self) -> None:
        self.core.tick(self.world.now)
        self.flush()

    def kill(self) -> None:
        """Go, without a word."""
        self.world.actors.remove(self)
        for connection in self.connections.values():
            connection.is_gone = True


class Link:
    """One peer's `PeerSession` with one broker, and its socket."""

    def __init__(self, program: PeerProgram, address: str) -> None:
        self.program = program
        self.address = address
        self.connection: Connection | None = None
        self.session = PeerSession(
            address,
            program.role,
            hello=program.hello,
            next_session=partial(next, program.sessions),
            jitter=lambda: 0.5,
        )

    def settle(self) -> None:
        """Do what the session wants: connect, send, close."""
        world = self.program.world
        if self.session.connect_wanted:
            self.session.connect_wanted = False
            self._close()
            self.connection = self.program.connect(self.address)
        frames = self.session.take_frames(world.now)
        if frames:
            connection = self.connection
            messages = [message[4] for frame in frames for message in decode_frame(frame)[0]]
            if connection is None or not connection.send(connection.broker, messages):
                number = self.session.session
                world.later(0.0, lambda: self._send_failed(number))
        if not self.session.connected():
            self._close()

    def _close(self) -> None:
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def _send_failed(self, session: int) -> None:
        if session == self.session.session:
            self.program.deliver(self, self.session.send_failed(self.program.world.now))


class PeerProgram(ABC):
    """What agents and workers have in common: links."""

    role: Role

    def __init__(self, world: World, name: str, brokers: dict[str, BrokerProgram]) -> None:
        self.name = name
        self.world = world
        self.brokers = brokers
        """Those that are up, by name; a broker that was started again is another program."""
        self.instance = world.names.fresh(name)
        self.sessions = count(1)
        self.links: dict[str, Link] = {}
        self.alias = name
        """The name that it gives itself."""
        world.actors.append(self)

    def hello(self, session: int) -> bytes:
        """Return the HELLO of a session."""
        is_agent = self.role is Role.AGENT
        hello = Hello(
            protocol=1,
            role="agent" if is_agent else "worker",
            name=self.alias,
            instance=self.instance,
            session=session,
            version="",
            site="oslo" if is_agent else UNSET,
            capacity=UNSET if is_agent else 100,
        )
        return encode(Verb.HELLO, hello)

    def connect(self, address: str) -> Connection:
        """Return a fresh connection; to a broker that is down it is gone at once."""
        broker = self.brokers.get(address)
        if broker is None:
            nobody = Connection(self.world, self, self, self.role)
            nobody.is_gone = True
            return nobody
        connection = Connection(self.world, self, broker, self.role)
        broker.accept(connection)
        return connection

    def connection(self, broker: str) -> Connection:
        """Return the connection with a broker."""
        connection = self.links[broker].connection
        assert connection is not None, f"{self.name} has no connection with {broker}"
        return connection

    def receive(self, connection: Connection, frame: bytes) -> None:
        """Take a frame of a broker."""
        for link in self.links.values():
            if link.connection is connection:
                self.deliver(link, link.session.receive(frame, self.world.now))
                return

    def deliver(self, link: Link, events: Sequence[SessionEvent]) -> None:
        """Hand what happened to the core."""
        for event in events:
            match event:
                case SessionOpened():
                    self.world.note(f"{self.name} = {link.address}: session {event.session}")
                case SessionClosed():
                    self.world.note(f"{self.name} = {link.address}: over, {code(event.code)}")
                case _:
                    pass  # A message: its arrival has been noted.
            self.on_event(link, event)
        self.settle()

    @abstractmethod
    def on_event(self, link: Link, event: SessionEvent) -> None:
        """Let the core work on one event."""

    def settle(self) -> None:
        """Send what is to be sent."""
        for link in list(self.links.values()):
            link.settle()

    def transmit(self, action: Transmit) -> None:
        """Send on a session, if it is still there."""
        for link in self.links.values():
            if link.session.session == action.session:
                link.session.send(action.message)

    def deadline(self) -> float:
        return min((link.session.deadline() for link in self.links.values()), default=math.inf)

    def tick(self) -> None:
        for link in list(self.links.values()):
            if link.session.deadline() <= self.world.now:
                self.deliver(link, link.session.tick(self.world.now))
        self.settle()

    def kill(self) -> None:
        """Go, without a word."""
        self.world.actors.remove(self)
        for link in self.links.values():
            if link.connection is not None:
                link.connection.is_gone = True
        self.links.clear()


Script = Generator[Question | bytes, Answer, Verdict]


def login(cookies: Cookies, start: StartTask) -> Script:
    """Conduct the dialog: yield what to show or to ask, get the answers, return the verdict."""
    progress = cookies.read(start.begin, start.attempt)
    first = TRIES - 1 if progress.lost else progress.tries
    for tries in range(first, TRIES):
        cookie = cookies.seal(Progress(step="login", tries=tries))
        name = yield Question(b"login: ", 64, 60, cookie)
        if not name.status.ok:
            return Undecided(name.status)
        cookie = cookies.seal(Progress(step="login", tries=tries + 1))
        password = yield Question(b"Password: ", 64, 60, cookie, echo="off")
        if not password.status.ok:
            return Undecided(password.status)
        if password.data == b"right":
            return Granted(name.data.decode())
        yield b"Login incorrect\r\n"
    return Refused()


class WorkerProgram(PeerProgram):
    """An auth worker."""

    role = Role.WORKER

    def __init__(
        self,
        world: World,
        name: str,
        brokers: dict[str, BrokerProgram],
        links: Sequence[str],
        capacity: int = 100,
        dies_of: str = "",
    ) -> None:
        super().__init__(world, name, brokers)
        nonces = count()
        self.sealer = Sealer(b"k" * 32, lambda: next(nonces).to_bytes(24, "big"))
        self.core = Worker(self.instance, capacity=capacity, links=len(links))
        self.tick_at = world.now
        self.delays_end = False
        self.dies_of = dies_of.encode()
        """An answer that kills it; empty: none does."""
        self.tasks: dict[int, Script] = {}
        self.named: dict[str, int] = {}
        """Tasks by the names of their dialogs."""
        self.links = {link: Link(self, link) for link in links}
        for link in self.links.values():
            link.session.start(world.now)
        self.settle()

    def on_event(self, link: Link, event: SessionEvent) -> None:
        now = self.world.now
        match event:
            case SessionOpened():
                self.perform(
                    self.core.session_opened(link.address, event.session, event.welcome, now)
                )
            case SessionClosed():
                self.perform(self.core.session_closed(event.session, event.code, now))
            case _:
                verb, dialog, attempt, body, _ = event
                session = link.session.session
                self.perform(self.core.message(session, verb, dialog, attempt, body, now))

    def perform(self, actions: Sequence[WorkerAction]) -> None:
        """Do what the core wants."""
        for action in actions:
            match action:
                case Transmit():
                    self.transmit(action)
                case StartTask():
                    self._start(action)
                case Answer(data=data) if data and data == self.dies_of:
                    self.world.note(f"{self.name}: dies")
                    self.kill()
                case Answer():
                    self._step(action.task, action)
                case CancelTask():
                    self.tasks.pop(action.task).close()
                    self.world.note(f"{self.name}: task cancelled, {code(action.why)}")
                    self.perform(self.core.finished(action.task, self.world.now))
                case Unplug():
                    self.world.note(f"{self.name}: delays the end, {code(action.why)}")
                case Leave():
                    self.world.note(f"{self.name}: leaves")
                    for link in self.links.values():
                        link.session.stop(action.code)
                case _:
                    pass  # For metrics.

    def finish(self, dialog: str, verdict: Verdict) -> None:
        """Let the task of a dialog that delays its end come to its verdict."""
        self.perform(self.core.complete(self.named[dialog], verdict, self.world.now))
        self.settle()

    def drain(self, deadline_s: float) -> None:
        """Take SIGTERM."""
        self.perform(self.core.drain(deadline_s, self.world.now))
        self.settle()

    def deadline(self) -> float:
        return min(super().deadline(), self.tick_at)

    def tick(self) -> None:
        super().tick()
        if self.world.now >= self.tick_at:
            self.tick_at = self.world.now + TICK_S
            self.perform(self.core.tick(self.world.now))
        self.settle()

    def _start(self, start: StartTask) -> None:
        dialog = self.world.names.dialog(start.dialog)
        self.world.note(f"{self.name}: begins {dialog}({start.attempt})")
        cookies = Cookies(self.sealer, start.dialog, start.begin, start.facts)
        self.tasks[start.task] = login(cookies, start)
        self.named[dialog] = start.task
        if self.delays_end:
            self.core.delay_end(start.task, on=True)
        self._step(start.task, None)

    def _step(self, task: int, answer: Answer | None) -> None:
        """Let a task go on until it waits for an answer or is through."""
        script = self.tasks[task]
        try:
            wanted = next(script) if answer is None else script.send(answer)
            while isinstance(wanted, bytes):
                self.perform(self.core.send(task, wanted)[1])
                wanted = next(script)
        except StopIteration as verdict:
            self.perform(self.core.complete(task, verdict.value, self.world.now))
            if not self.delays_end:
                self.tasks.pop(task, None)
                self.perform(self.core.finished(task, self.world.now))
        else:
            self.perform(self.core.receive(task, wanted)[1])


class AgentProgram(PeerProgram):
    """A port agent with a simulated modem a port, and who calls there."""

    role = Role.AGENT

    def __init__(
        self,
        world: World,
        name: str,
        brokers: dict[str, BrokerProgram],
        links: Sequence[str],
        *,
        local: Sequence[str] = (),
        ports: Sequence[str] = ("p1",),
    ) -> None:
        super().__init__(world, name, brokers)
        order = [*links, *local]
        self._ids = count(1)
        counters = AgentCounters(Histogram(ANSWER_BOUNDS_S), Histogram(ANSWER_BOUNDS_S))
        settings = [
            LineSettings(
                hport=hport,
                site="oslo",
                agent=name,
                device="simulated",
                service="console",
                services={"console": ServiceLimits()},
                modem=ModemSettings(init=("ATE0S0=0",)),
            )
            for hport in ports
        ]
        choice = Brokers(
            name, links, local, weight=lambda _agent, link: bytes([255 - order.index(link)])
        )
        self.core = Agent(choice, settings, counters, lambda: b"%015d" % next(self._ids) + b".")
        self.modems = {hport: SimulatedModem() for hport in ports}
        self.screens: dict[str, bytes] = {}
        """What callers have been shown in this instant."""
        self.perform(self.core.start(world.now))
        for hport in ports:
            self.perform(
                self.core.opened(hport, _lines(LinesChanged(dcd=False, ri=False)), world.now)
            )
        self.settle()

    def on_event(self, link: Link, event: SessionEvent) -> None:
        now = self.world.now
        match event:
            case SessionOpened():
                self.perform(
                    self.core.session_opened(link.address, event.session, event.welcome, now)
                )
            case SessionClosed():
                self.perform(self.core.session_closed(event.session, event.code, now))
            case _:
                verb, dialog, attempt, body, _ = event
                session = link.session.session
                self.perform(self.core.message(session, verb, dialog, attempt, body, now))

    # What callers do.

    def ring(self, hport: str) -> None:
        """Let somebody call."""
        self._modem(hport, self.modems[hport].ring(self.world.now))

    def type(self, hport: str, typed: bytes) -> None:
        """Let the caller type."""
        self._modem(hport, self.modems[hport].line(typed, self.world.now))

    def hang_up(self, hport: str) -> None:
        """Let the caller hang up."""
        self._modem(hport, self.modems[hport].far_hang_up(self.world.now))

    def stop(self) -> None:
        """Take SIGTERM for the second time."""
        self.perform(self.core.stop(self.world.now))
        self.settle()

    # Shell.

    def deadline(self) -> float:
        modems = min(modem.deadline() for modem in self.modems.values())
        return min(super().deadline(), self.core.deadline(), modems)

    def tick(self) -> None:
        super().tick()
        for hport, modem in self.modems.items():
            self._modem(hport, modem.tick(self.world.now))
        self.perform(self.core.tick(self.world.now))
        self.settle()

    def perform(self, actions: Sequence[AgentAction]) -> None:
        """Do what the core wants."""
        for action in actions:
            match action:
                case Transmit():
                    self.transmit(action)
                case OpenLink(address):
                    link = self.links.setdefault(address, Link(self, address))
                    link.session.start(self.world.now)
                case CloseLink(address):
                    self.links[address].session.stop(NO_ERROR)
                case OnPort(hport, wanted):
                    self._on_port(hport, wanted)
                case LoadRecords() | MarkStored():
                    pass  # There is no spool here.
                case Finished():
                    self.world.note(f"{self.name}: finished")

    def _on_port(self, hport: str, action: object) -> None:
        now = self.world.now
        match action:
            case WriteLine(data):
                self._modem(hport, self.modems[hport].dte(data, now))
                self.world.later(0.01, lambda: self._did(self.core.drained(hport, self.world.now)))
            case SetDtr(on):
                self._modem(hport, self.modems[hport].dtr(on, now))
            case Reopen(after_s):
                lines = _lines(LinesChanged(dcd=False, ri=False))
                self.world.later(
                    after_s, lambda: self._did(self.core.opened(hport, lines, self.world.now))
                )
            case LineChanged(state, reason):
                if state not in UNTOLD:
                    self.world.note(f"{hport}: {state}{', ' if reason else ''}{reason}")
            case StartService(name, admission):
                self.world.note(f"{hport}: {name} for {admission.user}")
            case StopService():
                self.world.later(
                    0.0, lambda: self._did(self.core.service_ended(hport, "", self.world.now))
                )
            case Record("stop", call):
                self.world.note(f"{hport}: record of the call, {call.disconnect}")
            case _:
                pass  # Nothing is under way on this line, and its service says nothing.

    def _did(self, actions: Sequence[AgentAction]) -> None:
        self.perform(actions)
        self.settle()

    def _modem(self, hport: str, actions: Sequence[SimulatedAction]) -> None:
        """Let the modem's side of the line happen; the agent hears of it in a turn of its own."""
        for action in actions:
            match action:
                case ToDte(data):
                    self._soon(partial(self.core.receive, hport, data))
                case LinesChanged():
                    self._soon(partial(self.core.lines_changed, hport, _lines(action)))
                case ToCaller(data):
                    if not self.screens.get(hport):
                        self.world.later(0.0, partial(self._show, hport))
                    self.screens[hport] = self.screens.get(hport, b"") + data
                case CallDropped():
                    self.world.note(f"{hport}: hangs up on the caller")
                case CallAnswered() | Dialled():
                    pass

    def _soon(self, what: Callable[[float], list[AgentAction]]) -> None:
        self.world.later(0.0, lambda: self._did(what(self.world.now)))

    def _show(self, hport: str) -> None:
        self.world.note(f"{hport}: caller sees {quote(self.screens.pop(hport))}")


class HandProgram(PeerProgram):
    """A peer that says what it is told to, and nothing else but PONG."""

    def __init__(
        self,
        world: World,
        name: str,
        brokers: dict[str, BrokerProgram],
        role: Role,
        alias: str = "",
    ) -> None:
        self.role = role
        super().__init__(world, name, brokers)
        self.alias = alias or name

    def greet(self, broker: str) -> None:
        """Open a session."""
        self.links[broker] = Link(self, broker)
        self.links[broker].session.start(self.world.now)
        self.settle()

    def reconnect(self, broker: str) -> None:
        """Connect again and say no HELLO, as libzmq does by itself unless told not to."""
        self.links[broker].connection = self.connect(broker)

    def on_event(self, link: Link, event: SessionEvent) -> None:
        """See it in the trace."""


def _lines(changed: LinesChanged) -> ModemLines:
    return ModemLines(dcd=changed.dcd, dsr=True, ri=changed.ri, cts=True)
