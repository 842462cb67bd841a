"""The report names what a run was, and tells each fault's slowest recovery."""

from __future__ import annotations

from dialgate.history import Rule, Violation
from tests.chaos.callers import Act, Wait
from tests.chaos.faults import Fault, Kind
from tests.chaos.report import report
from tests.chaos.run import Outcome


def test_a_wait_is_a_faults_if_it_touched_it_and_the_longest_is_shown() -> None:
    outcome = Outcome(
        seed=7,
        lasted_s=125,
        faults=[
            Fault(Kind.KILL_AGENT, "agent-1", 10, 11),
            Fault(Kind.KILL_AGENT, "agent-2", 50, 51),
            Fault(Kind.DELAY, "agent-1 to broker-1", 80, 85),
        ],
        acts={Act.GOOD: 3, Act.WRONG: 1},
        admitted=3,
        waits=[
            Wait("site-1/1", 9, 13),
            Wait("site-1/1", 20, 20.5),
            Wait("site-2/1", 50.5, 52),
            Wait("site-2/1", 81, 84),
        ],
        free_after_s=4,
    )

    assert report(outcome).splitlines() == [
        "chaos: seed 7, 2 min 5 s",
        "calls: 4, admitted 3",
        "       3  the right password",
        "       1  wrong passwords until he is hung up on",
        "faults: 3",
        "  number  longest wait  after its end  kind",
        "       2         4.0 s          2.0 s  kill -9 an agent",
        "       1         3.0 s          0.0 s  delay links",
        "       -         0.5 s            -    no fault",
        "all ports free 4.0 s after the last fault",
        "starts given up while the disk was full: 0",
        "programs that ended by themselves: 0",
        "violations: 0",
    ]


def test_violations_and_crashes_are_told_one_a_line() -> None:
    outcome = Outcome(
        seed=7,
        violations=[Violation(Rule.STUCK, "oslo/1 is faulted and admits nobody")],
        crashes=["worker-1 ended with 70: unexpected error"],
    )

    assert report(outcome).splitlines()[-4:] == [
        "programs that ended by themselves: 1",
        "  worker-1 ended with 70: unexpected error",
        "violations: 1",
        "  a port that is not free at the end: oslo/1 is faulted and admits nobody",
    ]
