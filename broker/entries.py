"""What the broker remembers of dialogs, and the four states one can be in (protocol §5).

             assign            END, or its agent lost           END_REPLY 0
    WAITING --------> OWNED --------------------------> ENDING ------------> PINNED

Records only; broker.switchboard alone changes them.

Invariant: a port's newest entry is the only one of that port that may have an agent.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Final, Literal, TypeVar

from broker.reading import BeginHead
from broker.sessions import AgentSession, WorkerSession

__all__ = ["Entries", "Entry", "State", "StateName"]

K = TypeVar("K")


StateName = Literal["waiting", "owned", "ending", "pinned"]


class State:
    """Columns of the table in protocol §5.  A dialog that is not known has no entry.

    Plain words and no enum: an enum's member costs ten times as much to look up (CPython 3.11),
    and every message of a dialog looks one up.
    """

    WAITING: Final = "waiting"
    """For a worker with credit."""
    OWNED: Final = "owned"
    """A worker has its BEGIN."""
    ENDING: Final = "ending"
    """END went to the worker; the lease runs."""
    PINNED: Final = "pinned"
    """The worker delays: a COMPLETE is still to come; the lease goes on."""


class Entry:
    """One dialog.

    Invariants: WAITING has an agent and no worker; OWNED has both; ENDING and PINNED have a worker.
    """

    __slots__ = (
        "agent",
        "agent_name",
        "attempt",
        "began_at",
        "began_by",
        "begin",
        "dialog",
        "due",
        "hport",
        "owner",
        "pool",
        "port",
        "state",
        "worker",
    )

    def __init__(
        self,
        agent: AgentSession,
        dialog: bytes,
        attempt: int,
        begin: BeginHead,
        raw: bytes,
        *,
        began_at: float,
    ) -> None:
        self.state: StateName = State.WAITING
        self.agent: AgentSession | None = agent
        """The session by which BEGIN came; None is the table's "no agent"."""
        self.began_by = agent
        """The same, even after it is gone."""
        self.agent_name = agent.name
        self.hport = begin.hport
        self.port = agent.name, begin.hport
        """Key of the port."""
        self.dialog = dialog
        self.attempt = attempt
        self.worker: WorkerSession | None = None
        self.pool = begin.pool
        self.owner = begin.owner
        """Instance of the worker to prefer; empty: none."""
        self.begin = raw
        """The BEGIN as it came, until a worker has it."""
        self.began_at = began_at
        self.due = began_at
        """When queue time (WAITING) or lease (ENDING, PINNED) is over."""


class Entries:
    """All entries, found by dialog, port, agent and worker."""

    def __init__(self) -> None:
        self.by_dialog: dict[bytes, Entry] = {}
        self._by_port: dict[tuple[str, str], Entry] = {}
        """The newest of each port."""
        self._by_agent: defaultdict[str, dict[bytes, Entry]] = defaultdict(dict)
        """By name: an entry may have outlived its agent's session."""
        self._by_worker: defaultdict[WorkerSession, dict[bytes, Entry]] = defaultdict(dict)

    def __len__(self) -> int:
        return len(self.by_dialog)

    def add(self, entry: Entry) -> None:
        """Take up an entry without a worker, as the newest of its port."""
        self.by_dialog[entry.dialog] = entry
        self._by_port[entry.port] = entry
        self._by_agent[entry.agent_name][entry.dialog] = entry

    def own(self, entry: Entry, worker: WorkerSession) -> None:
        """Give `entry` its worker."""
        entry.worker = worker
        self._by_worker[worker][entry.dialog] = entry

    def remove(self, entry: Entry) -> None:
        """Forget `entry`."""
        del self.by_dialog[entry.dialog]
        if self._by_port.get(entry.port) is entry:
            del self._by_port[entry.port]
        _discard(self._by_agent, entry.agent_name, entry)
        if entry.worker is not None:
            _discard(self._by_worker, entry.worker, entry)

    def of_port(self, agent_name: str, hport: str) -> Entry | None:
        """Return the newest entry of a port."""
        return self._by_port.get((agent_name, hport))

    def of_agent(self, name: str) -> list[Entry]:
        """Return the entries of every port of an agent, the oldest first."""
        return list(self._by_agent.get(name, {}).values())

    def of_worker(self, worker: WorkerSession) -> list[Entry]:
        """Return the entries that `worker` owns, the oldest first."""
        return list(self._by_worker.get(worker, {}).values())

    def load(self, worker: WorkerSession) -> int:
        """Return how many entries `worker` owns."""
        return len(self._by_worker.get(worker, ()))


def _discard(index: dict[K, dict[bytes, Entry]], key: K, entry: Entry) -> None:
    del index[key][entry.dialog]
    if not index[key]:
        del index[key]
