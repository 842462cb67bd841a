"""Half a minute of chaos breaks no rule; and a run finds the programs that somebody sabotaged."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from dialgate.history import Rule, Violation
from tests.chaos.callers import Act
from tests.chaos.cluster import Size
from tests.chaos.faults import BRISK, SINGLE, Kind
from tests.chaos.report import report
from tests.chaos.run import Outcome, run
from tests.chaos.sabotage import SABOTAGE, copy_of_the_programs

pytestmark = pytest.mark.timeout(180)


async def test_chaos_breaks_no_rule(tmp_path: Path) -> None:
    size = Size(heartbeat_ms=300)
    outcome = await run(tmp_path, seed=1, lasting_s=30, pace=BRISK, size=size)

    text = report(outcome)
    assert outcome.violations == [], text
    assert outcome.crashes == [], text
    unable = set() if os.geteuid() == 0 else {Kind.UNPLUG}
    assert {fault.kind for fault in outcome.faults} >= set(SINGLE) - unable, text
    assert outcome.admitted >= 10, text


@pytest.fixture(scope="module")
def sabotaged(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """Run a cluster of four agents and two workers in which only one of each is what it should."""
    directory = tmp_path_factory.mktemp("sabotaged")
    code = {
        name: copy_of_the_programs(directory / f"code-{name}", patches)
        for name, patches in SABOTAGE.items()
    }
    (directory / "run").mkdir()
    size = Size(brokers=1, workers=2, agents=4, lines=2)
    return asyncio.run(
        run(
            directory / "run",
            seed=1,
            lasting_s=8,
            pace=BRISK,
            kinds=(),
            acts={Act.WRONG},
            size=size,
            patience_s=4,
            code=code,
        )
    )


@pytest.mark.parametrize(
    ("rule", "site"),
    [
        pytest.param(Rule.UNACCEPTED, "site-1", id="an agent that hands everybody over"),
        pytest.param(Rule.LOST_RECORD, "site-2", id="an agent that forgets calls"),
        pytest.param(Rule.STUCK, "site-3", id="an agent that answers one call a port"),
        pytest.param(Rule.UNANSWERED, "site-4", id="a worker that takes every password"),
    ],
)
def test_a_sabotaged_program_is_found(rule: Rule, site: str, sabotaged: Outcome) -> None:
    assert any(is_of(each, rule, site) for each in sabotaged.violations), report(sabotaged)


def test_nothing_is_found_where_nothing_is_wrong(sabotaged: Outcome) -> None:
    """The honest agent's calls break no rule but by the worker's fault."""
    blamed = {each.rule for each in sabotaged.violations if "site-4/" in each.what}

    assert blamed == {Rule.UNANSWERED}, report(sabotaged)


def is_of(violation: Violation, rule: Rule, site: str) -> bool:
    return violation.rule is rule and f"{site}/" in violation.what
