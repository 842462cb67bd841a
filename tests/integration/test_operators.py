"""A broker process as its operators meet it: starting, orders, events, tokens, draining.

The agents are foreign (peers.py), so that what they are sent is read from the wire.
"""

from __future__ import annotations

import asyncio
import json
import signal
import socket
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest

from tests.integration import peers
from tests.integration.peers import BYE, COMMAND, COMMANDED, DRAIN, LINES, NO_ERROR, Agent, Cast
from tests.integration.processes import (
    Broker,
    dialgate,
    free_port,
    running_broker,
    write_broker_config,
)

BUSY: Final = ["win", 170]
ORDER: Final = {"act": "reset", "hport": "oslo/1", "operator": "ann", "reason": "no dial tone"}
EX_UNAVAILABLE: Final = 69

Answer = tuple[int, dict[str, Any]]


async def agent_with_port(cast: Cast, hport: str = "oslo/1") -> Agent:
    agent = await cast.open_agent()
    line = {"hport": hport, "state": "idle", "reason": "", "since_ms": 0}
    await agent.peer.send(LINES, lines=[line], complete=True)
    await agent.peer.settled()
    return agent


async def order(http: str, body: dict[str, str], token: str = "") -> Answer:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with (
        aiohttp.ClientSession(f"http://{http}") as session,
        session.post("/api/v1/ports/command", json=body, headers=headers) as answer,
    ):
        return answer.status, await answer.json()


# ---------------------------------------------------------------------- starting


