"""Tell RADIUS accounting servers of calls, until they answer (RFC 2866).

A task of a worker beside its dialogs: it looks for new records, claims rows of the ledger and sends
them, several at once.  What is not answered is sent again later, for as long as it takes, with the
delay in Acct-Delay-Time.  Invariant: a row is done only when a server's own answer to it came.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final, Protocol

import structlog

from auth_workers.radius.accounting import admission_of, of_agent, of_record
from auth_workers.radius.attributes import number
from auth_workers.radius.client import Silent
from auth_workers.radius.ledger import Claim, Ledger
from auth_workers.radius.packets import Attribute, Reply, Request, accounting_request
from auth_workers.radius.servers import Servers
from dialgate.errors import StateError
from dialgate.settings import HostPort

__all__ = ["Accountant", "Route"]

LOOK_S: Final = 1.0
"""How often new records are looked for."""
CLAIMED_MAX: Final = 16
"""Rows that are told at once."""
LEASE_SPARE_S: Final = 5.0
"""How much longer a claim lasts than the sending can."""
AGAIN_S, AGAIN_S_MAX = 2.0, 60.0
"""Wait after the first sending without an answer; it doubles, up to the second."""
FORGET_S: Final = 3600.0
"""How often what is done is deleted."""

log = structlog.get_logger()


class Asks(Protocol):
    """What sends a request once: `auth_workers.radius.client.Client` without retries."""

    async def ask(self, server: HostPort, request: Request, *, hasty: bool = False) -> Reply:
        """Return the answer of `server`.

        Raises:
            Silent: there is none in time.
        """
        ...


@dataclass(frozen=True, slots=True)
class Route:
    """How accounting servers are told."""

    secret: bytes = field(repr=False)
    """Shared with the servers."""
    servers: Servers
    client: Asks
    """Sends once."""
    retries: int
    """How often a server is told again before the next one is."""
    sending_s: float
    """The longest that all of it takes."""


class Accountant:
    """Tells the accounting servers of one table of calls.

    Args:
        name: the table's, for the log.
        route: whom to tell, and how.
        ledger: what is to be told.
        clock: monotonic seconds.
        wall: seconds since 1970.
    """

    def __init__(
        self,
        name: str,
        route: Route,
        ledger: Ledger,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._name = name
        self._route = route
        self._servers = route.servers
        self._lease_s = route.sending_s + LEASE_SPARE_S
        self._ledger = ledger
        self._clock = clock
        self._wall = wall
        self._forgot_at = clock()
        self.told: Counter[str] = Counter(answered=0, silent=0)
        """Rows that were sent, by what came of it."""
        self.waiting = 0
        """Rows that are not done, as last counted."""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Work while the context lasts; what is claimed at its end another worker takes over."""
        task = asyncio.get_running_loop().create_task(self._work())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def look(self) -> bool:
        """Enter new records and tell what is due; return whether there may be more at once."""
        entered = await self._ledger.enter(self._wall())
        claims = await self._ledger.claim(CLAIMED_MAX, self._wall(), self._lease_s)
        answered = await asyncio.gather(*(self._tell(claim) for claim in claims))
        self.waiting = await self._ledger.waiting()
        if self._clock() >= self._forgot_at + FORGET_S:
            self._forgot_at = self._clock()
            await self._ledger.forget(self._wall())
        return entered > 0 or any(answered)

    async def _work(self) -> None:
        fault = ""
        while True:
            more = False
            try:
                more = await self.look()
                fault = ""
            except StateError as error:
                if str(error) != fault:
                    log.warning("accounting waits", authenticator=self._name, reason=str(error))
                fault = str(error)
            if not more:
                await asyncio.sleep(LOOK_S)

    async def _tell(self, claim: Claim) -> bool:
        """Send what was claimed and note what came of it; return whether it was answered."""
        try:
            await self._send(claim)
        except Silent as silent:
            self.told["silent"] += 1
            wait_s = min(AGAIN_S * 2 ** min(claim.sendings - 1, 10), AGAIN_S_MAX)
            log.warning(
                "RADIUS accounting is not answered",
                authenticator=self._name,
                reason=str(silent),
                sendings=claim.sendings,
                again_s=wait_s,
            )
            await self._ledger.put_back(claim, self._wall() + wait_s)
            return False
        self.told["answered"] += 1
        await self._ledger.finish(claim)
        return True

    async def _send(self, claim: Claim) -> None:
        """Send to one server after the other until one answers.

        Raises:
            Silent: none does.
        """
        silent: Silent | None = None
        for server in self._servers.in_order(self._clock()):
            for _ in range(self._route.retries + 1):
                try:
                    await self._route.client.ask(server, self._request(claim))
                except Silent as error:
                    silent = error
                else:
                    self._servers.answered(server)
                    return
            self._servers.silent(server, self._clock())
        assert silent is not None, "there is at least one server"
        raise silent

    def _request(self, claim: Claim) -> Request:
        """Return a request as of now: another delay makes it another request (RFC 2866 §5.2)."""
        delay_s = max(0, int(self._wall() - claim.made_at))
        return accounting_request(
            self._route.secret, [*_told(claim), (Attribute.ACCT_DELAY_TIME, number(delay_s))]
        )


def _told(claim: Claim) -> list[tuple[Attribute, bytes]]:
    admission = admission_of(claim.record) if claim.record else None
    if claim.record is None or admission is None:
        return of_agent(claim.agent, claim.turn, claim.made_at)
    return of_record(claim.record, admission)
