"""`./dev prove simulation`: seeds, search and mutants for long, and the page that tells of it.

It writes docs/prove.md with the commit that was proved; `--commit` commits that page.  `--minutes`
bounds each of the three parts, for machines and nights that are not long enough; the page says what
was left out then.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from typing import Final, NamedTuple

from simulator.campaign import Total, outcomes
from simulator.plan import Mode, Plan
from tests.simulator.explained import EXPLAINED
from tests.simulator.mutants import ROOT, branches, run
from tests.simulator.search import Bounds, Broken, search

PAGE: Final = ROOT / "docs" / "prove.md"
SEEDS: Final = 5000
LIVENESS: Final = 5
"""One seed in so many runs in liveness mode."""
DURATION_S: Final = 90.0
CALLS: Final = 4
"""A port and minute: with 40 ports a little more than 200 calls a seed."""
CHUNK: Final = 40
SEARCHES: Final = [
    Bounds(calls=1),
    Bounds(calls=1, delays_end=True),
    Bounds(calls=2),
    Bounds(calls=2, delays_end=True),
    Bounds(calls=1, agent_crashes=1),
    Bounds(calls=1, worker_crashes=1),
    Bounds(calls=1, broker_crashes=1),
    Bounds(calls=1, session_losses=1),
    Bounds(calls=2, agent_crashes=1, worker_crashes=1, broker_crashes=1),
]
STATES_MAX: Final = 200_000


class Searched(NamedTuple):
    """One search's line on the page."""

    bounds: str
    states: int
    steps: int
    deepest: int
    end: str


def simulate_seeds(first: int, seeds: int, jobs: int, until: float) -> dict[Mode, Total]:
    """Return what became of the seeds that were come to in time."""
    totals: dict[Mode, Total] = {"safety": Total(), "liveness": Total()}
    for start in range(first, first + seeds, CHUNK):
        if time.monotonic() > until:
            break
        plans = [
            Plan(
                seed=seed,
                mode="liveness" if seed % LIVENESS == 0 else "safety",
                duration_s=DURATION_S,
                calls=CALLS,
            )
            for seed in range(start, min(start + CHUNK, first + seeds))
        ]
        for plan, outcome in zip(plans, outcomes(plans, jobs), strict=True):
            totals[plan.mode].add(outcome)
            if outcome.failure is not None:
                pass
        sum(total.seeds for total in totals.values())
    return totals


def search_all(until: float, states_max: int) -> list[Searched]:
    """Return what the searches have come to."""
    lines = []
    for bounds in SEARCHES:
        text = ", ".join(
            f"{name.replace('_', ' ')} {value:d}"
            for name, value in bounds._asdict().items()
            if value and name != "states_max"
        )
        if time.monotonic() > until:
            lines.append(Searched(text, 0, 0, 0, "not begun"))
            continue
        try:
            found = search(bounds._replace(states_max=states_max), until=until)
        except Broken as broken:
            lines.append(Searched(text, 0, 0, 0, f"BROKEN: {str(broken).splitlines()[0]}"))
            continue
        end = "all there are" if found.is_whole else "not all: the bound on states or time"
        lines.append(Searched(text, found.states, found.steps, found.deepest, end))
    return lines


def plant_part(part: int, parts: int, minutes: float) -> dict[str, str]:
    """Return the fates of one part of the mutants."""
    return run(branches()[part::parts], until=time.monotonic() + 60 * minutes)


