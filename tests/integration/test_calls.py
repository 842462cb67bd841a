"""Calls through the whole cluster: broker, two auth workers, the port agent, simulated modems.

Line 1 leads to a TCP console, line 2 to a shell, line 3 to the system's own login.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from dialgate.records import CallRecord, read_calls
from tests.integration.peers import until
from tests.integration.places import Caller, console
from tests.integration.processes import (
    DIALGATE,
    PROJECT,
    Broker,
    Program,
    dialgate,
    free_port,
    free_ports,
    running,
    running_broker,
    running_worker,
    wait_until,
)

ARMED_S: Final = 3.0
"""By when a port is ready again after its caller has gone."""
LINES: Final = 3
SERVICES: Final = ("console", "shell", "login")


class Site:
    """A running cluster with one agent."""

    def __init__(
        self, directory: Path, broker: Broker, workers: list[Program], stack: ExitStack
    ) -> None:
        self.directory = directory
        self.stack = stack
        """Ends what is started in the tests when the module is over."""
        self.broker = broker
        self.workers = workers
        self.dial = free_ports(LINES) - 1
        self.http = f"127.0.0.1:{free_port()}"
        self.agent: Program

    @asynccontextmanager
    async def call(self, line: int = 1) -> AsyncIterator[Caller]:
        """Dial a line, and hang up at the end; it is ready again soon after."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.dial + line)
        caller = Caller(reader, writer)
        try:
            yield caller
        finally:
            caller.hang_up()
            await until(self.is_idle, "the port's being armed again", ARMED_S)

    def is_idle(self) -> bool:
        return self.agent.metric("dialgate_ports", state="idle") == LINES

    def open_dialogs(self) -> float:
        return sum(
            worker.metric("dialgate_worker_dialogs") for worker in self.workers if worker.is_running
        )

    def calls(self) -> list[CallRecord]:
        return read_calls(self.directory / "spool.db")

    def write_config(self, console_port: int) -> Path:
        ports = "".join(
            f"""
            [[agent.ports]]
            hport = "oslo/{number}"
            device = "{self.directory}/ttyM{number}"
            dcd = "ignore"
            init = ["ATZ", "ATE0Q0V1X4&C1&D2S0=0S12=2"]
            escape_guard_ms = 80
            service = "{service}"
            """
            for number, service in enumerate(SERVICES, start=1)
        )
        config = self.directory / "agent.toml"
        config.write_text(f"""
            [agent]
            name = "oslo-1"
            site = "oslo"
            brokers = ["{self.broker.agents}"]
            http = "{self.http}"
            spool = "{self.directory}/spool.db"
            insecure = true
            {ports}
            [services.console]
            connect = "tcp://127.0.0.1:{console_port}"
            [services.shell]
            command = ["/bin/sh"]
            [services.login]
            command = ["/bin/login", "-p"]
        """)
        return config


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Run the cluster for the module."""
    directory = tmp_path_factory.mktemp("site")
    with ExitStack() as stack:
        broker = stack.enter_context(running_broker(directory))
        first = stack.enter_context(
            running_worker(directory, broker.workers, ready="/livez", insecure=True)
        )
        config = directory / "worker.toml"
        assert dialgate("users", "add", "ann", "--config", config, stdin="xyzzy\n").returncode == 0
        site = Site(directory, broker, [first], stack)
        stack.enter_context(second_worker(site))
        stack.enter_context(bank(site))
        port = stack.enter_context(console())
        site.agent = stack.enter_context(running("agent", site.write_config(port), site.http))
        wait_until(site.is_idle, lambda: "the modems are not ready", 20.0)
        yield site


def second_worker(site: Site) -> ExitStack:
    """Start a worker beside the first, with the same state, until the context ends."""
    stack = ExitStack()
    http = f"127.0.0.1:{free_port()}"
    text = (site.directory / "worker.toml").read_text()
    number = len(site.workers) + 1
    config = site.directory / f"worker-{number}.toml"
    config.write_text(
        text.replace('"worker-1"', f'"worker-{number}"').replace(site.workers[0].http, http)
    )
    site.workers.append(stack.enter_context(running("worker", config, http, "/livez")))
    return stack


def bank(site: Site) -> ExitStack:
    """Run the modems until the context ends."""
    stack = ExitStack()
    arguments = ("--ports", str(LINES), "--dial", f"127.0.0.1:{site.dial}")
    process = subprocess.Popen(
        [*DIALGATE, "bank", *arguments, "--directory", site.directory],
        cwd=PROJECT,
        stdout=subprocess.DEVNULL,
    )
    stack.callback(process.wait, 10)
    stack.callback(process.terminate)
    last = site.directory / f"ttyM{LINES}"
    wait_until(last.exists, lambda: "the bank has no devices", 20.0)
    return stack


async def log_in(caller: Caller) -> None:
    await caller.sees(b"login: ")
    await caller.types(b"ann\r")
    await caller.sees(b"Password: ")
    await caller.types(b"xyzzy\r")


# ---------------------------------------------------------------------------- who gets in


async def test_the_right_password_leads_to_the_console(site: Site) -> None:
    async with site.call() as caller:
        await log_in(caller)
        await caller.sees(b"the console\r\n")
        await caller.types(b"status\r")
        await caller.sees(b"<status\r>")


async def test_three_wrong_passwords_and_the_line_is_hung_up(site: Site) -> None:
    async with site.call() as caller:
        for _ in range(3):
            await caller.sees(b"login: ")
            await caller.types(b"ann\r")
            await caller.sees(b"Password: ")
            await caller.types(b"wrong\r")
            await caller.sees(b"Login incorrect")
        assert await caller.is_hung_up()

    assert b"the console" not in caller.screen
    await until(lambda: site.calls()[0].kind == "stop", "the record of the call")
    assert site.calls()[0].facts.disconnect == "refused"


async def test_what_is_typed_ahead_is_answered_in_order(site: Site) -> None:
    async with site.call() as caller:
        await caller.sees(b"login: ")
        await caller.types(b"ann\rxyzzy\rhello\r")
        await caller.sees(b"<hello\r>")


async def test_garbage_at_a_prompt_leaves_the_caller_free_to_start_anew(site: Site) -> None:
    noise = os.urandom(20_000).replace(b"\r", b"").replace(b"\n", b"")
    iac = b"\xff\xfb\x18\xff\xfd\x01"
    async with site.call() as caller:
        await caller.sees(b"login: ")
        for piece in (noise, iac * 10, b"\x1b[A\x08\x7f\x15"):
            await caller.types(piece)
        # ^U among it leaves an empty line, which is nobody's name.
        await caller.types(b"\r")
        await log_in(caller)
        await caller.sees(b"the console")


async def test_a_caller_who_speaks_ppp_at_the_prompt_is_hung_up_on(site: Site) -> None:
    async with site.call() as caller:
        await caller.sees(b"login: ")
        await caller.types(bytes.fromhex("7eff7d23c0217d217d217d207d347e"))
        assert await caller.is_hung_up()

    await until(lambda: site.calls()[0].kind == "stop", "the record of the call")
    assert site.calls()[0].facts.disconnect == "ppp-refused"


async def test_a_flood_without_a_line_end_is_dropped_and_disturbs_nobody(site: Site) -> None:
    async with site.call(1) as flood, site.call(2) as other:
        await flood.sees(b"login: ")
        flooding = asyncio.create_task(flood.types(b"x" * 10_000_000))
        await log_in(other)
        await other.types(b"echo still=$((6*7))\r")
        await other.sees(b"still=42")
        flooding.cancel()
        flood.hang_up()


# ---------------------------------------------------------------------------- who goes


@pytest.mark.parametrize(
    "moment", ["ringing", "at the name", "in the password", "while it is checked", "at the console"]
)
async def test_a_caller_who_hangs_up_leaves_an_armed_port_and_no_dialog(
    site: Site, moment: str
) -> None:
    async with site.call() as caller:
        if moment != "ringing":
            await caller.sees(b"login: ")
        if moment not in {"ringing", "at the name"}:
            await caller.types(b"ann\r")
            await caller.sees(b"Password: ")
            await caller.types(b"xyz" if moment == "in the password" else b"xyzzy\r")
        if moment == "at the console":
            await caller.sees(b"the console\r\n")

    await until(lambda: site.open_dialogs() == 0, "the dialog's end", ARMED_S)
    await until(lambda: site.calls()[0].kind == "stop", "the record of the call")


# ---------------------------------------------------------------------------- services


async def test_a_command_gets_the_line_and_knows_who_calls(site: Site) -> None:
    async with site.call(2) as caller:
        await log_in(caller)
        await caller.types(b'echo "($DIALGATE_USER at $DIALGATE_HPORT)"\r')
        await caller.sees(b"(ann at oslo/2)")


async def test_nothing_of_a_command_is_left_when_its_caller_hangs_up(site: Site) -> None:
    note = site.directory / "pid"
    async with site.call(2) as caller:
        await log_in(caller)
        await caller.types(f"trap '' HUP; echo $$ >{note}; sleep 600\r".encode())
        await until(lambda: note.exists() and note.read_text().endswith("\n"), "the shell")
    process = int(note.read_text())

    await until(lambda: not is_alive(process), "the shell's end", ARMED_S)


def is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


async def test_the_systems_login_asks_its_own_questions(site: Site) -> None:
    """Rule 1: the gate stands before the service's own authentication, not instead of it."""
    async with site.call(3) as caller:
        await log_in(caller)
        await caller.sees(b"login: ")
        await caller.types(b"nobody-here\r")
        await caller.sees(b"Password: ")


