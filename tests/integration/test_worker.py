"""An auth worker process: what it refuses to start with, how it drains, whom it obeys."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any, Final

import msgpack
import pytest
import zmq
import zmq.asyncio

from tests.integration.peers import (
    BEGIN,
    BYE,
    COMPLETE,
    DRAIN,
    END_REPLY,
    HELLO,
    PING,
    PONG,
    READY,
    RECEIVE,
    SEND,
    SUCCESS,
    WELCOME,
    Agent,
    Message,
    pack,
    stage,
    unpack,
    uuid7,
)
from tests.integration.processes import (
    DIALGATE,
    PROJECT,
    Program,
    dialgate,
    free_port,
    running_broker,
    running_worker,
    wait_until,
)

FACTS: Final = {
    "site": "oslo",
    "agent": "oslo-1",
    "device": "/dev/ttyS0",
    "caller": "",
    "called": "",
    "connect_speed": 0,
    "connect_text": "",
    "send_size": 1024,
    "recv_size": 1024,
    "callback": False,
}


def config(directory: Path, *, state: str = "", cluster: str = "", worker: str = "") -> Path:
    """Write a worker's configuration, whose broker is nowhere."""
    file = directory / "worker.toml"
    file.write_text(f"""
        [cluster]
        state = "{state or f"sqlite:///{directory}/state.db"}"
        keys = "{directory}/keys"
        {cluster}
        [worker]
        name = "worker-1"
        brokers = ["tcp://127.0.0.1:{free_port()}"]
        http = "127.0.0.1:{free_port()}"
        {worker or "insecure = true"}
        [[policies]]
        authenticators = ["local"]
        [authenticators.local]
        kind = "local"
    """)
    return file


def last_line(file: Path) -> tuple[int, str]:
    """Run a worker that can't start; return its status and the last line of standard error."""
    done = dialgate("worker", "--config", file, "--log-level", "error")
    lines = done.stderr.strip().splitlines()
    assert "Traceback" not in done.stderr
    return done.returncode, lines[-1] if lines else ""


# ------------------------------------------------------------------------------------- starting


def test_a_state_of_another_program_is_refused_in_one_line(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "state.db")) as foreign:
        foreign.execute("CREATE TABLE songs (title TEXT)")

    status, line = last_line(config(tmp_path))

    assert status == 1
    assert f"{tmp_path}/state.db: belongs to another program" in line


def test_a_pool_key_that_is_named_must_be_there(tmp_path: Path) -> None:
    status, line = last_line(config(tmp_path, cluster=f'pool_key = "{tmp_path}/none.key"'))

    assert status == 1
    assert f"{tmp_path}/none.key" in line


def test_a_worker_without_its_curve_key_is_refused(tmp_path: Path) -> None:
    file = config(tmp_path)
    assert dialgate("keys", "init", "--config", file).returncode == 0
    assert dialgate("keys", "new", "broker", "broker-1", "--config", file).returncode == 0

    status, line = last_line(config(tmp_path, worker="insecure = false"))

    assert status == 1
    assert "worker-worker-1.secret" in line


def test_a_worker_without_a_broker_waits_and_says_so(tmp_path: Path) -> None:
    nowhere = f"tcp://127.0.0.1:{free_port()}"
    with running_worker(tmp_path, nowhere, ready="/livez", insecure=True) as worker:
        assert worker.get("/readyz") == (503, "no session with any broker\n")
        assert worker.metric("dialgate_worker_sessions") == 0


def test_a_state_that_breaks_while_it_serves_is_told_by_readyz(tmp_path: Path) -> None:
    with (
        running_broker(tmp_path) as broker,
        running_worker(tmp_path, broker.workers, insecure=True) as worker,
    ):
        with closing(sqlite3.connect(tmp_path / "state.db")) as breaker:
            breaker.execute("DROP TABLE meta")
        wait_until(lambda: worker.status("/readyz") == 503, lambda: "/readyz is 503", 10.0)

        assert "no such table" in worker.get("/readyz")[1]


# ------------------------------------------------------------------------------------- draining


async def prompted(agent: Agent) -> Message:
    while (message := await agent.peer.next()).verb == SEND:
        pass
    assert message.verb == RECEIVE
    return message


def ended(worker: Program) -> bool:
    return not worker.is_running


