"""`dialgate node`: a whole machine under one supervisor, with real programs and with small ones."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from dialgate.cli import node
from dialgate.cli.node import Child, supervise
from dialgate.errors import DialgateError
from dialgate.lifecycle import Life, Notifier
from tests.integration.processes import (
    START_S,
    STOP_S,
    Program,
    dialgate,
    free_port,
    wait_until,
)

CONFIG: Final = """\
[cluster]
state = "sqlite:///{directory}/state.db"
[broker]
name = "broker-1"
agents = "tcp://127.0.0.1:{agents}"
workers = "tcp://127.0.0.1:{workers}"
http = "127.0.0.1:{broker}"
insecure = true
[worker]
name = "worker-1"
brokers = ["tcp://127.0.0.1:{workers}"]
http = "127.0.0.1:{worker}"
insecure = true
[agent]
name = "oslo-1"
site = "oslo"
brokers = ["tcp://127.0.0.1:{agents}"]
http = "127.0.0.1:{agent}"
spool = "{directory}/spool.db"
insecure = true
[[agent.ports]]
hport = "oslo/1"
device = "{device}"
dcd = "ignore"
service = "console"
[services.console]
command = ["/bin/cat"]
[[policies]]
authenticators = ["local"]
[authenticators.local]
kind = "local"
"""


class Machine:
    """A configuration on free ports, with one PTY as its modem's line."""

    def __init__(self, directory: Path) -> None:
        self.leader, self.follower = os.openpty()
        names = ("agents", "workers", "broker", "worker", "agent")
        self.ports = {name: free_port() for name in names}
        self.config = directory / "dialgate.toml"
        device = os.ttyname(self.follower)
        self.config.write_text(CONFIG.format(directory=directory, device=device, **self.ports))

    def start(self) -> Program:
        return Program("node", self.config, f"127.0.0.1:{self.ports['broker']}")

    def listening(self) -> list[str]:
        """Return those of the ports on which somebody listens."""
        return [name for name, port in self.ports.items() if self._answers(port)]

    def _answers(self, port: int) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    made = Machine(tmp_path)
    yield made
    os.close(made.leader)
    os.close(made.follower)


def started(program: Program, child: str) -> list[int]:
    """Return the process ids under which the node has started `child`."""
    pattern = rf"event=started child={child} pid=(\d+)"
    return [int(number) for number in re.findall(pattern, program.stderr)]


def wait_until_ready(program: Program) -> None:
    wait_until(
        lambda: "running broker, worker, agent" in program.stderr,
        lambda: program.stderr[-4000:],
        START_S,
    )


def test_a_node_runs_all_programs_and_ends_them_agent_first(machine: Machine) -> None:
    program = machine.start()
    try:
        wait_until_ready(program)
        assert machine.listening() == list(machine.ports)
        status = dialgate("status", "--config", machine.config)
        assert status.returncode == 0, status.stderr
        program.drain()
        assert program.process.wait(STOP_S) == 0
    finally:
        program.stop()
    stopped = re.findall(r"program=(\w+) event=stopped", program.stderr)
    assert stopped == ["agent", "worker", "broker", "node"]
    assert machine.listening() == []


def test_a_program_that_was_killed_comes_again(machine: Machine) -> None:
    program = machine.start()
    try:
        wait_until_ready(program)
        os.kill(started(program, "worker")[0], signal.SIGKILL)
        wait_until(
            lambda: len(started(program, "worker")) == 2 and "worker" in machine.listening(),
            lambda: program.stderr[-4000:],
            START_S,
        )
        assert len(started(program, "broker")) == len(started(program, "agent")) == 1
    finally:
        program.stop()
    assert machine.listening() == []


def test_the_second_signal_stops_all_at_once(machine: Machine) -> None:
    program = machine.start()
    wait_until_ready(program)

    assert program.stop() in {128 + signal.SIGTERM, 128 + signal.SIGINT}
    assert machine.listening() == []


