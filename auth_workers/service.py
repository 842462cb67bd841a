"""The auth worker as a program: what it needs is opened, then dialogs are served until it drains.

`serve` is the whole; `run_worker` is what is left when somebody else brings the way to conduct a
dialog, as benchmarks do.  A worker has nothing of its own: the pool's key and the users are the
same for all of them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final

import structlog
from prometheus_client.registry import Collector
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_workers.authenticators import Authenticator
from auth_workers.charging import Charging, rules_of
from auth_workers.hashing import HashingPool
from auth_workers.kinds import Resources, open_authenticator
from auth_workers.metrics import WorkerMetrics
from auth_workers.policy import Policies
from auth_workers.runner import Conduct, Runner
from auth_workers.session import Worker
from dialgate import lifecycle
from dialgate.errors import StateError
from dialgate.http import build_app
from dialgate.http import serve as serve_http
from dialgate.lifecycle import Life
from dialgate.link import Link
from dialgate.links import Links
from dialgate.passwords import Argon2, PasswordRules
from dialgate.pool import pool_key
from dialgate.sealing import ONE_TIME_CODES, Sealer
from dialgate.settings import Settings, WorkerSettings, require
from dialgate.state import check_state, open_state
from dialgate.telemetry import new_registry
from dialgate.text import counted
from dialgate.user_sessions import claim_session
from dialgate.user_sync import copy_until_s

__all__ = ["main", "run_worker", "serve"]

TICK_S: Final = 0.1
"""How often the core is asked what time asks for."""
DRAIN_S: Final = 25.0
"""How long a worker that was told to stop lets its dialogs finish; systemd waits a little longer
(TimeoutStopSec), and what is still open is begun again elsewhere."""
STATE_CHECK_S: Final = 5.0
"""How often the state is asked whether it answers."""
FORGET_S: Final = 600.0
"""How often tries that have no effect any more are dropped; each worker does it."""

log = structlog.get_logger()


def main(argv: Sequence[str]) -> int:
    """Run the auth worker; return the exit status."""
    return lifecycle.main("worker", serve, argv)


async def serve(settings: Settings, life: Life) -> None:
    """Serve dialogs by the policies of `settings` until told to stop, or ordered to by a broker.

    Raises:
        DialgateError: something that it needs can't be had.
    """
    worker = require(settings, "worker")
    state = await open_state(settings.cluster.state)
    hashing = HashingPool(Argon2(), worker.hash_concurrency)
    try:
        key = await pool_key(settings.cluster, state)
        codes = Sealer(key, purpose=ONE_TIME_CODES)
        resources = Resources(state, hashing, codes, _password_rules(settings))
        charging = Charging(state, rules_of(settings.lockout))
        async with (
            _opened(settings, resources) as authenticators,
            _watched(state, charging) as watched,
        ):
            policies = Policies(
                settings.policies,
                authenticators,
                charging,
                claim=partial(claim_session, state),
                log_unknown_users=worker.log_unknown_users,
            )
            await run_worker(
                settings,
                life,
                conduct=policies.conduct,
                sealer=Sealer(key),
                fault=lambda: watched.fault,
                metrics=partial(
                    WorkerMetrics,
                    policies=policies,
                    hashing=hashing,
                    charging=charging,
                    copy_until_s=lambda: watched.copy_until_s,
                ),
            )
    finally:
        hashing.close()
        await state.dispose()


async def run_worker(
    settings: Settings,
    life: Life,
    *,
    conduct: Conduct,
    sealer: Sealer,
    fault: Callable[[], str | None] = lambda: None,
    metrics: Callable[[Runner, Sequence[Link], int], Collector] = WorkerMetrics,
) -> None:
    """Serve dialogs with `conduct` until told to stop.

    Args:
        settings: of the whole file; the table [worker] must be there.
        life: says when to stop.
        conduct: conducts each dialog to its verdict.
        sealer: seals the cookies.
        fault: why /readyz says no, beside the sessions.
        metrics: makes what /metrics shows.
    """
    worker = require(settings, "worker")
    shell = _Shell(settings, worker, conduct, sealer)
    registry = new_registry(metrics(shell.runner, shell.links, worker.capacity))
    app = build_app(registry=registry, ready=lambda: shell.fault() or fault())
    try:
        async with serve_http(app, worker.http):
            shell.start()
            life.ready(f"serving {counted(len(shell.links), 'broker')}")
            await shell.serve_until(life.stopping)
    finally:
        await shell.close()


class _Shell:
    """Links on one side, tasks on the other, the core between them."""

    def __init__(
        self, settings: Settings, worker: WorkerSettings, conduct: Conduct, sealer: Sealer
    ) -> None:
        keys = None if worker.insecure else settings.cluster.keys
        self._links = Links(
            "worker", worker.name, keys, capacity=worker.capacity, pools=worker.pools
        )
        self.core = Worker(
            self._links.instance,
            capacity=worker.capacity,
            links=len(worker.brokers),
            reattach_s=worker.reattach_s,
            dialog_max_s=worker.dialog_max_s,
        )
        self.runner = Runner(self.core, conduct, sealer, self._links.transmit)
        self._links.connect(worker.brokers, self.core, self.runner.perform)

    @property
    def links(self) -> list[Link]:
        """One a broker."""
        return list(self._links.links.values())

    def fault(self) -> str | None:
        """Return why this worker takes no calls, or None."""
        if self.core.draining:
            return "draining"
        return None if self.core.sessions else "no session with any broker"

    def start(self) -> None:
        """Begin to open sessions."""
        for link in self.links:
            link.start()

    async def serve_until(self, stopping: asyncio.Event) -> None:
        """Serve until the core has drained, which `stopping` or an operator's DRAIN begins."""
        telling = asyncio.get_running_loop().create_task(self._links.tell_refusals())
        try:
            while not self.runner.left.is_set():
                if stopping.is_set() and not self.core.draining:
                    self.runner.perform(self.core.drain(DRAIN_S, self.runner.clock()))
                if (now := self.runner.clock()) >= self.core.deadline():
                    self.runner.perform(self.core.tick(now))
                await asyncio.sleep(TICK_S)
        finally:
            telling.cancel()

    async def close(self) -> None:
        """Say BYE to every broker; end every task."""
        self._links.close()
        await self.runner.close()


