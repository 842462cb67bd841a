"""How many BEGINs each broker may send a worker (docs/protocol.md §6.8).

Credit is a running total a session: it only rises, and every BEGIN that came in the session counts,
also those that were sent without asking because the dialog was this worker's already.  Sans-IO.

Invariant: what a grant leaves unspent over all sessions is at most the free capacity, and in one
session at most that session's share of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["Credit"]

SMALL_CHANGE: Final = 32
"""The part of a share that may be missing without a READY: else each end of a dialog at a worker
for thousands would cost one."""


@dataclass(slots=True)
class _Account:
    granted: int = 0
    spent: int = 0

    @property
    def unspent(self) -> int:
        """What the broker may still send; BEGINs beyond the credit are no debt."""
        left = self.granted - self.spent
        return left if left > 0 else 0  # noqa: FURB136 - max() costs three times as much


class Credit:
    """The accounts of a worker's sessions.

    Args:
        capacity: dialogs that the worker has open at a time.
        links: brokers that it is configured to serve.  Each one's share is kept for it while it is
            away, or the first to come would take all and the next find nothing.
    """

    def __init__(self, capacity: int, links: int) -> None:
        self._capacity = capacity
        self._links = max(1, links)
        self._accounts: dict[int, _Account] = {}

    @property
    def unspent(self) -> int:
        """BEGINs that may come unasked, over all sessions."""
        return sum([account.unspent for account in self._accounts.values()])

    def open(self, session: int) -> None:
        """Begin an account."""
        self._accounts[session] = _Account()

    def close(self, session: int) -> None:
        """Forget an account; its credit is for others."""
        self._accounts.pop(session, None)

    def spend(self, session: int) -> None:
        """Count a BEGIN that came in `session`, whatever becomes of it."""
        account = self._accounts.get(session)
        if account is not None:
            account.spent += 1

    def grant(self, busy: int, *, freed: bool) -> list[tuple[int, int]]:
        """Return (session, new total) for each account that is worth a READY now.

        Args:
            busy: dialogs that are open.
            freed: a dialog has ended or a session has come or gone, so that everyone's credit is
                filled up, unless what is missing is small change; otherwise only those that have
                spent half of it.
        """
        accounts = self._accounts
        free = max(0, self._capacity - busy)
        share = -(-free // max(self._links, len(accounts)))
        enough = share - share // SMALL_CHANGE if freed else share // 2 + 1
        poor = [item for item in accounts.items() if item[1].granted - item[1].spent < enough]
        if not poor:
            return []
        if len(poor) > 1:
            # The poorest first: with less free than sessions, credit goes round.
            poor.sort(key=_unspent)
        room = free - self.unspent
        grants: list[tuple[int, int]] = []
        for session, account in poor:
            more = min(share - account.unspent, room)
            if more <= 0:
                break
            account.granted = account.spent + account.unspent + more
            room -= more
            grants.append((session, account.granted))
        return grants


def _unspent(item: tuple[int, _Account]) -> int:
    return item[1].unspent
