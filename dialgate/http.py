"""The HTTP side that every program has: /metrics, /livez, /readyz, and the guard in front of all.

The guard: on a loopback address only requests that were meant for this machine are answered (a web
page in the operator's browser must not reach it under a name of its own), and whoever wants to
change something sends JSON, which a web page can't do unasked; on any other address he also shows
the operators' token.  The broker adds its own routes to the application.
"""

from __future__ import annotations

import hmac
import logging
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Final

from aiohttp import hdrs, web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.typedefs import Handler
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from dialgate.errors import ListenError
from dialgate.settings.endpoints import HostPort, parse_host_port

__all__ = ["HealthCheck", "build_app", "serve"]

HealthCheck = Callable[[], str | None]
"""Returns why not, or None when all is well."""

BODY_BYTES_MAX: Final = 64 * 1024
HEADER_BYTES_MAX: Final = 8 * 1024
SHUTDOWN_S: Final = 2.0
"""How long requests may go on once the server stops; event streams don't end by themselves."""

SAFE_METHODS: Final = frozenset({hdrs.METH_GET, hdrs.METH_HEAD})

_BOUND: Final = web.AppKey("bound", HostPort)
_TOKEN: Final = web.AppKey("token", str)


def build_app(
    *,
    registry: CollectorRegistry,
    ready: HealthCheck,
    live: HealthCheck = lambda: None,
    operator_token: str = "",
) -> web.Application:
    """Return the application with its three routes.

    Args:
        registry: what /metrics shows; read on the event loop, so collectors must be quick.
        ready: why /readyz answers 503; one line.
        live: why /livez answers 503; that it answers at all shows that the loop turns.
        operator_token: what a request that changes something must carry, as
            `Authorization: Bearer TOKEN`; empty: nothing on loopback, and refused elsewhere.
    """
    app = web.Application(middlewares=[_guard], client_max_size=BODY_BYTES_MAX)
    app[_TOKEN] = operator_token

    async def metrics(_request: web.Request) -> web.Response:
        headers = {hdrs.CONTENT_TYPE: CONTENT_TYPE_LATEST}
        return web.Response(body=generate_latest(registry), headers=headers)

    app.router.add_get("/metrics", metrics)
    app.router.add_get("/livez", _health(live))
    app.router.add_get("/readyz", _health(ready))
    return app


@asynccontextmanager
async def serve(app: web.Application, address: str) -> AsyncIterator[None]:
    """Serve `app` at `address` ("host:port") while the context lasts.

    Raises:
        ListenError: the address can't be listened on.
    """
    bound = parse_host_port(address)
    app[_BOUND] = bound
    runner = web.AppRunner(
        app,
        access_log=None,
        shutdown_timeout=SHUTDOWN_S,
        logger=_server_log,
        max_line_size=HEADER_BYTES_MAX,
        max_field_size=HEADER_BYTES_MAX,
    )
    await runner.setup()
    try:
        host = None if bound.host == "*" else bound.host
        try:
            await web.TCPSite(runner, host, bound.port).start()
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise ListenError(f"http {address} can't be listened on: {reason}") from None
        yield
    finally:
        await runner.cleanup()


def _is_own_fault(record: logging.LogRecord) -> bool:
    """Return False for what isn't HTTP: the 400 tells its sender, and anyone could fill the log."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, HttpProcessingError)


_server_log: Final = logging.getLogger("dialgate.http")
_server_log.addFilter(_is_own_fault)


def _health(check: HealthCheck) -> Handler:
    async def answer(_request: web.Request) -> web.Response:
        reason = check()
        if reason is None:
            return web.Response(text="ok\n")
        return web.Response(text=f"{reason}\n", status=HTTPStatus.SERVICE_UNAVAILABLE)

    return answer


@web.middleware
async def _guard(request: web.Request, handler: Handler) -> web.StreamResponse:
    refusal = _refusal(request)
    if refusal is not None:
        status, text = refusal
        return web.json_response({"text": text}, status=status)
    response = await handler(request)
    if not response.prepared:
        response.headers.setdefault(hdrs.CACHE_CONTROL, "no-store")
        response.headers.setdefault("X-Content-Type-Options", "nosniff")
    return response


def _refusal(request: web.Request) -> tuple[HTTPStatus, str] | None:
    """Return why `request` isn't served, or None."""
    bound = request.app.get(_BOUND)
    loopback = bound is None or bound.loopback
    if loopback and not _names_this_machine(request.host):
        return HTTPStatus.MISDIRECTED_REQUEST, "this address serves its own machine only"
    if request.method in SAFE_METHODS:
        return None
    if request.content_type != "application/json":
        return HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "send Content-Type: application/json"
    token = request.app[_TOKEN]
    if not token and not loopback:
        return HTTPStatus.FORBIDDEN, "commands need operator_token_file on this address"
    shown = request.headers.get(hdrs.AUTHORIZATION, "").removeprefix("Bearer ")
    if token and not hmac.compare_digest(shown.encode(), token.encode()):
        return HTTPStatus.UNAUTHORIZED, "the operators' token is missing or wrong"
    return None


def _names_this_machine(host: str) -> bool:
    """Return whether a Host header names a loopback address; the port is of no matter."""
    name = host if host.endswith("]") or ":" not in host else host.rpartition(":")[0]
    return HostPort(name.strip("[]"), 0).loopback
