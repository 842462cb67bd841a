"""One port's shell on a real PTY, with real services; the agent is a list of what it was told.

The test holds the master side and waits for what the agent is told, never for time.
"""

from __future__ import annotations

import asyncio
import os
import pty
import tty
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from dialgate.settings import PortSettings, ServiceSettings
from port_agents.call import Call
from port_agents.device import PortError
from port_agents.hook import run_hook
from port_agents.line_actions import (
    Admission,
    Closure,
    LineChanged,
    LineState,
    Record,
    ServiceWrite,
    StartService,
    StopService,
    WriteLine,
)
from port_agents.line_locks import LineLocks
from port_agents.modem_actions import Flush, Reopen, RunHook, SetDtr
from port_agents.port import Port

SERVICES: Final = {
    "cat": ServiceSettings(command=("/bin/cat",)),
    "nothing": ServiceSettings(command=("/does/not/exist",)),
    "true": ServiceSettings(command=("/bin/true",)),
}
ANN: Final = Admission(
    user="ann",
    domain="",
    attributes={},
    hport="oslo/1",
    site="oslo",
    call=bytes(16),
    caller="",
    connect_speed=0,
    session_timeout_s=0,
    idle_timeout_s=0,
)


class Agent:
    """Notes what a port tells, and lets a test wait for it."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.received = b""
        self.said = b""
        self._changed = asyncio.Event()

    def opened(self, hport: str, lines: object) -> None:
        self._note("opened", hport, lines)

    def closed(self, hport: str, reason: str) -> None:
        self._note("closed", hport, reason)

    def receive(self, _hport: str, data: bytes) -> None:
        self.received += data
        self._changed.set()

    def lines_changed(self, hport: str, lines: object) -> None:
        self._note("lines", hport, lines)

    def drained(self, hport: str) -> None:
        self._note("drained", hport)

    def service_output(self, _hport: str, data: bytes) -> None:
        self.said += data
        self._changed.set()

    def expect_user(self, hport: str) -> dict[str, str]:
        return {}

    def passed_by(self, hport: str, passed: object) -> None:
        self._note("passed", hport, passed)

    def service_ended(self, hport: str, failure: str) -> None:
        self._note("ended", hport, failure)

    def call_began(self, hport: str, call: Call) -> None:
        self._note("began", hport, call.id)

    def hook_ended(self, hport: str, failure: str) -> None:
        self._note("hook", hport, failure)

    def keep_closure(self, hport: str, closure: Closure | None) -> None:
        self._note("closure", hport, closure)

    def record(self, hport: str, record: Record) -> None:
        self._note("record", hport, record.kind)

    def _note(self, *what: Any) -> None:
        self.told.append(what)
        self._changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                self._changed.clear()
                await self._changed.wait()


class Bench:
    """A port whose device is a PTY."""

    def __init__(
        self,
        directory: Path,
        tasks: asyncio.TaskGroup,
        locks: LineLocks | None = None,
        grace_s: float = 1.0,
        **settings: Any,
    ) -> None:
        self.agent = Agent()
        self.device = directory / "tty"
        self.master = -1
        self.plug_in()
        fields = {"dcd": "ignore", **settings}
        self.port = Port(
            PortSettings(hport="oslo/1", device=str(self.device), service="cat", **fields),
            SERVICES,
            self.agent,
            tasks,
            locks,
            grace_s=grace_s,
        )

    def plug_in(self) -> None:
        self.master, slave = pty.openpty()
        tty.setraw(slave)
        self.device.unlink(missing_ok=True)
        self.device.symlink_to(os.ttyname(slave))
        os.close(slave)

    def unplug(self) -> None:
        os.close(self.master)
        self.device.unlink()

    async def call(self, service: str, first_input: bytes = b"") -> None:
        self.port.do(StartService(service, ANN, first_input))

    def told(self, what: str) -> list[tuple[Any, ...]]:
        return [x for x in self.agent.told if x[0] == what]


@asynccontextmanager
async def running(directory: Path, **settings: Any) -> AsyncIterator[Bench]:
    """Run a port; what is left of its service is ended."""
    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        bench = Bench(directory, tasks, **settings)
        bench.port.open()
        bench.port.start()
        try:
            yield bench
        finally:
            bench.port.close()
            if bench.port._serving is not None:
                bench.port._serving.cancel()


async def test_a_port_tells_of_its_device_and_what_it_says(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        os.write(bench.master, b"\r\nRING\r\n")
        await bench.agent.until(lambda: b"RING" in bench.agent.received)

        assert bench.agent.told[0] == ("opened", "oslo/1", None)


async def test_what_is_written_leaves_and_is_told_when_it_has(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        bench.port.do(WriteLine(b"ATZ\r"))
        assert os.read(bench.master, 100) == b"ATZ\r"
        await bench.agent.until(lambda: bool(bench.told("drained")))

        bench.port.do(Flush())
        bench.port.do(SetDtr(on=True))


async def test_more_than_the_line_takes_is_counted(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        bench.port.do(WriteLine(bytes(60_000)))
        bench.port.do(WriteLine(bytes(60_000)))

        assert bench.port.bytes_lost == 60_000


async def test_a_port_without_modem_lines_must_ignore_dcd(tmp_path: Path) -> None:
    async with asyncio.TaskGroup() as tasks:
        bench = Bench(tmp_path, tasks, dcd="auto")

        with pytest.raises(PortError, match='set dcd = "ignore" for port oslo/1'):
            bench.port.open()


async def test_a_lost_device_is_told_of_and_opened_again_when_it_is_back(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        bench.unplug()
        await bench.agent.until(lambda: bool(bench.told("closed")))
        bench.port.do(Reopen(0.0))
        await bench.agent.until(lambda: len(bench.told("closed")) == 2)
        bench.plug_in()
        bench.port.do(Reopen(0.0))
        await bench.agent.until(lambda: len(bench.told("opened")) == 2)

        os.write(bench.master, b"OK")
        await bench.agent.until(lambda: bench.agent.received == b"OK")


async def test_a_device_that_is_open_is_closed_and_opened_again(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        bench.port.do(Reopen(0.0))

        await bench.agent.until(lambda: len(bench.told("opened")) == 2)
        assert bench.told("closed") == []
        bench.port.do(WriteLine(b"AT"))
        assert await asyncio.to_thread(os.read, bench.master, 100) == b"AT"


async def test_a_hook_is_run_with_the_ports_names_and_its_end_is_told(tmp_path: Path) -> None:
    hook = ("/bin/sh", "-c", 'test "$HPORT" = oslo/1 && test -e "$DEVICE" || exit 1')
    async with running(tmp_path, hook=hook) as bench:
        bench.port.do(RunHook("silent"))

        await bench.agent.until(lambda: bool(bench.told("hook")))
        assert bench.told("hook") == [("hook", "oslo/1", "")]


@pytest.mark.parametrize(
    ("hook", "why"),
    [
        (("/does/not/exist",), "/does/not/exist: No such file or directory"),
        (("/bin/sh", "-c", "echo no power >&2; exit 3"), "/bin/sh: status 3: no power"),
        (("/bin/sleep", "60"), "/bin/sleep: did not end within 0.1 s"),
    ],
)
async def test_a_hook_that_does_not_work_says_why(hook: tuple[str, ...], why: str) -> None:
    assert await run_hook(hook, "oslo/1", "/dev/ttyS0", 0.1) == why


async def test_a_service_gets_what_was_typed_before_it_was_there(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        await bench.call("cat", b"first ")
        bench.port.do(ServiceWrite(b"second\n"))
        await bench.agent.until(lambda: b"first second" in bench.agent.said)

        bench.port.do(StopService())
        await bench.agent.until(lambda: bool(bench.told("ended")))


async def test_early_typing_is_bounded(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        await bench.call("cat")
        bench.port.do(ServiceWrite(bytes(5000)))
        await asyncio.sleep(0)

        assert bench.port.bytes_lost == 5000 - 4096
        bench.port.do(StopService())


async def test_a_service_that_ends_by_itself_is_told_of_once(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        await bench.call("true")
        await bench.agent.until(lambda: bool(bench.told("ended")))

        assert bench.told("ended") == [("ended", "oslo/1", "")]


async def test_a_service_that_cannot_be_started_is_told_with_the_reason(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        await bench.call("nothing")
        await bench.agent.until(lambda: bool(bench.told("ended")))
        ((_, _, failure),) = bench.told("ended")

        assert "/does/not/exist" in failure


async def test_a_service_that_the_agent_has_not_is_refused_by_name(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        await bench.call("rtu")
        await bench.agent.until(lambda: bool(bench.told("ended")))

        assert bench.told("ended") == [
            (
                "ended",
                "oslo/1",
                "the verdict names a service that this agent doesn't have: add [services.rtu]",
            )
        ]


async def test_a_service_that_is_stopped_before_it_starts_is_told_of(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        await bench.call("cat")
        bench.port.do(StopService())
        await bench.agent.until(lambda: bool(bench.told("ended")))

        assert bench.told("ended") == [("ended", "oslo/1", "")]


async def test_a_service_that_is_stopped_while_it_starts_is_told_of(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        await bench.call("cat")
        await asyncio.sleep(0)
        bench.port.do(StopService())
        await bench.agent.until(lambda: bool(bench.told("ended")))

        assert bench.told("ended") == [("ended", "oslo/1", "")]


@pytest.mark.parametrize(("grace_s", "ended_by_itself"), [(60.0, True), (0.0, False)])
async def test_a_service_has_its_time_to_end_by_itself_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, grace_s: float, ended_by_itself: bool
) -> None:
    """Told to go, it waits for a word, which nobody says before the other one is gone."""
    fifo, note = tmp_path / "fifo", tmp_path / "note"
    os.mkfifo(fifo)
    talk = os.open(fifo, os.O_RDWR)
    goes = f'trap "" HUP; read x <{fifo}; touch {note}; exit'
    stubborn = ("/bin/sh", "-c", f"trap '{goes}' HUP; echo up; read x")
    monkeypatch.setitem(SERVICES, "stubborn", ServiceSettings(command=stubborn))
    async with running(tmp_path, grace_s=grace_s) as bench:
        await bench.call("stubborn")
        await bench.agent.until(lambda: b"up" in bench.agent.said)
        bench.port.do(StopService())
        if ended_by_itself:
            os.write(talk, b"go\n")
        await bench.agent.until(lambda: bool(bench.told("ended")))
    os.close(talk)

    assert note.exists() == ended_by_itself


async def test_records_are_passed_on_and_states_change_the_watch(tmp_path: Path) -> None:
    async with running(tmp_path) as bench:
        bench.port.do(Record("stop", Call(bytes(16), 0.0)))
        bench.port.do(LineChanged(LineState.ONLINE, ""))
        bench.port.do(LineChanged(LineState.IDLE, ""))

        assert bench.told("record") == [("record", "oslo/1", "stop")]


# Lock files.


@asynccontextmanager
async def locked(directory: Path, **settings: Any) -> AsyncIterator[tuple[Bench, LineLocks]]:
    """Give a port whose locks are in a directory of the test's own."""
    places = directory / "lock"
    places.mkdir()
    locks = LineLocks(str(places))
    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        bench = Bench(directory, tasks, locks=locks, **settings)
        yield bench, locks
        bench.port.close()
        os.close(bench.master)


