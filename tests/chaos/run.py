"""One run: a cluster, its callers, and whoever breaks things; in the end the check of it all."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from types import MappingProxyType
from typing import Final

from dialgate.history import Event, Found, Violation, check, encode_event
from tests.chaos.callers import PATIENCE_S, Act, Callers, Line, Wait
from tests.chaos.cluster import Cluster, Size
from tests.chaos.evidence import gather
from tests.chaos.faults import Chaos, Fault, Kind, Pace

USERS: Final = 3
SETTLE_S: Final = 45.0
"""By when every port must be free once all faults are over."""


@dataclass(slots=True)
class Outcome:
    """What a run was and what became of it."""

    seed: int
    lasted_s: float = 0.0
    faults: list[Fault] = field(default_factory=list)
    acts: dict[Act, int] = field(default_factory=dict)
    admitted: int = 0
    waits: list[Wait] = field(default_factory=list)
    violations: list[Violation] = field(default_factory=list)
    crashes: list[str] = field(default_factory=list)
    """Programs that ended without being asked to."""
    starts_without_disk: int = 0
    """Starts that programs gave up, saying so, since the disk was full."""
    free_after_s: float = 0.0
    """How long after the last fault every port was free."""

    @property
    def calls(self) -> int:
        return sum(self.acts.values())


async def run(
    directory: Path,
    *,
    seed: int,
    lasting_s: float,
    pace: Pace,
    kinds: Collection[Kind] = tuple(Kind),
    acts: Collection[Act] = tuple(Act),
    size: Size | None = None,
    patience_s: float = PATIENCE_S,
    code: Mapping[str, Path] = MappingProxyType({}),
) -> Outcome:
    """Break a cluster for a while, and return what became of it.

    Args:
        directory: an empty one, for everything.
        seed: of faults and callers; what the machine does with them is its own choice.
        lasting_s: how long faults go on; once each kind of them at least.
        pace: of the faults.
        kinds: of the faults; none: all is calm.
        acts: what callers choose from.
        size: of the cluster.
        patience_s: how long callers wait for the next word.
        code: the directory of a program's code by its name, where it is not this project's.
    """
    # Two, so that who is hit by what does not depend on how far the callers are.
    random, callers_random = Random(seed), Random(seed + 1)
    outcome = Outcome(seed)
    users = {f"user-{n}": f"right-{random.randrange(10**6)}" for n in range(USERS)}
    history: list[Event] = []
    with (directory / "callers.jsonl").open("ab") as file:

        def write(event: Event) -> None:
            history.append(event)
            file.write(encode_event(event))

        callers = Callers(users, callers_random, write, tuple(acts), patience_s)
        cluster = Cluster(directory, size or Size(), code)
        async with cluster.running(users):
            lines = [Line(*each) for each in cluster.lines]
            began_at = time.time()
            async with asyncio.TaskGroup() as tasks:
                for line in lines:
                    tasks.create_task(callers.keep_calling(line))
                if kinds:
                    chaos = Chaos(cluster, random, pace, kinds)
                    await chaos.reign(began_at + lasting_s)
                    outcome.faults = chaos.done
                else:
                    await asyncio.sleep(lasting_s)
                callers.stopping = True
            outcome.lasted_s = time.time() - began_at
            await _look_at_ports(cluster, lines, callers, outcome)
            await cluster.until_stored(SETTLE_S)
            await cluster.stop()
            outcome.crashes = [text for each in cluster.programs for text in each.crashes]
            outcome.starts_without_disk = sum(x.starts_without_disk for x in cluster.programs)
            history += gather(cluster)
    outcome.acts, outcome.admitted, outcome.waits = callers.acts, callers.admitted, callers.waits
    outcome.violations = check(history)
    return outcome


async def _look_at_ports(
    cluster: Cluster, lines: list[Line], callers: Callers, outcome: Outcome
) -> None:
    """Find every port free, and let a caller in on each."""
    healed_at = max([each.ended_at for each in outcome.faults], default=time.time())
    await cluster.until_idle(SETTLE_S)
    outcome.free_after_s = time.time() - healed_at
    let_in = await asyncio.gather(*(callers.call(line, Act.GOOD) for line in lines))
    await cluster.until_idle(SETTLE_S)
    states = await cluster.port_states()
    for line, admits in zip(lines, let_in, strict=True):
        state = states.get(line.hport, "unknown")
        callers.write(Found(at=time.time(), hport=line.hport, state=state, admits=admits))
