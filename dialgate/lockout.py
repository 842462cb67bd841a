"""When a user has to wait before he is asked again: the rule alone, for one row of the state.

Tries are counted as failed when they are made, and taken back when they turn out right, so that
nothing that dies in between gives one away.  A try from which a lock follows sets its end at once,
and each further one doubles the wait.  Who is counted by what, and where it is stored, is
`dialgate.tries`' matter.

Invariant: while a lock holds, nothing is counted and nothing makes it longer, so whoever keeps
trying can't keep anybody out for longer than the last counted try did.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["FRESH", "Limit", "Standing", "charged", "taken_back"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """How many failed tries in a row there may be, and what follows."""

    tries: int
    """Failed tries from which on there is a wait; at least 1."""
    wait_s: int
    """The first wait; it doubles with each further failed try."""
    wait_max_s: int
    """The longest wait."""
    forget_s: int
    """After so long without a try the count begins anew."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What is remembered of tries; times in whole seconds since 1970."""

    counted: int = 0
    """Tries in a row that failed, or whose end nobody knows."""
    locked_until_s: int = 0
    last_s: int = 0
    """When the last one was counted."""

    def is_locked(self, now_s: int) -> bool:
        """Return whether there is to be a wait."""
        return now_s < self.locked_until_s


FRESH: Final = Standing()
"""Of somebody who has not tried yet, or got in the last time."""


def charged(standing: Standing, limit: Limit, now_s: int) -> Standing:
    """Return `standing` with one more try, which counts as failed; to be asked of no locked one."""
    forgotten = now_s >= standing.last_s + limit.forget_s
    counted = (0 if forgotten else standing.counted) + 1
    if counted < limit.tries:
        return Standing(counted, 0, now_s)
    doublings = min(counted - limit.tries, limit.wait_max_s.bit_length())
    wait_s = min(limit.wait_s << doublings, limit.wait_max_s)
    return Standing(counted, now_s + wait_s, now_s)


def taken_back(standing: Standing, limit: Limit) -> Standing:
    """Return `standing` without one of its tries, of which nobody could say whether it was right.

    The lock that followed from it goes as well, unless other tries are enough for one.
    """
    counted = max(standing.counted - 1, 0)
    locked_until_s = standing.locked_until_s if counted >= limit.tries else 0
    return Standing(counted, locked_until_s, standing.last_s)
