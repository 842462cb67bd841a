"""Which of many is due when."""

from __future__ import annotations

import math

from port_agents.timers import Timers


def test_the_earliest_time_counts_and_each_is_due_once() -> None:
    timers: Timers[str] = Timers()
    assert timers.next() == math.inf

    timers.set("a", 5.0)
    timers.set("b", 3.0)
    timers.set("a", 2.0)
    timers.set("b", 9.0)

    assert timers.next() == 2.0
    assert timers.take_due(1.0) == []
    assert timers.take_due(4.0) == ["a", "b"]
    assert timers.next() == math.inf


def test_who_was_taken_may_be_set_anew() -> None:
    timers: Timers[str] = Timers()
    timers.set("a", 1.0)
    timers.take_due(1.0)

    timers.set("a", 7.0)

    assert timers.next() == 7.0