async def test_a_service_that_ends_hangs_up(site: Site) -> None:
    async with site.call(2) as caller:
        await log_in(caller)
        await caller.types(b"exit\r")
        assert await caller.is_hung_up()


async def test_a_call_is_in_the_clusters_state_with_its_tries_and_steps(site: Site) -> None:
    async with site.call() as caller:
        await caller.sees(b"login: ")
        await caller.types(b"ann\r")
        await caller.sees(b"Password: ")
        await caller.types(b"wrong\r")
        await log_in(caller)
        await caller.sees(b"the console")
    call = site.calls()[0].call.hex()
    config = site.directory / "broker.toml"

    def shown() -> list[dict[str, Any]]:
        done = dialgate("calls", "--since", "5m", "--config", config, "-o", "json")
        calls: list[dict[str, Any]] = json.loads(done.stdout)["calls"]
        return [each for each in calls if each["call"] == call and each["kind"] == "stop"]

    await until(lambda: shown() != [], "the call's being stored", 20.0)
    (dialog,) = shown()[0]["dialogs"]
    assert (dialog["user"], dialog["tries"], dialog["answers"]) == ("ann", 2, 4)

    told = dialgate("calls", "explain", call, "--config", config).stdout
    assert "decided success" in told
    assert "xyzzy" not in told


