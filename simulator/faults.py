"""What goes wrong in a world, drawn from its seed; each fault ends by itself or by `mend`.

*Safety*: one fault after another, everywhere.  *Liveness*: one part of the cluster is at fault and
stays so; the rest must go on as if nothing were.

Invariant: a fault does to a world what a network, a kernel, a disk or a telephone could do to it,
and never makes a process that works do what it would not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

from simulator.agent_host import AgentHost
from simulator.telephone import Habit, Telephone
from simulator.worker_host import WorkerHost
from simulator.world import World

__all__ = ["ONSET_S", "Liveness", "Safety"]

FAULT_GAP_S: Final = 3.0
"""From fault to fault, on average."""
ONSET_S: Final = 20.0
"""When the part fails in liveness mode."""
NOTICED_S: Final = 15.0
"""After that everybody has found his way round the part."""
SERVED_S: Final = 30.0
"""A caller who knows his password and was picked up is greeted within that time."""
_PATIENT: Final = frozenset({Habit.HONEST, Habit.HASTY})


class _Faults:
    """What can be done to a world."""

    def __init__(self, world: World) -> None:
        self.world: Final = world
        self._random: Final = world.random
        self._heals: dict[int, Callable[[], None]] = {}
        self._last_heal = 0

    def mend(self) -> None:
        """Heal everything at once."""
        for number in list(self._heals):
            self._heal(number)
        world = self.world
        for source, target in sorted(world.network.blocked):
            world.network.unblock(source, target)
        world.network.delays.clear()
        for host in list(world.hosts.values()):
            if host.is_paused:
                host.resume()
        for name in (*world.broker_names, *world.worker_names, *world.agent_names):
            world.start(name)

    def _healing(self, after_s: float, heal: Callable[[], None]) -> None:
        """Let `heal` be called once, after a while or by `mend`."""
        self._last_heal += 1
        self._heals[self._last_heal] = heal
        if after_s < math.inf:
            self.world.timeline.after(after_s, self._heal, self._last_heal)

    def _heal(self, number: int) -> None:
        heal = self._heals.pop(number, None)
        if heal is not None:
            heal()

    def _count(self, kind: str, what: object) -> None:
        self.world.faults[kind] += 1
        self.world.note(f"FAULT {kind}: {what}")

    # The network.

    def break_session(self) -> None:
        """Let a connection break, with what is under way; sometimes nobody is told."""
        connections = self.world.network.connections
        if not connections:
            return
        connection = self._random.choice(connections)
        ends = f"{connection.peer.name} = {connection.broker.name}"
        if self._random.random() < 0.5:  # noqa: PLR2004
            self._count("session broken", ends)
            connection.end()
        else:
            self._count("session dead", ends)
            connection.die()

    def delay(self) -> None:
        """Let a link be slow."""
        peer, broker = self._pair()
        late_s = self._random.choice([0.05, 0.3, 1.0, 2.5])
        self._count("delay", f"{peer} = {broker}, {late_s} s")
        delays = self.world.network.delays
        for way in ((peer, broker), (broker, peer)):
            delays[way] = late_s
            self._healing(self._span(2, 15), partial(_drop, delays, way))

    def partition(self) -> None:
        """Let a link be cut in one direction or both."""
        peer, broker = self._pair()
        ways = [(peer, broker), (broker, peer)]
        if self._random.random() < 0.6:  # noqa: PLR2004
            ways = [self._random.choice(ways)]
            self._count("one-way partition", f"{ways[0][0]} > {ways[0][1]}")
        else:
            self._count("partition", f"{peer} = {broker}")
        self._block(ways, self._span(0.5, 12))

    def swizzle(self) -> None:
        """Cut machines off one after another, and mend them in another order."""
        world = self.world
        names = [*world.broker_names, *world.worker_names, *world.agent_names]
        chosen = self._random.sample(names, self._random.randint(2, 5))
        self._count("swizzle", " ".join(chosen))
        for name in chosen:
            world.timeline.after(self._span(0, 4), self._cut_off, name, self._span(4, 9))

    def _cut_off(self, name: str, for_s: float) -> None:
        world = self.world
        others = [*world.worker_names, *world.agent_names] if name[0] == "b" else world.broker_names
        self._block([way for each in others for way in ((name, each), (each, name))], for_s)

    def _block(self, ways: Iterable[tuple[str, str]], for_s: float) -> None:
        network = self.world.network
        for way in ways:
            network.block(*way)
            self._healing(for_s, partial(network.unblock, *way))

    # Processes.

    def crash(self) -> None:
        """Kill a process; it is started again."""
        world = self.world
        role = self._random.choices("bwa", [3, 4, 2])[0]
        names = {"b": world.broker_names, "w": world.worker_names, "a": world.agent_names}[role]
        name = self._random.choice(names)
        if name not in world.hosts:
            return
        kind = {"b": "broker crash", "w": "worker crash", "a": "agent crash"}[role]
        self._count(kind, name)
        world.kill(name)
        self._healing(self._span(0.1, 8), lambda: world.start(name))

    def pause(self) -> None:
        """Stop a process, as SIGSTOP does."""
        host = self.world.hosts[self._random.choice(sorted(self.world.hosts))]
        if host.is_paused:
            return
        self._count("pause", host.name)
        host.pause()
        self._healing(self._span(0.2, 10), host.resume)

    def drain(self) -> None:
        """Send a worker SIGTERM, as an upgrade does."""
        host = self.world.hosts.get(self._random.choice(self.world.worker_names))
        if isinstance(host, WorkerHost) and not host.has_left:
            self._count("worker drain", host.name)
            host.turn(host.drain, self._span(0, 10))

    # Storage.

    def lose_state(self) -> None:
        """Let the shared state not answer."""
        world = self.world
        self._count("state down", "")
        world.state_is_down = True
        self._healing(self._span(0.5, 6), lambda: setattr(world, "state_is_down", False))

    def fill_disk(self) -> None:
        """Let an agent's spool have no room."""
        world, name = self.world, self._random.choice(self.world.agent_names)
        self._count("spool full", name)
        world.spools[name].is_full = True
        self._healing(self._span(1, 15), lambda: world.make_room(name))

    # Telephones.

    def lie(self) -> None:
        """Let a modem's DCD say what is not so, once or for a while."""
        telephone = self._telephone()
        how = self._random.randrange(3)
        self._count("DCD lies", f"{telephone.hport}, {['falls', 'rises', 'sticks'][how]}")
        if how < 2:  # noqa: PLR2004
            telephone.lie(dcd=bool(how))
            self._healing(self._span(0.01, 3), lambda: telephone.lie(dcd=telephone.lines.dcd))
            return
        telephone.modem.faults.dcd_stuck = True
        self._healing(self._span(2, 20), lambda: self._unstick(telephone))

    @staticmethod
    def _unstick(telephone: Telephone) -> None:
        telephone.modem.faults.dcd_stuck = False
        telephone.refresh()

    def fail_modem(self) -> None:
        """Let a modem be silent, or lose its device."""
        telephone = self._telephone()
        host = self.world.hosts.get(telephone.agent)
        if self._random.random() < 0.5:  # noqa: PLR2004
            self._count("modem silent", telephone.hport)
            telephone.modem.faults.silent = True
            self._healing(
                self._span(1, 15), lambda: setattr(telephone.modem.faults, "silent", False)
            )
        elif isinstance(host, AgentHost):
            self._count("device unplugged", telephone.hport)
            host.turn(host.unplugged, telephone.hport)

    def redial(self) -> None:
        """Let a port's callers dial again at once."""
        telephone = self._telephone()
        self._count("redial at once", telephone.hport)
        redialling = self.world.redialling
        redialling.add(telephone.hport)
        self._healing(self._span(5, 30), lambda: redialling.discard(telephone.hport))

    # Draws.

    def _pair(self) -> tuple[str, str]:
        peers = [*self.world.worker_names, *self.world.agent_names]
        return self._random.choice(peers), self._random.choice(self.world.broker_names)

    def _telephone(self) -> Telephone:
        return self._random.choice(list(self.world.telephones.values()))

    def _span(self, least_s: float, most_s: float) -> float:
        return self._random.uniform(least_s, most_s)


