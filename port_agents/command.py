"""A program on a terminal of its own, as the service behind a line.

The program leads a session whose controlling terminal is a new PTY; the agent holds the other side
and relays, so that bytes, idle time and carrier stay the agent's.  It is started by posix_spawn:
nothing of ours runs between fork and exec, where threads and locks of the agent would be traps, and
the first tty that the leader of a new session opens becomes its controlling terminal by itself.

Invariants: the program has ended only when its process has (a login that hangs up its terminal in
order to own it has not); the leader is reaped last, so that its session's number stays ours.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import signal
import struct
import termios
import tty
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from port_agents.bounded_writer import BoundedWriter
from port_agents.processes import end_session
from port_agents.service_contract import ServiceError, ServiceListener

__all__ = ["Command", "ending_of", "spawn", "start_command"]

READ_BYTES: Final = 4096
"""Taken in one turn of the loop."""
HUNG_UP_POLL_S: Final = 0.02
"""How soon to look again at a terminal that no process has open."""
ROWS_COLUMNS: Final = (24, 80)

_STDERR: Final = 2
_LEASH: Final = ("/usr/bin/setpriv", "--pdeathsig", "KILL", "--")
"""Kills the program when the agent is gone, whatever it does about its terminal's hang-up.

A program that changes its user loses the leash (prctl(2)); the next agent's start ends it."""
_DEFAULT_SIGNALS: Final = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}


def start_command(
    argv: Sequence[str],
    environment: Mapping[str, str],
    listener: ServiceListener,
    *,
    is_raw: bool = False,
) -> Command:
    """Start a program; `argv[0]` is its whole path, `environment` all of its environment.

    Unless `is_raw`, the terminal begins as a login finds it: with echo and line editing.

    Raises:
        ServiceError: it can't be started.
    """
    try:
        master, slave = os.openpty()
        try:
            fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", *ROWS_COLUMNS, 0, 0))
            if is_raw:
                tty.setraw(slave)
            # The slave stays open until the child has it: with nobody there it would be hung up.
            pid = spawn(argv, environment, os.ttyname(slave))
        except BaseException:
            os.close(master)
            raise
        finally:
            os.close(slave)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ServiceError(f"{argv[0]}: can't be started: {reason}") from error
    os.set_blocking(master, False)
    return Command(pid, master, listener)


def spawn(argv: Sequence[str], environment: Mapping[str, str], terminal: str) -> int:
    """Start a program as the leader of a session with the tty `terminal`; return its process id.

    Raises:
        OSError, ValueError: it can't be started.
    """
    # setpriv says of a program that can't be started what only the caller would read.
    program = Path(argv[0])
    if not (program.is_file() and os.access(program, os.X_OK)):
        number = errno.EACCES if program.exists() else errno.ENOENT
        raise OSError(number, os.strerror(number))
    command = [*_LEASH, *argv] if Path(_LEASH[0]).exists() else list(argv)
    return os.posix_spawn(
        command[0],
        command,
        environment,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, terminal, os.O_RDWR, 0),
            (os.POSIX_SPAWN_DUP2, 0, 1),
            (os.POSIX_SPAWN_DUP2, 0, 2),
            *((os.POSIX_SPAWN_CLOSE, fd) for fd in _inheritable()),
        ],
        setsid=True,
        setsigmask=[],
        setsigdef=_DEFAULT_SIGNALS,
    )


def _inheritable() -> list[int]:
    """Return descriptors that a child would get: those our own parent left open, as a rule."""
    found = []
    for entry in Path("/proc/self/fd").iterdir():
        fd = int(entry.name)
        # The one that lists the directory is closed by now.
        with contextlib.suppress(OSError):
            if fd > _STDERR and os.get_inheritable(fd):
                found.append(fd)
    return found


