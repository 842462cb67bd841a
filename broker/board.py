"""What observers of a broker see: agents, workers, lines and dialogs, and how they change (§9).

For people and programs that watch; nothing is decided by it.  Each item carries its agent's
instance and session: between brokers the greater wins, so that a broker which an agent has left
can't call its ports unknown over the newer one's word.

Invariant: no secret passes here, and no body of a caller's dialog.
"""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import Any, Final, NamedTuple
from uuid import UUID

from msgspec import UNSET

from broker.breach import Breach
from broker.counts import Counts
from broker.entries import Entry
from broker.limits import BrokerLimits
from broker.replies import INVALID
from broker.sessions import AgentSession, Session, WorkerSession
from dialgate.wire.bodies import LineState

__all__ = [
    "Board",
    "Change",
    "Fields",
    "Line",
    "agent_fields",
    "dialog_fields",
    "dialog_text",
    "entry_fields",
    "worker_fields",
]

DETAIL_MAX: Final = 8
"""Names in a line's `detail`, unless one message has more of them; a body bounds each."""

Fields = dict[str, Any]
"""What observers get as a JSON object."""


class Change(NamedTuple):
    """One item as it has become."""

    id: int
    """Rises by one with each change."""
    event: str
    """line, dialog, worker or agent."""
    fields: Fields


class Line(NamedTuple):
    """A port as its agent, or for want of it this broker, describes it."""

    agent: str
    site: str
    instance: bytes
    session: int
    hport: str
    state: str
    reason: str
    since: float
    """Broker's clock when it came into that state."""
    detail: Fields = {}  # noqa: RUF012 - never changed
    """What the agent has told beyond that, in this session."""

    def is_told_by(self, agent: AgentSession) -> bool:
        """Return whether this is the word of that session, and no other's."""
        return self.session == agent.number and self.instance == agent.instance

    def fields(self, now: float) -> Fields:
        """Return the line as observers get it."""
        return {
            **self.detail,
            "agent": self.agent,
            "site": self.site,
            "instance": self.instance.hex(),
            "session": self.session,
            "hport": self.hport,
            "state": self.state,
            "reason": self.reason,
            "since_ms": max(0, int((now - self.since) * 1000)),
        }


