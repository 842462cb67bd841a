"""The life of a program: signals, what systemd hears, and the exit status."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from dialgate.errors import DialgateError, UsageError
from dialgate.lifecycle import EX_SOFTWARE, Life, Notifier, main, run
from dialgate.settings import Settings
from tests.dialgate.sample import altered, write

pytestmark = pytest.mark.usefixtures("restored_log")


class Manager:
    """A service manager that hears what the program says of itself."""

    def __init__(self, address: str) -> None:
        self.channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.channel.bind(address)
        self.channel.setblocking(False)

    def heard(self) -> list[str]:
        notes: list[str] = []
        while True:
            try:
                notes.append(self.channel.recv(4096).decode())
            except BlockingIOError:
                return notes


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Manager]:
    """Return a manager that this process knows."""
    address = str(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    made = Manager(address)
    yield made
    made.channel.close()


def send(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)


async def until_drained(life: Life) -> None:
    life.ready()
    await life.stopping.wait()


def test_a_program_that_returns_has_ended_well() -> None:
    async def serve(life: Life) -> None:
        assert not life.stopping.is_set()

    assert run(serve) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_asks_the_program_to_drain(number: signal.Signals) -> None:
    drained: list[bool] = []

    async def serve(life: Life) -> None:
        send(number)
        await life.stopping.wait()
        drained.append(True)

    assert run(serve) == 0
    assert drained == [True]


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_the_second_signal_stops_it_now_and_clean_up_still_runs(second: signal.Signals) -> None:
    cleaned: list[bool] = []

    async def serve(life: Life) -> None:
        send(signal.SIGTERM)
        await life.stopping.wait()
        send(second)
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.append(True)

    assert run(serve) == 128 + second
    assert cleaned == [True]


def test_an_error_for_the_operator_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    async def serve(_: Life) -> None:
        raise DialgateError("the port is taken")

    assert run(serve) == 1
    assert capsys.readouterr().err == "dialgate: the port is taken\n"


def test_errors_of_several_tasks_are_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    async def fail(error: Exception) -> None:
        raise error

    async def serve(_: Life) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(fail(UsageError("one")))
            group.create_task(fail(DialgateError("two")))

    assert run(serve) == 2
    assert capsys.readouterr().err == "dialgate: one\ndialgate: two\n"


@pytest.mark.parametrize("beside", [[], [DialgateError("expected")]])
def test_any_other_exception_is_logged_whole(
    beside: list[Exception], capsys: pytest.CaptureFixture[str]
) -> None:
    async def serve(_: Life) -> None:
        raise ExceptionGroup("tasks", [*beside, KeyError("a bug")])

    assert run(serve) == EX_SOFTWARE
    assert "KeyError: 'a bug'" in capsys.readouterr().out


def test_systemd_hears_of_readiness_and_of_the_end(manager: Manager) -> None:
    async def serve(life: Life) -> None:
        life.status("starting")
        life.ready("serving 4 ports")
        send(signal.SIGTERM)
        await life.stopping.wait()

    assert run(serve) == 0
    assert manager.heard() == [
        "STATUS=starting",
        "READY=1\nSTATUS=serving 4 ports",
        "STOPPING=1\nSTATUS=draining",
    ]


def test_a_status_is_one_printable_line(manager: Manager) -> None:
    async def serve(life: Life) -> None:
        life.status("two\nlines\x1b[2J" + "x" * 1000)

    run(serve)

    (note,) = manager.heard()
    assert note.startswith("STATUS=two\\nlines\\x1b[2Jx")
    assert len(note) < 250


def test_the_watchdog_is_fed_from_the_loop(
    manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "2000")

    async def serve(_: Life) -> None:
        for _note in range(3):
            note = await asyncio.get_running_loop().sock_recv(manager.channel, 4096)
            assert note == b"WATCHDOG=1"

    assert run(serve) == 0


@pytest.mark.parametrize(
    ("environment", "watchdog_s"),
    [
        ({}, 0.0),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, 0.0),
        ({"WATCHDOG_USEC": "soon"}, 0.0),
    ],
)
def test_the_watchdog_may_be_meant_for_another_process(
    environment: dict[str, str], watchdog_s: float
) -> None:
    assert Notifier(environment).watchdog_s == watchdog_s


def test_an_abstract_socket_is_told_as_well() -> None:
    name = f"dialgate-test-{os.getpid()}"
    manager = Manager(f"\0{name}")

    Notifier({"NOTIFY_SOCKET": f"@{name}"}).tell(READY=1)

    assert manager.heard() == ["READY=1"]
    manager.channel.close()


def test_without_a_manager_nothing_is_told(tmp_path: Path) -> None:
    Notifier({}).tell(READY=1)
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")}).tell(READY=1)


def test_main_gives_the_program_its_settings(tmp_path: Path) -> None:
    seen: list[Settings] = []

    async def serve(settings: Settings, _: Life) -> None:
        seen.append(settings)

    assert main("broker", serve, ["--config", str(write(tmp_path))]) == 0
    assert [settings.cluster.name for settings in seen] == ["north"]


def test_nothing_starts_with_a_fault_in_the_configuration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def serve(_settings: Settings, _life: Life) -> None:
        pytest.fail("started")

    file = write(tmp_path, altered(("capacity = 1000", "capacity = 0"), ("[broker]", "[borker]")))

    assert main("broker", serve, ["--config", str(file)]) == 1
    assert [line.split(": ")[1] for line in capsys.readouterr().err.splitlines()] == [
        "broker",
        "borker",
        "worker.capacity",
    ]
