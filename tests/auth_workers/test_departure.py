"""When a worker that drains may go."""

from __future__ import annotations

import math

from auth_workers.departure import DRAIN_S_MIN, Departure


def test_a_worker_that_does_not_drain_stays() -> None:
    assert Departure().due(0) == Departure().due(1) == math.inf


def test_an_idle_worker_stays_for_what_crosses_its_drain() -> None:
    departure = Departure()

    assert departure.begin(30.0, now=10.0)
    assert departure.due(0) == 10.0 + DRAIN_S_MIN


def test_a_busy_worker_stays_until_the_deadline() -> None:
    departure = Departure()
    departure.begin(30.0, now=10.0)

    assert departure.due(1) == 40.0
    departure.begin(0.1, now=11.0)
    assert departure.due(0) == DRAIN_S_MIN + 10.0


def test_a_second_order_can_only_bring_the_deadline_forward() -> None:
    departure = Departure()
    departure.begin(30.0, now=10.0)

    assert not departure.begin(60.0, now=11.0)
    assert departure.remaining_ms(11.0) == 29_000
    assert not departure.begin(5.0, now=11.0)
    assert departure.remaining_ms(11.0) == 5_000
    assert departure.remaining_ms(99.0) == 0
