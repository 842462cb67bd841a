"""What the demo shows: a live table on a terminal, a line a change elsewhere.

It follows the broker's events, as any observer may, and knows nothing that an operator could not.

Invariant: a broker that is away for a moment is shown as such; nothing is made up for it.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from port_agents.callers import Outcome
from port_agents.demo_cluster import Program

__all__ = ["Observer", "Row", "show_table", "sum_up"]

POLL_S: Final = 0.25
"""Pause between two pictures, and before the broker is asked again."""
SILENCE_S: Final = 30.0
"""Silence of the broker, who says at least that he is there, after which he is asked again."""

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


@dataclass(slots=True)
class Row:
    """One port, as observers see it."""

    hport: str
    state: str = "unknown"
    reason: str = ""
    since: float = 0.0
    """When it came into the state, on the event loop's clock."""
    worker: str = ""
    attempt: int = 1
    """Of the dialog that is open; from 2 on, the caller was asked again."""

    @property
    def note(self) -> str:
        """What is remarkable about it."""
        again = f"asked again, attempt {self.attempt}" if self.attempt > 1 else ""
        return "; ".join(part for part in (again, self.reason) if part)

    @property
    def sight(self) -> str:
        """What of it is worth a line when it changes."""
        parts = (self.hport, self.state, self.worker, self.note)
        return "  ".join(part for part in parts if part)


class Observer:
    """Follows the broker's stream of events.

    Args:
        http: where requests are made.
        address: the broker's, as host:port.
        tell: hears of each change that is worth a line.
    """

    def __init__(
        self, http: aiohttp.ClientSession, address: str, tell: Callable[[str], None]
    ) -> None:
        self.rows: dict[str, Row] = {}
        """By hport."""
        self.is_broker_there = True
        """Whether it answered when it was asked last; it is asked once it is ready."""
        self._http = http
        self._url = f"http://{address}/events"
        self._tell = tell

    async def watch(self) -> None:
        """Keep `rows` up to date until cancelled, or as they were while the broker is away."""
        timeout = aiohttp.ClientTimeout(total=None, connect=SILENCE_S, sock_read=SILENCE_S)
        while True:
            with suppress(aiohttp.ClientError, TimeoutError):
                async with self._http.get(self._url, timeout=timeout) as stream:
                    self.is_broker_there = stream.ok
                    event = b""
                    async for line in stream.content:
                        name, _, value = line.strip().partition(b": ")
                        if name == b"event":
                            event = value
                        elif name == b"data":
                            self._take(event, json.loads(value))
            self.is_broker_there = False
            await asyncio.sleep(POLL_S)

    def _take(self, event: bytes, fields: Mapping[str, Any]) -> None:
        """Take over one change."""
        if event not in {b"line", b"dialog"}:
            return
        row = self.rows.setdefault(fields["hport"], Row(fields["hport"]))
        before = row.sight
        if event == b"line":
            row.state, row.reason = fields["state"], fields["reason"]
            row.since = asyncio.get_running_loop().time() - fields["since_ms"] / 1000
        elif fields["state"] == "gone":
            row.worker, row.attempt = "", 1
        else:
            row.worker, row.attempt = fields["worker"], fields["attempt"]
        if row.sight != before:
            self._tell(row.sight)


async def show_table(
    observer: Observer,
    dials: Mapping[str, str],
    programs: Sequence[Program],
    outcomes: Counter[Outcome],
) -> None:
    """Show all ports until cancelled, from when the broker has told of them.

    Args:
        observer: follows the broker meanwhile.
        dials: by hport, what to dial.
        programs: whose processes are shown.
        outcomes: how the simulated callers fared so far.
    """
    with Live(auto_refresh=False) as live:
        while True:
            if observer.rows or not observer.is_broker_there:
                live.update(_picture(observer, dials, programs, outcomes), refresh=True)
            await asyncio.sleep(POLL_S)


def _picture(
    observer: Observer,
    dials: Mapping[str, str],
    programs: Sequence[Program],
    outcomes: Counter[Outcome],
) -> Group:
    table = Table(box=None, pad_edge=False)
    for title in ("PORT", "DIAL", "STATE", "FOR", "WORKER", ""):
        table.add_column(title, justify="right" if title == "FOR" else "left", no_wrap=True)
    now = asyncio.get_running_loop().time()
    for hport, dial in dials.items():
        row = observer.rows.get(hport, Row(hport, since=now))
        table.add_row(
            hport,
            dial,
            Text(row.state, style=_STYLES.get(row.state, "")),
            f"{now - row.since:.0f} s",
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