def _password_rules(settings: Settings) -> PasswordRules:
    passwords = settings.passwords
    return PasswordRules(
        length_min=passwords.length_min,
        classes_min=passwords.classes_min,
        days_max=passwords.days_max,
    )


@asynccontextmanager
async def _opened(
    settings: Settings, resources: Resources
) -> AsyncIterator[dict[str, Authenticator]]:
    """Give the authenticators by name, open while the context lasts."""
    async with AsyncExitStack() as stack:
        yield {
            name: await stack.enter_async_context(open_authenticator(name, table, resources))
            for name, table in settings.authenticators.items()
        }


@dataclass(slots=True)
class _Watched:
    """What the state said when it was asked last."""

    fault: str | None = None
    """Why it does not answer."""
    copy_until_s: int | None = None
    """Until when copied users count, seconds since 1970; None: there are none."""


@asynccontextmanager
async def _watched(state: AsyncEngine, charging: Charging) -> AsyncIterator[_Watched]:
    """Give what the state says of itself; while the context lasts, ask it and tidy it."""
    watched = _Watched()

    async def watch() -> None:
        forget_at = time.monotonic()
        while True:
            try:
                await check_state(state)
                watched.copy_until_s = await copy_until_s(state)
                if time.monotonic() >= forget_at:
                    await charging.forget_old()
                    forget_at = time.monotonic() + FORGET_S
            except StateError as error:
                watched.fault = str(error)
            else:
                watched.fault = None
            await asyncio.sleep(STATE_CHECK_S)

    task = asyncio.get_running_loop().create_task(watch())
    try:
        yield watched
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
