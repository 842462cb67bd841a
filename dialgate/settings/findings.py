"""Collect faults and warnings while a configuration is read, each at its place in the file."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping

from dialgate.errors import ConfigError, Fault
from dialgate.manual import DEFAULT_CONFIG
from dialgate.settings.authenticators import Problem
from dialgate.settings.locator import Path
from dialgate.text import printable

__all__ = ["Findings", "spell"]


def spell(path: Path) -> str:
    """Return `path` as operators write it: `agent.ports[0].hport`."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


class Findings:
    """The faults and warnings of one file.

    What follows from another fault is left out: once a key has a fault, nothing more is said
    about it or about what it holds.
    """

    def __init__(self, file: str, lines: Mapping[Path, int]) -> None:
        self._file = file
        self._lines = lines
        self._faults: dict[Path, Fault] = {}
        self._warnings: list[Fault] = []

    def fault(self, path: Path, what: str, mend: str) -> None:
        """Add a fault of the key `path`, unless it or what holds it has one already."""
        if not self.has_fault(path):
            self._faults[path] = self._at(path, what, mend)

    def has_fault(self, path: Path) -> bool:
        """Return whether the key `path` or what holds it has a fault."""
        return any(path[:length] in self._faults for length in range(len(path) + 1))

    def warning(self, path: Path, what: str, mend: str) -> None:
        """Add what no program refuses to start for."""
        self._warnings.append(self._at(path, what, mend))

    def add(self, path: Path, problems: Iterable[Problem]) -> None:
        """Add what a table at `path` says of its own keys."""
        if self.has_fault(path):
            return
        for key, what, mend, warning in problems:
            (self.warning if warning else self.fault)((*path, key), what, mend)

    def command(self, command: str) -> str:
        """Return a command line of dialgate's that reads this very file."""
        is_usual = self._file == DEFAULT_CONFIG
        return command if is_usual else f"{command} --config {shlex.quote(self._file)}"

    @property
    def faults(self) -> list[Fault]:
        """The faults in the order of their lines."""
        return sorted(self._faults.values(), key=lambda fault: fault.line)

    @property
    def warnings(self) -> list[Fault]:
        """The warnings in the order of their lines."""
        return sorted(self._warnings, key=lambda fault: fault.line)

    def conclude(self) -> None:
        """Return when there is no fault.

        Raises:
            ConfigError: with all of them.
        """
        if self._faults:
            raise ConfigError(self.faults)

    def _at(self, path: Path, what: str, mend: str) -> Fault:
        line = 0
        for length in range(len(path), 0, -1):
            line = self._lines.get(path[:length], 0)
            if line:
                break
        return Fault(self._file, line, printable(spell(path)), printable(what), printable(mend))
