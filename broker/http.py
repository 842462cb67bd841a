"""The broker's HTTP side: what operators ask and order, and the event stream of observers.

Routes beside those that every program has (dialgate.http, which also guards these):

    GET  /api/v1/status, /agents, /workers, /ports, /dialogs    JSON, each list under its own name
    POST /api/v1/ports/command                                  an order to an agent, answered
    POST /api/v1/drain                                          broker.drains
    GET  /events                                                Server-Sent Events (protocol §9)

A refusal is {"text": why}, in one line, under a status that says whose fault it is.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from http import HTTPStatus
from secrets import token_bytes
from typing import Annotated, Any, Final, Literal, Protocol

import msgspec
import structlog
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from broker.events import Feed, Reader, TooManyReaders
from broker.view import Row, View
from dialgate.codes import Code, Winerror, describe
from dialgate.wire.bodies import Command
from dialgate.wire.fields import Text
from dialgate.wire.limits import NAME_CHARS_MAX

__all__ = ["COMMAND_S", "Operators", "Order", "Refusal", "Sender", "add_routes", "answer_json"]

log = structlog.get_logger(__name__)

COMMAND_S: Final = 70.0
"""How long an agent may take over an order: longer than its own bound, `order_timeout_s`."""
WRITE_S: Final = 30.0
"""How long a reader of events may leave a write standing before he is cut off."""

AGENT_GONE: Final = Winerror.ERROR_CONNECTION_ABORTED.code


class Order(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an operator wants of a port, or with an empty hport of an agent."""

    act: Literal["hangup", "reset", "probe", "disable", "enable", "drain", "rehome"]
    hport: Text = ""
    agent: Text = ""
    """Needed where several have the port, and for an order to an agent as a whole."""
    mode: Literal["", "busy", "ring"] = ""
    """For disable: what callers hear."""
    operator: Annotated[str, msgspec.Meta(min_length=1, max_length=NAME_CHARS_MAX)]
    """Who says so, for log and record."""
    reason: Text = ""


_ORDER: Final = msgspec.json.Decoder(Order)


class Refusal(Exception):
    """An order that isn't carried out; `str` is the one line for the operator."""

    def __init__(self, status: HTTPStatus, text: str) -> None:
        super().__init__(text)
        self.status = status


class Sender(Protocol):
    """What an order needs of broker.server."""

    def command(self, agent: str, command: Command, /) -> asyncio.Future[Code] | None:
        """Send `command`; its answer will come, or it could not be sent."""


class Operators:
    """Carries out operators' orders, and counts them."""

    def __init__(self, sender: Sender, view: View) -> None:
        self.outcomes: Counter[tuple[str, str]] = Counter()
        """Orders by act and outcome: done, failed, unanswered, refused."""
        self._sender = sender
        self._view = view

    async def carry_out(self, order: Order) -> Row:
        """Send `order` and return what the agent says: `code` 0 is done.

        Raises:
            Refusal: it was not sent, or not answered.
        """
        try:
            code = await self._send(order)
        except Refusal as refusal:
            unanswered = refusal.status is HTTPStatus.GATEWAY_TIMEOUT
            self.outcomes[order.act, "unanswered" if unanswered else "refused"] += 1
            raise
        text = "done" if code.ok else describe(code)
        self.outcomes[order.act, "done" if code.ok else "failed"] += 1
        log.info(
            "operator's order",
            act=order.act,
            hport=order.hport,
            agent=order.agent,
            operator=order.operator,
            reason=order.reason,
            outcome=text,
        )
        return {"code": 0 if code.ok else list(code), "text": text}

    async def _send(self, order: Order) -> Code:
        agent = self._agent_for(order)
        gone = Refusal(HTTPStatus.SERVICE_UNAVAILABLE, f"agent {agent} is not connected here")
        command = Command(
            id=token_bytes(16),
            hport=order.hport,
            act=order.act,
            mode=order.mode,
            operator=order.operator,
            reason=order.reason,
        )
        answer = self._sender.command(agent, command)
        if answer is None:
            raise gone
        try:
            async with asyncio.timeout(COMMAND_S):
                code = await answer
        except TimeoutError:
            text = f"agent {agent} has not answered within {COMMAND_S:g} s"
            raise Refusal(HTTPStatus.GATEWAY_TIMEOUT, text) from None
        if code == AGENT_GONE:
            raise gone
        return code

    def _agent_for(self, order: Order) -> str:
        """Return the agent that `order` is for."""
        if not order.hport:
            if not order.agent:
                raise Refusal(HTTPStatus.BAD_REQUEST, "name a port (hport) or an agent")
            return order.agent
        known = self._view.agents_with(order.hport)
        if order.agent:
            known = [agent for agent in known if agent == order.agent]
        if not known:
            of_agent = f" of agent {order.agent}" if order.agent else ""
            text = f'no port "{order.hport}"{of_agent} is known here'
            raise Refusal(HTTPStatus.NOT_FOUND, text)
        # Of a port that has moved, the agent that is here knows.
        here = [agent for agent in known if self._view.has_agent(agent)] or known
        if len(here) > 1:
            names = ", ".join(sorted(here))
            text = f'several agents have a port "{order.hport}", name one of them: {names}'
            raise Refusal(HTTPStatus.CONFLICT, text)
        return here[0]


