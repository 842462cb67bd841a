"""An agent and a worker of DSP/1, written from docs/protocol.md alone: without dialgate.

They are what somebody else would write, so they share no mistake with the product's own.  A `Peer`
does by itself only what every session must do all the time (answer PING, send PING when it has been
silent); all else happens when a test says so, and may break any rule.

They never wait for time to pass.  Within a session nothing is reordered, so once a PONG has come
(`Peer.settled`) all that the broker had to say before it has come, too.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import msgpack
import zmq
import zmq.asyncio

HELLO, WELCOME, READY, PING, PONG, DRAIN, BYE, ERROR = range(1, 9)
LINES, COMMAND, COMMANDED, RECORD, RECORDED = range(9, 14)
BEGIN, REFUSED, SEND, RECEIVE, RECEIVED, COMPLETE, END, END_REPLY, LOST = range(16, 25)

SUCCESS, FAILURE, FAULT = 1, 2, 3
"""`msg_id` of a COMPLETE; the third is ERROR, as the verb 8."""

SEALED: Final = b"\xc1"
"""First byte of a sealed body."""

Code = int | tuple[str, int]
NO_ERROR: Final = 0
PORT_DISCONNECTED: Final = ("ras", 619)

PATIENCE_S: Final = 5.0
"""How long to wait for what must come."""
BEFORE_WELCOME_S: Final = 3600.0
"""Stands for a heartbeat until WELCOME says it: nothing is sent before, so no PING either."""
KEEP_ALIVE: Final = 0
"""`sent_ms` of the PINGs that a peer sends unasked."""


class Message(NamedTuple):
    """One message as it came; arrays are tuples, so codes compare as such."""

    verb: int
    dialog: bytes | None
    attempt: int
    body: dict[str, Any]
    """Its fields; of a sealed body the whole as `sealed`."""


class Keys(NamedTuple):
    """What a CURVE client needs, each in Z85."""

    broker: bytes
    public: bytes
    secret: bytes


class NobodyThereError(Exception):
    """The broker has not answered in time."""


def pack(
    verb: int, dialog: bytes | None = None, attempt: int = 0, body: Mapping[str, Any] | bytes = b""
) -> bytes:
    """Return one message; a body that is bytes goes out as it is."""
    packed = body if isinstance(body, bytes) else msgpack.packb(body)
    message: bytes = msgpack.packb([verb, dialog, attempt, packed])
    return message


def unpack(frame: bytes) -> Iterator[Message]:
    """Yield the messages of a frame."""
    unpacker = msgpack.Unpacker(use_list=False)
    unpacker.feed(frame)
    for verb, dialog, attempt, body in unpacker:
        yield Message(verb, dialog, attempt, _fields(body))


def _fields(body: bytes) -> dict[str, Any]:
    if body[:1] == SEALED:
        return {"sealed": body}
    fields: dict[str, Any] = msgpack.unpackb(body, use_list=False) if body else {}
    return fields


def uuid7() -> bytes:
    """Return a new UUIDv7 (RFC 9562): 48 bits of milliseconds, version, variant, randomness."""
    bits = int.from_bytes(os.urandom(10))
    head = (time.time_ns() // 1_000_000) << 80
    return (head | 7 << 76 | (bits >> 64 & 0xFFF) << 64 | 2 << 62 | bits & (1 << 62) - 1).to_bytes(
        16
    )


class Peer:
    """One ZeroMQ connection to a broker, and the session on it once HELLO was answered.

    Args:
        endpoint: the broker's address for peers of this kind.
        keys: CURVE keys; None: NULL.
    """

    def __init__(self, context: zmq.asyncio.Context, endpoint: str, keys: Keys | None) -> None:
        self.heartbeat_s = BEFORE_WELCOME_S
        self.muted = False
        """Whether to leave PINGs unanswered and send none."""
        self.pings = 0
        """How many PINGs the broker has sent."""
        self.is_closed = False
        self.inbox: asyncio.Queue[Message] = asyncio.Queue()
        self._socket = context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.RECONNECT_IVL, -1)
        self._socket.setsockopt(zmq.IPV6, 1)
        if keys is not None:
            self._socket.setsockopt(zmq.CURVE_SERVERKEY, keys.broker)
            self._socket.setsockopt(zmq.CURVE_PUBLICKEY, keys.public)
            self._socket.setsockopt(zmq.CURVE_SECRETKEY, keys.secret)
        self._socket.connect(endpoint)
        self._sent_at = time.monotonic()
        self._numbers = itertools.count(KEEP_ALIVE + 1)
        self._listener = asyncio.create_task(self._listen())

    async def send(
        self, verb: int, dialog: bytes | None = None, attempt: int = 0, **fields: Any
    ) -> None:
        """Send one message in a frame of its own."""
        await self.send_frame(pack(verb, dialog, attempt, fields))

    async def send_frame(self, *parts: bytes) -> None:
        """Send a ZeroMQ message as it is; of several parts, which DSP/1 forbids.

        Raises:
            NobodyThereError: it can't be sent, as the connection is gone.
        """
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._socket.send_multipart(parts)
        except TimeoutError:
            raise NobodyThereError("the connection is gone") from None
        self._sent_at = time.monotonic()

    async def next(self, patience_s: float = PATIENCE_S) -> Message:
        """Return the next message.

        Raises:
            NobodyThereError: there was none in time.
        """
        try:
            # Not wait_for: before Python 3.12 it may swallow a cancellation.
            async with asyncio.timeout(patience_s):
                return await self.inbox.get()
        except TimeoutError:
            raise NobodyThereError(f"no message in {patience_s} s") from None

    async def expect(self, verb: int, patience_s: float = PATIENCE_S) -> Message:
        """Return the next message, which must be of `verb`."""
        message = await self.next(patience_s)
        assert message.verb == verb, f"expected verb {verb}, got {message}"
        return message

    async def settled(self, patience_s: float = PATIENCE_S) -> list[Message]:
        """Return all that the broker has sent in this session up to now, but for PINGs."""
        number = next(self._numbers)
        await self.send(PING, sent_ms=number)
        messages: list[Message] = []
        while True:
            message = await self.next(patience_s)
            if message.verb == PONG and message.body["sent_ms"] == number:
                return messages
            messages.append(message)

    async def leave(self, patience_s: float = 0.5) -> None:
        """Say BYE, and wait until the broker knows no session here: it answers LOST, then."""
        with contextlib.suppress(NobodyThereError):
            await self.send(BYE, code=NO_ERROR)
            await self.send(PING, sent_ms=KEEP_ALIVE)
            while (await self.next(patience_s))[:2] != (LOST, None):
                pass

    def close(self) -> None:
        """Cut the connection without a word, as a process that is killed."""
        self.is_closed = True
        self._listener.cancel()
        self._socket.close()

    async def _listen(self) -> None:
        """Read all that comes, and keep the session alive."""
        while True:
            silent_s = time.monotonic() - self._sent_at
            if silent_s >= self.heartbeat_s and not self.muted:
                await self.send(PING, sent_ms=KEEP_ALIVE)
                continue
            if not await self._socket.poll(max(self.heartbeat_s - silent_s, 0.01) * 1000):
                continue
            for message in unpack(await self._socket.recv()):
                if message.verb == WELCOME:
                    self.heartbeat_s = message.body["heartbeat_ms"] / 1000
                if message.verb == PING:
                    self.pings += 1
                    if not self.muted:
                        await self.send(PONG, **message.body)
                elif message.verb != PONG or message.body["sent_ms"] != KEEP_ALIVE:
                    self.inbox.put_nowait(message)


@dataclass
class Player:
    """A process that takes part in DSP/1: it may open one session after another.

    Subclasses say what it is; `peer` is its connection of the moment.
    """

    context: zmq.asyncio.Context
    endpoint: str
    name: str
    keys: Keys | None = None

    def __post_init__(self) -> None:
        self.instance = os.urandom(16)
        self.session = 0
        self.peer = Peer(self.context, self.endpoint, self.keys)
        self.opened = [self.peer]

    def hello(self) -> dict[str, Any]:
        """Return the fields of the next HELLO."""
        self.session += 1
        return {
            "protocol": 1,
            "name": self.name,
            "instance": self.instance,
            "session": self.session,
            "version": "somebody else's 1.0",
        }

    def connect(self) -> Peer:
        """Open another connection, by which this process goes on; the old one stays as it is."""
        self.peer = Peer(self.context, self.endpoint, self.keys)
        self.opened.append(self.peer)
        return self.peer

    async def say_hello(self, patience_s: float = PATIENCE_S, **changed: Any) -> Message:
        """Send HELLO, with fields `changed`, and return what the broker answers."""
        await self.peer.send(HELLO, **{**self.hello(), **changed})
        return await self.peer.next(patience_s)

    async def open(self, patience_s: float = PATIENCE_S) -> Message:
        """Open a session on this connection; return WELCOME."""
        answer = await self.say_hello(patience_s)
        assert answer.verb == WELCOME, answer
        return answer

    def close(self) -> None:
        """Cut all connections, as when the process is killed."""
        for peer in self.opened:
            peer.close()


class Verdict(NamedTuple):
    """How a dialog ended, as its port saw it."""

    complete: Message
    end_code: Code
    """END_REPLY's."""
    screen: bytes
    """What the caller was shown."""


