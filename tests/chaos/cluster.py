"""A cluster of real processes to be broken: brokers, workers, agents, a bank of modems.

Everything speaks CURVE, each peer reaches each broker through a link of its own (`proxy`), and as
root the last worker lives behind a network cable of its own (`network`).  Who is killed is started
again, as systemd would.

Invariant: what was started is ended with the context, by force if need be.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp

from dialgate.keys import create_directory, create_pair
from dialgate.state import open_state
from dialgate.users import add_user
from tests.chaos.network import Cable
from tests.chaos.proxy import Link
from tests.chaos.volume import Volume
from tests.integration.processes import PROJECT, free_port, free_ports

NOT_STARTED: Final = 1
"""Exit status of a program that can't have what it needs; its last line says what."""
RESTART_S: Final = 0.5
"""Until a killed program is started again: systemd's RestartSec is as short at best."""
START_S: Final = 40.0
STOP_S: Final = 20.0
POLL_S: Final = 0.1
LOCAL: Final = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Size:
    """How many of what there are."""

    brokers: int = 2
    workers: int = 3
    agents: int = 2
    lines: int = 4
    """Of each agent."""
    heartbeat_ms: int = 1000
    """Of the brokers: who is silent for three is lost."""


class Program:
    """One program, started again when it was killed.

    Args:
        role: the command: broker, worker, agent.
        name: its name in the cluster.
        config: its file; the log goes beside it.
        http: its HTTP address.
        cable: where it lives, if not on this machine's own network.
        code: the directory of the programs.
    """

    def __init__(
        self, role: str, name: str, config: Path, http: str, cable: Cable | None, code: Path
    ) -> None:
        self.role: Final = role
        self.name: Final = name
        self.log: Final = config.with_suffix(".log")
        self.http: Final = http
        self.crashes: list[str] = []
        """Ends that nobody asked for."""
        self.starts_without_disk = 0
        """Starts that it gave up, saying so, since the disk was full."""
        prefix = cable.prefix if cable is not None else ()
        self._command = (*prefix, sys.executable, "-m", "dialgate", role, "--config", str(config))
        self._code = code
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = False
        self._killed = False

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def keep(self) -> None:
        """Run, and start again after each end, until it is stopped."""
        while not self._stopping:
            self._killed = False
            with self.log.open("ab") as log:
                self._process = await asyncio.create_subprocess_exec(
                    *self._command,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=self._code,
                    env={key: text for key, text in os.environ.items() if key != "NOTIFY_SOCKET"},
                    start_new_session=True,
                )
            status = await self._process.wait()
            if status == NOT_STARTED and "disk" in self.last_words():
                self.starts_without_disk += 1
            elif not self._killed and not self._stopping:
                self.crashes.append(f"{self.name} ended with {status}: {self.last_words()}")
            if not self._stopping:
                await asyncio.sleep(RESTART_S)

    def send(self, number: signal.Signals) -> None:
        """Send a signal, if there is a process; SIGKILL counts as asked for."""
        if self._process is not None and self._process.returncode is None:
            self._killed = self._killed or number is signal.SIGKILL
            self._process.send_signal(number)

    async def stop(self, *signals: signal.Signals) -> None:
        """Let it end: in good order by one signal, at once by two."""
        self._stopping = True
        self.send(signal.SIGCONT)
        for number in signals:
            self.send(number)
        if self._process is not None:
            try:
                await asyncio.wait_for(self._process.wait(), STOP_S)
            except TimeoutError:
                self.crashes.append(f"{self.name} did not stop: {self.last_words()}")

    def kill(self) -> None:
        self._stopping = True
        self.send(signal.SIGCONT)
        self.send(signal.SIGKILL)

    def last_words(self) -> str:
        """Return the end of its log."""
        lines = self.log.read_text(errors="replace").splitlines()
        return " / ".join(lines[-3:])[-500:]


