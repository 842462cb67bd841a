"""Time and the network of a scenario: nothing happens but in order, and a message takes 1 ms.

A connection is a TCP connection's like: in order, and once it is gone it stays gone.  It can be cut
(nothing arrives, nobody is told), held (what is said arrives later) or gone (the next send fails).
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Final, Protocol

from dialgate.wire.envelope import decode_frame, pack_frames
from dialgate.wire.verbs import Role
from tests.scenarios.words import Names, tell

LATENCY_S: Final = 0.001


class Actor(Protocol):
    """Whoever has timers."""

    def deadline(self) -> float:
        """Return when `tick` is due."""

    def tick(self) -> None:
        """Do what time asks for."""


class World:
    """The clock, what is under way, and the trace."""

    def __init__(self) -> None:
        self.now = 0.0
        self.names = Names()
        self.trace: list[str] = []
        self.actors: list[Actor] = []
        self._order = 0
        self._under_way: list[tuple[float, int, Callable[[], None]]] = []

    def later(self, after_s: float, what: Callable[[], None]) -> None:
        """Let something happen after a while."""
        self._order += 1
        heapq.heappush(self._under_way, (self.now + after_s, self._order, what))

    def run(self, seconds: float) -> None:
        """Let time pass, with all that is due in it."""
        until = self.now + seconds
        while True:
            due = min((actor.deadline() for actor in self.actors), default=until + 1)
            if self._under_way:
                due = min(due, self._under_way[0][0])
            if due > until:
                break
            self.now = max(self.now, due)
            while self._under_way and self._under_way[0][0] <= self.now:
                heapq.heappop(self._under_way)[2]()
            for actor in list(self.actors):
                if actor.deadline() <= self.now:
                    actor.tick()
        self.now = until

    def note(self, text: str) -> None:
        """Write a line of the trace."""
        self.trace.append(f"{self.now:8.3f}  {text}")


class Receiver(Protocol):
    """One end of a connection."""

    name: str

    def receive(self, connection: Connection, frame: bytes) -> None:
        """Take a frame."""


class Connection:
    """Between a peer and a broker."""

    def __init__(self, world: World, peer: Receiver, broker: Receiver, role: Role) -> None:
        self.peer = peer
        self.broker = broker
        self.role = role
        self.is_cut = False
        self.is_gone = False
        self._world = world
        self._held: dict[str, list[bytes]] = {}
        """By receiver, what arrives later."""

    def send(self, to: Receiver, messages: list[bytes]) -> bool:
        """Send messages, packed; return whether that could be done."""
        if self.is_gone:
            return False
        for frame in pack_frames(messages):
            self._world.later(LATENCY_S, lambda frame=frame: self._arrive(to, frame))  # type: ignore[misc]
        return True

    def close(self) -> None:
        """Let the peer close it; where nothing arrives, the other end doesn't hear of it."""
        if not self.is_cut and not self._held:
            self._world.later(2 * LATENCY_S, lambda: setattr(self, "is_gone", True))

    def hold(self, to: str) -> None:
        """Let what is said to this end wait."""
        self._held.setdefault(to, [])

    def release(self, to: str) -> None:
        """Let it arrive."""
        for frame in self._held.pop(to):
            self._arrive(self.peer if to == self.peer.name else self.broker, frame)

    def _arrive(self, to: Receiver, frame: bytes) -> None:
        if self.is_cut or self.is_gone:
            return
        if to.name in self._held:
            self._held[to.name].append(frame)
            return
        sender = self.broker if to is self.peer else self.peer
        for message in decode_frame(frame)[0]:
            if text := tell(message, self._world.names):
                self._world.note(f"{sender.name} > {to.name}: {text}")
        to.receive(self, frame)
