"""A whole cluster of real processes, of any size: brokers, workers that share a state, an agent.

Every program has a directory of its own, so that two of a kind get on.  Nothing is drained at the
end: whoever is still there is stopped at once.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final

from port_agents.brokers import rendezvous
from tests.integration.places import Caller, console
from tests.integration.processes import (
    DIALGATE,
    PROJECT,
    Broker,
    Program,
    dialgate,
    free_port,
    free_ports,
    wait_until,
    write_broker_config,
)

__all__ = ["AGENT", "Cluster", "a_cluster"]

AGENT: Final = "oslo-1"
_POLICY: Final = """
[[policies]]
authenticators = ["local"]
retry_delay_s = 0
[authenticators.local]
kind = "local"
"""


class Cluster:
    """What runs, by name; `a_cluster` makes one and ends it."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self.directory = directory
        self.brokers: dict[str, Broker] = {}
        self.workers: dict[str, Program] = {}
        self.agent: Program
        self.dial = 0
        """Line k answers at this TCP port + k."""
        self.lines = 0
        self._stack = stack
        self._starting: list[tuple[Program, str]] = []
        """Programs that were started, and what says that they are ready."""

    # ------------------------------------------------------------------ programs

    def broker(self, name: str, **settings: int | str) -> Broker:
        """Start a broker, or start it again where it was; `ready` waits for it."""
        known = self.directory / name / "broker.toml"
        if name in self.brokers:
            old = self.brokers[name]
            table: dict[str, int | str]
            table = {"http": old.http, "agents": old.agents, "workers": old.workers}
        else:
            known.parent.mkdir()
            table = write_broker_config(
                known.parent, **{"name": name, "insecure": True, **settings}
            )
        broker = Broker(known, table)
        self.brokers[name] = broker
        self._started(broker, "/readyz")
        return broker

    def worker(
        self,
        name: str,
        brokers: Sequence[Broker] = (),
        *,
        state: str = "state.db",
        policy: str = _POLICY,
        command: Sequence[str | Path] = (),
        **settings: Any,
    ) -> Program:
        """Start a worker, or start it again; it is `ready` once it has a session.

        `state` is a URL, or the name of a file.
        """
        config = self.directory / name / "worker.toml"
        if not config.exists():
            config.parent.mkdir()
            table = {
                "name": name,
                "brokers": [broker.workers for broker in brokers],
                "http": f"127.0.0.1:{free_port()}",
                "insecure": True,
                **settings,
            }
            url = state if "://" in state else f"sqlite:///{self.directory}/{state}"
            config.write_text(
                f'[cluster]\nkeys = "{self.directory}/keys"\nstate = "{url}"\n'
                f"[worker]\n{_lines(table)}{policy}"
            )
        http = str(_value(config, "http"))
        program = Program("worker", config, http, command)
        self.workers[name] = program
        self._started(program, "/readyz")
        return program

    def start_agent(
        self,
        brokers: Sequence[Broker],
        *,
        local_brokers: Sequence[Broker] = (),
        lines: int = 1,
        ports: Mapping[int, Mapping[str, object]] | None = None,
        services: str = "",
        **settings: Any,
    ) -> Program:
        """Start the agent of a bank of simulated modems; each line leads to a console.

        Args:
            brokers: where it calls.
            local_brokers: likewise, of the site.
            lines: how many.
            ports: by line, what its port has otherwise.
            services: tables of others than `console`.
            settings: of [agent].
        """
        self._start_bank(lines)
        config = self.directory / "agent.toml"
        table = {
            "name": AGENT,
            "site": "oslo",
            "brokers": [broker.agents for broker in brokers],
            "local_brokers": [broker.agents for broker in local_brokers],
            "http": f"127.0.0.1:{free_port()}",
            "spool": f"{self.directory}/spool.db",
            "insecure": True,
            **settings,
        }
        tables = "".join(
            "[[agent.ports]]\n"
            + _lines(
                {
                    "hport": f"oslo/{number}",
                    "device": f"{self.directory}/ttyM{number}",
                    "dcd": "ignore",
                    "init": ["ATE0Q0V1X4S0=0S12=2"],
                    "escape_guard_ms": 80,
                    "service": "console",
                    **(ports or {}).get(number, {}),
                }
            )
            for number in range(1, lines + 1)
        )
        consoles = self._stack.enter_context(console())
        service = f'[services.console]\nconnect = "tcp://127.0.0.1:{consoles}"\n'
        config.write_text(f"[agent]\n{_lines(table)}{tables}{service}{services}")
        self.lines = lines
        return self.restart_agent()

    def restart_agent(self) -> Program:
        """Start the agent, again if it has run before; `ready` waits for its lines, too."""
        config = self.directory / "agent.toml"
        self.agent = Program("agent", config, str(_value(config, "http")))
        self._started(self.agent, "/livez")
        return self.agent

    def ready(self) -> None:
        """Wait for all that was started."""
        for program, path in self._starting:
            program.wait_for(path)
            if program.name == "agent":
                wait_until(
                    lambda: self.idle_lines() == self.lines,
                    lambda: self.agent.stderr[-2000:],
                    40.0,
                )
        self._starting.clear()

    def add_user(self, name: str, password: str, worker: str) -> None:
        """Give a user to the state that `worker` uses."""
        config = self.directory / worker / "worker.toml"
        done = dialgate("users", "add", name, "--config", config, stdin=f"{password}\n")
        assert done.returncode == 0, done.stderr

    # ------------------------------------------------------------------ what is to be seen

    @asynccontextmanager
    async def call(self, line: int = 1) -> AsyncIterator[Caller]:
        """Dial a line, and hang up at the end."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.dial + line)
        caller = Caller(reader, writer)
        try:
            yield caller
        finally:
            caller.hang_up()

    def idle_lines(self) -> float:
        """Return how many lines are ready for a call."""
        return self.agent.metric("dialgate_ports", state="idle")

    def rows(self, what: str, broker: str) -> list[dict[str, Any]]:
        """Return what a broker's API lists under `what`."""
        status, text = self.brokers[broker].get(f"/api/v1/{what}")
        assert status == 200, text
        rows: list[dict[str, Any]] = json.loads(text)[what]
        return rows

    def owner(self, broker: str) -> str:
        """Return the name of the worker that has the one dialog at `broker`; "" if none has."""
        names = [row["worker"] for row in self.rows("dialogs", broker)]
        return names[0] if len(names) == 1 else ""

    def has_agent(self, broker: str) -> bool:
        """Whether the agent has a session at `broker`."""
        return any(row["connected"] for row in self.rows("agents", broker))

    def agent_order(self) -> list[str]:
        """Return the brokers' names in the agent's order, the preferred first."""
        return sorted(
            self.brokers,
            key=lambda name: rendezvous(AGENT, self.brokers[name].agents),
            reverse=True,
        )

    def home(self) -> str:
        """Return the name of the broker that the agent uses; "" while it has none, or moves."""
        homes = [name for name, x in self.brokers.items() if x.is_running and self.has_agent(name)]
        return homes[0] if len(homes) == 1 else ""

    # ------------------------------------------------------------------ parts

    def _started(self, program: Program, path: str) -> None:
        self._stack.callback(program.stop)
        self._starting.append((program, path))

    def _start_bank(self, lines: int) -> None:
        self.dial = free_ports(lines) - 1
        where = ("--dial", f"127.0.0.1:{self.dial}", "--directory", self.directory)
        bank = subprocess.Popen(
            [*DIALGATE, "bank", "--ports", str(lines), *where],
            cwd=PROJECT,
            stdout=subprocess.DEVNULL,
        )
        self._stack.callback(bank.wait, 10)
        self._stack.callback(bank.terminate)
        last = self.directory / f"ttyM{lines}"
        wait_until(last.exists, lambda: "the bank has not all devices", 20.0)


@contextmanager
def a_cluster(directory: Path) -> Iterator[Cluster]:
    """Give a cluster without any program; what is started in it ends with the context."""
    with ExitStack() as stack:
        yield Cluster(directory, stack)


def _lines(table: Mapping[str, object]) -> str:
    return "".join(f"{key} = {json.dumps(value)}\n" for key, value in table.items())


def _value(config: Path, key: str) -> object:
    line = next(x for x in config.read_text().splitlines() if x.startswith(f"{key} = "))
    return json.loads(line.partition(" = ")[2])
