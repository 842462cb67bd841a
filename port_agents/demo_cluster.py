"""The demo's cluster: its configuration, and its programs as processes that are started again.

Not `dialgate node`, which runs what one file names: the demo has two workers, keeps each program's
log in a file, and must be able to say what a program said last.

Invariant: a program that was started is ended, by force if need be, before `Programs` is left.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp

from dialgate.errors import DialgateError
from dialgate.lifecycle import SUPERVISOR
from port_agents.callers import User

__all__ = ["SITE", "Cluster", "Program", "Programs", "add_user", "new_user", "write_cluster"]

SITE: Final = "demo"
START_S: Final = 40.0
"""How long a program may take until it is ready."""
STOP_S: Final = 4.0
"""How long all programs together may take to end."""
PAUSE_S_MIN: Final = 0.5
PAUSE_S_MAX: Final = 8.0
"""Pause before a program is started again; it doubles up to here."""
STEADY_S: Final = 10.0
"""A program that ran so long is started again after the shortest pause."""
READY_POLL_S: Final = 0.1
READY_S: Final = 2.0
"""How long an answer about readiness may take."""
LAST_WORDS_LINES: Final = 12

_DIALGATE: Final = (sys.executable, "-m", "dialgate")


class StartError(DialgateError):
    """A program of the demo did not start."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """Where everything of the demo's cluster is."""

    config: Path
    """The file of broker, agent and worker-1, which any `dialgate` command takes."""
    second_config: Path
    """The file of worker-2."""
    broker_http: str
    agent_http: str
    worker_https: tuple[str, str]


def write_cluster(directory: Path, devices: Sequence[Path], console_port: int) -> Cluster:
    """Write the two configuration files into `directory`, with free ports of 127.0.0.1."""
    agents, workers, *https = free_ports(6)
    quoted = json.dumps
    cluster = f"""\
[cluster]
name = "demo"
state = {quoted(f"sqlite:///{directory}/state.db")}
keys = {quoted(str(directory / "keys"))}
"""
    policy = """\
[[policies]]
authenticators = ["local"]
banner = "dialgate demo: authorised callers only"
[authenticators.local]
kind = "local"
"""
    ports = "".join(
        f"""\
[[agent.ports]]
hport = "{SITE}/{number}"
device = {quoted(str(device))}
init = ["ATZ", "ATE0Q0V1X4S0=0S12=10+VCID=1"]
dcd = "ignore"
escape_guard_ms = 250
service = "console"
"""
        for number, device in enumerate(devices, start=1)
    )

    def worker(number: int) -> str:
        return f"""\
[worker]
name = "worker-{number}"
brokers = ["tcp://127.0.0.1:{workers}"]
http = "127.0.0.1:{https[1 + number]}"
insecure = true
"""

    broker_and_agent = f"""\
[broker]
name = "broker-1"
agents = "tcp://127.0.0.1:{agents}"
workers = "tcp://127.0.0.1:{workers}"
http = "127.0.0.1:{https[0]}"
insecure = true
[agent]
name = "demo-agent"
site = "{SITE}"
brokers = ["tcp://127.0.0.1:{agents}"]
http = "127.0.0.1:{https[1]}"
spool = {quoted(str(directory / "spool.db"))}
insecure = true
{ports}[services.console]
connect = "tcp://127.0.0.1:{console_port}"
"""
    first, second = directory / "dialgate.toml", directory / "worker-2.toml"
    first.write_text(cluster + broker_and_agent + worker(1) + policy)
    second.write_text(cluster + worker(2) + policy)
    addresses = [f"127.0.0.1:{port}" for port in https]
    return Cluster(first, second, addresses[0], addresses[1], (addresses[2], addresses[3]))


