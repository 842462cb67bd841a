"""RADIUS accounting when workers, servers and agents come and go, with the real FreeRADIUS.

Each record arrives, by whichever worker is left; an agent's start and orderly end are told.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import select

from dialgate.calls import store_records
from dialgate.state import open_state, reading
from dialgate.tables import ACCOUNTING
from tests.auth_workers.radius.calls import record
from tests.integration.cluster import AGENT, a_cluster
from tests.integration.freeradius import SECRET, FreeRadius
from tests.integration.processes import STOP_S, Program, free_port, wait_until

TAKEN_OVER_S: Final = 40.0
"""A lease, and what a slow machine adds."""
CONFIG: Final = """
[cluster]
state = "sqlite:///{directory}/state.db"
[worker]
name = "{name}"
brokers = ["tcp://127.0.0.1:{nobody}"]
http = "{http}"
insecure = true
{policy}"""
POLICY: Final = """
[[policies]]
authenticators = ["corp"]
[authenticators.corp]
kind = "radius"
servers = ["{radius.authentication}"]
accounting = ["{radius.accounting}"]
secret_file = "{directory}/radius.secret"
timeout_s = 1
retries = 0
"""


class Office:
    """A state, the server, and workers that tell it of calls."""

    def __init__(self, directory: Path, radius: FreeRadius) -> None:
        self.directory = directory
        self.radius = radius
        self._nobody = free_port()
        self.policy = POLICY.format(directory=directory, radius=radius)
        secret = directory / "radius.secret"
        secret.write_bytes(SECRET + b"\n")
        secret.chmod(0o600)

    @contextmanager
    def worker(self, name: str) -> Iterator[Program]:
        (self.directory / name).mkdir()
        config = self.directory / name / "worker.toml"
        http = f"127.0.0.1:{free_port()}"
        config.write_text(
            CONFIG.format(
                name=name,
                http=http,
                directory=self.directory,
                nobody=self._nobody,
                policy=self.policy,
            )
        )
        worker = Program("worker", config, http)
        try:
            worker.wait_until_it_listens()
            yield worker
        finally:
            worker.stop()

    async def store(self, *numbers: int) -> None:
        """Store the start record of calls, as a broker does."""
        state = await open_state(f"sqlite:///{self.directory}/state.db")
        now = time.time()
        await store_records(state, [record(n, "start", call=n, made_at=now) for n in numbers])
        await state.dispose()

    async def claims(self) -> dict[int, tuple[bytes, int]]:
        """Return which worker has the row of each call, and how often it was claimed."""
        state = await open_state(f"sqlite:///{self.directory}/state.db")
        async with reading(state) as connection:
            rows = (await connection.execute(select(ACCOUNTING))).all()
        await state.dispose()
        return {
            int.from_bytes(row.call, "big"): (row.worker, row.sendings)
            for row in rows
            if row.due_at > time.time()
        }


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    with FreeRadius(tmp_path / "radius") as radius:
        yield Office(tmp_path, radius)


def test_what_a_killed_worker_had_claimed_is_told_by_another(office: Office) -> None:
    office.radius.freeze()
    with office.worker("worker-1") as first:
        asyncio.run(office.store(1, 2, 3))
        wait_until(
            lambda: set(asyncio.run(office.claims())) == {1, 2, 3},
            lambda: first.stderr[-3000:],
            20.0,
        )
        first.kill()
    owners = {worker for worker, _ in asyncio.run(office.claims()).values()}
    office.radius.kill()  # What the first has sent dies with it, unread.
    office.radius.start()

    with office.worker("worker-2") as second:
        wait_until(
            lambda: len(office.radius.accounts()) >= 3,
            lambda: second.stderr[-3000:],
            TAKEN_OVER_S,
        )
        wait_until(
            lambda: second.metric("dialgate_worker_radius_accounting_waiting") == 0,
            lambda: second.get("/metrics")[1],
            20.0,
        )

    assert len(owners) == 1
    told = office.radius.accounts()
    assert {each["Acct-Session-Id"] for each in told} == {
        number.to_bytes(16, "big").hex() for number in (1, 2, 3)
    }
    assert {each["Acct-Status-Type"] for each in told} == {"Start"}
    assert all(int(each["Acct-Delay-Time"]) > 0 for each in told)


def turns(office: Office) -> list[tuple[str, str]]:
    """Return what the server was told of agents' starts and ends."""
    return [(each["NAS-Identifier"], each["Acct-Status-Type"]) for each in office.radius.accounts()]


def test_an_agents_start_and_orderly_end_are_told_and_that_it_was_killed_is_not(
    office: Office,
) -> None:
    told: list[tuple[str, str]] = []

    def is_told(status: str) -> None:
        told.append((AGENT, status))
        wait_until(lambda: turns(office) == told, lambda: f"{turns(office)}, not {told}", 20.0)

    with a_cluster(office.directory) as cluster:
        broker = cluster.broker("broker-1", state=f"sqlite:///{office.directory}/state.db")
        cluster.worker("worker-1", [broker], policy=office.policy)
        cluster.ready()
        agent = cluster.start_agent([broker])
        is_told("Accounting-On")
        agent.drain()
        is_told("Accounting-Off")
        agent.process.wait(STOP_S)
        agent = cluster.restart_agent()
        is_told("Accounting-On")
        agent.kill()
        cluster.restart_agent()
        is_told("Accounting-On")
