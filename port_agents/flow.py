"""Hold up whichever side of a hand-over gives more than the other takes.

Not the relay: bytes pass through the line's core, which counts them.  This is its back-pressure,
adjusted after each write to either side and whenever one of them has taken all.

Invariant: a line whose carrier only its text can tell of is never held up: NO CARRIER would stay
unread behind what a stuck service does not take, and the port with it.
"""

from __future__ import annotations

from typing import Final, Protocol

from port_agents.service_contract import Service

__all__ = ["HOLD_BYTES", "Flow", "Line"]

HOLD_BYTES: Final = 16_384
"""What may wait for one side before the other is held up; a quarter of what is refused."""


class Line(Protocol):
    """What is needed of the port; `SerialPort` is one."""

    @property
    def unwritten(self) -> int:
        """How many bytes wait for room in the driver."""

    def pause_reading(self) -> None:
        """Leave the caller's bytes in the driver."""

    def resume_reading(self) -> None:
        """Read them again."""


class Flow:
    """The back-pressure between one line and its service."""

    def __init__(self, line: Line, service: Service, *, knows_carrier: bool) -> None:
        """Balance two sides; `knows_carrier`: whether DCD tells that the caller is gone."""
        self._line = line
        self._service = service
        self._knows_carrier = knows_carrier
        self._holds_line = False
        self._holds_service = False

    def adjust(self) -> None:
        """Hold up or release each side, by what waits for the other now."""
        if self._holds_service != _must_hold(self._line.unwritten, held=self._holds_service):
            self._holds_service = not self._holds_service
            if self._holds_service:
                self._service.pause_output()
            else:
                self._service.resume_output()
        if not self._knows_carrier:
            return
        if self._holds_line != _must_hold(self._service.unwritten, held=self._holds_line):
            self._holds_line = not self._holds_line
            if self._holds_line:
                self._line.pause_reading()
            else:
                self._line.resume_reading()

    def end(self) -> None:
        """Release the line, whose service is over."""
        if self._holds_line:
            self._holds_line = False
            self._line.resume_reading()


def _must_hold(waiting: int, *, held: bool) -> bool:
    """Return whether the giving side is to wait: from the mark on, until all is taken."""
    return waiting > (0 if held else HOLD_BYTES)