# ---------------------------------------------------------------------------- what dies


async def test_a_worker_that_is_killed_in_a_login_has_the_caller_asked_again(site: Site) -> None:
    async with site.call() as caller:
        await caller.sees(b"login: ")
        await caller.types(b"ann\r")
        await caller.sees(b"Password: ")
        await caller.types(b"xy")
        busy = next(x for x in site.workers if x.metric("dialgate_worker_dialogs") == 1)
        busy.kill()
        site.workers.remove(busy)
        await caller.sees(b"login: ", 5.0)
        await caller.types(b"ann\r")
        await caller.sees(b"Password: ")
        await caller.types(b"xyzzy\r")
        await caller.sees(b"the console")
    ((dialog,),) = [site.calls()[0].facts.dialogs]

    assert dialog.attempts == 2


async def test_a_caller_does_not_notice_that_the_broker_is_restarted_in_his_login(
    site: Site,
) -> None:
    """His worker re-attaches, its question waits on, and what he has typed of his answer stays."""
    async with site.call() as caller:
        await caller.sees(b"login: ")
        await caller.types(b"ann\r")
        await caller.sees(b"Password: ")
        await caller.types(b"xy")
        begun = site.agent.metric("dialgate_agent_begins_total")
        site.broker.kill()
        config = site.directory / "broker.toml"
        site.stack.enter_context(running("broker", config, site.broker.http, "/livez"))
        await until(
            lambda: site.agent.metric("dialgate_agent_begins_total") > begun, "BEGIN again", 8.0
        )
        await caller.types(b"zzy\r")
        await caller.sees(b"the console")


# ---------------------------------------------------------------------------- starting and ending


def test_a_device_that_is_not_there_is_named_and_nothing_starts(site: Site) -> None:
    config = (site.directory / "agent.toml").read_text()
    other = site.directory / "other.toml"
    other.write_text(config.replace("ttyM2", "ttyM7").replace(site.http, "127.0.0.1:1"))
    done = dialgate("agent", "--config", other)

    assert done.returncode == 1
    assert "ttyM7" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_whose_modem_lines_are_unknown_must_say_so(site: Site, tmp_path: Path) -> None:
    dial = ("--ports", "1", "--dial", f"127.0.0.1:{free_port()}")
    with subprocess.Popen(
        [*DIALGATE, "bank", *dial, "--directory", tmp_path],
        cwd=PROJECT,
        stdout=subprocess.DEVNULL,
    ) as process:
        wait_until((tmp_path / "ttyM1").exists, lambda: "the bank has no device", 20.0)
        config = tmp_path / "agent.toml"
        config.write_text(f"""
            [agent]
            name = "oslo-2"
            site = "oslo"
            brokers = ["{site.broker.agents}"]
            http = "127.0.0.1:{free_port()}"
            spool = "{tmp_path}/spool.db"
            insecure = true
            [[agent.ports]]
            hport = "oslo/9"
            device = "{tmp_path}/ttyM1"
            service = "shell"
            [services.shell]
            command = ["/bin/sh"]
        """)
        done = dialgate("agent", "--config", config)
        process.terminate()

    assert done.returncode == 1
    assert 'dcd = "ignore"' in done.stderr


