"""What the real agent and the real worker do with a broker that sends what none should.

A broker may deny service, and that is all it can do (docs/protocol.md §7): peers live on, look for
a session again, and serve the next call.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

import msgpack
import pytest
import pytest_asyncio
import zmq
import zmq.asyncio

from tests.integration.malformed import MALFORMED, ZMTP_BYTES_MAX
from tests.integration.peers import (
    BEGIN,
    BYE,
    COMPLETE,
    END,
    END_REPLY,
    HELLO,
    LOST,
    PING,
    PONG,
    PORT_DISCONNECTED,
    READY,
    RECEIVE,
    RECEIVED,
    WELCOME,
    Message,
    pack,
    unpack,
    uuid7,
)
from tests.integration.places import Place, running_place
from tests.integration.processes import Program, free_port, running_worker

pytestmark = pytest.mark.asyncio(loop_scope="module")

HEARTBEAT_MS: Final = 300
HOSTILE: Final = b"".join(
    frame for name, frame in MALFORMED.items() if name not in {"a megabyte", "too many messages"}
)
UNEXPECTED: Final = (
    [pack(verb) for verb in (HELLO, READY, BEGIN, RECEIVED, END, LOST, 0, 200, 2**40)]
    + [pack(verb, uuid7(), 1, {}) for verb in range(16, 25)]
    + [pack(WELCOME, body={"protocol": 1})]
)


class Impostor:
    """A ROUTER that plays a broker for one peer, and may break any rule.

    By itself it answers HELLO and PING only.
    """

    def __init__(self) -> None:
        self.address = f"tcp://127.0.0.1:{free_port()}"
        self.hellos = 0
        self.peer = b""
        """Routing id of who said HELLO last."""
        self.inbox: asyncio.Queue[Message] = asyncio.Queue()
        self._instance = os.urandom(16)
        self._context = zmq.asyncio.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.bind(self.address)
        self._task = asyncio.create_task(self._serve())

    async def send_frame(self, *parts: bytes) -> None:
        await self._socket.send_multipart([self.peer, *parts])

    async def send(
        self, verb: int, dialog: bytes | None = None, attempt: int = 0, **fields: Any
    ) -> None:
        await self.send_frame(pack(verb, dialog, attempt, fields))

    async def session(self) -> None:
        """Wait for the peer's first session; forget what it has said since."""
        async with asyncio.timeout(10.0):
            while not self.hellos:
                await self.inbox.get()
        while not self.inbox.empty():
            self.inbox.get_nowait()

    async def expect(self, verb: int, patience_s: float = 10.0) -> Message:
        """Return the next message of `verb`; others are passed over."""
        async with asyncio.timeout(patience_s):
            while (message := await self.inbox.get()).verb != verb:
                pass
        return message

    async def new_session(self) -> None:
        """End the session, and wait for the next."""
        await self.send(BYE, code=("win", 1236))
        await self.expect(HELLO)

    async def _serve(self) -> None:
        while True:
            peer, frame = await self._socket.recv_multipart()
            for message in unpack(frame):
                if message.verb == HELLO:
                    self.peer = peer
                    self.hellos += 1
                    await self.send(WELCOME, **self._welcome())
                elif message.verb == PING and peer == self.peer:
                    await self.send(PONG, **message.body)
                self.inbox.put_nowait(message)

    def _welcome(self) -> dict[str, Any]:
        return {
            "protocol": 1,
            "name": "impostor",
            "instance": self._instance,
            "heartbeat_ms": HEARTBEAT_MS,
            "end_lease_ms": 1000,
            "queue_timeout_ms": 1000,
            "frame_bytes_max": 65536,
            "body_bytes_max": 16384,
        }

    def close(self) -> None:
        self._task.cancel()
        self._context.destroy(linger=0)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def over_worker() -> AsyncIterator[Impostor]:
    impostor = Impostor()
    yield impostor
    impostor.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def over_agent() -> AsyncIterator[Impostor]:
    impostor = Impostor()
    yield impostor
    impostor.close()