def free_ports(count: int) -> list[int]:
    """Return TCP ports of 127.0.0.1 that nobody listens on at the moment."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def new_user(name: str) -> User:
    """Return a user with a random password that is easily read and typed."""
    syllables = [secrets.choice("bdfgklmnprstvz") + secrets.choice("aeiou") for _ in range(4)]
    return User(name, f"{''.join(syllables)}-{secrets.randbelow(90) + 10}")


async def add_user(config: Path, user: User) -> None:
    """Add a user to the cluster's state, as an operator does.

    Raises:
        StartError: it was not done.
    """
    process = await asyncio.create_subprocess_exec(
        *(*_DIALGATE, "users", "add", user.name, "--config", str(config)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(START_S):
            _, said = await process.communicate(f"{user.password}\n".encode())
    except TimeoutError:
        raise StartError(f"dialgate users add {user.name}: not done in {START_S:g} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise StartError(said.decode(errors="replace").strip())


class Program:
    """One program, started again whenever it ends."""

    def __init__(self, name: str, command: str, config: Path, http: str) -> None:
        self.name: Final = name
        self.log: Final = config.with_name(f"{name}.log")
        """Where its standard error goes."""
        self.starts = 0
        self._command = (*_DIALGATE, command, "--config", str(config))
        self._http = http
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = asyncio.Event()

    @property
    def pid(self) -> int:
        """Its process, 0 while there is none."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else 0

    async def keep(self) -> None:
        """Run the program, again and again, until it is stopped."""
        loop = asyncio.get_running_loop()
        pause_s = PAUSE_S_MIN
        while not self._stopping.is_set():
            began_at = loop.time()
            with self.log.open("ab") as log:
                self._process = await asyncio.create_subprocess_exec(
                    *self._command,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env={
                        **{key: os.environ[key] for key in os.environ if key != "NOTIFY_SOCKET"},
                        SUPERVISOR: str(os.getpid()),
                    },
                    # Ctrl-C at the terminal is the demo's to pass on.
                    start_new_session=True,
                )
            self.starts += 1
            await self._process.wait()
            steady = loop.time() - began_at >= STEADY_S
            pause_s = PAUSE_S_MIN if steady else min(2 * pause_s, PAUSE_S_MAX)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause_s)

    async def wait_until_ready(self, http: aiohttp.ClientSession) -> None:
        """Return when /readyz is answered 200.

        Raises:
            StartError: the program ended, or is not ready in `START_S`.
        """
        try:
            async with asyncio.timeout(START_S):
                while not await self._is_ready(http):
                    if self._process is not None and self._process.returncode is not None:
                        raise StartError(f"{self.name} did not start:\n{self.last_words()}")
                    await asyncio.sleep(READY_POLL_S)
        except TimeoutError:
            said = self.last_words()
            raise StartError(f"{self.name} is not ready in {START_S:g} s:\n{said}") from None

    async def _is_ready(self, http: aiohttp.ClientSession) -> bool:
        try:
            timeout = aiohttp.ClientTimeout(total=READY_S)
            async with http.get(f"http://{self._http}/readyz", timeout=timeout) as answer:
                return answer.ok
        except (aiohttp.ClientError, TimeoutError):
            return False

    def last_words(self) -> str:
        """Return the end of its log."""
        with suppress(FileNotFoundError):
            lines = self.log.read_text(errors="replace").splitlines()
            return "\n".join(f"  {line}" for line in lines[-LAST_WORDS_LINES:])
        return "  it said nothing"

    def signal(self, *numbers: signal.Signals) -> None:
        """Send signals to the process, if there is one, and start it no more."""
        self._stopping.set()
        for number in numbers:
            if self._process is not None and self.pid:
                with suppress(ProcessLookupError):
                    self._process.send_signal(number)


class Programs:
    """All programs of the demo."""

    def __init__(self, cluster: Cluster) -> None:
        one, two = cluster.worker_https
        self.all: Final = (
            Program("broker", "broker", cluster.config, cluster.broker_http),
            Program("worker-1", "worker", cluster.config, one),
            Program("worker-2", "worker", cluster.second_config, two),
            Program("agent", "agent", cluster.config, cluster.agent_http),
        )
        self._keepers: list[asyncio.Task[None]] = []

    async def start(self, http: aiohttp.ClientSession) -> None:
        """Start all and return when all are ready.

        Raises:
            StartError: one is not.
        """
        self._keepers = [asyncio.create_task(program.keep()) for program in self.all]
        for program in self.all:
            await program.wait_until_ready(http)

    async def stop(self) -> None:
        """End all within `STOP_S`: the agent first, while there is still a broker to tell."""
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_S):
                for program in reversed(self.all):
                    # The first asks for a drain, which waits for callers; the second does not.
                    program.signal(signal.SIGTERM, signal.SIGINT)
                    if program.name == "agent":
                        await self._wait_for(self._keepers[-1:])
                await self._wait_for(self._keepers)
        self.kill()
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)

    def kill(self) -> None:
        """End all at once."""
        for program in self.all:
            program.signal(signal.SIGKILL)

    @staticmethod
    async def _wait_for(keepers: Sequence[asyncio.Task[None]]) -> None:
        if keepers:
            await asyncio.wait(keepers)
