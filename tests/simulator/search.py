"""Breadth-first search through all that can happen in a small cluster of real cores.

One port, two brokers, two workers: the agent's core with its line and a simulated modem, each
broker's switchboard, each worker's core.  From every state every step is tried: deliver the first
message of any channel, let the caller dial, answer or hang up, break a session, kill and start a
process, let time pass.  States that nothing can tell apart are one; a search that ends has seen
them all, and no order of steps is left out for being like another.

What is the same is decided in three places, and nowhere else: what is told of a process
(`small_world.told`), what it forgets (`settle`, `small_world.parts` and `site`), and that workers
differ by name only (`World.least`).  `compare` does without all three, where that ends, and sees
whether it comes to the same.  What bounds a search is in `Bounds` and in `small_world.moment`.

Checked in every state: the rules that processes check, I1 between them, I3 and I4 where nothing is
under way or due; and once all is seen, that there is a way to a state of rest from each.
"""

from __future__ import annotations

import math
import struct
import time
from array import array
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any, Final, NamedTuple

from tests.simulator.small_world.moment import OWNERS
from tests.simulator.small_world.parts import Broken
from tests.simulator.small_world.world import Bounds, State, World

__all__ = ["Bounds", "Broken", "Found", "compare", "search"]

Outline = tuple[Any, ...]
PACKED: Final = struct.Struct(f"<{OWNERS + 1}I")


class Found(NamedTuple):
    """What a search has come to."""

    states: int
    steps: int
    deepest: int
    """All states are among them that so many steps lead to."""
    is_whole: bool
    """Whether there are no others within the bounds."""


class Search:
    """A search through a world."""

    def __init__(self, world: World) -> None:
        first = PACKED.pack(*world.first())
        self.world = world
        self.edge = [first]
        """The states that are furthest away, where a search goes on."""
        self.deepest = 0
        self._numbers = {first: 0}
        """By state: how many were found before it."""
        self._before = array("I", [0])
        """By state: one that leads to it on a shortest way."""
        self._from = array("I")
        self._to = array("I")
        """Both ends of each step."""
        self._quiet: list[int] = []

    @property
    def states(self) -> int:
        return len(self._numbers)

    def go_on(self, is_over: Callable[[], bool]) -> bool:
        """Take every step from the edge; return whether `is_over` did not end that early."""
        following: list[bytes] = []
        numbers = self._numbers
        for packed in self.edge:
            if is_over():
                return False
            here, state = numbers[packed], PACKED.unpack(packed)
            try:
                if self.world.is_quiet(state):
                    self._quiet.append(here)
            except Broken as broken:
                raise self._broken(str(broken), here) from broken
            for step in self.world.steps(state):
                try:
                    after = PACKED.pack(*self.world.after(state, step))
                except Broken as broken:
                    raise self._broken(str(broken), here, self.world.told(step, state)) from broken
                there = numbers.get(after)
                if there is None:
                    there = numbers[after] = len(numbers)
                    self._before.append(here)
                    following.append(after)
                self._from.append(here)
                self._to.append(there)
        self.edge = following
        self.deepest += bool(following)
        return True

    def found(self) -> Found:
        """Return what the search has come to."""
        return Found(self.states, len(self._from), self.deepest, is_whole=not self.edge)

    def outlines(self) -> tuple[set[Outline], set[tuple[Outline, Outline]]]:
        """Return what can be seen of states from outside, and what follows what."""
        outlines = [self.world.outline(PACKED.unpack(each)) for each in self._numbers]
        changes = {(outlines[here], outlines[there]) for here, there in self._ends()}
        return set(outlines), {(here, there) for here, there in changes if here != there}

    def _ends(self) -> Iterator[tuple[int, int]]:
        """Yield where each step leads from and to, the last first."""
        return zip(reversed(self._from), reversed(self._to), strict=True)

    def check_ways_to_rest(self) -> None:
        """I3: from every state there is a way to one that is quiet; all must have been seen.

        Raises:
            Broken: from one there is none.
        """
        leads_there = bytearray(self.states)
        for number in self._quiet:
            leads_there[number] = 1
        found = True
        while found:
            found = False
            # Backwards, since most steps lead to a state that was found later.
            for here, there in self._ends():
                if leads_there[there] and not leads_there[here]:
                    leads_there[here] = found = True
        if (stuck := leads_there.find(0)) >= 0:
            raise self._broken("I3: from here nothing comes to rest", stuck)

    def _broken(self, rule: str, number: int, *more: str) -> Broken:
        """Return what to raise, with the shortest way there."""
        way = [number]
        while way[-1]:
            way.append(self._before[way[-1]])
        packed = list(self._numbers)
        states = [PACKED.unpack(packed[each]) for each in reversed(way)]
        names = [self._step(*each) for each in pairwise(states)]
        return Broken("\n".join([rule, *names, *more]))

    def _step(self, this: State, that: State) -> str:
        """Return in words what leads from one state to the next."""
        for step in self.world.steps(this):
            try:
                if self.world.after(this, step) == that:
                    return self.world.told(step, this)
            except Broken:
                continue
        raise AssertionError("no step leads there")


def search(bounds: Bounds, *, until: float = math.inf) -> Found:
    """Visit every state within `bounds`, the nearest first.

    Args:
        bounds: what may happen.
        until: when to stop, in monotonic seconds.

    Raises:
        Broken: a rule doesn't hold; the text has the shortest way there.
    """
    return _searched(World(bounds), until).found()


def compare(bounds: Bounds) -> Found:
    """Visit every state and take no two for one; return what that has come to.

    Raises:
        Broken: a rule doesn't hold; or what can be seen from outside, and what follows what, is not
            what it is where states are taken for one.
    """
    whole = _searched(World(bounds, is_whole=True))
    if whole.outlines() != _searched(World(bounds)).outlines():
        raise Broken("states are taken for one that are not")
    return whole.found()


def _searched(world: World, until: float = math.inf) -> Search:
    """Return a search that has gone as far as the bounds and the time let it."""
    search = Search(world)

    def is_over() -> bool:
        return search.states >= world.bounds.states_max or time.monotonic() > until

    while search.edge and search.go_on(is_over):
        pass
    if not search.edge:
        search.check_ways_to_rest()
    return search
