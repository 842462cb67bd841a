"""The switchboard: protocol §5's table "Broker: one entry a dialog", and nothing else.

    event                             no entry    WAITING      OWNED         ENDING       PINNED
    BEGIN, higher attempt             end other¹, replace,     replace,      drop²        drop²
                                      assign      assign       END former,
                                                               assign
    BEGIN, attempt not higher         -           drop         drop          drop         drop
    credit, or its owner is back      -           assign       -             -            -
    queue time over                   -           REFUSED      -             -            -
    SEND, RECEIVE    } by its owner,  drop, LOST  -            forward       drop         drop
    COMPLETE         } same attempt   drop, LOST  -            forward       drop         forward.
    REFUSED          }                drop, LOST  -            forward.      END_REPLY.   drop
    the same by others                drop, LOST  drop, LOST   drop, LOST    drop, LOST   drop, LOST
    END_REPLY ≠ 0 by its owner        drop        -            drop          forward.     drop
    END_REPLY 0 by its owner          drop        -            drop          forward →    drop
                                                                             PINNED
    END_REPLY by others               drop        drop         drop          drop         drop
    RECEIVED, same attempt            drop, LOST  drop         forward       drop         drop
    RECEIVED, other attempt           drop, LOST  drop         drop          drop         drop
    END, same attempt                 LOST        END_REPLY.   forward →     drop         drop
                                                               ENDING
    END, lower attempt                LOST        END_REPLY    END_REPLY     END_REPLY    END_REPLY
    END, higher attempt               LOST        ERROR        ERROR         END_REPLY    END_REPLY
    another agent's, another hport    -           ERROR        ERROR         ERROR        ERROR
    lease over                        -           -            -             END_REPLY,   as ENDING
                                                                             LOST owner.
    owner's session over              -           -            LOST.         END_REPLY.   END_REPLY.
    agent lost                        -           forget       END owner →   no agent     no agent
                                                               ENDING³
    agent's BYE or HELLO              -           forget       LOST owner.   forget       forget

A full stop means: and forget the entry.  LOST, REFUSED, END_REPLY go to the agent or the sender.
¹ Any other dialog of that port: WAITING: forget.  OWNED: as ³.  ENDING, PINNED: no agent.
² Without an agent: as OWNED, but the former owner has had its END.
³ Without an agent, and the lease starts.  Forwarding to no agent is a drop.

Every drop is counted by reason.  Where a message is malformed, or the table says ERROR, a `Breach`
is raised before anything has changed.

Not here: who is connected (broker.registry), which worker is next (broker.dispatch).

Invariant: at most one entry of a port has an agent, and only messages between that agent's session
and the session of the one worker that has its last BEGIN pass.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from broker import replies
from broker.breach import Breach
from broker.counts import Counts, Drop
from broker.dispatch import Queue, Workers
from broker.entries import Entries, Entry, State, StateName
from broker.limits import BrokerLimits
from broker.post import Post
from broker.reading import begin_head, end_reason, end_reply_code, refused_code
from broker.replies import Replies, owner_of
from broker.sessions import AgentSession, WorkerSession
from dialgate.errors import BodyError

__all__ = ["DialogMessage", "Note", "Switchboard"]

DialogMessage = tuple[int, bytes, int, bytes, bytes]
"""An `Envelope` of a verb whose dialog is never nil."""

Note = Callable[[Entry, str], None]
"""Hears of an entry's new state, for observers: a `State`'s value, or "gone"."""


class Switchboard:
    """All dialogs of one broker.  Every method is one event of the table."""

    def __init__(
        self, limits: BrokerLimits, post: Post, workers: Workers, counts: Counts, note: Note
    ) -> None:
        self.entries: Final = Entries()
        self.queue: Final = Queue()
        self._by_dialog = self.entries.by_dialog
        self._limits = limits
        self._queue_s = limits.queue_timeout_ms / 1000
        self._lease_s = limits.end_lease_ms / 1000
        self._leases: dict[bytes, Entry] = {}
        """In the order in which they run out."""
        self._workers = workers
        self._counts = counts
        self._drops = counts.drops
        self._note = note
        self._replies = Replies(post, counts)
        self._to_agents = post.agents
        self._to_workers = post.workers

    # ------------------------------------------------------------------ from agents

    def begin(self, agent: AgentSession, message: DialogMessage, now: float) -> str:
        """BEGIN: replace and assign, unless it is late or the dialog is ending.

        Returns:
            the hport that it is for, once nothing speaks against it; else "".
        """
        _, dialog, attempt, body, raw = message
        try:
            begin = begin_head(body)
        except BodyError:
            # Protocol §3: BEGIN's answer to a bad body is REFUSED, which the caller's line acts on.
            self._replies.refuse(agent, dialog, attempt, replies.INVALID)
            return ""
        entry = self._by_dialog.get(dialog)
        if entry is not None and (entry.agent_name, entry.hport) != (agent.name, begin.hport):
            raise _another_agents(dialog)
        if not agent.may_speak_for(begin.hport):
            self._replies.refuse(agent, dialog, attempt, replies.DENIED)
            raise Breach(
                replies.DENIED, "hport not allowed", f"BEGIN: the key allows no {begin.hport}"
            )
        if entry is None:
            self._counts.begun += 1
        elif attempt <= entry.attempt:
            self._drops[Drop.STALE_ATTEMPT] += 1
            return ""
        elif entry.state in {State.ENDING, State.PINNED} and entry.agent is not None:
            self._drops[Drop.WRONG_STATE] += 1
            return ""
        else:
            self._counts.begun_again += 1
            self._remove(entry)
        self._end_other(agent.name, begin.hport, now)
        new = Entry(agent, dialog, attempt, begin, raw, began_at=entry.began_at if entry else now)
        self._assign(new, now)
        if entry is not None and entry.state == State.OWNED and entry.worker is not new.worker:
            self._replies.end_owner(entry)
        return begin.hport

    def received(self, agent: AgentSession, message: DialogMessage, _now: float) -> None:
        """RECEIVED: to the owner, unread, while the dialog is OWNED."""
        _, dialog, attempt, _, raw = message
        entry = self._by_dialog.get(dialog)
        if entry is None:
            self._drops[Drop.UNKNOWN_DIALOG] += 1
            self._replies.lost(agent, dialog, attempt, replies.NOBODY)
        elif entry.agent_name != agent.name:
            raise _another_agents(dialog)
        elif entry.attempt != attempt:
            self._drops[Drop.STALE_ATTEMPT] += 1
        elif entry.state == State.OWNED and entry.worker is not None:
            self._to_workers[entry.worker.connection].append(raw)
        else:
            self._drops[Drop.WRONG_STATE] += 1

    def end(self, agent: AgentSession, message: DialogMessage, now: float) -> None:
        """END: to the owner, and from then on the lease bounds its answer."""
        _, dialog, attempt, body, raw = message
        reason = end_reason(body)
        entry = self._by_dialog.get(dialog)
        if entry is None:
            self._replies.lost(agent, dialog, attempt, replies.NOBODY)
            return
        if entry.agent_name != agent.name:
            raise _another_agents(dialog)
        if attempt < entry.attempt:
            self._replies.end_reply(agent, dialog, attempt, replies.DISCONNECTED)
            return
        ahead = attempt > entry.attempt
        match entry.state:
            case State.WAITING | State.OWNED if ahead:
                raise Breach(
                    replies.INVALID, "END ahead", f"END: {dialog.hex()} has no attempt {attempt}"
                )
            case State.WAITING:
                self._forget(entry, now)
                self._replies.end_reply(agent, dialog, attempt, replies.DISCONNECTED)
            case State.OWNED:
                self._counts.ended["normal" if reason.ok else "abnormal"] += 1
                self._to_workers[owner_of(entry).connection].append(raw)
                self._start_lease(entry, now)
            case State.ENDING | State.PINNED if ahead:
                # That attempt's BEGIN was dropped, so nobody has it.
                self._replies.end_reply(agent, dialog, attempt, replies.DISCONNECTED)
            case State.ENDING | State.PINNED:
                self._drops[Drop.WRONG_STATE] += 1

    # ------------------------------------------------------------------ from workers

    def send(self, worker: WorkerSession, message: DialogMessage, _now: float) -> None:
        """SEND or RECEIVE: to the agent, unread, while the dialog is OWNED."""
        _, dialog, attempt, _, raw = message
        entry = self._by_dialog.get(dialog)
        if entry is None or entry.worker is not worker or entry.attempt != attempt:
            self._replies.lost_to_sender(worker, entry, dialog, attempt)
        elif entry.state == State.OWNED and entry.agent is not None:
            self._to_agents[entry.agent.connection].append(raw)
        else:
            self._drops[Drop.WRONG_STATE] += 1

    def complete(self, worker: WorkerSession, message: DialogMessage, now: float) -> None:
        """COMPLETE: to the agent, unread; a delayed one closes the dialog."""
        _, dialog, attempt, _, raw = message
        entry = self._by_dialog.get(dialog)
        if entry is None or entry.worker is not worker or entry.attempt != attempt:
            self._replies.lost_to_sender(worker, entry, dialog, attempt)
            return
        match entry.state:
            case State.OWNED:
                self._counts.completed += 1
                self._forward_to_agent(entry, raw)
            case State.PINNED:
                self._forward_to_agent(entry, raw)
                self._answered(entry, now)
            case State.WAITING | State.ENDING:
                self._drops[Drop.WRONG_STATE] += 1

    def refused(self, worker: WorkerSession, message: DialogMessage, now: float) -> None:
        """REFUSED: Begin's nonzero answer closes the dialog at this broker."""
        _, dialog, attempt, body, raw = message
        code = refused_code(body)
        entry = self._by_dialog.get(dialog)
        if entry is None or entry.worker is not worker or entry.attempt != attempt:
            self._replies.lost_to_sender(worker, entry, dialog, attempt)
            return
        match entry.state:
            case State.OWNED:
                self._counts.refused[replies.label(code)] += 1
                self._forward_to_agent(entry, raw)
                self._forget(entry, now)
            case State.ENDING:
                # END crossed it: the answer that the agent waits for is END_REPLY.
                self._replies.end_reply(entry.agent, dialog, attempt, replies.DISCONNECTED)
                self._answered(entry, now)
            case State.WAITING | State.PINNED:
                self._drops[Drop.WRONG_STATE] += 1

    def end_reply(self, worker: WorkerSession, message: DialogMessage, now: float) -> None:
        """END_REPLY: nonzero closes the dialog, 0 pins it until COMPLETE or the lease's end."""
        _, dialog, attempt, body, raw = message
        code = end_reply_code(body)
        entry = self._by_dialog.get(dialog)
        if entry is None:
            self._drops[Drop.UNKNOWN_DIALOG] += 1
        elif entry.worker is not worker or entry.attempt != attempt:
            self._drops[Drop.NOT_THE_OWNER] += 1
        elif entry.state != State.ENDING:
            self._drops[Drop.WRONG_STATE] += 1
        elif code.ok:
            self._counts.delayed_ends += 1
            self._forward_to_agent(entry, raw)
            self._become(entry, State.PINNED)
        else:
            self._forward_to_agent(entry, raw)
            self._answered(entry, now)

    # ------------------------------------------------------------------ sessions

    def credit_arrived(self, worker: WorkerSession) -> None:
        """Give `worker` the waiting dialogs that its credit is for, higher attempts first."""
        while worker.room:
            entry = self.queue.next_of(worker.pools)
            if entry is None:
                return
            self.queue.remove(entry)
            self._give(entry, worker)

    def worker_welcomed(self, worker: WorkerSession) -> None:
        """Give `worker` the waiting dialogs that it owned, with or without credit."""
        for entry in self.queue.owned_by(worker.instance):
            self.queue.remove(entry)
            self._give(entry, worker)

    def worker_over(self, worker: WorkerSession, now: float) -> None:
        """Owner's session over, for whatever reason."""
        for entry in self.entries.of_worker(worker):
            agent, dialog, attempt = entry.agent, entry.dialog, entry.attempt
            if entry.state == State.OWNED:
                self._counts.dialogs_lost += 1
                self._replies.lost(agent, dialog, attempt, replies.WORKER_LOST)
                self._forget(entry, now)
            else:
                self._replies.end_reply(agent, dialog, attempt, replies.WORKER_LOST)
                self._answered(entry, now)

    def agent_lost(self, agent: AgentSession, now: float) -> None:
        """Agent lost by silence, a failed send, or by our own BYE."""
        for entry in self.entries.of_agent(agent.name):
            self._leave(entry, now)

    def agent_left(self, name: str, now: float) -> None:
        """Agent's BYE, or a HELLO of it, whatever became of its last session."""
        for entry in self.entries.of_agent(name):
            if entry.state == State.OWNED:
                self._replies.lost_to_owner(entry, replies.DISCONNECTED)
            self._forget(entry, now)

    # ------------------------------------------------------------------ time

    def tick(self, now: float) -> None:
        """Rows "queue time over" and "lease over"."""
        while self.queue.deadline() <= now:
            entry = self.queue.first()
            self._replies.refuse(entry.agent, entry.dialog, entry.attempt, replies.NO_WORKER)
            self._forget(entry, now)
        while self._lease_deadline() <= now:
            entry = next(iter(self._leases.values()))
            self._counts.leases_over += 1
            self._replies.end_reply(entry.agent, entry.dialog, entry.attempt, replies.LEASE_OVER)
            self._replies.lost_to_owner(entry, replies.LEASE_OVER)
            self._answered(entry, now)

    def deadline(self) -> float:
        """Return when `tick` is next of use; `math.inf` if never."""
        return min(self.queue.deadline(), self._lease_deadline())

    def _lease_deadline(self) -> float:
        return next(iter(self._leases.values())).due if self._leases else math.inf

    # ------------------------------------------------------------------ what the cells say

    def _assign(self, entry: Entry, now: float) -> None:
        """Row "assign", for an entry that is in no table yet."""
        waiting, limit = len(self.queue), self._limits.max_waiting
        if (
            waiting >= (limit if entry.attempt == 1 else 2 * limit)
            or len(self._by_dialog) >= self._limits.dialogs_max
        ):
            self._replies.refuse(entry.agent, entry.dialog, entry.attempt, replies.BUSY)
            self._note(entry, "gone")
            return
        self.entries.add(entry)
        worker = self._workers.choose(entry.pool, entry.owner)
        if worker is None:
            self.queue.add(entry, now + self._queue_s)
            self._become(entry, State.WAITING)
        else:
            self._give(entry, worker)

    def _give(self, entry: Entry, worker: WorkerSession) -> None:
        self._workers.use(worker)
        self._to_workers[worker.connection].append(entry.begin)
        entry.begin = b""
        self.entries.own(entry, worker)
        self._become(entry, State.OWNED)

    def _end_other(self, agent_name: str, hport: str, now: float) -> None:
        """Footnote ¹.  A replaced dialog's port has none, unless its agent has lost the thread."""
        other = self.entries.of_port(agent_name, hport)
        if other is not None:
            self._leave(other, now)

    def _leave(self, entry: Entry, now: float) -> None:
        """Go on without the agent: footnotes ¹ and ³, and row "agent lost"."""
        if entry.state == State.WAITING:
            self._forget(entry, now)
            return
        if entry.state == State.OWNED:
            self._replies.end_owner(entry)
            self._start_lease(entry, now)
        entry.agent = None

    def _start_lease(self, entry: Entry, now: float) -> None:
        entry.due = now + self._lease_s
        self._leases[entry.dialog] = entry
        self._become(entry, State.ENDING)

    def _become(self, entry: Entry, state: StateName) -> None:
        entry.state = state
        self._note(entry, state)

    def _answered(self, entry: Entry, now: float) -> None:
        """Forget a dialog whose END has its answer."""
        self._counts.end_to_reply.observe(now - (entry.due - self._lease_s))
        self._forget(entry, now)

    def _forget(self, entry: Entry, now: float) -> None:
        self._counts.dialog.observe(now - entry.began_at)
        self._remove(entry)
        self._note(entry, "gone")

    def _remove(self, entry: Entry) -> None:
        if entry.state == State.WAITING:
            self.queue.remove(entry)
        self._leases.pop(entry.dialog, None)
        self.entries.remove(entry)

    def _forward_to_agent(self, entry: Entry, raw: bytes) -> None:
        if entry.agent is None:
            self._drops[Drop.NO_AGENT] += 1
        else:
            self._to_agents[entry.agent.connection].append(raw)


def _another_agents(dialog: bytes) -> Breach:
    text = f"{dialog.hex()} is another agent's dialog, or another port's"
    return Breach(replies.DENIED, "another's dialog", text)
