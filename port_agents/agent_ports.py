"""What an agent's ports tell it: each input goes to its line, and what that wants is passed on.

Pure.  `port_agents.agent` builds on it, and knows of brokers, dialogs and time.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping

from port_agents.agent_actions import Action
from port_agents.line import Line
from port_agents.line_actions import Action as LineAction
from port_agents.line_actions import Closure
from port_agents.modem_actions import ModemLines
from port_agents.reports import Reports

__all__ = ["PortInputs"]


class PortInputs(ABC):
    """The ports' inputs.  Each returns the actions to perform, in order."""

    lines: Mapping[str, Line]
    """By HPORT."""
    _reports: Reports
    """What observers are to be told of them."""

    @abstractmethod
    def _perform(self, line: Line, actions: Iterable[LineAction], now: float) -> None:
        """Pass on what `line` wants."""

    @abstractmethod
    def _done(self, now: float) -> list[Action]:
        """Return what this input leads to."""

    def opened(self, hport: str, lines: ModemLines | None, now: float) -> list[Action]:
        """Take note that a port's device is open."""
        line = self.lines[hport]
        return self._did(line, line.opened(lines, now), now)

    def closed(self, hport: str, reason: str, now: float) -> list[Action]:
        """Take note that a port's device is gone, or did not open."""
        line = self.lines[hport]
        return self._did(line, line.closed(reason, now), now)

    def receive(self, hport: str, data: bytes, now: float) -> list[Action]:
        """Take what was read from a port."""
        line = self.lines[hport]
        was_asking = line.modem.is_asking
        self._perform(line, line.receive(data, now), now)
        if was_asking and not line.modem.is_asking:
            self._reports.changed(line)  # What the modem said is for people to see.
        return self._done(now)

    def lines_changed(self, hport: str, lines: ModemLines, now: float) -> list[Action]:
        """Take a port's modem lines."""
        line = self.lines[hport]
        self._perform(line, line.lines_changed(lines, now), now)
        if line.is_clear:
            self._reports.changed(line)
        return self._done(now)

    def drained(self, hport: str, now: float) -> list[Action]:
        """Take note that all that was written to a port has left."""
        line = self.lines[hport]
        is_awaited = line.awaits_drain
        actions = line.drained(now)
        return self._did(line, actions, now) if is_awaited else []

    def hook_ended(self, hport: str, failure: str, now: float) -> list[Action]:
        """Take note that a port's hook has ended; `failure` says why it did not work."""
        line = self.lines[hport]
        return self._did(line, line.hook_ended(failure, now), now)

    def distrust(self, hports: Iterable[str]) -> None:
        """Hang up first on ports where an earlier run was killed in a call; before `start`."""
        for hport in hports:
            if hport in self.lines:
                self.lines[hport].distrust()

    def restore(self, closures: Mapping[str, Closure]) -> None:
        """Close the ports that operators closed in an earlier run; before `start`."""
        for hport, closure in closures.items():
            if hport in self.lines:
                self.lines[hport].restore(closure)

    def service_output(self, hport: str, data: bytes, now: float) -> list[Action]:
        """Take what a port's service says."""
        line = self.lines[hport]
        return self._did(line, line.service_output(data, now), now)

    def service_ended(self, hport: str, failure: str, now: float) -> list[Action]:
        """Take note that a port's service is gone; `failure` says why it could not be started."""
        line = self.lines[hport]
        return self._did(line, line.service_ended(failure, now), now)

    def service_user(self, hport: str, name: str, now: float) -> tuple[bool, list[Action]]:
        """Take the name that a port's service knows its caller by; return whether it is his."""
        line = self.lines[hport]
        same, actions = line.service_user(name, now)
        return same, self._did(line, actions, now)

    def _did(self, line: Line, actions: Iterable[LineAction], now: float) -> list[Action]:
        self._perform(line, actions, now)
        return self._done(now)
