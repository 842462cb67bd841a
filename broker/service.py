"""`dialgate broker`: one broker process, put together from its parts.

Its life: keys and sockets, then HTTP, then ready.  SIGTERM or an operator's drain: DRAIN to the
agents, which move to another broker; what they still BEGIN is served until nobody is left or the
time is over (the operator's, or `DRAIN_S`); then BYE to all.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager, closing
from pathlib import Path
from secrets import token_bytes
from typing import Final

import structlog
import zmq

from broker.core import Broker
from broker.drains import Drains, add_drain_route
from broker.events import Feed
from broker.gate import CurveGate, OpenGate
from broker.http import COMMAND_S, Operators, add_routes
from broker.ledger import Ledger
from broker.ledger_metrics import LedgerCollector
from broker.limits import BrokerLimits
from broker.metrics import BrokerCollector
from broker.server import Gate, Server
from broker.view import View
from dialgate.errors import StateError, StateMismatch
from dialgate.histogram import Histogram
from dialgate.http import build_app
from dialgate.http import serve as serve_http
from dialgate.lifecycle import Life
from dialgate.lifecycle import main as run_program
from dialgate.loop_lag import LAG_BOUNDS_S, watch_lag
from dialgate.settings import BrokerSettings, Settings, parse_endpoint, require
from dialgate.sockets import require_libzmq
from dialgate.state import open_state
from dialgate.telemetry import new_registry
from dialgate.wire.verbs import Role

__all__ = ["main"]

log = structlog.get_logger(__name__)

DRAIN_S: Final = 10.0
"""How long agents that don't move at once are still served after SIGTERM."""
DRAIN_LOOK_S: Final = 0.05


def main(argv: Sequence[str]) -> int:
    """Run a broker until it is told to stop; return the exit status."""
    return run_program("broker", serve, argv)


async def serve(settings: Settings, life: Life) -> None:
    """Serve until `life` is to stop, then drain.

    Raises:
        DialgateError: keys can't be used, an address can't be listened on, or the state is
            another program's or version's.
    """
    require_libzmq()
    broker = require(settings, "broker")
    await _look_at_state(settings.cluster.state)
    async with (
        _server(broker, Path(settings.cluster.keys)) as server,
        aclosing(Ledger(settings.cluster.state, server.recorded)) as ledger,
    ):
        server.store = ledger.store
        server.note_turns = ledger.note_turns
        view = View(server.broker, time.monotonic)
        feed = Feed(server.broker.board, view.items)
        operators = Operators(server, view)
        departure = _Departure(life.stopping)
        drains = Drains(broker.name, server, operators, departure.order)
        lag = Histogram(LAG_BOUNDS_S)
        registry = new_registry(
            BrokerCollector(
                server.broker,
                server,
                view,
                operators,
                feed,
                lag=lag,
                queue_timeout_s=broker.queue_timeout_ms / 1000,
            ),
            LedgerCollector(ledger),
        )
        app = build_app(
            registry=registry,
            ready=lambda: _unready(server, view),
            live=lambda: _dead(server),
            operator_token=_operator_token(broker),
        )
        add_routes(app, view, operators, feed)
        add_drain_route(app, drains)
        async with serve_http(app, broker.http), asyncio.TaskGroup() as group:
            tasks = [group.create_task(feed.pump()), group.create_task(watch_lag(lag))]
            log.info("listening", agents=broker.agents, workers=broker.workers, http=broker.http)
            # However this ends: HTTP waits for streams that go on.
            with closing(feed):
                life.ready()
                await life.stopping.wait()
                await _drain(server, view, departure.serve_s)
            for task in tasks:
                task.cancel()


async def _look_at_state(url: str) -> None:
    """Refuse a state that will never take records.

    One that can't be asked now is no reason not to serve callers: the ledger goes on trying.

    Raises:
        StateMismatch: it is another program's, or of another version.
    """
    try:
        engine = await open_state(url)
    except StateMismatch:
        raise
    except StateError:
        return  # The ledger says why.
    await engine.dispose()


@asynccontextmanager
async def _server(broker: BrokerSettings, keys: Path) -> AsyncIterator[Server]:
    """Yield the running loop; afterwards every peer has been told BYE."""
    limits = BrokerLimits(
        heartbeat_ms=broker.heartbeat_ms,
        end_lease_ms=broker.end_lease_ms,
        queue_timeout_ms=broker.queue_timeout_ms,
        max_waiting=broker.max_waiting,
        errors_max=broker.errors_max,
        penalty_s=broker.penalty_s,
        # The core gives up after whoever waits for the answer has.
        command_timeout_s=COMMAND_S + 1,
    )
    core = Broker(limits, name=broker.name, instance=token_bytes(16))
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    try:
        gate = _gate(broker, context, keys)
        server = Server(core, context, gate, agents=broker.agents, workers=broker.workers)
        try:
            yield server
        finally:
            core.stop(time.monotonic())
            server.close()
    finally:
        context.term()


def _gate(broker: BrokerSettings, context: zmq.Context[zmq.Socket[bytes]], keys: Path) -> Gate:
    endpoints = {Role.AGENT: broker.agents, Role.WORKER: broker.workers}
    locked = {
        role
        for role, endpoint in endpoints.items()
        if parse_endpoint(endpoint).needs_curve(insecure=broker.insecure)
    }
    return CurveGate(context, keys, broker.name, locked) if locked else OpenGate()


class _Departure:
    """How long a broker that is to stop serves on: as SIGTERM says, or an operator."""

    def __init__(self, stopping: asyncio.Event) -> None:
        self.serve_s = DRAIN_S
        self._stopping = stopping

    def order(self, serve_s: float) -> None:
        """Stop, as after SIGTERM; from then on a signal is the second, and stops at once."""
        if not self._stopping.is_set():
            self.serve_s = serve_s
            self._stopping.set()


async def _drain(server: Server, view: View, serve_s: float) -> None:
    """Send the agents away; return when they and their dialogs have left, or time is over."""
    broker = server.broker
    broker.drain(int(serve_s * 1000), time.monotonic())
    server.perform()
    # Whether a core has stopped is seen by looking: it calls nobody.
    while not broker.is_stopped and (any(view.agent_sessions()) or broker.switchboard.entries):  # noqa: ASYNC110
        await asyncio.sleep(DRAIN_LOOK_S)


def _unready(server: Server, view: View) -> str | None:
    """Return why no new peer should come here.

    A broker without workers is ready: it is who tells the callers' agents so, and if agents left
    it for that, nobody would say.  `dialgate status` and the alert DialgateNoWorkers show it.
    """
    return "draining" if view.is_draining else _dead(server)


def _dead(server: Server) -> str | None:
    """Return why only a restart helps."""
    return None if server.gate_is_alive() else "the handler of new connections' keys has died"


def _operator_token(broker: BrokerSettings) -> str:
    """Return the operators' token, which the configuration's check has found fit; or ""."""
    file = broker.operator_token_file
    return Path(file).read_text(encoding="utf-8").strip() if file else ""
