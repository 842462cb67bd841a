"""A peer's links, with a broker's socket that the test reads and writes itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
import zmq
import zmq.asyncio

from dialgate.codes import NO_ERROR, Code
from dialgate.links import Links, link_name
from dialgate.session import CloseLink, CloseSession, OpenLink, Transmit
from dialgate.wire.bodies import Bye, Drain, Hello, Welcome
from dialgate.wire.body_codec import decode_body, encode
from dialgate.wire.envelope import decode_frame
from dialgate.wire.verbs import Verb

WELCOME: Final = Welcome(
    protocol=1,
    name="broker-1",
    instance=bytes(16),
    frame_bytes_max=65_536,
    body_bytes_max=16_384,
)


@dataclass
class Core:
    """Notes what it is told; wants nothing by itself."""

    seen: list[tuple[Any, ...]] = field(default_factory=list)
    wants: list[str] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def session_opened(self, link: str, session: int, welcome: Welcome, _now: float) -> list[str]:
        self.seen.append(("opened", link, session, welcome.name))
        return ["opened"]

    def session_closed(self, session: int, code: Code, _now: float) -> list[str]:
        self.seen.append(("closed", session, code))
        return ["closed"]

    def message(
        self,
        session: int,
        verb: int,
        dialog: bytes | None,
        attempt: int,
        body: bytes,
        _now: float,
    ) -> list[str]:
        self.seen.append(("message", session, Verb(verb), dialog, attempt, body))
        return ["message"]

    def perform(self, actions: Sequence[str]) -> None:
        self.wants += actions
        self.news.set()


class Broker:
    """The other end: a ROUTER whose frames the test sees."""

    def __init__(self, context: zmq.asyncio.Context, address: str) -> None:
        self.socket = context.socket(zmq.ROUTER)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.bind(address)
        self.peer = b""

    async def hears(self) -> tuple[Verb, bytes]:
        """Return verb and body of the next message."""
        async with asyncio.timeout(5):
            self.peer, frame = await self.socket.recv_multipart()
        ((verb, _, _, body, _),), fault = decode_frame(frame)
        assert not fault
        return Verb(verb), body

    async def says(self, *messages: bytes) -> None:
        await self.socket.send_multipart([self.peer, b"".join(messages)])


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Broker]:
    context = zmq.asyncio.Context()
    broker = Broker(context, f"ipc://{tmp_path}/broker")
    yield broker
    broker.socket.close()
    context.term()


@pytest.fixture
async def links(tmp_path: Path) -> AsyncIterator[tuple[Links, Core, str]]:
    address, core = f"ipc://{tmp_path}/broker", Core()
    links = Links("agent", "oslo-1", None, site="oslo")
    links.connect([f"{address}#broker-1"], core, core.perform)
    yield links, core, address
    links.close()


async def told(core: Core, number: int) -> None:
    """Wait until the core was told so many things."""
    async with asyncio.timeout(5):
        while len(core.wants) < number:
            core.news.clear()
            await core.news.wait()


async def test_hello_says_who_we_are_in_rising_sessions(
    links: tuple[Links, Core, str], broker: Broker
) -> None:
    ours, core, address = links
    ours.do(OpenLink(address))
    verb, body = await broker.hears()
    hello = decode_body(body, Hello)

    assert verb is Verb.HELLO
    assert (hello.role, hello.name, hello.site) == ("agent", "oslo-1", "oslo")
    assert (hello.session, hello.instance) == (1, ours.instance)
    assert isinstance(hello.up_ms, int)
    assert hello.up_ms < 60_000

    await broker.says(encode(Verb.WELCOME, WELCOME))
    await told(core, 1)
    ours.do(CloseSession(1, NO_ERROR))
    assert (await broker.hears())[0] is Verb.BYE
    assert decode_body((await broker.hears())[1], Hello).session == 2


async def test_a_core_is_told_of_sessions_and_messages_and_its_wants_are_performed(
    links: tuple[Links, Core, str], broker: Broker
) -> None:
    ours, core, address = links
    ours.do(OpenLink(address))
    await broker.hears()
    drain = Drain(deadline_ms=5)
    await broker.says(encode(Verb.WELCOME, WELCOME), encode(Verb.DRAIN, drain))
    await told(core, 2)
    await broker.says(encode(Verb.BYE, Bye(code=NO_ERROR)))
    await told(core, 3)

    assert core.seen[0] == ("opened", address, 1, "broker-1")
    assert core.seen[1][:5] == ("message", 1, Verb.DRAIN, None, 0)
    assert core.seen[2] == ("closed", 1, NO_ERROR)
    assert core.wants == ["opened", "message", "closed"]


async def test_a_message_goes_out_on_its_session_only(
    links: tuple[Links, Core, str], broker: Broker
) -> None:
    ours, core, address = links
    ours.do(OpenLink(address))
    await broker.hears()
    await broker.says(encode(Verb.WELCOME, WELCOME))
    await told(core, 1)
    message = encode(Verb.BYE, Bye(code=Code("win", 5)))
    ours.do(Transmit(7, message))
    ours.do(Transmit(1, message))
    _, body = await broker.hears()

    assert decode_body(body, Bye).code == Code("win", 5)


async def test_a_closed_link_says_bye_and_tells_nothing_more(
    links: tuple[Links, Core, str], broker: Broker
) -> None:
    ours, core, address = links
    ours.do(OpenLink(address))
    await broker.hears()
    await broker.says(encode(Verb.WELCOME, WELCOME))
    await told(core, 1)
    ours.do(CloseLink(address))

    assert (await broker.hears())[0] is Verb.BYE
    await broker.says(encode(Verb.DRAIN, Drain(deadline_ms=5)))
    # The next session's HELLO is behind it on the event loop.
    ours.do(OpenLink(address))
    await broker.hears()
    assert len(core.seen) == 1


async def test_a_process_that_ends_says_so_with_its_last_bye(
    links: tuple[Links, Core, str], broker: Broker
) -> None:
    ours, core, address = links
    ours.do(OpenLink(address))
    await broker.hears()
    await broker.says(encode(Verb.WELCOME, WELCOME))
    await told(core, 1)

    ours.do(CloseLink(address, stops=True))

    assert decode_body((await broker.hears())[1], Bye) == Bye(code=NO_ERROR, stops=True)


def test_the_name_of_a_link_is_its_address() -> None:
    assert link_name("tcp://192.0.2.7:7700#broker-1") == "tcp://192.0.2.7:7700"
