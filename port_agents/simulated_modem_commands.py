"""What a simulated modem understands: its commands, registers and result codes.

Pure text; what a command does is `port_agents.simulated_modem`.

Invariant: what is not in these tables is no command, and ends its line.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, NamedTuple

__all__ = ["FACTORY", "NUMBERS", "REGISTERS", "Command", "commands"]

FACTORY: Final = {"E": 1, "Q": 0, "V": 1, "X": 4, "&C": 1, "&D": 2}
"""Settings as they leave the factory."""
REGISTERS: Final = {0: 0, 1: 0, 2: 43, 3: 13, 4: 10, 5: 8, 6: 2, 7: 50, 8: 2, 10: 14, 12: 50}
"""Every S register there is, with its factory value."""
NUMBERS: Final = {"OK": 0, "CONNECT": 1, "RING": 2, "NO CARRIER": 3, "ERROR": 4, "BUSY": 7}
"""Results as they are said after V0."""

LINES_KEPT: Final = 64
"""Command lines of which it is remembered what they say: a computer's are always the same few."""

_COMMAND: Final = re.compile(
    r"(?:\+VCID|#CID)=(?P<caller_id>[01])"
    r"|\+FCLASS(?:=(?P<service_class>0|\?)|\?)"
    r"|S(?P<register>\d{1,2})(?:=(?P<value>\d{1,3})|\?)"
    r"|D[TP]?(?P<dialled>[\d*#,W@!()-]*)$"
    r"|(?P<name>&[A-Z]|[AEHILMOQVXZ])(?P<number>\d{0,2})"
)
_NOT_DIALLED: Final = re.compile(r"[^\d*#]")
"""Pauses, waits and what makes a number readable."""
_RANGES: Final = {
    "A": 0, "E": 1, "H": 1, "I": 9, "L": 3, "M": 3, "O": 1, "Q": 1, "V": 1, "X": 7, "Z": 1,
    "&C": 1, "&D": 3, "&F": 1, "&K": 6, "&S": 2, "&W": 1,
}  # fmt: skip
"""Every other command there is, with the largest number it takes."""


class Command(NamedTuple):
    """One command of a line."""

    name: str
    """As typed, without its number; "caller id" for both ways to ask for it."""
    number: int = 0
    """0 where none was typed; of "S" the register."""
    text: str = ""
    """Of "S" the new value, empty if it is asked for; of "D" the number dialled."""


@lru_cache(LINES_KEPT)
def commands(line: str) -> tuple[Command | None, ...]:
    """Return the commands of `line`, and None for the first that is none; then it ends.

    Args:
        line: upper case, without blanks; begins with AT.
    """
    read: list[Command | None] = []
    at = len("AT")
    while at < len(line):
        found = _COMMAND.match(line, at)
        command = None if found is None else _command(found)
        read.append(command)
        if found is None or command is None:
            break
        at = found.end()
    return tuple(read)


def _command(found: re.Match[str]) -> Command | None:
    if name := found["name"]:
        number = int(found["number"] or 0)
        return Command(name, number) if number <= _RANGES.get(name, -1) else None
    if found["register"]:
        return Command("S", int(found["register"]), found["value"] or "")
    if found["dialled"] is not None:
        return Command("D", text=_NOT_DIALLED.sub("", found["dialled"]))
    if found["caller_id"]:
        return Command("caller id", int(found["caller_id"]))
    return Command("+FCLASS", text=found["service_class"] or "?")
