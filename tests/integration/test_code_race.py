"""Fifty lines race one TOTP code: a real agent, broker and three workers that share a state.

SQLite here; `./dev prove tries` takes PostgreSQL, too.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

import pyotp
import pytest

from dialgate.records import read_calls
from tests.integration.cluster import Cluster, a_cluster
from tests.integration.peers import until
from tests.integration.places import Caller
from tests.integration.processes import dialgate

LINES: Final = 50
STATES: Final = os.environ.get("RACE_STATES", "sqlite").split()
PATIENCE_S: Final = 60.0
"""For fifty passwords to be checked on a machine that has other things to do."""
SERVICE, REFUSAL, NO_DECISION = b"the console", b"Login incorrect", b"not available"
POLICY: Final = """
[[policies]]
authenticators = ["local", "code"]
chain = "all"
tries = 1
retry_delay_s = 0
[lockout]
place_tries = 1000
user_tries = 100000
[authenticators.local]
kind = "local"
[authenticators.code]
kind = "otp"
"""


@pytest.fixture
def cluster(tmp_path: Path, state_url: str) -> Iterator[Cluster]:
    with a_cluster(tmp_path) as cluster:
        broker = cluster.broker("broker-1", state=state_url)
        for number in (1, 2, 3):
            cluster.worker(f"worker-{number}", [broker], state=state_url, policy=POLICY)
        cluster.start_agent([broker], lines=LINES)
        cluster.ready()
        cluster.add_user("ann", "xyzzy", "worker-1")
        yield cluster


def token(cluster: Cluster) -> pyotp.TOTP:
    """Give ann a token."""
    done = dialgate("users", "otp", "ann", "--config", cluster.directory / "worker-1/worker.toml")
    assert done.returncode == 0, done.stderr
    found = re.search(r"secret=(\w+)", done.stdout)
    assert found is not None
    return pyotp.TOTP(found[1])


async def asked_for_the_code(caller: Caller) -> None:
    await caller.sees(b"login: ", PATIENCE_S)
    await caller.types(b"ann\r")
    await caller.sees(b"Password: ", PATIENCE_S)
    await caller.types(b"xyzzy\r")
    await caller.sees(b"Code: ", PATIENCE_S)


async def fate_of(caller: Caller, code: str) -> bytes:
    """Type the code; return what the caller is shown then."""
    await caller.types(f"{code}\r".encode())
    return await caller.sees_one_of(SERVICE, REFUSAL, NO_DECISION, patience_s=PATIENCE_S)


@pytest.mark.parametrize("state_url", STATES, indirect=True)
async def test_of_fifty_lines_that_race_one_code_one_gets_his_service(cluster: Cluster) -> None:
    totp = token(cluster)
    async with AsyncExitStack() as stack:
        callers = [
            await stack.enter_async_context(cluster.call(line)) for line in range(1, LINES + 1)
        ]
        await asyncio.gather(*map(asked_for_the_code, callers))
        owners = {row["worker"] for row in cluster.rows("dialogs", "broker-1")}
        code = totp.at(time.time())

        fates = Counter(await asyncio.gather(*(fate_of(caller, code) for caller in callers)))

    assert owners == {"worker-1", "worker-2", "worker-3"}
    assert fates == {SERVICE: 1, REFUSAL: LINES - 1}
    await until(lambda: cluster.idle_lines() == LINES, "every line's being ready", PATIENCE_S)
    calls = read_calls(cluster.directory / "spool.db")
    assert len(calls) == LINES
    assert sum(call.facts.handed_over_at is not None for call in calls) == 1
