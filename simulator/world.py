"""One cluster in virtual time: agents with modems and callers, brokers, workers, from one seed.

It puts the processes together and brings back those that died.  What they tell is in
`simulator.told`; what goes wrong, in `simulator.faults`; what must hold, in `simulator.watch` and
`dialgate.history`.

Invariant: nothing here reads a clock or a source of chance but the world's own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

from broker.limits import BrokerLimits
from port_agents.call_records import stop_of_interrupted
from simulator.agent_host import AgentHost
from simulator.broker_host import BrokerHost
from simulator.desk import Desk
from simulator.hosts import Host
from simulator.network import Network
from simulator.plan import Plan
from simulator.told import Told
from simulator.trace import Trace
from simulator.worker_host import WorkerHost

__all__ = ["World"]

REATTACH_S: Final = 15.0
DIALOG_S_MAX: Final = 90.0
RESTART_S: Final[Sequence[float]] = (0.2, 4.0)
"""Until a process that died by itself is back."""


class World(Told):
    """A cluster."""

    def __init__(self, plan: Plan, trace: Trace | None = None) -> None:
        super().__init__(plan, trace)
        self.network: Final = Network(self.timeline, self.random)
        self.faults: Final[Counter[str]] = Counter()
        self.broker_names: Final = [f"b{number}" for number in range(1, plan.brokers + 1)]
        self.worker_names: Final = [f"w{number}" for number in range(1, plan.workers + 1)]
        self._starters: Final[dict[str, Callable[[str], Host]]] = {
            "b": self._start_broker,
            "w": self._start_worker,
            "a": self._start_agent,
        }
        for name in (*self.broker_names, *self.worker_names, *self.agent_names):
            self.start(name)
        for telephone in self.telephones.values():
            telephone.dial_in(self.random.uniform(3, 3 + 60 / plan.calls))
        self.timeline.after(1.0, self._sweep)

    def run(self, until: float) -> None:
        """Let time pass, unless the world is broken."""
        self.timeline.run(until)

    # Processes.

    def start(self, name: str) -> None:
        """Start the process of this name, unless it runs."""
        if name not in self.hosts:
            self._starters[name[0]](name)

    def _start_broker(self, name: str) -> Host:
        host = BrokerHost(self, name, BrokerLimits(), self.table, self.state_fault)
        self.hosts[name] = host
        return host

    def _start_worker(self, name: str) -> Host:
        desk = Desk(self, lambda: self._die(name))
        host = WorkerHost(
            self,
            name,
            self.broker_names,
            desk.conduct,
            self.sealer,
            reattach_s=REATTACH_S,
            dialog_max_s=DIALOG_S_MAX,
        )
        self.hosts[name] = host
        host.turn(host.start)
        return host

    def _start_agent(self, name: str) -> Host:
        ours = {x: each for x, each in self.telephones.items() if each.agent == name}
        host = AgentHost(self, name, self.broker_names, ours, self, dialog_max_s=DIALOG_S_MAX)
        self.hosts[name] = host
        for call, facts in self.spools[name].unfinished().items():
            stop = stop_of_interrupted(
                call, facts, record=self.next_record(), made_at=self.timeline.now
            )
            self.write(name, stop)
        host.turn(host.start)
        return host

    def kill(self, name: str) -> None:
        """Kill a process, as kill -9 does."""
        host = self.hosts.pop(name, None)
        if host is None:
            return
        if isinstance(host, AgentHost):
            self.agent_dies(host)
        host.kill()

    def _die(self, name: str) -> None:
        """Let a process die in the middle of a turn, and come back."""
        self.note(f"{name} dies")
        self.timeline.after(0.0, self.kill, name)
        self.timeline.after(self.random.uniform(*RESTART_S), self.start, name)

    def broker(self, name: str) -> BrokerHost | None:
        """Return the broker of this name, if it is up."""
        host = self.hosts.get(name)
        return host if isinstance(host, BrokerHost) else None

    # What hosts tell.

    def turned(self, host: Host) -> None:
        """Hold what a turn has touched against the rules."""
        if isinstance(host, AgentHost):
            for hport in host.touched:
                self.watch.port(host, hport)
            host.touched.clear()
        elif isinstance(host, BrokerHost):
            self.watch.broker(host)
        elif self.hosts.get(host.name) is host:
            self.timeline.after(0.1, self.kill, host.name)
            self.timeline.after(self.random.uniform(*RESTART_S) + 0.1, self.start, host.name)

    def sent(self, host: Host, session: int, message: bytes) -> None:
        """See what a peer sends."""
        if isinstance(host, AgentHost):
            self.watch.sent(host, session, message)
        if self.trace is not None:
            self.trace.message(self.timeline.now, f"{host.name} sends", message)

    def heard(
        self, host: Host, session: int, verb: int, dialog: bytes | None, attempt: int, body: bytes
    ) -> None:
        """See what a peer is told."""
        self.watch.heard(host, session, verb, dialog, attempt, body)
        if isinstance(host, AgentHost) and dialog is not None:
            line = host.core._dialogs.get(dialog)  # noqa: SLF001 - which port to look at
            if line is not None:
                host.touched.add(line.settings.hport)
        if self.trace is not None:
            self.trace.hears(self.timeline.now, host.name, verb, dialog, attempt, body)

    def session_over(self, host: Host, session: int) -> None:
        """See that a session of an agent is over."""
        self.watch.session_over(host, session)
        self.note(f"{host.name}: session {session} is over")

    def _sweep(self) -> None:
        """Look at what nobody touches."""
        for host in list(self.hosts.values()):
            if host.is_paused:
                continue
            if isinstance(host, AgentHost):
                self.watch.agent(host)
            elif isinstance(host, BrokerHost):
                self.watch.entries(host)
            elif isinstance(host, WorkerHost):
                self.watch.tasks(host)
        self.timeline.after(1.0, self._sweep)
