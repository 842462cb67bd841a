"""The network between peers and brokers: TCP-like connections, and what can become of them.

A connection delivers in order, late or never.  It can be broken (both ends notice at their next
send), go dead (nobody is told), and each direction between two machines can be blocked: what is
said then is held, and delivered when the block is lifted, if the connection still lives then.

Invariant: what was sent on a connection arrives on that connection, in order, or not at all.
"""

from __future__ import annotations

from random import Random
from typing import Final, Protocol

from dialgate.wire.verbs import Role
from simulator.timeline import Timeline

__all__ = ["LATENCY_S", "Connection", "End", "Network"]

LATENCY_S: Final = 0.001
"""The least that a frame takes."""
JITTER_S: Final = 0.004


class End(Protocol):
    """Whoever holds one end of a connection."""

    @property
    def name(self) -> str:
        """Its machine's, for blocks and delays."""
        ...

    def arrive(self, connection: Connection, frame: bytes) -> None:
        """Take a frame."""
        ...


class Network:
    """All links between machines."""

    def __init__(self, timeline: Timeline, random: Random) -> None:
        self.timeline: Final = timeline
        self.random: Final = random
        self.blocked: set[tuple[str, str]] = set()
        """From and to, where nothing gets through."""
        self.delays: dict[tuple[str, ...], float] = {}
        """From and to: seconds that each frame takes more."""
        self.connections: list[Connection] = []
        self.lost = 0
        """Frames that were under way when their connection ended."""

    def open(self, peer: End, broker: End | None, role: Role) -> Connection:
        """Return a fresh connection; to a broker that is down it is broken at once."""
        connection = Connection(self, peer, broker or peer, role)
        connection.is_broken = broker is None
        if broker is not None:
            self.connections.append(connection)
        return connection

    def block(self, source: str, target: str) -> None:
        """Let nothing from `source` reach `target`."""
        self.blocked.add((source, target))

    def unblock(self, source: str, target: str) -> None:
        """Let what was held, and all that follows, pass."""
        self.blocked.discard((source, target))
        for connection in self.connections:
            connection.release(source, target)

    def forget(self, connection: Connection) -> None:
        """Have done with a connection."""
        if connection in self.connections:
            self.connections.remove(connection)


class Connection:
    """Between one peer and one broker."""

    __slots__ = ("_due", "_held", "_network", "broker", "is_broken", "is_dead", "peer", "role")

    def __init__(self, network: Network, peer: End, broker: End, role: Role) -> None:
        self.peer = peer
        self.broker = broker
        self.role = role
        self.is_broken = False
        """Both ends are told at their next send."""
        self.is_dead = False
        """Nothing arrives, and nobody is told."""
        self._network = network
        self._due = [0.0, 0.0]
        """When the last frame to the broker, and to the peer, arrives."""
        self._held: tuple[list[bytes], list[bytes]] = ([], [])

    def send(self, frames: list[bytes], *, to_peer: bool) -> bool:
        """Send frames; return whether that could be done."""
        if self.is_broken:
            return False
        network, timeline = self._network, self._network.timeline
        due = timeline.now + LATENCY_S + JITTER_S * network.random.random()
        if network.delays:
            ends = (self.broker.name, self.peer.name)
            due += network.delays.get(ends if to_peer else ends[::-1], 0.0)
        due = max(due, self._due[to_peer])
        self._due[to_peer] = due
        for frame in frames:
            timeline.at(due, self._arrive, frame, to_peer)
        return True

    def close(self) -> None:
        """Let the peer close it: what it said before still arrives, if there is a way."""
        due = max(self._due[0], self._network.timeline.now) + LATENCY_S
        self._network.timeline.at(due, self.end)

    def end(self) -> None:
        """Be broken."""
        self.is_broken = True
        self._lose_held()
        self._network.forget(self)

    def die(self) -> None:
        """Be dead."""
        self.is_dead = True
        self._lose_held()

    def release(self, source: str, target: str) -> None:
        """Deliver what was held on this way, after the block was lifted."""
        ends = (self.broker.name, self.peer.name)
        for to_peer, way in enumerate((ends[::-1], ends)):
            if way == (source, target):
                held, timeline = self._held[to_peer], self._network.timeline
                self._due[to_peer] = max(self._due[to_peer], timeline.now + LATENCY_S)
                for frame in held:
                    timeline.at(timeline.now + LATENCY_S, self._arrive, frame, bool(to_peer))
                held.clear()

    def _arrive(self, frame: bytes, to_peer: bool) -> None:  # noqa: FBT001 - a timeline's argument
        if self.is_broken or self.is_dead:
            self._network.lost += 1
            return
        end, other = (self.peer, self.broker) if to_peer else (self.broker, self.peer)
        if self._network.blocked and (other.name, end.name) in self._network.blocked:
            self._held[to_peer].append(frame)
            return
        end.arrive(self, frame)

    def _lose_held(self) -> None:
        for held in self._held:
            self._network.lost += len(held)
            held.clear()
