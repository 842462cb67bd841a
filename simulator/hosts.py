"""Processes in virtual time: what every program's shell has in common, and a peer's links.

A host does what a real shell does with sockets and timers, and decides nothing.  It can be killed
(it is never heard again) and paused, as by SIGSTOP: what reaches it meanwhile waits, in order.

Invariant: after each turn of a host all that its core wants is done, its timer is set, and the
world has looked at it.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from random import Random
from typing import Final, Protocol

from msgspec import UNSET

from dialgate.codes import NO_ERROR
from dialgate.session import (
    PeerSession,
    SessionClosed,
    SessionEvent,
    SessionOpened,
    SessionState,
    Transmit,
)
from dialgate.wire.bodies import Hello
from dialgate.wire.body_codec import encode
from dialgate.wire.verbs import Role, Verb
from simulator.network import Connection, End, Network
from simulator.timeline import Timeline

__all__ = ["Host", "Peer", "Surroundings"]

SPINS_MAX: Final = 1000
"""Turns of a timer at one moment; a core that asks for more would hang its process."""


class Surroundings(Protocol):
    """What a host needs of its world."""

    @property
    def timeline(self) -> Timeline:
        """Its clock."""
        ...

    @property
    def network(self) -> Network:
        """What its processes speak through."""
        ...

    @property
    def random(self) -> Random:
        """Its one source of chance."""
        ...

    def broker(self, name: str) -> End | None:
        """Return the broker of this name, if it is up."""
        ...

    def turned(self, host: Host) -> None:
        """Look at a host after a turn that there is something to see of."""
        ...

    def sent(self, host: Host, session: int, message: bytes) -> None:
        """See what a host's core sends."""
        ...

    def heard(
        self,
        host: Host,
        session: int,
        verb: int,
        dialog: bytes | None,
        attempt: int,
        body: bytes,
    ) -> None:
        """See what a host's core is about to be told."""
        ...

    def session_over(self, host: Host, session: int) -> None:
        """See that a session of a peer has ended."""
        ...

    def broken(self, rule: str, text: str, dialog: bytes | None = None) -> None:
        """Take note that an invariant is broken."""
        ...


class Host:
    """One process.  Without ABC's metaclass, whose `isinstance` runs Python: turns are many."""

    def __init__(self, world: Surroundings, name: str) -> None:
        self.world: Final = world
        self.timeline: Final = world.timeline
        self.name: Final = name
        self.instance: Final = world.random.randbytes(16)
        self.is_alive = True
        self.is_paused = False
        self.resumed_at = -math.inf
        """When it last came back from a pause; its clocks have jumped then."""
        self._waiting: deque[tuple[Callable[..., object], tuple[object, ...]]] = deque()
        self._armed_for = math.inf
        self._spun = (0.0, 0)

    def turn(self, work: Callable[..., object], *args: object) -> None:
        """Let the process do `work` when it runs, and then all that follows from it."""
        if not self.is_alive:
            return
        if self.is_paused:
            self._waiting.append((work, args))
            return
        work(*args)
        if self.is_alive:
            self.settle()
            due = self.deadline()
            if due < self._armed_for:
                self._arm(due)
            self.look()

    @abstractmethod
    def look(self) -> None:
        """Let the world hold what the turn has touched against the rules."""

    def kill(self) -> None:
        """Go, without a word."""
        self.is_alive = False
        self._waiting.clear()

    def pause(self) -> None:
        """Stand still."""
        self.is_paused = True

    def resume(self) -> None:
        """Go on, with what has come meanwhile."""
        self.is_paused = False
        self.resumed_at = self.timeline.now
        while self._waiting and not self.is_paused:
            work, args = self._waiting.popleft()
            self.turn(work, *args)

    @abstractmethod
    def settle(self) -> None:
        """Send what is to be sent."""

    @abstractmethod
    def tick(self) -> None:
        """Do what time asks for."""

    @abstractmethod
    def deadline(self, *, anew: bool = False) -> float:
        """Return when `tick` is due, or earlier; `anew`: exactly."""

    def _arm(self, due: float) -> None:
        self._armed_for = due
        self.timeline.at(due, self._wake, due)

    def _wake(self, due: float) -> None:
        if due != self._armed_for:
            return
        self._armed_for = math.inf
        if self.is_alive and not self.is_paused:
            exact = self.deadline(anew=True)
            if exact > self.timeline.now:
                if exact < math.inf:
                    self._arm(exact)
                return
        at, spins = self._spun
        self._spun = (self.timeline.now, spins + 1 if at == self.timeline.now else 0)
        if spins > SPINS_MAX:
            self.world.broken("I8", f"{self.name} is due again and again")
            self.kill()
            return
        self.turn(self.tick)