@pytest.fixture(scope="module")
def worker(over_worker: Impostor, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    directory, address = tmp_path_factory.mktemp("worker"), over_worker.address
    with running_worker(directory, address, ready="/livez", insecure=True) as program:
        yield program


@pytest.fixture(scope="module")
def place(over_agent: Impostor, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with running_place(tmp_path_factory.mktemp("agent"), over_agent.address) as there:
        yield there


async def hostile(impostor: Impostor) -> None:
    """Send everything that no broker should."""
    for frame in MALFORMED.values():
        await impostor.send_frame(frame)
    for frame in UNEXPECTED:
        await impostor.send_frame(frame)
    await impostor.send_frame(HOSTILE)
    await impostor.send_frame(b"")
    await impostor.send_frame(b"", b"", pack(PING, body={"sent_ms": 1}))
    for _ in range(2000):
        await impostor.send_frame(b"\xc1")


def begin() -> dict[str, Any]:
    facts = {"site": "oslo", "agent": "a", "device": "d", "send_size": 4096, "recv_size": 1024}
    return {"hport": "oslo/1", "call": uuid7(), "facts": msgpack.packb(facts)}


async def test_the_real_worker_outlives_a_hostile_broker(
    over_worker: Impostor, worker: Program
) -> None:
    impostor = over_worker
    await impostor.session()
    await hostile(impostor)
    await impostor.new_session()
    await impostor.expect(READY)

    dialog = uuid7()
    await impostor.send(BEGIN, dialog, 1, **begin())

    assert (await impostor.expect(RECEIVE)).dialog == dialog
    assert worker.is_running
    assert "Traceback" not in worker.stderr


async def test_the_real_worker_outlives_a_frame_over_a_megabyte(
    over_worker: Impostor, worker: Program
) -> None:
    impostor = over_worker
    await impostor.session()
    await impostor.send_frame(bytes(ZMTP_BYTES_MAX + 1))

    await impostor.expect(HELLO)
    await impostor.expect(READY)


async def test_the_real_agent_outlives_a_hostile_broker(over_agent: Impostor, place: Place) -> None:
    impostor = over_agent
    await impostor.session()
    await hostile(impostor)
    await impostor.new_session()

    async with place.call() as caller:
        message = await impostor.expect(BEGIN)
        dialog, attempt = message.dialog, message.attempt
        fields: dict[str, Any] = {"mode": "line", "echo": "on", "limit": 99, "timeout_s": 9}
        await impostor.send(
            RECEIVE,
            dialog,
            attempt,
            worker=bytes(16),
            seq=1,
            prompt=b"login: ",
            cookie=b"",
            **fields,
        )
        await caller.sees(b"login: ")
    assert (await impostor.expect(END)).dialog == dialog
    assert "Traceback" not in place.agent.stderr


@pytest.mark.parametrize(
    "verdict",
    [
        pytest.param({"msg_id": 1, "username": "", "error": 0}, id="nobody's success"),
        pytest.param({"msg_id": 1, "username": "ann", "error": ("ras", 645)}, id="with an error"),
        pytest.param({"msg_id": 4, "username": "ann", "error": 0}, id="no such verdict"),
        pytest.param({"msg_id": True, "username": "ann", "error": 0}, id="true"),
        pytest.param({"msg_id": 1, "username": "a" * 257, "error": 0}, id="a cut name"),
        pytest.param({"msg_id": 1, "username": "é" * 129, "error": 0}, id="long in bytes"),
        pytest.param({"msg_id": 1, "username": "ann", "error": ("tls", 5)}, id="no namespace"),
        pytest.param({"msg_id": 1, "username": "ann"}, id="no error field"),
        pytest.param({}, id="nothing"),
    ],
)
async def test_the_real_agent_admits_nobody_by_a_malformed_verdict(
    verdict: dict[str, Any], over_agent: Impostor, place: Place
) -> None:
    impostor = over_agent
    await impostor.session()
    async with place.call() as caller:
        message = await impostor.expect(BEGIN)
        common = {"worker": bytes(16), "domain": "", "attributes": {}}
        await impostor.send(COMPLETE, message.dialog, message.attempt, **common | verdict)
        end = await impostor.expect(END)
        await impostor.send(END_REPLY, end.dialog, end.attempt, code=PORT_DISCONNECTED)

        assert await caller.is_hung_up()
        assert b"the console" not in caller.screen
