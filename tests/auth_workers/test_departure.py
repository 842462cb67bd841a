"""When a worker that drains may go."""

from __future__ import annotations

from auth_workers.departure import DRAIN_S_MIN, Departure


def test_a_worker_that_does_not_drain_stays() -> None:
    assert not Departure().is_due(0, now=1e9)


def test_an_idle_worker_stays_for_what_crosses_its_drain() -> None:
    departure = Departure()

    assert departure.begin(30.0, now=10.0)
    assert not departure.is_due(0, now=10.0)
    assert departure.is_due(0, now=10.0 + DRAIN_S_MIN)


def test_a_busy_worker_stays_until_the_deadline() -> None:
    departure = Departure()
    departure.begin(30.0, now=10.0)

    assert not departure.is_due(1, now=39.9)
    assert departure.is_due(1, now=40.0)


def test_a_second_order_can_only_bring_the_deadline_forward() -> None:
    departure = Departure()
    departure.begin(30.0, now=10.0)

    assert not departure.begin(60.0, now=11.0)
    assert departure.remaining_ms(11.0) == 29_000
    assert not departure.begin(5.0, now=11.0)
    assert departure.remaining_ms(11.0) == 5_000
    assert departure.remaining_ms(99.0) == 0
