"""What an agent counts: plain integers that a scrape reads, nothing that costs in between.

Pure.  The cores count here as they decide; `port_agents.metrics` renders it for Prometheus.

Invariant: every label is from a closed set, so nothing here grows with calls, peers or users.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

__all__ = ["Again", "AgentCounters", "Drop", "Durations"]


class Drop(StrEnum):
    """Why a message of a broker changed nothing."""

    NO_DIALOG = "dialog not open here"
    NO_BEGIN = "no BEGIN outstanding"
    OTHER_ATTEMPT = "other attempt"
    OTHER_SESSION = "other session"
    REPEATED_SEND = "SEND repeated"
    BEFORE_END = "END_REPLY before END"
    AFTER_END = "after END"
    SECOND_COMPLETE = "COMPLETE before END_REPLY 0"
    SECOND_REPLY = "second END_REPLY"
    BAD_BODY = "bad body"


class Again(StrEnum):
    """Why a dialog was begun again."""

    LOST = "lost"
    SESSION_OVER = "session over"
    GAP = "gap"
    MOVED = "moved"
    OFFERED = "offered"


class Durations(Protocol):
    """A histogram, as far as a core needs one."""

    def observe(self, seconds: float, /) -> None:
        """Count one duration."""
        ...


@dataclass(slots=True)
class AgentCounters:
    """Running totals since the agent's start."""

    begin_to_prompt: Durations
    """From a dialog's first BEGIN to its first RECEIVE."""
    end_to_reply: Durations
    drops: Counter[Drop] = field(default_factory=Counter)
    begins: int = 0
    """BEGINs sent, those of one dialog each for itself."""
    begun_again: Counter[Again] = field(default_factory=Counter)
    dialogs: Counter[str] = field(default_factory=Counter)
    """Dialogs closed, by outcome: success, failure, error, or ended without a verdict."""
    local_admissions: int = 0
    """Callers admitted by a worker at the site's own broker."""
    local_admitted_at: float | None = None
    """When the last of them was, by the agent's clock; None: there was none."""
    calls: Counter[str] = field(default_factory=Counter)
    """Calls over, by disconnect reason."""
    service_users: Counter[str] = field(default_factory=Counter)
    """Users that services named: same, other, or refused unheard."""