async def test_a_drained_agent_lets_the_call_end(site: Site) -> None:
    """Last: the agent is gone afterwards."""
    reader, writer = await asyncio.open_connection("127.0.0.1", site.dial + 1)
    caller = Caller(reader, writer)
    await log_in(caller)
    await caller.sees(b"the console\r\n")
    site.agent.send(signal.SIGTERM)
    await caller.types(b"still here\r")
    await caller.sees(b"<still here\r>")
    caller.hang_up()

    await until(lambda: not site.agent.is_running, "the agent's end", 5.0)
    assert site.agent.process.returncode == 0


async def test_an_agent_that_is_stopped_at_once_hangs_up(site: Site) -> None:
    """After the one before, whose agent is gone."""
    with running("agent", site.directory / "agent.toml", site.http) as agent:
        site.agent = agent
        await until(site.is_idle, "the modems' being ready", 20.0)
        reader, writer = await asyncio.open_connection("127.0.0.1", site.dial + 2)
        caller = Caller(reader, writer)
        await log_in(caller)
        agent.send(signal.SIGTERM)
        agent.send(signal.SIGINT)
        assert await caller.is_hung_up()
        await until(lambda: not agent.is_running, "the agent's end", 5.0)
        writer.close()

    assert agent.process.returncode > 128
    await until(lambda: site.calls()[0].kind == "stop", "the record of the call")
    assert site.calls()[0].facts.disconnect == "agent-stopped"


async def test_the_calls_of_a_killed_agent_are_ended_by_the_next(site: Site) -> None:
    """After the one before, whose agent is gone.  Protocol §8: exactly one stop a call."""
    with running("agent", site.directory / "agent.toml", site.http) as agent:
        site.agent = agent
        await until(site.is_idle, "the modems' being ready", 20.0)
        reader, writer = await asyncio.open_connection("127.0.0.1", site.dial + 2)
        caller = Caller(reader, writer)
        await log_in(caller)
        await until(lambda: site.calls()[0].kind == "start", "the record of the start")
        call = site.calls()[0].call
        agent.send(signal.SIGKILL)
        await until(lambda: not agent.is_running, "the agent's end", 5.0)
        writer.close()

    with running("agent", site.directory / "agent.toml", site.http):
        await until(lambda: site.calls()[0].kind == "stop", "the record of the stop")

    (ended,) = [each for each in site.calls() if each.call == call]
    assert (ended.facts.disconnect, ended.facts.ended_at) == ("agent-restart", None)


async def test_a_login_that_a_killed_agent_was_in_has_its_record(site: Site) -> None:
    """Also after the one that stopped the agent.  Nobody was admitted, so there is no start."""
    with running("agent", site.directory / "agent.toml", site.http) as agent:
        site.agent = agent
        await until(site.is_idle, "the modems' being ready", 20.0)
        before = {each.call for each in site.calls()}
        reader, writer = await asyncio.open_connection("127.0.0.1", site.dial + 2)
        await Caller(reader, writer).sees(b"login: ")
        agent.send(signal.SIGKILL)
        await until(lambda: not agent.is_running, "the agent's end", 5.0)
        writer.close()

    def new() -> list[CallRecord]:
        return [each for each in site.calls() if each.call not in before]

    with running("agent", site.directory / "agent.toml", site.http):
        await until(lambda: new() != [], "the record of the stop")

    (ended,) = new()
    assert (ended.kind, ended.facts.disconnect) == ("stop", "agent-restart")
    assert ended.facts.connected_at is not None


async def test_what_a_killed_agents_service_left_is_gone_when_ports_are_armed(site: Site) -> None:
    """A job that ignores the hang-up of its terminal is not reachable by the next caller."""
    marker = f"{site.directory}/left-over"
    with running("agent", site.directory / "agent.toml", site.http) as agent:
        site.agent = agent
        await until(site.is_idle, "the modems' being ready", 20.0)
        reader, writer = await asyncio.open_connection("127.0.0.1", site.dial + 2)
        caller = Caller(reader, writer)
        await log_in(caller)
        await caller.types(f"(trap '' HUP; touch {marker}; exec sleep 61) &\r".encode())
        await until(lambda: Path(marker).exists(), "the job")
        assert sleepers() != []
        agent.send(signal.SIGKILL)
        await until(lambda: not agent.is_running, "the agent's end", 5.0)
        writer.close()

    with running("agent", site.directory / "agent.toml", site.http) as agent:
        site.agent = agent
        await until(site.is_idle, "the modems' being ready", 20.0)
        assert sleepers() == []


def sleepers() -> list[str]:
    found = subprocess.run(
        ["pgrep", "-f", "^sleep 61$"], capture_output=True, text=True, check=False
    )
    return found.stdout.split()
