"""What a rule looks at: the facts of a call and of its caller, and the keys that judge them.

A call's facts are known from its first moment; who calls is known only once he has said so, and
which roles he has once a factor has proved it.  So a key answers yes, no, or that it is open yet.

Invariant: an answer that isn't open stays the same whatever becomes known later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from fnmatch import fnmatchcase
from typing import Literal, Protocol

from msgspec import Struct

from dialgate.enums import direct_members

__all__ = ["Answer", "Key", "Patterns", "Roles", "Situation"]


@direct_members
class Answer(Enum):
    """What a key says of a situation."""

    YES = "yes"
    NO = "no"
    OPEN = "open"
    """It depends on what isn't known yet."""


class Situation(Struct, frozen=True):
    """A call as far as it is known."""

    site: str
    hport: str
    caller: str
    """Number that called, unverified; empty: none was given."""
    called: str
    """Number that was called; empty: the line doesn't tell."""
    at: datetime
    """Now, with a time zone."""
    user: str | None = None
    """Whom the caller says he is; None: he hasn't said."""
    roles: frozenset[str] | None = None
    """His roles; None: nobody has vouched for him."""


class Key(Protocol):
    """One condition of a rule."""

    def judge(self, situation: Situation) -> Answer:
        """Return whether the condition holds."""
        ...

    def explain(self, situation: Situation) -> str:
        """Return in words what is wanted and what there is, with the key's name before it."""
        ...


@dataclass(frozen=True, slots=True)
class Patterns:
    """One fact must match one of the patterns, as `fnmatch.fnmatchcase` matches."""

    key: str
    """As the configuration calls it: sites, ports, callers, called, users."""
    fact: Literal["site", "hport", "caller", "called", "user"]
    patterns: tuple[str, ...]

    def judge(self, situation: Situation) -> Answer:
        """Return OPEN while nobody has said who he is, for users only."""
        value: str | None = getattr(situation, self.fact)
        if value is None:
            return Answer.OPEN
        matches = any(fnmatchcase(value, pattern) for pattern in self.patterns)
        return Answer.YES if matches else Answer.NO

    def explain(self, situation: Situation) -> str:
        """Return the patterns and the fact."""
        value: str | None = getattr(situation, self.fact)
        return f"{self.key}: {_listed(self.patterns)}, and it is {_quoted(value)}"


@dataclass(frozen=True, slots=True)
class Roles:
    """The user must have one of the roles."""

    roles: frozenset[str]

    def judge(self, situation: Situation) -> Answer:
        """Return OPEN while nobody has vouched for the user."""
        if situation.roles is None:
            return Answer.OPEN
        return Answer.NO if self.roles.isdisjoint(situation.roles) else Answer.YES

    def explain(self, situation: Situation) -> str:
        """Return the roles wanted and those there are."""
        has = situation.roles
        known = "not known yet" if has is None else _listed(sorted(has)) if has else "none"
        return f"roles: {_listed(sorted(self.roles))}, and his are {known}"


def _listed(words: Sequence[str]) -> str:
    return " or ".join(words)


def _quoted(value: str | None) -> str:
    if value is None:
        return "not known yet"
    return f'"{value}"' if value else "not given"
