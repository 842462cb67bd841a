"""The life of a program: start, serve, drain, end; and what systemd is told of it.

`main` is the whole of a program's main function: arguments, configuration, log, event loop,
signals and exit status are the same for all.  The first SIGTERM or SIGINT asks the program to
drain; the second stops it at once.  Nothing half-starts: what can't be had is said in one line, and
the program ends.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import signal
import socket
import sys
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import structlog
import uvloop

from dialgate.errors import DialgateError
from dialgate.manual import DEFAULT_CONFIG, add_config, new_parser
from dialgate.settings import Program, Settings, load
from dialgate.telemetry import LOG_LEVELS, start_log
from dialgate.text import printable

__all__ = ["EX_SOFTWARE", "Life", "Notifier", "calm_collector", "main", "program_parser", "run"]

EX_SOFTWARE: Final = 70
"""Exit status after an exception that nobody expected (sysexits.h)."""
EX_SIGNAL: Final = 128
"""Exit status after a forced stop, plus the signal's number."""

STATUS_CHARS_MAX: Final = 200

_DESCRIPTIONS: Final[Mapping[Program, str]] = {
    "broker": "Runs the broker of the table [broker]: it gives each call to an auth worker and "
    "shows operators all ports. It keeps nothing on disk.",
    "worker": "Runs the auth worker of the table [worker]: it asks callers who they are, by the "
    "policies and authenticators of the configuration.",
    "agent": "Runs the port agent of the table [agent]: it answers this machine's modems, lets "
    "the workers authenticate each caller and connects who is admitted to his service.",
}
_EXIT_STATUS: Final = (
    "0    drained\n1    could not start; standard error says why\n2    wrong usage\n"
    "69   an address is in use\n70   unexpected error; the log has it\n"
    "1xx  stopped at once by signal 1xx - 128"
)

ALLOCATIONS_PER_COLLECTION: Final = 50_000
"""Python's own 700 look through the open dialogs again and again, for a third of a broker's time;
what a dialog leaves behind is freed by counting references, without any collection."""

SUPERVISOR: Final = "DIALGATE_SUPERVISOR"
"""Environment variable: process id of what keeps this program.  When that is gone, however it
ended, the program stops at once, as after a second SIGTERM."""

log = structlog.get_logger()


def calm_collector() -> None:
    """Have the garbage collector leave what a program starts with, and look at the rest seldom."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(ALLOCATIONS_PER_COLLECTION, 10, 10)


class Notifier:
    """Tells systemd how the program is, through the socket NOTIFY_SOCKET (sd_notify(3)).

    Without that variable, or when the socket is gone, it does nothing.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        ours = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        interval_us = environment.get("WATCHDOG_USEC", "") if ours else ""
        self.watchdog_s = int(interval_us) / 1e6 if interval_us.isdecimal() else 0.0
        """Longest time between two signs of life; 0: nobody watches."""

    def tell(self, **states: str | int) -> None:
        """Send `states`, as READY=1 or STATUS="serving"."""
        if not self._address:
            return
        message = "\n".join(f"{key}={value}" for key, value in states.items())
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            channel.settimeout(0)
            try:
                channel.sendto(message.encode(), self._address)
            except OSError as error:
                log.warning("service manager not told", error=str(error))


class Life:
    """A running program's word with the service manager: it says how it is, and hears when to end.

    `stopping` is set by the first SIGTERM or SIGINT; the program then drains and returns.
    """

    def __init__(self, notifier: Notifier) -> None:
        self.stopping = asyncio.Event()
        self._notifier = notifier

    def ready(self, status: str = "serving") -> None:
        """Say that the program serves.  What can fail at the start has not failed."""
        calm_collector()
        self._notifier.tell(READY=1, STATUS=printable(status[:STATUS_CHARS_MAX]))
        log.info("ready", status=status)

    def status(self, text: str) -> None:
        """Say in one line what the program is doing."""
        self._notifier.tell(STATUS=printable(text[:STATUS_CHARS_MAX]))


Serve = Callable[[Settings, Life], Coroutine[Any, Any, None]]
"""A program: returns when `Life.stopping` is set and what it had to end is ended."""


