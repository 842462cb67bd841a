"""RADIUS: a name and a password, and whatever the server asks then (RFC 2865, RFC 2869).

Servers are asked in order.  One that falls silent in the middle of a challenge takes the
conversation with it: the next one is asked from the password on, and the caller gets that one's
questions; the answer that he gave the dead one is not used again.  A lost worker likewise: State is
in no cookie, since the next worker could not use it.

Invariant: without an answer that is the server's own there is no decision.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, nullcontext
from typing import Final, Protocol

import structlog
from prometheus_client.metrics_core import Metric

from auth_workers.authenticators import Accepted, Login, Rejected, Result, Unavailable
from auth_workers.kinds import Kind, Resources
from auth_workers.radius.accountant import Accountant, Route
from auth_workers.radius.accounting import ADMITTED_BY
from auth_workers.radius.attributes import complete_attributes, of_call, text_of
from auth_workers.radius.client import Client, Silent
from auth_workers.radius.ledger import Ledger
from auth_workers.radius.packets import (
    PASSWORD_BYTES_MAX,
    VALUE_BYTES_MAX,
    Attribute,
    Fault,
    PacketCode,
    Reply,
    Request,
    access_request,
)
from auth_workers.radius.servers import Servers
from dialgate.errors import UsageError
from dialgate.metrics import counter, gauge
from dialgate.settings import HostPort, parse_host_port
from dialgate.settings.authenticators import RadiusSettings
from dialgate.users import normalize_name

__all__ = ["KIND", "Radius"]

PROMPT: Final = "Response: "
"""Asked where a challenge has no Reply-Message."""
ECHO: Final = b"\0\0\0\1"
"""Value of Prompt that has the answer echoed (RFC 2869 §5.10)."""

_ANSWERS: Final = (PacketCode.ACCESS_ACCEPT, PacketCode.ACCESS_REJECT, PacketCode.ACCESS_CHALLENGE)

log = structlog.get_logger()


class Asks(Protocol):
    """What sends requests: `auth_workers.radius.client.Client`, or a test's."""

    ignored: Counter[tuple[str, Fault]]
    """Datagrams that were no answer, by server and why."""

    async def ask(self, server: HostPort, request: Request, *, hasty: bool = False) -> Reply:
        """Return the answer of `server`.

        Raises:
            Silent: there is none in time.
        """
        ...


class Radius:
    """Users that RADIUS servers know.

    Args:
        name: the table's, for log and metrics.
        secret: shared with the servers.
        servers: whom to ask.
        client: how.
        signed: whether replies must have a Message-Authenticator.
        accountant: tells the accounting servers, where there are any.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        name: str,
        secret: bytes,
        servers: Servers,
        client: Asks,
        *,
        signed: bool = True,
        accountant: Accountant | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._secret = secret
        self._servers = servers
        self._client = client
        self._signed = signed
        self._accountant = accountant
        self._clock = clock
        known = [str(server) for server in servers.in_order(clock())]
        self.replies = Counter({(server, code): 0 for server in known for code in _ANSWERS})
        """Answers, by server and what they were."""
        self.silences = Counter(dict.fromkeys(known, 0))
        """Requests without an answer, by server."""

    async def authenticate(self, login: Login) -> Result:
        """Ask for the password, then the servers, then what they want to know.

        Raises:
            TimeoutError, DialogEnded, DialogFault: of the dialog.
        """
        password = await login.password()
        # An empty password is an anonymous bind to many a directory behind a server.
        if not password or not _fits(login.user, password):
            return Rejected()
        servers = self._servers.in_order(self._clock())
        silent = Silent("no server", Unavailable("").code)
        reasons: list[str] = []
        for index, server in enumerate(servers):
            try:
                result = await self._converse(
                    server, login, password, hasty=index + 1 < len(servers)
                )
            except Silent as error:
                silent = error
                reasons.append(str(error))
                self.silences[str(server)] += 1
                self._servers.silent(server, self._clock())
                log.warning("RADIUS server is silent", authenticator=self._name, reason=str(error))
            else:
                return result
        return Unavailable("; ".join(reasons), silent.code)

    def collect(self) -> Iterable[Metric]:
        """Yield what /metrics shows of this authenticator."""
        name = self._name
        yield counter(
            "dialgate_worker_radius_replies_total",
            "Answers of RADIUS servers, by kind.",
            ["authenticator", "server", "reply"],
            [([name, server, code.name.lower()], n) for (server, code), n in self.replies.items()],
        )
        yield counter(
            "dialgate_worker_radius_silences_total",
            "Requests that a RADIUS server did not answer.",
            ["authenticator", "server"],
            [([name, server], n) for server, n in self.silences.items()],
        )
        yield counter(
            "dialgate_worker_radius_ignored_total",
            "Datagrams that were not the answer of the server that was asked, by reason.",
            ["authenticator", "server", "reason"],
            [
                ([name, server, fault.value], n)
                for (server, fault), n in self._client.ignored.items()
            ],
        )
        yield from self._accounting()
        now = self._clock()
        yield gauge(
            "dialgate_worker_radius_dead",
            "1 while a RADIUS server is asked last because it did not answer.",
            ["authenticator", "server"],
            [
                ([name, str(server)], int(self._servers.is_dead(server, now)))
                for server in self._servers.in_order(now)
            ],
        )

    def _accounting(self) -> Iterable[Metric]:
        accountant, name = self._accountant, self._name
        yield counter(
            "dialgate_worker_radius_accounting_total",
            "Accounting requests that this worker has sent, by what came of them.",
            ["authenticator", "outcome"],
            [([name, how], n) for how, n in accountant.told.items()] if accountant else [],
        )
        yield gauge(
            "dialgate_worker_radius_accounting_waiting",
            "Accounting requests of the cluster that no server has answered yet.",
            ["authenticator"],
            [([name], accountant.waiting)] if accountant else [],
        )

    async def _converse(
        self, server: HostPort, login: Login, password: bytes, *, hasty: bool
    ) -> Result:
        """Return what `server` says in the end, after whatever it asks.

        Raises:
            Silent: it does not answer, at first or any more.
        """
        dialog = login.dialog
        about = [
            (Attribute.USER_NAME, login.user.encode()),
            *of_call(dialog.facts, dialog.hport, dialog.call),
        ]
        answer, states, challenged = password, list[tuple[Attribute, bytes]](), False
        while True:
            request = access_request(self._secret, [*about, *states], answer, signed=self._signed)
            reply = await self._client.ask(server, request, hasty=hasty)
            self._servers.answered(server)
            self.replies[str(server), reply.code] += 1
            if reply.code is PacketCode.ACCESS_ACCEPT:
                return await _accept(reply, login, self._name)
            message = text_of(reply.attributes.get(Attribute.REPLY_MESSAGE, ()))
            if reply.code is PacketCode.ACCESS_REJECT:
                return self._reject(server, message, challenged=challenged)
            answer, challenged = await _respond(reply, message, login), True
            if len(answer) > PASSWORD_BYTES_MAX:
                return Rejected()
            states = [
                (Attribute.STATE, state) for state in reply.attributes.get(Attribute.STATE, ())
            ]

    def _reject(self, server: HostPort, message: str, *, challenged: bool) -> Rejected:
        """Keep the server's words from whom it has not asked anything yet.

        Servers say "Hello, ann" to a wrong password, too, and nothing to an unknown name: that
        would tell who exists.  Who was asked for more than a password may know that he does.
        """
        if message:
            log.info("RADIUS server rejects", server=str(server), says=message)
        return Rejected(message=message if challenged else "")


def _fits(user: str, password: bytes) -> bool:
    """Return whether name and password fit their attributes: neither is ever cut."""
    return len(user.encode()) <= VALUE_BYTES_MAX and len(password) <= PASSWORD_BYTES_MAX


async def _respond(challenge: Reply, message: str, login: Login) -> bytes:
    """Return the caller's answer to a challenge."""
    (prompt,) = challenge.attributes.get(Attribute.PROMPT, ())[:1] or (b"",)
    # Session-Timeout of a challenge bounds the answer (RFC 2869 §2.1).
    (limit,) = challenge.attributes.get(Attribute.SESSION_TIMEOUT, ())[:1] or (b"",)
    text = message or PROMPT
    return await login.ask(
        (text if text[-1].isspace() else f"{text} ").encode(),
        echo="on" if prompt == ECHO else "off",
        timeout_s=int.from_bytes(limit, "big") or None,
    )