@dataclass
class Agent(Player):
    """A port agent."""

    site: str = "oslo"

    def hello(self) -> dict[str, Any]:
        return super().hello() | {"role": "agent", "site": self.site}

    async def begin(
        self, hport: str, dialog: bytes | None = None, attempt: int = 1, **changed: Any
    ) -> bytes:
        """Send BEGIN, with fields `changed`; return the dialog's id."""
        number = dialog or uuid7()
        facts = {
            "site": self.site,
            "agent": self.name,
            "device": "/dev/ttyS0",
            "caller": "5550123",
            "called": "",
            "connect_speed": 38400,
            "connect_text": "38400",
            "send_size": 4096,
            "recv_size": 1024,
            "callback": False,
        }
        fields: dict[str, Any] = {
            "hport": hport,
            "pool": "default",
            "owner": b"",
            "seq": 0,
            "call": uuid7(),
            "cookie": b"",
            "facts": msgpack.packb(facts),
        }
        await self.peer.send(BEGIN, number, attempt, **fields | changed)
        return number

    async def received(self, receive: Message, data: bytes = b"", status: Code = NO_ERROR) -> None:
        """Answer a RECEIVE."""
        await self.peer.send(
            RECEIVED,
            receive.dialog,
            receive.attempt,
            seq=receive.body["seq"],
            status=status,
            data=data,
        )

    async def end(self, dialog: bytes, attempt: int = 1, reason: Code = NO_ERROR) -> None:
        """Send END."""
        await self.peer.send(END, dialog, attempt, reason=reason)

    async def call(
        self,
        hport: str,
        answers: Mapping[bytes, list[bytes]],
        patience_s: float = PATIENCE_S,
        **changed: Any,
    ) -> Verdict:
        """Play a port from BEGIN to END_REPLY, answering each prompt with its next answer."""
        dialog = await self.begin(hport, **changed)
        left = {prompt: iter(lines) for prompt, lines in answers.items()}
        screen, seq = b"", changed.get("seq", 0)
        while True:
            message = await self.peer.next(patience_s)
            assert message[1:3] == (dialog, 1), message
            body = message.body
            if message.verb == COMPLETE:
                await self.end(dialog)
                reply = await self.peer.expect(END_REPLY)
                return Verdict(message, reply.body["code"], screen)
            assert message.verb in {SEND, RECEIVE}, message
            assert body["seq"] == seq + 1
            seq += 1
            screen += body["data"] if message.verb == SEND else body["prompt"]
            if message.verb == RECEIVE:
                assert len(body["cookie"]) <= 4096
                assert (body["mode"], body["limit"] > 0) == ("line", True)
                await self.received(message, next(left[body["prompt"]]))


