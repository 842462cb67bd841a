"""`dialgate node`: all programs that a configuration names, as supervised child processes.

The configuration is checked as a whole before anything starts.  Each child tells the node that it
is ready, and that it lives, as it would tell systemd; one that ends or falls silent is started
again, after a pause that doubles.  One that can't start at all ends the node: nothing half-starts.
To end, the agent goes first, while there is still a broker to say END to, and the broker last.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog

from dialgate.errors import DialgateError
from dialgate.lifecycle import SUPERVISOR, Life, program_parser
from dialgate.lifecycle import run as run_life
from dialgate.settings import load
from dialgate.telemetry import start_log

__all__ = ["Child", "run", "supervise"]

PAUSE_S_MIN: Final = 1.0
PAUSE_S_MAX: Final = 30.0
STEADY_S: Final = 60.0
"""A child that has run so long is started again at once when it ends."""
WATCHDOG_S: Final = 30.0
"""A child that gives no sign of life for so long is killed and started again."""
STOP_S: Final = 3.0
"""How long a child that is stopped at once may take."""
NOTE_BYTES_MAX: Final = 4096

_COMMAND: Final = (sys.executable, "-m", "dialgate")

log = structlog.get_logger()

_DESCRIPTION: Final = """Runs every program that the configuration names ([broker], [worker],
    [agent]) on this machine, each in a process of its own, and starts again what ends."""


def run(command: str, arguments: Sequence[str]) -> int:
    """Run the node until it is told to stop, and return its exit status."""
    options = program_parser(command, _DESCRIPTION).parse_args(arguments)
    start_log(command, options.log_level)

    async def serve(life: Life) -> None:
        settings = load(options.config)
        if not settings.programs:
            raise DialgateError(f"{options.config}: names no program: add [broker] or another")
        load(options.config, *settings.programs)
        with tempfile.TemporaryDirectory(prefix="dialgate-node-") as directory:
            children = [
                Child(program, [*_COMMAND, program, *arguments], Path(directory) / program)
                for program in settings.programs
            ]
            await supervise(children, life)

    return run_life(serve)


async def supervise(children: Sequence[Child], life: Life) -> None:
    """Keep `children` running until `life` is to stop, then end them in reverse order."""
    async with asyncio.TaskGroup() as group:
        keepers = [group.create_task(child.keep()) for child in children]
        ready = group.create_task(_report(children, life))
        await life.stopping.wait()
        ready.cancel()
        for child, keeper in zip(reversed(children), reversed(keepers), strict=True):
            life.status(f"draining: {child.program}")
            child.stop()
            await keeper


async def _report(children: Sequence[Child], life: Life) -> None:
    for child in children:
        await child.ready.wait()
    life.ready("running " + ", ".join(child.program for child in children))


class Child:
    """One program's process, and the socket on which it says how it is (sd_notify(3))."""

    def __init__(self, program: str, command: Sequence[str], notes: Path) -> None:
        self.program = program
        self.ready = asyncio.Event()
        """Set when the program has served for the first time."""
        self._command = command
        self._notes = notes
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = asyncio.Event()
        self._alive = asyncio.Event()

    def stop(self) -> None:
        """Let the process drain, and don't start it again."""
        self._stopping.set()
        self._signal(signal.SIGTERM)

    async def keep(self) -> None:
        """Run the process, again and again, until `stop`.

        Raises:
            DialgateError: it could not start even once.
        """
        loop = asyncio.get_running_loop()
        pause_s = PAUSE_S_MIN / 2
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as channel:
            channel.bind(str(self._notes))
            loop.add_reader(channel, self._read_note, channel)
            try:
                while not self._stopping.is_set():
                    started_at = loop.time()
                    status = await self._run_once()
                    if not (self.ready.is_set() or self._stopping.is_set()):
                        raise DialgateError(f"{self.program} could not start, so nothing runs")
                    steady = loop.time() - started_at >= STEADY_S
                    pause_s = PAUSE_S_MIN if steady else min(2 * pause_s, PAUSE_S_MAX)
                    await self._pause(status, pause_s)
            finally:
                loop.remove_reader(channel)

    async def _pause(self, exit_status: int, pause_s: float) -> None:
        if self._stopping.is_set():
            return
        log.error("ended", child=self.program, exit_status=exit_status, again_in_s=pause_s)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), pause_s)

    async def _run_once(self) -> int:
        """Return the exit status; when cancelled, see to it that the process has ended."""
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            env={
                **{key: value for key, value in os.environ.items() if key != "WATCHDOG_PID"},
                "NOTIFY_SOCKET": str(self._notes),
                "WATCHDOG_USEC": str(int(WATCHDOG_S * 1e6)),
                SUPERVISOR: str(os.getpid()),
            },
            # Ctrl-C at the terminal is the node's to pass on.
            start_new_session=True,
        )
        log.info("started", child=self.program, pid=self._process.pid)
        watchdog = asyncio.create_task(self._watch())
        try:
            return await self._process.wait()
        finally:
            watchdog.cancel()
            if self._process.returncode is None:
                await self._end_now(self._process)

    async def _end_now(self, process: asyncio.subprocess.Process) -> None:
        """Stop `process` as a second SIGTERM would; two of the same kind may arrive as one.

        A third would break off what the second has begun: an agent still hangs up its callers.
        """
        if not self._stopping.is_set():
            self._signal(signal.SIGTERM)
        self._signal(signal.SIGINT)
        try:
            await asyncio.wait_for(process.wait(), STOP_S)
        except TimeoutError:
            self._signal(signal.SIGKILL)
            await process.wait()

    async def _watch(self) -> None:
        """Kill the process when it gives no sign of life."""
        with suppress(TimeoutError):
            while True:
                await asyncio.wait_for(self._alive.wait(), WATCHDOG_S)
                self._alive.clear()
        log.error("silent, killed", child=self.program)
        self._signal(signal.SIGKILL)

    def _read_note(self, channel: socket.socket) -> None:
        """Take one note of the program.  Any note is a sign of life."""
        with suppress(BlockingIOError):
            note = channel.recv(NOTE_BYTES_MAX)
            self._alive.set()
            if b"READY=1" in note.split(b"\n"):
                self.ready.set()

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.send_signal(number)
