"""`POST /api/v1/drain`: an operator lets a worker, this broker or an agent finish and go.

    {"role": "worker", "name": "worker-1", "deadline_ms": 600000, "operator": "ann", "reason": "…"}

200 says that who was named has been told; that he has finished is to be seen in the lists.  A
worker leaves by itself, at the deadline at the latest; this broker ends as after SIGTERM; an agent
lets its calls end, however long they take, and answers none until it is restarted or enabled.
"""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Annotated, Final, Literal, Protocol

import msgspec
import structlog
from aiohttp import web

from broker.http import Operators, Order, Refusal, answer_json
from broker.view import Row
from dialgate.wire.fields import Text
from dialgate.wire.limits import NAME_CHARS_MAX

__all__ = ["DEADLINE_MS_MAX", "Drain", "Drains", "add_drain_route"]

DEADLINE_MS_MAX: Final = 24 * 3600 * 1000

log = structlog.get_logger(__name__)


class Drain(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who is to go, and by when."""

    role: Literal["worker", "broker", "agent"]
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=NAME_CHARS_MAX)]
    deadline_ms: Annotated[int, msgspec.Meta(ge=0, le=DEADLINE_MS_MAX)]
    """An agent has none: no call is ended for it."""
    operator: Annotated[str, msgspec.Meta(min_length=1, max_length=NAME_CHARS_MAX)]
    reason: Text = ""


_DRAIN: Final = msgspec.json.Decoder(Drain)


class Teller(Protocol):
    """What a drain needs of broker.server."""

    def drain_worker(self, name: str, deadline_ms: int, /) -> bool:
        """Tell a worker to finish and leave; return whether it is here to be told."""


class Drains:
    """Carries out drains, and counts them among the operators' orders.

    Args:
        name: this broker's.
        teller: tells workers.
        operators: sends agents their order.
        leave: ends this broker, which serves on for so many seconds at most.
    """

    def __init__(
        self, name: str, teller: Teller, operators: Operators, leave: Callable[[float], None]
    ) -> None:
        self._name = name
        self._teller = teller
        self._operators = operators
        self._leave = leave

    async def carry_out(self, drain: Drain) -> Row:
        """Tell who is to go; return what an order's answer says.

        Raises:
            Refusal: he is not here, or does not answer.
        """
        if drain.role == "agent":
            order = Order(
                act="drain", agent=drain.name, operator=drain.operator, reason=drain.reason
            )
            return await self._operators.carry_out(order)
        if drain.role == "broker" and drain.name != self._name:
            text = f"this is broker {self._name}: ask {drain.name} at its own HTTP address"
            raise self._refused(HTTPStatus.NOT_FOUND, text)
        if drain.role == "broker":
            self._leave(drain.deadline_ms / 1000)
        elif not self._teller.drain_worker(drain.name, drain.deadline_ms):
            text = f"worker {drain.name} is not connected here"
            raise self._refused(HTTPStatus.SERVICE_UNAVAILABLE, text)
        self._operators.outcomes["drain", "done"] += 1
        log.info(
            "operator's drain",
            role=drain.role,
            name=drain.name,
            deadline_ms=drain.deadline_ms,
            operator=drain.operator,
            reason=drain.reason,
        )
        return {"code": 0, "text": "draining"}

    def _refused(self, status: HTTPStatus, text: str) -> Refusal:
        self._operators.outcomes["drain", "refused"] += 1
        return Refusal(status, text)


def add_drain_route(app: web.Application, drains: Drains) -> None:
    """Give `app` the route of drains."""

    async def drain(request: web.Request) -> web.Response:
        try:
            return answer_json(await drains.carry_out(_DRAIN.decode(await request.read())))
        except msgspec.DecodeError as error:
            return answer_json({"text": f"not a drain: {error}"}, HTTPStatus.BAD_REQUEST)
        except Refusal as refusal:
            return answer_json({"text": str(refusal)}, refusal.status)

    app.router.add_post("/api/v1/drain", drain)
