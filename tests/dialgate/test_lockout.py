"""The rule of waiting: when a lock begins, how it grows, what takes it back."""

from __future__ import annotations

from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from dialgate.lockout import FRESH, Limit, Standing, charged, taken_back

LIMIT: Final = Limit(tries=3, wait_s=60, wait_max_s=600, forget_s=3600)
NOW: Final = 1_000_000


def after(tries: int, limit: Limit = LIMIT) -> tuple[Standing, int]:
    """Return the standing after failed tries, each made when the lock before it was over."""
    standing, now = FRESH, NOW
    for _ in range(tries):
        now = max(now + 1, standing.locked_until_s)
        standing = charged(standing, limit, now)
    return standing, now


def test_below_the_limit_nobody_waits() -> None:
    standing, now = after(2)

    assert standing.counted == 2
    assert not standing.is_locked(now)


def test_the_last_try_allowed_begins_a_wait_at_once() -> None:
    standing, now = after(3)

    assert standing.is_locked(now)
    assert standing.is_locked(now + 59)
    assert not standing.is_locked(now + 60)


def test_each_further_try_doubles_the_wait_up_to_the_longest() -> None:
    waits = [
        standing.locked_until_s - now for standing, now in (after(tries) for tries in range(3, 9))
    ]

    assert waits == [60, 120, 240, 480, 600, 600]


def test_after_a_long_time_without_a_try_the_count_begins_anew() -> None:
    standing, now = after(5)

    assert charged(standing, LIMIT, now + 3600) == Standing(1, 0, now + 3600)
    assert charged(standing, LIMIT, now + 3599).counted == 6


def test_a_limit_of_one_locks_with_the_first_try() -> None:
    standing, now = after(1, Limit(tries=1, wait_s=60, wait_max_s=60, forget_s=3600))

    assert standing.is_locked(now)


def test_a_try_that_is_taken_back_takes_its_lock_with_it() -> None:
    standing, now = after(3)

    assert not taken_back(standing, LIMIT).is_locked(now)
    assert taken_back(standing, LIMIT).counted == 2


def test_what_is_taken_back_leaves_the_lock_of_other_tries() -> None:
    standing, now = after(4)

    assert taken_back(standing, LIMIT).is_locked(now)


def test_nothing_is_taken_back_below_zero() -> None:
    assert taken_back(FRESH, LIMIT) == FRESH


@given(
    st.lists(st.integers(0, 500), max_size=60),
    st.integers(1, 5),
    st.integers(1, 100),
    st.integers(1, 1000),
)
def test_guesses_in_any_time_are_bounded_by_the_waits(
    pauses: list[int], tries: int, wait_s: int, wait_max_s: int
) -> None:
    """Whoever asks as often as he likes is checked `tries` times and then once a wait."""
    limit = Limit(tries=tries, wait_s=wait_s, wait_max_s=wait_max_s, forget_s=10**9)
    standing, now, checked = FRESH, NOW, 0
    for pause in pauses:
        now += pause
        if not standing.is_locked(now):
            standing = charged(standing, limit, now)
            checked += 1

    shortest_s = min(wait_s, wait_max_s)
    assert checked <= tries + (now - NOW) // shortest_s
