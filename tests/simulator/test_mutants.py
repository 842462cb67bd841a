"""Mutants of the rejecting branches: the list is whole, and a sample of it is killed."""

from __future__ import annotations

import subprocess
import sys
from typing import Final

import pytest

from tests.simulator.branches import ROOT, asked_first, branches, cores
from tests.simulator.explained import EXPLAINED

SAMPLE: Final = 4
"""Of all mutants, evenly; ./dev prove plants the rest, too."""
GUARDS: Final = [
    "broker.switchboard:Switchboard.send: entry.worker is not worker -> False",
    "broker.switchboard:Switchboard.send: entry.attempt != attempt -> False",
    "port_agents.dialog:PortDialog.message: attempt != self.attempt -> False",
    "port_agents.dialog:PortDialog.message: session != self.session -> False",
    "port_agents.dialog:PortDialog._close: not self._withdrawn -> True",
    "port_agents.exchange:Exchange.receive: receive.seq != self.seq + 1 -> False",
    "auth_workers.session_dialog:DialogSession.may_go_on: owner == self.worker -> True",
    "auth_workers.cookie:Cookies.read: begin.seq > 0 -> True",
]
"""Some that the list must have, if it is read from the source as it should be."""


def test_the_list_has_the_guards_that_everything_hangs_on() -> None:
    names = {each.name for each in branches()}

    assert [name for name in GUARDS if name not in names] == []


def test_each_mutant_has_a_name_of_its_own() -> None:
    names = [each.name for each in branches()]

    assert len(names) == len(set(names))
    assert {each.module for each in branches()} <= set(cores())


def test_each_core_has_tests_that_are_asked_first() -> None:
    asked = {module: asked_first(module) for module in {each.module for each in branches()}}

    assert [module for module, files in asked.items() if not files] == []
    assert [x for files in asked.values() for x in files if not (ROOT / x).exists()] == []


def test_what_may_live_is_on_the_list() -> None:
    assert [name for name in EXPLAINED if name not in {each.name for each in branches()}] == []


@pytest.mark.timeout(300)
def test_a_sample_of_the_mutants_is_killed() -> None:
    every = [each.name for each in branches()]
    sample = every[:: len(every) // SAMPLE][:SAMPLE]
    chosen = [name for name in sample if name not in EXPLAINED]
    script = (
        "import sys\n"
        "from tests.simulator.branches import branches\n"
        "from tests.simulator.mutants import run\n"
        "from tests.simulator.prove_page import is_open\n"
        "fates = run([each for each in branches() if each.name in sys.argv[1:]])\n"
        "sys.exit(1 if any(is_open(each) for each in fates) else 0)"
    )

    # Not in this process: a mutant is there to stay.
    done = subprocess.run(
        [sys.executable, "-c", script, *chosen],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(" -> ") == len(chosen)
