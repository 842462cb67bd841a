"""What a broker does with input that no peer should send: counted, answered, nothing disturbed.

Beside every attack foreign peers (peers.py) play dialogs through the same broker, without a pause.
"""

from __future__ import annotations

import asyncio
import json
import random
import signal
import socket
import struct
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Final

import msgpack
import pytest

from tests.integration.malformed import (
    BODY_BYTES_MAX,
    FRAME_BYTES_MAX,
    FRAME_MESSAGES_MAX,
    GOOD,
    MALFORMED,
    ZMTP_BYTES_MAX,
    message,
)
from tests.integration.peers import (
    BEGIN,
    BYE,
    END,
    END_REPLY,
    ERROR,
    HELLO,
    LINES,
    LOST,
    PING,
    PONG,
    READY,
    RECEIVED,
    SEND,
    SUCCESS,
    WELCOME,
    Cast,
    NobodyThereError,
    Player,
    pack,
    until,
    uuid7,
)
from tests.integration.processes import Broker, running_broker

PENALTY_S: Final = 1
BROKER_SETTINGS: Final = {"heartbeat_ms": 1000, "penalty_s": PENALTY_S}
ERRORS_MAX: Final = 20

INVALID_DATA: Final = ("win", 13)

ROLES: Final = ("agent", "worker")


BAD_BODIES: Final = {
    "empty": b"",
    "no map": msgpack.packb([1]),
    "a number": b"\x01",
    "cut short": msgpack.packb({"sent_ms": 1})[:-1],
    "something behind it": msgpack.packb({"sent_ms": 1}) + b"\x00",
    "a key twice": b"\x82\xa7sent_ms\x01\xa7sent_ms\x02",
    "an unknown key twice": b"\x83\xa7sent_ms\x01\xa1a\x01\xa1a\x02",
    "key a number": msgpack.packb({"sent_ms": 1, 7: 1}),
    "key nil": msgpack.packb({"sent_ms": 1, None: 1}),
    "key no UTF-8": b"\x82\xa7sent_ms\x01\xa2\xff\xfe\x01",
    "a float": msgpack.packb({"sent_ms": 1.5}),
    "a text": msgpack.packb({"sent_ms": "1"}),
    "true": msgpack.packb({"sent_ms": True}),
    "an extension type": b"\x81\xa7sent_ms\xd4\x05\x00",
    "an extension type in an unknown key": b"\x82\xa7sent_ms\x01\xa1a\xd4\x05\x00",
    "deep": b"\x82\xa7sent_ms\x01\xa1a" + b"\x91" * 5000 + b"\x00",
    "sealed": b"\xc1" + bytes(40),
}


@asynccontextmanager
async def undisturbed(cast: Cast) -> AsyncIterator[None]:
    """Let dialogs be played beside the test, one after another: each must come to its end."""
    agent = await cast.open_agent(site="quiet")
    worker = await cast.open_worker(credit=1_000_000, pools=("quiet",))
    done = 0

    async def play() -> None:
        nonlocal done
        while True:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(worker.serve({b"ann": b"xyzzy"}))
                verdict = await agent.call(
                    "quiet/1", {b"login: ": [b"ann"], b"Password: ": [b"xyzzy"]}, pool="quiet"
                )
            assert verdict.complete.body["msg_id"] == SUCCESS
            done += 1

    playing = asyncio.create_task(play())
    await until(lambda: done > 0 or playing.done(), "a dialog before")
    try:
        yield
        before = done
        await until(lambda: done > before + 1 or playing.done(), "a dialog after")
    finally:
        playing.cancel()
        with suppress(asyncio.CancelledError):
            await playing


@pytest.fixture
async def beside(cast: Cast) -> AsyncIterator[None]:
    async with undisturbed(cast):
        yield


async def opened(cast: Cast, role: str) -> Player:
    return await cast.open_agent() if role == "agent" else await cast.open_worker(credit=0)


@contextmanager
def counted(broker: Broker, name: str, by: int = 1, **labels: str) -> Iterator[None]:
    """Check that the counter `dialgate_broker_NAME_total` rises by `by`."""
    before = broker.metric(f"dialgate_broker_{name}_total", **labels)
    yield
    assert broker.metric(f"dialgate_broker_{name}_total", **labels) - before == by


