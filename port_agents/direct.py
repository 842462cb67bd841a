"""A program on the line's own device, for those that need the real tty: pppd above all.

The program leads a session whose controlling terminal is the device itself, opened anew, so that
it blocks as programs expect while the agent's own descriptor never does.  Nothing is relayed: the
agent looks on at DCD, and at what the driver counted, and neither reads nor writes meanwhile.

Invariants: the leader is reaped last (`command`); what the driver did not count is None, never 0.
When the leader of a session exits, the kernel hangs its terminal up for all who have it open, so
the agent's descriptor is of no use after that: whoever lent the device opens it again.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import struct
from collections.abc import Mapping, Sequence
from typing import Final

from port_agents.call import Passed
from port_agents.command import ending_of, spawn
from port_agents.processes import end_session
from port_agents.service_contract import ServiceError, ServiceListener

__all__ = ["Direct", "count_passed", "start_direct"]

_TIOCGICOUNT: Final = 0x545D
"""Linux, asm-generic/ioctls.h; Python's termios has no name for it."""
_ICOUNT: Final = struct.Struct("20i")
"""struct serial_icounter_struct (linux/serial.h): cts, dsr, rng, dcd, rx, tx, ..., reserved[9]."""
_RX_TX: Final = slice(4, 6)
_WRAP: Final = 1 << 32
"""The driver's counters are 32 bits wide and start again at 0."""


def count_passed(fd: int) -> Passed | None:
    """Return what the driver of the tty `fd` has counted; None: it doesn't count (a PTY)."""
    try:
        answer = fcntl.ioctl(fd, _TIOCGICOUNT, bytes(_ICOUNT.size))
    except OSError:
        return None
    return Passed(*(count % _WRAP for count in _ICOUNT.unpack(answer)[_RX_TX]))


def start_direct(
    argv: Sequence[str],
    environment: Mapping[str, str],
    device: str,
    counter: int,
    listener: ServiceListener,
) -> Direct:
    """Start a program on `device`; `argv[0]` is its whole path.

    Args:
        argv: the program and its arguments.
        environment: all of its environment.
        device: path of the tty, which has carrier, or CLOCAL set: opening it must not wait.
        counter: a descriptor of the same tty, open for as long as the service lives.
        listener: is told when the program ends.

    Raises:
        ServiceError: it can't be started.
    """
    before = count_passed(counter)
    try:
        pid = spawn(argv, environment, device)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ServiceError(f"{argv[0]}: can't be started on {device}: {reason}") from error
    return Direct(pid, counter, before, listener)


class Direct:
    """A running program.  It belongs to the event loop on which it was started."""

    def __init__(
        self, pid: int, counter: int, before: Passed | None, listener: ServiceListener
    ) -> None:
        """Take over the leader of a session; `before`: what the driver had counted."""
        self._pid = pid
        self._counter = counter
        self._before = before
        self._passed = None if before is None else Passed(0, 0)
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self._stopped: asyncio.Task[bool] | None = None
        self._watch = os.pidfd_open(pid)
        self._loop.add_reader(self._watch, self._exited)

    @property
    def pid(self) -> int:
        """The process id of the program, which is its session's number, too."""
        return self._pid

    @property
    def passed(self) -> Passed | None:
        """What has passed since the program's start, by the last `look`; None: not counted."""
        return self._passed

    @property
    def bytes_in(self) -> int:
        """Bytes that the program may have read; 0 when nobody counts."""
        return self._passed.bytes_in if self._passed else 0

    @property
    def bytes_out(self) -> int:
        """Bytes that the program has written; 0 when nobody counts."""
        return self._passed.bytes_out if self._passed else 0

    @property
    def unwritten(self) -> int:
        """Nothing ever waits: nothing is written to it."""
        return 0

    def look(self) -> None:
        """Read the driver's counters, as long as they can be read: a hung-up tty has none."""
        now = count_passed(self._counter)
        if now is not None and self._before is not None:
            self._passed = Passed(
                (now.bytes_in - self._before.bytes_in) % _WRAP,
                (now.bytes_out - self._before.bytes_out) % _WRAP,
            )

    def write(self, data: bytes) -> bool:
        """Refuse: the program reads the line itself."""
        return not data

    def pause_output(self) -> None:
        """Do nothing: the program writes to the line itself."""

    def resume_output(self) -> None:
        """Do nothing, likewise."""

    async def stop(self, grace_s: float) -> bool:
        """Hang up on the program's session, end every process of it, and reap the program."""
        if self._stopped is None:
            self.look()
            self._loop.remove_reader(self._watch)
            self._stopped = asyncio.create_task(self._end(grace_s))
        return await asyncio.shield(self._stopped)

    async def _end(self, grace_s: float) -> bool:
        gone = await end_session(self._pid, grace_s)
        os.close(self._watch)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._pid, os.WNOHANG)  # noqa: ASYNC222 - WNOHANG does not wait
        return gone

    def _exited(self) -> None:
        self._loop.remove_reader(self._watch)
        result = os.waitid(os.P_PIDFD, self._watch, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        self._listener.on_end("ended" if result is None else ending_of(result))