def add_routes(app: web.Application, view: View, operators: Operators, feed: Feed) -> None:
    """Give `app` the broker's own routes."""
    lists: Mapping[str, Callable[[], list[Row]]] = {
        "agents": view.agents,
        "workers": view.workers,
        "ports": view.ports,
        "dialogs": view.dialogs,
    }

    async def status(_request: web.Request) -> web.Response:
        return answer_json(view.status())

    app.router.add_get("/api/v1/status", status)
    for name, rows in lists.items():
        app.router.add_get(f"/api/v1/{name}", _list(name, rows))

    async def command(request: web.Request) -> web.Response:
        try:
            order = _ORDER.decode(await request.read())
            return answer_json(await operators.carry_out(order))
        except msgspec.DecodeError as error:
            return answer_json({"text": f"not an order: {error}"}, HTTPStatus.BAD_REQUEST)
        except Refusal as refusal:
            return answer_json({"text": str(refusal)}, refusal.status)

    async def events(request: web.Request) -> web.StreamResponse:
        try:
            with feed.reader() as reader:
                return await _stream(request, reader)
        except TooManyReaders:
            text = "as many event streams are open as this broker serves"
            return answer_json({"text": text}, HTTPStatus.SERVICE_UNAVAILABLE)

    app.router.add_post("/api/v1/ports/command", command)
    app.router.add_get("/events", events)


_STREAM_HEADERS: Final = {
    hdrs.CONTENT_TYPE: "text/event-stream; charset=utf-8",
    hdrs.CACHE_CONTROL: "no-store",
    "X-Accel-Buffering": "no",  # a proxy would keep events until it has a bufferful
    "X-Content-Type-Options": "nosniff",
}


async def _stream(request: web.Request, reader: Reader) -> web.StreamResponse:
    """Write what `reader` gets until the feed is closed or nobody takes it any more."""
    stream = web.StreamResponse(headers=_STREAM_HEADERS)
    try:
        await stream.prepare(request)
        while chunk := await reader.next():
            async with asyncio.timeout(WRITE_S):
                await stream.write(chunk)
    except TimeoutError:
        if request.transport is not None:
            request.transport.abort()
    except ConnectionResetError:
        pass  # Whoever read has gone, as readers do.
    return stream


def _list(name: str, rows: Callable[[], list[Row]]) -> Handler:
    async def answer(_request: web.Request) -> web.Response:
        return answer_json({name: rows()})

    return answer


def answer_json(content: Mapping[str, Any], status: HTTPStatus = HTTPStatus.OK) -> web.Response:
    """Return `content` as a response."""
    body = msgspec.json.encode(content) + b"\n"
    return web.Response(body=body, status=status, content_type="application/json")
