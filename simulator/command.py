"""`dialgate simulate`: run seeds, and show the trace of what broke a rule."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from time import monotonic
from typing import Final

import msgspec

from dialgate.errors import DialgateError
from dialgate.manual import new_parser
from simulator.campaign import Total, outcomes
from simulator.plan import Plan
from simulator.run import Outcome, replay

__all__ = ["main"]

TRACES_MAX: Final = 3
"""Broken seeds that are shown with their trace."""
TRACE_LINES: Final = 300
"""Last lines of a trace that are shown."""

_DESCRIPTION: Final = """
    Runs the whole cluster - agents with modems and callers, brokers, workers - on one thread and in
    virtual time, and lets everything go wrong that can. Each seed is one run: it picks calls,
    delays and faults, and leads to the same run again, on every machine.

    In mode `safety`, faults are everywhere: lost and dead sessions, delay, one-way and whole
    partitions, machines cut off one after another and mended in another order (swizzle), crash and
    restart of each role, pauses, drains, a shared state that does not answer, a full disk, modems
    whose DCD lies, that fall silent or are unplugged, callers who dial again at once. In mode
    `liveness`, one broker, worker or agent fails for good, and the others must serve their callers.

    After every step the invariants I1 to I8 of docs/architecture.md are checked; at the end all is
    mended, and no port, broker or worker may keep anything, every call must be recorded, and each
    port must serve one more caller. The first rule that is broken ends a seed; it is named, with
    the trace of its dialog. Answers of callers are in no trace.

    The cores, the runner of dialogs, the policies and the authenticator of local users are those
    that run in service. Sockets, terminals, disks, SQL and the hashing of passwords are replaced.
"""


def main(argv: Sequence[str]) -> int:
    """Run the seeds that are asked for; return 0, or 1 if one broke a rule.

    Raises:
        DialgateError: the report can't be written.
    """
    arguments = _parser().parse_args(argv)
    first, seeds = arguments.seed, arguments.seeds
    if seeds is None:
        seeds = 1 if first is not None else 100
    start = 1 if first is None else first
    plans = [
        Plan(
            seed=seed,
            mode=arguments.mode,
            duration_s=arguments.duration,
            calls=arguments.calls,
            ports=arguments.ports,
        )
        for seed in range(start, start + seeds)
    ]
    total = Total()
    began = monotonic()
    for outcome in outcomes(plans, arguments.jobs):
        total.add(outcome)
        if outcome.failure is not None:
            _show(outcome, with_trace=len(total.failures) <= TRACES_MAX)
    total.elapsed_s = monotonic() - began
    print("\n".join(total.lines()))  # noqa: T201 - the command's answer
    if arguments.report is not None:
        _write(arguments.report, total)
    return 1 if total.failures else 0


def _parser() -> argparse.ArgumentParser:
    parser = new_parser(
        "simulate",
        _DESCRIPTION,
        examples=[
            "dialgate simulate --seeds 100                    some minutes",
            "dialgate simulate --seeds 20 --mode liveness",
            "dialgate simulate --seed 4711                    one seed again, with its trace",
            "dialgate simulate --seeds 5000 --report report.json",
        ],
        exit_status="0  no rule was broken\n1  one was; the output says which, and where\n"
        "2  wrong usage",
    )
    parser.add_argument("--seeds", type=_count, metavar="N", help="how many seeds (100; 1 with S)")
    parser.add_argument("--seed", type=int, metavar="S", help="the first, or the only one (1)")
    parser.add_argument(
        "--mode", choices=["safety", "liveness"], default="safety", help="what fails (safety)"
    )
    parser.add_argument(
        "--duration",
        type=_seconds,
        default=300.0,
        metavar="S",
        help="virtual seconds of calls a seed, at least 60 (300); part of what a seed means",
    )
    parser.add_argument(
        "--calls", type=_count, default=1, metavar="N", help="a port and minute (1); likewise"
    )
    parser.add_argument(
        "--ports", type=_count, default=40, metavar="N", help="ports, on 4 agents (40); likewise"
    )
    parser.add_argument(
        "--jobs",
        type=_count,
        default=os.cpu_count() or 1,
        metavar="N",
        help="processes that share the seeds (as many as there are processors)",
    )
    parser.add_argument("--report", type=Path, metavar="FILE", help="write the sums as JSON, too")
    return parser


def _count(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 on")
    return int(text)


def _seconds(text: str) -> float:
    if not text.isdecimal() or int(text) < 60:  # noqa: PLR2004 - as the help says
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 60 on")
    return float(text)


def _show(outcome: Outcome, *, with_trace: bool) -> None:
    plan = outcome.plan
    again = (
        f"dialgate simulate --seed {plan.seed} --mode {plan.mode} --duration {plan.duration_s:.0f}"
        f" --calls {plan.calls:.0f} --ports {plan.ports}"
    )
    lines = [f"seed {plan.seed} broke {outcome.failure}", f"again: {again}"]
    if with_trace:
        _, trace = replay(plan)
        lines += trace[-TRACE_LINES:]
    print("\n".join(lines), flush=True)  # noqa: T201 - the command's answer


def _write(path: Path, total: Total) -> None:
    try:
        path.write_bytes(msgspec.json.format(msgspec.json.encode(total.report())) + b"\n")
    except OSError as error:
        raise DialgateError(f"{path}: can't be written: {error.strerror}") from error
