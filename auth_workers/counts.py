"""What a worker counts while it works, in plain integers."""

from __future__ import annotations

from auth_workers.session_actions import Outcome
from dialgate.histogram import ANSWER_BOUNDS_S, CALL_BOUNDS_S, Histogram

__all__ = ["Counts"]


class Counts:
    """Figures of the dialogs' tasks; `auth_workers.metrics` shows them."""

    def __init__(self) -> None:
        self.started = 0
        self.cancelled = 0
        """Tasks that were told to stop: mostly because the caller hung up."""
        self.failures = 0
        """Authenticators that broke: a bug of theirs, an ERROR for the caller."""
        self.durations = {outcome: Histogram(CALL_BOUNDS_S) for outcome in Outcome}
        """From Begin to the outcome."""
        self.replies = Histogram(ANSWER_BOUNDS_S)
        """From END to END_REPLY, the task's clean-up included."""
