"""What a port's shell tells its agent.

Not a port: `port_device` and `port` tell, `service` hears.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from port_agents.call import Call, Passed
from port_agents.line_actions import Closure, Record
from port_agents.modem_actions import ModemLines

__all__ = ["PortEvents"]


class PortEvents(Protocol):
    """What a port's shell tells its agent."""

    def opened(self, hport: str, lines: ModemLines | None) -> None:
        """Hear that the device is open; `lines` None: it has no modem lines."""

    def closed(self, hport: str, reason: str) -> None:
        """Hear that the device is gone, or did not open."""

    def receive(self, hport: str, data: bytes) -> None:
        """Take what was read from the device."""

    def lines_changed(self, hport: str, lines: ModemLines) -> None:
        """Hear how the modem lines are."""

    def drained(self, hport: str) -> None:
        """Hear that all that was written has left."""

    def service_output(self, hport: str, data: bytes) -> None:
        """Take what the service says."""

    def expect_user(self, hport: str) -> Mapping[str, str]:
        """Return variables that tell a service which starts now where to name its user."""

    def passed_by(self, hport: str, passed: Passed | None) -> None:
        """Hear what a direct service moved over the line; None: nobody counted."""

    def service_ended(self, hport: str, failure: str) -> None:
        """Hear that the service is gone; `failure`: why it could not be started."""

    def call_began(self, hport: str, call: Call) -> None:
        """Note that a call is under way."""

    def hook_ended(self, hport: str, failure: str) -> None:
        """Hear that the operator's hook has ended; `failure`: why it did not work."""

    def record(self, hport: str, record: Record) -> None:
        """Keep a record."""

    def keep_closure(self, hport: str, closure: Closure | None) -> None:
        """Keep over restarts that the port is closed, or is not."""
