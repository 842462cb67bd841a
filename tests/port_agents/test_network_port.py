"""Ports behind a terminal server: real connections to a server that behaves as it is told."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from dialgate.settings import PortSettings
from port_agents.device import PortError
from port_agents.modem_actions import ModemLines
from port_agents.network_port import NetworkPort, connect_port
from tests.port_agents.terminal_server import ServedLine, TerminalServer

DOWN = ModemLines(dcd=False, dsr=True, ri=False, cts=True)


class Listener:
    """Collects what it is told, and lets a test wait for it."""

    def __init__(self) -> None:
        self.received = b""
        self.drained = 0
        self.lines: list[ModemLines] = []
        self.lost: list[str] = []
        self._changed = asyncio.Event()

    def on_bytes(self, data: bytes) -> None:
        self.received += data
        self._changed.set()

    def on_drained(self) -> None:
        self.drained += 1
        self._changed.set()

    def on_lines(self, lines: ModemLines) -> None:
        self.lines.append(lines)
        self._changed.set()

    def on_lost(self, reason: str) -> None:
        self.lost.append(reason)
        self._changed.set()

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(5):
            while not condition():
                self._changed.clear()
                await self._changed.wait()


def settings(device: str, baud: int = 115_200) -> PortSettings:
    return PortSettings(hport="oslo/1", device=device, service="console", baud=baud)


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[ServedLine, NetworkPort, Listener]]:
    listener = Listener()
    async with TerminalServer() as server:
        port = await connect_port(settings(server.devices[0]), listener)
        try:
            yield server.lines[0], port, listener
        finally:
            port.close()


async def until(line: ServedLine, condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            line.changed.clear()
            await line.changed.wait()


async def test_bytes_pass_both_ways_unchanged() -> None:
    every = bytes(range(256))
    async with connected() as (line, port, listener):
        line.modem.faults.silent = True
        assert port.write(every)
        line.send(every.replace(b"\xff", b"\xff\xff"))

        await listener.until(lambda: listener.received == every)
        await until(line, lambda: line.heard == every)


async def test_modem_lines_are_known_when_it_is_open_and_told_when_they_change() -> None:
    async with connected() as (line, port, listener):
        assert port.lines() == DOWN
        line.strap_dcd(dcd=True)

        await listener.until(lambda: listener.lines)
        assert listener.lines[0].dcd


async def test_dtr_and_break_reach_the_line_behind_what_was_written() -> None:
    async with connected() as (line, port, _):
        line.modem.faults.silent = True
        port.write(b"bye")
        assert port.set_dtr(on=False)
        assert port.set_break(on=True)
        port.flush()

        await until(line, lambda: line.commands[-1:] == [b"\x0c\x03"])
        assert line.commands[-3:-1] == [b"\x05\x09", b"\x05\x05"]
        assert line.heard == b"bye"


async def test_drained_is_told_when_the_line_has_had_the_time_to_send() -> None:
    listener = Listener()
    async with TerminalServer() as server:
        port = await connect_port(settings(server.devices[0], baud=1200), listener)
        began = asyncio.get_running_loop().time()
        port.write(b"x" * 24)

        await listener.until(lambda: listener.drained)
        took_s = asyncio.get_running_loop().time() - began
        port.close()
    assert 0.2 <= took_s < 2


async def test_flow_control_of_the_server_holds_data_and_no_commands() -> None:
    async with connected() as (line, port, listener):
        line.modem.faults.silent = True
        line.send(b"\xff\xfa\x2c\x6c\xff\xf0")
        line.send(b"!")
        await listener.until(lambda: listener.received == b"!")
        port.write(b"later")
        port.set_dtr(on=True)
        await until(line, lambda: line.commands[-1:] == [b"\x05\x08"])
        assert (line.heard, port.unwritten) == (b"", 5)

        line.send(b"\xff\xfa\x2c\x6d\xff\xf0")
        await until(line, lambda: line.heard == b"later")


async def test_a_write_that_finds_no_room_is_refused_whole() -> None:
    async with connected() as (_, port, _):
        assert not port.write(bytes(10_000_000))


async def test_a_server_that_goes_is_told_of_once() -> None:
    async with connected() as (line, port, listener):
        line.cut()

        await listener.until(lambda: listener.lost)
        assert listener.lost in (
            ["the terminal server closed the connection"],
            ["Connection reset by peer"],
        )
        assert port.closed
        assert not port.write(b"x")
        assert not port.set_dtr(on=True)


async def test_after_close_nothing_is_told() -> None:
    async with connected() as (line, port, listener):
        port.close()
        line.send(b"late")
        line.cut()
        await asyncio.sleep(0.05)

    assert (listener.received, listener.lost) == (b"", [])


async def test_without_acknowledgements_all_goes_on() -> None:
    async with TerminalServer() as server:
        server.lines[0].acknowledges = False
        port = await connect_port(settings(server.devices[0]), Listener())
        assert port.lines() == DOWN
        port.close()


async def test_what_is_no_rfc_2217_port_is_refused_with_the_reason() -> None:
    async with TerminalServer() as server:
        server.lines[0].agrees = False
        with pytest.raises(PortError, match="does not speak RFC 2217"):
            await connect_port(settings(server.devices[0]), Listener())


async def test_a_port_that_is_in_use_says_so() -> None:
    async def busy(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"Port already in use\r\n")
        writer.close()

    async with await asyncio.start_server(busy, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(PortError, match=r'"Port already in use"|reset by peer'):
            await connect_port(settings(f"rfc2217://127.0.0.1:{port}"), Listener())


async def test_nobody_there_is_a_reason_too() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        device = f"rfc2217://127.0.0.1:{probe.getsockname()[1]}"
        with pytest.raises(PortError, match=f"{device}: .*refused"):
            await connect_port(settings(device), Listener())
