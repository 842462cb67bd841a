"""A whole bank: 512 lines of one agent, 200 callers at the same moment, and what it costs idle.

Broker, worker, agent and simulated modems are processes as in production; modems are on PTYs, which
have no modem lines to look at.  The times are the agent's own, from the records of the calls.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from benchmarks.figures import median, percentile, table
from benchmarks.sockets import free_ports, free_row
from dialgate.records import read_calls

__all__ = ["measure"]

LINES: Final = 512
CALLERS: Final = 200
"""Who dial at the same moment, and are at their prompts together."""
IDLE_S: Final = 20.0
"""For how long nothing happens but what modems are asked every now and then."""
PROMPT: Final = b"login: "
PATIENCE_S: Final = 120.0
POLL_S: Final = 0.5
"""Each look costs the agent some milliseconds, which are in its CPU."""

_IDLE: Final = re.compile(r'^dialgate_ports\{.*state="idle"\} (\S+)$', re.MULTILINE)


def measure(rounds: int) -> tuple[str, dict[str, float]]:
    """Run it; return the table for people and the figures for the bounds."""
    with tempfile.TemporaryDirectory(prefix="dialgate-bench-") as name:
        place = Path(name)
        with _cluster(place) as cluster:
            cluster.until_idle()
            idle, idle_bytes = cluster.idle_cpu(), cluster.resident()
            rounds_s = [asyncio.run(cluster.round()) for _ in range(rounds)]
        waits = _to_prompt_s(place / "spool.db")
    if len(waits) != rounds * CALLERS:
        sys.exit(f"bench: {len(waits)} prompts in the records of {rounds * CALLERS} calls")
    cpu_s = [cpu for cpu, _ in rounds_s]
    most_bytes = max(resident for _, resident in rounds_s)
    figures = {"prompt_p99_s": percentile(waits, 99), "idle_cpu": idle}
    rows = [
        [f"{LINES} lines of one agent, {CALLERS} calls at once", "figure", "unit"],
        ["Begin to first prompt, p50", f"{percentile(waits, 50) * 1000:.1f}", "ms"],
        ["Begin to first prompt, p99", f"{figures['prompt_p99_s'] * 1000:.1f}", "ms"],
        [
            "agent's CPU, from ring to armed again",
            f"{median(cpu_s) / CALLERS * 1000:.2f}",
            "ms a call",
        ],
        ["agent's memory, all lines idle", f"{idle_bytes / 2**20:.1f}", "MiB"],
        [f"agent's memory, {CALLERS} calls", f"{most_bytes / 2**20:.1f}", "MiB"],
        ["agent's CPU, all lines idle", f"{idle * 100:.2f}", "% of a core"],
    ]
    return table(rows), figures


class _Cluster:
    """What runs, as far as it is looked at."""

    def __init__(self, agent: int, http: int, dial: int) -> None:
        self._agent = agent
        self._http = http
        self._dial = dial

    def until_idle(self) -> None:
        """Wait until every line is armed."""
        give_up_at = time.monotonic() + PATIENCE_S
        while (idle := self._idle()) != LINES:
            if time.monotonic() > give_up_at:
                sys.exit(f"bench: {idle} of {LINES} lines are idle after {PATIENCE_S} s")
            time.sleep(POLL_S)

    def idle_cpu(self) -> float:
        """Return how much of a core the agent takes while nothing happens."""
        before_s, began = self._cpu_s(), time.monotonic()
        time.sleep(IDLE_S)
        return (self._cpu_s() - before_s) / (time.monotonic() - began)

    async def round(self) -> tuple[float, float]:
        """Let everybody call, and hang up when all have seen their prompts.

        Return the CPU that the agent took until all lines were armed again, and its memory.
        """
        before_s = self._cpu_s()
        async with asyncio.timeout(PATIENCE_S):
            calls = [self._call(number) for number in range(1, CALLERS + 1)]
            writers = await asyncio.gather(*calls)
        resident = self.resident()
        for writer in writers:
            writer.transport.abort()
        await asyncio.to_thread(self.until_idle)
        return self._cpu_s() - before_s, resident

    async def _call(self, number: int) -> asyncio.StreamWriter:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._dial + number)
        await reader.readuntil(PROMPT)
        return writer

    def resident(self) -> float:
        """Return the agent's resident memory in bytes."""
        status = Path(f"/proc/{self._agent}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        return int(found[1]) * 1024 if found else 0

    def _cpu_s(self) -> float:
        fields = Path(f"/proc/{self._agent}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _idle(self) -> int:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._http}/metrics") as answer:
                shown = answer.read().decode()
        except OSError:
            return 0
        return sum(int(float(number)) for number in _IDLE.findall(shown))


def _to_prompt_s(spool: Path) -> list[float]:
    """Return how long after its BEGIN each call was asked for the first time."""
    waits = []
    for call in read_calls(spool, limit=LINES * CALLERS):
        at = {step.what: step.at for step in reversed(call.facts.steps)}
        if {"begun", "asked"} <= at.keys():
            waits.append(at["asked"] - at["begun"])
    return waits


@contextmanager
def _cluster(place: Path) -> Iterator[_Cluster]:
    """Run broker, worker, modems and agent."""
    config, dial = place / "bench.toml", free_row(LINES) - 1
    http = free_ports(3)
    config.write_text(f"""
[cluster]
state = "sqlite:///{place}/state.db"
[broker]
name = "bench"
agents = "ipc://{place}/a"
workers = "ipc://{place}/w"
http = "127.0.0.1:{http[0]}"
insecure = true
[worker]
name = "bench"
brokers = ["ipc://{place}/w"]
http = "127.0.0.1:{http[1]}"
insecure = true
[[policies]]
authenticators = ["local"]
[authenticators.local]
kind = "local"
[agent]
name = "bench"
site = "bench"
brokers = ["ipc://{place}/a"]
http = "127.0.0.1:{http[2]}"
spool = "{place}/spool.db"
insecure = true
[[agent.banks]]
hport = "bench/{{n}}"
devices = "{place}/ttyM{{1..{LINES}}}"
dcd = "ignore"
init = ["ATE0Q0V1X4S0=0S12=2"]
escape_guard_ms = 80
service = "nothing"
[services.nothing]
command = ["/bin/true"]
""")
    dialgate = [sys.executable, "-m", "dialgate"]
    modems = ("--ports", str(LINES), "--dial", f"127.0.0.1:{dial}", "--directory", str(place))
    options = ("--config", str(config), "--log-level", "warning")
    processes = [
        subprocess.Popen([*dialgate, "bank", *modems], stdout=subprocess.DEVNULL),
        subprocess.Popen([*dialgate, "broker", *options]),
        subprocess.Popen([*dialgate, "worker", *options]),
    ]
    try:
        give_up_at = time.monotonic() + PATIENCE_S
        while not (place / f"ttyM{LINES}").exists():
            if time.monotonic() > give_up_at:
                sys.exit(f"bench: no modems after {PATIENCE_S} s")
            time.sleep(POLL_S)
        agent = subprocess.Popen([*dialgate, "agent", *options])
        processes.append(agent)
        yield _Cluster(agent.pid, http[2], dial)
    finally:
        for process in reversed(processes):
            process.send_signal(signal.SIGTERM)
            process.send_signal(signal.SIGINT)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
