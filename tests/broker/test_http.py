"""The broker's HTTP side over the real core, with peers played by hand (tests.broker.house).

Requests go through aiohttp's own server and client on loopback; the loop that would carry orders
to agents is a fake that answers as told.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestClient, TestServer

from broker import http as broker_http
from broker.events import READERS_MAX, Feed
from broker.http import AGENT_GONE, Operators, add_routes
from broker.view import View
from dialgate.codes import NO_ERROR, Code, Winerror
from dialgate.http import build_app
from dialgate.telemetry import new_registry
from dialgate.wire.bodies import Command, Lines, LineState
from dialgate.wire.verbs import Verb
from tests.broker.house import House, Peer, id16

Client = TestClient[web.Request, web.Application]

PROTOCOL: Final = Path(__file__).parents[2] / "docs/protocol.md"

ORDER: Final = {"act": "hangup", "hport": "oslo/1", "operator": "ann", "reason": "stuck"}
DIALOG: Final = "64312e2e-2e2e-2e2e-2e2e-2e2e2e2e2e2e"
"""`id16("d1")` as a UUID."""


class Loop:
    """Takes orders in the loop's place; `code` is what the agent will say, None if it can't."""

    def __init__(self, code: Code | None = NO_ERROR, *, answers: bool = True) -> None:
        self.code = code
        self.answers = answers
        self.sent: list[tuple[str, Command]] = []

    def command(self, agent: str, command: Command) -> asyncio.Future[Code] | None:
        if self.code is None:
            return None
        self.sent.append((agent, command))
        answer: asyncio.Future[Code] = asyncio.get_running_loop().create_future()
        if self.answers:
            answer.set_result(self.code)
        return answer


class Site:
    """The house and its HTTP side."""

    def __init__(self, house: House, loop: Loop) -> None:
        self.house = house
        self.view = View(house.broker, lambda: house.now)
        self.feed = Feed(house.broker.board, self.view.items)
        self.operators = Operators(loop, self.view)
        self.app = build_app(registry=new_registry(), ready=lambda: None)
        add_routes(self.app, self.view, self.operators, self.feed)


@asynccontextmanager
async def client_of(site: Site) -> AsyncIterator[Client]:
    async with TestClient(TestServer(site.app)) as client:
        yield client
        site.feed.close()


async def ask(path: str, house: House) -> Any:
    async with client_of(Site(house, Loop())) as client, client.get(f"/api/v1/{path}") as answer:
        assert (answer.status, answer.content_type) == (200, "application/json")
        return await answer.json()


async def order(house: House, body: object, loop: Loop | None = None) -> tuple[int, Any]:
    """Post an order; return the status and the answer."""
    site = Site(house, loop or Loop())
    async with (
        client_of(site) as client,
        client.post("/api/v1/ports/command", json=body) as answer,
    ):
        return answer.status, await answer.json()


def house_with_port(agent: str = "oslo-1", hport: str = "oslo/1") -> House:
    house = House()
    lists(house.agent(agent), hport)
    return house


def lists(agent: Peer, *hports: str, state: str = "idle", since_ms: int = 0) -> None:
    lines = tuple(
        LineState(hport=hport, state=state, reason="", since_ms=since_ms)  # type: ignore[arg-type]
        for hport in hports
    )
    agent.say(Verb.LINES, Lines(lines=lines, complete=True))


# ---------------------------------------------------------------------- what there is


async def test_a_port_shows_its_agents_word_and_who_authenticates_its_caller() -> None:
    house = House()
    house.now = 5.0
    agent = house.agent("oslo-1")
    house.worker("worker-1", credit=1)
    lists(agent, "oslo/1", state="authenticating", since_ms=500)
    agent.begin("d1", hport="oslo/1")
    house.now = 7.0

    assert await ask("ports", house) == {
        "ports": [
            {
                "agent": "oslo-1",
                "site": "oslo",
                "instance": id16("oslo-1").hex(),
                "session": 1,
                "hport": "oslo/1",
                "state": "authenticating",
                "reason": "",
                "since_ms": 2500,
                "dialog": DIALOG,
                "worker": "worker-1",
                "stale": False,
            }
        ]
    }


async def test_a_port_without_a_dialog_says_so_with_null() -> None:
    (port,) = (await ask("ports", house_with_port()))["ports"]

    assert (port["dialog"], port["worker"]) == (None, None)


async def test_a_port_whose_agent_is_gone_is_stale_and_unknown() -> None:
    house = House()
    agent = house.agent("oslo-1")
    lists(agent, "oslo/1")
    agent.bye()

    (port,) = (await ask("ports", house))["ports"]

    assert (port["state"], port["stale"]) == ("unknown", True)


async def test_agents_are_those_that_have_a_session() -> None:
    house = House()
    lists(house.agent("oslo-1"), "oslo/1", "oslo/2")
    house.agent("oslo-2").bye()
    house.now = 1.5

    assert await ask("agents", house) == {
        "agents": [
            {
                "name": "oslo-1",
                "site": "oslo",
                "instance": id16("oslo-1").hex(),
                "session": 1,
                "version": "test",
                "connected": True,
                "connected_ms": 1500,
                "faults": {},
                "ports": 2,
            }
        ]
    }


async def test_a_worker_shows_what_it_would_take_and_what_it_has() -> None:
    house = House()
    house.worker("worker-1", credit=5)
    house.agent("oslo-1").begin("d1")

    assert await ask("workers", house) == {
        "workers": [
            {
                "name": "worker-1",
                "instance": id16("worker-1").hex(),
                "session": 1,
                "version": "test",
                "connected": True,
                "connected_ms": 0,
                "faults": {},
                "pools": ["default"],
                "capacity": 100,
                "credit": 4,
                "owned": 1,
                "draining": False,
            }
        ]
    }


async def test_a_dialog_shows_where_it_stands() -> None:
    house = House()
    house.agent("oslo-1").begin("d1", attempt=2, hport="oslo/1")
    house.now = 0.25

    assert await ask("dialogs", house) == {
        "dialogs": [
            {
                "dialog": DIALOG,
                "attempt": 2,
                "agent": "oslo-1",
                "instance": id16("oslo-1").hex(),
                "session": 1,
                "hport": "oslo/1",
                "pool": "default",
                "state": "waiting",
                "worker": "",
                "age_ms": 250,
            }
        ]
    }


async def test_the_status_shows_a_broker_without_workers_and_its_queue() -> None:
    house = house_with_port()
    site = Site(house, Loop())
    agent = house.agent("oslo-2")
    agent.begin("d1", hport="oslo/2")
    house.now = 1.5

    async with client_of(site) as client, client.get("/api/v1/status") as answer:
        status = await answer.json()

    assert status.pop("version")
    assert status == {
        "name": "b",
        "instance": id16("b").hex(),
        "uptime_ms": 1500,
        "draining": False,
        "agents": 2,
        "workers": 0,
        "credit": 0,
        "ports": {"idle": 1},
        "dialogs": {"waiting": 1, "owned": 0, "ending": 0, "pinned": 0},
    }


async def test_the_status_says_that_a_broker_drains() -> None:
    house = House()
    house.broker.drain(10_000, house.now)

    assert (await ask("status", house))["draining"] is True


# ---------------------------------------------------------------------- orders


async def test_an_order_goes_to_the_ports_agent_and_its_answer_comes_back() -> None:
    loop = Loop()

    assert await order(house_with_port(), ORDER, loop) == (200, {"code": 0, "text": "done"})
    ((agent, command),) = loop.sent
    assert (agent, command.hport, command.act, command.mode, command.operator, command.reason) == (
        "oslo-1",
        "oslo/1",
        "hangup",
        "",
        "ann",
        "stuck",
    )
    assert len(command.id) == 16


async def test_an_order_that_the_agent_could_not_carry_out_has_its_code() -> None:
    loop = Loop(Winerror.ERROR_BUSY.code)

    assert await order(house_with_port(), ORDER, loop) == (
        200,
        {"code": ["win", 170], "text": "ERROR_BUSY"},
    )


async def test_an_order_to_an_agent_as_a_whole_names_it() -> None:
    loop = Loop()
    body = {"act": "drain", "agent": "oslo-1", "operator": "ann"}

    assert (await order(house_with_port(), body, loop))[0] == 200
    assert [(agent, command.hport) for agent, command in loop.sent] == [("oslo-1", "")]


async def test_an_order_to_nobody_is_refused() -> None:
    assert await order(house_with_port(), {"act": "drain", "operator": "ann"}) == (
        400,
        {"text": "name a port (hport) or an agent"},
    )


async def test_a_port_that_nobody_has_told_of_is_not_found() -> None:
    assert await order(house_with_port(), ORDER | {"hport": "oslo/9"}) == (
        404,
        {"text": 'no port "oslo/9" is known here'},
    )


async def test_a_port_of_another_agent_than_the_one_named_is_not_found() -> None:
    assert await order(house_with_port(), ORDER | {"agent": "oslo-7"}) == (
        404,
        {"text": 'no port "oslo/1" of agent oslo-7 is known here'},
    )


async def test_a_port_of_two_agents_needs_one_of_them_named() -> None:
    house = house_with_port("oslo-2")
    lists(house.agent("oslo-1"), "oslo/1")
    loop = Loop()

    assert await order(house, ORDER, loop) == (
        409,
        {"text": 'several agents have a port "oslo/1", name one of them: oslo-1, oslo-2'},
    )
    assert (await order(house, ORDER | {"agent": "oslo-2"}, loop))[0] == 200
    assert [agent for agent, _ in loop.sent] == ["oslo-2"]


async def test_a_port_that_has_moved_is_its_present_agents() -> None:
    house = House()
    former = house.agent("oslo-1")
    lists(former, "oslo/1")
    former.bye()
    lists(house.agent("oslo-2"), "oslo/1")
    loop = Loop()

    assert (await order(house, ORDER, loop))[0] == 200
    assert [agent for agent, _ in loop.sent] == ["oslo-2"]


@pytest.mark.parametrize("code", [None, AGENT_GONE], ids=["before", "before it answered"])
async def test_an_agent_that_is_gone_is_unavailable(code: Code | None) -> None:
    assert await order(house_with_port(), ORDER, Loop(code)) == (
        503,
        {"text": "agent oslo-1 is not connected here"},
    )


async def test_an_agent_that_does_not_answer_is_waited_for_in_bounded_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(broker_http, "COMMAND_S", 0.01)

    assert await order(house_with_port(), ORDER, Loop(answers=False)) == (
        504,
        {"text": "agent oslo-1 has not answered within 0.01 s"},
    )


@pytest.mark.parametrize(
    ("body", "text"),
    [
        pytest.param([], "Expected `object`, got `array`", id="no object"),
        pytest.param(
            {"hport": "oslo/1", "operator": "ann"},
            "Object missing required field `act`",
            id="nothing to do",
        ),
        pytest.param(
            ORDER | {"act": "explode"}, "Invalid enum value 'explode' - at `$.act`", id="unknown"
        ),
        pytest.param(
            ORDER | {"operator": ""}, "Expected `str` of length >= 1 - at `$.operator`", id="nobody"
        ),
        pytest.param(
            ORDER | {"hprot": "x"}, "Object contains unknown field `hprot`", id="misspelled"
        ),
    ],
)
async def test_a_bad_order_is_refused_with_the_field_that_is_bad(body: object, text: str) -> None:
    assert await order(house_with_port(), body) == (400, {"text": f"not an order: {text}"})


async def test_an_order_that_is_no_json_is_refused() -> None:
    headers = {"Content-Type": "application/json"}
    async with (
        client_of(Site(House(), Loop())) as client,
        client.post("/api/v1/ports/command", data=b"\xff{", headers=headers) as answer,
    ):
        assert answer.status == 400
        assert (await answer.json())["text"].startswith("not an order: JSON is malformed")


async def test_orders_are_counted_by_act_and_outcome() -> None:
    house = house_with_port()
    site = Site(house, Loop(Winerror.ERROR_BUSY.code))
    async with client_of(site) as client:
        for hport in ("oslo/1", "oslo/9"):
            await client.post("/api/v1/ports/command", json=ORDER | {"hport": hport})

    assert site.operators.outcomes == {("hangup", "failed"): 1, ("hangup", "refused"): 1}


async def test_a_page_of_another_site_cannot_give_orders() -> None:
    """A web page can send a form without asking, but no JSON."""
    async with client_of(Site(house_with_port(), Loop())) as client:
        answer = await client.post("/api/v1/ports/command", data=json.dumps(ORDER))

        assert answer.status == 415


# ---------------------------------------------------------------------- events


async def next_event(stream: Any) -> dict[str, str]:
    block = await stream.content.readuntil(b"\n\n")
    return dict(line.split(": ", 1) for line in block.decode().strip().splitlines())


async def test_events_begin_with_a_snapshot_and_go_on_with_changes() -> None:
    house = House()
    agent = house.agent("oslo-1")
    lists(agent, "oslo/1")
    site = Site(house, Loop())

    async with asyncio.timeout(5), client_of(site) as client, client.get("/events") as stream:
        assert (stream.status, stream.content_type) == (200, "text/event-stream")
        snapshot = [await next_event(stream) for _ in range(3)]
        lists(agent, "oslo/1", state="ringing")
        site.feed.turn()
        change = await next_event(stream)

    assert [event["event"] for event in snapshot] == ["snapshot", "agent", "line"]
    assert json.loads(snapshot[0]["data"]) == {"items": 2}
    assert change["event"] == "line"
    assert int(change["id"]) > int(snapshot[0]["id"])
    assert json.loads(change["data"]) == {
        "agent": "oslo-1",
        "site": "oslo",
        "instance": id16("oslo-1").hex(),
        "session": 1,
        "hport": "oslo/1",
        "state": "ringing",
        "reason": "",
        "since_ms": 0,
    }


def test_the_protocol_page_lists_the_fields_of_every_event() -> None:
    house = House()
    house.worker("worker-1", credit=1)
    agent = house.agent("oslo-1")
    lists(agent, "oslo/1")
    agent.begin("d1", hport="oslo/1")
    sent = {name: set(fields) for name, fields in View(house.broker, lambda: house.now).items()}

    chapter = PROTOCOL.read_text().split("\n## 9. Observers\n")[1]
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", chapter, re.MULTILINE)
    listed = {name: set(re.findall(r"`(\w+)`", fields)) for name, fields in rows}

    assert listed == sent


async def test_a_dialogs_events_hold_nothing_of_what_was_said_in_it() -> None:
    house = House()
    site = Site(house, Loop())
    async with asyncio.timeout(5), client_of(site) as client, client.get("/events") as stream:
        await next_event(stream)
        worker, agent = house.worker("worker-1", credit=1), house.agent("oslo-1")
        agent.begin("d1", hport="oslo/1")
        worker.ask("d1")
        agent.received("d1")
        worker.complete("d1")
        agent.end("d1")
        worker.end_reply("d1")
        site.feed.turn()
        events: list[dict[str, str]] = []
        while not events or json.loads(events[-1]["data"]).get("state") != "gone":
            events.append(await next_event(stream))

    states = [json.loads(e["data"])["state"] for e in events if e["event"] == "dialog"]
    assert states == ["owned", "ending", "gone"]
    assert json.loads(events[-1]["data"])["dialog"] == DIALOG
    assert "ann" not in str(events)


async def test_a_stream_over_the_limit_is_refused() -> None:
    site = Site(House(), Loop())
    async with asyncio.timeout(10), client_of(site) as client:
        streams = [await client.get("/events") for _ in range(READERS_MAX)]
        async with client.get("/events") as answer:
            assert answer.status == 503
            assert await answer.json() == {
                "text": "as many event streams are open as this broker serves"
            }
        for stream in streams:
            stream.close()


async def test_a_reader_that_leaves_makes_room() -> None:
    site = Site(House(), Loop())
    async with asyncio.timeout(10), client_of(site) as client, ClientSession() as session:
        stream = await session.get(client.make_url("/events"))
        assert site.feed.readers == 1
        stream.close()
        house = site.house
        while site.feed.readers:
            house.agent(f"oslo-{house.connections}")
            site.feed.turn()
            await asyncio.sleep(0.01)


async def test_a_reader_that_takes_nothing_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker_http, "WRITE_S", 0.05)
    house = House()
    agent = house.agent("oslo-1")
    site = Site(house, Loop())
    async with asyncio.timeout(20), client_of(site) as client:
        url = client.make_url("/events")
        sleeper = socket.socket()
        sleeper.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sleeper.connect((url.host, url.port))
        with sleeper:
            sleeper.sendall(f"GET /events HTTP/1.1\r\nHost: {url.authority}\r\n\r\n".encode())
            states = itertools.cycle(("idle", "ringing"))
            seen = False
            while site.feed.readers or not seen:
                seen = seen or site.feed.readers == 1
                for _ in range(100):
                    lists(agent, *(f"oslo/{n}" for n in range(25)), state=next(states))
                    site.feed.turn()
                await asyncio.sleep(0.01)
