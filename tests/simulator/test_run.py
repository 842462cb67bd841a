"""The simulated cluster: seeds that must hold, and seeds that must not when a rule is taken out."""

from __future__ import annotations

import gc
import math
import os
import subprocess
import sys
from typing import Final

import msgspec
import pytest

from auth_workers.cookie import Cookies, Progress
from port_agents.line_actions import Admission, StartService
from simulator.agent_host import AgentHost
from simulator.plan import Mode, Plan
from simulator.run import replay, simulate
from simulator.telephone import SECRET
from simulator.watch import Watch
from simulator.world import World

SEEDS: Final = {"safety": 100, "liveness": 50}
SEEDS_PER_TEST: Final = 10


def small(seed: int, mode: Mode = "safety") -> Plan:
    """Return a world that is through in a fraction of a second; ./dev prove has the whole one."""
    duration_s = 30.0 if mode == "safety" else 45.0
    return Plan(seed=seed, mode=mode, duration_s=duration_s, ports=8, agents=2, calls=2)


def test_of_a_seed_that_has_run_nothing_is_left_in_memory() -> None:
    """A proof runs thousands in one process."""
    simulate(small(0))

    gc.collect()

    assert [each for each in gc.get_objects() if isinstance(each, World | AgentHost)] == []


@pytest.mark.parametrize(
    ("mode", "first"),
    [(mode, first) for mode, seeds in SEEDS.items() for first in range(0, seeds, SEEDS_PER_TEST)],
)
def test_no_seed_breaks_a_rule(mode: Mode, first: int) -> None:
    outcomes = [simulate(small(seed, mode)) for seed in range(first, first + SEEDS_PER_TEST)]

    assert [f"seed {each.plan.seed}: {each.failure}" for each in outcomes if each.failure] == []


def test_the_whole_world_holds() -> None:
    outcome = simulate(Plan(seed=1, duration_s=120))

    assert outcome.failure is None
    assert outcome.calls >= 80
    assert outcome.served >= outcome.calls / 2
    assert len(outcome.faults) >= 8


def test_a_seed_leads_to_the_same_run_whatever_the_hash_of_strings() -> None:
    script = (
        "from simulator.run import simulate; from simulator.plan import Plan; "
        "o = simulate(Plan(seed=7, duration_s=60, ports=12)); "
        "print(o.calls, o.served, o.events, o.fingerprint, sorted(o.faults.items()))"
    )

    runs = {
        subprocess.run(
            [sys.executable, "-c", script],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
        ).stdout
        for hash_seed in ("1", "2")
    }

    assert len(runs) == 1


def test_a_planted_bug_is_found_named_and_traced(monkeypatch: pytest.MonkeyPatch) -> None:
    # The cookie charges nothing: killing the worker would give free guesses.
    def seal(cookies: Cookies, progress: Progress) -> bytes:
        return real(cookies, msgspec.structs.replace(progress, tries=0))

    real = Cookies.seal
    monkeypatch.setattr(Cookies, "seal", seal)

    broken = simulate(small(1))
    again, trace = replay(broken.plan)

    assert broken.failure is not None
    assert broken.failure.rule == "I5"
    assert again.failure == broken.failure
    assert any("RECEIVED" in line for line in trace)


@pytest.mark.parametrize(("has_carrier", "broken"), [(True, "I2"), (False, None)])
def test_a_call_that_ended_while_its_agent_stood_still_is_opened_to_nobody(
    monkeypatch: pytest.MonkeyPatch, has_carrier: bool, broken: str | None
) -> None:
    monkeypatch.setattr(Watch, "opened", lambda *_: None)  # There was no dialog here.
    world = World(small(1))
    agent = world.hosts["a1"]
    assert isinstance(agent, AgentHost)
    hport, telephone = next(iter(agent.telephones.items()))
    caller = telephone.caller = world.next_caller(telephone)
    caller.answered_at = -1.0 if has_carrier else math.inf
    world._accepted[bytes(16).hex()] = ("ann", "who called before")
    admission = Admission(
        user="ann",
        domain="",
        attributes={},
        hport=hport,
        site="",
        call=bytes(16),
        caller="",
        connect_speed=0,
        session_timeout_s=0,
        idle_timeout_s=0,
    )

    world.opened(agent, hport, StartService("console", admission, b""))

    assert broken == (world.failure and world.failure.rule)


def test_no_answer_is_in_a_trace() -> None:
    _, trace = replay(small(3))

    assert any("types answer" in line for line in trace)
    assert [line for line in trace if SECRET in line] == []
