"""Charges tries to users in the cluster's state, before anybody checks them.

What a try is charged by and when a user has to wait are `dialgate.tries`' and `dialgate.lockout`'s.
Here is what follows for the caller: one who is locked is rejected like one whose password is wrong,
and while the state can't be asked nothing is decided.

Invariants: no guess is checked that isn't charged, but for the few of break-glass users while the
state is away, which are counted and alarmed.  A try of which nobody could say whether it was right
locks nobody.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import Final

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_workers.authenticators import Accepted, Login, Rejected, Result, Unavailable
from dialgate import tries
from dialgate.codes import Winerror
from dialgate.errors import StateError
from dialgate.lockout import Limit
from dialgate.settings import LockoutSettings
from dialgate.tries import Barred, Place, Rules, Ticket

__all__ = ["Charging", "place_of", "rules_of"]

UNCHARGED_MAX: Final = 10
"""Tries of break-glass users that a worker lets be checked in `UNCHARGED_S` without the state."""
UNCHARGED_S: Final = 3600.0

WRITERS_MAX: Final = 4
"""Transactions of a worker on PostgreSQL at a time.  On SQLite there is one: it lets writers wait
without an order, so that of hundreds some would find no turn in time."""
PATIENCE_S: Final = 10.0
POLL_S: Final = 0.5
"""How often the state is asked whether a lock was lifted by a try at another worker."""

_LOCKED: Final = Winerror.ERROR_ACCOUNT_LOCKED_OUT.code

log = structlog.get_logger()


class Charging:
    """The ledger of `auth_workers.login`, in the cluster's state.

    Args:
        state: the cluster's.
        rules: when to let wait.
        clock: seconds since 1970.
        patience_s: how long a try waits for others that are open and may lift the lock.
    """

    def __init__(
        self,
        state: AsyncEngine,
        rules: Rules,
        *,
        clock: Callable[[], float] = time.time,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self.charged = 0
        """Tries charged."""
        self.barred = 0
        """Tries that were not checked, since a lock held."""
        self.locks = 0
        """Locks that failed tries have set, of a user at one place or as a whole."""
        self.uncharged = 0
        """Tries of break-glass users that were checked while the state was away."""
        self._state = state
        self._rules = rules
        self._clock = clock
        self._patience_s = patience_s
        self._loop = asyncio.get_running_loop()
        one_writer = state.dialect.name == "sqlite"
        self._turn = asyncio.Semaphore(1 if one_writer else WRITERS_MAX)
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}
        self._uncharged: deque[float] = deque(maxlen=UNCHARGED_MAX)

    async def charge(self, login: Login) -> Rejected | Unavailable | None:
        """Charge the try; None: its guess may be checked."""
        try:
            outcome = await self._charge(login)
        except StateError as error:
            # The reason says it all: there is no fault of ours to trace.
            log.error("try not charged", user=login.shown_user, reason=str(error))  # noqa: TRY400
            if login.terms.break_glass and self._may_go_uncharged():
                self.uncharged += 1
                return None
            return Unavailable(str(error))
        login.known = outcome.known
        if isinstance(outcome, Barred):
            self.barred += 1
            log.warning("user is locked", user=login.shown_user, place=str(place_of(login)))
            return Rejected(_LOCKED)
        self.charged += 1
        login.ticket = outcome
        return None

    async def settle(self, login: Login, result: Result) -> Result:
        """Take note of what a charged try came to; return that, or that it can't be noted."""
        ticket = login.ticket
        login.ticket = None
        try:
            if isinstance(ticket, Ticket):
                async with self._turn:
                    await self._settle(ticket, login, result)
        except StateError as error:
            if not login.terms.break_glass:
                return Unavailable(str(error))
        finally:
            self._wake(login.user)
        return result

    async def _settle(self, ticket: Ticket, login: Login, result: Result) -> None:
        now_s = int(self._clock())
        match result:
            case Accepted():
                await tries.accept(self._state, ticket, now_s)
            case Unavailable():
                await tries.take_back(self._state, ticket, self._rules, now_s)
            case Rejected():
                await tries.fail(self._state, ticket, now_s)
                if ticket.locks:
                    self.locks += ticket.locks
                    log.warning("user locked", user=login.shown_user, place=ticket.place)

    async def forget_old(self) -> None:
        """Drop what has no effect any more.

        Raises:
            StateError: the state can't be asked.
        """
        await tries.forget_old(self._state, self._rules, int(self._clock()))

    async def _charge(self, login: Login) -> Ticket | Barred:
        """Charge the try.  Others that are open may lift the lock that bars it: wait for these.

        A user who calls on many lines at once, as a machine may, is not locked for that.
        """
        place = place_of(login)
        give_up_at = self._loop.time() + self._patience_s
        while True:
            async with self._turn:
                outcome = await tries.charge(
                    self._state,
                    login.user,
                    place,
                    self._rules,
                    int(self._clock()),
                    break_glass=login.terms.break_glass,
                )
            waiting = isinstance(outcome, Barred) and outcome.open
            if not waiting or self._loop.time() >= give_up_at:
                return outcome
            await self._wait(login.user)

    async def _wait(self, user: str) -> None:
        """Wait until a try of `user` is settled here, or somewhere else perhaps."""
        settled: asyncio.Future[None] = self._loop.create_future()
        queue = self._waiting.setdefault(user, deque())
        queue.append(settled)
        try:
            await asyncio.wait([settled], timeout=POLL_S)
        finally:
            queue.remove(settled)
            if not queue:
                self._waiting.pop(user, None)

    def _wake(self, user: str) -> None:
        """Let as many of those who wait for `user` go on as one right try makes room for."""
        for settled in islice(self._waiting.get(user, ()), self._rules.user.tries):
            if not settled.done():
                settled.set_result(None)

    def _may_go_uncharged(self) -> bool:
        """Return whether a try may be checked without the state; that counts as one."""
        now = self._clock()
        full = len(self._uncharged) == UNCHARGED_MAX
        if full and now < self._uncharged[0] + UNCHARGED_S:
            return False
        self._uncharged.append(now)
        return True


def place_of(login: Login) -> Place:
    """Return where the caller of `login` comes from."""
    dialog = login.dialog
    return Place(dialog.facts.caller, dialog.facts.agent, dialog.hport)


def rules_of(lockout: LockoutSettings) -> Rules:
    """Return the rules that the table `[lockout]` lays down."""

    def limit(number: int) -> Limit:
        return Limit(
            tries=number,
            wait_s=lockout.wait_s,
            wait_max_s=lockout.wait_max_s,
            forget_s=lockout.forget_s,
        )

    return Rules(
        place=limit(lockout.place_tries),
        user=limit(lockout.user_tries),
        number_known_s=lockout.number_known_s,
    )