# ---------------------------------------------------------------------------- frames


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("frame", MALFORMED.values(), ids=MALFORMED)
async def test_a_malformed_frame_is_counted_and_answered_and_the_session_goes_on(
    frame: bytes, role: str, cast: Cast, broker: Broker
) -> None:
    one = await opened(cast, role)

    with counted(broker, "frames_malformed", role=role):
        await one.peer.send_frame(frame)
        answers = await one.peer.settled()

    assert [(m.verb, m.dialog, m.attempt) for m in answers] == [(ERROR, None, 0)]
    assert answers[0].body["code"] == INVALID_DATA
    assert answers[0].body["text"]


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("text", "not a message"),
        ("never used byte", "not MessagePack"),
        ("cut short", "truncated"),
        ("body too long", "body too long"),
        ("too many messages", "too many messages"),
        ("a megabyte", "frame too long"),
    ],
)
async def test_malformed_frames_are_counted_by_reason_and_peer(
    fault: str, reason: str, cast: Cast, broker: Broker
) -> None:
    agent = await cast.open_agent("faulty")

    with counted(broker, "frames_malformed", role="agent", reason=reason):
        await agent.peer.send_frame(MALFORMED[fault])
        await agent.peer.settled()

    agents = json.loads(broker.get("/api/v1/agents")[1])["agents"]
    (row,) = (row for row in agents if row["name"] == "faulty")
    assert row["faults"] == {"malformed": 1}


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("body", BAD_BODIES.values(), ids=BAD_BODIES)
async def test_a_bad_body_is_counted_and_answered_and_the_session_goes_on(
    body: bytes, role: str, cast: Cast, broker: Broker
) -> None:
    one = await opened(cast, role)

    with counted(broker, "errors", role=role):
        await one.peer.send_frame(pack(PING, body=body))
        answers = await one.peer.settled()

    assert [(m.verb, m.body["code"]) for m in answers] == [(ERROR, INVALID_DATA)]


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(
    "frame",
    [
        pytest.param(pack(PING, uuid7(), 1, {"sent_ms": 1}), id="session verb with a dialog"),
        pytest.param(pack(PING, None, 1, {"sent_ms": 1}), id="session verb with an attempt"),
        pytest.param(pack(BYE, uuid7(), 0, {"code": 0}), id="BYE with a dialog"),
    ],
)
async def test_a_session_verb_with_a_token_is_malformed(
    frame: bytes, role: str, cast: Cast
) -> None:
    one = await opened(cast, role)
    await one.peer.send_frame(frame)

    assert [(m.verb, m.body["code"]) for m in await one.peer.settled()] == [(ERROR, INVALID_DATA)]


@pytest.mark.parametrize(
    ("dialog", "attempt"), [(None, 1), (uuid7(), 0), (None, 0)], ids=["no dialog", "0", "neither"]
)
@pytest.mark.parametrize(
    ("role", "verb"), [("agent", BEGIN), ("agent", END), ("agent", RECEIVED), ("worker", SEND)]
)
async def test_a_dialog_verb_without_its_token_is_malformed(
    role: str, verb: int, dialog: bytes | None, attempt: int, cast: Cast
) -> None:
    one = await opened(cast, role)
    await one.peer.send(verb, dialog, attempt, reason=0)

    assert [(m.verb, m.body["code"]) for m in await one.peer.settled()] == [(ERROR, INVALID_DATA)]


@pytest.mark.parametrize("role", ROLES)
async def test_good_messages_before_a_fault_count_and_the_rest_is_dropped(
    role: str, cast: Cast
) -> None:
    one = await opened(cast, role)
    await one.peer.send_frame(
        pack(PING, body={"sent_ms": 1001}) + message(PING) + pack(PING, body={"sent_ms": 1002})
    )

    answers = await one.peer.settled()

    assert [m.verb for m in answers] == [PONG, ERROR]
    assert answers[0].body == {"sent_ms": 1001}


