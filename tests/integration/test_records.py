"""Records of calls on their way from a real agent's spool into the state, whatever is killed.

The spool has thousands of records when the agent starts, so that there is a middle to kill
something in.  Counted at the end: each record is in the state once, and the spool knows it.
"""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Final

import msgspec

from dialgate.calls import Wanted, find_calls
from dialgate.records import (
    APPLICATION_ID,
    SCHEMA,
    SCHEMA_VERSION,
    UNDER_WAY,
    CallFacts,
)
from dialgate.state import open_state
from tests.integration.peers import until
from tests.integration.places import running_place
from tests.integration.processes import Broker, Program, running, running_broker, wait_until
from tests.postgresql import PostgreSQL

RECORDS: Final = 10_000
PATIENCE_S: Final = 40.0


def fill_spool(file: Path, records: int = RECORDS) -> None:
    facts = CallFacts(site="oslo", agent="oslo-real", hport="oslo/1", rang_at=1.0, ended_at=2.0)
    body = msgspec.json.encode(facts).decode()
    with closing(sqlite3.connect(file)) as spool:
        for statement in (*SCHEMA, UNDER_WAY):
            spool.execute(statement)
        spool.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        spool.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        spool.executemany(
            "INSERT INTO records (record, call, kind, made_at, body) VALUES (?, ?, 'stop', ?, ?)",
            [(n.to_bytes(16), n.to_bytes(16), float(n), body) for n in range(1, records + 1)],
        )
        spool.commit()


def unstored(directory: Path) -> int:
    with closing(sqlite3.connect(directory / "spool.db")) as spool:
        (number,) = spool.execute("SELECT count(*) FROM records WHERE stored_at IS NULL").fetchone()
        return int(number)


async def stored(url: str) -> list[int]:
    engine = await open_state(url)
    try:
        calls = await find_calls(engine, Wanted(limit=10 * RECORDS))
        return sorted(int.from_bytes(each.record) for each in calls)
    finally:
        await engine.dispose()


def wait_for_records(agent: Program, at_most: int) -> None:
    """Wait until at most so many records are unstored."""
    wait_until(
        lambda: agent.metric("dialgate_agent_records_unstored") <= at_most,
        lambda: f"{agent.metric('dialgate_agent_records_unstored')} are unstored",
        PATIENCE_S,
    )


@contextmanager
def restarted(broker: Broker, directory: Path) -> Iterator[Program]:
    """Run the broker again that was killed."""
    with running("broker", directory / "broker.toml", broker.http, "/livez") as again:
        yield again


async def test_each_record_is_stored_once_though_broker_and_agent_are_killed(
    tmp_path: Path,
) -> None:
    fill_spool(tmp_path / "spool.db")
    with ExitStack() as stack:
        broker = stack.enter_context(running_broker(tmp_path))
        place = stack.enter_context(running_place(tmp_path, broker.agents))
        wait_for_records(place.agent, RECORDS - 200)
        broker.kill()
        left = unstored(tmp_path)
        stack.enter_context(restarted(broker, tmp_path))
        wait_for_records(place.agent, max(0, left - 200))
        place.agent.kill()

        config, http = tmp_path / "agent.toml", place.agent.http
        with running("agent", config, http) as agent:
            wait_for_records(agent, 0)

    assert 0 < left < RECORDS, "killed in the middle"
    assert await stored(f"sqlite:///{tmp_path}/state.db") == list(range(1, RECORDS + 1))
    assert unstored(tmp_path) == 0


async def test_a_state_that_is_full_costs_no_record(tmp_path: Path) -> None:
    fill_spool(tmp_path / "spool.db")
    with running_broker(tmp_path) as broker:
        state = tmp_path / "state.db"
        wait_until(state.exists, lambda: "there is no state", PATIENCE_S)
        limit_files(broker, str(200 * 1024))
        with running_place(tmp_path, broker.agents) as place:
            wait_until(
                lambda: broker.metric("dialgate_broker_state_failing") == 1,
                lambda: "the state does not fail",
                PATIENCE_S,
            )
            assert unstored(tmp_path) > 0
            limit_files(broker, "unlimited")
            wait_for_records(place.agent, 0)
            assert broker.metric("dialgate_broker_state_failing") == 0

    assert await stored(f"sqlite:///{tmp_path}/state.db") == list(range(1, RECORDS + 1))


async def test_while_the_spool_is_full_the_phone_rings_and_nobody_answers(tmp_path: Path) -> None:
    """It counts as full when nine tenths of what it may hold can't be stored."""
    fill_spool(tmp_path / "spool.db")
    with running_broker(tmp_path) as broker:
        limit_files(broker, "0")
        with running_place(
            tmp_path, broker.agents, state="disabled", spool_records_max=RECORDS
        ) as place:
            assert await heard(place.dial, 3.0) == b""

            broker.kill()
            with restarted(broker, tmp_path):  # There is room again.
                await until(place.is_idle, "the port's being ready", PATIENCE_S)
                async with place.call():
                    await until(lambda: place.is_("authenticating"), "an answer", PATIENCE_S)
                wait_for_records(place.agent, 0)


async def heard(dial: int, for_s: float) -> bytes:
    """Dial, hang up after some rings, and return what was to be heard."""
    reader, writer = await asyncio.open_connection("127.0.0.1", dial)
    try:
        async with asyncio.timeout(for_s):
            return await reader.read(100)
    except TimeoutError:
        return b""
    finally:
        writer.close()


async def test_a_postgresql_that_crashes_and_comes_back_costs_no_record(
    tmp_path: Path, postgresql: PostgreSQL
) -> None:
    url, records = postgresql.database(), 4 * RECORDS
    fill_spool(tmp_path / "spool.db", records)
    with (
        running_broker(tmp_path, state=url) as broker,
        running_place(tmp_path, broker.agents) as place,
    ):
        wait_for_records(place.agent, records - 100)
        postgresql.stop(signal.SIGQUIT)
        try:
            wait_until(
                lambda: (
                    broker.metric("dialgate_broker_state_failing") == 1 or unstored(tmp_path) == 0
                ),
                lambda: "nobody notices",
                PATIENCE_S,
            )
            left = unstored(tmp_path)
        finally:
            postgresql.start()
        wait_for_records(place.agent, 0)

    assert left > 0, "stopped in the middle"
    assert await stored(url) == list(range(1, records + 1))


def limit_files(program: Program, size: str) -> None:
    """Let the program write no file beyond `size` bytes, as on a full disk."""
    pid = str(program.process.pid)
    subprocess.run(["prlimit", f"--fsize={size}:", "--pid", pid], check=True)
