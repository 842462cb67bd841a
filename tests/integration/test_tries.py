"""Tries against real workers that are killed meanwhile: checked ≤ charged ≤ submitted (I5).

What callers submitted is counted by them, what was charged stands in the state, what was checked in
a file that the workers write before each check.  GUESSES says how many; `./dev prove tries`
takes 2,000.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import sqlite3
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Final

import pytest

from tests.integration.peers import (
    COMPLETE,
    END_REPLY,
    FAILURE,
    LOST,
    RECEIVE,
    REFUSED,
    SEND,
    SUCCESS,
    Agent,
    Cast,
    stage,
    until,
)
from tests.integration.processes import (
    Broker,
    Program,
    dialgate,
    free_port,
    running_broker,
)

GUESSES: Final = int(os.environ.get("GUESSES", "150"))
PORTS: Final = 8
USERS: Final = 20
KILL_AFTER: Final = 12
"""Checks after which the next worker is killed, in the middle of some more."""
CALL_S: Final = 30.0


class Workers:
    """Two workers with one state; one or the other is killed and started again."""

    def __init__(self, directory: Path, broker: Broker) -> None:
        self.kills = 0
        self.broker = broker
        self.state = directory / "state.db"
        self.config: list[Path] = []
        self.count = directory / "count"
        self.count.touch()
        self._programs: list[Program] = []
        self._http = [f"127.0.0.1:{free_port()}" for _ in range(2)]
        for number, http in enumerate(self._http):
            place = directory / f"worker-{number}"
            place.mkdir()
            config = place / "worker.toml"
            config.write_text(f"""
                [cluster]
                state = "sqlite:///{self.state}"
                keys = "{directory}/keys"
                [worker]
                name = "worker-{number}"
                brokers = ["{broker.workers}"]
                http = "{http}"
                insecure = true
                [[policies]]
                authenticators = ["local"]
                tries = 10
                retry_delay_s = 0
                [authenticators.local]
                kind = "local"
                [lockout]
                place_tries = {LOCKS_AT}
                user_tries = 100000
            """)
            self.config.append(config)

    def start(self, number: int) -> Program:
        """Start a worker; it serves when it is ready."""
        os.environ["COUNT"] = str(self.count)
        command = (sys.executable, "-m", "tests.integration.counting_worker")
        program = Program("worker", self.config[number], self._http[number], command)
        self._programs.append(program)
        return program

    async def up(self, program: Program) -> None:
        """Wait until a worker serves."""
        await asyncio.to_thread(program.wait_for)

    async def kill_in_turn(self, alive: list[Program]) -> None:
        """Kill one after the other, each when the other serves, for ever."""
        for number in itertools.cycle((0, 1)):
            checked = self.checked
            await self.checks(checked + KILL_AFTER)
            alive[number].kill()
            self.kills += 1
            alive[number] = self.start(number)
            await self.up(alive[number])

    async def checks(self, number: int) -> None:
        """Wait until so many checks have begun."""
        await until(lambda: self.checked >= number, f"{number} checks", CALL_S)

    def stop(self) -> None:
        for program in self._programs:
            if program.is_running:
                program.kill()

    @property
    def checked(self) -> int:
        return self.count.stat().st_size

    @property
    def charged(self) -> int:
        with closing(sqlite3.connect(self.state)) as state:
            row = state.execute("SELECT sum(charged) FROM tries WHERE place = ''").fetchone()
        return int(row[0] or 0)


LOCKS_AT: Final = 1000
"""Failed tries of a user: more than any has here, so that every guess counts."""


class Guesser:
    """Somebody who guesses at one port, and goes on whatever happens to the workers."""

    def __init__(self, agent: Agent, hport: str, seen: Counter[str]) -> None:
        self._agent = agent
        self._hport = hport
        self._seen = seen

    async def guess(self, users: itertools.cycle[bytes]) -> None:
        """Guess until all guesses are made."""
        while self._seen["submitted"] < GUESSES:
            await self._call(users)

    async def _call(self, users: itertools.cycle[bytes]) -> None:
        agent, seen = self._agent, self._seen
        dialog = await agent.begin(self._hport)
        attempt, seq, cookie, owner = 1, 0, b"", b""
        while True:
            message = await agent.peer.next(CALL_S)
            if message[1:3] != (dialog, attempt):
                continue
            body = message.body
            if message.verb == LOST:
                seen["lost"] += 1
                attempt += 1
                await agent.begin(self._hport, dialog, attempt, seq=seq, cookie=cookie, owner=owner)
            elif message.verb == SEND:
                seq, owner = body["seq"], body["worker"]
            elif message.verb == RECEIVE:
                seq, owner, cookie = body["seq"], body["worker"], body["cookie"]
                is_guess = body["prompt"] == b"Password: "
                seen["submitted"] += is_guess
                await agent.received(message, b"wrong" if is_guess else next(users))
            elif message.verb == COMPLETE:
                seen[f"verdict {body['msg_id']}"] += 1
                await agent.end(dialog, attempt)
            elif message.verb in {REFUSED, END_REPLY}:
                return


@asynccontextmanager
async def house(directory: Path) -> AsyncIterator[tuple[Cast, Workers]]:
    """Give a broker's stage, and workers that are not started."""
    with running_broker(directory) as broker:
        workers = Workers(directory, broker)
        added = dialgate("users", "add", "ann", "--config", workers.config[0], stdin="the secret\n")
        assert added.returncode == 0, added.stderr
        try:
            async with stage(broker.agents, broker.workers) as cast:
                yield cast, workers
        finally:
            workers.stop()