@pytest.mark.parametrize("role", ROLES)
async def test_a_full_frame_is_taken(role: str, cast: Cast) -> None:
    one = await opened(cast, role)
    await one.peer.send_frame(pack(200) * FRAME_MESSAGES_MAX)
    room = pack(200, body=bytes(BODY_BYTES_MAX))
    await one.peer.send_frame(room * (FRAME_BYTES_MAX // len(room)))
    filler = FRAME_BYTES_MAX - len(room) * (FRAME_BYTES_MAX // len(room))
    last = pack(200, body=bytes(filler))
    await one.peer.send_frame(
        room * (FRAME_BYTES_MAX // len(room)) + pack(200, body=bytes(2 * filler - len(last)))
    )

    assert await one.peer.settled() == []


@pytest.mark.parametrize("role", ROLES)
async def test_an_empty_frame_is_dropped(role: str, cast: Cast, broker: Broker) -> None:
    one = await opened(cast, role)
    with counted(broker, "drops", reason="empty frame"):
        await one.peer.send_frame(b"")

        assert await one.peer.settled() == []


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("parts", [(GOOD, GOOD), (b"", GOOD), (GOOD, b""), (GOOD,) * 50])
async def test_a_multipart_message_is_dropped_whole(
    parts: tuple[bytes, ...], role: str, cast: Cast, broker: Broker
) -> None:
    one = await opened(cast, role)
    with counted(broker, "drops", reason="multipart frame"):
        await one.peer.send_frame(*parts)

        assert await one.peer.settled() == []


async def test_a_part_that_looks_like_a_routing_id_moves_no_answer(cast: Cast) -> None:
    """A part that was taken for a routing id would let a peer speak as another."""
    agent, worker = await cast.open_agent(), await cast.open_worker(credit=0)
    for number in range(256):
        await agent.peer.send_frame(GOOD, bytes((0, 0, 0, 0, number)), GOOD)

    assert await agent.peer.settled() == []
    assert await worker.peer.settled() == []


@pytest.mark.parametrize("role", ROLES)
async def test_a_frame_over_a_megabyte_costs_its_sender_the_connection(
    role: str, cast: Cast, beside: None
) -> None:
    one = await opened(cast, role)
    await one.peer.send_frame(bytes(ZMTP_BYTES_MAX + 1))
    with pytest.raises(NobodyThereError):
        await one.peer.settled(patience_s=0.5)

    one.close()
    one.connect()
    await one.open()


# ---------------------------------------------------------------------------- too many errors


@pytest.mark.parametrize("role", ROLES)
async def test_twenty_errors_cost_the_session_and_a_penalty(
    role: str, cast: Cast, broker: Broker, beside: None
) -> None:
    one = await opened(cast, role)
    one.peer.muted = True

    with counted(broker, "penalties", role=role):
        for _ in range(ERRORS_MAX):
            await one.peer.send_frame(b"\xc1")
        answers = [await one.peer.next() for _ in range(ERRORS_MAX + 1)]

    assert [m.verb for m in answers] == [ERROR] * ERRORS_MAX + [BYE]
    before = broker.metric("dialgate_broker_drops_total", reason="penalty")
    await one.peer.send(HELLO, **one.hello())
    await until(
        lambda: broker.metric("dialgate_broker_drops_total", reason="penalty") == before + 1,
        "a HELLO that is dropped unread",
    )
    assert one.peer.inbox.empty()


async def test_after_the_penalty_the_connection_is_read_again(cast: Cast, broker: Broker) -> None:
    one = await opened(cast, "agent")
    one.peer.muted = True
    for _ in range(ERRORS_MAX):
        await one.peer.send_frame(b"\xc1")
    while (await one.peer.next()).verb != BYE:
        pass

    for _ in range(10 * PENALTY_S + 30):
        await one.peer.send_frame(GOOD)
        with suppress(NobodyThereError):
            assert (await one.peer.next(patience_s=0.1))[:2] == (LOST, None)
            break
    else:
        raise AssertionError("never heard again")
    one.connect()
    await one.open()


async def test_a_penalised_agents_dialogs_end_at_their_workers(cast: Cast) -> None:
    agent, worker = await cast.open_agent(), await cast.open_worker(pools=("east",))
    dialog = await agent.begin("oslo/1", pool="east")
    await worker.peer.expect(BEGIN)
    for _ in range(ERRORS_MAX):
        await agent.peer.send_frame(b"\xc1")

    assert (await worker.peer.expect(END)).dialog == dialog
    agent.close()
    await worker.end_reply(dialog)
    assert END_REPLY not in {m.verb for m in await worker.peer.settled()}


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("with_session", [True, False], ids=["session", "no session"])
async def test_ten_thousand_bad_frames_disturb_nobody(
    role: str, with_session: bool, cast: Cast, broker: Broker, beside: None
) -> None:
    one = cast.agent() if role == "agent" else cast.worker()
    if with_session:
        await one.open()
    one.peer.muted = True
    noise = random.Random(1)
    frames = [noise.randbytes(noise.randint(1, 40)) for _ in range(100)]
    received = broker.metric("dialgate_broker_frames_received_total")

    for number in range(10_000):
        await one.peer.send_frame(frames[number % 100])

    await until(
        lambda: broker.metric("dialgate_broker_frames_received_total") > received + 10_000,
        "all frames read",
    )
    assert one.peer.inbox.qsize() < 200, "the answers are bounded, too"


@pytest.mark.parametrize("role", ROLES)
async def test_random_changes_to_good_frames_disturb_nobody(
    role: str, cast: Cast, broker: Broker, beside: None
) -> None:
    """One bit, one byte or one piece is wrong: what a fuzzer would send."""
    noise = random.Random(2)
    probe = cast.agent() if role == "agent" else cast.worker()
    good = [
        pack(HELLO, body=probe.hello()),
        pack(READY, body={"credit": 3}),
        pack(LINES, body={"lines": [], "complete": True}),
        pack(END, uuid7(), 1, {"reason": ("ras", 619)}),
        pack(SEND, uuid7(), 1, {"worker": bytes(16), "seq": 1, "data": b"x"}),
    ]
    for _ in range(20):
        one = cast.agent() if role == "agent" else cast.worker()
        one.peer.muted = True
        await one.peer.send(HELLO, **one.hello())
        for _ in range(15):
            frame = bytearray(noise.choice(good))
            for _ in range(noise.randint(1, 3)):
                frame[noise.randrange(len(frame))] ^= 1 << noise.randrange(8)
            await one.peer.send_frame(bytes(frame))
        assert (await one.peer.next()).verb in {WELCOME, ERROR}
        one.close()
    assert broker.is_running


# ---------------------------------------------------------------------------- below DSP/1

GREETING: Final = b"\xff" + bytes(8) + b"\x7f\x03\x01NULL" + bytes(16) + b"\x00" + bytes(31)
RAW: Final = {
    "nothing": b"",
    "one byte": b"\xff",
    "a request": b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "TLS": bytes.fromhex("1603010200010001fc0303") + bytes(200),
    "LCP": b"\x7e\xff\x7d\x23\xc0\x21\x7d\x21\x7d\x20\x7d\x20\x7d\x34\x7e" * 20,
    "noise": random.Random(3).randbytes(100_000),
    "a greeting cut short": GREETING[:20],
    "a greeting of another mechanism": GREETING.replace(b"NULL", b"OPEN"),
    "a greeting and noise": GREETING + random.Random(4).randbytes(5000),
    "a command of eight exabytes": GREETING + b"\x06" + struct.pack(">Q", 2**63 - 1),
    "READY of another socket": GREETING + b"\x04\x19\x05READY\x0bSocket-Type\x00\x00\x00\x03PUB",
    "an old version": b"\x01\x00" * 50,
}


def throw(address: str, data: bytes) -> None:
    """Send bytes to a TCP port and go without waiting for an answer."""
    host, port = address.removeprefix("tcp://").rsplit(":", 1)
    with (
        suppress(ConnectionError),
        socket.create_connection((host, int(port)), timeout=5) as connection,
    ):
        connection.sendall(data)


Endpoint = Callable[[Broker], str]
ENDPOINTS: Final[dict[str, Endpoint]] = {
    "agents": lambda broker: broker.agents,
    "workers": lambda broker: broker.workers,
    "http": lambda broker: broker.http,
}


@pytest.mark.parametrize("endpoint", ENDPOINTS.values(), ids=ENDPOINTS)
async def test_bytes_of_another_protocol_disturb_nobody(
    endpoint: Endpoint, broker: Broker, beside: None
) -> None:
    for data in RAW.values():
        for _ in range(5):
            await asyncio.to_thread(throw, endpoint(broker), data)

    assert broker.status("/livez") == 200


@pytest.mark.parametrize("endpoint", ENDPOINTS.values(), ids=ENDPOINTS)
async def test_connections_that_say_nothing_disturb_nobody(
    endpoint: Endpoint, broker: Broker, beside: None
) -> None:
    host, port = endpoint(broker).removeprefix("tcp://").rsplit(":", 1)
    idle = [socket.create_connection((host, int(port)), timeout=5) for _ in range(60)]
    try:
        assert broker.status("/livez") == 200
    finally:
        for connection in idle:
            connection.close()


# ---------------------------------------------------------------------------- HTTP

JSON: Final = "Content-Type: application/json\r\n"
LONG: Final = "x" * 100_000
REQUESTS: Final = {
    "a long line": f"GET /{LONG} HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a long header": f"GET /metrics HTTP/1.1\r\nHost: localhost\r\nX: {LONG}\r\n\r\n",
    "many headers": "GET / HTTP/1.1\r\nHost: localhost\r\n" + "A: b\r\n" * 50_000 + "\r\n",
    "no such path": "GET /../../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "no such method": "BREW /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "no such version": "GET /metrics HTTP/7.1\r\nHost: localhost\r\n\r\n",
    "another site's name": "GET /metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n",
    "no JSON": f"POST /api/v1/ports/command HTTP/1.1\r\nHost: localhost\r\n{JSON}"
    "Content-Length: 5\r\n\r\n{{{{{",
    "deep JSON": f"POST /api/v1/ports/command HTTP/1.1\r\nHost: localhost\r\n{JSON}"
    "Content-Length: 50000\r\n\r\n" + "[" * 50_000,
    "a form": "POST /api/v1/ports/command HTTP/1.1\r\nHost: localhost\r\n"
    "Content-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}",
    "a body that is too long": f"POST /api/v1/ports/command HTTP/1.1\r\nHost: localhost\r\n{JSON}"
    "Content-Length: 100000000\r\n\r\n" + "x" * 300_000,
    "a length that is none": f"POST /api/v1/ports/command HTTP/1.1\r\nHost: localhost\r\n{JSON}"
    "Content-Length: -1\r\n\r\n",
    "two lengths": f"POST /api/v1/ports/command HTTP/1.1\r\nHost: localhost\r\n{JSON}"
    "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "a bad event id": "GET /events HTTP/1.1\r\nHost: localhost\r\nLast-Event-ID: \xff-1\r\n\r\n",
}


def ask(address: str, request: str) -> str:
    """Return the status line that a request as it stands is answered with; "" for none."""
    host, port = address.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.settimeout(5)
        with suppress(ConnectionError):
            connection.sendall(request.encode("latin-1"))
        with suppress(ConnectionError):
            return connection.recv(4096).decode("latin-1").partition("\r\n")[0]
    return ""


@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS)
async def test_a_bad_request_is_refused_and_disturbs_nobody(
    request_: str, broker: Broker, cast: Cast
) -> None:
    status = await asyncio.to_thread(ask, broker.http, request_)

    if "/events" not in request_:
        assert status == "" or status.split()[1].startswith("4"), status
    assert broker.status("/livez") == 200


async def test_observers_who_vanish_leave_no_traceback(cast: Cast, broker: Broker) -> None:
    host, port = broker.http.rsplit(":", 1)
    for _ in range(20):
        with socket.create_connection((host, int(port)), timeout=5) as observer:
            observer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            observer.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            observer.recv(100)
        # Something to tell, whether or not the broker has noticed that nobody listens.
        await (await cast.open_agent()).peer.leave()

    await until(lambda: broker.metric("dialgate_broker_event_streams") == 0, "their end")
    assert "Traceback" not in broker.stderr


def test_an_observer_who_stays_does_not_hold_up_a_broker_that_stops_now(tmp_path: Path) -> None:
    with running_broker(tmp_path) as stopping:
        host, port = stopping.http.rsplit(":", 1)
        with socket.create_connection((host, int(port)), timeout=5) as observer:
            observer.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert observer.recv(100).startswith(b"HTTP/1.1 200")
            stopping.send(signal.SIGTERM)
            stopping.send(signal.SIGINT)

            stopping.process.wait(1.5)


async def test_the_brokers_log_has_no_traceback(broker: Broker, cast: Cast) -> None:
    """The last test of this module: by now the broker has seen all of the above."""
    assert "Traceback" not in broker.stderr
