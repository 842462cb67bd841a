"""What is remembered of dialogs that are over."""

from __future__ import annotations

from auth_workers.attempts import Attempts

A, B, C = (bytes([n]) * 16 for n in (1, 2, 3))


def test_the_attempt_of_an_ended_dialog_is_remembered_for_its_time() -> None:
    attempts = Attempts(keep_s=600.0)
    attempts.remember(A, 3, now=100.0)

    attempts.forget(now=699.9)
    assert attempts.highest(A) == 3

    attempts.forget(now=700.0)
    assert attempts.highest(A) == 0
    assert len(attempts) == 0


def test_an_unknown_dialog_has_attempt_0() -> None:
    assert Attempts(keep_s=600.0).highest(A) == 0


def test_a_later_attempt_is_remembered_for_its_own_time() -> None:
    attempts = Attempts(keep_s=600.0)
    attempts.remember(A, 1, now=0.0)
    attempts.remember(B, 1, now=1.0)
    attempts.remember(A, 2, now=2.0)

    attempts.forget(now=601.0)

    assert (attempts.highest(A), attempts.highest(B)) == (2, 0)


def test_at_the_limit_the_oldest_is_forgotten_and_counted() -> None:
    attempts = Attempts(keep_s=600.0, most=2)
    for dialog in (A, B, C):
        attempts.remember(dialog, 1, now=0.0)

    assert [attempts.highest(dialog) for dialog in (A, B, C)] == [0, 1, 1]
    assert attempts.forgotten_early == 1