def main(program: Program, serve: Serve, argv: Sequence[str]) -> int:
    """Run `serve` with the settings that `argv` names, and return the exit status."""
    arguments = program_parser(program, _DESCRIPTIONS[program]).parse_args(argv)
    start_log(program, arguments.log_level)

    async def served(life: Life) -> None:
        await serve(load(arguments.config, program), life)

    return run(served)


def run(serve: Callable[[Life], Coroutine[Any, Any, None]]) -> int:
    """Run `serve` on an event loop of its own until it returns, and return the exit status.

    0: it ended by itself or was drained.  A `DialgateError` is printed and gives its own status;
    a forced stop gives 128 + the signal; any other exception is logged whole and gives 70.
    """
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_supervised(serve))
    except Exception as error:
        expected = _expected(error)
        if not expected:
            log.exception("unexpected error")
            return EX_SOFTWARE
        for each in expected:
            print(each.report, file=sys.stderr)  # noqa: T201 - read by whoever started the program
        return expected[0].exit_status


def program_parser(program: str, description: str) -> argparse.ArgumentParser:
    """Return the parser of a program that runs until it is told to stop."""
    parser = new_parser(
        program,
        f"""{description}

        It logs to standard error. SIGTERM or SIGINT lets it drain, a second one stops it at once.
        Under systemd it notifies (Type=notify) and feeds the watchdog.
        """,
        examples=[f"dialgate {program} --config {DEFAULT_CONFIG}"],
        exit_status=_EXIT_STATUS,
    )
    add_config(parser)
    parser.add_argument(
        "--log-level", choices=LOG_LEVELS, default="info", help="(default: %(default)s)"
    )
    return parser


async def _supervised(serve: Callable[[Life], Coroutine[Any, Any, None]]) -> int:
    notifier = Notifier()
    life = Life(notifier)
    loop = asyncio.get_running_loop()
    task = loop.create_task(serve(life))
    forced: list[int] = []

    def stop_now(number: int, **why: str) -> None:
        log.warning("stopping now", **why)
        forced.append(number)
        task.cancel()

    def on_signal(number: int) -> None:
        name = signal.Signals(number).name
        if life.stopping.is_set():
            stop_now(number, signal=name)
        else:
            log.info("draining", signal=name)
            notifier.tell(STOPPING=1, STATUS="draining")
            life.stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
    watchdog = loop.create_task(_feed(notifier)) if notifier.watchdog_s else None
    try:
        with _supervisor_watched(loop, lambda: stop_now(signal.SIGHUP, supervisor="gone")):
            await task
    except asyncio.CancelledError:
        if not forced:
            raise
        return EX_SIGNAL + forced[0]
    finally:
        if watchdog is not None:
            watchdog.cancel()
    log.info("stopped")
    return 0


@contextmanager
def _supervisor_watched(
    loop: asyncio.AbstractEventLoop, gone: Callable[[], None]
) -> Iterator[None]:
    """Call `gone`, once, when the process has ended that keeps this one (`SUPERVISOR`).

    Without it the program would hold devices and addresses against the node that is started next.
    """
    supervisor = os.environ.get(SUPERVISOR, "")
    if not supervisor.isdecimal():
        yield
        return
    try:
        ended = os.pidfd_open(int(supervisor))
    except ProcessLookupError:
        loop.call_soon(gone)
        yield
        return

    def told() -> None:
        loop.remove_reader(ended)
        gone()

    loop.add_reader(ended, told)
    try:
        yield
    finally:
        loop.remove_reader(ended)
        os.close(ended)


async def _feed(notifier: Notifier) -> None:
    """Give the watchdog its sign of life, from the loop that does the work."""
    while True:
        notifier.tell(WATCHDOG=1)
        await asyncio.sleep(notifier.watchdog_s / 2)


def _expected(error: Exception) -> list[DialgateError]:
    """Return the errors for the operator's eyes when there are no others in `error`."""
    if isinstance(error, DialgateError):
        return [error]
    if not isinstance(error, ExceptionGroup):
        return []
    leaves = [_expected(each) for each in error.exceptions]
    return [each for leaf in leaves for each in leaf] if all(leaves) else []
