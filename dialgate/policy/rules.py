"""Which rule decides, and which one meets a caller of whom nothing is known yet.

The first rule that nothing known rules out decides.  One that names users or roles is open until
they are known, and an open rule counts as one that matches: the caller is asked for its factors,
and judged again with whatever they prove.  Nobody is admitted while the rule that decides is open.

Invariant: as more becomes known of one caller at one moment, the rule chosen moves down the list,
never up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dialgate.policy.keys import Answer, Key, Situation

__all__ = ["Rule", "choose", "choose_door"]


@dataclass(frozen=True, slots=True)
class Rule:
    """The conditions of one policy; without any it matches every call."""

    keys: tuple[Key, ...]

    def judge(self, situation: Situation) -> Answer:
        """Return NO if one key says no, else OPEN if one is open, else YES."""
        answers = {key.judge(situation) for key in self.keys}
        if Answer.NO in answers:
            return Answer.NO
        return Answer.OPEN if Answer.OPEN in answers else Answer.YES

    def reasons(self, situation: Situation) -> list[str]:
        """Return why the rule does not match, or what is open: a line a key."""
        wanted = self.judge(situation)
        if wanted is Answer.YES:
            return []
        return [key.explain(situation) for key in self.keys if key.judge(situation) is wanted]


def choose(rules: Sequence[Rule], situation: Situation) -> int | None:
    """Return the index of the rule that decides; None: there is none, so nobody gets in."""
    for index, rule in enumerate(rules):
        if rule.judge(situation) is not Answer.NO:
            return index
    return None


def choose_door(rules: Sequence[Rule], situation: Situation) -> int | None:
    """Return the index of the rule whose words and tries a caller meets at the door.

    It is the first that is for everybody who calls so, since a rule for few must not greet all; if
    there is none, the first of those that may match.
    """
    for index, rule in enumerate(rules):
        if rule.judge(situation) is Answer.YES:
            return index
    return choose(rules, situation)
