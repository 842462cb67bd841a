"""`./dev prove simulation`: seeds, search and mutants for long, and the page that tells of it.

Each piece is kept as it is done (`tests.simulator.journal`), and docs/prove.md is written anew: a
proof may be killed at any moment, is gone on with at the same commit, and its parts may be run side
by side.  `--commit` commits the page; `--minutes` bounds each part, for nights that are not long
enough.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future, as_completed
from itertools import islice
from typing import Final

from msgspec.structs import replace

import simulator.hosts
from simulator.campaign import outcomes, processes
from simulator.plan import Plan
from tests.simulator.branches import Branch, branches
from tests.simulator.journal import ROOT, Journal, Searched, Seeds
from tests.simulator.mutants import TRACES, UNHARMED, Fate, run, traces, unharmed
from tests.simulator.prove_page import is_killed, is_open, page, sum_of
from tests.simulator.search import Bounds, Broken, compare, search

CORES: Final = ("auth_workers", "broker", "dialgate", "port_agents")
PAGE: Final = ROOT / "docs" / "prove.md"
PARTS: Final = ("seeds", "states", "mutants")
SEEDS: Final = 5000
LIVENESS: Final = 5
"""One seed in so many runs in liveness mode."""
PLAN: Final = Plan(seed=0, duration_s=240.0)
"""A little more than 200 calls a seed."""
CHUNK: Final = 20
COMPARED: Final = [
    Bounds(calls=1),
    Bounds(calls=1, delays_end=True),
    Bounds(calls=1, agent_crashes=1),
    Bounds(calls=1, worker_crashes=1),
    Bounds(calls=1, session_losses=1),
    Bounds(calls=2),
]
"""What is searched a second time, with no two states taken for one."""
SEARCHES: Final = [
    Bounds(calls=1),
    Bounds(calls=2),
    Bounds(calls=2, delays_end=True),
    Bounds(calls=2, agent_crashes=1),
    Bounds(calls=2, worker_crashes=1),
    Bounds(calls=2, broker_crashes=1),
    Bounds(calls=2, session_losses=1),
    Bounds(calls=2, agent_crashes=1, worker_crashes=1),
    Bounds(calls=2, agent_crashes=1, broker_crashes=1),
    Bounds(calls=2, broker_crashes=1, worker_crashes=1),
    Bounds(calls=2, agent_crashes=1, worker_crashes=1, broker_crashes=1),
    # Each process once; this one does not end.
    Bounds(calls=1, agent_crashes=1, worker_crashes=2, broker_crashes=2),
]
STATES_MAX: Final = 10_000_000
"""Of each search: 3 GB."""


def simulate_seeds(
    journal: Journal[Seeds], seeds: int, jobs: int, until: float, told: Callable[[], None]
) -> None:
    """Run the seeds from 1 on that were not run at this commit, as many as there is time for."""
    done = journal.rows()
    start = done[-1].last + 1 if done else 1
    plans = [
        replace(PLAN, seed=seed, mode="safety" if seed % LIVENESS else "liveness")
        for seed in range(start, seeds + 1)
    ]
    running = zip(plans, outcomes(plans, jobs) if plans else (), strict=True)
    is_compiled = not str(simulator.hosts.__file__).endswith(".py")
    began = time.monotonic()
    while began < until and (some := list(islice(running, CHUNK))):
        now = time.monotonic()
        row = Seeds(some[0][0].seed, some[-1][0].seed, sum_of([]), now - began, is_compiled)
        for plan, outcome in some:
            row.totals[plan.mode].add(outcome)
            if outcome.failure is not None:
                print(f"seed {plan.seed} ({plan.mode}): {outcome.failure}", flush=True)  # noqa: T201
        journal.keep(row)
        told()
        began = now


def search_all(
    journal: Journal[Searched], states_max: int, until: float, told: Callable[[], None]
) -> None:
    """Make the searches that were not made at this commit, the smallest first."""
    done = {each.bounds for each in journal.rows()}
    plans = [(bounds, True) for bounds in COMPARED] + [(bounds, False) for bounds in SEARCHES]
    for bounds, is_compared in plans:
        text = _told(bounds) + (", none taken for another" if is_compared else "")
        if text in done or time.monotonic() > until:
            continue
        began_at = time.monotonic()
        try:
            found = (
                compare(bounds)
                if is_compared
                else search(bounds._replace(states_max=states_max), until=until)
            )
        except Broken as broken:
            print(broken, flush=True)  # noqa: T201
            journal.keep(Searched(text, 0, 0, 0, f"BROKEN: {str(broken).splitlines()[0]}"))
        else:
            is_all = "all there are" if found.is_whole else f"all within {found.deepest} steps"
            took_s = round(time.monotonic() - began_at, 1)
            row = Searched(text, found.states, found.steps, found.deepest, is_all, took_s)
            journal.keep(row)
        told()


def _told(bounds: Bounds) -> str:
    return ", ".join(
        f"{name.replace('_', ' ')} {value:d}"
        for name, value in bounds._asdict().items()
        if value and name != "states_max"
    )


def plant_all(journal: Journal[Fate], jobs: int, until: float, told: Callable[[], None]) -> None:
    """Plant the mutants that were not planted at this commit; `until` is in epoch seconds."""
    done = {each.name for each in journal.rows()}
    left = [each for each in branches() if each.name not in done]
    with processes(jobs) as pool:
        parts: list[Future[list[Fate]]] = []
        for name, work in ((UNHARMED, unharmed), (TRACES, traces)):
            if not any(each.startswith(name) for each in done):
                parts.append(pool.submit(work))
        parts += [pool.submit(_plant, left[n : n + 4], until) for n in range(0, len(left), 4)]
        for part in as_completed(parts):
            for fate in part.result():
                journal.keep(fate)
            told()


def take_over(journal: Journal[Fate], earlier: Journal[Fate]) -> None:
    """Keep what was killed at an earlier commit, if all that has changed is that tests were added.

    The cores must be the same to the byte, and no file of tests may have lost a line.
    """
    changed = git("diff", "--name-only", earlier.commit, "--", *CORES)
    lost = [
        line.split()[-1]
        for line in git("diff", "--numstat", earlier.commit, "--", "tests/*test_*.py").splitlines()
        if line.split()[1] != "0"
    ]
    if changed or lost:
        sys.exit(f"--since {earlier.commit}: changed since: {changed or ', '.join(lost)}")
    done = {each.name for each in journal.rows()}
    for fate in earlier.rows():
        is_mutant = not fate.name.startswith((UNHARMED, TRACES))
        if is_mutant and is_killed(fate) and fate.name not in done:
            journal.keep(replace(fate, commit=fate.commit or earlier.commit))


def _plant(chosen: list[Branch], until: float) -> list[Fate]:
    """Return the fates of some mutants."""
    return run(chosen, until=time.monotonic() + until - time.time())


def git(*words: str) -> str:
    """Return what git says."""
    return subprocess.run(
        ["git", *words], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()


def main() -> int:
    """Prove, and write the page; return 1 if something broke or lives unexplained."""
    parser = argparse.ArgumentParser(prog="./dev prove simulation", description=__doc__)
    parser.add_argument(
        "--part", choices=[*PARTS, "page"], action="append", help="all; page: tell of the last ones"
    )
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--minutes", type=float, default=600.0, help="for each part")
    parser.add_argument("--states", type=int, default=STATES_MAX, help="most of each search")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument(
        "--since", metavar="COMMIT", help="mutants: take over who was killed there (12 digits)"
    )
    parser.add_argument("--commit", action="store_true", help="commit the page")
    arguments = parser.parse_args()
    parts = arguments.part or PARTS
    commit = git("rev-parse", "--short=12", "HEAD")
    if git("status", "--porcelain", "--untracked-files=no", "--", f":!{PAGE.relative_to(ROOT)}"):
        commit += " with changes"
    seeds = Journal("seeds", Seeds, commit if "seeds" in parts else "")
    states = Journal("states", Searched, commit if "states" in parts else "")
    fates = Journal("mutants", Fate, commit if "mutants" in parts else "")

    def tell() -> None:
        PAGE.write_text(page(seeds, states, fates, PLAN, arguments.seeds))

    bound_s = 60 * arguments.minutes
    if "seeds" in parts:
        simulate_seeds(seeds, arguments.seeds, arguments.jobs, time.monotonic() + bound_s, tell)
    if "states" in parts:
        search_all(states, arguments.states, time.monotonic() + bound_s, tell)
    if "mutants" in parts:
        if arguments.since:
            take_over(fates, Journal("mutants", Fate, arguments.since))
        plant_all(fates, arguments.jobs, time.time() + bound_s, tell)
    tell()
    if arguments.commit:
        git("add", str(PAGE))
        git("commit", "-m", f"docs: report what ./dev prove came to at {commit}", "--", str(PAGE))
    broken = any(total.failures for total in sum_of(seeds.rows()).values())
    broken = broken or any(each.end.startswith("BROKEN") for each in states.rows())
    return 1 if broken or any(is_open(each) for each in fates.rows()) else 0


if __name__ == "__main__":
    sys.exit(main())
