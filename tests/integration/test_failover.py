"""Whoever dies, hangs or goes: the caller is asked again, in bounded time, and goes on.

Real brokers, workers, modems, and an agent with 500 lines, all with their default settings; the
bounds are those that docs/operations.md promises.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Final

import aiohttp
import pytest

from tests.integration.cluster import AGENT, Cluster, a_cluster
from tests.integration.peers import until
from tests.integration.places import Caller
from tests.integration.processes import dialgate

LINES: Final = 500
KILLED_WORKER_S: Final = 3.0
HUNG_WORKER_S: Final = 8.0
KILLED_BROKER_S: Final = 8.0
BACK_S: Final = 12.0
"""By when peers are at a broker again that was restarted: the longest back-off, and a HELLO."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Run two brokers, and two workers that serve both."""
    with a_cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        brokers = [cluster.broker("broker-1"), cluster.broker("broker-2")]
        for name in ("worker-1", "worker-2"):
            cluster.worker(name, brokers, capacity=1000)
        cluster.start_agent(brokers, lines=LINES)
        cluster.ready()
        cluster.add_user("ann", "xyzzy", "worker-1")
        yield cluster


@pytest.fixture(autouse=True)
async def _everybody_is_there(cluster: Cluster) -> None:
    """Start again who was killed, and wait until the lines are ready."""
    await everybody_is_there(cluster)


async def everybody_is_there(cluster: Cluster) -> None:
    for name, broker in list(cluster.brokers.items()):
        if not broker.is_running:
            cluster.broker(name)
    for name, worker in list(cluster.workers.items()):
        if not worker.is_running:
            cluster.worker(name)
    await asyncio.to_thread(cluster.ready)
    await until(lambda: cluster.idle_lines() == LINES, "every line's being ready", BACK_S)
    for name in cluster.brokers:
        await until(partial(serve, cluster, name), f"the workers' being at {name}", BACK_S)


def serve(cluster: Cluster, broker: str) -> bool:
    return len(cluster.rows("workers", broker)) == len(cluster.workers)


async def asked_for_the_password(caller: Caller) -> None:
    await caller.sees(b"login: ")
    await caller.types(b"ann\r")
    await caller.sees(b"Password: ")


@asynccontextmanager
async def drained(cluster: Cluster, role: str, name: str, deadline: str) -> AsyncIterator[None]:
    """Run `dialgate drain` while the context lasts; it must have worked in the end."""
    broker = cluster.directory / cluster.home() / "broker.toml"
    words = ("drain", role, name, "--deadline", deadline, "--config", broker)
    async with asyncio.TaskGroup() as group:
        drain = group.create_task(asyncio.to_thread(dialgate, *words, patience_s=40.0))
        yield
        done = await drain
    assert done.stdout.startswith(f"{role} {name}: drained in "), done.stderr


# ---------------------------------------------------------------------------- workers


async def test_the_caller_of_a_killed_worker_is_asked_again_within_3_s(cluster: Cluster) -> None:
    async with cluster.call() as caller:
        await asked_for_the_password(caller)

        cluster.workers[cluster.owner(cluster.home())].kill()
        await caller.sees(b"login: ", KILLED_WORKER_S)

        await caller.types(b"ann\r")
        await caller.sees(b"Password: ")
        await caller.types(b"xyzzy\r")
        await caller.sees(b"the console")


async def test_a_worker_that_hung_can_do_nothing_when_it_comes_back(cluster: Cluster) -> None:
    """It wakes up with the right password in its hands, and may let nobody in for it."""
    async with cluster.call() as caller:
        await asked_for_the_password(caller)
        name = cluster.owner(cluster.home())
        cluster.workers[name].send(signal.SIGSTOP)
        try:
            await caller.types(b"xyzzy\r")
            await caller.sees(b"login: ", HUNG_WORKER_S)
            await until(lambda: cluster.owner(cluster.home()) not in {"", name}, "an heir")
        finally:
            cluster.workers[name].send(signal.SIGCONT)
        await until(lambda: serve(cluster, cluster.home()), "its being back", BACK_S)

        await caller.types(b"ann\r")
        await caller.sees(b"Password: ")
        assert b"console" not in caller.screen
        await caller.types(b"wrong\r")
        await caller.sees(b"Login incorrect")
        assert cluster.owner(cluster.home()) != name
        await asked_for_the_password(caller)
        await caller.types(b"xyzzy\r")
        await caller.sees(b"the console")


