"""`dialgate demo` as its user meets it: dialled, logged in to, disturbed, and ended.

One demo serves most tests; the callers of the demo itself are the ones who dial.
"""

from __future__ import annotations

import asyncio
import os
import pty
import re
import signal
import socket
import subprocess
import termios
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random

import pytest

from port_agents.callers import Behaviour, Outcome, Screen, User, call
from tests.integration.processes import DIALGATE, PROJECT, dialgate, free_ports, wait_until

START_S = 40.0
ARMED_S = 3.0
PORTS = 4


class Demo:
    """A running demo, and what it has printed."""

    def __init__(self, directory: Path, *arguments: str) -> None:
        self.base_port = free_ports(PORTS) - 1
        self.temporary = directory
        self._output = directory / "output"
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                [
                    *(*DIALGATE, "demo", "--ports", str(PORTS), "--no-table"),
                    *("--dial", f"127.0.0.1:{self.base_port}", *arguments),
                ],
                stdout=output,
                stderr=output,
                cwd=PROJECT,
                env={**os.environ, "TMPDIR": str(directory)},
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        return self._output.read_text()

    @property
    def users(self) -> list[User]:
        return [User(*found) for found in re.findall(r" (\w+)   password (\S+)\n", self.output)]

    @property
    def directory(self) -> Path:
        return next(self.temporary.glob("dialgate-demo-*"))

    def dial(self, number: int) -> tuple[str, int]:
        return ("127.0.0.1", self.base_port + number)

    def wait_for(self, text: str, patience_s: float = 10.0) -> None:
        wait_until(lambda: text in self.output, lambda: self.output, patience_s)


@contextmanager
def running_demo(directory: Path, *arguments: str) -> Iterator[Demo]:
    """Run a demo while the context lasts, whatever the test does."""
    demo = Demo(directory, *arguments)
    try:
        yield demo
    finally:
        demo.process.send_signal(signal.SIGINT)
        demo.process.send_signal(signal.SIGTERM)
        demo.process.wait(10.0)


