"""A broker's process in virtual time: the real core, and a loop that decides nothing."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from broker.core import Broker
from broker.limits import BrokerLimits
from broker.receipts import Receipt
from dialgate.wire.envelope import decode_frame, pack_frames
from dialgate.wire.verbs import Role
from simulator.hosts import Host, Surroundings
from simulator.network import Connection
from simulator.records import Ledger, Table

__all__ = ["BrokerHost"]


class BrokerHost(Host):
    """One broker."""

    def __init__(
        self,
        world: Surroundings,
        name: str,
        limits: BrokerLimits,
        table: Table,
        state_fault: Callable[[], str],
    ) -> None:
        super().__init__(world, name)
        self.limits = limits
        self.core = Broker(limits, name=name, instance=self.instance)
        self._ledger = Ledger(self, table, state_fault, self._recorded)
        self._connections: dict[bytes, Connection] = {}
        self._routing_ids: dict[Connection, bytes] = {}
        self._last_id = 0

    def arrive(self, connection: Connection, frame: bytes) -> None:
        """Take a frame of a peer."""
        self.turn(self._receive, connection, frame)

    def _receive(self, connection: Connection, frame: bytes) -> None:
        routing_id = self._routing_ids.get(connection)
        if routing_id is None:
            self._last_id += 1
            routing_id = self._routing_ids[connection] = b"%d" % self._last_id
            self._connections[routing_id] = connection
        messages, fault = decode_frame(frame)
        self.core.receive(connection.role, routing_id, messages, fault, None, self.timeline.now)

    def settle(self) -> None:
        """Send until the core has nothing more to say."""
        core = self.core
        if core.receipts.taken:
            self._ledger.store(core.receipts.taken)
            core.receipts.taken.clear()
        agents, workers = core.outbox_agents, core.outbox_workers
        while agents or workers:
            if agents:
                self._empty(Role.AGENT, agents)
            if workers:
                self._empty(Role.WORKER, workers)

    def _empty(self, role: Role, box: dict[bytes, list[bytes]]) -> None:
        pending = list(box.items())
        box.clear()
        for routing_id, messages in pending:
            if not messages:
                continue
            connection = self._connections.get(routing_id)
            if connection is None or not connection.send(pack_frames(messages), to_peer=True):
                self._forget(routing_id)
                self.core.send_failed(role, routing_id, self.timeline.now)

    def _recorded(self, receipts: Sequence[Receipt]) -> None:
        self.core.recorded(receipts, self.timeline.now)

    def _forget(self, routing_id: bytes) -> None:
        connection = self._connections.pop(routing_id, None)
        if connection is not None:
            del self._routing_ids[connection]

    def deadline(self, *, anew: bool = False) -> float:  # noqa: ARG002 - always exact
        """Return the core's."""
        return math.inf if self.core.is_stopped else self.core.deadline()

    def tick(self) -> None:
        """Let the core do what time asks for."""
        self.core.tick(self.timeline.now)

    def look(self) -> None:
        """Let the world look at the tables."""
        self.world.turned(self)

    def kill(self) -> None:
        """Go; the kernel closes the sockets."""
        super().kill()
        for connection in list(self._connections.values()):
            connection.end()
