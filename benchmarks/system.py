"""The whole system: agents' dialogs, broker process, worker process; and how soon a cancel arrives.

The worker is the real one with a stub authenticator (no hashing), the ports are the agent's real
link and dialog core without modems.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import uvloop

from benchmarks.figures import median, percentile, spread, table
from benchmarks.ports import Ports
from benchmarks.sockets import free_ports
from dialgate.lifecycle import calm_collector

__all__ = ["measure"]

ROUNDS: Final = 7
ROUND_S: Final = 1.0
IN_FLIGHT: Final = (256, 1024)
"""Dialogs open at the same time; the first number's rate is held against the bound."""
PACED_PER_S: Final = 200
OPEN_DIALOGS: Final = 2000
ENDS_PER_S: Final = 200
ENDS: Final = 1000


def measure(rounds: int = ROUNDS, round_s: float = ROUND_S) -> tuple[str, dict[str, float]]:
    """Run both; return the table for people and the figures for the bounds."""
    with tempfile.TemporaryDirectory(prefix="dialgate-bench-") as name:
        place = Path(name)
        cancelled = place / "cancelled.json"
        with _cluster(place, cancelled) as (broker, worker):
            rates, paced = uvloop.run(_dialogs(_end(place, "a"), rounds, round_s))
            ended_at, memory = uvloop.run(_hang_ups(_end(place, "a"), broker, worker))
        cancelled_at: dict[str, float] = json.loads(cancelled.read_text())
    delays = [
        cancelled_at[dialog] - at for dialog, at in ended_at.items() if dialog in cancelled_at
    ]
    missing = len(ended_at) - len(delays)
    if missing:
        sys.exit(f"bench: {missing} of {len(ended_at)} hung-up dialogs were never cancelled")
    figures = {
        "dialogs_per_s": median(rates[IN_FLIGHT[0]]),
        "cancel_p99_s": percentile(delays, 99),
    }
    rows = [
        ["whole system (agent, broker, worker)", "figure", "unit"],
        *(
            [f"dialogs at {number} in flight ({spread(of)} k)", f"{median(of):,.0f}", "dialogs/s"]
            for number, of in rates.items()
        ),
        [f"Begin to first prompt at {PACED_PER_S}/s, p50", _ms(percentile(paced, 50)), "ms"],
        [f"Begin to first prompt at {PACED_PER_S}/s, p99", _ms(percentile(paced, 99)), "ms"],
        [f"abnormal End to cancel, {OPEN_DIALOGS} open, p50", _ms(percentile(delays, 50)), "ms"],
        [f"abnormal End to cancel, {OPEN_DIALOGS} open, p99", _ms(percentile(delays, 99)), "ms"],
        ["memory of an open dialog in the broker", f"{memory[0]:,.0f}", "bytes"],
        ["memory of an open dialog in the worker", f"{memory[1]:,.0f}", "bytes"],
    ]
    return table(rows), figures


async def _dialogs(
    address: str, rounds: int, round_s: float
) -> tuple[dict[int, list[float]], list[float]]:
    """Return dialogs a second by how many are open, a round each, and paced times to the prompt."""
    calm_collector()
    ports = Ports(address)
    ports.start()
    await asyncio.wait_for(ports.opened.wait(), 10)
    ports.on_finished = ports.begin
    rates: dict[int, list[float]] = {}
    begun = 0
    for in_flight in IN_FLIGHT:
        for number in range(begun, in_flight):
            ports.begin(f"bench/{number}")
        begun = in_flight
        await asyncio.sleep(0.5)
        rates[in_flight] = []
        for _ in range(rounds):
            before, started = ports.finished, time.monotonic()
            await asyncio.sleep(round_s)
            rates[in_flight].append((ports.finished - before) / (time.monotonic() - started))
    ports.on_finished = lambda _hport: None
    await asyncio.sleep(0.5)
    ports.to_prompt_s.clear()
    loop = asyncio.get_running_loop()
    start = loop.time()
    for number in range(round(PACED_PER_S * rounds * round_s / 2)):
        await asyncio.sleep(max(0.0, start + number / PACED_PER_S - loop.time()))
        ports.begin(f"paced/{number}")
    await asyncio.sleep(0.5)
    if ports.failed:
        sys.exit(f"bench: {ports.failed} dialogs failed")
    ports.stop()
    return rates, ports.to_prompt_s


async def _hang_ups(
    address: str, broker: int, worker: int
) -> tuple[dict[str, float], tuple[float, float]]:
    """Return when each END was sent, and bytes an open dialog in broker and worker."""
    await asyncio.sleep(0.5)
    before = _resident(broker), _resident(worker)
    ports = Ports(address, answering=False)
    ports.prompts_wanted = OPEN_DIALOGS
    ports.start()
    await asyncio.wait_for(ports.opened.wait(), 10)
    for number in range(OPEN_DIALOGS):
        ports.begin(f"open/{number}")
        if number % 100 == 0:
            await asyncio.sleep(0.01)
    await asyncio.wait_for(ports.all_prompted.wait(), 20)
    after = _resident(broker), _resident(worker)
    memory = (
        (after[0] - before[0]) / OPEN_DIALOGS,
        (after[1] - before[1]) / OPEN_DIALOGS,
    )
    loop = asyncio.get_running_loop()
    start = loop.time()
    for number in range(ENDS):
        await asyncio.sleep(max(0.0, start + number / ENDS_PER_S - loop.time()))
        ports.hang_up()
    await asyncio.sleep(1.0)
    ports.stop()
    return ports.ended_at, memory


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.2f}"


def _resident(process: int) -> int:
    """Return a process's resident memory in bytes."""
    status = Path(f"/proc/{process}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    return int(found[1]) * 1024 if found else 0


def _end(place: Path, name: str) -> str:
    return f"ipc://{place / name}"


@contextmanager
def _cluster(place: Path, cancelled: Path) -> Iterator[tuple[int, int]]:
    """Run broker and worker; give their process ids."""
    config = place / "bench.toml"
    http = free_ports(2)
    config.write_text(
        f"""
[cluster]
name = "bench"
state = "sqlite:///{place}/state.db"
[broker]
name = "bench"
agents = "{_end(place, "a")}"
workers = "{_end(place, "w")}"
http = "127.0.0.1:{http[0]}"
insecure = true
max_waiting = 10000
[worker]
name = "bench"
brokers = ["{_end(place, "w")}"]
capacity = 10000
http = "127.0.0.1:{http[1]}"
insecure = true
[[policies]]
sites = ["*"]
ports = ["*"]
authenticators = ["local"]
[authenticators.local]
kind = "local"
"""
    )
    options = ["--config", str(config), "--log-level", "warning"]
    environment = {**os.environ, "DIALGATE_BENCH_CANCELLED": str(cancelled)}
    processes = [
        subprocess.Popen([sys.executable, "-m", *command, *options], env=environment)
        for command in (["dialgate", "broker"], ["benchmarks.stub_worker"])
    ]
    try:
        yield processes[0].pid, processes[1].pid
    finally:
        for process in reversed(processes):
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
