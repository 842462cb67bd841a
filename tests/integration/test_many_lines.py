"""A bank of lines under one agent, and many callers at the same moment.

`./dev bench --only lines` does so with 512 lines and 200 callers, and measures.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

from tests.integration.cluster import Cluster, a_cluster
from tests.integration.peers import until
from tests.integration.places import Caller

LINES: Final = 64
CALLERS: Final = 40
PATIENCE_S: Final = 30.0


async def test_all_who_call_at_once_get_their_prompt_and_every_port_is_armed_again(
    tmp_path: Path,
) -> None:
    with a_cluster(tmp_path) as cluster:
        broker = cluster.broker("broker-1")
        cluster.worker("worker-1", [broker])
        agent = cluster.start_agent([broker], lines=LINES)
        cluster.ready()

        async with AsyncExitStack() as calls:
            await asyncio.gather(*(_prompted(cluster, n, calls) for n in range(1, CALLERS + 1)))
            assert agent.metric("dialgate_ports", state="authenticating") == CALLERS
            assert agent.metric("dialgate_agent_begins_total") == CALLERS

        await until(lambda: cluster.idle_lines() == LINES, "all ports idle", PATIENCE_S)
        assert agent.metric("dialgate_agent_calls_total", outcome="caller") == CALLERS


async def _prompted(cluster: Cluster, line: int, calls: AsyncExitStack) -> Caller:
    caller = await calls.enter_async_context(cluster.call(line))
    await caller.sees(b"login: ", PATIENCE_S)
    return caller
