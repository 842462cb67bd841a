"""The attempts of dialogs that have ended here, so that a late BEGIN starts no zombie.  Sans-IO.

Invariant: at most `REMEMBERED_MAX` are kept, and none beyond its time.
"""

from __future__ import annotations

import math
from typing import Final

__all__ = ["REMEMBERED_MAX", "Attempts"]

REMEMBERED_MAX: Final = 65_536
"""Beyond it the oldest is forgotten before its time, which is counted; about 15 MB."""


class Attempts:
    """The highest attempt seen of each dialog that is over.

    Args:
        keep_s: how long one is remembered.
        most: how many are.
    """

    def __init__(self, keep_s: float, most: int = REMEMBERED_MAX) -> None:
        self._keep_s = keep_s
        self._most = most
        self._kept: dict[bytes, tuple[int, float]] = {}
        self.forgotten_early = 0

    def __len__(self) -> int:
        return len(self._kept)

    def highest(self, dialog: bytes) -> int:
        """Return the highest attempt seen of `dialog`; 0 if none is remembered."""
        kept = self._kept.get(dialog)
        return kept[0] if kept else 0

    def remember(self, dialog: bytes, attempt: int, now: float) -> None:
        """Keep `attempt` from now on for the whole time."""
        self._kept.pop(dialog, None)
        self._kept[dialog] = (attempt, now + self._keep_s)
        if len(self._kept) > self._most:
            del self._kept[next(iter(self._kept))]
            self.forgotten_early += 1

    def deadline(self) -> float:
        """Return when `forget` has something to drop; `math.inf` if nothing is kept."""
        return next(iter(self._kept.values()))[1] if self._kept else math.inf

    def forget(self, now: float) -> None:
        """Drop what is past its time."""
        # Entries stand in the order of their times, since all are kept for the same time.
        while self._kept:
            oldest = next(iter(self._kept))
            if now < self._kept[oldest][1]:
                return
            del self._kept[oldest]
