"""What the broker itself says about dialogs, and the codes it says it with (protocol §4, §5).

Everything else that peers read of a dialog is their partner's word, forwarded as it came.
"""

from __future__ import annotations

from typing import Final

from broker.counts import Counts, Drop
from broker.entries import Entry
from broker.post import Post
from broker.sessions import AgentSession, WorkerSession
from dialgate.codes import Code, Raserror, Winerror, describe
from dialgate.wire.bodies import End, EndReply, Lost, Refused
from dialgate.wire.body_codec import encode
from dialgate.wire.verbs import Verb

__all__ = [
    "BUSY",
    "DENIED",
    "DISCONNECTED",
    "INVALID",
    "LEASE_OVER",
    "NOBODY",
    "NO_WORKER",
    "WORKER_LOST",
    "Replies",
    "label",
]

DISCONNECTED: Final = Raserror.ERROR_PORT_DISCONNECTED.code
"""The broker's own END and END_REPLY; LOST to a worker whose agent has left."""
WORKER_LOST: Final = Raserror.ERROR_AUTH_INTERNAL.code
LEASE_OVER: Final = Winerror.ERROR_TIMEOUT.code
NOBODY: Final = Winerror.ERROR_NOT_FOUND.code
"""LOST: this broker doesn't know that dialog and attempt, or, with nil dialog, that session."""
BUSY: Final = Winerror.ERROR_BUSY.code
NO_WORKER: Final = Winerror.ERROR_NO_LOGON_SERVERS.code
DENIED: Final = Winerror.ERROR_ACCESS_DENIED.code
INVALID: Final = Winerror.ERROR_INVALID_DATA.code


def label(code: Code) -> str:
    """Return `code` as a metric's label: `ras:645`; one that no table has is "other"."""
    text = f"{code.namespace}:{code.number}"
    return "other" if describe(code) == text else text


class Replies:
    """To an agent that may be gone (None), in which case nobody is told."""

    def __init__(self, post: Post, counts: Counts) -> None:
        self._to_agents = post.agents
        self._to_workers = post.workers
        self._counts = counts

    def refuse(self, agent: AgentSession | None, dialog: bytes, attempt: int, code: Code) -> None:
        """Send REFUSED, counted by code."""
        self._counts.refused[label(code)] += 1
        self._tell(agent, encode(Verb.REFUSED, Refused(code=code), dialog, attempt))

    def end_reply(
        self, agent: AgentSession | None, dialog: bytes, attempt: int, code: Code
    ) -> None:
        """Send END_REPLY in the worker's place."""
        self._tell(agent, encode(Verb.END_REPLY, EndReply(code=code), dialog, attempt))

    def lost(self, agent: AgentSession | None, dialog: bytes, attempt: int, code: Code) -> None:
        """Send LOST."""
        self._tell(agent, encode(Verb.LOST, Lost(code=code), dialog, attempt))

    def end_owner(self, entry: Entry) -> None:
        """Send END to the owner in the agent's place."""
        message = encode(Verb.END, End(reason=DISCONNECTED), entry.dialog, entry.attempt)
        self._tell_worker(owner_of(entry), message)

    def lost_to_owner(self, entry: Entry, code: Code) -> None:
        """Send LOST to the owner."""
        message = encode(Verb.LOST, Lost(code=code), entry.dialog, entry.attempt)
        self._tell_worker(owner_of(entry), message)

    def lost_to_sender(
        self, worker: WorkerSession, entry: Entry | None, dialog: bytes, attempt: int
    ) -> None:
        """Drop a worker's message, and say LOST with its attempt to the sender."""
        self._counts.drops[Drop.UNKNOWN_DIALOG if entry is None else Drop.NOT_THE_OWNER] += 1
        self._tell_worker(worker, encode(Verb.LOST, Lost(code=NOBODY), dialog, attempt))

    def _tell(self, agent: AgentSession | None, message: bytes) -> None:
        if agent is not None:
            self._to_agents[agent.connection].append(message)

    def _tell_worker(self, worker: WorkerSession, message: bytes) -> None:
        self._to_workers[worker.connection].append(message)


def owner_of(entry: Entry) -> WorkerSession:
    """Return the owner of an entry that is not WAITING."""
    assert entry.worker is not None, "only WAITING has no worker"
    return entry.worker
