"""What holds for every test: profiles of hypothesis, the integration marker, databases, CI.

HYPOTHESIS_PROFILE chooses among `dev` (the default: new examples at every run), `ci` (the same
examples at every run; the default where CI=true), `nightly` (for `./dev prove`) and `mutants`
(`tests.simulator.mutants`: an example that fails is enough, it need not be a small one).
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, Phase, settings

from tests.postgresql import PostgreSQL, running_postgresql

INTEGRATION: Final = {Path(__file__).parent / "chaos", Path(__file__).parent / "integration"}
IS_CI: Final = os.environ.get("CI") == "true"

# How long an example takes says more about the machine than about the code.
settings.register_profile("dev", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile(
    "ci", settings.get_profile("dev"), derandomize=True, print_blob=True, database=None
)
settings.register_profile(
    "nightly", settings.get_profile("dev"), max_examples=10_000, stateful_step_count=200
)
settings.register_profile(
    "mutants",
    settings.get_profile("ci"),
    max_examples=50,
    phases=[Phase.explicit, Phase.generate],
    print_blob=False,
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if IS_CI else "dev"))


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add what tests/scenarios and the matrices in docs/ can be told."""
    parser.addoption(
        "--rewrite-matrices",
        action="store_true",
        help="write the matrices of docs/ anew; review them as a diff",
    )
    parser.addoption(
        "--rewrite-scenarios",
        action="store_true",
        help="write the traces of tests/scenarios anew; review them as a diff",
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what lies under tests/chaos and tests/integration."""
    for item in items:
        if not INTEGRATION.isdisjoint(item.path.parents):
            item.add_marker("integration")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let a test that was skipped fail in CI: what it needs has to be there."""
    report = yield
    if IS_CI and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Let a module that was skipped as a whole fail in CI, too."""
    report = yield
    if IS_CI and report.skipped:
        report.outcome = "failed"
    return report


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    """Run a PostgreSQL server, for those tests that need one."""
    with running_postgresql() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def state_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of a state that isn't there yet, of each kind in turn."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/state.db"
    server: PostgreSQL = request.getfixturevalue("postgresql")
    return server.database()
