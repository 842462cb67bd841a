"""A small world: one port, two brokers, two workers, what is under way between them, and its steps.

A `State` is numbers: of each process's state, of each channel's, of what may still happen, and of
who was given which attempt.  `World` tells which steps lead from a state and where each leads; what
holds beside the rules that processes check is here: I1, an attempt has one worker, and the agent
takes no other's word under it.

Of two states that differ by the names of the two workers alone, one stands for both, since workers
differ by name only.  Brokers don't: each agent has an order of them.
"""

from __future__ import annotations

import math
from typing import Any, Final, NamedTuple

from dialgate.wire.envelope import decode_frame
from dialgate.wire.verbs import Verb
from tests.simulator.small_world.desk import Desk
from tests.simulator.small_world.moment import (
    CHANNELS,
    LEFT,
    OWNERS,
    PAIRS,
    PLACES,
    Moment,
    Owners,
    State,
    Step,
)
from tests.simulator.small_world.node import Node
from tests.simulator.small_world.parts import AGENT, BROKERS, WORKERS, Attempt, Broken
from tests.simulator.small_world.site import Site
from tests.simulator.small_world.table import (
    ABSENT,
    END,
    Channel,
    Numbers,
    Parts,
    begins_in,
    renamed,
)

__all__ = ["Bounds", "State", "Step", "World"]

RENAMED: Final = (0, 1, 2, 4, 3, 5, 6, 9, 10, 7, 8, LEFT, OWNERS)
"""Whose number comes to each place when the workers' names are exchanged."""
NO_CHANNEL: Final = 0
FIRST_LIFE: Final = 1
PATIENCE_S: Final = 60.0
"""More than any time-out but that of the whole dialog."""


class Bounds(NamedTuple):
    """How much may happen in one history."""

    calls: int = 2
    broker_crashes: int = 0
    worker_crashes: int = 0
    agent_crashes: int = 0
    session_losses: int = 0
    delays_end: bool = False
    """Whether workers answer END with 0."""
    states_max: int = 1_000_000