async def test_an_open_port_is_locked_and_a_closed_one_is_not(tmp_path: Path) -> None:
    async with locked(tmp_path) as (bench, locks):
        lock = locks.path_of(str(bench.device))
        bench.port.open()
        assert int(lock.read_text()) == os.getpid()
        bench.port.close()
        assert not lock.exists()


async def test_a_port_that_another_program_has_is_waited_for(tmp_path: Path) -> None:
    async with locked(tmp_path) as (bench, locks):
        lock = locks.path_of(str(bench.device))
        lock.write_text(f"{os.getppid():10d}\n")
        bench.port.open()
        bench.port.start()
        ((_, _, reason),) = bench.told("closed")
        assert "in use by" in reason
        lock.unlink()
        bench.port.do(Reopen(0.0))

        await bench.agent.until(lambda: bool(bench.told("opened")))


async def test_with_dial_out_a_line_is_locked_in_calls_only(tmp_path: Path) -> None:
    async with locked(tmp_path, dial_out=True) as (bench, locks):
        lock = locks.path_of(str(bench.device))
        bench.port.open()
        bench.port.start()
        assert not lock.exists()
        bench.port.do(LineChanged(LineState.RINGING, ""))
        assert int(lock.read_text()) == os.getpid()
        bench.port.do(LineChanged(LineState.IDLE, ""))
        assert not lock.exists()


async def test_with_dial_out_an_idle_line_is_let_go_for_another_program(tmp_path: Path) -> None:
    async with locked(tmp_path, dial_out=True) as (bench, locks):
        bench.port.open()
        bench.port.start()
        locks.path_of(str(bench.device)).write_text(f"{os.getppid():10d}\n")

        await bench.agent.until(lambda: bool(bench.told("closed")))
        assert "in use by" in bench.told("closed")[0][2]


async def test_a_usb_adapter_that_is_not_plugged_in_is_waited_for(tmp_path: Path) -> None:
    async with asyncio.TaskGroup() as tasks:
        name = "/dev/serial/by-id/usb-no-such-modem"
        agent = Agent()
        settings = PortSettings(hport="oslo/1", device=name, service="cat", dcd="ignore")
        port = Port(settings, SERVICES, agent, tasks)
        port.open()
        port.start()

    assert agent.told == [
        (
            "closed",
            "oslo/1",
            f"{name}: no such device: look at the cable, or for its name in /dev/serial/by-path",
        )
    ]
