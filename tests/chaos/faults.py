"""What is done to a cluster, and for how long: a seed's faults, one after the other.

Each round has every kind once, in the seed's order, and at its end two at a time.  A fault is told
apart from its effects: when it began, when it was over (a killed program was started again, a
network healed, a disk had room), and what was hit.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations, cycle
from random import Random
from typing import Final

from tests.chaos.cluster import RESTART_S, Cluster
from tests.chaos.proxy import Way


class Kind(StrEnum):
    """A kind of fault."""

    KILL_BROKER = "kill -9 a broker"
    KILL_WORKER = "kill -9 a worker"
    KILL_AGENT = "kill -9 an agent"
    STOP_BROKER = "SIGSTOP a broker"
    STOP_WORKER = "SIGSTOP a worker"
    STOP_AGENT = "SIGSTOP an agent"
    DELAY = "delay links"
    HALF_OPEN = "half-open links"
    PARTITION = "stall a broker's links"
    CUT = "cut links"
    UNPLUG = "pull a network cable"
    FULL_SPOOL = "full disk under a spool"
    FULL_STATE = "full disk under the state"
    TWO = "two at a time"


WRITTEN_S: Final = 2.0
"""After so long an agent has tried again to write what a full disk refused."""
SINGLE: Final[Sequence[Kind]] = [kind for kind in Kind if kind is not Kind.TWO]

_ROLES: Final = {
    Kind.KILL_BROKER: ("broker", signal.SIGKILL),
    Kind.KILL_WORKER: ("worker", signal.SIGKILL),
    Kind.KILL_AGENT: ("agent", signal.SIGKILL),
    Kind.STOP_BROKER: ("broker", signal.SIGSTOP),
    Kind.STOP_WORKER: ("worker", signal.SIGSTOP),
    Kind.STOP_AGENT: ("agent", signal.SIGSTOP),
}

_IMPOSSIBLE: Final = {Kind.KILL_AGENT, Kind.FULL_SPOOL}
"""Nothing can keep the records of an agent that is killed while its disk is full."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault, when it is over.  Times are of the wall clock."""

    kind: Kind
    what: str
    began_at: float
    ended_at: float


@dataclass(frozen=True, slots=True)
class Pace:
    """How long faults last, and how long it is calm in between, in seconds."""

    fault_s: tuple[float, float]
    calm_s: tuple[float, float]


BRISK: Final = Pace(fault_s=(0.2, 2.0), calm_s=(0.3, 0.8))
"""For half a minute, with a short heartbeat."""
STEADY: Final = Pace(fault_s=(0.3, 9.0), calm_s=(2.0, 8.0))
"""For long runs: half of the pauses and partitions are longer than three heartbeats."""


class Chaos:
    """Whoever breaks things."""

    def __init__(
        self, cluster: Cluster, random: Random, pace: Pace, kinds: Collection[Kind]
    ) -> None:
        self.done: list[Fault] = []
        self._cluster = cluster
        self._random = random
        self._pace = pace
        cabled = cluster.cable is not None
        self._kinds = [x for x in SINGLE if x in kinds and (cabled or x is not Kind.UNPLUG)]
        self._victims = {
            role: cycle(random.sample(cluster.of(role), len(cluster.of(role))))
            for role in ("broker", "worker", "agent")
        }
        """In turn, so that none is spared."""
        self._pairs = [x for x in combinations(self._kinds, 2) if set(x) != _IMPOSSIBLE]

    async def reign(self, until: float) -> None:
        """Do one thing after the other until then (wall clock), and leave everything healed.

        However slow the machine is, each kind has its turn.
        """
        for number, kinds in enumerate(self._rounds()):
            await asyncio.sleep(self._random.uniform(*self._pace.calm_s))
            if time.time() >= until and number >= len(self._kinds):
                return
            await self._do(kinds)

    def _rounds(self) -> Iterator[list[Kind]]:
        while True:
            for kind in self._random.sample(self._kinds, len(self._kinds)):
                yield [kind]
            if self._pairs:
                yield list(self._random.choice(self._pairs))

    async def _do(self, kinds: list[Kind]) -> None:
        lasting_s = self._random.uniform(*self._pace.fault_s)
        began_at = time.time()
        names: list[str] = []
        async with asyncio.TaskGroup() as tasks:
            for kind in kinds:
                tasks.create_task(self._one(kind, lasting_s, names))
        kind = kinds[0] if len(kinds) == 1 else Kind.TWO
        self.done.append(Fault(kind, ", ".join(names), began_at, time.time()))

    async def _one(self, kind: Kind, lasting_s: float, names: list[str]) -> None:
        async with self._fault(kind) as what:
            names.append(what)
            is_kill = kind in _ROLES and _ROLES[kind][1] is signal.SIGKILL
            await asyncio.sleep(RESTART_S if is_kill else lasting_s)

    @asynccontextmanager
    async def _fault(self, kind: Kind) -> AsyncIterator[str]:
        """Have a fault while the context lasts; yield who is hit."""
        cluster = self._cluster
        match kind:
            case _ if kind in _ROLES:
                role, number = _ROLES[kind]
                victim = next(self._victims[role])
                victim.send(number)
                yield victim.name
                victim.send(signal.SIGCONT)
            case Kind.DELAY | Kind.HALF_OPEN | Kind.PARTITION | Kind.CUT:
                links = self._worsen(kind)
                yield links
                for link in cluster.links:
                    link.heal()
            case Kind.UNPLUG:
                assert cluster.cable is not None
                cluster.cable.pull()
                yield cluster.of("worker")[-1].name
                cluster.cable.plug()
            case Kind.FULL_SPOOL:
                cluster.spools.fill([cluster.of("agent")[0].pid])
                yield "agent-1"
                cluster.spools.make_room()
                # Who is killed before he has tried again has his records in memory only.
                await asyncio.sleep(WRITTEN_S)
            case _:
                writers = [*cluster.of("worker"), *cluster.of("broker")]
                cluster.state.fill([each.pid for each in writers])
                yield "state"
                cluster.state.make_room()

    def _worsen(self, kind: Kind) -> str:
        """Make links bad; return which."""
        links = self._cluster.links
        if kind is Kind.PARTITION:
            broker = self._random.choice(self._cluster.of("broker")).name
            chosen = [link for link in links if link.name.endswith(broker)]
        else:
            chosen = self._random.sample(links, self._random.randint(1, len(links)))
        for link in chosen:
            if kind is Kind.DELAY:
                link.delay_s = self._random.uniform(0.05, 1.5)
            elif kind is Kind.HALF_OPEN:
                link.stall(self._random.choice(list(Way)))
            elif kind is Kind.PARTITION:
                link.stall(*Way)
            else:
                link.cut()
        return ", ".join(link.name for link in chosen)
