"""One state of a small world while a step is taken.

Every order is tried in which messages on different sessions may come; on one session each direction
keeps its order.  Besides the bounds on what may happen, this bounds a search: time passes only
while no message is under way (a message is faster than a timer), sessions open in one step (HELLO
and WELCOME are `broker.registry`'s), a worker that starts has sessions with all brokers at once,
credit is told at once, and no worker ends a task for its age (the agent ends the dialog then).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from tests.simulator.small_world.parts import (
    AGENT,
    BROKERS,
    WORKERS,
    Attempt,
    Broken,
    Facts,
    Input,
    Word,
)
from tests.simulator.small_world.table import ABSENT, END, NOBODY, Channel, begins_in

if TYPE_CHECKING:
    from tests.simulator.small_world.world import World

__all__ = ["CHANNELS", "LEFT", "OWNERS", "PAIRS", "PLACES", "Moment", "Owners", "State", "Step"]

State = tuple[int, ...]
Step = tuple[Any, ...]
Owners = frozenset[tuple[bytes, int, bytes]]
"""Dialog, attempt and the worker that was given it."""

PLACES: Final = {name: place for place, name in enumerate((AGENT, *BROKERS, *WORKERS))}
PAIRS: Final = [(peer, broker) for peer in (AGENT, *WORKERS) for broker in BROKERS]
CHANNELS: Final = range(len(PLACES), len(PLACES) + len(PAIRS))
PLACE_OF: Final = dict(zip(PAIRS, CHANNELS, strict=True))
LEFT: Final = CHANNELS.stop
"""Place of what may still happen."""
OWNERS: Final = LEFT + 1


class Moment:
    """A state, in which steps are taken."""

    def __init__(self, world: World, state: State) -> None:
        self._world = world
        self._at = list(state)

    def state(self) -> State:
        """Return the state come to, without what nobody can compare any more."""
        if self._world.forgets:
            self._forget_owners()
            self._forget_attempts()
        return tuple(self._at)

    # What may be done.

    def steps(self) -> list[Step]:
        """Return every step that may be taken."""
        left, site = self._world.lefts.values[self._at[LEFT]], self._facts(AGENT)
        steps = self.deliveries()
        if not steps:
            if (due_s := self.due_s()) < math.inf:
                steps.append(("wait", due_s))
            steps += [("expire", name) for name in WORKERS if self._facts(name).is_kept]
        if left.calls and site.may_dial:
            steps.append(("dial",))
        if site.caller:
            steps.append(("hang up",))
        if site.may_answer:
            steps.append(("answer",))
        if left.agent_crashes:
            steps.append(("kill", AGENT))
        for names, crashes in ((BROKERS, left.broker_crashes), (WORKERS, left.worker_crashes)):
            for name in names:
                if not self._is_up(name):
                    steps.append(("start", name))
                elif crashes:
                    steps.append(("kill", name))
        for peer, broker in PAIRS:
            channel = self._channel(peer, broker)
            if channel.is_open:
                if left.session_losses:
                    steps.append(("lose", peer, broker))
            elif END not in channel.down and (peer != AGENT or broker in site.links):
                # The peer knows of no session, and wants one.
                is_up = self._is_up(peer) and self._is_up(broker)
                steps += [("connect", peer, broker)] if is_up else []
        for name in WORKERS:
            steps += [("finish", name, task) for task in self._facts(name).delayed]
        return steps

    def deliveries(self) -> list[Step]:
        """Return the deliveries of the first message on each channel."""
        channels = self._world.channels.values
        steps: list[Step] = []
        for place in CHANNELS:
            _, up, down = channels[self._at[place]]
            if up:
                steps.append(("deliver", place, True))
            if down:
                steps.append(("deliver", place, False))
        return steps

    def due_s(self) -> float:
        """Return in how many seconds the next is due."""
        return min([self._facts(name).due_s for name in PLACES])

    # Steps.

    def take(self, step: Step) -> None:
        """Take a step.

        Raises:
            Broken: a rule does not hold behind it.
        """
        match step:
            case ("deliver", place, is_up):
                self._deliver(place, is_up=is_up)
            case ("wait", passed_s):
                for name in PLACES:
                    if self._is_up(name):
                        self._let(name, ("pass", passed_s))
            case ("dial",):
                calls = self._spend("calls")
                self._let(AGENT, ("dial", self._world.bounds.calls - calls))
            case ("hang up",) | ("answer",):
                self._let(AGENT, step)
            case ("lose", peer, broker):
                self._spend("session_losses")
                self._put(peer, broker, Channel(is_open=False, up=(END,), down=(END,)))
            case ("kill", name):
                self._kill(name)
            case ("start", name):
                self._start(name)
            case ("connect", peer, broker):
                self.connect(peer, broker)
            case ("expire", name):
                self._let(name, ("expire",))
            case ("finish", name, task):
                self._let(name, ("finish", task))
            case _:
                raise AssertionError(step)

    def connect(self, peer: str, broker: str) -> None:
        """Open a session; the broker ends one that it still has of this peer."""
        self._put(peer, broker, Channel(is_open=True))
        self._let(broker, ("open", peer, self._facts(peer).instance))
        self._let(peer, ("open", broker))

    def _deliver(self, place: int, *, is_up: bool) -> None:
        peer, broker = PAIRS[place - CHANNELS.start]
        is_open, up, down = self._channel(peer, broker)
        if is_up:
            message, up = up[0], up[1:]
        else:
            message, down = down[0], down[1:]
        self._put(peer, broker, Channel(is_open, up, down))
        receiver, sender = (broker, peer) if is_up else (peer, broker)
        if message == END:
            self._let(receiver, ("over", sender))
            return
        if receiver in WORKERS:
            self._give(message, self._facts(receiver).instance)
        self._let(receiver, ("message", sender, message))

    def _kill(self, name: str) -> None:
        """Kill a process; whoever knows of a session with it learns of its end in time."""
        for peer, broker in PAIRS:
            channel = self._channel(peer, broker)
            if name == peer:
                is_told = channel.is_open or END in channel.up
                self._put(peer, broker, ABSENT._replace(up=(END,) if is_told else ()))
            elif name == broker:
                is_told = channel.is_open or END in channel.down
                self._put(peer, broker, ABSENT._replace(down=(END,) if is_told else ()))
        if name == AGENT:
            self._spend("agent_crashes")
            self._let(AGENT, ("die",))
        else:
            self._spend("broker_crashes" if name in BROKERS else "worker_crashes")
            self._at[PLACES[name]] = NOBODY

    def _start(self, name: str) -> None:
        left, bounds = self._world.lefts.values[self._at[LEFT]], self._world.bounds
        is_worker = name in WORKERS
        life = bounds.worker_crashes - left.worker_crashes if is_worker else 0
        self._at[PLACES[name]] = self._world.new(name, life + 1)
        if is_worker:
            for broker in BROKERS:
                if self._is_up(broker):
                    self.connect(name, broker)

    def _spend(self, what: str) -> int:
        """Let one thing less happen from now on; return how many are left of it."""
        lefts = self._world.lefts
        left = lefts.values[self._at[LEFT]]
        count: int = getattr(left, what) - 1
        self._at[LEFT] = lefts.of(left._replace(**{what: count}))  # type: ignore[arg-type]
        return count

    # Processes.

    def _let(self, name: str, what: Input) -> None:
        """Let a process take an input, and put what it says under way."""
        place = PLACES[name]
        after, all_said, broken = self._world.parts.move(self._at[place], what)
        if broken:
            raise Broken(broken)
        self._at[place] = after
        for to, said in all_said:
            if not isinstance(said, Word):
                self._send(name, to, said)
            elif said.kind == "credit":
                self._tell_credit(name, to)
            elif said.kind == "closed":
                # BYE: it comes behind what was said; nothing more is heard, not even the end.
                is_open, up, _ = self._channel(name, to)
                self._put(name, to, Channel(is_open=False, up=(*up, END) if is_open else up))
            elif (said.dialog, said.attempt, said.worker) not in self._owners:
                raise Broken("I1: a worker speaks that has no BEGIN")

    def _send(self, name: str, to: str, message: bytes) -> None:
        peer, broker = (to, name) if name in BROKERS else (name, to)
        is_open, up, down = self._channel(peer, broker)
        if is_open:
            up, down = ((*up, message), down) if name == peer else (up, (*down, message))
            self._put(peer, broker, Channel(is_open, up, down))

    def _tell_credit(self, worker: str, broker: str) -> None:
        """Tell a broker at once how many BEGINs it may send, less those under way."""
        if self._channel(worker, broker).is_open:
            unspent = dict(self._facts(worker).unspent)[broker]
            room = unspent - len(self._world.begins(self._at[PLACE_OF[worker, broker]]))
            self._let(broker, ("credit", worker, room))

    def _give(self, message: bytes, worker: bytes) -> None:
        """I1: only one worker gets an attempt."""
        for dialog, attempt in begins_in((message,)):
            others = [x for d, a, x in self._owners if (d, a) == (dialog, attempt) and x != worker]
            if others:
                raise Broken("I1: two workers have one attempt")
            self._own(self._owners | {(dialog, attempt, worker)})

    # What nobody can compare any more.

    def _begins(self) -> frozenset[Attempt]:
        """Return the BEGINs that may still reach a worker."""
        found = [self._world.begins(number) for place in CHANNELS if (number := self._at[place])]
        return frozenset().union(*found, *[self._facts(name).begins for name in BROKERS])

    def _forget_owners(self) -> None:
        """Forget who was given what nobody can be given any more, and nobody speaks under."""
        begun = self._facts(AGENT).begun
        if any(x[:2] != begun for x in self._owners):
            named = {begun, *self._begins()}
            self._own(frozenset(x for x in self._owners if x[:2] in named))

    def _forget_attempts(self) -> None:
        """Let workers forget attempts behind which no BEGIN can come late."""
        for name in WORKERS:
            if remembered := self._facts(name).remembers:
                over = remembered - {dialog for dialog, _ in self._begins()}
                if over:
                    self._let(name, ("forget", over))

    # Places.

    def _facts(self, name: str) -> Facts:
        return self._world.parts.facts[self._at[PLACES[name]]]

    def _is_up(self, name: str) -> bool:
        return self._at[PLACES[name]] != NOBODY

    def _channel(self, peer: str, broker: str) -> Channel:
        return self._world.channels.values[self._at[PLACE_OF[peer, broker]]]

    def _put(self, peer: str, broker: str, channel: Channel) -> None:
        self._at[PLACE_OF[peer, broker]] = self._world.channels.of(channel)

    @property
    def _owners(self) -> Owners:
        return self._world.owners.values[self._at[OWNERS]]

    def _own(self, owners: Owners) -> None:
        self._at[OWNERS] = self._world.owners.of(owners)
