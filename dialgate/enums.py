"""Enums for hot paths: CPython 3.11 finds, hashes and evaluates a member by running Python code.

0.2 µs each does not matter once, but every message of a dialog asks for a dozen.  From 3.12 on the
interpreter does by itself what `direct_members` does here.
"""

from __future__ import annotations

from enum import Enum
from operator import attrgetter
from typing import TypeVar

__all__ = ["direct_members"]

_E = TypeVar("_E", bound=type[Enum])


def direct_members(enum: _E) -> _E:
    """Make members plain attributes, and hash them and tell their values without running Python.

    A member that is no int or str is hashed by its identity, by which it is compared anyway.
    """
    for name, member in enum.__members__.items():
        type.__setattr__(enum, name, member)
    enum.value = property(attrgetter("_value_"))  # type: ignore[assignment,method-assign]
    if not issubclass(enum, int | str):
        enum.__hash__ = object.__hash__  # type: ignore[method-assign]
    return enum
