"""dialgate's programs as real processes: started with a configuration, waited for, ended.

Whoever starts one ends it, whatever the test does in between; when a program dies or does not come
up, its standard error is in the failure's text.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

DIALGATE: Final = (sys.executable, "-m", "dialgate")
PROJECT: Final = Path(__file__).parents[2]

START_S: Final = 20.0
"""How long a program may take until it serves."""
STOP_S: Final = 10.0
"""How long it may take to end once it was told to."""
POLL_S: Final = 0.02
STDERR_CHARS_SHOWN: Final = 4000

_SAMPLE: Final = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)


class _Ports:
    """Hands out TCP ports of 127.0.0.1, in turn: one that was given away may not be bound yet.

    Processes that run tests at the same time have a half each, below the ports that the system
    gives to others meanwhile.
    """

    HALVES: Final = {"gw0": (10_000, 21_000), "gw1": (21_000, 32_000)}

    def __init__(self) -> None:
        process = os.environ.get("PYTEST_XDIST_WORKER", "")
        self._lowest, self._end = self.HALVES.get(process, (10_000, 32_000))
        self._next = random.randrange(self._lowest, self._end)

    def take(self, count: int) -> int:
        """Return the first of `count` ports in a row that nobody listens on."""
        while True:
            first = self._next
            if first + count > self._end:
                first = self._lowest
            self._next = first + count
            with ExitStack() as stack:
                try:
                    for port in range(first, first + count):
                        probe = stack.enter_context(socket.socket())
                        probe.bind(("127.0.0.1", port))
                except OSError:
                    continue
            return first


_ports: Final = _Ports()


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nobody listens on, and that nobody else was told of."""
    return free_ports(1)


def free_ports(count: int) -> int:
    """Return the first of `count` such ports in a row."""
    return _ports.take(count)


