"""Services behind a line, for real: programs on PTYs of their own, and a TCP console.

Method: the test listens as a line would and waits for what is said, with a deadline.  What must be
gone is looked for in /proc by the test itself, not by the code under test.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
import struct
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import pytest
import pytest_asyncio

from dialgate.settings.agent import ServiceSettings
from port_agents.bounded_writer import WRITE_BYTES_MAX
from port_agents.command import Command
from port_agents.console import Console
from port_agents.handover import start_service
from port_agents.line_actions import Admission
from port_agents.service_contract import Service, ServiceError

DEADLINE_S = 15.0

ADMISSION = Admission(
    user="kari",
    domain="",
    attributes={"class": "field"},
    hport="oslo/1",
    site="oslo",
    call=bytes(16),
    caller="+4722334455",
    connect_speed=33600,
    session_timeout_s=0,
    idle_timeout_s=0,
)


class Listener:
    """A line that keeps what it hears, and lets a test wait for it."""

    def __init__(self) -> None:
        self.output = b""
        self.drained = 0
        self.ends: list[str] = []
        self._changed = asyncio.Event()

    def on_output(self, data: bytes) -> None:
        self.output += data
        self._changed.set()

    def on_drained(self) -> None:
        self.drained += 1
        self._changed.set()

    def on_end(self, reason: str) -> None:
        self.ends.append(reason)
        self._changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def hears(self, pattern: bytes) -> re.Match[bytes]:
        await self.until(lambda: re.search(pattern, self.output, re.DOTALL) is not None)
        found = re.search(pattern, self.output, re.DOTALL)
        assert found is not None
        return found


class Rig:
    """Starts services and stops them when the test is over."""

    def __init__(self) -> None:
        self.listener = Listener()
        self.services: list[Service] = []

    async def start(self, settings: ServiceSettings) -> Service:
        service = await start_service(settings, ADMISSION, self.listener)
        self.services.append(service)
        return service

    async def run(self, *argv: str) -> Command:
        service = await self.start(ServiceSettings(command=argv))
        assert isinstance(service, Command)
        return service

    async def raw_shell(self, script: str) -> Service:
        return await self.start(ServiceSettings(command=("/bin/sh", "-c", script), raw=True))

    async def shell(self, script: str, *arguments: str) -> Command:
        return await self.run("/bin/sh", "-c", script, "sh", *arguments)


@pytest_asyncio.fixture
async def rig() -> AsyncIterator[Rig]:
    rig = Rig()
    yield rig
    for service in rig.services:
        await service.stop(grace_s=0)


def alive(processes: Sequence[int]) -> list[int]:
    """Return those of `processes` that run."""
    return [
        process
        for process in processes
        if (stat := read_stat(process)) is not None and stat.split()[0] != "Z"
    ]


def read_stat(process: int) -> str | None:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2]
    except FileNotFoundError:
        return None


def command_lines(mark: str) -> list[int]:
    """Return the processes whose command line holds `mark`."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                if mark.encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except (FileNotFoundError, ProcessLookupError):
                continue
    return found


async def test_a_program_leads_a_session_on_a_terminal_of_its_own(rig: Rig) -> None:
    command = await rig.shell("readlink /proc/$$/fd/0; stty size; read line; echo got $line")

    terminal = (await rig.listener.hears(rb"(/dev/pts/\d+)\r\n24 80\r\n"))[1]
    stat = read_stat(command.pid)
    command.write(b"hello\r")
    await rig.listener.hears(rb"hello\r\ngot hello\r\n")

    assert stat is not None
    _, _, group, session, tty, foreground, *_ = stat.split()
    device = os.makedev(136, int(terminal.rpartition(b"/")[2]))
    assert (group, session, foreground) == (str(command.pid),) * 3
    assert int(tty) == device


async def test_a_programs_environment_is_the_callers_and_nothing_else(rig: Rig) -> None:
    await rig.run("/usr/bin/env")
    await rig.listener.until(lambda: rig.listener.ends != [])

    variables = dict(line.split("=", 1) for line in rig.listener.output.decode().splitlines())
    assert variables["DIALGATE_USER"] == "kari"
    assert variables["DIALGATE_ATTR_CLASS"] == "field"
    assert {name for name in variables if not name.startswith("DIALGATE_")} == {"PATH", "TERM"}


