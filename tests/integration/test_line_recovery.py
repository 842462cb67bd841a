"""What is left of calls when an agent is killed or a device pulled out: idle ports."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest

from port_agents.bank import Bank
from tests.integration.peers import until
from tests.integration.places import Caller
from tests.integration.processes import Broker
from tests.integration.served import Served, running_centre, serving
from tests.port_agents.terminal_server import ServedLine

pytestmark = pytest.mark.timeout(180)  # They start clusters, and wait for bounds in them.

DTR_UP, DTR_LOW = b"\x05\x08", b"\x05\x09"
CONSOLE, SHELL, PROMPT = "oslo/console", "oslo/shell", "oslo/prompt"
CLOSED = "oslo/closed"
PROCESS: Final = re.compile(rb"process=([0-9]+)\.")
DTR_LOW_S: Final = 0.5
"""A second is ordered; the orders come here by a network and a busy machine."""
ORDER_S: Final = 5
CPU_MAX: Final = 0.1
"""Of one core: who spins takes all that he gets."""
WATCHED_S: Final = 2.0


@pytest.fixture(scope="module")
def centre(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """Run broker and worker for all tests."""
    with running_centre(tmp_path_factory.mktemp("centre")) as broker:
        yield broker


async def test_a_killed_agent_leaves_nothing_reachable_and_the_next_closes_and_arms(
    tmp_path: Path, centre: Broker
) -> None:
    ports: dict[str, dict[str, str]] = {CONSOLE: {}, SHELL: {"service": "shell"}, PROMPT: {}}
    closed: dict[str, dict[str, str]] = {CLOSED: {}}
    shell = '[services.shell]\ncommand = ["/bin/sh"]\n'
    async with serving(tmp_path, centre, ports | closed, shell) as served:
        async with served.running_agent() as agent:
            process = await _talk(served)
            order = ("port", "disable", CLOSED, "--busy", "--reason", "away")
            assert await served.command(*order) == (0, f"{CLOSED}: disabled\n")
            agent.kill()
        await until(lambda: not _is_alive(process), "the end of the shell")
        for hport in ports:
            line = served.lines[hport]
            await _until_on_hook(line)
            line.commands.clear()
            line.commanded_at.clear()
            line.screen = b""

        async with served.running_agent():
            for hport in ports:
                assert await served.until_ended(hport) == "agent-restart"
                line = await served.log_in(hport)
                assert _first_low_s(line.commands, line.commanded_at) > DTR_LOW_S
            await served.lines[CONSOLE].until_screen(b"the console\r\n")
            assert [len(served.stops(hport)) for hport in ports] == [1, 1, 1]
            port = await served.until(CLOSED, "disabled")
            assert port["reason"].endswith(": away")
            await until(lambda: not served.lines[CLOSED].modem.is_idle, "off-hook")


async def _until_on_hook(line: ServedLine) -> None:
    await until(lambda: not line.modem.is_online, "the hang-up")


async def _talk(served: Served) -> int:
    """Have a caller at the console, one at a shell, one at the prompt; return the shell."""
    await (await served.log_in(CONSOLE)).until_screen(b"the console\r\n")
    shell = await served.log_in(SHELL)
    shell.type(b"echo process=$$.\r")
    await until(lambda: PROCESS.search(shell.screen) is not None, "the number of the shell")
    await served.until(PROMPT, "idle")
    served.lines[PROMPT].ring()
    await served.lines[PROMPT].until_screen(b"login: ")
    (process,) = PROCESS.findall(shell.screen)
    return int(process)


def _first_low_s(commands: list[bytes], at: list[float]) -> float:
    """Return for how long DTR was low at first."""
    low = commands.index(DTR_LOW)
    return at[commands.index(DTR_UP, low)] - at[low]


async def test_a_service_and_an_order_have_the_time_that_is_set_for_them(
    tmp_path: Path, centre: Broker
) -> None:
    """The service goes when a word is said, which is later than the order has time for."""
    fifo, note = tmp_path / "fifo", tmp_path / "note"
    os.mkfifo(fifo)
    talk = os.open(fifo, os.O_RDWR)
    goes = f'trap "" HUP; read x <{fifo}; touch {note}; exit'
    command = json.dumps(["/bin/sh", "-c", f"trap '{goes}' HUP; echo up; read x"])
    times = f"order_timeout_s = {ORDER_S}\nservice_stop_timeout_s = 10\n"
    async with (
        serving(
            tmp_path,
            centre,
            {SHELL: {"service": "slow"}},
            f"[services.slow]\ncommand = {command}\n",
            times,
        ) as served,
        served.running_agent(),
    ):
        line = await served.log_in(SHELL)
        await line.until_screen(b"up")
        began = asyncio.get_running_loop().time()
        status, said = await served.command("port", "hangup", SHELL)
        took_s = asyncio.get_running_loop().time() - began
        assert (status, "ERROR_TIMEOUT (hanging-up, operator)" in said) == (1, True)
        assert took_s >= ORDER_S
        assert not note.exists()

        os.write(talk, b"go\n")
        await served.until(SHELL, "idle")
        assert note.exists()
    os.close(talk)


async def test_a_device_that_is_pulled_out_costs_no_cpu_and_is_back_with_its_path(
    tmp_path: Path, centre: Broker
) -> None:
    port = {
        "device": f"{tmp_path}/ttyM1",
        "dcd": "ignore",
        "init": ["ATE0Q0V1X4S0=0S12=2"],
        "escape_guard_ms": 80,
    }
    async with (
        serving(tmp_path, centre, {"oslo/1": port}) as served,
        Bank(tmp_path, 1) as bank,
        served.running_agent() as agent,
    ):
        await served.until("oslo/1", "idle")
        async with _calling(bank) as caller:
            await bank.close()
            assert await caller.is_hung_up()

        fault = await served.until("oslo/1", "faulted")
        assert fault["reason"].startswith(f"{port['device']}: ")
        assert await served.until_ended("oslo/1") == "port-fault"
        before_s = _cpu_s(agent.process.pid)
        await asyncio.sleep(WATCHED_S)
        assert _cpu_s(agent.process.pid) - before_s < CPU_MAX * WATCHED_S

        async with Bank(tmp_path, 1) as again:
            await served.until("oslo/1", "idle")
            async with _calling(again):
                pass


@asynccontextmanager
async def _calling(bank: Bank) -> AsyncIterator[Caller]:
    """Dial the first line and get to the console; hang up at the end."""
    reader, writer = await asyncio.open_connection(*bank.lines[0].dial)
    caller = Caller(reader, writer)
    try:
        await caller.sees(b"login: ")
        await caller.types(b"ann\r")
        await caller.sees(b"Password: ")
        await caller.types(b"xyzzy\r")
        await caller.sees(b"the console\r\n")
        yield caller
    finally:
        caller.hang_up()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def _cpu_s(process: int) -> float:
    """Return how long a process has computed."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _is_alive(process: int) -> bool:
    stat = Path(f"/proc/{process}/stat")
    return stat.exists() and stat.read_text().rpartition(") ")[2][0] not in "ZX"