def page(
    commit: str, totals: dict[Mode, Total], searched: list[Searched], fates: dict[str, str]
) -> str:
    """Return the report as a page."""
    mutants = branches()
    killers = Counter(who for who in fates.values() if who)
    alive = sorted(name for name, who in fates.items() if not who)
    lines = [
        "# What `./dev prove simulation` has come to",
        "",
        "Written by the command, from what it had come to when it was stopped.",
        "",
        (
            f"Commit `{commit}`, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, Python "
            f"{sys.version.split()[0]}, {os.cpu_count()} processors. [testing.md](testing.md) says "
            "what each part is."
        ),
        "",
        "## Seeds",
        "",
        (
            f"Asked for are {SEEDS:,} seeds of {DURATION_S:g} s, {CALLS} calls a port and minute "
            "on 40 ports, 4 agents, 2 brokers, 3 workers; these were run:"
        ),
        "",
        "| | safety | liveness |",
        "|---|---|---|",
    ]
    both = [totals["safety"], totals["liveness"]]

    def row(name: str, *cells: object) -> None:
        lines.append(f"| {name} | {' | '.join(str(cell) for cell in cells)} |")

    row("seeds", *(f"{x.seeds:,}" for x in both))
    row("seeds that broke a rule", *(len(x.failures) for x in both))
    row("calls", *(f"{x.calls:,}" for x in both))
    row("of which served", *(f"{x.served:,}" for x in both))
    row("dialogs", *(f"{x.dialogs:,}" for x in both))
    row("begun again", *(f"{x.attempts - x.dialogs:,}" for x in both))
    row("events", *(f"{x.events:,}" for x in both))
    row("hours simulated", *(f"{x.simulated_s / 3600:,.1f}" for x in both))
    row("times real time, by processor time", *(f"{x.times_real:,.0f}" for x in both))
    lines += ["", "| Fault | safety | liveness |", "|---|---|---|"]
    for kind in sorted({*both[0].faults, *both[1].faults}):
        row(kind, *(f"{x.faults[kind]:,}" for x in both))
    lines += [
        "",
        "## States",
        "",
        "| Bounds | States | Steps | Deepest | Seen |",
        "|---|---|---|---|---|",
    ]
    for each in searched:
        row(each.bounds, f"{each.states:,}", f"{each.steps:,}", each.deepest, each.end)
    lines += [
        "",
        "## Mutants",
        "",
        (
            f"{len(mutants)} rejecting branches, {len(fates)} mutants planted, "
            f"{len(fates) - len(alive)} killed, {len(alive)} alive."
        ),
        "",
        "| Killed by | Mutants |",
        "|---|---|",
    ]
    for who, count in killers.most_common():
        row(who, count)
    if alive:
        lines += ["", "| Alive | Why |", "|---|---|"]
        for name in alive:
            row(f"`{name.replace('|', chr(92) + '|')}`", EXPLAINED.get(name, "not explained yet"))
    return "\n".join(lines) + "\n"


def git(*words: str) -> str:
    """Return what git says."""
    return subprocess.run(
        ["git", *words], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()


def main() -> int:
    """Prove, and write the page; return 1 if something broke or lives unexplained."""
    parser = argparse.ArgumentParser(prog="./dev prove simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--minutes", type=float, default=600.0, help="for each of the three parts")
    parser.add_argument("--states", type=int, default=STATES_MAX, help="most of each search")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--commit", action="store_true", help="commit the page")
    arguments = parser.parse_args()
    commit = git("rev-parse", "--short=12", "HEAD")
    if git("status", "--porcelain", "--untracked-files=no"):
        commit += " with changes"
    bound_s = 60 * arguments.minutes
    totals = simulate_seeds(
        arguments.first, arguments.seeds, arguments.jobs, time.monotonic() + bound_s
    )
    searched = search_all(time.monotonic() + bound_s, arguments.states)
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(arguments.jobs, mp_context=spawn) as pool:
        parts = [
            pool.submit(plant_part, part, arguments.jobs, arguments.minutes)
            for part in range(arguments.jobs)
        ]
        fates = {name: who for part in parts for name, who in part.result().items()}
    PAGE.write_text(page(commit, totals, searched, fates))
    if arguments.commit:
        git("add", str(PAGE))
        git("commit", "-m", f"docs: report what ./dev prove came to at {commit}", "--", str(PAGE))
    broken = any(total.failures for total in totals.values())
    broken = broken or any(each.end.startswith("BROKEN") for each in searched)
    alive = [name for name, who in fates.items() if not who and name not in EXPLAINED]
    return 1 if broken or alive else 0


if __name__ == "__main__":
    sys.exit(main())