async def test_a_program_inherits_no_descriptor_but_its_terminal(rig: Rig) -> None:
    with socket.socket() as inheritable:
        os.set_inheritable(inheritable.fileno(), True)
        await rig.run("/bin/ls", "/proc/self/fd")
        await rig.listener.until(lambda: rig.listener.ends != [])

    # The fourth is the directory that ls reads.
    assert rig.listener.output.split() == [b"0", b"1", b"2", b"3"]


async def test_a_program_starts_with_default_signals_and_none_blocked(rig: Rig) -> None:
    await rig.run("/bin/grep", "-E", "Sig(Blk|Ign)", "/proc/self/status")
    await rig.listener.until(lambda: rig.listener.ends != [])

    masks = re.findall(rb":\s+([0-9a-f]+)", rig.listener.output)
    # glibc keeps signals 32 and 33 for itself.
    assert [int(mask, 16) & ~(3 << 31) for mask in masks] == [0, 0]


async def test_a_raw_terminal_echoes_nothing_from_its_first_byte_on(rig: Rig) -> None:
    service = await rig.raw_shell("head -c 4 | od -An -c; exec cat")

    service.write(b"\x03a\rb")
    await rig.listener.hears(rb"\n")

    assert rig.listener.output.split() == [b"003", b"a", b"\\r", b"b"]


async def test_all_output_comes_before_the_end_and_its_status(rig: Rig) -> None:
    command = await rig.shell("i=0; while [ $i -lt 2000 ]; do echo $i; i=$((i+1)); done; exit 3")

    await rig.listener.until(lambda: rig.listener.ends != [])

    numbers = [int(line) for line in rig.listener.output.split()]
    assert numbers == list(range(2000))
    assert rig.listener.ends == ["exited with status 3"]
    assert command.bytes_out == len(rig.listener.output)


async def test_a_program_that_is_killed_says_by_what(rig: Rig) -> None:
    await rig.shell("kill -KILL $$")

    await rig.listener.until(lambda: rig.listener.ends != [])

    assert rig.listener.ends == ["killed by SIGKILL"]


async def test_a_program_that_reads_nothing_is_written_no_more_than_the_limit(rig: Rig) -> None:
    command = await rig.shell("stty raw -echo; echo ready; exec sleep 60")
    await rig.listener.hears(rb"ready")

    refused = next(n for n in range(1000) if not command.write(b"x" * 1024))

    assert command.unwritten <= WRITE_BYTES_MAX
    assert refused >= 64


async def test_what_waited_for_a_slow_program_reaches_it_in_order(rig: Rig) -> None:
    command = await rig.shell("stty raw -echo; echo ready; sleep 0.2; head -c 60000 | md5sum")
    await rig.listener.hears(rb"ready")
    text = bytes(range(250)) * 240

    assert command.write(text)
    await rig.listener.hears(rb"[0-9a-f]{32}")
    await rig.listener.until(lambda: rig.listener.drained >= 1)

    assert command.bytes_in == len(text)


async def test_paused_output_waits_in_the_terminal_and_holds_the_program_up(rig: Rig) -> None:
    command = await rig.shell("stty raw; echo ready; head -c 200000 /dev/zero; read line; echo end")
    await rig.listener.hears(rb"ready")
    command.pause_output()
    paused_at = command.bytes_out

    await asyncio.to_thread(wait_until_blocked, "head -c 200000")
    assert command.bytes_out == paused_at
    command.resume_output()
    await rig.listener.until(lambda: command.bytes_out >= 200_000)
    command.write(b"\n")
    await rig.listener.hears(rb"end")


def wait_until_blocked(mark: str) -> None:
    """Wait until a process with `mark` in its command line sleeps in a write."""
    for _ in range(1000):
        for process in command_lines(mark.replace(" ", "\0")):
            stat = read_stat(process)
            if stat is not None and stat.split()[0] == "S":
                return
        os.sched_yield()
    raise AssertionError(mark)


async def test_a_hang_up_ends_a_program_and_reaps_it(rig: Rig) -> None:
    command = await rig.run("/bin/cat")

    gone = await command.stop(grace_s=5)

    assert gone
    assert read_stat(command.pid) is None
    assert not command.write(b"x")
    assert rig.listener.ends == []
    assert await command.stop(grace_s=5), "stopping again does nothing"


