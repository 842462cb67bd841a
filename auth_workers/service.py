"""The auth worker as a program: what it needs is opened, then dialogs are served until it drains.

`serve` is the whole; `run_worker` is what is left when somebody else brings the way to conduct a
dialog, as benchmarks do.  A worker has nothing of its own: the pool's key and the users are the
same for all of them.
"""

from __future__ import annotations

import asyncio
import os
import random
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from importlib.metadata import version
from itertools import count
from typing import Final

import structlog
import zmq
from prometheus_client.registry import Collector
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_workers.authenticators.local import Local
from auth_workers.hashing import HashingPool
from auth_workers.metrics import WorkerMetrics
from auth_workers.policy import Policies
from auth_workers.runner import Conduct, Runner
from auth_workers.session import Worker
from dialgate import lifecycle
from dialgate.codes import NO_ERROR, describe
from dialgate.errors import BodyError, StateError
from dialgate.http import build_app
from dialgate.http import serve as serve_http
from dialgate.keys import POOL_KEY_BYTES, load_directory, load_pool_key, load_secret
from dialgate.lifecycle import Life
from dialgate.link import Link
from dialgate.passwords import Argon2
from dialgate.sealing import Sealer
from dialgate.session import PeerSession, SessionClosed, SessionEvent, SessionOpened
from dialgate.settings import Settings, WorkerSettings, parse_endpoint, require
from dialgate.sockets import ClientKeys, require_libzmq
from dialgate.state import check_state, open_state, shared_secret
from dialgate.telemetry import new_registry
from dialgate.users import find_user, replace_hash
from dialgate.wire.bodies import Error, Hello
from dialgate.wire.body_codec import decode_body, encode
from dialgate.wire.limits import PROTOCOL
from dialgate.wire.verbs import Role, Verb

__all__ = ["main", "run_worker", "serve"]

