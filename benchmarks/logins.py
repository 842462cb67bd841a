"""Logins with real argon2id: how many a second, and how long others wait for prompts meanwhile.

Broker and worker are processes as in production, users and tries are in a SQLite file; the ports
are the agent's real link and dialog core without modems.
"""

from __future__ import annotations

import asyncio
import os
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

from benchmarks.figures import median, percentile, table
from benchmarks.ports import ANSWERS, Ports
from benchmarks.sockets import free_ports
from dialgate.lifecycle import calm_collector

__all__ = ["measure"]

CALLERS: Final = 200
"""Who have all typed their password at the same moment."""
OTHERS_PER_S: Final = 50
"""Calls that come in meanwhile; their first prompt is timed."""
PATIENCE_S: Final = 120.0


def measure(rounds: int) -> tuple[str, dict[str, float]]:
    """Run it; return the table for people and the figures for the bounds."""
    with tempfile.TemporaryDirectory(prefix="dialgate-bench-") as name:
        place = Path(name)
        with _cluster(place):
            rates, waits = uvloop.run(_logins(f"ipc://{place}/a", rounds))
    cores = os.cpu_count() or 1
    figures = {"logins_per_s": median(rates), "prompt_p99_s": percentile(waits, 99)}
    rows = [
        [f"{CALLERS} callers at once, real argon2id", "figure", "unit"],
        ["logins", f"{median(rates):,.1f}", "logins/s"],
        [f"logins a core ({cores} cores)", f"{median(rates) / cores:,.1f}", "logins/s"],
        ["Begin to first prompt of others, p50", f"{percentile(waits, 50) * 1000:.1f}", "ms"],
        ["Begin to first prompt of others, p99", f"{figures['prompt_p99_s'] * 1000:.1f}", "ms"],
    ]
    return table(rows), figures


async def _logins(address: str, rounds: int) -> tuple[list[float], list[float]]:
    """Return logins a second of each round, and how long others waited for their prompts."""
    calm_collector()
    callers, others = Ports(address), Ports(address, answering=False, name="others")
    for ports in (callers, others):
        ports.start()
        await asyncio.wait_for(ports.opened.wait(), PATIENCE_S)
    rates = []
    for number in range(rounds):
        before, started = callers.finished, time.monotonic()
        for caller in range(CALLERS):
            callers.begin(f"bench/{number}.{caller}")
        while callers.finished + callers.failed < before + CALLERS:
            others.begin(f"other/{number}.{time.monotonic_ns()}")
            await asyncio.sleep(1 / OTHERS_PER_S)
            if time.monotonic() > started + PATIENCE_S:
                sys.exit(
                    f"bench: {callers.finished - before} of {CALLERS} logins in {PATIENCE_S} s"
                )
        rates.append(CALLERS / (time.monotonic() - started))
    if callers.failed:
        sys.exit(f"bench: {callers.failed} logins failed")
    for ports in (callers, others):
        ports.stop()
    return rates, others.to_prompt_s


@contextmanager
def _cluster(place: Path) -> Iterator[None]:
    """Run broker and worker, with the user that `Ports` types."""
    config = place / "bench.toml"
    http = free_ports(2)
    config.write_text(f"""
[cluster]
state = "sqlite:///{place}/state.db"
[broker]
name = "bench"
agents = "ipc://{place}/a"
workers = "ipc://{place}/w"
http = "127.0.0.1:{http[0]}"
insecure = true
max_waiting = 10000
[worker]
name = "bench"
brokers = ["ipc://{place}/w"]
capacity = 10000
http = "127.0.0.1:{http[1]}"
insecure = true
[[policies]]
authenticators = ["local"]
[authenticators.local]
kind = "local"
[lockout]
place_tries = 1000
user_tries = 2000
""")
    dialgate = [sys.executable, "-m", "dialgate"]
    user, password = (answer.decode() for answer in ANSWERS.values())
    options = ["--config", str(config)]
    subprocess.run(
        [*dialgate, "users", "add", user, *options],
        input=password,
        text=True,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    processes = [
        subprocess.Popen([*dialgate, program, *options, "--log-level", "warning"])
        for program in ("broker", "worker")
    ]
    try:
        yield
    finally:
        for process in reversed(processes):
            process.send_signal(signal.SIGTERM)
            process.send_signal(signal.SIGINT)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