class Cluster:
    """Where everything is.

    Args:
        directory: an empty one, for everything.
        size: how many of what there are.
        code: the directory of a program's code by the program's name, where it is not this one.
    """

    def __init__(self, directory: Path, size: Size, code: Mapping[str, Path]) -> None:
        self.directory: Final = directory
        self.size: Final = size
        self.programs: Final[list[Program]] = []
        self.links: Final[list[Link]] = []
        self.cable: Cable | None = None
        self.spools: Final = Volume(directory / "spools")
        """The first agent's spool is here, on a small disk."""
        self.state: Final = Volume(directory / "state")
        """The cluster's state is here, on a small disk."""
        self.history: Final = directory / "services.jsonl"
        self.http: aiohttp.ClientSession
        self._code = code
        self._dial = free_ports(size.agents * size.lines) - 1

    def of(self, role: str) -> list[Program]:
        """Return the programs of a role."""
        return [each for each in self.programs if each.role == role]

    @property
    def state_file(self) -> Path:
        return self.state.path / "state.db"

    @property
    def lines(self) -> list[tuple[str, tuple[str, int]]]:
        """The HPORT and the telephone number of each line."""
        size = self.size
        return [
            (f"site-{agent}/{line}", (LOCAL, self._dial + (agent - 1) * size.lines + line))
            for agent in range(1, size.agents + 1)
            for line in range(1, size.lines + 1)
        ]

    @asynccontextmanager
    async def running(self, users: dict[str, str]) -> AsyncIterator[None]:
        """Run it all while the context lasts, from when every port waits for calls."""
        async with AsyncExitStack() as stack:
            stack.enter_context(self.spools.mounted())
            stack.enter_context(self.state.mounted())
            self.cable = stack.enter_context(Cable.laid())
            self.http = await stack.enter_async_context(aiohttp.ClientSession())
            await self._prepare(stack)
            self.history.touch()
            await self._add_users(users)
            await stack.enter_async_context(self._bank())
            keepers = [asyncio.create_task(each.keep()) for each in self.programs]
            owner = asyncio.create_task(self._keep_room())
            try:
                assert await self.until_idle(START_S), self.last_words()
                yield
            finally:
                for each in self.programs:
                    each.kill()
                await asyncio.gather(*keepers)
                owner.cancel()

    async def _keep_room(self) -> None:
        while True:
            for volume in (self.spools, self.state):
                volume.keep_room()
            await asyncio.sleep(POLL_S)

    async def stop(self) -> None:
        """End all programs: agents, who have records to tell of, in good order."""
        await asyncio.gather(*(each.stop(signal.SIGTERM) for each in self.of("agent")))
        for role in ("worker", "broker"):
            programs = self.of(role)
            await asyncio.gather(*(x.stop(signal.SIGTERM, signal.SIGINT) for x in programs))

    def last_words(self) -> str:
        """Return what each program said last."""
        return "\n".join(f"{each.name}: {each.last_words()}" for each in self.programs)

    async def until_idle(self, patience_s: float) -> bool:
        """Wait until every port of every agent waits for calls; return whether they do."""
        return await self._until(patience_s, "dialgate_ports", 'state="idle"', self.size.lines)

    async def until_stored(self, patience_s: float) -> bool:
        """Wait until brokers have stored all records of every agent; return whether they have."""
        return await self._until(patience_s, "dialgate_agent_records_unstored", "", 0)

    async def _until(self, patience_s: float, metric: str, label: str, value: float) -> bool:
        """Wait until a metric of every agent has a value."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                for agent in self.of("agent"):
                    while await self._metric(agent, metric, label) != value:  # noqa: ASYNC110
                        await asyncio.sleep(POLL_S)
                return True
        return False

    async def _metric(self, agent: Program, metric: str, label: str) -> float | None:
        """Return a sample of an agent's; None if it does not say."""
        try:
            async with self.http.get(
                f"http://{agent.http}/metrics", timeout=aiohttp.ClientTimeout(total=5)
            ) as answer:
                lines = (await answer.text()).splitlines()
        except (aiohttp.ClientError, TimeoutError):
            return None
        samples = [line for line in lines if re.match(rf"{metric}[ {{]", line) and label in line]
        return float(samples[0].split()[-1]) if samples else None

    async def port_states(self) -> dict[str, str]:
        """Return the state of each port, as the brokers were told last."""
        told: dict[str, tuple[bool, int, str]] = {}
        for broker in self.of("broker"):
            async with self.http.get(f"http://{broker.http}/api/v1/ports") as answer:
                for port in (await answer.json())["ports"]:
                    # One that the agent has left knows no better: its word is stale.
                    word = (port["stale"], port["since_ms"], port["state"])
                    told[port["hport"]] = min(word, told.get(port["hport"], word))
        return {hport: state for hport, (_, _, state) in told.items()}

    # Making it.

    async def _prepare(self, stack: AsyncExitStack) -> None:
        keys = self.directory / "keys"
        create_directory(keys)
        create_pair(keys, "broker", "broker-1", site="", hports=[])
        brokers = {f"broker-{n}": (free_port(), free_port()) for n in self._up_to("brokers")}
        for name in list(brokers)[1:]:
            create_pair(keys, "broker", name, site="", hports=[])
        for name, (agents, workers) in brokers.items():
            table = f"""
                agents = "tcp://{LOCAL}:{agents}"
                workers = "tcp://{LOCAL}:{workers}"
                heartbeat_ms = {self.size.heartbeat_ms}
            """
            self._add("broker", name, table)
        for number in self._up_to("workers"):
            name = f"worker-{number}"
            create_pair(keys, "worker", name, site="", hports=[])
            cable = self.cable if number == self.size.workers else None
            links = [await self._link(stack, name, to, brokers[to][1], cable) for to in brokers]
            self._add("worker", name, f"brokers = {json.dumps(links)}", cable=cable)
        for number in self._up_to("agents"):
            name, site = f"agent-{number}", f"site-{number}"
            create_pair(keys, "agent", name, site=site, hports=[f"{site}/*"])
            links = [await self._link(stack, name, to, brokers[to][0], None) for to in brokers]
            self._add("agent", name, self._agent_table(number, links))

    def _up_to(self, what: str) -> range:
        return range(1, getattr(self.size, what) + 1)

    async def _link(
        self, stack: AsyncExitStack, peer: str, broker: str, port: int, cable: Cable | None
    ) -> str:
        link = Link(f"{peer} to {broker}", (LOCAL, port))
        await stack.enter_async_context(link.served(cable.host if cable is not None else LOCAL))
        self.links.append(link)
        host, at = link.address
        return f"tcp://{host}:{at}#{broker}"

    def _add(self, role: str, name: str, table: str, cable: Cable | None = None) -> None:
        http = f"{LOCAL}:{free_port()}"
        config = self.directory / f"{name}.toml"
        config.write_text(f"""
            [cluster]
            keys = "{self.directory}/keys"
            state = "sqlite:///{self.state_file}"
            [{role}]
            name = "{name}"
            http = "{http}"
            {table}
            {_POLICY if role == "worker" else ""}
        """)
        code = self._code.get(name, PROJECT)
        self.programs.append(Program(role, name, config, http, cable, code))

    def _agent_table(self, number: int, links: list[str]) -> str:
        small = number == 1
        spool = (self.spools.path if small else self.directory) / f"agent-{number}.db"
        service = [sys.executable, "-I", "-S", str(Path(__file__).with_name("service.py"))]
        command = json.dumps([*service, str(self.history), str(self.directory)])
        first = (number - 1) * self.size.lines
        ports = "".join(
            f"""
            [[agent.ports]]
            hport = "site-{number}/{line}"
            device = "{self.directory}/modems/ttyM{first + line}"
            dcd = "ignore"
            init = ["ATZ", "ATE0Q0V1X4&C1&D2S0=0S7=3S12=2+VCID=1"]
            escape_guard_ms = 80
            answer_timeout_s = 5
            caller_id_wait_ms = 100
            service = "guarded"
            """
            for line in self._up_to("lines")
        )
        return f"""
            site = "site-{number}"
            brokers = {json.dumps(links)}
            spool = "{spool}"
            {ports}
            [services.guarded]
            command = {command}
        """

    async def _add_users(self, users: dict[str, str]) -> None:
        state = await open_state(f"sqlite:///{self.state_file}")
        try:
            for name, password in users.items():
                await add_user(state, name, password.encode())
        finally:
            await state.dispose()

    @asynccontextmanager
    async def _bank(self) -> AsyncIterator[None]:
        modems, count = self.directory / "modems", self.size.agents * self.size.lines
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "dialgate", "bank", "--ports", str(count)),
            *("--dial", f"{LOCAL}:{self._dial}", "--directory", str(modems)),
            stdout=asyncio.subprocess.DEVNULL,
            cwd=PROJECT,
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(START_S):
                while not (modems / f"ttyM{count}").exists():  # noqa: ASYNC110 - as above
                    await asyncio.sleep(POLL_S)
            yield
        finally:
            process.terminate()
            await process.wait()


_POLICY: Final = """
            [[policies]]
            authenticators = ["local"]
            login_timeout_s = 5
            retry_delay_s = 0.2
            [authenticators.local]
            kind = "local"
            [lockout]
            place_tries = 1000
            user_tries = 100000
"""