@pytest.mark.parametrize("key", ["agents", "workers", "http"])
def test_a_broker_whose_address_is_in_use_says_which_and_ends(key: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = f"127.0.0.1:{other.getsockname()[1]}"
        address = taken if key == "http" else f"tcp://{taken}"
        write_broker_config(tmp_path, insecure=True, **{key: address})

        done = dialgate("broker", "--config", tmp_path / "broker.toml")

    assert done.returncode == EX_UNAVAILABLE
    last = done.stderr.splitlines()[-1]
    assert last.count(taken) == 1
    assert "Address already in use" in last
    assert "Traceback" not in done.stderr


def test_a_broker_with_a_faulty_configuration_says_all_faults_and_ends(tmp_path: Path) -> None:
    write_broker_config(tmp_path, insecure=True, heartbeat_ms=1, max_waiting=0)

    done = dialgate("broker", "--config", tmp_path / "broker.toml")

    assert done.returncode == 1
    assert "broker.heartbeat_ms" in done.stderr
    assert "broker.max_waiting" in done.stderr
    assert "Traceback" not in done.stderr


# ---------------------------------------------------------------------- orders


async def test_an_order_reaches_the_agent_and_its_answer_the_operator(
    cast: Cast, broker: Broker
) -> None:
    agent = await agent_with_port(cast)

    answer = asyncio.create_task(order(broker.http, ORDER))
    command = await agent.peer.expect(COMMAND)
    await agent.peer.send(COMMANDED, id=command.body["id"], code=BUSY)

    assert await answer == (200, {"code": BUSY, "text": "ERROR_BUSY"})
    assert {**command.body, "id": b""} == {**ORDER, "id": b"", "mode": ""}
    assert broker.metric("dialgate_broker_messages_sent_total", role="agent", verb="COMMAND") >= 1
    assert broker.metric("dialgate_broker_orders_total", act="reset", outcome="failed") >= 1


async def test_orders_at_the_same_time_get_their_own_answers(cast: Cast, broker: Broker) -> None:
    agent = await agent_with_port(cast)

    answers = [asyncio.create_task(order(broker.http, ORDER)) for _ in range(2)]
    commands = [await agent.peer.expect(COMMAND) for _ in answers]
    for command, code in zip(reversed(commands), (NO_ERROR, BUSY), strict=True):
        await agent.peer.send(COMMANDED, id=command.body["id"], code=code)

    codes = [body["code"] for _, body in await asyncio.gather(*answers)]
    assert sorted(codes, key=str) == [0, BUSY]


async def test_an_agent_that_leaves_over_an_order_is_reported_gone(
    cast: Cast, broker: Broker
) -> None:
    agent = await agent_with_port(cast)

    answer = asyncio.create_task(order(broker.http, ORDER))
    await agent.peer.expect(COMMAND)
    await agent.peer.send(BYE, code=NO_ERROR)

    async with asyncio.timeout(5):
        assert (await answer)[0] == 503


async def test_an_operator_who_does_not_wait_for_the_answer_disturbs_nobody(
    cast: Cast, broker: Broker
) -> None:
    agent = await agent_with_port(cast)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await order(broker.http, ORDER)
    command = await agent.peer.expect(COMMAND)
    await agent.peer.send(COMMANDED, id=command.body["id"], code=NO_ERROR)

    assert await agent.peer.settled() == []
    assert broker.get("/livez") == (200, "ok\n")


# ---------------------------------------------------------------------- tokens


async def test_on_an_address_for_all_an_order_needs_the_operators_token(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("open sesame\n")
    token.chmod(0o600)
    http = f"0.0.0.0:{free_port()}"
    with running_broker(tmp_path, http=http, operator_token_file=str(token)) as broker:
        assert await order(broker.http, ORDER) == (
            401,
            {"text": "the operators' token is missing or wrong"},
        )
        assert (await order(broker.http, ORDER, "sesame"))[0] == 401
        assert (await order(broker.http, ORDER, "open sesame"))[0] == 404
        assert broker.get("/api/v1/ports") == (200, '{"ports":[]}\n')


async def test_on_an_address_for_all_there_are_no_orders_without_a_token_file(
    tmp_path: Path,
) -> None:
    with running_broker(tmp_path, http=f"0.0.0.0:{free_port()}") as broker:
        assert (await order(broker.http, ORDER))[0] == 403


# ---------------------------------------------------------------------- events


async def test_a_call_can_be_followed_in_the_events(cast: Cast, broker: Broker) -> None:
    agent, worker = await agent_with_port(cast, "oslo/5"), await cast.open_worker()
    async with (
        asyncio.timeout(10),
        aiohttp.ClientSession(f"http://{broker.http}") as session,
        session.get("/events") as stream,
    ):
        snapshot = await event(stream)
        items = [await event(stream) for _ in range(snapshot[1]["items"])]
        dialog = await agent.begin("oslo/5")
        line = {"hport": "oslo/5", "state": "authenticating", "reason": "", "since_ms": 0}
        await agent.peer.send(LINES, lines=[line], complete=True)
        changes = [await event(stream) for _ in range(2)]

    assert snapshot[0] == "snapshot"
    assert ("oslo/5", "idle") in [(f.get("hport"), f.get("state")) for _, f in items]
    assert [(name, fields["state"]) for name, fields in changes] == [
        ("dialog", "owned"),
        ("line", "authenticating"),
    ]
    assert changes[0][1]["dialog"].replace("-", "") == dialog.hex()
    assert changes[0][1]["worker"] == worker.name
    assert changes[1][1]["instance"] == agent.instance.hex()
    assert changes[1][1]["session"] == agent.session


async def event(stream: aiohttp.ClientResponse) -> tuple[str, dict[str, Any]]:
    """Return name and data of the next event."""
    block = (await stream.content.readuntil(b"\n\n")).decode()
    fields = dict(line.split(": ", 1) for line in block.splitlines() if line)
    return fields["event"], json.loads(fields["data"])


async def test_a_reader_that_never_reads_holds_up_nobody(cast: Cast, broker: Broker) -> None:
    agent = await agent_with_port(cast)
    host, port = broker.http.split(":")
    with socket.create_connection((host, int(port))) as sleeper:
        sleeper.sendall(f"GET /events HTTP/1.1\r\nHost: {broker.http}\r\n\r\n".encode())
        lines = [
            {"hport": f"oslo/{number}", "state": "idle", "reason": "x" * 500, "since_ms": 0}
            for number in range(25)
        ]
        for _ in range(100):
            await agent.peer.send(LINES, lines=lines, complete=True)
            assert await agent.peer.settled() == []

        assert broker.metric("dialgate_broker_event_streams") == 1
        assert broker.get("/livez") == (200, "ok\n")


# ---------------------------------------------------------------------- draining


async def test_a_broker_that_drains_says_so_until_it_ends(tmp_path: Path) -> None:
    with running_broker(tmp_path) as broker:
        async with peers.stage(broker.agents, broker.workers) as cast:
            agent = await cast.open_agent()
            broker.drain()
            await agent.peer.expect(DRAIN)

            assert broker.get("/readyz") == (503, "draining\n")
            assert broker.get("/livez") == (200, "ok\n")
            assert json.loads(broker.get("/api/v1/status")[1])["draining"] is True
            assert broker.metric("dialgate_broker_draining") == 1
            await agent.peer.send(BYE, code=NO_ERROR)
            await peers.until(lambda: not broker.is_running, "the end of the broker")
            assert broker.stop() == 0


async def test_open_event_streams_do_not_delay_the_end(tmp_path: Path) -> None:
    with running_broker(tmp_path) as broker:
        async with (
            aiohttp.ClientSession(f"http://{broker.http}") as session,
            session.get("/events") as stream,
        ):
            await event(stream)
            broker.send(signal.SIGTERM)
            async with asyncio.timeout(2):
                await stream.content.read()
            await peers.until(lambda: not broker.is_running, "the end of the broker", 2)
            assert broker.stop() == 0