@pytest.mark.timeout(600)
async def test_no_guess_is_checked_that_is_not_charged_whatever_is_killed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: Counter[str] = Counter()
    users = itertools.cycle(b"user%d" % number for number in range(USERS))
    async with house(tmp_path) as (cast, workers):
        alive = [workers.start(0), workers.start(1)]
        for program in alive:
            await workers.up(program)
        killing = asyncio.create_task(workers.kill_in_turn(alive))
        guessers = [
            Guesser(await cast.open_agent(), f"oslo/{number}", seen) for number in range(PORTS)
        ]
        await asyncio.gather(*(guesser.guess(users) for guesser in guessers))
        killing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await killing
        workers.stop()
        figures = (
            f"{seen['submitted']} submitted, {workers.charged} charged, {workers.checked} checked; "
            f"{workers.kills} kills, {seen['lost']} dialogs begun again"
        )
        with capsys.disabled():
            sys.stderr.write(f"\n{figures}\n")

        assert workers.checked <= workers.charged <= seen["submitted"]
        assert workers.checked > GUESSES / 2
        assert workers.kills > 0
        assert seen["lost"] > 0
        assert seen[f"verdict {SUCCESS}"] == 0


async def verdict_of(agent: Agent, hport: str, *guesses: bytes) -> int:
    """Call as ann, and return the verdict's msg_id."""
    await agent.peer.settled()  # Nothing is left of the call before.
    verdict = await agent.call(
        hport, {b"login: ": [b"ann"] * 10, b"Password: ": [*guesses, *[b"wrong"] * 10]}, CALL_S
    )
    msg_id: int = verdict.complete.body["msg_id"]
    return msg_id


async def test_a_lock_outlives_its_worker_and_holds_at_every_port_and_site(
    tmp_path: Path,
) -> None:
    async with house(tmp_path) as (cast, workers):
        for config in workers.config:
            text = config.read_text().replace(f"place_tries = {LOCKS_AT}", "place_tries = 3")
            config.write_text(text.replace("tries = 10\n", "tries = 3\n"))
        first = workers.start(0)
        await workers.up(first)
        oslo = await cast.open_agent()
        assert await verdict_of(oslo, "oslo/1") == FAILURE  # three wrong guesses
        first.kill()
        # Until the broker has noticed, a dialog may be given to it, and be lost.
        await until(
            lambda: not workers.broker.metric("dialgate_broker_sessions", role="worker"),
            "the broker's noticing",
        )
        await workers.up(workers.start(1))
        bergen = await cast.open_agent(site="bergen")

        assert await verdict_of(oslo, "oslo/1", b"the secret") == FAILURE
        assert await verdict_of(bergen, "bergen/9", b"the secret") == FAILURE

        unlocked = await asyncio.to_thread(
            dialgate, "users", "unlock", "ann", "--config", workers.config[0]
        )
        assert unlocked.returncode == 0, unlocked.stderr
        assert await verdict_of(bergen, "bergen/9", b"the secret") == SUCCESS