@dataclass
class Worker(Player):
    """An auth worker."""

    pools: tuple[str, ...] = ("default",)
    capacity: int = 100

    def hello(self) -> dict[str, Any]:
        return super().hello() | {
            "role": "worker",
            "capacity": self.capacity,
            "pools": self.pools,
        }

    async def ready(self, credit: int) -> None:
        """Grant `credit`: a running total of the session."""
        await self.peer.send(READY, credit=credit)

    async def show(self, dialog: bytes, attempt: int, seq: int, data: bytes) -> None:
        """Send SEND."""
        await self.peer.send(SEND, dialog, attempt, worker=self.instance, seq=seq, data=data)

    async def ask(
        self,
        dialog: bytes,
        attempt: int = 1,
        seq: int = 1,
        prompt: bytes = b"login: ",
        **changed: Any,
    ) -> None:
        """Send RECEIVE, with fields `changed`."""
        fields: dict[str, Any] = {
            "worker": self.instance,
            "seq": seq,
            "prompt": prompt,
            "mode": "line",
            "echo": "on",
            "limit": 256,
            "timeout_s": 60,
            "cookie": b"step %d" % seq,
        }
        await self.peer.send(RECEIVE, dialog, attempt, **fields | changed)

    async def complete(
        self, dialog: bytes, attempt: int = 1, msg_id: int = SUCCESS, **changed: Any
    ) -> None:
        """Send COMPLETE, with fields `changed`."""
        fields: dict[str, Any] = {
            "worker": self.instance,
            "msg_id": msg_id,
            "error": ("ras", 645) if msg_id == FAULT else NO_ERROR,
            "username": "" if msg_id == FAULT else "ann",
            "domain": "",
            "attributes": {},
        }
        await self.peer.send(COMPLETE, dialog, attempt, **fields | changed)

    async def end_reply(
        self, dialog: bytes, attempt: int = 1, code: Code = PORT_DISCONNECTED
    ) -> None:
        """Answer an END: nonzero terminates, 0 delays."""
        await self.peer.send(END_REPLY, dialog, attempt, code=code)

    async def serve(self, users: Mapping[bytes, bytes], patience_s: float = PATIENCE_S) -> Message:
        """Play one whole dialog: banner, login, password, verdict, end.  Return its BEGIN."""
        begin = await self.peer.expect(BEGIN, patience_s)
        dialog, attempt, seq = begin.dialog, begin.attempt, begin.body["seq"]
        assert dialog is not None
        await self.show(dialog, attempt, seq + 1, b"Authorised use only\r\n")
        await self.ask(dialog, attempt, seq + 2)
        user = await self._answer(begin, seq + 2, patience_s)
        await self.ask(dialog, attempt, seq + 3, b"Password: ", echo="off")
        password = await self._answer(begin, seq + 3, patience_s)
        right = users.get(user) == password
        await self.complete(dialog, attempt, SUCCESS if right else FAILURE, username=user.decode())
        end = await self.peer.expect(END, patience_s)
        assert end[1:] == (dialog, attempt, {"reason": NO_ERROR}), end
        await self.end_reply(dialog, attempt)
        return begin

    async def _answer(self, begin: Message, seq: int, patience_s: float) -> bytes:
        received = await self.peer.expect(RECEIVED, patience_s)
        assert received[1:3] == begin[1:3], received
        assert (received.body["seq"], received.body["status"]) == (seq, NO_ERROR), received
        answer: bytes = received.body["data"]
        return answer