class Safety(_Faults):
    """Faults everywhere, one after another."""

    KINDS: Final = (
        (_Faults.break_session, 6),
        (_Faults.delay, 3),
        (_Faults.partition, 4),
        (_Faults.swizzle, 1),
        (_Faults.crash, 6),
        (_Faults.pause, 4),
        (_Faults.drain, 1),
        (_Faults.lose_state, 1),
        (_Faults.fill_disk, 1),
        (_Faults.lie, 2),
        (_Faults.fail_modem, 2),
        (_Faults.redial, 2),
    )

    def start(self) -> None:
        """Begin."""
        self.world.timeline.after(self._span(2, 5), self._next)

    def _next(self) -> None:
        if self.world.timeline.now >= self.world.plan.duration_s:
            return
        [fault] = self._random.choices(*zip(*self.KINDS, strict=True))
        fault(self)
        self.world.timeline.after(self._random.expovariate(1 / FAULT_GAP_S), self._next)

    def check(self) -> None:
        """Ask for nothing: under such faults nobody has a right to be served."""


class Liveness(_Faults):
    """One part at fault, from `ONSET_S` on until the end."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.part = self._random.choice([*world.broker_names, *world.worker_names])
        if world.plan.agents > 1 and self._random.random() < 0.2:  # noqa: PLR2004
            self.part = self._random.choice(world.agent_names)

    def start(self) -> None:
        """Begin."""
        how = self._random.choice(
            [self._die, self._hang, self._isolate, self._mute, self._deafen, self._flap, self._slow]
        )
        self.world.timeline.at(ONSET_S, how)

    def check(self) -> None:
        """L1: whoever could be served was served."""
        for caller in self.world.callers.values():
            asked_at = caller.answered_at
            if (
                caller.habit in _PATIENT
                and caller.telephone.agent != self.part
                and asked_at >= ONSET_S + NOTICED_S
                and not caller.is_online
                and asked_at + SERVED_S < self.world.timeline.now
            ):
                hport = caller.telephone.hport
                self.world.broken("L1", f"{caller.number} on {hport} was not served")
                return

    def _die(self) -> None:
        self._count("dead", self.part)
        self.world.kill(self.part)

    def _hang(self) -> None:
        self._count("hung", self.part)
        self.world.hosts[self.part].pause()

    def _isolate(self) -> None:
        self._count("cut off", self.part)
        self._cut_off(self.part, math.inf)

    def _mute(self) -> None:
        self._count("mute", self.part)
        self._block([(self.part, each) for each in self._others()], math.inf)

    def _deafen(self) -> None:
        self._count("deaf", self.part)
        self._block([(each, self.part) for each in self._others()], math.inf)

    def _slow(self) -> None:
        self._count("slow", self.part)
        for each in self._others():
            self.world.network.delays[self.part, each] = 0.5
            self.world.network.delays[each, self.part] = 0.5

    def _flap(self) -> None:
        self._count("flapping", self.part)
        self._crash_again()

    def _crash_again(self) -> None:
        world = self.world
        if world.timeline.now < world.plan.duration_s:
            world.kill(self.part)
            world.timeline.after(self._span(1, 4), world.start, self.part)
            world.timeline.after(self._span(12, 25), self._crash_again)

    def _others(self) -> list[str]:
        world = self.world
        return (
            [*world.worker_names, *world.agent_names]
            if self.part[0] == "b"
            else (world.broker_names)
        )


def _drop(delays: dict[tuple[str, ...], float], way: tuple[str, str]) -> None:
    delays.pop(way, None)
