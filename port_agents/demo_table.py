"""What the demo shows: a live table on a terminal, a line a change elsewhere.

It reads the broker's HTTP, as any observer does, and knows nothing that an operator could not.

Invariant: a broker that is away for a moment is shown as such; nothing is made up for it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import aiohttp
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from port_agents.callers import Outcome
from port_agents.demo_cluster import Program

__all__ = ["Observer", "Row", "show", "sum_up"]

POLL_S: Final = 0.25
HTTP_S: Final = 2.0
"""How long an answer of the broker may take."""

_STYLES: Final = {
    "idle": "dim",
    "ringing": "yellow",
    "answering": "yellow",
    "authenticating": "cyan",
    "online": "bold green",
    "hanging-up": "magenta",
    "faulted": "bold red",
    "unknown": "red",
}


class Row(NamedTuple):
    """One port, as observers see it."""

    hport: str
    state: str
    worker: str
    note: str
    since_s: float

    @property
    def sight(self) -> tuple[str, ...]:
        """What of it is worth a line when it changes."""
        return self[:4]


class Observer:
    """Asks the broker how the ports are."""

    def __init__(self, http: aiohttp.ClientSession, address: str) -> None:
        self.rows: list[Row] = []
        self.is_broker_there = False
        self._http = http
        self._base = f"http://{address}/api/v1"

    async def look(self) -> None:
        """Bring `rows` up to date; they stay as they are while the broker is away."""
        try:
            ports, dialogs = await self._get("ports"), await self._get("dialogs")
        except (aiohttp.ClientError, TimeoutError):
            self.is_broker_there = False
            return
        self.is_broker_there = True
        attempts = {each["dialog"]: each["attempt"] for each in dialogs}
        self.rows = [_row(port, attempts.get(port["dialog"], 1)) for port in ports]
        self.rows.sort(key=lambda row: int(row.hport.rpartition("/")[2]))

    async def _get(self, name: str) -> list[Mapping[str, Any]]:
        async with self._http.get(f"{self._base}/{name}", raise_for_status=True) as answer:
            listed: list[Mapping[str, Any]] = (await answer.json())[name]
            return listed


def _row(port: Mapping[str, Any], attempt: int) -> Row:
    again = f"asked again, attempt {attempt}" if attempt > 1 else ""
    note = "; ".join(part for part in (again, port["reason"]) if part)
    return Row(port["hport"], port["state"], port["worker"] or "", note, port["since_ms"] / 1000)


async def show(
    observer: Observer,
    dials: Sequence[tuple[str, int]],
    programs: Sequence[Program],
    outcomes: Counter[Outcome],
    *,
    with_table: bool,
) -> None:
    """Show the ports until cancelled."""
    console = Console(highlight=False)
    if not (with_table and console.is_terminal):
        await _print_changes(observer, console)
        return
    with Live(console=console, auto_refresh=False) as live:
        while True:
            await observer.look()
            live.update(_picture(observer, dials, programs, outcomes), refresh=True)
            await asyncio.sleep(POLL_S)


async def _print_changes(observer: Observer, console: Console) -> None:
    began_at = asyncio.get_running_loop().time()
    seen: dict[str, tuple[str, ...]] = {}
    while True:
        await observer.look()
        for row in observer.rows:
            if seen.get(row.hport) != row.sight:
                seen[row.hport] = row.sight
                at_s = asyncio.get_running_loop().time() - began_at
                words = "  ".join(part for part in row.sight if part)
                console.print(f"{at_s:8.1f} s  {words}", markup=False, soft_wrap=True)
        await asyncio.sleep(POLL_S)


def _picture(
    observer: Observer,
    dials: Sequence[tuple[str, int]],
    programs: Sequence[Program],
    outcomes: Counter[Outcome],
) -> Group:
    table = Table(box=None, pad_edge=False)
    for title in ("PORT", "DIAL", "STATE", "FOR", "WORKER", ""):
        table.add_column(title, justify="right" if title == "FOR" else "left", no_wrap=True)
    for row, (host, port) in zip(observer.rows, dials, strict=False):
        table.add_row(
            row.hport,
            f"{host} {port}",
            Text(row.state, style=_STYLES.get(row.state, "")),
            f"{row.since_s:.0f} s",
            row.worker,
            Text(row.note, style="dim"),
        )
    parts: list[RenderableType] = [Text(), table, Text(), _programs(programs)]
    if not observer.is_broker_there:
        parts.append(Text("the broker does not answer: the table is of a moment ago", style="red"))
    if outcomes:
        parts.append(Text(sum_up(outcomes)))
    return Group(*parts)


def sum_up(outcomes: Counter[Outcome]) -> str:
    """Return in one line how the simulated callers fared."""
    told = ", ".join(f"{outcome} {number}" for outcome, number in outcomes.most_common())
    return f"calls: {told}"


def _programs(programs: Sequence[Program]) -> Text:
    text = Text()
    for program in programs:
        text.append(f"{program.name} ", style="dim")
        text.append(f"pid {program.pid}" if program.pid else "starting", style="")
        text.append(f" (start {program.starts})   " if program.starts > 1 else "   ", style="dim")
    return text