def dialgate(
    *arguments: str | Path, stdin: str = "", patience_s: float = START_S
) -> subprocess.CompletedProcess[str]:
    """Run one command to its end; return its status and what it has printed."""
    return subprocess.run(
        [*DIALGATE, *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        cwd=PROJECT,
        timeout=patience_s,
        check=False,
    )


class Program:
    """One running program of dialgate's.

    Args:
        name: broker, worker, agent or node.
        config: its configuration file; standard error goes to NAME.stderr beside it.
        http: its HTTP address, "host:port".
        command: what runs it, when that is not `dialgate NAME`.
    """

    def __init__(
        self, name: str, config: Path, http: str, command: Sequence[str | Path] = ()
    ) -> None:
        self.name = name
        self.http = http
        self.config = config
        self._stderr = config.with_name(f"{name}.stderr")
        with self._stderr.open("ab") as stderr:
            self.process = subprocess.Popen(
                [*(command or (*DIALGATE, name)), "--config", config, "--log-level", "debug"],
                stdin=subprocess.DEVNULL,
                stdout=stderr,
                stderr=stderr,
                cwd=PROJECT,
                env={key: value for key, value in os.environ.items() if key != "NOTIFY_SOCKET"},
                start_new_session=True,
            )

    @property
    def stderr(self) -> str:
        """What the program has written to standard error up to now."""
        return self._stderr.read_text(errors="replace")

    @property
    def is_running(self) -> bool:
        return self.process.poll() is None

    def wait_for(self, path: str = "/readyz") -> None:
        """Wait until `path` is answered 200."""
        wait_until(
            lambda: self._alive() and self.status(path) == 200,
            lambda: f"{self.name} does not answer {path}: {self._last_words()}",
            START_S,
        )

    def wait_until_it_listens(self) -> None:
        """Wait until HTTP is served, however the program says it is."""
        wait_until(
            lambda: self._alive() and self.status("/livez") != 0,
            lambda: f"{self.name} serves no HTTP: {self._last_words()}",
            START_S,
        )

    def status(self, path: str) -> int:
        """Return the HTTP status of a GET; 0: nobody listens."""
        try:
            return self.get(path)[0]
        except OSError:
            return 0

    def get(self, path: str) -> tuple[int, str]:
        """Return the status and the text of a GET."""
        request = urllib.request.Request(f"http://{self.http}{path}")
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def metric(self, name: str, **labels: str) -> float:
        """Return the sum of the samples of `name` that carry `labels`; 0 if there are none yet."""
        status, text = self.get("/metrics")
        assert status == 200, text
        assert f"# TYPE {name} " in text, f"/metrics has no {name}"
        wanted = {f'{key}="{value}"' for key, value in labels.items()}
        return sum(
            float(value)
            for sample, written, value in _SAMPLE.findall(text)
            if sample == name and wanted <= set(re.findall(r'\w+="[^"]*"', written))
        )

    def send(self, number: signal.Signals) -> None:
        """Send a signal, unless the program has ended."""
        if self.is_running:
            self.process.send_signal(number)

    def drain(self) -> None:
        """Ask the program to end in an orderly way."""
        self.send(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the program, as the machine's power cut would."""
        self.send(signal.SIGKILL)
        self.process.wait(STOP_S)

    def stop(self) -> int:
        """Stop the program at once, by force if it must be; return its exit status.

        The second signal is another one, as two of the same kind may arrive as one.
        """
        self.send(signal.SIGTERM)
        self.send(signal.SIGINT)
        try:
            return self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.name} did not stop: {self._last_words()}") from None

    def _alive(self) -> bool:
        status = self.process.poll()
        assert status is None, f"{self.name} ended with {status}: {self._last_words()}"
        return True

    def _last_words(self) -> str:
        return self.stderr[-STDERR_CHARS_SHOWN:]


@contextmanager
def running(name: str, config: Path, http: str, ready: str = "/readyz") -> Iterator[Program]:
    """Run a program while the context lasts, from when it serves; it must live until the end."""
    program = Program(name, config, http)
    try:
        program.wait_for(ready)
        yield program
    finally:
        program.stop()


class Broker(Program):
    """A running broker, and where its peers find it."""

    def __init__(
        self, config: Path, table: Mapping[str, object], command: Sequence[str | Path] = ()
    ) -> None:
        super().__init__("broker", config, str(table["http"]), command)
        self.agents = str(table["agents"])
        self.workers = str(table["workers"])


def write_broker_config(directory: Path, **settings: int | str) -> dict[str, int | str]:
    """Write broker.toml, which listens on free ports of 127.0.0.1; return its table [broker].

    Args:
        directory: where the file goes; keys, if there are any, are expected in `keys` beside it.
        settings: keys of [broker], and `state`, the cluster's, if it isn't state.db beside it.
    """
    state = settings.pop("state", f"sqlite:///{directory}/state.db")
    table: dict[str, int | str] = {
        "name": "broker-1",
        "agents": f"tcp://127.0.0.1:{free_port()}",
        "workers": f"tcp://127.0.0.1:{free_port()}",
        "http": f"127.0.0.1:{free_port()}",
        **settings,
    }
    lines = [f"{key} = {json.dumps(value)}" for key, value in table.items()]
    cluster = (
        f"[cluster]\nkeys = {json.dumps(str(directory / 'keys'))}\nstate = {json.dumps(state)}\n"
    )
    (directory / "broker.toml").write_text(f"{cluster}[broker]\n{chr(10).join(lines)}\n")
    return table


@contextmanager
def running_broker(
    directory: Path, *, command: Sequence[str | Path] = (), **settings: int | str
) -> Iterator[Broker]:
    """Run a broker with `write_broker_config`'s configuration while the context lasts.

    It speaks without CURVE unless `settings` say otherwise.
    """
    table = write_broker_config(directory, **{"insecure": True, **settings})
    broker = Broker(directory / "broker.toml", table, command)
    try:
        broker.wait_until_it_listens()
        yield broker
    finally:
        broker.stop()


@contextmanager
def running_worker(
    directory: Path, brokers: str, *, ready: str = "/readyz", **settings: str | bool | list[str]
) -> Iterator[Program]:
    """Run an auth worker, worker-1 unless `settings` say otherwise, while the context lasts.

    Its users are in state.db beside its worker.toml, its keys, if it needs any, in `keys`.  Tests
    share it, so that lock-outs are far away.
    """
    http = f"127.0.0.1:{free_port()}"
    table = {"name": "worker-1", "brokers": [brokers], "http": http, **settings}
    lines = "\n".join(f"{key} = {json.dumps(value)}" for key, value in table.items())
    config = directory / "worker.toml"
    config.write_text(f"""
        [cluster]
        keys = "{directory}/keys"
        state = "sqlite:///{directory}/state.db"
        [worker]
        {lines}
        [[policies]]
        authenticators = ["local"]
        retry_delay_s = 0
        banner = "Authorised use only"
        [lockout]
        place_tries = 1000
        user_tries = 100000
        [authenticators.local]
        kind = "local"
    """)
    with running("worker", config, http, ready) as program:
        yield program


def wait_until(
    happened: Callable[[], bool], what: Callable[[], str], patience_s: float = 5.0
) -> None:
    """Wait until `happened`, asking again and again; `what` says what did not."""
    deadline = time.monotonic() + patience_s
    while not happened():
        assert time.monotonic() < deadline, f"not in {patience_s} s: {what()}"
        time.sleep(POLL_S)