class Cast:
    """The players of one test at one broker."""

    def __init__(self, context: zmq.asyncio.Context, agents: str, workers: str) -> None:
        self.context = context
        self.agents = agents
        self.workers = workers
        self._players: list[Player] = []
        self._numbers = itertools.count(1)

    def agent(self, name: str = "", **particulars: Any) -> Agent:
        """Return a new agent, connected and with no session."""
        name = name or f"agent-{next(self._numbers)}"
        agent = Agent(self.context, self.agents, name, **particulars)
        self._players.append(agent)
        return agent

    def worker(self, name: str = "", **particulars: Any) -> Worker:
        """Return a new worker, connected and with no session."""
        name = name or f"worker-{next(self._numbers)}"
        worker = Worker(self.context, self.workers, name, **particulars)
        self._players.append(worker)
        return worker

    async def open_agent(self, name: str = "", **particulars: Any) -> Agent:
        """Return a new agent that has a session."""
        agent = self.agent(name, **particulars)
        await agent.open()
        return agent

    async def open_worker(self, credit: int = 10, name: str = "", **particulars: Any) -> Worker:
        """Return a new worker that has a session and has granted `credit`."""
        worker = self.worker(name, **particulars)
        await worker.open()
        await worker.ready(credit)
        await worker.peer.settled()
        return worker

    async def leave(self) -> None:
        """Say BYE for everyone who still speaks, and close all connections."""
        peers = [peer for player in self._players for peer in player.opened]
        speaking = [peer for peer in peers if not (peer.is_closed or peer.muted)]
        await asyncio.gather(*(peer.leave() for peer in speaking))
        for peer in peers:
            peer.close()


@asynccontextmanager
async def stage(agents: str, workers: str) -> AsyncIterator[Cast]:
    """Give a `Cast` for the broker with these endpoints; at the end everybody leaves."""
    context = zmq.asyncio.Context()
    cast = Cast(context, agents, workers)
    try:
        yield cast
    finally:
        await cast.leave()
        context.destroy(linger=0)


async def until(happened: Callable[[], bool], what: str, patience_s: float = PATIENCE_S) -> None:
    """Wait until `happened`, asking again and again."""
    deadline = time.monotonic() + patience_s
    while not happened():
        assert time.monotonic() < deadline, f"not in {patience_s} s: {what}"
        await asyncio.sleep(0.02)
