"""A broker as operators see it at one moment: rows for the API and items for the event stream.

Read-only, and in the words of broker.board: a field means the same in a row, in a snapshot and in
a change.  Called on the event loop, between two turns of it, so everything fits together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from importlib.metadata import version
from math import inf
from typing import Any, Final, get_args
from uuid import UUID

from broker.board import Line, agent_fields, entry_fields, worker_fields
from broker.core import Broker
from broker.entries import StateName
from broker.sessions import AgentSession, WorkerSession
from dialgate.wire.verbs import Role

__all__ = ["Row", "View"]

Row = dict[str, Any]

_VERSION: Final = version("dialgate")


class View:
    """What there is to see of `broker`.

    Args:
        broker: the core.
        clock: monotonic seconds, the clock that the core is driven by.
    """

    def __init__(self, broker: Broker, clock: Callable[[], float]) -> None:
        self._broker = broker
        self.now = clock
        """The core's clock."""
        self._started_at = clock()

    @property
    def is_draining(self) -> bool:
        """Whether the broker sends its agents away, or has done so."""
        return self._broker.is_stopped or self._broker.stops_at < inf

    def status(self) -> Row:
        """Return the broker itself, and sums of the rest."""
        dialogs = self.dialog_states()
        return {
            "name": self._broker.name,
            "version": _VERSION,
            "instance": self._broker.instance.hex(),
            "uptime_ms": int((self.now() - self._started_at) * 1000),
            "draining": self.is_draining,
            "agents": len(list(self.agent_sessions())),
            "workers": len(list(self.worker_sessions())),
            "credit": sum(worker.room for worker in self.worker_sessions()),
            "ports": dict(Counter(line.state for line in self.lines())),
            "dialogs": dict(dialogs),
        }

    def agents(self) -> list[Row]:
        """Return the agents that have a session."""
        now, lines = self.now(), self._broker.board.lines
        return [
            {**agent_fields(agent, now), "ports": len(lines.get(agent.name, ()))}
            for agent in self.agent_sessions()
        ]

    def workers(self) -> list[Row]:
        """Return the workers that have a session."""
        now, load = self.now(), self._broker.switchboard.entries.load
        return [worker_fields(worker, load(worker), now) for worker in self.worker_sessions()]

    def ports(self) -> list[Row]:
        """Return all ports that agents have told of, those of agents that are gone as well."""
        now = self.now()
        return [self._port(line, now) for line in self.lines()]

    def dialogs(self) -> list[Row]:
        """Return the dialogs that pass through this broker."""
        now = self.now()
        return [
            {**entry_fields(entry), "age_ms": int((now - entry.began_at) * 1000)}
            for entry in self._broker.switchboard.entries.by_dialog.values()
        ]

    def items(self) -> Iterator[tuple[str, Row]]:
        """Yield everything as the events that would have told it."""
        now = self.now()
        for agent in self.agent_sessions():
            yield "agent", agent_fields(agent, now)
        for worker in self.workers():
            yield "worker", worker
        for line in self.lines():
            yield "line", line.fields(now)
        for entry in self._broker.switchboard.entries.by_dialog.values():
            yield "dialog", entry_fields(entry)

    def lines(self) -> Iterator[Line]:
        """Yield the last word on each port."""
        for lines in self._broker.board.lines.values():
            yield from lines.values()

    def has_agent(self, name: str) -> bool:
        """Return whether the agent `name` has a session."""
        return name in self._broker.registry.by_name[Role.AGENT]

    def agents_with(self, hport: str) -> list[str]:
        """Return the agents that have told of `hport`, whether they are here or not."""
        return [agent for agent, lines in self._broker.board.lines.items() if hport in lines]

    def agent_sessions(self) -> Iterator[AgentSession]:
        """Yield the agents' sessions."""
        for session in self._broker.registry.sessions[Role.AGENT].values():
            assert isinstance(session, AgentSession)
            yield session

    def worker_sessions(self) -> Iterator[WorkerSession]:
        """Yield the workers' sessions."""
        for session in self._broker.registry.sessions[Role.WORKER].values():
            assert isinstance(session, WorkerSession)
            yield session

    def dialog_states(self) -> dict[StateName, int]:
        """Return how many dialogs are in each state."""
        entries = self._broker.switchboard.entries.by_dialog.values()
        return dict.fromkeys(get_args(StateName), 0) | Counter(entry.state for entry in entries)

    def _port(self, line: Line, now: float) -> Row:
        entry = self._broker.switchboard.entries.of_port(line.agent, line.hport)
        worker = entry.worker if entry is not None else None
        return {
            **line.fields(now),
            "dialog": None if entry is None else str(UUID(bytes=entry.dialog)),
            "worker": None if worker is None else worker.name,
            "stale": not self.has_agent(line.agent),
        }
