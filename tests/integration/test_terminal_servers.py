"""Ports behind terminal servers: Debian's ser2net between the real agent and simulated modems."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import pytest

from dialgate.records import read_calls
from dialgate.settings import PortSettings
from port_agents.network_port import NetworkPort, connect_port
from tests.integration.peers import until
from tests.integration.places import console
from tests.integration.processes import (
    Broker,
    Program,
    dialgate,
    free_port,
    free_ports,
    running,
    running_broker,
    running_worker,
)
from tests.port_agents.terminal_server import ServedLine, TerminalServer

MANY: Final = 100


class Cluster:
    """A broker and a worker that know ann, and a console."""

    def __init__(self, directory: Path, broker: Broker, console_port: int) -> None:
        self.directory = directory
        self.broker = broker
        self.console_port = console_port


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    directory = tmp_path_factory.mktemp("cluster")
    with ExitStack() as stack:
        broker = stack.enter_context(running_broker(directory))
        stack.enter_context(
            running_worker(directory, broker.workers, ready="/livez", insecure=True)
        )
        config = directory / "worker.toml"
        assert dialgate("users", "add", "ann", "--config", config, stdin="xyzzy\n").returncode == 0
        yield Cluster(directory, broker, stack.enter_context(console()))


class Ser2net:
    """The real one: each of its ports leads to a line of the simulated server behind it."""

    def __init__(self, directory: Path, devices: Sequence[str]) -> None:
        first = free_ports(len(devices))
        self.ports = range(first, first + len(devices))
        self._directory = directory
        self._process: asyncio.subprocess.Process | None = None
        lines = ["%YAML 1.1", "---"]
        for number, (port, device) in enumerate(zip(self.ports, devices, strict=True)):
            behind = device.rpartition(":")[2]
            lines += [
                f"connection: &c{number}",
                f"  accepter: telnet(rfc2217),tcp,127.0.0.1,{port}",
                f"  connector: telnet(rfc2217),tcp,127.0.0.1,{behind}",
                "  options:",
                "    kickolduser: true",
                "    mdns: false",
            ]
        (directory / "ser2net.yaml").write_text("\n".join(lines) + "\n")

    @property
    def devices(self) -> list[str]:
        return [f"rfc2217://127.0.0.1:{port}" for port in self.ports]

    async def start(self) -> None:
        log = (self._directory / "ser2net.log").open("ab")
        config, pid = self._directory / "ser2net.yaml", self._directory / "ser2net.pid"
        with log:
            self._process = await asyncio.create_subprocess_exec(
                "/usr/sbin/ser2net", "-n", "-c", config, "-P", pid, stdout=log, stderr=log
            )
        await until(self._listens, "ser2net's listening")

    def _listens(self) -> bool:
        """Return whether the last port is taken; connecting would open the line behind it."""
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", self.ports[-1])):
            return False
        return True

    async def kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()


def require_an_address() -> None:
    """Skip the test where no interface but loopback has an address (in CI that is a failure).

    There ser2net takes no address, not even 127.0.0.1: it asks getaddrinfo(3) by AI_ADDRCONFIG.
    """
    try:
        socket.getaddrinfo("127.0.0.1", 1, socket.AF_INET, flags=socket.AI_ADDRCONFIG)
    except socket.gaierror:
        pytest.skip("ser2net takes no address while only loopback has one")


@asynccontextmanager
async def ser2net(directory: Path, lines: int = 1) -> AsyncIterator[tuple[TerminalServer, Ser2net]]:
    require_an_address()
    async with TerminalServer(lines, ring_interval_s=1.0) as server:
        real = Ser2net(directory, server.devices)
        try:
            await real.start()
            yield server, real
        finally:
            await real.kill()


def write_config(cluster: Cluster, directory: Path, device: str, http: str) -> Path:
    config = directory / "agent.toml"
    config.write_text(f"""
        [agent]
        name = "oslo-1"
        site = "oslo"
        brokers = ["{cluster.broker.agents}"]
        http = "{http}"
        spool = "{directory}/spool.db"
        insecure = true
        [[agent.ports]]
        hport = "oslo/1"
        device = {json.dumps(device)}
        service = "console"
        [services.console]
        connect = "tcp://127.0.0.1:{cluster.console_port}"
    """)
    return config


@asynccontextmanager
async def agent(cluster: Cluster, directory: Path, device: str) -> AsyncIterator[Program]:
    http = f"127.0.0.1:{free_port()}"
    config = write_config(cluster, directory, device, http)
    async with AsyncExitStack() as stack:
        context = running("agent", config, http, "/livez")
        program = await asyncio.to_thread(context.__enter__)
        stack.push_async_callback(asyncio.to_thread, context.__exit__, None, None, None)
        await until(lambda: program.metric("dialgate_ports", state="idle") == 1, "idle", 15)
        yield program


async def log_in(line: ServedLine) -> None:
    line.ring()
    await line.until_screen(b"login: ")
    line.type(b"ann\r")
    await line.until_screen(b"Password: ")
    line.type(b"xyzzy\r")
    await line.until_screen(b"the console\r\n")


def disconnects(directory: Path) -> list[str]:
    return [
        call.facts.disconnect for call in read_calls(directory / "spool.db") if call.kind == "stop"
    ]


async def test_a_call_behind_ser2net_and_its_hang_up_by_dcd(
    cluster: Cluster, tmp_path: Path
) -> None:
    async with ser2net(tmp_path) as (server, real):
        (line,) = server.lines
        async with agent(cluster, tmp_path, *real.devices):
            await log_in(line)
            line.type(b"\xff\xfe\x00\r\0")  # Telnet's own bytes are the caller's, too.
            await line.until_screen(b"<\xff\xfe\x00\r\0>")
            line.hang_up()

            await until(lambda: disconnects(tmp_path) == ["caller"], "the record of the call")
            assert b"\x05\x09" in line.commands  # DTR was dropped behind it.


async def test_ser2net_restarts_in_the_middle_of_a_call(cluster: Cluster, tmp_path: Path) -> None:
    async with ser2net(tmp_path) as (server, real):
        (line,) = server.lines
        async with agent(cluster, tmp_path, *real.devices) as program:
            await log_in(line)
            await real.kill()

            await until(lambda: disconnects(tmp_path) == ["port-fault"], "the record of the call")
            assert program.metric("dialgate_ports", state="faulted") == 1
            await real.start()
            await until(lambda: program.metric("dialgate_ports", state="idle") == 1, "idle", 15)
            await log_in(line)


async def test_a_hundred_ports_open_in_under_5_s(tmp_path: Path) -> None:
    class Listener:
        def on_bytes(self, data: bytes) -> None: ...
        def on_drained(self) -> None: ...
        def on_lines(self, lines: object) -> None: ...
        def on_lost(self, reason: str) -> None:
            raise AssertionError(reason)

    async def opened(device: str) -> NetworkPort:
        settings = PortSettings(hport="oslo/1", device=device, service="console")
        return await connect_port(settings, Listener())

    async with ser2net(tmp_path, MANY) as (_, real):
        began = time.monotonic()
        ports = await asyncio.gather(*map(opened, real.devices))
        took_s = time.monotonic() - began
        for port in ports:
            port.close()
    assert all(port.lines() is not None for port in ports)
    assert took_s < 5
