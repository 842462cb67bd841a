"""A real broker, worker and agent whose lines are those of a terminal server in the test itself.

So a test has the far end of each line in its hands: modem, DCD, telephone.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final

from dialgate.records import CallRecord, read_calls
from tests.integration.peers import until
from tests.integration.places import console
from tests.integration.processes import (
    Broker,
    Program,
    dialgate,
    free_port,
    running,
    running_broker,
    running_worker,
)
from tests.port_agents.terminal_server import ServedLine, TerminalServer

__all__ = ["Served", "running_centre", "serving"]

PATIENCE_S: Final = 45.0
LOOK_S: Final = 0.1


class Served:
    """The cluster; `serving` makes one and ends it."""

    def __init__(
        self, directory: Path, centre: Broker, http: str, lines: Mapping[str, ServedLine]
    ) -> None:
        self.directory: Final = directory
        self.centre: Final = centre
        self.lines: Final = lines
        """By HPORT."""
        self.agent: Program
        self.ports: dict[str, dict[str, Any]] = {}
        """What the broker's API last said of each port."""
        self._http = http

    # ------------------------------------------------------------------ what is to be seen

    async def look(self) -> None:
        """Ask the broker for its ports again and again."""
        while True:
            _, text = await asyncio.to_thread(self.centre.get, "/api/v1/ports")
            self.ports = {port["hport"]: port for port in json.loads(text)["ports"]}
            await asyncio.sleep(LOOK_S)

    async def until(self, hport: str, state: str) -> dict[str, Any]:
        """Wait until a port is in a state; return what is told of it."""
        try:
            await until(lambda: self._told(hport, "state") == state, state, PATIENCE_S)
        except AssertionError as error:
            raise AssertionError(f"{hport}: {error}; it is {self.ports.get(hport)}") from None
        return self.ports[hport]

    async def until_counted(self, hport: str, what: str, number: int = 1) -> dict[str, Any]:
        """Wait until a port has counted so many of `what`; return what is told of it."""
        await until(
            lambda: (self._told(hport, "counters") or {}).get(what) == number,
            f"{number} {what} of {hport}",
            PATIENCE_S,
        )
        return self.ports[hport]

    async def until_ended(self, hport: str, calls: int = 1) -> str:
        """Wait until so many calls on a port are over; return why the last one is."""
        await until(lambda: len(self.stops(hport)) == calls, f"{hport}'s record", PATIENCE_S)
        return self.stops(hport)[0].facts.disconnect

    def stops(self, hport: str) -> list[CallRecord]:
        """Return the stop records of the calls on a port, the newest first."""
        calls = read_calls(self.directory / "spool.db")
        return [call for call in calls if call.facts.hport == hport and call.kind == "stop"]

    def _told(self, hport: str, what: str) -> Any:
        return self.ports.get(hport, {}).get(what)

    # ------------------------------------------------------------------ what is done

    async def command(self, *arguments: str) -> tuple[int, str]:
        """Run a command of dialgate's that asks the broker; return its status and what it said."""
        config = self.centre.config
        done = await asyncio.to_thread(
            dialgate, *arguments, "--config", config, patience_s=PATIENCE_S
        )
        return done.returncode, done.stdout + done.stderr

    async def log_in(self, hport: str) -> ServedLine:
        """Call a port that is idle, and give name and password."""
        await self.until(hport, "idle")
        line = self.lines[hport]
        line.ring()
        await line.until_screen(b"login: ", PATIENCE_S)
        line.type(b"ann\r")
        await line.until_screen(b"Password: ", PATIENCE_S)
        line.type(b"xyzzy\r")
        return line

    @asynccontextmanager
    async def running_agent(self) -> AsyncIterator[Program]:
        """Run the agent while the context lasts, again if it has run before."""
        context = running("agent", self.directory / "agent.toml", self._http, "/livez")
        self.agent = await asyncio.to_thread(context.__enter__)
        try:
            yield self.agent
        finally:
            await asyncio.to_thread(context.__exit__, None, None, None)


@contextmanager
def running_centre(directory: Path) -> Iterator[Broker]:
    """Run broker and worker, who know ann; their files are in `directory`."""
    with running_broker(directory) as broker:
        worker = running_worker(directory, broker.workers, ready="/livez", insecure=True)
        with worker:
            config = directory / "worker.toml"
            done = dialgate("users", "add", "ann", "--config", config, stdin="xyzzy\n")
            assert done.returncode == 0, done.stderr
            yield broker


@asynccontextmanager
async def serving(
    directory: Path,
    centre: Broker,
    ports: Mapping[str, Mapping[str, Any]],
    services: str = "",
    agent: str = "",
) -> AsyncIterator[Served]:
    """Run all of a site but the agent; what is wrong with a line may be set before that runs.

    Args:
        directory: for the agent's files.
        centre: its broker.
        ports: each port's own settings, by HPORT.
        services: tables `[services.NAME]` beside `console`'s.
        agent: lines of the table `[agent]`.
    """
    async with AsyncExitStack() as stack:
        consoles, http = stack.enter_context(console()), f"127.0.0.1:{free_port()}"
        server = await stack.enter_async_context(TerminalServer(len(ports), ring_interval_s=0.5))
        tables = [
            "[[agent.ports]]\n"
            + _lines({"hport": hport, "device": device, "service": "console", **options})
            for (hport, options), device in zip(ports.items(), server.devices, strict=True)
        ]
        table = {
            "name": "oslo-1",
            "site": "oslo",
            "brokers": [centre.agents],
            "http": http,
            "spool": f"{directory}/spool.db",
            "insecure": True,
        }
        (directory / "agent.toml").write_text(
            f"[agent]\n{_lines(table)}{agent}\n{''.join(tables)}{services}\n"
            f'[services.console]\nconnect = "tcp://127.0.0.1:{consoles}"\n'
        )
        lines = dict(zip(ports, server.lines, strict=True))
        served = Served(directory, centre, http, lines)
        looking = asyncio.create_task(served.look())
        stack.callback(looking.cancel)
        yield served


def _lines(table: Mapping[str, object]) -> str:
    return "".join(f"{key} = {json.dumps(value)}\n" for key, value in table.items())
