"""`POST /api/v1/drain` over the real core: who is told, and what is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from broker.drains import Drains, add_drain_route
from broker.http import Operators
from broker.view import View
from dialgate.codes import NO_ERROR, Winerror
from dialgate.http import build_app
from dialgate.telemetry import new_registry
from tests.broker.house import House
from tests.broker.test_http import Loop

Client = TestClient[web.Request, web.Application]


class Site:
    """A broker, "broker-1", and the one that gives orders."""

    def __init__(self) -> None:
        self.house = House()
        self.loop = Loop()
        self.left_s: list[float] = []
        self.operators = Operators(self.loop, View(self.house.broker, lambda: self.house.now))
        self.drains = Drains("broker-1", self, self.operators, self.left_s.append)
        self.client: Client

    def drain_worker(self, name: str, deadline_ms: int) -> bool:
        return self.house.broker.drain_worker(name, deadline_ms, self.house.now)

    async def drain(self, role: str, name: str, **changed: object) -> tuple[int, object]:
        body = {"role": role, "name": name, "deadline_ms": 2500, "operator": "ann", **changed}
        async with self.client.post("/api/v1/drain", json=body) as answer:
            content = await answer.json()
            return answer.status, content["text"]


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    site = Site()
    app = build_app(registry=new_registry(), ready=lambda: None)
    add_drain_route(app, site.drains)
    async with TestClient(TestServer(app)) as client:
        site.client = client
        yield site


async def test_a_worker_is_sent_drain(site: Site) -> None:
    worker = site.house.worker("worker-1")

    assert await site.drain("worker", "worker-1") == (200, "draining")
    assert worker.hears() == ["DRAIN"]
    assert site.operators.outcomes == {("drain", "done"): 1}


async def test_this_broker_leaves_and_no_other(site: Site) -> None:
    assert await site.drain("broker", "broker-1") == (200, "draining")
    assert await site.drain("broker", "broker-2") == (
        404,
        "this is broker broker-1: ask broker-2 at its own HTTP address",
    )
    assert site.left_s == [2.5]


@pytest.mark.parametrize(
    ("code", "text"), [(NO_ERROR, "done"), (Winerror.ERROR_NOT_SUPPORTED.code, "ERROR_NOT_SUPP")]
)
async def test_an_agent_gets_the_order_and_answers_it(site: Site, code: object, text: str) -> None:
    site.loop.code = code  # type: ignore[assignment]

    status, said = await site.drain("agent", "oslo-1", reason="upgrade")

    assert status == 200
    assert str(said).startswith(text)
    ((agent, command),) = site.loop.sent
    assert (agent, command.act, command.hport) == ("oslo-1", "drain", "")
    assert (command.operator, command.reason) == ("ann", "upgrade")


async def test_who_is_not_here_is_named(site: Site) -> None:
    site.loop.code = None

    assert await site.drain("worker", "worker-9") == (503, "worker worker-9 is not connected here")
    assert await site.drain("agent", "oslo-9") == (503, "agent oslo-9 is not connected here")
    assert site.operators.outcomes == {("drain", "refused"): 2}


@pytest.mark.parametrize(
    "changed",
    [{"role": "modem"}, {"name": ""}, {"deadline_ms": -1}, {"operator": ""}, {"until": "noon"}],
    ids=str,
)
async def test_what_is_no_drain_is_refused(site: Site, changed: dict[str, object]) -> None:
    status, text = await site.drain(**{"role": "broker", "name": "broker-1", **changed})  # type: ignore[arg-type]

    assert status == 400
    assert str(text).startswith("not a drain: ")
    assert site.left_s == []