# ---------------------------------------------------------------------------- brokers


async def test_500_dialogs_of_a_killed_broker_are_resumed_within_8_s(cluster: Cluster) -> None:
    """Every caller ends the line that he has begun.  Whose line died on its way is asked again.

    When the broker is restarted, workers are back by themselves, the agent when it is told to go
    home, in the middle of a login.
    """

    async def goes_on(caller: Caller) -> None:
        await caller.types(b"nn\r")
        while not await caller.is_asked_for(b"Password: ", else_for=b"login: "):
            await caller.types(b"ann\r")

    async with AsyncExitStack() as calls:
        dial = [calls.enter_async_context(cluster.call(line + 1)) for line in range(LINES)]
        callers = await asyncio.gather(*dial)
        await asyncio.gather(*(caller.sees(b"login: ", 30.0) for caller in callers))
        await asyncio.gather(*(caller.types(b"a") for caller in callers))
        home = cluster.home()
        assert len(cluster.rows("dialogs", home)) == LINES

        cluster.brokers[home].kill()
        async with asyncio.timeout(KILLED_BROKER_S):
            await asyncio.gather(*map(goes_on, callers))
        assert cluster.home() not in {"", home}

        cluster.broker(home)
        await asyncio.to_thread(cluster.ready)
        await until(lambda: serve(cluster, home), "the workers' being back", BACK_S)
        await order(cluster, cluster.home(), act="rehome")
        first = cluster.agent_order()[0]
        await until(lambda: cluster.home() == first, "the agent's going home", BACK_S)
        await callers[0].types(b"xyzzy\r")
        await callers[0].sees(b"the console")


async def order(cluster: Cluster, broker: str, **words: str) -> None:
    """Give the agent an order through a broker."""
    words = {"agent": AGENT, "operator": "test", **words}
    url = f"http://{cluster.brokers[broker].http}/api/v1/ports/command"
    async with aiohttp.ClientSession() as session, session.post(url, json=words) as answer:
        assert (await answer.json())["code"] == 0


# ---------------------------------------------------------------------------- upgrades


@pytest.mark.timeout(120)
async def test_all_roles_are_replaced_and_nobody_is_hung_up_on(cluster: Cluster) -> None:
    """One caller is online, one in his login; half of the drains are orders, half SIGTERM."""
    async with cluster.call(1) as online, cluster.call(2) as login:
        await asked_for_the_password(online)
        await online.types(b"xyzzy\r")
        await online.sees(b"the console")
        await login.sees(b"login: ")

        for name in list(cluster.workers):
            async with drained(cluster, "worker", name, "1s"):
                pass
            assert cluster.workers[name].process.wait(10) == 0
            cluster.worker(name)
            await asyncio.to_thread(cluster.ready)
            await online.types(b"1")
            await online.sees(b"<1>")
        home = cluster.home()
        async with drained(cluster, "broker", home, "30s"):
            pass
        assert cluster.brokers[home].process.wait(10) == 0
        cluster.broker(home)
        await asyncio.to_thread(cluster.ready)
        other = cluster.home()
        assert other not in {"", home}
        await until(lambda: serve(cluster, home), "the workers' being back", BACK_S)
        cluster.brokers[other].drain()
        assert await asyncio.to_thread(cluster.brokers[other].process.wait, 10) == 0
        await online.types(b"2")
        await online.sees(b"<2>")

        async with drained(cluster, "agent", AGENT, "30s"):
            await until(lambda: cluster.idle_lines() == 0, "no line's answering")
            async with cluster.call(3) as late:
                await login.types(b"ann\r")
                await login.sees(b"Password: ")
                await login.types(b"xyzzy\r")
                await login.sees(b"the console")
                assert b"login" not in late.screen, "a new call is not answered"
            online.hang_up()
            login.hang_up()
    cluster.agent.drain()
    assert await asyncio.to_thread(cluster.agent.process.wait, 10) == 0
    cluster.restart_agent()
    await everybody_is_there(cluster)
