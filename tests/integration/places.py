"""A machine with the real port agent: a simulated modem to dial, and a console behind it."""

from __future__ import annotations

import asyncio
import json
import socketserver
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.integration.peers import until
from tests.integration.processes import (
    DIALGATE,
    PROJECT,
    Program,
    free_port,
    running,
    wait_until,
)


class Caller:
    """Somebody at a terminal, far away."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.screen = b""

    async def sees(self, text: bytes, patience_s: float = 10.0) -> None:
        """Wait until `text` stands on the screen; what is before it scrolls away."""
        async with asyncio.timeout(patience_s):
            while text not in self.screen:
                data = await self._reader.read(1000)
                assert data, f"hung up, and the screen shows {self.screen!r}"
                self.screen += data
        self.screen = self.screen.partition(text)[2]

    async def sees_one_of(self, *texts: bytes, patience_s: float = 10.0) -> bytes:
        """Wait until one of `texts` stands on the screen, and return it."""
        async with asyncio.timeout(patience_s):
            while not (seen := [text for text in texts if text in self.screen]):
                data = await self._reader.read(1000)
                assert data, f"hung up, and the screen shows {self.screen!r}"
                self.screen += data
        return seen[0]

    async def is_asked_for(self, text: bytes, *, else_for: bytes, patience_s: float = 10.0) -> bool:
        """Wait until either prompt ends the screen, and clear it; return whether it is `text`."""
        async with asyncio.timeout(patience_s):
            while not self.screen.endswith((text, else_for)):
                data = await self._reader.read(1000)
                assert data, f"hung up, and the screen shows {self.screen!r}"
                self.screen += data
        is_text = self.screen.endswith(text)
        self.screen = b""
        return is_text

    async def hears(self, patience_s: float = 10.0) -> bytes:
        """Return what stands on the screen, or comes next; the screen is empty then."""
        if not self.screen:
            async with asyncio.timeout(patience_s):
                self.screen = await self._reader.read(1000)
        heard, self.screen = self.screen, b""
        return heard

    async def types(self, text: bytes) -> None:
        self._writer.write(text)
        await self._writer.drain()

    async def is_hung_up(self, patience_s: float = 10.0) -> bool:
        async with asyncio.timeout(patience_s):
            self.screen += await self._reader.read()
        return True

    def hang_up(self) -> None:
        self._writer.transport.abort()


class Place(NamedTuple):
    """A machine with one modem and the real agent, and the console behind it."""

    agent: Program
    dial: int
    """The line's TCP port: who connects there calls."""

    @asynccontextmanager
    async def call(self) -> AsyncIterator[Caller]:
        """Dial, and hang up at the end; the port is ready for the next call when it is over."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.dial)
        caller = Caller(reader, writer)
        try:
            yield caller
        finally:
            caller.hang_up()
            await until(self.is_idle, "the port's being ready again")

    def is_idle(self) -> bool:
        return self.is_("idle")

    def is_(self, state: str) -> bool:
        return self.agent.metric("dialgate_ports", state=state) == 1


class Console(socketserver.StreamRequestHandler):
    """Greets, and repeats in brackets what it hears."""

    def handle(self) -> None:
        self.wfile.write(b"the console\r\n")
        while data := self.connection.recv(100):
            self.wfile.write(b"<" + data + b">")


@contextmanager
def console() -> Iterator[int]:
    """Serve consoles while the context lasts; yield their TCP port."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Console) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()


@contextmanager
def running_place(
    directory: Path, brokers: str, *, state: str = "idle", **settings: int | str
) -> Iterator[Place]:
    """Run a bank of one line, a console, and the agent whose broker is at the address `brokers`.

    `state` is what the port is waited for to be in, `settings` are further keys of [agent].
    """
    more = "\n".join(f"{key} = {json.dumps(value)}" for key, value in settings.items())
    dial, http = free_port(), f"127.0.0.1:{free_port()}"
    device, config = directory / "ttyM1", directory / "agent.toml"
    line = ("--ports", "1", "--dial", f"127.0.0.1:{dial - 1}", "--directory", directory)
    with console() as console_port:
        config.write_text(f"""
            [agent]
            name = "oslo-real"
            site = "oslo"
            brokers = ["{brokers}"]
            http = "{http}"
            spool = "{directory}/spool.db"
            insecure = true
            {more}
            [[agent.ports]]
            hport = "oslo/1"
            device = "{device}"
            dcd = "ignore"
            init = ["ATZ", "ATE0Q0V1X4&C1&D2S0=0S12=2"]
            escape_guard_ms = 80
            service = "console"
            [services.console]
            connect = "tcp://127.0.0.1:{console_port}"
        """)
        bank = subprocess.Popen([*DIALGATE, "bank", *line], cwd=PROJECT, stdout=subprocess.DEVNULL)
        try:
            wait_until(device.exists, lambda: "the bank has no device", 20.0)
            with running("agent", config, http, "/livez") as agent:
                place = Place(agent, dial)
                wait_until(lambda: place.is_(state), lambda: "the modem is not ready", 20.0)
                yield place
        finally:
            bank.terminate()
            bank.wait(10)
