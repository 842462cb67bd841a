"""What the demo makes of the broker's events, and how it looks on a terminal."""

from __future__ import annotations

import asyncio
import io
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from rich.console import Console

from port_agents.callers import Outcome
from port_agents.demo_cluster import Program
from port_agents.demo_table import Observer, Row, _picture, sum_up

LINE = b'event: line\ndata: {"hport": "demo/1", "state": "%s", "reason": "%s", "since_ms": 0}\n\n'
DIALOG = (
    b'event: dialog\ndata: {"hport": "demo/1", "state": "%s", "worker": "%s", "attempt": %d}\n\n'
)


async def told_of(*streams: bytes) -> list[str]:
    """Return what an observer tells of a broker that sends `streams`, one a connection."""
    told: list[str] = []
    served = iter(streams)
    all_served = asyncio.Event()

    async def events(request: web.Request) -> web.StreamResponse:
        stream = web.StreamResponse()
        await stream.prepare(request)
        if (content := next(served, None)) is None:
            all_served.set()
        else:
            await stream.write(content)
        return stream

    app = web.Application()
    app.router.add_get("/events", events)
    async with TestServer(app) as server, aiohttp.ClientSession() as http:
        observer = Observer(http, f"127.0.0.1:{server.port}", told.append)
        watching = asyncio.create_task(observer.watch())
        async with asyncio.timeout(10.0):
            await all_served.wait()
        watching.cancel()
    return told


async def test_each_change_of_a_port_is_told_once() -> None:
    told = await told_of(
        LINE % (b"idle", b"") * 2
        + b": here\n\n"
        + b'event: worker\ndata: {"name": "worker-1"}\n\n'
        + LINE % (b"authenticating", b"")
        + DIALOG % (b"owned", b"worker-1", 1)
        + DIALOG % (b"gone", b"", 1)
        + LINE % (b"hanging-up", b"refused")
    )

    assert told == [
        "demo/1  idle",
        "demo/1  authenticating",
        "demo/1  authenticating  worker-1",
        "demo/1  authenticating",
        "demo/1  hanging-up  refused",
    ]


async def test_a_caller_who_is_asked_again_is_told_of() -> None:
    told = await told_of(
        LINE % (b"authenticating", b"") + DIALOG % (b"owned", b"worker-2", 2),
    )

    assert told[-1] == "demo/1  authenticating  worker-2  asked again, attempt 2"


async def test_a_broker_that_comes_back_is_followed_again() -> None:
    told = await told_of(LINE % (b"idle", b""), LINE % (b"ringing", b""))

    assert told == ["demo/1  idle", "demo/1  ringing"]


@pytest.fixture
async def observer() -> AsyncIterator[Observer]:
    async with aiohttp.ClientSession() as http:
        yield Observer(http, "127.0.0.1:1", print)


async def test_the_table_shows_ports_programs_and_callers(
    observer: Observer, tmp_path: Path
) -> None:
    now = asyncio.get_running_loop().time()
    observer.rows["demo/1"] = Row("demo/1", "authenticating", "", now - 7, "worker-2", 2)
    observer.is_broker_there = False
    program = Program("broker", "broker", tmp_path / "c.toml", "127.0.0.1:1")
    console = Console(width=100, record=True, file=io.StringIO())

    console.print(
        _picture(
            observer,
            {"demo/1": "127.0.0.1 2301", "demo/2": "127.0.0.1 2302"},
            [program],
            Counter({Outcome.REFUSED: 2, Outcome.ADMITTED: 5}),
        )
    )

    screen = [" ".join(line.split()) for line in console.export_text().splitlines()]
    assert [line for line in screen if line] == [
        "PORT DIAL STATE FOR WORKER",
        "demo/1 127.0.0.1 2301 authenticating 7 s worker-2 asked again, attempt 2",
        "demo/2 127.0.0.1 2302 unknown 0 s",
        "broker starting",
        "the broker does not answer: the table is of a moment ago",
        "calls: admitted 5, refused 2",
    ]


def test_outcomes_are_summed_up_most_frequent_first() -> None:
    assert sum_up(Counter({Outcome.BUSY: 1, Outcome.CUT_OFF: 3})) == "calls: cut off 3, busy 1"