class Command:
    """A running program.  It belongs to the event loop on which it was started."""

    def __init__(self, pid: int, master: int, listener: ServiceListener) -> None:
        """Take over the leader of a session and the master side of its terminal."""
        self._pid = pid
        self._master = master
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self._writer = BoundedWriter(master, self._taken, self._write_failed)
        self._bytes_out = 0
        self._paused = False
        self._ended = False
        self._status: str | None = None
        self._retry: asyncio.Handle | None = None
        self._drained: asyncio.Handle | None = None
        self._stopped: asyncio.Task[bool] | None = None
        self._watch = os.pidfd_open(pid)
        self._loop.add_reader(self._watch, self._exited)
        self._loop.add_reader(master, self._read_ready)

    @property
    def pid(self) -> int:
        """The process id of the program, which is its session's number, too."""
        return self._pid

    @property
    def bytes_in(self) -> int:
        """How many bytes the program's terminal has taken."""
        return self._writer.written

    @property
    def bytes_out(self) -> int:
        """How many bytes the program has written."""
        return self._bytes_out

    @property
    def unwritten(self) -> int:
        """How many bytes wait for room in the program's terminal."""
        return len(self._writer)

    def write(self, data: bytes) -> bool:
        """Type all of `data` at the program's terminal; False when there is no room."""
        return self._stopped is None and self._writer.write(data)

    def pause_output(self) -> None:
        """Leave output in the terminal: a full one makes the program wait."""
        self._paused = True
        self._loop.remove_reader(self._master)

    def resume_output(self) -> None:
        """Take output again."""
        if self._stopped is None:
            self._paused = False
            self._read_on()

    async def stop(self, grace_s: float) -> bool:
        """Hang up the terminal, end every process of the session, and reap the program."""
        if self._stopped is None:
            self._detach()
            self._stopped = asyncio.create_task(self._end(grace_s))
        return await asyncio.shield(self._stopped)

    async def _end(self, grace_s: float) -> bool:
        gone = await end_session(self._pid, grace_s)
        os.close(self._watch)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._pid, os.WNOHANG)  # noqa: ASYNC222 - WNOHANG does not wait
        return gone

    def _detach(self) -> None:
        """Close the master side, which hangs up on the program, and tell nothing any more."""
        self._writer.clear()
        self._loop.remove_reader(self._master)
        self._loop.remove_reader(self._watch)
        for handle in (self._retry, self._drained):
            if handle is not None:
                handle.cancel()
        os.close(self._master)

    def _read_ready(self) -> None:
        try:
            data = os.read(self._master, READ_BYTES)
        except BlockingIOError:
            data = b""
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            data = b""
            if self._status is None:
                # No process has the terminal open: the end, or a login that hangs it up in order
                # to own it alone.  The reader would spin until then.
                self._loop.remove_reader(self._master)
                self._retry = self._loop.call_later(HUNG_UP_POLL_S, self._read_on)
        if data:
            self._bytes_out += len(data)
            self._listener.on_output(data)
        elif self._status is not None and not self._ended:
            self._ended = True
            self._loop.remove_reader(self._master)
            self._listener.on_end(self._status)

    def _read_on(self) -> None:
        if not self._paused and not self._ended:
            self._loop.add_reader(self._master, self._read_ready)

    def _exited(self) -> None:
        """Note how the program ended; told when its last output has been read."""
        self._loop.remove_reader(self._watch)
        result = os.waitid(os.P_PIDFD, self._watch, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        self._status = "ended" if result is None else ending_of(result)
        # The kernel has hung up the terminal of a leader that is gone, so the reader is called.
        self._read_on()

    def _taken(self) -> None:
        self._drained = self._loop.call_soon(self._listener.on_drained)

    def _write_failed(self, _error: OSError) -> None:
        """Do nothing: a terminal that can't be written has lost its program, which is told."""


def ending_of(result: os.waitid_result) -> str:
    """Return in words how a process ended."""
    if result.si_code == os.CLD_EXITED:
        return f"exited with status {result.si_status}"
    return f"killed by {signal.Signals(result.si_status).name}"
