"""`dialgate demo`: a whole cluster on this machine, with modems that anyone can dial with nc.

It starts broker, two workers and an agent as processes of their own, and in this process the
simulated bank and the console that admitted callers reach; then it shows the ports until a signal.

Invariant: whatever happens, its processes have ended and its directory is gone when it returns.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from random import Random
from shutil import which
from typing import Final

import aiohttp

from dialgate.errors import DialgateError
from dialgate.manual import new_parser
from port_agents.bank import Bank, parse_calling, parse_dial, parse_lines, raise_descriptor_limit
from port_agents.callers import Outcome, User, keep_calling
from port_agents.demo_cluster import SITE, Cluster, Programs, add_user, new_user, write_cluster
from port_agents.demo_console import PlantConsole
from port_agents.demo_table import Observer, show_table, sum_up

__all__ = ["main"]

USERS: Final = ("ann", "bob")
CALLERS_MAX: Final = 1000


def main(argv: Sequence[str]) -> int:
    """Run the demo until a signal, or for `--seconds`; return the exit status.

    Raises:
        DialgateError: something of it did not start.
    """
    options = _parser().parse_args(argv)
    # A console's visitor and a caller for each line, and what everything else needs.
    raise_descriptor_limit(options.ports, others=options.ports + options.callers + 128)
    return asyncio.run(_run(options))


def _parser() -> argparse.ArgumentParser:
    parser = new_parser(
        "demo",
        """
        Runs a broker, two workers, an agent and simulated modems on this machine, until Ctrl-C.
        Line k answers the phone at the TCP port PORT + k: dial it with nc. What it makes goes
        into a directory of its own, which is gone when it ends.
        """,
        examples=["dialgate demo", "dialgate demo --ports 32 --callers 20", "nc 127.0.0.1 2301"],
    )
    parser.add_argument(
        "--ports", type=parse_lines, default=8, metavar="N", help="modems (default: 8)"
    )
    parser.add_argument(
        "--dial",
        type=parse_dial,
        default=("127.0.0.1", 2300),
        metavar="HOST:PORT",
        help="line k answers at PORT + k (default: 127.0.0.1:2300)",
    )
    parser.add_argument(
        "--callers",
        type=_parse_callers,
        default=0,
        metavar="N",
        help="simulated callers, good and bad (default: 0)",
    )
    parser.add_argument(
        "--seconds", type=float, default=None, metavar="S", help="end by itself after so long"
    )
    parser.add_argument(
        "--calling",
        type=parse_calling,
        default=1,
        metavar="N",
        help="modems to call with, for programs that dial with ATDT (default: 1)",
    )
    parser.add_argument("--no-table", action="store_true", help="print a line a change instead")
    return parser


def _parse_callers(text: str) -> int:
    if not text.isdecimal() or int(text) > CALLERS_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to {CALLERS_MAX}")
    return int(text)


async def _run(options: argparse.Namespace) -> int:
    """Run the demo as the cancellable task of the first signal."""
    loop = asyncio.get_running_loop()
    demo = Demo(options)
    task = loop.create_task(demo.run())

    def on_signal() -> None:
        if task.cancelling():
            demo.kill()
        else:
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal)
    try:
        with suppress(asyncio.CancelledError):
            await task
    except ExceptionGroup as group:
        if group.split(BrokenPipeError)[1] is not None:
            raise
        raise BrokenPipeError from None  # `dialgate` knows what to make of it.
    return 0


class Demo:
    """One run of the demo."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._programs: Programs | None = None
        self._users = [new_user(name) for name in USERS]
        self._outcomes: Counter[Outcome] = Counter()
        self._has_table = sys.stdout.isatty() and not options.no_table
        self._began_at = asyncio.get_running_loop().time()

    def kill(self) -> None:
        """End all processes at once."""
        if self._programs is not None:
            self._programs.kill()

    async def run(self) -> None:
        """Run until cancelled, or for as long as was asked for.

        Raises:
            DialgateError: something of it did not start.
        """
        host, base_port = self._options.dial
        with tempfile.TemporaryDirectory(prefix="dialgate-demo-") as name:
            directory = Path(name)
            bank = Bank(
                directory,
                self._options.ports,
                host=host,
                base_port=base_port,
                calling=self._options.calling,
            )
            try:
                await bank.__aenter__()
            except OSError as error:
                last = base_port + self._options.ports
                raise DialgateError(
                    f"can't answer at {host}, ports {base_port + 1} to {last}: "
                    f"{error.strerror}; choose others with --dial"
                ) from error
            try:
                async with PlantConsole() as console:
                    devices = [line.device for line in bank.lines]
                    cluster = write_cluster(directory, devices, console.port)
                    await self._run_cluster(cluster, [line.dial for line in bank.lines])
            finally:
                await bank.close()

    async def _run_cluster(self, cluster: Cluster, dials: Sequence[tuple[str, int]]) -> None:
        sys.stdout.write("dialgate demo: starting\n")
        sys.stdout.flush()
        for user in self._users:
            await add_user(cluster.config, user)
        self._programs = Programs(cluster)
        async with aiohttp.ClientSession() as http:
            try:
                await self._programs.start(http)
                self._greet(cluster, dials)
                await self._go_on(Observer(http, cluster.broker_http, self._tell), dials)
            finally:
                await self._programs.stop()
                if self._outcomes and not self._has_table:
                    sys.stdout.write(f"{sum_up(self._outcomes)}\n")

    async def _go_on(self, observer: Observer, dials: Sequence[tuple[str, int]]) -> None:
        """Let callers call and show what becomes of it, for as long as was asked for."""
        assert self._programs is not None
        with suppress(TimeoutError):
            async with asyncio.timeout(self._options.seconds), asyncio.TaskGroup() as tasks:
                tasks.create_task(observer.watch())
                for number in range(self._options.callers):
                    random = Random(number)  # noqa: S311 - who calls when is no secret
                    tasks.create_task(keep_calling(dials, self._users, self._outcomes, random))
                if self._has_table:
                    by_hport = {
                        f"{SITE}/{number}": f"{host} {port}"
                        for number, (host, port) in enumerate(dials, start=1)
                    }
                    tasks.create_task(
                        show_table(observer, by_hport, self._programs.all, self._outcomes)
                    )

    def _tell(self, change: str) -> None:
        if not self._has_table:
            at_s = asyncio.get_running_loop().time() - self._began_at
            sys.stdout.write(f"{at_s:8.1f} s  {change}\n")
            sys.stdout.flush()

    def _greet(self, cluster: Cluster, dials: Sequence[tuple[str, int]]) -> None:
        (host, first), (_, last) = dials[0], dials[-1]
        directory = cluster.config.parent
        modem = f"           minicom -D {directory}/ttyC1   and type ATDT{first}\n"
        sys.stdout.write(
            f"\ndialgate demo: {len(dials)} modems, an agent, a broker, two workers\n\n"
            f"  dial     nc {host} {first}   (to {last})\n"
            f"{modem if self._options.calling else ''}"
            f"{_listed(self._users)}"
            f"  look     {_dialgate()} ports --config {cluster.config}\n"
            f"           http://{cluster.broker_http}/metrics\n"
            f"  logs     {directory}/*.log\n"
            "  try      kill -9 a worker in the middle of a login: the caller is asked again\n"
            "  end      Ctrl-C\n\n"
        )
        sys.stdout.flush()


def _dialgate() -> str:
    """Return what to type for `dialgate`, which `./dev run` has in .venv and nowhere else."""
    return "dialgate" if which("dialgate") else str(Path(sys.executable).with_name("dialgate"))


def _listed(users: Sequence[User]) -> str:
    titles = ["users", *[""] * len(users)]
    return "".join(
        f"  {title:<8} {user.name}   password {user.password}\n"
        for title, user in zip(titles, users, strict=False)
    )
