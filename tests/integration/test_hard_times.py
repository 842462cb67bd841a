"""A login that kills workers, one that blocks them, no workers, everybody hung, too many callers.

Real processes; heartbeats and deadlines are short, and the bounds that are told in them are held.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from collections.abc import Iterator
from typing import Final

import pytest

from tests.integration.cluster import Cluster, a_cluster
from tests.integration.peers import (
    RECEIVE,
    Agent,
    Message,
    stage,
    until,
)
from tests.integration.processes import PROJECT, Broker

HEARTBEAT_S: Final = 0.3
LEASE_S: Final = 1.0
QUEUE_S: Final = 0.5
DIALOG_MAX_S: Final = 5
OVERDUE_S: Final = 1.0
"""How long something may last beyond its deadline."""
WORKERS: Final = 4
LINES: Final = 2
MAX_WAITING: Final = 100
FLOOD_S: Final = 1.5
AT_ONCE_S: Final = 0.25
SERVED: Final = 20
"""Dialogs that go on while a broker is flooded."""
TYPING_S: Final = 0.05
NOISE_S: Final = 0.02
"""What a machine with two cores and other work adds to a 99th percentile."""
FLOOD: Final = (sys.executable, "-m", "tests.integration.flood")
ODD_WORKER: Final = (sys.executable, "-m", "tests.integration.odd_worker")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Run two brokers; all workers are at the one that the agent likes less."""
    times = {
        "heartbeat_ms": int(HEARTBEAT_S * 1000),
        "end_lease_ms": int(LEASE_S * 1000),
        "queue_timeout_ms": int(QUEUE_S * 1000),
        "max_waiting": MAX_WAITING,
    }
    with a_cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        brokers = [cluster.broker("broker-1", **times), cluster.broker("broker-2", **times)]
        last = cluster.brokers[cluster.agent_order()[-1]]
        for number in range(WORKERS):
            cluster.worker(f"worker-{number}", [last], command=ODD_WORKER)
        cluster.start_agent(brokers, lines=LINES, dialog_max_s=DIALOG_MAX_S)
        cluster.ready()
        yield cluster


@pytest.fixture(autouse=True)
async def _all_workers_are_there(cluster: Cluster) -> None:
    for name, worker in list(cluster.workers.items()):
        if not worker.is_running:
            cluster.worker(name, command=ODD_WORKER)
    await asyncio.to_thread(cluster.ready)
    last = cluster.agent_order()[-1]
    await until(lambda: len(cluster.rows("workers", last)) == WORKERS, "all workers", 10.0)
    await until(lambda: cluster.idle_lines() == LINES, "every line's being ready", 10.0)


async def test_an_agent_moves_on_from_a_healthy_broker_without_workers(cluster: Cluster) -> None:
    first, last = cluster.agent_order()
    await until(lambda: cluster.home() == first, "the agent's being at home", 10.0)
    async with cluster.call() as caller:
        await caller.sees(b"login: ", QUEUE_S + 3.0)
        await until(lambda: cluster.home() == last, "the agent's moving")
        await caller.types(b"ann\r")
        await caller.sees(b"the console")


async def test_a_login_that_kills_its_worker_takes_three_with_it_and_no_more(
    cluster: Cluster,
) -> None:
    async with cluster.call() as caller:
        for _ in range(3):
            await caller.sees(b"login: ", 5.0)
            await caller.types(b"poison\r")
        await caller.is_hung_up()
    assert sum(worker.is_running for worker in cluster.workers.values()) == WORKERS - 3
    async with cluster.call(2) as caller:
        await caller.sees(b"login: ")
        await caller.types(b"ann\r")
        await caller.sees(b"the console")


