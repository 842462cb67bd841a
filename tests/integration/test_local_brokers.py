"""The WAN is down, and somebody dials: the site's own broker and worker let him in (§2, §5).

The cut is made by stopping the centre's processes, which the site can't tell from silence on the
line; they come back as a link does.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Final

import pytest

from dialgate.records import read_calls
from tests.integration.cluster import Cluster, a_cluster
from tests.integration.peers import until
from tests.integration.places import Caller
from tests.integration.processes import dialgate

CUT_S: Final = 10.0
"""By when a caller at a site that is cut off has a prompt: the loss is noticed, and no other broker
has answered for 3.5 s."""
BACK_S: Final = 12.0


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Run a centre, where ann is known, and a site with a node, where glass is."""
    with a_cluster(tmp_path_factory.mktemp("site")) as cluster:
        centre = cluster.broker("centre", heartbeat_ms=300)
        sockets = {x: f"ipc://{cluster.directory}/{x}" for x in ("agents", "workers")}
        site = cluster.broker("site", insecure=False, **sockets)
        cluster.worker("worker-1", [centre])
        cluster.worker("site-worker", [site], state="site.db", insecure=False)
        cluster.start_agent([centre], local_brokers=[site], lines=2)
        cluster.ready()
        cluster.add_user("ann", "xyzzy", "worker-1")
        cluster.add_user("glass", "hammer", "site-worker")
        copy_users(cluster)
        yield cluster


def copy_users(cluster: Cluster) -> None:
    """Bring the centre's users to the site, as an operator does."""
    centre = ("--config", cluster.directory / "worker-1" / "worker.toml")
    site = ("--config", cluster.directory / "site-worker" / "worker.toml")
    copy = cluster.directory / "users.copy"
    (cluster.directory / "keys").mkdir()
    for words in (
        ("keys", "sync", *centre),
        ("state", "sync", "sign", copy, *centre),
        ("state", "sync", "apply", copy, *site),
    ):
        done = dialgate(*words)
        assert done.returncode == 0, done.stderr


def send_to_centre(cluster: Cluster, number: signal.Signals) -> None:
    cluster.brokers["centre"].send(number)
    cluster.workers["worker-1"].send(number)


async def log_in(caller: Caller, user: bytes, password: bytes) -> None:
    await caller.types(user + b"\r")
    await caller.sees(b"Password: ")
    await caller.types(password + b"\r")


async def test_callers_get_in_while_the_site_is_cut_off_and_the_agent_returns_after(
    cluster: Cluster,
) -> None:
    """One by a break-glass account of the site's, one as a user that was copied there."""
    agent = cluster.agent
    async with AsyncExitStack() as calls:
        send_to_centre(cluster, signal.SIGSTOP)
        try:
            caller = await calls.enter_async_context(cluster.call(1))
            await caller.sees(b"login: ", CUT_S)
            await log_in(caller, b"glass", b"hammer")
            await caller.sees(b"the console")
            async with cluster.call(2) as other:
                await other.sees(b"login: ")
                await log_in(other, b"ann", b"xyzzy")
                await other.sees(b"the console")
            assert agent.metric("dialgate_agent_home_local") == 1
            assert local_admissions(cluster) == 2
        finally:
            send_to_centre(cluster, signal.SIGCONT)
        await until(
            lambda: agent.metric("dialgate_agent_home_local") == 0, "the agent's return", BACK_S
        )
        await until(lambda: cluster.home() == "centre", "the agent's being at home")
        await caller.types(b"1")
        await caller.sees(b"<1>")
    await until(lambda: cluster.idle_lines() == 2, "the lines' being ready")
    dialogs = [call.facts.dialogs[0] for call in read_calls(cluster.directory / "spool.db")]
    assert {(x.user, x.verdict, x.local) for x in dialogs} == {
        ("glass", "success", True),
        ("ann", "success", True),
    }

    await until(lambda: bool(cluster.rows("workers", "centre")), "the worker's return", BACK_S)
    async with cluster.call() as caller:
        await caller.sees(b"login: ")
        await log_in(caller, b"glass", b"hammer")
        await caller.sees(b"login: ")
        await log_in(caller, b"ann", b"xyzzy")
        await caller.sees(b"the console")
    assert local_admissions(cluster) == 2


def local_admissions(cluster: Cluster) -> float:
    return cluster.agent.metric("dialgate_agent_local_admissions_total", site="oslo")
