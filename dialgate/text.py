"""Text from outside, made fit for a person's eyes."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["counted", "printable"]

_CONTROL: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u2028\u2029"
    "\u200e\u200f\u202a-\u202e\u2066-\u2069]"  # these turn the direction of text
)
_CONTROL_BUT_NEWLINE: Final = re.compile(f"(?!\n){_CONTROL.pattern}")


def counted(number: int, thing: str) -> str:
    """Return how many of a `thing` there are, as `1 port` or `2 ports`."""
    return f"{number} {thing}" + ("" if number == 1 else "s")


def printable(text: str, *, newlines: bool = False) -> str:
    r"""Return `text` with every control character as its escape (`\x1b`), newlines perhaps not."""
    pattern = _CONTROL_BUT_NEWLINE if newlines else _CONTROL
    return pattern.sub(lambda match: match[0].encode("unicode_escape").decode(), text)
