"""What the words of several authenticators come to: every chain of one, two and three of them."""

from __future__ import annotations

from itertools import product

import pytest

from dialgate.policy import Chain, Outcome, next_step

YES, NO, AWAY = Outcome.ACCEPTED, Outcome.REFUSED, Outcome.UNAVAILABLE


def walk(chain: Chain, says: tuple[Outcome, ...]) -> tuple[Outcome, int]:
    """Return the outcome, and how many were asked for it."""
    names = [str(number) for number in range(len(says))]
    said: dict[str, Outcome] = {}
    while isinstance(step := next_step(chain, names, said), str):
        assert step not in said
        said[step] = says[int(step)]
    return step, len(said)


@pytest.mark.parametrize(
    ("chain", "says", "outcome", "asked"),
    [
        ("fallback", (YES, NO), YES, 1),
        ("fallback", (NO, YES), NO, 1),
        ("fallback", (AWAY, YES), YES, 2),
        ("fallback", (AWAY, NO), NO, 2),
        ("fallback", (AWAY, AWAY), AWAY, 2),
        ("first", (YES, NO), YES, 1),
        ("first", (NO, YES), YES, 2),
        ("first", (NO, NO), NO, 2),
        ("first", (AWAY, YES), YES, 2),
        ("first", (AWAY, NO), AWAY, 2),
        ("first", (NO, AWAY), AWAY, 2),
        ("all", (YES, YES), YES, 2),
        ("all", (YES, NO), NO, 2),
        ("all", (NO, YES), NO, 1),
        ("all", (YES, AWAY), AWAY, 2),
        ("all", (AWAY, YES), AWAY, 1),
    ],
)
def test_two_authenticators(
    chain: Chain, says: tuple[Outcome, ...], outcome: Outcome, asked: int
) -> None:
    assert walk(chain, says) == (outcome, asked)


@pytest.mark.parametrize("chain", ["fallback", "first", "all"])
@pytest.mark.parametrize("says", list(product(Outcome, repeat=3)))
def test_unavailable_never_lets_anybody_in_or_refuses_him(
    chain: Chain, says: tuple[Outcome, ...]
) -> None:
    outcome, asked = walk(chain, says)
    heard = says[:asked]

    assert outcome in heard
    if outcome is YES:
        assert heard[-1] is YES
        assert chain != "all" or says == (YES, YES, YES)
    if outcome is NO:
        assert AWAY not in heard or chain == "fallback"


@pytest.mark.parametrize("chain", ["fallback", "first", "all"])
@pytest.mark.parametrize("says", list(Outcome))
def test_a_chain_of_one_says_what_that_one_says(chain: Chain, says: Outcome) -> None:
    assert walk(chain, (says,)) == (says, 1)
