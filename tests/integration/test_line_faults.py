"""Lines that lie and modems that wedge, and what a real agent makes of each.

All stories are played at the same time, each on a line of its own: most of them wait for a bound.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final, NamedTuple

import pytest
import pytest_asyncio

from tests.integration.served import Served, running_centre, serving

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]

HIGH_ENOUGH_S: Final = 2
"""DCD that is down for less ends no call; a machine that is slow must not make it more."""

Play = Callable[[Served, str], Awaitable[None]]


class Story(NamedTuple):
    """What happens on one line."""

    play: Play
    """It is called before the agent runs."""
    options: dict[str, Any]
    """Settings of the port."""

    @property
    def hport(self) -> str:
        return self.play.__name__.replace("_", "-")


STORIES: Final[list[Story]] = []


def story(**options: Any) -> Callable[[Play], Play]:
    """Have a story played on a port with these settings."""

    def add(play: Play) -> Play:
        STORIES.append(Story(play, options))
        return play

    return add


# ---------------------------------------------------------------------------- DCD


@story()
async def dcd_that_is_high_at_the_start_is_quarantined(served: Served, hport: str) -> None:
    line = served.lines[hport]
    line.strap_dcd(True)
    await served.until(hport, "quarantined")

    _, told = await served.command("ports", "-o", "json")
    (port,) = [port for port in json.loads(told)["ports"] if port["hport"] == hport]
    assert (port["state"], port["reason"][:10]) == ("quarantined", "dcd-stuck:")
    assert port["modem_lines"]["dcd"]
    assert port["counters"]["quarantines"] == 1

    line.strap_dcd(None)
    assert await served.command("port", "reset", hport) == (0, f"{hport}: reset\n")
    await (await served.log_in(hport)).until_screen(b"the console\r\n")


@story()
async def dcd_that_stays_high_after_a_call_is_quarantined(served: Served, hport: str) -> None:
    line = await served.log_in(hport)
    await line.until_screen(b"the console\r\n")
    line.strap_dcd(True)

    status, said = await served.command("port", "hangup", hport)
    assert status != 0
    assert f"{hport}: not hung up" in said
    assert "dcd-stuck" in said
    await served.until(hport, "quarantined")
    assert await served.until_ended(hport) == "operator"
    line.strap_dcd(None)
    assert (await served.command("port", "reset", hport))[0] == 0
    await (await served.log_in(hport)).until_screen(b"the console\r\n")


@story()
async def dcd_that_is_always_low_makes_no_call(served: Served, hport: str) -> None:
    line = served.lines[hport]
    line.strap_dcd(False)
    await served.until(hport, "idle")
    line.ring()

    port = await served.until_counted(hport, "no_carriers")
    assert await served.until_ended(hport) == "no-connection"
    assert (port["counters"]["in_vain"], line.screen) == (1, b"")
    line.strap_dcd(None)
    await (await served.log_in(hport)).until_screen(b"the console\r\n")


@story(dcd_debounce_ms=HIGH_ENOUGH_S * 1000)
async def dcd_that_bounces_ends_a_call_only_when_it_is_long(served: Served, hport: str) -> None:
    line = await served.log_in(hport)
    await line.until_screen(b"the console\r\n")
    line.strap_dcd(False)
    await asyncio.sleep(HIGH_ENOUGH_S / 8)
    line.strap_dcd(None)
    line.type(b"still here")
    await line.until_screen(b"<still here>")
    assert served.stops(hport) == []

    line.strap_dcd(False)
    assert await served.until_ended(hport) == "caller"
    line.strap_dcd(None)
    port = await served.until(hport, "idle")
    assert port["counters"]["bounces"] == 1


@story()
async def dcd_that_falls_3_s_after_a_hang_up_is_well(served: Served, hport: str) -> None:
    line = await served.log_in(hport)
    await line.until_screen(b"the console\r\n")
    line.dcd_late_s = 3.0
    told_at = asyncio.get_running_loop().time()

    assert await served.command("port", "hangup", hport) == (0, f"{hport}: hung up\n")
    assert asyncio.get_running_loop().time() - told_at >= line.dcd_late_s
    port = await served.until(hport, "idle")
    assert (port["counters"]["faults"], port["counters"]["quarantines"]) == (0, 0)


# ---------------------------------------------------------------------------- modems


@story()
async def a_modem_that_says_nothing_is_faulted_until_it_speaks(served: Served, hport: str) -> None:
    served.lines[hport].modem.faults.silent = True
    port = await served.until(hport, "faulted")
    assert port["reason"] == 'init command "ATZ": no answer in 5 s'

    served.lines[hport].modem.faults.silent = False
    await (await served.log_in(hport)).until_screen(b"the console\r\n")


@story()
async def a_modem_that_refuses_a_command_is_faulted_with_its_word(
    served: Served, hport: str
) -> None:
    served.lines[hport].modem.faults.refuses = "E0"
    port = await served.until(hport, "faulted")
    assert port["reason"].endswith('the modem said "ERROR"')
    assert port["init_answers"][-1]["answer"] == "ERROR"

    served.lines[hport].modem.faults.refuses = ""
    await (await served.log_in(hport)).until_screen(b"the console\r\n")


@story()
async def a_modem_that_answers_in_three_reads_is_understood(served: Served, hport: str) -> None:
    served.lines[hport].modem.faults.splits_results = True
    line = await served.log_in(hport)
    await line.until_screen(b"the console\r\n")
    line.hang_up()

    assert await served.until_ended(hport) == "caller"
    assert served.stops(hport)[0].facts.connect_text == "CONNECT 38400"


@story()
async def a_modem_that_echoes_is_understood(served: Served, hport: str) -> None:
    served.lines[hport].modem.faults.echo_stuck = True
    line = await served.log_in(hport)
    await line.until_screen(b"the console\r\n")

    assert served.ports[hport]["counters"]["faults"] == 0


@story(caller_id=True, model="lucent", rings=2)
async def a_lost_caller_id_costs_no_call(served: Served, hport: str) -> None:
    line = served.lines[hport]
    line.modem.faults.loses_caller_id = True
    await served.log_in(hport)
    line.hang_up()
    await served.until_ended(hport)

    line.modem.faults.loses_caller_id = False
    await served.log_in(hport)
    line.hang_up()
    await served.until_ended(hport, calls=2)
    assert [stop.facts.caller for stop in served.stops(hport)] == ["5551234", ""]


@story()
async def a_modem_that_is_wedged_is_reopened(served: Served, hport: str) -> None:
    line = served.lines[hport]
    line.wedge()
    await served.until(hport, "faulted")
    await (await served.log_in(hport)).until_screen(b"the console\r\n")

    assert (line.connections, served.ports[hport]["counters"]["quarantines"]) == (2, 0)


# ---------------------------------------------------------------------------- playing them


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def played(
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[dict[str, asyncio.Task[None]]]:
    """Begin every story; give their tasks by name."""
    ports = {each.hport: each.options for each in STORIES}
    directory = tmp_path_factory.mktemp("lines")
    with running_centre(directory) as centre:
        async with serving(directory, centre, ports) as served:
            tasks = {
                each.play.__name__: asyncio.create_task(_play(each, served)) for each in STORIES
            }
            await asyncio.sleep(0)
            async with served.running_agent():
                yield tasks
                for task in tasks.values():
                    task.cancel()


async def _play(each: Story, served: Served) -> None:
    await each.play(served, each.hport)


@pytest.mark.parametrize("name", [each.play.__name__ for each in STORIES])
async def test_a_line_at_fault(name: str, played: dict[str, asyncio.Task[None]]) -> None:
    await played[name]
