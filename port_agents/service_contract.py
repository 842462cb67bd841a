"""What a line and the service behind it are to each other, whatever kind of service it is.

Not a service: `command` runs programs, `console` connects, `handover` chooses.
"""

from __future__ import annotations

from typing import Protocol

from dialgate.errors import DialgateError

__all__ = ["Service", "ServiceError", "ServiceListener"]


class ServiceError(DialgateError):
    """A service that could not be started; the text is for the operator and names the service."""


class ServiceListener(Protocol):
    """Who is told what a running service does.  Never called from inside a call to the service."""

    def on_output(self, data: bytes) -> None:
        """Take bytes for the caller, at most 64 KiB at a time."""

    def on_drained(self) -> None:
        """Hear that the service has taken all that was written."""

    def on_end(self, reason: str) -> None:
        """Hear, once and last, that the service ended by itself, after all of its output.

        `reason` is for the operator.  `stop` is still to be called.
        """


class Service(Protocol):
    """A running service.  Whoever started it calls `stop`, however it ended."""

    @property
    def bytes_in(self) -> int:
        """How many bytes the service has taken."""

    @property
    def bytes_out(self) -> int:
        """How many bytes the service has given."""

    @property
    def unwritten(self) -> int:
        """How many bytes wait for the service to take them."""

    def write(self, data: bytes) -> bool:
        """Give the service all of `data`; return False, giving none, when there is no room."""

    def pause_output(self) -> None:
        """Leave the service's output with it, because the line can't take it."""

    def resume_output(self) -> None:
        """Take output again."""

    async def stop(self, grace_s: float) -> bool:
        """End the service and everything it started; nothing is told any more.

        It is asked first and killed after `grace_s`.  Return whether all of it is gone, which is
        certain soon after.  Stopping again does nothing.
        """