async def test_a_worker_that_is_told_to_stop_lets_its_dialogs_finish(tmp_path: Path) -> None:
    with running_broker(tmp_path) as broker:
        async with stage(broker.agents, broker.workers) as cast:
            with running_worker(tmp_path, broker.workers, insecure=True) as worker:
                added = dialgate(
                    "users", "add", "ann", "--config", tmp_path / "worker.toml", stdin="xyzzy\n"
                )
                assert added.returncode == 0
                agent = await cast.open_agent()
                dialog = await agent.begin("oslo/1")
                login = await prompted(agent)

                worker.drain()
                await asyncio.to_thread(
                    wait_until, lambda: worker.status("/readyz") == 503, lambda: "/readyz is 503"
                )
                assert worker.get("/readyz")[1] == "draining\n"
                await agent.received(login, b"ann")
                await agent.received(await prompted(agent), b"xyzzy")
                assert (await agent.peer.expect(COMPLETE)).body["msg_id"] == SUCCESS
                await agent.end(dialog)
                await agent.peer.expect(END_REPLY)
                await asyncio.to_thread(wait_until, lambda: ended(worker), lambda: "it ended")

                assert worker.process.returncode == 0


# --------------------------------------------------------------------- with a broker of the test's


class Broker:
    """A broker that does what the test says."""

    def __init__(self, socket: zmq.asyncio.Socket) -> None:
        self._socket = socket
        self._peer = b""
        self._came: list[Message] = []

    async def say(self, *messages: bytes) -> None:
        await self._socket.send_multipart([self._peer, b"".join(messages)])

    async def next(self) -> Message:
        """Return what comes next, PINGs answered and left out."""
        while True:
            while self._came:
                message = self._came.pop(0)
                if message.verb == PING:
                    await self.say(pack(PONG, body=message.body))
                else:
                    return message
            self._peer, frame = await asyncio.wait_for(self._socket.recv_multipart(), 10.0)
            self._came.extend(unpack(frame))

    async def welcome(self) -> Message:
        """Welcome the worker and return its HELLO."""
        hello = await self.next()
        assert hello.verb == HELLO
        body = {
            "protocol": 1,
            "name": "broker-1",
            "instance": bytes(16),
            "heartbeat_ms": 1000,
            "end_lease_ms": 10_000,
            "queue_timeout_ms": 10_000,
            "frame_bytes_max": 65_536,
            "body_bytes_max": 16_384,
        }
        await self.say(pack(WELCOME, body=body))
        return hello

    async def begin(self, dialog: bytes) -> None:
        body: dict[str, Any] = {
            "hport": "oslo/1",
            "pool": "default",
            "owner": b"",
            "seq": 0,
            "call": bytes(16),
            "cookie": b"",
            "facts": msgpack.packb(FACTS),
        }
        await self.say(pack(BEGIN, dialog, 1, body))


@asynccontextmanager
async def own_broker() -> AsyncIterator[tuple[Broker, str]]:
    """Give a broker and its address."""
    context = zmq.asyncio.Context()
    socket = context.socket(zmq.ROUTER)
    socket.setsockopt(zmq.LINGER, 0)
    port = socket.bind_to_random_port("tcp://127.0.0.1")
    try:
        yield Broker(socket), f"tcp://127.0.0.1:{port}"
    finally:
        context.destroy(linger=0)


@pytest.fixture
async def process(tmp_path: Path) -> AsyncIterator[tuple[Broker, asyncio.subprocess.Process]]:
    async with own_broker() as (broker, address):
        file = config(tmp_path, worker="insecure = true\ncapacity = 4")
        file.write_text(file.read_text().replace("brokers = [", f'brokers = ["{address}"] # ['))
        started = await asyncio.create_subprocess_exec(
            *DIALGATE, "worker", "--config", str(file), cwd=PROJECT
        )
        try:
            yield broker, started
        finally:
            if started.returncode is None:
                started.kill()
            await started.wait()


async def test_credit_is_offered_and_an_operators_drain_ends_the_process(
    process: tuple[Broker, asyncio.subprocess.Process],
) -> None:
    broker, worker = process
    hello = await broker.welcome()
    ready = await broker.next()
    dialog = uuid7()

    await broker.say(pack(DRAIN, body={"deadline_ms": 5000}))
    await broker.begin(dialog)  # It crosses the worker's own DRAIN.

    assert (hello.body["role"], hello.body["capacity"]) == ("worker", 4)
    assert (ready.verb, ready.body) == (READY, {"credit": 4})
    assert (await broker.next()).verb == DRAIN
    assert (await broker.next()).verb == RECEIVE, "what crosses a DRAIN is served"
    bye = await broker.next()
    assert (bye.verb, bye.body["code"]) == (BYE, 0), "at the deadline it leaves"
    assert await asyncio.wait_for(worker.wait(), 5.0) == 0
