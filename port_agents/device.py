"""What a port needs of its device, whatever kind it is.

`serial_port` has ttys, `network_port` ports behind terminal servers.
"""

from __future__ import annotations

from typing import Protocol

from dialgate.errors import DialgateError
from port_agents.modem_actions import ModemLines

__all__ = ["Device", "PortError", "PortListener"]


class PortError(DialgateError):
    """A device that can't be opened; the text names it and says how to mend that."""


class PortListener(Protocol):
    """Who is told what a port does.  Never called from inside a call to the port."""

    def on_bytes(self, data: bytes) -> None:
        """Take what was read, at least one byte, at most 64 KiB."""

    def on_drained(self) -> None:
        """Hear that the last byte of all writes so far has left."""

    def on_lines(self, lines: ModemLines) -> None:
        """Hear how the modem lines are, at first and after each change; never without lines."""

    def on_lost(self, reason: str) -> None:
        """Hear that the device is gone.  It is closed already."""


class Device(Protocol):
    """An open device.  It belongs to the event loop on which it was made."""

    @property
    def closed(self) -> bool:
        """Whether it is closed, by `close` or because it is gone."""

    @property
    def unwritten(self) -> int:
        """How many bytes wait to be taken."""

    def write(self, data: bytes) -> bool:
        """Write all of `data` in order; return False, writing none of it, when there is no room."""

    def flush(self) -> None:
        """Discard what waits in both directions."""

    def set_dtr(self, *, on: bool) -> bool:
        """Raise or drop DTR; return False where the device has no such line."""

    def lines(self) -> ModemLines | None:
        """Return the modem lines as last known; None: the device has none."""

    def watch_carrier(self, *, in_call: bool) -> None:
        """Look at the modem lines more often in a call, where they have to be looked at."""

    def pause_reading(self) -> None:
        """Leave what comes where it is, because it can't be passed on."""

    def resume_reading(self) -> None:
        """Read again."""

    def close(self) -> None:
        """Close it; what waits is lost.  Closing again does nothing, and nothing is told after."""