async def _accept(reply: Reply, login: Login, table: str) -> Result:
    """Show the server's last words, and hand on what it says of the user and his stay."""
    (name,) = reply.attributes.get(Attribute.USER_NAME, ())[:1] or (login.user.encode(),)
    try:
        user = normalize_name(name.decode())
    except (UnicodeDecodeError, UsageError):
        user = login.user
    message = text_of(reply.attributes.get(Attribute.REPLY_MESSAGE, ()))
    if message:
        await login.dialog.send(f"{message}\r\n".encode())
    filters = reply.attributes.get(Attribute.FILTER_ID, ())
    roles = tuple(each.decode(errors="replace") for each in filters)
    attributes = {**complete_attributes(reply), ADMITTED_BY: table}
    return Accepted(user, roles=roles, attributes=attributes)


@asynccontextmanager
async def _open(name: str, settings: RadiusSettings, resources: Resources) -> AsyncIterator[Radius]:
    if not settings.require_message_authenticator:
        log.warning(
            "RADIUS replies are believed without Message-Authenticator: whoever sits between "
            "here and the server can let anybody in (CVE-2024-3596)",
            authenticator=name,
            mend="have the server sign its replies, remove require_message_authenticator",
        )
    try:
        secret = settings.secret()
    except ValueError as error:
        raise UsageError(f"authenticators.{name}.secret_file: {error}") from None
    ignored: Counter[tuple[str, Fault]] = Counter()
    accountant = _accountant(name, settings, secret, resources, ignored)
    async with accountant.running() if accountant else nullcontext():
        yield Radius(
            name,
            secret,
            Servers([parse_host_port(server) for server in settings.servers]),
            Client(settings.timeout_s, settings.retries, ignored),
            signed=settings.require_message_authenticator,
            accountant=accountant,
        )


def _accountant(
    name: str,
    settings: RadiusSettings,
    secret: bytes,
    resources: Resources,
    ignored: Counter[tuple[str, Fault]],
) -> Accountant | None:
    if not settings.accounting:
        return None
    servers = [parse_host_port(server) for server in settings.accounting]
    route = Route(
        secret=secret,
        servers=Servers(servers),
        client=Client(settings.timeout_s, 0, ignored),
        retries=settings.retries,
        # A lookup of the server's name may take as long as an answer.
        sending_s=2.0 * settings.timeout_s * (settings.retries + 1) * len(servers),
    )
    return Accountant(name, route, Ledger(resources.state, name, os.urandom(16)))


KIND: Final = Kind(RadiusSettings, _open)