class World:
    """All that can happen within bounds.

    Args:
        bounds: what may.
        is_whole: take no two states for one, and forget nothing.
    """

    def __init__(self, bounds: Bounds, *, is_whole: bool = False) -> None:
        self.bounds: Final = bounds
        self.forgets: Final = not is_whole
        self.parts: Final = Parts(is_whole=is_whole)
        self.channels: Final = Numbers(ABSENT)
        self.lefts: Final = Numbers(bounds)
        self.owners: Final[Numbers[Owners]] = Numbers(frozenset())
        self._new: dict[tuple[str, int], int] = {}
        self._begins: dict[int, frozenset[Attempt]] = {}
        self._renamed_channels: dict[int, int] = {}
        self._renamed_owners: dict[int, int] = {}

    def first(self) -> State:
        """Return the state in which all have started and nothing has happened."""
        parts = [self.parts.of(Site()), *(self.new(x, FIRST_LIFE) for x in (*BROKERS, *WORKERS))]
        moment = Moment(self, (*parts, *(NO_CHANNEL for _ in CHANNELS), 0, 0))
        for peer, broker in PAIRS:
            if (peer, broker) != (AGENT, BROKERS[1]):
                moment.connect(peer, broker)
        # In which order all say what they say at first is of no interest.
        while deliveries := moment.deliveries():
            moment.take(deliveries[0])
        return self.least(moment.state())

    def new(self, name: str, life: int) -> int:
        """Return a broker or worker that has just started."""
        number = self._new.get((name, life))
        if number is None:
            delays_end = self.bounds.delays_end
            part = Node() if name in BROKERS else Desk(name, life, delays_end=delays_end)
            number = self._new[name, life] = self.parts.of(part)
        return number

    def steps(self, state: State) -> list[Step]:
        """Return every step that may be taken."""
        return Moment(self, state).steps()

    def after(self, state: State, step: Step) -> State:
        """Return where a step leads.

        Raises:
            Broken: a rule does not hold there.
        """
        moment = Moment(self, state)
        moment.take(step)
        after = moment.state()
        return self.least(after) if self.forgets else after

    def least(self, state: State) -> State:
        """Return the one that stands for a state and the one with the workers exchanged."""
        other = []
        is_less = False
        for number, place in zip(state, RENAMED, strict=True):
            renamed_number = self._renamed(state[place], place)
            if not is_less and renamed_number > number:
                return state
            is_less = is_less or renamed_number < number
            other.append(renamed_number)
        return tuple(other)

    def _renamed(self, number: int, place: int) -> int:
        """Return a number in a place with the workers' names exchanged."""
        if place < CHANNELS.start:
            return self.parts.renamed(number)
        if place < LEFT:
            return self._renamed_channel(number)
        return number if place == LEFT else self._renamed_owner(number)

    def is_quiet(self, state: State) -> bool:
        """Return whether nothing is under way or due, and nobody calls.

        Raises:
            Broken: I3, I4: there is then what must not be; or nothing is under way, and a caller
                whose dialog has begun waits longer than anything may take.
        """
        moment = Moment(self, state)
        if moment.deliveries():
            return False
        facts, due_s = [self.parts.facts[state[place]] for place in PLACES.values()], moment.due_s()
        site = facts[PLACES[AGENT]]
        if site.waits and due_s > PATIENCE_S:
            raise Broken("I3: a caller waits for nobody")
        if site.caller or due_s < math.inf or any(each.is_kept for each in facts):
            return False
        if unrest := next((each.unrest for each in facts if each.unrest), ""):
            raise Broken(unrest)
        return True

    def begins(self, number: int) -> frozenset[Attempt]:
        """Return the BEGINs that are under way on a channel."""
        known = self._begins.get(number)
        if known is None:
            channel = self.channels.values[number]
            known = self._begins[number] = begins_in(channel.up + channel.down)
        return known

    def outline(self, state: State) -> tuple[Any, ...]:
        """Return a state in words that name neither workers nor times."""
        channels = zip(PAIRS, CHANNELS, strict=True)
        words = {pair: self._words(state[place]) for pair, place in channels}
        told = {name: self.parts.facts[state[place]].outline for name, place in PLACES.items()}
        workers = [(told[x], *(words[x, broker] for broker in BROKERS)) for x in WORKERS]
        rest = *(told[x] for x in BROKERS), *(words[AGENT, broker] for broker in BROKERS)
        return told[AGENT], *rest, *sorted(workers, key=repr)

    def told(self, step: Step, state: State) -> str:
        """Return a step in words."""
        match step:
            case ("deliver", place, is_up):
                peer, broker = PAIRS[place - CHANNELS.start]
                channel = self.channels.values[state[place]]
                if is_up:
                    return f"{peer} > {broker}: {_word(channel.up[0])}"
                return f"{broker} > {peer}: {_word(channel.down[0])}"
            case ("wait", passed_s):
                return f"{passed_s:g} s pass"
            case ("dial",) | ("hang up",) | ("answer",):
                return f"the caller {step[0]}s".replace("hang ups", "hangs up")
            case _:
                return " ".join(map(str, step))

    def _words(self, number: int) -> tuple[Any, ...]:
        channel = self.channels.values[number]
        return channel.is_open, *(tuple(map(_word, x)) for x in (channel.up, channel.down))

    def _renamed_channel(self, number: int) -> int:
        other = self._renamed_channels.get(number)
        if other is None:
            is_open, up, down = self.channels.values[number]
            channel = Channel(is_open, tuple(map(renamed, up)), tuple(map(renamed, down)))
            other = self._renamed_channels[number] = self.channels.of(channel)
        return other

    def _renamed_owner(self, number: int) -> int:
        other = self._renamed_owners.get(number)
        if other is None:
            owners = self.owners.values[number]
            other = self.owners.of(frozenset((d, a, renamed(x)) for d, a, x in owners))
            self._renamed_owners[number] = other
        return other


def _word(message: bytes) -> str:
    if message == END:
        return "(over)"
    [(verb, _, attempt, _, _)], _ = decode_frame(message)
    return f"{Verb(verb).name}({attempt})"
