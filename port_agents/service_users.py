"""Hear from services whom they know their callers as (rashost.md, rule 5).

A shell: one Unix socket for all services of the agent.  A service proves which call is its own by a
token that is in its environment only; whether the user is the right one is the line's to say.

Invariants: a token is good while its service runs and no longer; every exchange and their number
are bounded.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final

import msgspec
import structlog

from dialgate.errors import ListenError
from dialgate.service_users import (
    LINE_BYTES_MAX,
    SOCKET_VARIABLE,
    TOKEN_VARIABLE,
    Claim,
    Ruling,
)

__all__ = ["ServiceUsers"]

EXCHANGE_S: Final = 5.0
"""How long a service may take to say its line and to take the answer."""
EXCHANGES_MAX: Final = 64
"""Services that are heard at once."""
TOKEN_BYTES: Final = 24

log = structlog.get_logger()


class ServiceUsers:
    """The agent's ear for its services.

    Args:
        path: of the socket.
        judge: says of a port and a name whether its caller is that user, and ends his call if not.
        outcomes: counts claims: same, other, refused.
    """

    def __init__(
        self, path: Path, judge: Callable[[str, str], bool], outcomes: Counter[str]
    ) -> None:
        self._path = path
        self._judge = judge
        self._outcomes = outcomes
        self._hports: dict[str, str] = {}
        """By token."""
        self._tokens: dict[str, str] = {}
        """The reverse."""
        self._exchanges: set[asyncio.Task[None]] = set()

    def expect(self, hport: str) -> dict[str, str]:
        """Return what the environment of a port's service, which starts now, says of this."""
        self.forget(hport)
        token = secrets.token_urlsafe(TOKEN_BYTES)
        self._hports[token] = hport
        self._tokens[hport] = token
        return {SOCKET_VARIABLE: str(self._path), TOKEN_VARIABLE: token}

    def forget(self, hport: str) -> None:
        """Hear no more of a port's service: it has ended."""
        token = self._tokens.pop(hport, None)
        if token is not None:
            del self._hports[token]

    @property
    def exchanges(self) -> int:
        """Services that are being heard."""
        return len(self._exchanges)

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Serve the socket while the context lasts.

        Raises:
            ListenError: it can't be made.
        """
        try:
            server = await asyncio.start_unix_server(
                self._exchange, self._path, limit=LINE_BYTES_MAX
            )
            # A service may run as any user: what counts is the token.
            self._path.chmod(0o666)
        except OSError as error:
            raise ListenError(
                f"{self._path}: can't be listened on: {error.strerror or error}: "
                "name another path as agent.service_socket"
            ) from None
        try:
            yield
        finally:
            server.close()
            for exchange in self._exchanges:
                exchange.cancel()
            await asyncio.gather(*self._exchanges, return_exceptions=True)
            self._path.unlink(missing_ok=True)

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.exchanges >= EXCHANGES_MAX:
            self._refuse("too many services speak at once")
            writer.transport.abort()
            return
        task = asyncio.current_task()
        assert task is not None, "the server runs each exchange as a task"
        self._exchanges.add(task)
        try:
            async with asyncio.timeout(EXCHANGE_S):
                ruling = self._rule(await reader.readline())
                writer.write(msgspec.json.encode(ruling) + b"\n")
                await writer.drain()
        except (TimeoutError, ConnectionError, ValueError):
            self._refuse("a service did not say whom it means")
        finally:
            self._exchanges.discard(task)
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    def _rule(self, line: bytes) -> Ruling:
        try:
            claim = msgspec.json.decode(line, type=Claim)
        except msgspec.MsgspecError:
            return self._refuse("this is no claim of a user")
        hport = self._hports.get(claim.token)
        if hport is None:
            return self._refuse("no service that runs here has this token")
        same = self._judge(hport, claim.user)
        self._outcomes["same" if same else "other"] += 1
        if same:
            return Ruling(same=True)
        log.warning("service names another user", hport=hport, user=claim.user)
        return Ruling(same=False, text="the security host has admitted another user: the call ends")

    def _refuse(self, why: str) -> Ruling:
        self._outcomes["refused"] += 1
        log.warning("claim of a user refused", reason=why)
        return Ruling(same=False, text=why)
