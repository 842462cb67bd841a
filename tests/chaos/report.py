"""The report of a run, as text: calls, faults by kind, violations, the slowest recovery of each."""

from __future__ import annotations

from tests.chaos.callers import Wait
from tests.chaos.faults import Fault, Kind
from tests.chaos.run import Outcome


def report(outcome: Outcome) -> str:
    """Return the report.

    A recovery is a caller's wait for the next word (a question, a verdict, a greeting, the end of
    the line) that a fault touched: how long he waited in all, and how long after the fault was over
    or, of a killed program, after it was started again.
    """
    minutes, seconds = divmod(round(outcome.lasted_s), 60)
    waits = sorted(outcome.waits, key=lambda each: each.began_at)
    calm = [each for each in waits if not any(_touches(fault, each) for fault in outcome.faults)]
    rows = [
        f"chaos: seed {outcome.seed}, {minutes} min {seconds} s",
        f"calls: {outcome.calls}, admitted {outcome.admitted}",
        *(f"  {count:6}  {act.value}" for act, count in sorted(outcome.acts.items())),
        f"faults: {len(outcome.faults)}",
        "  number  longest wait  after its end  kind",
    ]
    for kind in Kind:
        faults = [each for each in outcome.faults if each.kind is kind]
        if faults:
            whole, after = _slowest(faults, waits)
            rows.append(f"  {len(faults):6}  {whole:10.1f} s  {after:11.1f} s  {kind.value}")
    slowest = max((each.ended_at - each.began_at for each in calm), default=0.0)
    rows += [
        f"  {'-':>6}  {slowest:10.1f} s  {'-':>11}    no fault",
        f"all ports free {outcome.free_after_s:.1f} s after the last fault",
        f"starts given up while the disk was full: {outcome.starts_without_disk}",
        f"programs that ended by themselves: {len(outcome.crashes)}",
        *(f"  {text}" for text in outcome.crashes),
        f"violations: {len(outcome.violations)}",
        *(f"  {violation}" for violation in outcome.violations),
    ]
    return "\n".join(rows)


def _touches(fault: Fault, wait: Wait) -> bool:
    return wait.began_at <= fault.ended_at and wait.ended_at >= fault.began_at


def _slowest(faults: list[Fault], waits: list[Wait]) -> tuple[float, float]:
    """Return the longest wait that one of the faults touched, and the longest after its end."""
    touched = [(fault, wait) for fault in faults for wait in waits if _touches(fault, wait)]
    whole = max((wait.ended_at - wait.began_at for _, wait in touched), default=0.0)
    after = max((wait.ended_at - fault.ended_at for fault, wait in touched), default=0.0)
    return whole, max(0.0, after)
