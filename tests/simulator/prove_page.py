"""The page that tells what `./dev prove simulation` has come to, made from its journals."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

from simulator.campaign import Total
from simulator.plan import Mode, Plan
from tests.simulator.branches import branches
from tests.simulator.explained import EXPLAINED
from tests.simulator.journal import Journal, Searched, Seeds
from tests.simulator.mutants import CRASHES, HANGS, TRACES, UNHARMED, Fate

__all__ = ["is_killed", "is_open", "page", "sum_of"]

MODES: Final[tuple[Mode, ...]] = ("safety", "liveness")


def page(
    seeds: Journal[Seeds],
    states: Journal[Searched],
    fates: Journal[Fate],
    plan: Plan,
    asked: int,
) -> str:
    """Return the report of what is in the journals.

    Args:
        seeds: of the simulator.
        states: of the searches.
        fates: of the mutants.
        plan: what the seeds' worlds are like.
        asked: how many seeds there should be.
    """
    lines = [
        "# What `./dev prove simulation` has come to",
        "",
        (
            "Written by the command after each piece of its work, so it may be less than all; what "
            "was run at a commit is kept and goes on where it was stopped. "
            "[testing.md](testing.md) says what each part is. "
            f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, Python {sys.version.split()[0]}, "
            f"{os.cpu_count()} processors."
        ),
        *_told_seeds(seeds, plan, asked),
        *_told_states(states),
        *_told_mutants(fates),
    ]
    return "\n".join(lines) + "\n"


def sum_of(seeds: Iterable[Seeds]) -> dict[Mode, Total]:
    """Return the sums of both modes."""
    totals: dict[Mode, Total] = {mode: Total() for mode in MODES}
    for row in seeds:
        for mode, total in row.totals.items():
            totals[mode].join(total)
    return totals


def _row(name: str, *cells: object) -> str:
    return f"| {name} | {' | '.join(str(cell) for cell in cells)} |"


def _told_seeds(journal: Journal[Seeds], plan: Plan, asked: int) -> list[str]:
    rows = journal.rows()
    totals = sum_of(rows)
    both = [totals[mode] for mode in MODES]
    lines = [
        "",
        "## Seeds",
        "",
        (
            f"Commit `{journal.commit}`. Asked for are {asked:,} seeds and 1,000,000 calls; run "
            f"were {sum(x.seeds for x in both):,} seeds with {sum(x.calls for x in both):,} calls, "
            f"each of {plan.duration_s:g} s and {plan.calls:g} calls a port and minute on "
            f"{plan.ports} ports, {plan.agents} agents, {plan.brokers} brokers, "
            f"{plan.workers} workers, then until all is quiet and every port has served once more."
            f"{_told_speed(rows, both)}"
        ),
        "",
        "| | safety | liveness |",
        "|---|---|---|",
        _row("seeds", *(f"{x.seeds:,}" for x in both)),
        _row("seeds that broke a rule", *(len(x.failures) for x in both)),
        _row("calls", *(f"{x.calls:,}" for x in both)),
        _row("of which served", *(f"{x.served:,}" for x in both)),
        _row("dialogs", *(f"{x.dialogs:,}" for x in both)),
        _row("begun again", *(f"{x.attempts - x.dialogs:,}" for x in both)),
        *(_row(f"records {how}", *cells) for how, cells in _records(both) if any(cells)),
        _row("events", *(f"{x.events:,}" for x in both)),
        _row("hours simulated", *(f"{x.simulated_s / 3600:,.1f}" for x in both)),
        _row("times real time, a processor", *(f"{x.times_real_a_processor:,.0f}" for x in both)),
    ]
    broken = [each for total in both for each in total.failures]
    if broken:
        lines += ["", "| Broken | Rule |", "|---|---|"]
        lines += [_row(f"{x.plan.mode} {x.plan.seed}", x.failure) for x in broken]
    lines += ["", "| Fault | safety | liveness |", "|---|---|---|"]
    for kind in sorted({*both[0].faults, *both[1].faults}):
        lines.append(_row(kind, *(f"{x.faults[kind]:,}" for x in both)))
    return lines


def _told_speed(rows: Sequence[Seeds], totals: Sequence[Total]) -> str:
    """Return how fast that was by the clock on the wall."""
    elapsed_s = sum(each.elapsed_s for each in rows)
    if not elapsed_s:
        return ""
    times_real = sum(each.simulated_s for each in totals) / elapsed_s
    cores = "compiled" if all(each.is_compiled for each in rows) else "interpreted"
    return f" That went {times_real:,.0f} times as fast as real time on all processors, {cores}."


def _records(totals: Sequence[Total]) -> Iterator[tuple[str, list[int]]]:
    """Yield how many records there were; at older commits they were not simulated."""
    yield "stored", [each.records for each in totals]
    yield "offered again", [each.doubled for each in totals]


def _told_states(journal: Journal[Searched]) -> list[str]:
    return [
        "",
        "## States",
        "",
        (
            f"Commit `{journal.commit}`. One port, two brokers, two workers, and within the bounds "
            "whatever can happen, in every order; with *none taken for another* the same was come "
            "to without the reductions."
        ),
        "",
        "| Bounds | States | Steps | Deepest | Seen | Seconds |",
        "|---|---|---|---|---|---|",
        *(
            _row(x.bounds, f"{x.states:,}", f"{x.steps:,}", x.deepest, x.end, f"{x.took_s:,.0f}")
            for x in journal.rows()
        ),
    ]


def is_open(fate: Fate) -> bool:
    """Return whether a mutant has neither been killed nor been explained."""
    if fate.name == UNHARMED:
        return bool(fate.killer)
    return not is_killed(fate) and fate.name not in EXPLAINED


def is_killed(fate: Fate) -> bool:
    """Return whether a test failed by a mutant."""
    return fate.killer not in {"", CRASHES, HANGS}


def _told_mutants(journal: Journal[Fate]) -> list[str]:
    rows = journal.rows()
    unharmed = [each for each in rows if each.name == UNHARMED]
    traces = [each for each in rows if each.name.startswith(TRACES)]
    fates = [each for each in rows if each not in unharmed and each not in traces]
    alive = sorted((each for each in fates if not is_killed(each)), key=lambda each: each.name)
    open_ = [each for each in alive if is_open(each)]
    killers = Counter(each.killer for each in fates if each not in alive)
    lines = [
        "",
        "## Mutants",
        "",
        (
            f"Commit `{journal.commit}`. {len(branches())} rejecting branches, {len(fates)} "
            f"mutants planted, {len(fates) - len(alive)} killed, {len(alive) - len(open_)} live "
            f"and are explained, {len(open_)} live unexplained. {_told_unharmed(unharmed)}"
            f"{_told_earlier(fates)}"
        ),
        "",
        (
            f"The guards of the {len(traces)} traces are taken away besides: "
            f"{sum(bool(each.killer) for each in traces)} were killed by the trace's scenario."
        ),
        "",
        "| Killed by | Mutants |",
        "|---|---|",
        *(_row(who, n) for who, n in killers.most_common()),
    ]
    if alive:
        lines += ["", "| Alive | Why |", "|---|---|"]
        for each in alive:
            escaped = each.name.replace("|", "\\|")
            why = EXPLAINED.get(each.name, "not explained yet")
            lines.append(_row(f"`{escaped}`", f"{each.killer}; {why}" if each.killer else why))
    return lines


def _told_unharmed(rows: list[Fate]) -> str:
    if not rows:
        return "Whether the same tests pass without a mutant is not known yet."
    if rows[0].killer:
        return f"WITHOUT A MUTANT A TEST FAILS, TOO: {rows[0].test}."
    return "Without a mutant the same tests pass."


def _told_earlier(fates: list[Fate]) -> str:
    """Return which were not planted at this commit itself."""
    earlier = Counter(each.commit for each in fates if each.commit)
    return "".join(
        f" {count} of them were killed at commit `{commit}`, since when the cores are the same and "
        "tests were only added."
        for commit, count in earlier.items()
    )
