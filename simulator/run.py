"""One seed: a world, its faults, then peace, and a look at what is left.

Invariant: the same plan leads to the same outcome, in every process and on every machine.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from time import process_time
from typing import Any, Final

import structlog
from msgspec import Struct

from broker.entries import State
from dialgate import history
from port_agents.line_actions import LineState
from simulator.agent_host import AgentHost
from simulator.broker_host import BrokerHost
from simulator.faults import Liveness, Safety
from simulator.plan import Broken, Plan
from simulator.telephone import Caller, Habit
from simulator.trace import Trace
from simulator.worker_host import WorkerHost
from simulator.world import World

__all__ = ["Outcome", "replay", "simulate"]

QUIET_S: Final = 45.0
"""From the mending to the look: the longest bound of any process, and of a modem at fault."""
REUNITED_S: Final = 15.0
"""Of it, what peers and brokers get at any rate: the longest silence, then the longest back-off."""
HANG_UP_S: Final = 15.0
"""What callers get who are on the line at the mending."""
LAST_CALL_S: Final = 25.0
"""What the last callers get, who must all be served."""


class Outcome(Struct, frozen=True, kw_only=True):
    """What became of one seed."""

    plan: Plan
    failure: Broken | None
    calls: int
    served: int
    """Calls that were handed over and greeted."""
    dialogs: int
    attempts: int
    """BEGINs; over `dialogs`, how often one was begun again."""
    events: int
    """What happened, one thing at a time."""
    checks: int
    """How often a port was held against the rules."""
    records: int
    """Records of calls in the cluster's state."""
    doubled: int
    """Records that were offered to it again."""
    faults: Mapping[str, int]
    simulated_s: float
    cpu_s: float
    fingerprint: int
    """Of the whole run: two runs of one seed have the same."""


def simulate(plan: Plan, trace: Trace | None = None) -> Outcome:
    """Return what becomes of a plan."""
    began = process_time()
    gc.disable()  # A world is small, and gone in a second.
    with _watched_log() as told:
        world = World(plan, trace)
        told.append(world)
        faults = Liveness(world) if plan.mode == "liveness" else Safety(world)
        faults.start()
        world.run(plan.duration_s)
        faults.check()
        faults.mend()
        _quieten(world)
        _look(world)
        _call_everywhere(world)
        _look(world)
        _judge(world)
    watch = world.watch
    gc.enable()
    return Outcome(
        plan=plan,
        failure=world.failure,
        calls=world.calls,
        served=world.outcomes["served"],
        dialogs=watch.dialogs,
        attempts=watch.attempts,
        events=world.timeline.events,
        checks=watch.checks,
        records=len(world.table.rows),
        doubled=world.table.doubled,
        faults=dict(world.faults),
        simulated_s=world.timeline.now,
        cpu_s=process_time() - began,
        fingerprint=world.random.getrandbits(32),
    )


def replay(plan: Plan) -> tuple[Outcome, list[str]]:
    """Return what becomes of a plan, and the trace of the dialog that broke a rule."""
    trace = Trace()
    outcome = simulate(plan, trace)
    return outcome, trace.of(outcome.failure.dialog if outcome.failure else None)


def _quieten(world: World) -> None:
    """Let nobody call any more, and everything come to its end."""
    for telephone in world.telephones.values():
        telephone.is_closed = True
    mended_at = world.timeline.now
    _run_while(world, _callers, HANG_UP_S)
    for caller in _callers(world):
        caller.hang_up()
    world.run(max(world.timeline.now, mended_at + REUNITED_S))
    _run_while(world, _leftovers, QUIET_S)


def _run_while(world: World, left: Callable[[World], Iterator[object]], most_s: float) -> None:
    """Let time pass while something is left, by whole seconds."""
    until = world.timeline.now + most_s
    while world.timeline.now < until and any(True for _ in left(world)):
        world.run(min(world.timeline.now + 1.0, until))
        if world.failure is not None:
            return


def _callers(world: World) -> Iterator[Caller]:
    yield from [x.caller for x in world.telephones.values() if x.caller is not None]


def _look(world: World) -> None:
    """I3, I4: nothing is left anywhere."""
    for left in list(_leftovers(world)):
        world.broken(*left)


def _leftovers(world: World) -> Iterator[tuple[str, str, bytes | None]]:
    for host in world.hosts.values():
        if isinstance(host, AgentHost):
            for hport, line in host.core.lines.items():
                if line.state is not LineState.IDLE:
                    yield "I3", f"{hport} is {line.state}, {line.reason}", None
        elif isinstance(host, BrokerHost):
            for entry in host.core.switchboard.entries.by_dialog.values():
                kept = "waits" if entry.state == State.WAITING else "is kept"
                yield "I3", f"{host.name}: a dialog {kept}", entry.dialog
        elif isinstance(host, WorkerHost) and host.core.open_dialogs:
            yield "I4", f"{host.name}: {host.core.open_dialogs} tasks are left", None
    for where in world.unstored():
        yield "I6", f"a record in the spool of {where}", None


def _call_everywhere(world: World) -> None:
    """I3: each port takes a caller, and he who knows his password is served."""
    world.last_habit = Habit.HONEST
    last = {}
    for hport, telephone in world.telephones.items():
        telephone.is_closed = False
        telephone.dial_in(world.random.uniform(0, 1))
        last[hport] = telephone
    world.run(world.timeline.now + 1.0)
    callers = {hport: telephone.caller for hport, telephone in last.items()}
    for telephone in last.values():
        telephone.is_closed = True
    _run_while(world, lambda _: (x for x in callers.values() if x and not x.is_online), LAST_CALL_S)
    for hport, caller in callers.items():
        is_served = caller is not None and caller.is_online
        if not is_served:
            world.broken("I3", f"{hport}: the last caller was not served")
        world.history.append(
            history.Found(at=world.timeline.now, hport=hport, state="idle", admits=is_served)
        )
    _run_while(world, _callers, HANG_UP_S)
    _run_while(world, _leftovers, QUIET_S)


def _judge(world: World) -> None:
    """I2, I5, I6: what everybody saw is a good history, and every call is recorded."""
    for hport in world.unrecorded():
        world.broken("I6", f"{hport}: a call has no stop record")
    if world.failure is None:
        for violation in history.check(world.whole_history()):
            world.broken("history", str(violation))


@contextmanager
def _watched_log() -> Iterator[list[World]]:
    """Let every log line be looked at by the worlds in the list, instead of printed."""
    told: list[World] = []

    def look(
        _logger: Any, _method: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        for world in told:
            world.watch.logged(str(event))
        raise structlog.DropEvent

    before = structlog.get_config()
    disabled = logging.root.manager.disable
    structlog.configure(processors=[look], cache_logger_on_first_use=False)
    try:
        yield told
    finally:
        structlog.configure(**before)
        logging.disable(disabled)
