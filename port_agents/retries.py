"""When a dialog may be begun again, and when it has been begun often enough (protocol §5, "Agent").

Pure.  It counts; what is sent, and what becomes of a dialog that has had enough, is
`port_agents.dialog`'s.

Invariant: of one dialog there are at most `ATTEMPTS_MAX` BEGINs, and at most `POISON_MAX` workers
are lost with its caller's answer in hand.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

__all__ = ["ATTEMPTS_MAX", "DIALOG_S_MAX", "POISON_MAX", "RETRY_S", "Retries"]

ATTEMPTS_MAX: Final = 20
"""BEGINs of one dialog."""
POISON_MAX: Final = 3
"""Workers that may be lost with an answer of this caller in hand."""
RETRY_S: Final[Sequence[float]] = (0.0, 0.5, 1.0, 2.0)
"""Waits before the first, second … BEGIN after a loss; the last one stays."""
DIALOG_S_MAX: Final = 600.0
"""Default of the longest time from the first BEGIN to END."""


class Retries:
    """The BEGINs of one dialog."""

    def __init__(self) -> None:
        self.attempt = 0
        """Number of the last BEGIN; 0 before the first."""
        self.due = -math.inf
        """When the next may go out."""
        self._losses = 0
        """Since a worker was last heard."""
        self._poisoned = 0

    @property
    def are_used_up(self) -> bool:
        """Whether there must be no further BEGIN."""
        return self.attempt >= ATTEMPTS_MAX

    def heard(self) -> None:
        """Take note that a worker has said something that was accepted."""
        self._losses = 0

    def hurry(self) -> None:
        """Let the next BEGIN go out at once."""
        self.due = -math.inf

    def lost(self, now: float) -> None:
        """Take note that the worker, or the session, of the last BEGIN is lost."""
        self.due = now + RETRY_S[min(self._losses, len(RETRY_S) - 1)]
        self._losses += 1

    def poisoned(self) -> bool:
        """Take note of a worker lost with an answer in hand; return whether it was the last one."""
        self._poisoned += 1
        return self._poisoned >= POISON_MAX