async def test_a_program_that_ignores_the_hang_up_is_killed_after_its_grace(rig: Rig) -> None:
    command = await rig.shell("trap '' HUP; echo ready; while :; do sleep 60; done")
    await rig.listener.hears(rb"ready")
    loop = asyncio.get_running_loop()

    started = loop.time()
    gone = await command.stop(grace_s=0.3)

    assert gone
    assert 0.3 <= loop.time() - started < 5
    assert alive([command.pid]) == []


async def test_what_ignores_hang_up_in_groups_of_its_own_is_gone_too(rig: Rig) -> None:
    mark = f"4{os.getpid()}.25"
    command = await rig.run(
        "/bin/bash",
        "-c",
        f"set -m; trap '' HUP; nohup sleep {mark} >/dev/null 2>&1 & "
        f"(sleep {mark} & sleep {mark}) & "
        f"disown -a; echo ready; sleep {mark}",
    )
    await rig.listener.hears(rb"ready")
    await eventually(lambda: len(command_lines(f"sleep\0{mark}")) == 4)
    processes = command_lines(f"sleep\0{mark}")
    assert len({os.getpgid(process) for process in processes}) > 1

    gone = await command.stop(grace_s=0.2)

    assert gone
    assert alive(processes) == []


async def test_background_jobs_of_a_shell_that_ended_by_itself_are_gone_after_stop(
    rig: Rig,
) -> None:
    mark = f"5{os.getpid()}.25"
    command = await rig.run(
        "/bin/bash", "-ic", f"trap '' HUP; nohup sleep {mark} >/dev/null 2>&1 & exit 7"
    )
    await rig.listener.until(lambda: rig.listener.ends != [])
    await eventually(lambda: len(command_lines(f"sleep\0{mark}")) == 1)

    gone = await command.stop(grace_s=0.2)

    assert rig.listener.ends == ["exited with status 7"]
    assert gone
    assert alive(command_lines(f"sleep\0{mark}")) == []


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not condition():  # noqa: ASYNC110 - other processes set no event of ours
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("argv", "reason"),
    [
        (("/no/such/program",), "No such file or directory"),
        (("/etc/passwd",), "Permission denied"),
        (("/bin",), "Permission denied"),
    ],
)
async def test_a_program_that_cannot_be_started_says_why(
    rig: Rig, argv: tuple[str, ...], reason: str
) -> None:
    before = sum(1 for _ in Path("/proc/self/fd").iterdir())

    with pytest.raises(ServiceError) as refused:
        await rig.run(*argv)

    assert str(refused.value) == f"{argv[0]}: can't be started: {reason}"
    assert sum(1 for _ in Path("/proc/self/fd").iterdir()) == before


async def test_login_owns_its_terminal_and_asks_for_a_name(rig: Rig) -> None:
    command = await rig.run("/bin/login", "-p")
    await rig.listener.hears(rb"login: ")

    command.write(b"nobody-of-that-name\r")
    await rig.listener.hears(rb"Password: ")
    command.write(b"wrong\r")
    await rig.listener.hears(rb"Login incorrect")
    gone = await command.stop(grace_s=2)

    assert gone
    assert rig.listener.ends == []
    assert read_stat(command.pid) is None


async def test_agetty_asks_for_a_name_and_hands_its_terminal_to_login(rig: Rig) -> None:
    command = await rig.run("/sbin/agetty", "--noclear", "--noissue", "-", "vt100")
    await rig.listener.hears(rb"login: ")

    command.write(b"nobody-of-that-name\r")
    await rig.listener.hears(rb"Password: ")
    command.write(b"wrong\r")
    await rig.listener.hears(rb"Login incorrect")
    gone = await command.stop(grace_s=2)

    assert gone
    assert rig.listener.ends == []
    assert read_stat(command.pid) is None


class TcpConsole:
    """A console: one connection at a time, in the test's hands."""

    def __init__(self) -> None:
        self.received = b""
        self.peers: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()
        self.eof = asyncio.Event()
        self.reading = asyncio.Event()
        self.reading.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.peers.put_nowait(writer)
        while True:
            await self.reading.wait()
            try:
                data = await reader.read(4096)
            except ConnectionError:
                data = b""
            if not data:
                break
            self.received += data
        self.eof.set()
        writer.close()


