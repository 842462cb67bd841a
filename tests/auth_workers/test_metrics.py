"""What a scrape of a worker shows."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest

from auth_workers.dialog import Dialog
from auth_workers.hashing import HashingPool
from auth_workers.metrics import DROPS, WorkerMetrics
from auth_workers.policy import Policies
from auth_workers.runner import Runner
from auth_workers.session import Worker
from auth_workers.session_actions import Outcome
from auth_workers.verdict import Granted, Verdict
from dialgate.passwords import Argon2
from dialgate.sealing import Sealer
from dialgate.wire.verbs import Verb
from tests.auth_workers import core_bench
from tests.auth_workers.core_bench import ME, WELCOME

NAME: Final = re.compile(r"dialgate_worker_[a-z_]+")


async def granted(_dialog: Dialog) -> Verdict:
    return Granted("ann")


def new_runner() -> Runner:
    worker = Worker(ME, capacity=10, links=1)
    return Runner(worker, granted, Sealer(bytes(32)), lambda _session, _message: None)


def shown(runner: Runner, **parts: object) -> str:
    registry = CollectorRegistry()
    registry.register(WorkerMetrics(runner, [], 10, **parts))  # type: ignore[arg-type]
    return generate_latest(registry).decode()


async def test_every_value_of_a_closed_set_is_there_from_the_start() -> None:
    text = shown(new_runner())

    for outcome in Outcome:
        assert f'dialgate_worker_dialog_seconds_count{{outcome="{outcome.value}"}} 0.0' in text
    for reason in DROPS:
        assert f'dialgate_worker_drops_total{{reason="{reason}"}} 0.0' in text
    for reason in ("silence", "send failed", "refused"):
        assert f'dialgate_worker_session_losses_total{{reason="{reason}"}} 0.0' in text


async def test_a_scrape_shows_what_has_happened() -> None:
    runner = new_runner()
    runner.perform(runner.worker.session_opened("A", 1, WELCOME, 0.0))
    runner.counts.started = 3
    runner.counts.durations[Outcome.SUCCESS].observe(3.0)
    runner.counts.replies.observe(0.001)
    runner.worker.drops["second END"] += 1

    text = shown(runner)

    for sample in (
        "dialgate_worker_dialogs 0.0",
        "dialgate_worker_capacity 10.0",
        "dialgate_worker_credit 10.0",
        "dialgate_worker_sessions 1.0",
        "dialgate_worker_draining 0.0",
        "dialgate_worker_dialogs_started_total 3.0",
        'dialgate_worker_dialog_seconds_bucket{le="5.0",outcome="success"} 1.0',
        "dialgate_worker_end_to_reply_seconds_count 1.0",
        'dialgate_worker_drops_total{reason="second END"} 1.0',
    ):
        assert f"{sample}\n" in text


async def test_the_cores_reasons_are_all_declared() -> None:
    """A rate can't be taken of what appears with its first event."""
    bench = core_bench.Bench()
    provoke: list[Callable[[], object]] = [
        lambda: bench.received(1, 1),
        lambda: bench.hear(Verb.BEGIN, b"\x80", 1),
        lambda: bench.begin(1),
        lambda: bench.begin(2),
        lambda: bench.received(2, 7),
        lambda: bench.complete(Granted("ann")),
        lambda: bench.received(2, 7),
        lambda: bench.end(2),
        lambda: bench.end(2),
        lambda: bench.wait(2.0),
        lambda: bench.worker.message(1, Verb.DRAIN, None, 0, b"\xc1", 0.0),
        lambda: bench.close(1),
        lambda: bench.begin(3),
    ]
    for each in provoke:
        each()

    assert bench.worker.drops.keys() <= set(DROPS)
    assert len(bench.worker.drops) >= 6


async def test_policies_and_hashing_are_shown_where_there_are_any() -> None:
    policies = Policies([], {})
    policies.misses = 2
    policies.unavailable["corp"] = 1
    hashing = HashingPool(Argon2(memory_kib=8, passes=1), 1)
    hashing.refused = 4

    text = shown(new_runner(), policies=policies, hashing=hashing)

    assert "dialgate_worker_policy_misses_total 2.0" in text
    assert 'dialgate_worker_authenticator_unavailable_total{authenticator="corp"} 1.0' in text
    assert "dialgate_worker_password_checks 0.0" in text
    assert "dialgate_worker_password_checks_refused_total 4.0" in text
    hashing.close()


async def test_names_are_the_workers_and_in_base_units() -> None:
    names = set(NAME.findall(shown(new_runner())))

    assert len(names) > 15
    assert not [name for name in names if name.endswith(("_ms", "_milliseconds"))]
