"""Records of calls between the agents that sent them and the state that is to store them.

Pure.  Which record is new the state knows, not the broker: whatever comes is offered to it, and an
agent hears RECORDED for each that was stored, now or before (protocol §8).

Invariant: RECORDED goes only to the session that brought the record, and only when it was stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from broker.counts import Counts, Drop
from broker.post import Post
from broker.replies import DENIED
from broker.sessions import AgentSession
from dialgate.wire.bodies import Recorded
from dialgate.wire.body_codec import encode
from dialgate.wire.record import CallRecord, decode_record
from dialgate.wire.verbs import Role, Verb

__all__ = ["RECORDED_MAX", "Receipt", "Receipts"]

RECORDED_MAX: Final = 512
"""Most ids in one RECORDED."""


class Receipt(NamedTuple):
    """A record, and who is to hear that it was stored."""

    session: AgentSession
    record: CallRecord


class Receipts:
    """What came and waits for the loop to hand it on, in order, in `taken`."""

    def __init__(self, post: Post, counts: Counts) -> None:
        self.taken: list[Receipt] = []
        self._post = post
        self._counts = counts

    def take(self, agent: AgentSession, body: bytes) -> None:
        """Take a record that `agent` has sent.

        Raises:
            BodyError: it is none.
        """
        self._counts.records += 1
        record = decode_record(body, agent.name)
        hport = record.facts.hport
        if not agent.may_speak_for(hport):
            # Not a breach: an agent whose rights were cut may have spooled the record before.
            self._counts.errors[Role.AGENT, "record of another's port"] += 1
            self._counts.drops[Drop.RECORD_DENIED] += 1
            text = f"RECORD: the key may not speak for {hport}"
            self._post.error(Role.AGENT, agent.connection, DENIED, text)
            return
        self.taken.append(Receipt(agent, record))

    def stored(self, receipts: Sequence[Receipt]) -> None:
        """Tell the agents that these records are on the disk; who has left is told nothing."""
        ids: dict[AgentSession, list[bytes]] = {}
        for session, record in receipts:
            if session.is_over:
                self._counts.drops[Drop.RECORDED_TO_NOBODY] += 1
            else:
                ids.setdefault(session, []).append(record.record)
        for session, records in ids.items():
            for first in range(0, len(records), RECORDED_MAX):
                body = Recorded(records=tuple(records[first : first + RECORDED_MAX]))
                self._post.send(session, encode(Verb.RECORDED, body))