TICK_S: Final = 0.1
"""How often the core is asked what time asks for."""
DRAIN_S: Final = 25.0
"""How long a worker that was told to stop lets its dialogs finish; systemd waits a little longer
(TimeoutStopSec), and what is still open is begun again elsewhere."""
STATE_CHECK_S: Final = 5.0
"""How often the state is asked whether it answers."""

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
        authenticators = {
            name: Local(partial(find_user, state), partial(replace_hash, state), hashing)
            for name in settings.authenticators
        }
        policies = Policies(settings.policies, authenticators)
        async with _watched(state) as state_fault:
            await run_worker(
                settings,
                life,
                conduct=policies.conduct,
                sealer=Sealer(await _pool_key(settings, state)),
                fault=state_fault,
                metrics=partial(WorkerMetrics, policies=policies, hashing=hashing),
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
    require_libzmq()
    worker = require(settings, "worker")
    shell = _Shell(settings, worker, conduct, sealer)
    registry = new_registry(metrics(shell.runner, shell.links, worker.capacity))
    app = build_app(registry=registry, ready=lambda: shell.fault() or fault())
    try:
        async with serve_http(app, worker.http):
            shell.start()
            life.ready(f"serving {len(shell.links)} brokers")
            await shell.serve_until(life.stopping)
    finally:
        await shell.close()


class _Shell:
    """Links on one side, tasks on the other, the core between them."""

    def __init__(
        self, settings: Settings, worker: WorkerSettings, conduct: Conduct, sealer: Sealer
    ) -> None:
        instance = secrets.token_bytes(16)
        self.core = Worker(
            instance,
            capacity=worker.capacity,
            links=len(worker.brokers),
            reattach_s=worker.reattach_s,
            dialog_max_s=worker.dialog_max_s,
        )
        self.runner = Runner(self.core, conduct, sealer, self._transmit)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._sessions: dict[int, Link] = {}
        numbers = count(1)
        self.links: list[Link] = []
        for address in worker.brokers:
            endpoint = parse_endpoint(address)
            session = PeerSession(
                endpoint.address,
                Role.WORKER,
                hello=partial(_hello, worker, instance),
                next_session=partial(next, numbers),
                jitter=random.random,
            )
            locked = endpoint.needs_curve(insecure=worker.insecure)
            keys = _keys(settings, worker, endpoint.broker) if locked else None
            link = Link(session, self._context, keys, partial(self._deliver, session))
            self.links.append(link)
        self._refusals: dict[str, str] = {}

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
        while not self.runner.left.is_set():
            if stopping.is_set() and not self.core.draining:
                self.runner.perform(self.core.drain(DRAIN_S, self.runner.clock()))
            self.runner.perform(self.core.tick(self.runner.clock()))
            self._tell_refusals()
            await asyncio.sleep(TICK_S)

    async def close(self) -> None:
        """Say BYE to every broker; end every task."""
        for link in self.links:
            link.stop(NO_ERROR)
        await self.runner.close()
        self._context.destroy(linger=0)

    def _transmit(self, session: int, message: bytes) -> None:
        link = self._sessions.get(session)
        if link is not None:
            link.send(message)

    def _deliver(self, peer: PeerSession, events: Sequence[SessionEvent], now: float) -> None:
        link = next(link for link in self.links if link.session is peer)
        for event in events:
            match event:
                case SessionOpened(address, session, welcome):
                    log.info("session opened", broker=welcome.name, address=address)
                    self._sessions[session] = link
                    actions = self.core.session_opened(address, session, welcome, now)
                case SessionClosed(address, session, code):
                    log.warning("session over", address=address, code=describe(code))
                    self._sessions.pop(session, None)
                    actions = self.core.session_closed(session, code, now)
                case (verb, dialog, attempt, body, _):
                    if verb == Verb.ERROR:
                        _log_error(peer.link, body)
                    actions = self.core.message(peer.session, verb, dialog, attempt, body, now)
            self.runner.perform(actions)

    def _tell_refusals(self) -> None:
        """Log once why a broker doesn't welcome this worker."""
        for link in self.links:
            refusal = link.session.refusal
            if refusal and self._refusals.get(link.session.link) != refusal:
                log.warning("no session", address=link.session.link, reason=refusal)
            self._refusals[link.session.link] = refusal


def _hello(worker: WorkerSettings, instance: bytes, session: int) -> bytes:
    hello = Hello(
        protocol=PROTOCOL,
        role="worker",
        name=worker.name,
        instance=instance,
        session=session,
        version=version("dialgate"),
        capacity=worker.capacity,
        pools=worker.pools,
    )
    return encode(Verb.HELLO, hello)


def _keys(settings: Settings, worker: WorkerSettings, broker: str) -> ClientKeys:
    pair = load_secret(settings.cluster.keys, "worker", worker.name)
    server = load_directory(settings.cluster.keys).broker_key(broker)
    return ClientKeys(public=pair.public, secret=pair.secret, server=server)


async def _pool_key(settings: Settings, state: AsyncEngine) -> bytes:
    """Return the pool's key: of its file, or, on a single machine without one, of the state.

    Raises:
        KeyFileError: the file that the configuration names isn't there, or it is unfit.
    """
    file = settings.cluster.pool_key_file
    if settings.cluster.pool_key or file.exists():
        return load_pool_key(file)
    return await shared_secret(state, "pool", os.urandom(POOL_KEY_BYTES))


@asynccontextmanager
async def _watched(state: AsyncEngine) -> AsyncIterator[Callable[[], str | None]]:
    """Give what says why the state doesn't answer, and keep asking it while the context lasts."""
    fault: list[str] = []

    async def watch() -> None:
        while True:
            try:
                await check_state(state)
            except StateError as error:
                fault[:] = [str(error)]
            else:
                fault.clear()
            await asyncio.sleep(STATE_CHECK_S)

    task = asyncio.get_running_loop().create_task(watch())
    try:
        yield lambda: fault[0] if fault else None
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _log_error(address: str, body: bytes) -> None:
    try:
        error = decode_body(body, Error)
    except BodyError:
        return
    log.warning("broker refused", address=address, code=describe(error.code), text=error.text)
