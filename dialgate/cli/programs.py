"""`dialgate broker`, `worker`, `agent` …: start a program, found by name and never imported."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import entry_points

from dialgate.errors import DialgateError

__all__ = ["run"]


def run(command: str, arguments: Sequence[str]) -> int:
    """Run the program `command` of the entry points "dialgate.programs" until it ends.

    Raises:
        DialgateError: it is not installed, or as the program does.
    """
    found = entry_points(group="dialgate.programs", name=command)
    if not found:
        raise DialgateError(f"the program {command!r} is not installed: install dialgate again")
    (program,) = found
    status: int = program.load()(arguments)
    return status
