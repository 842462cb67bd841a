"""A PostgreSQL server of the tests' own: Debian's, on a directory and a socket that vanish with it.

A server refuses to run as root, so a test that does starts it as Debian's user postgres.
"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

PROGRAMS: Final = Path("/usr/lib/postgresql")
"""Where Debian has them, by version."""
START_S: Final = 30.0

_OPTIONS: Final = {
    "listen_addresses": "",
    "max_connections": "50",
    "shared_buffers": "16MB",
}


class PostgreSQL:
    """A server on `directory`; it has no TCP port."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._user: dict[str, Any] = {}
        if os.geteuid() == 0:
            shutil.chown(directory, "postgres", "postgres")
            self._user = {"user": "postgres", "group": "postgres", "extra_groups": []}
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = itertools.count(1)
        self._run("initdb", "--no-sync", "-A", "trust", "-U", "dialgate", "-D", self._cluster)

    @property
    def _cluster(self) -> str:
        return str(self.directory / "cluster")

    def start(self) -> None:
        """Start the server and wait until it answers."""
        options = [f"--{name}={value}" for name, value in _OPTIONS.items()]
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [program("postgres"), "-D", self._cluster, "-k", self.directory, *options],
                stdout=log,
                stderr=log,
                cwd="/",
                **self._user,
            )
        deadline = time.monotonic() + START_S
        while self._ask("pg_isready", "-q", "-h", str(self.directory)) != 0:
            assert self._process.poll() is None, (self.directory / "log").read_text()
            assert time.monotonic() < deadline, "PostgreSQL does not answer"
            time.sleep(0.05)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop the server: SIGINT cuts its connections, SIGQUIT is a crash."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(START_S)
            self._process = None

    def database(self) -> str:
        """Make an empty database and return its URL."""
        name = f"state{next(self._numbers)}"
        self._run("createdb", "-h", str(self.directory), "-U", "dialgate", name)
        return f"postgresql://dialgate@/{name}?host={self.directory}"

    def _ask(self, name: str, *arguments: str) -> int:
        done = subprocess.run([program(name), *arguments], check=False, cwd="/", **self._user)
        return done.returncode

    def _run(self, name: str, *arguments: str) -> None:
        subprocess.run(
            [program(name), *arguments], check=True, stdout=subprocess.PIPE, cwd="/", **self._user
        )


def program(name: str) -> str:
    """Return the path of one of PostgreSQL's programs, the newest that is installed."""
    found = sorted(PROGRAMS.glob(f"*/bin/{name}"), key=lambda path: float(path.parts[-3]))
    assert found, f"{name} is missing: apt-get install postgresql"
    return str(found[-1])


@contextmanager
def running_postgresql() -> Iterator[PostgreSQL]:
    """Run a server, not under pytest's own directory, which only its owner may enter."""
    with tempfile.TemporaryDirectory(prefix="dialgate-postgresql-") as directory:
        server = PostgreSQL(Path(directory))
        try:
            server.start()
            yield server
        finally:
            server.stop()