async def test_a_login_that_blocks_its_workers_loop_costs_one_worker_and_a_prompt(
    cluster: Cluster,
) -> None:
    last = cluster.agent_order()[-1]
    async with cluster.call() as caller:
        await caller.sees(b"login: ")
        blocked = cluster.owner(last)
        await caller.types(b"block\r")
        await caller.sees(b"login: ", 3 * HEARTBEAT_S + 3.0)
        assert cluster.owner(last) not in {"", blocked}
        assert cluster.workers[blocked].is_running
        await caller.types(b"ann\r")
        await caller.sees(b"the console")
    cluster.workers[blocked].kill()


async def test_nothing_lasts_a_second_beyond_its_deadline_if_everybody_hangs(
    cluster: Cluster,
) -> None:
    """One caller hangs up, one stays; neither broker nor worker answers anything any more."""
    others = [*cluster.brokers.values(), *cluster.workers.values()]
    async with cluster.call(1) as leaver, cluster.call(2) as stayer:
        await leaver.sees(b"login: ")
        await stayer.sees(b"login: ")
        for program in others:
            program.send(signal.SIGSTOP)
        try:
            stopped_at = time.monotonic()
            leaver.hang_up()
            await until(lambda: cluster.idle_lines() == 1, "one line's being ready", 10.0)
            assert time.monotonic() - stopped_at < LEASE_S + 3 * HEARTBEAT_S + OVERDUE_S
            await stayer.is_hung_up()
            silent_s = 3 * HEARTBEAT_S + QUEUE_S
            assert time.monotonic() - stopped_at < silent_s + OVERDUE_S
        finally:
            for program in others:
                program.send(signal.SIGCONT)


async def test_a_caller_who_says_nothing_is_gone_a_second_after_dialog_max_s(
    cluster: Cluster,
) -> None:
    async with cluster.call() as caller:
        await caller.sees(b"login: ")
        asked_at = time.monotonic()
        await caller.is_hung_up(DIALOG_MAX_S + 5.0)
        assert time.monotonic() - asked_at < DIALOG_MAX_S + OVERDUE_S


async def test_a_flood_of_calls_is_refused_at_once_and_disturbs_nobody_who_is_served(
    cluster: Cluster,
) -> None:
    broker = cluster.brokers[cluster.agent_order()[-1]]
    async with stage(broker.agents, broker.workers) as cast:
        agent = await cast.open_agent()
        for number in range(SERVED):
            await agent.begin(f"served/{number}")
        quiet_s = await prompts_s(agent, FLOOD_S)
        flood = await asyncio.create_subprocess_exec(
            *FLOOD, broker.agents, str(FLOOD_S + 1), stdout=asyncio.subprocess.PIPE, cwd=PROJECT
        )
        await until(lambda: waiting(broker) == MAX_WAITING, "the queue's being full")
        flooded_s = await prompts_s(agent, FLOOD_S)
        assert waiting(broker) <= MAX_WAITING
        out, _ = await flood.communicate()
    told = json.loads(out)

    assert told["busy"] > 1000
    assert told["busy"] + told["waited"] == told["sent"], "each is answered"
    assert told["busy_p99_s"] < AT_ONCE_S
    assert p99(flooded_s) <= 2 * p99(quiet_s) + NOISE_S


def waiting(broker: Broker) -> float:
    return broker.metric("dialgate_broker_dialogs", state="waiting")


def p99(values: list[float]) -> float:
    return sorted(values)[int(len(values) * 0.99)]


async def prompts_s(agent: Agent, seconds: float) -> list[float]:
    """Let who is asked answer for a while; return how long each next prompt took to come."""
    answered_at: dict[bytes, float] = {}
    times: list[float] = []

    async def answer(receive: Message) -> None:
        await asyncio.sleep(TYPING_S)
        assert receive.dialog is not None
        answered_at[receive.dialog] = time.monotonic()
        await agent.received(receive, b"again")

    until_s = time.monotonic() + seconds
    async with asyncio.TaskGroup() as group:
        while time.monotonic() < until_s:
            receive = await agent.peer.expect(RECEIVE)
            assert receive.dialog is not None
            if (at := answered_at.pop(receive.dialog, None)) is not None:
                times.append(time.monotonic() - at)
            group.create_task(answer(receive))
    return times