class _Link:
    """One peer's session with one broker, and its socket."""

    def __init__(self, peer: Peer, address: str) -> None:
        self.peer = peer
        self.address = address
        self.connection: Connection | None = None
        self.session = PeerSession(
            address,
            peer.role,
            hello=peer.hello,
            next_session=peer.next_session,
            jitter=peer.world.random.random,
        )

    def settle(self) -> None:
        """Do what the session wants: connect, send, close."""
        session = self.session
        if session.connect_wanted:
            session.connect_wanted = False
            self.close()
            world = self.peer.world
            self.connection = world.network.open(
                self.peer, world.broker(self.address), self.peer.role
            )
        frames = session.take_frames(self.peer.timeline.now)
        if frames:
            connection = self.connection
            if connection is None or not connection.send(frames, to_peer=False):
                self.peer.timeline.after(
                    0.0, self.peer.turn, self.peer.send_failed, self, session.session
                )
        if not session.connected():
            self.close()

    def close(self) -> None:
        """Close the socket."""
        if self.connection is not None:
            self.connection.close()
            self.connection = None


class Peer(Host):
    """What agents and workers have in common: links."""

    def __init__(
        self, world: Surroundings, name: str, role: Role, *, site: str = "", capacity: int = 0
    ) -> None:
        super().__init__(world, name)
        self.role: Final = role
        self.site: Final = site
        """An agent's."""
        self.capacity: Final = capacity
        """A worker's."""
        self.links: dict[str, _Link] = {}
        self._unsettled: list[_Link] = []
        """Links whose session was told something in this turn."""
        self._last_session = 0
        self._links_due = math.inf
        """When the first link's timer is due, or earlier; `-math.inf`: it isn't known."""

    def next_session(self) -> int:
        """Return the number of the next session."""
        self._last_session += 1
        return self._last_session

    def hello(self, session: int) -> bytes:
        """Return the HELLO of a session."""
        is_agent = self.role is Role.AGENT
        hello = Hello(
            protocol=1,
            role="agent" if is_agent else "worker",
            name=self.name,
            instance=self.instance,
            session=session,
            version="",
            site=self.site if is_agent else UNSET,
            capacity=UNSET if is_agent else self.capacity,
        )
        return encode(Verb.HELLO, hello)

    def open_link(self, address: str) -> None:
        """Begin to open sessions with a broker."""
        link = self.links.get(address)
        if link is None:
            link = self.links[address] = _Link(self, address)
        link.session.start(self.timeline.now)
        self._touch(link)
        self._links_due = -math.inf

    def arrive(self, connection: Connection, frame: bytes) -> None:
        """Take a frame of a broker."""
        self.turn(self._receive, connection, frame)

    def _receive(self, connection: Connection, frame: bytes) -> None:
        for link in self.links.values():
            if link.connection is connection:
                self._deliver(link, link.session.receive(frame, self.timeline.now))
                return

    def send_failed(self, link: _Link, session: int) -> None:
        """Take note that what was sent on a session could not be."""
        if session == link.session.session:
            self._deliver(link, link.session.send_failed(self.timeline.now))

    def stop_link(self, address: str) -> None:
        """Say BYE to a broker, and have done with it."""
        link = self.links[address]
        link.session.stop(NO_ERROR)
        self._touch(link)

    def _touch(self, link: _Link) -> None:
        """See to it that this turn does what the link's session wants."""
        if link not in self._unsettled:
            self._unsettled.append(link)

    def _deliver(self, link: _Link, events: Sequence[SessionEvent]) -> None:
        self._touch(link)
        if link.session.state is not SessionState.OPEN:
            self._links_due = -math.inf
        for event in events:
            if isinstance(event, SessionOpened | SessionClosed):
                self._links_due = -math.inf
            self.on_event(link.address, link.session.session, event)

    @abstractmethod
    def on_event(self, link: str, session: int, event: SessionEvent) -> None:
        """Let the core work on one event."""

    def transmit(self, action: Transmit) -> None:
        """Send on a session, if it is still there."""
        self.world.sent(self, action.session, action.message)
        for link in self.links.values():
            if link.session.session == action.session:
                link.session.send(action.message)
                self._touch(link)
                break

    def settle(self) -> None:
        """Send what is to be sent, on every link that there is something to send on."""
        if self._unsettled:
            unsettled, self._unsettled = self._unsettled, []
            for link in unsettled:
                link.settle()

    def look_at_links(self) -> None:
        """Find out when the first link's timer is due.

        While a session is open its timer only moves to later: no need to look each turn.
        """
        self._links_due = math.inf
        for link in self.links.values():
            self._links_due = min(self._links_due, link.session.deadline())

    def tick(self) -> None:
        """Do what time asks of the links."""
        now = self.timeline.now
        if self._links_due > now:
            return
        self._links_due = -math.inf
        for link in list(self.links.values()):
            if link.session.deadline() <= now:
                self._deliver(link, link.session.tick(now))

    def kill(self) -> None:
        """Go; the kernel closes the sockets."""
        super().kill()
        for link in self.links.values():
            if link.connection is not None:
                link.connection.end()
