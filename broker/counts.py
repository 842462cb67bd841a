"""What a broker counts, as plain integers that a collector reads when Prometheus scrapes.

Reasons are closed sets, fit for a metric's label.
"""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from typing import Final

from broker.sessions import Over
from dialgate.histogram import ANSWER_BOUNDS_S, CALL_BOUNDS_S, Histogram
from dialgate.wire.verbs import Role

__all__ = ["VERBS", "Counts", "Drop"]

VERBS: Final = 32
"""Verbs below this are counted one by one."""


class Drop(StrEnum):
    """Why a message went no further."""

    NO_SESSION = "no session"
    """Frames, not messages: they are not read."""
    PENALTY = "penalty"
    """Likewise."""
    AFTER_BYE = "after the session's end"
    UNKNOWN_VERB = "unknown verb"
    UNKNOWN_DIALOG = "unknown dialog"
    NOT_THE_OWNER = "not its owner or attempt"
    STALE_ATTEMPT = "stale attempt"
    WRONG_STATE = "dialog waits or ends"
    """The dialog and attempt are right, but the message has no place in its state any more."""
    NO_AGENT = "no agent"
    STALE_CREDIT = "credit fell"
    UNKNOWN_COMMAND = "unknown command"
    RECORD_DENIED = "record of another's port"
    RECORDED_TO_NOBODY = "record stored for an agent that has left"
    UNSENT = "send failed"


class Counts:
    """One broker's counters.  They only rise."""

    def __init__(self) -> None:
        self.received = {Role.AGENT: [0] * VERBS, Role.WORKER: [0] * VERBS}
        """Messages by role and verb."""
        self.drops: dict[Drop, int] = dict.fromkeys(Drop, 0)
        self.malformed: Counter[tuple[Role, str]] = Counter()
        """Malformed frames by role and decode_frame's reason."""
        self.errors: Counter[tuple[Role, str]] = Counter()
        """ERRORs sent, by role and reason."""
        self.sessions_over: Counter[tuple[Role, Over]] = Counter()
        self.hellos_refused: Counter[tuple[Role, int]] = Counter()
        """By role and winerror."""
        self.penalties: Counter[Role] = Counter()
        self.begun = 0
        """Dialogs that got an entry: attempt after attempt is one."""
        self.begun_again = 0
        """BEGINs that replaced a lower attempt."""
        self.completed = 0
        """COMPLETEs forwarded.  The broker can't read which verdict."""
        self.refused: Counter[str] = Counter()
        """BEGINs refused by workers and by this broker, by code as `ras:645`."""
        self.ended: Counter[str] = Counter()
        """ENDs forwarded to workers: "normal" or "abnormal"."""
        self.delayed_ends = 0
        """END_REPLY 0."""
        self.leases_over = 0
        self.dialogs_lost = 0
        """LOST sent to agents because their worker went."""
        self.claimed_twice = 0
        """Ports that two agents called theirs (protocol §6.9)."""
        self.names_contested = 0
        self.records = 0
        """RECORDs that came."""
        self.end_to_reply = Histogram(ANSWER_BOUNDS_S)
        """From END to its answer, the worker's or the broker's own."""
        self.dialog = Histogram(CALL_BOUNDS_S)
        """From a dialog's first BEGIN here until it is forgotten."""
