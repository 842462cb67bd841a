"""Telling accounting servers, with scripted ones; no socket is opened and no time passes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_workers.radius.accountant import AGAIN_S, Accountant, Route
from auth_workers.radius.client import Silent
from auth_workers.radius.ledger import Ledger
from auth_workers.radius.packets import Attribute, Reply, Request
from auth_workers.radius.servers import Servers
from dialgate.agent_turns import AgentTurn, store_turns
from dialgate.calls import store_records
from dialgate.codes import Mprerror
from dialgate.settings import HostPort
from dialgate.state import open_state
from tests.auth_workers.radius.calls import record
from tests.auth_workers.radius.replies import ACCOUNTED, SECRET, attributes_of, reply_to

ONE, TWO = HostPort("192.0.2.1", 1813), HostPort("192.0.2.2", 1813)
SENDING_S: Final = 5.0


class Network:
    """Servers of which some are silent; it notes what they were sent."""

    def __init__(self) -> None:
        self.silent: set[HostPort] = set()
        self.sent: list[tuple[HostPort, bytes]] = []

    async def ask(self, server: HostPort, request: Request, *, hasty: bool = False) -> Reply:
        self.sent.append((server, request.data))
        if server in self.silent:
            raise Silent(f"{server}: no answer", Mprerror.ERROR_AUTH_SERVER_TIMEOUT.code)
        reply = request.read(reply_to(request.data, ACCOUNTED, signature=None))
        assert isinstance(reply, Reply)
        return reply

    @property
    def told(self) -> list[tuple[HostPort, int, int]]:
        """Whom, the status, the delay."""
        found = [(server, dict(attributes_of(data))) for server, data in self.sent]
        return [
            (
                server,
                int.from_bytes(each[Attribute.ACCT_STATUS_TYPE], "big"),
                int.from_bytes(each[Attribute.ACCT_DELAY_TIME], "big"),
            )
            for server, each in found
        ]


class Bench:
    """An accountant and its clock."""

    def __init__(self, state: AsyncEngine, *servers: HostPort, retries: int = 0) -> None:
        self.network = Network()
        self.state = state
        self.now = 0.0
        self.start = 2_000_000_000.0
        route = Route(SECRET, Servers(servers or [ONE]), self.network, retries, SENDING_S)
        self.accountant = Accountant(
            "corp",
            route,
            Ledger(state, "corp", bytes(16)),
            clock=lambda: self.now,
            wall=lambda: self.start + self.now,
        )

    async def store(self, *numbers: int, before_s: float = 0.0) -> None:
        made_at = self.start - before_s
        calls = [record(number, "start", call=number, made_at=made_at) for number in numbers]
        await store_records(self.state, calls)


@pytest.fixture
async def state(tmp_path: object) -> AsyncIterator[AsyncEngine]:
    engine = await open_state(f"sqlite:///{tmp_path}/state.db")
    yield engine
    await engine.dispose()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let records be stored when the bench's clock begins."""
    monkeypatch.setattr("dialgate.calls.time.time", lambda: 2_000_000_000.0)


pytestmark = pytest.mark.usefixtures("clock")


async def test_what_is_answered_is_told_once(state: AsyncEngine) -> None:
    bench = Bench(state)
    await bench.store(1, 2, 3)

    assert await bench.accountant.look()
    assert not await bench.accountant.look()

    assert bench.network.told == [(ONE, 1, 0)] * 3
    assert bench.accountant.told == {"answered": 3, "silent": 0}
    assert bench.accountant.waiting == 0


async def test_what_is_not_answered_is_sent_again_with_its_delay(state: AsyncEngine) -> None:
    bench = Bench(state)
    bench.network.silent = {ONE}
    await bench.store(1, before_s=7)

    await bench.accountant.look()
    await bench.accountant.look()
    assert bench.network.told == [(ONE, 1, 7)]
    assert bench.accountant.waiting == 1

    for wait_s, delay_s in ((AGAIN_S, 9), (2 * AGAIN_S, 13), (4 * AGAIN_S, 21)):
        bench.now += wait_s
        await bench.accountant.look()
        assert bench.network.told[-1] == (ONE, 1, delay_s)

    bench.network.silent = set()
    bench.now += 60
    await bench.accountant.look()
    assert bench.network.told[-1] == (ONE, 1, 81)
    assert bench.accountant.waiting == 0
    identifiers = {data[4:20] for _, data in bench.network.sent}
    assert len(identifiers) == len(bench.network.sent)  # Each is a request of its own.


async def test_a_server_is_told_several_times_and_then_the_next(state: AsyncEngine) -> None:
    bench = Bench(state, ONE, TWO, retries=2)
    bench.network.silent = {ONE}
    await bench.store(1)
    await bench.accountant.look()
    await bench.store(2)
    await bench.accountant.look()

    assert [server for server, _ in bench.network.sent] == [ONE, ONE, ONE, TWO, TWO]


async def test_an_agents_new_start_is_told(state: AsyncEngine) -> None:
    bench = Bench(state)
    await store_turns(state, [AgentTurn("oslo-1", bytes(16), True, bench.start - 5)], bench.start)

    await bench.accountant.look()

    assert bench.network.told == [(ONE, 7, 5)]


async def test_it_works_while_its_context_lasts(state: AsyncEngine) -> None:
    bench = Bench(state)
    await bench.store(1)

    async with bench.accountant.running():
        while not bench.accountant.told["answered"]:
            await bench.accountant._ledger.waiting()  # Lets the loop turn.

    assert bench.network.told == [(ONE, 1, 0)]


def test_the_secret_is_in_no_representation(tmp_path: object) -> None:
    assert SECRET.decode() not in repr(Route(SECRET, Servers([ONE]), Network(), 0, SENDING_S))
