"""Random schedules: two brokers, three workers, an agent with two ports, and everything goes wrong.

A seed picks what callers, the network and whoever kills processes do.  Then all of it is mended,
and it must hold that

- nobody was admitted but with the right password, typed in that very call;
- every port is re-armed, no broker and no worker keeps anything, and the next callers are served.

A failure prints its schedule as a scenario, to be kept as a file beside the others.
"""

from __future__ import annotations

import random
from typing import Final

import pytest
from hypothesis import settings

from tests.scenarios.cluster import AgentProgram, WorkerProgram
from tests.scenarios.network import Connection
from tests.scenarios.test_scenarios import Stage

BROKERS: Final = ["b1", "b2"]
WORKERS: Final = ["w0", "w1", "w2"]
PORTS: Final = ["p1", "p2"]
SEEDS: Final = range(settings().max_examples // 10)


class Schedule:
    """One run of the cluster, and what was done in it."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.stage = Stage()
        self.played: list[str] = []
        self.typed: dict[str, list[str]] = {port: [] for port in PORTS}
        """Lines of the call that is on the port."""
        for broker in BROKERS:
            self.do(f"broker {broker}")
        for worker in WORKERS:
            self.start(worker)
        self.do("agent a at b1 b2 ports=p1,p2")
        agent = self.stage.peers["a"]
        assert isinstance(agent, AgentProgram)
        self.agent = agent
        self.do("run 1")

    def do(self, command: str) -> None:
        """Carry out a command, and see who is admitted."""
        trace = self.stage.do(command)
        self.played += [f"> {command}", *(f"    {line}" for line in trace)]
        for line in trace:
            _, _, told = line.partition("  p")
            port, is_admitted, _ = f"p{told}".partition(": console for ")
            if is_admitted:
                assert "right" in self.typed[port][1:], "admitted without the right password"

    def start(self, worker: str) -> None:
        delays = " delays-end" if self.random.random() < 0.2 else ""
        self.do(f"worker {worker} at b1 b2{delays}")

    def call(self, port: str) -> None:
        if self.agent.modems[port].is_idle:
            self.typed[port] = []
            self.do(f"call {port}")

    def type(self, port: str) -> None:
        line = self.random.choice(["ann", "right", "right", "wrong"])
        self.typed[port].append(line)
        self.do(f"type {port} {line}")

    def hang_up(self, port: str) -> None:
        self.do(f"hang-up {port}")

    def worker_dies_or_comes(self, _port: str) -> None:
        worker = self.random.choice(WORKERS)
        if worker in self.stage.peers:
            self.do(f"kill {worker}")
        else:
            self.start(worker)

    def broker_dies_or_comes(self, _port: str) -> None:
        broker = self.random.choice(BROKERS)
        self.do(f"kill {broker}" if broker in self.stage.brokers else f"broker {broker}")

    def network_fails(self, _port: str) -> None:
        peer, broker = self.random.choice(["a", *WORKERS]), self.random.choice(BROKERS)
        connection = self._connection(peer, broker)
        if connection is None:
            return
        how = self.random.choice(["break", "cut", "hold", "hold"])
        ends = [peer, broker]
        if how == "hold":
            self.random.shuffle(ends)
        self.do(f"{how} {ends[0]} {ends[1]}")
        if how == "hold" and self.random.random() < 0.5:
            self.do(f"run {self.random.choice([0.3, 1, 2])}")
            if self._connection(peer, broker) is connection:
                self.do(f"release {ends[0]} {ends[1]}")

    def time_passes(self, _port: str) -> None:
        self.do(f"run {self.random.choice([0.01, 0.1, 0.5, 1, 2, 4])}")

    def mend(self) -> None:
        """Bring back what is gone; cut and held connections are noticed by silence."""
        for broker in BROKERS:
            if broker not in self.stage.brokers:
                self.do(f"broker {broker}")
        for worker in WORKERS:
            if worker not in self.stage.peers:
                self.start(worker)
        self.do("run 20")
        for port in PORTS:
            self.do(f"hang-up {port}")
        self.do("run 70")

    def check(self) -> None:
        """See that nothing is left, and that the next callers are served."""
        states = {hport: line.state.value for hport, line in self.agent.core.lines.items()}
        assert states == dict.fromkeys(PORTS, "idle")
        for broker in self.stage.brokers.values():
            assert len(broker.core.switchboard.entries) == 0
        for worker in WORKERS:
            program = self.stage.peers[worker]
            assert isinstance(program, WorkerProgram)
            assert program.core.open_dialogs == 0
        for port in PORTS:
            self.call(port)
            self.do(f"type {port} ann")
            self.typed[port] = ["ann", "right"]
            self.do(f"type {port} right")
        self.do("run 12")  # An end that is delayed takes the lease.
        states = {hport: line.state.value for hport, line in self.agent.core.lines.items()}
        assert states == dict.fromkeys(PORTS, "online")

    def _connection(self, peer: str, broker: str) -> Connection | None:
        if peer not in self.stage.peers:
            return None
        link = self.stage.peers[peer].links.get(broker)
        return None if link is None else link.connection


MOVES: Final = [
    *[Schedule.call] * 3,
    *[Schedule.type] * 6,
    Schedule.hang_up,
    Schedule.worker_dies_or_comes,
    Schedule.broker_dies_or_comes,
    *[Schedule.network_fails] * 3,
    *[Schedule.time_passes] * 4,
]


@pytest.mark.parametrize("seed", SEEDS)
def test_schedule(seed: int) -> None:
    schedule = Schedule(seed)

    try:
        for _ in range(40):
            schedule.random.choice(MOVES)(schedule, schedule.random.choice(PORTS))
        schedule.mend()
        schedule.check()
    except Exception:
        print("\n".join(schedule.played))  # noqa: T201 - what a developer wants to see first
        raise