@pytest_asyncio.fixture
async def console() -> AsyncIterator[tuple[TcpConsole, ServiceSettings]]:
    console = TcpConsole()
    server = await asyncio.start_server(console.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    yield console, ServiceSettings(connect=f"tcp://127.0.0.1:{port}")
    console.reading.set()
    server.close()
    while not console.peers.empty():
        console.peers.get_nowait().close()


async def test_a_tcp_console_is_relayed_in_both_directions(
    rig: Rig, console: tuple[TcpConsole, ServiceSettings]
) -> None:
    far, settings = console
    service = await rig.start(settings)
    (await far.peers.get()).write(b"\xff\xfdConsole ready\r\n")
    await rig.listener.hears(rb"ready\r\n")

    assert service.write(b"show\x00\xff\r")
    await eventually(lambda: far.received == b"show\x00\xff\r")
    await rig.listener.until(lambda: rig.listener.drained == 1)

    assert rig.listener.output == b"\xff\xfdConsole ready\r\n"
    assert (service.bytes_in, service.bytes_out) == (7, 17)


async def test_a_console_that_is_silently_gone_is_noticed_within_a_minute(
    rig: Rig, console: tuple[TcpConsole, ServiceSettings]
) -> None:
    _, settings = console
    service = await rig.start(settings)
    assert isinstance(service, Console)
    connection = service._transport.get_extra_info("socket")

    assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    idle_s, interval_s, times = (
        connection.getsockopt(socket.IPPROTO_TCP, option)
        for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
    )
    assert idle_s + interval_s * times <= 60
    assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) <= 60_000


async def test_a_console_that_hangs_up_ends_the_service(
    rig: Rig, console: tuple[TcpConsole, ServiceSettings]
) -> None:
    far, settings = console
    service = await rig.start(settings)
    writer = await far.peers.get()
    writer.write(b"bye\r\n")
    writer.close()

    await rig.listener.until(lambda: rig.listener.ends != [])

    assert rig.listener.output == b"bye\r\n"
    assert rig.listener.ends == ["the console hung up"]
    assert not service.write(b"x")


async def test_a_reset_connection_ends_the_service_with_the_reason(
    rig: Rig, console: tuple[TcpConsole, ServiceSettings]
) -> None:
    far, settings = console
    await rig.start(settings)
    writer = await far.peers.get()
    writer.get_extra_info("socket").setsockopt(
        socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
    )
    writer.transport.abort()

    await rig.listener.until(lambda: rig.listener.ends != [])

    assert rig.listener.ends == ["Connection reset by peer"]


async def test_stopping_a_console_sends_what_was_written_and_hangs_up(
    rig: Rig, console: tuple[TcpConsole, ServiceSettings]
) -> None:
    far, settings = console
    service = await rig.start(settings)
    service.write(b"logout\r")

    assert await service.stop(grace_s=5)

    async with asyncio.timeout(DEADLINE_S):
        await far.eof.wait()
    assert far.received == b"logout\r"
    assert rig.listener.ends == []


async def test_a_console_that_takes_nothing_is_bounded_and_left_after_the_grace(
    rig: Rig, console: tuple[TcpConsole, ServiceSettings]
) -> None:
    far, settings = console
    far.reading.clear()
    service = await rig.start(settings)

    await eventually(lambda: not service.write(b"x" * 16_384))

    assert service.unwritten <= WRITE_BYTES_MAX
    assert await service.stop(grace_s=0.05)


async def test_paused_output_waits_in_the_network(
    rig: Rig, console: tuple[TcpConsole, ServiceSettings]
) -> None:
    far, settings = console
    service = await rig.start(settings)
    writer = await far.peers.get()
    service.pause_output()
    await asyncio.sleep(0)
    writer.write(b"late")
    await writer.drain()
    heard_while_paused = rig.listener.output

    service.resume_output()
    await rig.listener.hears(rb"late")

    assert heard_while_paused == b""


async def test_a_console_that_is_down_is_a_clear_error(rig: Rig) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        place = f"tcp://127.0.0.1:{unused.getsockname()[1]}"

        with pytest.raises(ServiceError) as refused:
            await rig.start(ServiceSettings(connect=place))

    assert str(refused.value) == f"{place}: Connection refused"


async def test_a_console_that_does_not_accept_is_given_up_in_time(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(*_: object, **__: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", never)

    with pytest.raises(ServiceError, match="did not accept within 1 s"):
        await rig.start(ServiceSettings(connect="tcp://192.0.2.1:23", connect_timeout_s=1))


async def test_a_console_name_that_does_not_exist_is_a_clear_error(rig: Rig) -> None:
    with pytest.raises(ServiceError, match=r"^tcp://console\.invalid:23: "):
        await rig.start(ServiceSettings(connect="tcp://console.invalid:23"))