def processes_of(directory: Path) -> list[str]:
    """Return the command lines that name `directory`."""
    commands = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = file.read_bytes().replace(b"\x00", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(directory) in command:
            commands.append(command)
    return commands


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    with running_demo(tmp_path_factory.mktemp("demo")) as running:
        running.wait_for("idle", START_S)
        yield running


@pytest.fixture
def user(demo: Demo) -> User:
    return demo.users[0]


@pytest.mark.parametrize(
    ("behaviour", "outcome"),
    [
        (Behaviour.GOOD, Outcome.ADMITTED),
        (Behaviour.HANG_UP_ADMITTED, Outcome.ADMITTED),
        (Behaviour.BAD, Outcome.REFUSED),
        (Behaviour.GARBAGE, Outcome.HUNG_UP),
        (Behaviour.HANG_UP_RINGING, Outcome.HUNG_UP),
        (Behaviour.HANG_UP_AT_FIRST, Outcome.HUNG_UP),
        (Behaviour.HANG_UP_AT_SECOND, Outcome.HUNG_UP),
        (Behaviour.HANG_UP_IN_CHECK, Outcome.HUNG_UP),
    ],
)
async def test_every_caller_gets_what_he_deserves_and_the_line_is_armed_within_3_s(
    demo: Demo, user: User, behaviour: Behaviour, outcome: Outcome
) -> None:
    def times_armed() -> int:
        return demo.output.count("demo/1  idle\n")

    armed_before = times_armed()

    assert await call(demo.dial(1), behaviour, user, Random(1)) is outcome

    await asyncio.to_thread(
        wait_until, lambda: times_armed() > armed_before, lambda: demo.output, ARMED_S
    )


async def test_an_admitted_caller_is_on_the_console(demo: Demo, user: User) -> None:
    reader, writer = await asyncio.open_connection(*demo.dial(2))
    screen = Screen(reader, writer)
    await screen.expect(b"login: ")
    # As nc sends it: LF alone.
    await screen.type(f"{user.name}\n".encode())
    await screen.expect(b"Password: ")
    await screen.type(f"{user.password}\n".encode())
    await screen.expect(b"plant> ")
    await screen.type(b"echo well\n")
    await screen.expect(b"well\r\nplant> ")
    await screen.type(b"quit\n")
    await screen.expect(b"bye\r\n")
    await screen.wait_for_the_end()
    writer.close()

    assert user.password.encode() not in screen.seen


def test_a_modem_that_dials_stands_ready_as_the_greeting_says(demo: Demo, user: User) -> None:
    found = re.search(r" -D (\S+)   and type (ATDT\d+)\n", demo.output)
    assert found is not None, demo.output
    device, number = found.groups()
    login = ["ogin:", user.name, "assword:", user.password, "plant>", "quit", "bye"]
    with Path(device).open("r+b", buffering=0) as modem:
        done = subprocess.run(
            ["/usr/sbin/chat", "-t", "10", "", "ATZ", "OK", number, "CONNECT", "\\c", *login],
            stdin=modem,
            stdout=modem,
            timeout=30.0,
            check=False,
        )

    assert done.returncode == 0


async def test_a_caller_whose_worker_is_killed_is_asked_again(demo: Demo, user: User) -> None:
    reader, writer = await asyncio.open_connection(*demo.dial(3))
    screen = Screen(reader, writer)
    await screen.expect(b"login: ")
    await screen.type(f"{user.name}\r".encode())
    await screen.expect(b"Password: ")
    await screen.type(b"half a pass")
    shown = re.findall(r"demo/3  authenticating  (worker-[12])\n", demo.output)
    if not shown:
        demo.wait_for("demo/3  authenticating  worker")
        shown = re.findall(r"demo/3  authenticating  (worker-[12])\n", demo.output)
    os.kill(pid_of(demo, shown[-1]), signal.SIGKILL)

    await screen.expect(b"login: ")
    await screen.type(f"{user.name}\r".encode())
    await screen.expect(b"Password: ")
    await screen.type(f"{user.password}\r".encode())
    await screen.expect(b"plant> ")
    writer.transport.abort()

    demo.wait_for("asked again, attempt 2")


def pid_of(demo: Demo, worker: str) -> int:
    config = "dialgate.toml" if worker == "worker-1" else "worker-2.toml"
    wanted = f"worker --config {demo.directory / config}"
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if wanted in file.read_bytes().replace(b"\x00", b" ").decode(errors="replace"):
                return int(file.parent.name)
        except OSError:
            continue
    raise AssertionError(f"{worker} does not run")


def test_its_configuration_serves_the_commands(demo: Demo) -> None:
    config = demo.directory / "dialgate.toml"

    assert dialgate("check", config).returncode == 0
    assert "demo/1" in dialgate("ports", "--config", config).stdout


def test_a_signal_ends_it_within_5_s_and_leaves_nothing(tmp_path: Path) -> None:
    with running_demo(tmp_path, "--callers", "6") as demo:
        demo.wait_for("online", START_S)

        demo.process.send_signal(signal.SIGINT)

        assert demo.process.wait(5.0) == 0
        assert processes_of(tmp_path) == []
        assert [path.name for path in tmp_path.iterdir()] == ["output"]
        assert "calls: " in demo.output


def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    with running_demo(tmp_path) as demo:
        demo.wait_for("idle", START_S)

        demo.process.send_signal(signal.SIGTERM)
        demo.process.send_signal(signal.SIGINT)

        assert demo.process.wait(2.0) == 0
        assert processes_of(tmp_path) == []


def test_it_ends_by_itself_after_the_seconds_asked_for(tmp_path: Path) -> None:
    with running_demo(tmp_path, "--seconds", "0.5") as demo:
        assert demo.process.wait(START_S) == 0
        assert processes_of(tmp_path) == []


def test_on_a_terminal_it_shows_a_table(tmp_path: Path) -> None:
    screen, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (40, 100))
    base_port = free_ports(PORTS) - 1
    program = subprocess.Popen(
        [
            *(*DIALGATE, "demo", "--ports", str(PORTS), "--seconds", "1"),
            *("--dial", f"127.0.0.1:{base_port}"),
        ],
        stdout=terminal,
        cwd=PROJECT,
        env={**os.environ, "TMPDIR": str(tmp_path), "TERM": "vt100"},
        start_new_session=True,
    )
    os.close(terminal)
    shown = b""
    with suppress(OSError):  # EIO: the demo has closed its terminal.
        while data := os.read(screen, 65536):
            shown += data
    os.close(screen)

    assert program.wait(5.0) == 0
    assert f"127.0.0.1 {base_port + PORTS}" in shown.decode()
    assert "worker-2" in shown.decode()
    assert "does not answer" not in shown.decode()


def test_a_reader_who_has_seen_enough_ends_it(tmp_path: Path) -> None:
    """As `./dev run | head` does."""
    base_port = free_ports(1) - 1
    program = subprocess.Popen(
        [*DIALGATE, "demo", "--ports", "1", "--dial", f"127.0.0.1:{base_port}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=PROJECT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        start_new_session=True,
    )
    assert program.stdout is not None
    while b"Ctrl-C" not in program.stdout.readline():
        assert program.poll() is None
    program.stdout.close()

    with socket.create_connection(("127.0.0.1", base_port + 1)):
        _, said = program.communicate(timeout=START_S)

    assert (program.returncode, said) == (0, b"")
    assert processes_of(tmp_path) == []


def test_what_to_type_is_found_where_dialgate_is_not_on_the_path(demo: Demo) -> None:
    typed = re.search(r"  look     (\S+) ports --config (\S+)\n", demo.output)
    assert typed is not None
    done = subprocess.run(
        [typed[1], "ports", "--config", typed[2]], capture_output=True, check=False, timeout=START_S
    )

    assert (done.returncode, done.stderr) == (0, b"")


def test_taken_ports_are_told_in_one_line(demo: Demo) -> None:
    second = dialgate("demo", "--ports", "2", "--dial", f"127.0.0.1:{demo.base_port}")

    assert second.returncode == 1
    assert second.stderr.count("\n") == 1
    assert f"can't answer at 127.0.0.1, ports {demo.base_port + 1} to" in second.stderr
    assert second.stdout == ""