class Board:
    """The last word on everything, and the last changes."""

    def __init__(self, limits: BrokerLimits, counts: Counts) -> None:
        self.last_id = 0
        """Of the last change."""
        self.lines: Final[dict[str, dict[str, Line]]] = {}
        """By agent's name and hport; kept, as unknown, when the agent is gone."""
        self._limits = limits
        self._counts = counts
        self._claims: dict[str, AgentSession] = {}
        """hport → the agent that had it first."""
        self._changes: deque[Change] = deque(maxlen=limits.changes_max)
        self._is_watched = False

    def watch(self, *, on: bool) -> None:
        """Begin or cease to keep changes: dialogs by the thousand are not noted for nobody."""
        self._is_watched = on
        self._changes.clear()

    def since(self, change_id: int) -> list[Change] | None:
        """Return the changes after `change_id`; None if a snapshot is needed first."""
        behind = self.last_id - change_id
        if not 0 <= behind <= len(self._changes):
            return None
        newest = list(islice(reversed(self._changes), behind))
        return newest[::-1]

    # ------------------------------------------------------------------ what happens

    def claim(self, agent: AgentSession, hport: str) -> str:
        """Count `hport` as this agent's unless another, connected one had it before (§6.9).

        Returns:
            the other agent's name, once a session and port: the agent is to be told; else "".
        """
        holder = self._claims.get(hport)
        if holder is agent:
            return ""
        if holder is None or holder.is_over:
            if len(agent.hports) < self._limits.ports_max:
                self._claims[hport] = agent
                agent.hports.add(hport)
            return ""
        if hport in agent.warned or len(agent.warned) >= self._limits.ports_max:
            return ""
        agent.warned.add(hport)
        self._counts.claimed_twice += 1
        return holder.name

    def list_lines(
        self, agent: AgentSession, lines: tuple[LineState, ...], *, complete: bool, now: float
    ) -> None:
        """Take over what an agent says of its ports.

        Raises:
            Breach: it lists more of them, or more of one of them, than a broker keeps.
        """
        known = self.lines.setdefault(agent.name, {})
        for each in lines:
            before = known.get(each.hport)
            if before is None and len(known) >= self._limits.ports_max:
                raise Breach(INVALID, "too many ports", f"LINES: over {self._limits.ports_max}")
            detail = {} if each.detail is UNSET else each.detail
            if before is not None and before.is_told_by(agent):
                detail = _laid_over(before.detail, detail)
            if agent.listed is not None:
                agent.listed.add(each.hport)
            since = now - each.since_ms / 1000
            line = Line(
                agent.name,
                agent.site,
                agent.instance,
                agent.number,
                each.hport,
                each.state,
                each.reason,
                since,
                detail,
            )
            known[each.hport] = line
            if self._is_watched:
                self._changed("line", line.fields(now))
        if complete and agent.listed is not None:
            for hport in known.keys() - agent.listed:
                self._show_unknown(known.pop(hport), agent, "not configured any more", now)
            agent.listed = None

    def agent_changed(self, agent: AgentSession, now: float) -> None:
        """Show an agent that came or went; the ports of one that went are unknown."""
        self._changed("agent", agent_fields(agent, now))
        if not agent.is_over:
            return
        for hport in agent.hports:
            if self._claims.get(hport) is agent:
                del self._claims[hport]
        known = self.lines.get(agent.name, {})
        for hport, line in known.items():
            known[hport] = self._show_unknown(line, agent, "agent gone", now)
        if len(self.lines) > self._limits.names_max:
            del self.lines[next(iter(self.lines))]

    def worker_changed(self, worker: WorkerSession, load: int, now: float) -> None:
        """Show a worker that came, drains or went."""
        self._changed("worker", worker_fields(worker, load, now))

    def dialog_changed(self, entry: Entry, state: str) -> None:
        """Show a dialog's new state: a `State`, or "gone"."""
        if self._is_watched:
            self._changed("dialog", dialog_fields(entry, state))

    def _show_unknown(self, line: Line, agent: AgentSession, reason: str, now: float) -> Line:
        unknown = line._replace(
            instance=agent.instance,
            session=agent.number,
            state="unknown",
            reason=reason,
            since=now,
        )
        self._changed("line", unknown.fields(now))
        return unknown

    def _changed(self, event: str, fields: Fields) -> None:
        if self._is_watched:
            self.last_id += 1
            self._changes.append(Change(self.last_id, event, fields))


def _laid_over(before: Fields, news: Fields) -> Fields:
    """Return what is known of a line: what was told before, and in its place what is told now.

    Raises:
        Breach: by adding a little each time it has become more than a broker keeps.
    """
    if not news:
        return before
    detail = before | news
    if len(detail) > max(DETAIL_MAX, len(news)):
        raise Breach(INVALID, "too much detail", f"LINES: over {DETAIL_MAX} names in detail")
    return detail


def agent_fields(agent: AgentSession, now: float) -> Fields:
    """Return an agent as observers get it."""
    return {"site": agent.site, **_session_fields(agent, now)}


def worker_fields(worker: WorkerSession, load: int, now: float) -> Fields:
    """Return a worker as observers get it; `load` is how many dialogs it owns here."""
    return {
        **_session_fields(worker, now),
        "pools": list(worker.pools),
        "capacity": worker.capacity,
        "credit": worker.room,
        "owned": load,
        "draining": worker.is_draining,
    }


def dialog_fields(entry: Entry, state: str) -> Fields:
    """Return a dialog as observers get it; `state` is a `State`, or "gone"."""
    agent, worker = entry.began_by, entry.worker
    return {
        "dialog": dialog_text(entry.dialog),
        "attempt": entry.attempt,
        "agent": agent.name,
        "instance": agent.instance.hex(),
        "session": agent.number,
        "hport": entry.hport,
        "pool": entry.pool,
        "state": state,
        "worker": worker.name if worker is not None else "",
    }


def entry_fields(entry: Entry) -> Fields:
    """Return a dialog, as it is now, as observers get it."""
    return dialog_fields(entry, entry.state)


def dialog_text(dialog: bytes) -> str:
    """Return a dialog's id in the form of RFC 9562."""
    return str(UUID(bytes=dialog))


def _session_fields(session: Session, now: float) -> Fields:
    return {
        "name": session.name,
        "instance": session.instance.hex(),
        "session": session.number,
        "version": session.version,
        "connected": not session.is_over,
        "connected_ms": int((now - session.opened_at) * 1000),
        "faults": dict(session.faults),
    }