def test_a_node_that_is_killed_leaves_no_program_behind(machine: Machine) -> None:
    program = machine.start()
    try:
        wait_until_ready(program)
        os.kill(program.process.pid, signal.SIGKILL)
        wait_until(lambda: not machine.listening(), lambda: program.stderr[-4000:], STOP_S)
    finally:
        program.stop()


def test_nothing_half_starts_when_a_port_is_taken(machine: Machine) -> None:
    with socket.create_server(("127.0.0.1", machine.ports["worker"])):
        program = machine.start()
        try:
            assert program.process.wait(START_S) == 1
        finally:
            program.stop()
    assert f"dialgate: http 127.0.0.1:{machine.ports['worker']} can't be" in program.stderr
    assert program.stderr.splitlines()[-1] == "dialgate: worker could not start, so nothing runs"
    assert machine.listening() == []


def test_nothing_starts_with_a_fault_for_any_program(machine: Machine) -> None:
    text = machine.config.read_text().replace(os.ttyname(machine.follower), os.devnull)
    machine.config.write_text(text)

    done = dialgate("node", "--config", machine.config)

    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"{machine.config}:23: agent.ports[0].device: ")


NOTIFY: Final = """
import os, signal, socket, sys, time
channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
def tell(text): channel.sendto(text.encode(), os.environ["NOTIFY_SOCKET"])
"""


def child(tmp_path: Path, script: str, name: str = "worker") -> Child:
    """Return a child that is a small program."""
    return Child(name, [sys.executable, "-c", NOTIFY + script], tmp_path / name)


async def test_a_program_that_falls_silent_is_killed_and_comes_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node, "WATCHDOG_S", 1.0)
    monkeypatch.setattr(node, "PAUSE_S_MIN", 0.01)
    mark = tmp_path / "starts"
    mark.touch()
    life = Life(Notifier({}))
    script = (
        f"open({str(mark)!r}, 'a').write('x')\n"
        "tell('READY=1')\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        f"if len(open({str(mark)!r}).read()) == 1: time.sleep(60)\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit())\n"
        "while True: tell('WATCHDOG=1'); time.sleep(0.1)"
    )

    async with asyncio.timeout(START_S), asyncio.TaskGroup() as group:
        task = group.create_task(supervise([child(tmp_path, script)], life))
        await asyncio.to_thread(
            wait_until, lambda: mark.read_text() == "xx", mark.read_text, START_S
        )
        life.stopping.set()
        await task

    assert mark.read_text() == "xx"


@pytest.mark.parametrize("drains", [True, False], ids=["as it drains", "as it runs"])
async def test_a_program_that_is_to_stop_at_once_gets_two_signals_in_all(
    tmp_path: Path, drains: bool
) -> None:
    """The third would break off what the second has begun: hanging up, the last records."""
    mark = tmp_path / "signals"
    mark.touch()
    life = Life(Notifier({}))
    script = (
        "got = []\n"
        "def note(number, _frame):\n"
        f"    got.append(number); open({str(mark)!r}, 'a').write('x')\n"
        "signal.signal(signal.SIGTERM, note)\n"
        "signal.signal(signal.SIGINT, note)\n"
        "tell('READY=1')\n"
        "while len(got) < 2: time.sleep(0.02)\n"
        "time.sleep(0.3)\n"
    )
    slow = child(tmp_path, script)
    task = asyncio.create_task(supervise([slow], life))
    async with asyncio.timeout(START_S):
        await slow.ready.wait()
        if drains:
            life.stopping.set()
            await asyncio.to_thread(
                wait_until, lambda: mark.read_text() == "x", mark.read_text, START_S
            )
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    assert mark.read_text() == "xx"


async def test_a_program_that_cannot_start_takes_the_others_with_it(tmp_path: Path) -> None:
    life = Life(Notifier({}))
    stubborn = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nsignal.pause()"
    children = [child(tmp_path, stubborn, "broker"), child(tmp_path, "sys.exit(1)")]

    with pytest.raises(ExceptionGroup) as caught:
        async with asyncio.timeout(START_S):
            await supervise(children, life)

    (error,) = caught.value.exceptions
    assert isinstance(error, DialgateError)
    assert str(error) == "worker could not start, so nothing runs"
