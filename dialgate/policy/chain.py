"""Whom to ask next of a policy's authenticators, and what their words come to.

Invariants: "unavailable" never comes to "refused" nor to "accepted"; nobody is asked twice in a
try.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Literal, assert_never

__all__ = ["Chain", "Outcome", "next_step"]

Chain = Literal["fallback", "first", "all"]
"""How authenticators are combined.

fallback: the first that can be asked decides; first: one that accepts is enough; all: each must
accept, as with a password and a one-time code.
"""


class Outcome(Enum):
    """What an authenticator, or a chain of them, says of a try."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    UNAVAILABLE = "unavailable"
    """There was nobody to ask."""


def next_step(chain: Chain, names: Sequence[str], said: Mapping[str, Outcome]) -> str | Outcome:
    """Return who is to be asked next, or the outcome when nobody is.

    Args:
        chain: how the answers are combined.
        names: of the authenticators, in order, at least one.
        said: what those that were asked in this try have said.
    """
    for name in names:
        outcome = said.get(name)
        if outcome is None:
            return name
        match chain:
            case "all":
                if outcome is not Outcome.ACCEPTED:
                    return outcome
            case "fallback":
                if outcome is not Outcome.UNAVAILABLE:
                    return outcome
            case "first":
                if outcome is Outcome.ACCEPTED:
                    return outcome
            case _:
                assert_never(chain)
    outcomes = {said[name] for name in names}
    if chain == "all":
        return Outcome.ACCEPTED
    # Whoever could not be asked might have accepted: then nothing is decided.
    return Outcome.UNAVAILABLE if Outcome.UNAVAILABLE in outcomes else Outcome.REFUSED
