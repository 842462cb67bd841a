"""The program: one port agent, from its configuration to its end.

A shell around `port_agents.agent`: it hands on what links, devices, services and the clock say, and
performs what the core makes of it.  It decides nothing.

Invariant: what was asked of the core is performed before it is asked again, in its order.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, Final, NoReturn

import structlog
import uuid_utils

from dialgate import http
from dialgate.codes import Code
from dialgate.errors import DialgateError
from dialgate.lifecycle import Life
from dialgate.lifecycle import main as live
from dialgate.links import Links, link_name
from dialgate.records import CallFacts, CallRecord, read_unfinished
from dialgate.settings import Settings, require
from dialgate.telemetry import new_registry
from dialgate.text import counted
from port_agents.agent import Agent
from port_agents.agent_actions import Action, Finished, OnPort
from port_agents.brokers import Brokers
from port_agents.call import Call, Disconnect, Passed
from port_agents.call_records import facts_of, stop_of_interrupted
from port_agents.closures import Closures, closures_file, read_closures
from port_agents.descriptors import raise_limit
from port_agents.line_actions import Closure, Record
from port_agents.line_locks import LineLocks
from port_agents.line_settings import line_settings
from port_agents.metrics import AgentMetrics, new_counters
from port_agents.modem_actions import ModemLines
from port_agents.port import Port
from port_agents.processes import kill_left_over
from port_agents.record_sender import LoadRecords, MarkStored, hold_reason
from port_agents.service_users import ServiceUsers
from port_agents.spool import Spool

__all__ = ["main"]

STOP_S: Final = 2.0
"""How long an agent that is stopped at once waits for its ENDs to be answered, on top of what
services may take to end: only then are its calls recorded."""

log = structlog.get_logger()


def main(argv: Sequence[str]) -> int:
    """Run a port agent; return its exit status."""
    return live("agent", serve, argv)


async def serve(settings: Settings, life: Life) -> None:
    """Serve the ports until the life stops, then drain."""
    agent = require(settings, "agent")
    if missing := raise_limit(len(agent.lines)):
        log.warning("descriptors", reason=missing)
    spool = await Spool.open(
        agent.spool,
        lambda text: log.error("spool", reason=text),
        records_max=agent.spool_records_max,
    )
    try:
        async with asyncio.TaskGroup() as tasks:
            shell = Shell(settings, spool, tasks)
            try:
                shell.open_ports()
                app = http.build_app(
                    registry=new_registry(shell.metrics), ready=shell.why_not_ready
                )
                async with (
                    http.serve(app, agent.http),
                    shell.service_users.serving(),
                ):
                    # Now ports and addresses are ours: no other agent can be having those calls.
                    await shell.end_interrupted_calls()
                    shell.start()
                    life.ready(f"serving {counted(len(agent.lines), 'port')}")
                    await life.stopping.wait()
                    await shell.drain()
            except asyncio.CancelledError:
                await shell.stop()
                raise
            finally:
                shell.close()
    finally:
        await spool.close()


class Shell:
    """Everything of an agent that is not pure.

    Args:
        settings: the whole file's.
        spool: where records are kept.
        tasks: where services run.
    """

    def __init__(self, settings: Settings, spool: Spool, tasks: asyncio.TaskGroup) -> None:
        agent = require(settings, "agent")
        self._settings = agent
        self._spool = spool
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._armed_for = math.inf
        self._finished = asyncio.Event()
        self._telling: asyncio.Task[NoReturn] | None = None
        self._on_spool: set[asyncio.Task[None]] = set()
        """Loads and marks that are under way; the spool's thread does them in order."""
        self._held_for = ""
        """Why no calls are answered for the time being."""
        closed = closures_file(agent.spool)
        closures = read_closures(closed)
        self._closures = Closures(closed, closures, self.closure_kept)
        self._agent = Agent(
            Brokers(
                agent.name,
                [link_name(x) for x in agent.brokers],
                [link_name(x) for x in agent.local_brokers],
            ),
            [line_settings(settings, port) for port in agent.lines],
            new_counters(),
            new_id,
            order_timeout_s=agent.order_timeout_s,
        )
        self._agent.restore(closures)
        keys = None if agent.insecure else settings.cluster.keys
        self._links = Links("agent", agent.name, keys, site=agent.site)
        self._links.connect([*agent.brokers, *agent.local_brokers], self._agent, self.perform)
        locks = LineLocks(agent.locks) if agent.locks else None
        self._ports = {
            port.hport: Port(
                port, settings.services, self, tasks, locks, grace_s=agent.service_stop_timeout_s
            )
            for port in agent.lines
        }
        self.metrics: Final = AgentMetrics(
            self._agent,
            agent.site,
            self._links.links,
            spool,
            lambda: sum(port.bytes_lost for port in self._ports.values()),
        )
        self.service_users: Final = ServiceUsers(
            agent.service_socket_path, self._judge_user, self._agent.counters.service_users
        )

    # Life.

    def open_ports(self) -> None:
        """Open every device.

        Raises:
            ExceptionGroup: of a PortError for each device that can't be used.
        """
        errors: list[DialgateError] = []
        for port in self._ports.values():
            try:
                port.open()
            except DialgateError as error:
                errors.append(error)
        if errors:
            raise ExceptionGroup("ports that can't be opened", errors)

    async def end_interrupted_calls(self) -> None:
        """End and record the calls during which this agent was killed the last time.

        What their services left is killed, and their lines are hung up before they are armed.

        Raises:
            SpoolError: the spool can't be read.
        """
        agent = self._settings
        unfinished = await asyncio.to_thread(read_unfinished, agent.spool, agent.name)
        killed = await kill_left_over(unfinished)
        self._agent.distrust(facts.hport for facts in unfinished.values())
        for call, facts in unfinished.items():
            stop = stop_of_interrupted(call, facts, record=new_id(), made_at=time.time())
            self._spool.keep(stop)
        self._agent.counters.calls[Disconnect.AGENT_RESTART] += len(unfinished)
        if unfinished:
            calls = len(unfinished)
            log.warning("calls were cut off when the agent died", calls=calls, killed=killed)

    def start(self) -> None:
        """Begin to look for a broker, and make the modems ready."""
        self._telling = self._loop.create_task(self._links.tell_refusals())
        self._spool.on_written = self._spool_written
        self.perform(self._agent.start(time.monotonic()))
        for port in self._ports.values():
            port.start()

    async def drain(self) -> None:
        """Answer no calls any more, and return when those that are there have ended."""
        self.perform(self._agent.drain(time.monotonic()))
        await self._finished.wait()

    async def stop(self) -> None:
        """End all calls, and give workers and modems a moment to take note."""
        self.perform(self._agent.stop(time.monotonic()))
        try:
            async with asyncio.timeout(self._settings.service_stop_timeout_s + STOP_S):
                await self._finished.wait()
        except TimeoutError:
            log.warning("stopped before every END was answered")

    def close(self) -> None:
        """Close devices and links."""
        if self._timer is not None:
            self._timer.cancel()
        self._spool.on_written = lambda: None
        for task in (*self._on_spool, *([self._telling] if self._telling else ())):
            task.cancel()
        for port in self._ports.values():
            port.close()
        self._links.close()

    def why_not_ready(self) -> str | None:
        """Return why calls can't be authenticated now; None when they can."""
        if self._agent.is_draining:
            return "draining"
        return None if self._agent.brokers.home is not None else "no broker answers"

    # What ports tell.

    def opened(self, hport: str, lines: ModemLines | None) -> None:
        """Tell the core that a device is open."""
        self.perform(self._agent.opened(hport, lines, time.monotonic()))

    def closed(self, hport: str, reason: str) -> None:
        """Tell the core that a device is gone, or did not open."""
        self.perform(self._agent.closed(hport, reason, time.monotonic()))

    def receive(self, hport: str, data: bytes) -> None:
        """Tell the core what a device said."""
        self.perform(self._agent.receive(hport, data, time.monotonic()))

    def lines_changed(self, hport: str, lines: ModemLines) -> None:
        """Tell the core how modem lines are."""
        self.perform(self._agent.lines_changed(hport, lines, time.monotonic()))

    def drained(self, hport: str) -> None:
        """Tell the core that all that was written has left."""
        self.perform(self._agent.drained(hport, time.monotonic()))

    def service_output(self, hport: str, data: bytes) -> None:
        """Tell the core what a service said."""
        self.perform(self._agent.service_output(hport, data, time.monotonic()))

    def expect_user(self, hport: str) -> Mapping[str, str]:
        """Return where a service that starts now may name its user."""
        return self.service_users.expect(hport)

    def _judge_user(self, hport: str, name: str) -> bool:
        """Tell the core whom a service knows its caller as; return whether that is right."""
        same, actions = self._agent.service_user(hport, name, time.monotonic())
        self.perform(actions)
        return same

    def passed_by(self, hport: str, passed: Passed | None) -> None:
        """Tell the core what a direct service moved over the line."""
        self._agent.lines[hport].passed_by(passed)

    def service_ended(self, hport: str, failure: str) -> None:
        """Tell the core that a service is gone."""
        self.service_users.forget(hport)
        self.perform(self._agent.service_ended(hport, failure, time.monotonic()))

    def call_began(self, hport: str, call: Call) -> None:
        """Note that a call is under way."""
        self._spool.note(call.id, self._facts(hport, call, time.time()))

    def hook_ended(self, hport: str, failure: str) -> None:
        """Tell the core that an operator's hook has ended."""
        self.perform(self._agent.hook_ended(hport, failure, time.monotonic()))

    def keep_closure(self, hport: str, closure: Closure | None) -> None:
        """Keep over restarts that a port is closed, or is not."""
        self._closures.keep(hport, closure)

    def closure_kept(self, hport: str, code: Code) -> None:
        """Tell the core what became of that."""
        if not code.ok:
            log.error("closure not kept", hport=hport)
        self.perform(self._agent.closure_kept(hport, code, time.monotonic()))

    def record(self, hport: str, record: Record) -> None:
        """Keep a record of a call."""
        made_at = time.time()
        self._spool.keep(
            CallRecord(
                record=new_id(),
                call=record.call.id,
                kind=record.kind,
                made_at=made_at,
                facts=self._facts(hport, record.call, made_at),
            )
        )

    def _facts(self, hport: str, call: Call, made_at: float) -> CallFacts:
        offset_s = made_at - time.monotonic()
        return facts_of(
            call, (self._settings.site, self._settings.name, hport), clock_offset_s=offset_s
        )

    # What the core wants.

    def perform(self, actions: Sequence[Action]) -> None:
        """Perform actions of the core, in order, and wake it when it wants to be."""
        for action in actions:
            match action:
                case OnPort(hport, wanted):
                    self._ports[hport].do(wanted)
                case LoadRecords(after, limit):
                    self._soon(self._load_records(after, limit))
                case MarkStored(records):
                    self._soon(self._mark_stored(records))
                case Finished():
                    self._finished.set()
                case _:
                    self._links.do(action)
        self._arm()

    def _soon(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._on_spool.add(task)
        task.add_done_callback(self._on_spool.discard)

    async def _load_records(self, after: int, limit: int) -> None:
        records = await self._spool.load(after, limit)
        self.perform(self._agent.records.loaded(records, time.monotonic()))

    async def _mark_stored(self, records: Sequence[bytes]) -> None:
        await self._spool.mark_stored(records)
        self._hold_calls()

    def _spool_written(self) -> None:
        """Tell the core of new records, and whether calls may still be answered."""
        self.perform(self._agent.records.kept())
        self._hold_calls()

    def _hold_calls(self) -> None:
        held_for = hold_reason(
            self._settings.when_unrecorded,
            is_full=self._spool.is_full,
            is_overdue=self._agent.records.is_overdue,
        )
        if held_for != self._held_for:
            self._held_for = held_for
            log.warning(
                "calls and their records", held_for=held_for or "nothing: calls are answered"
            )
            self.perform(self._agent.hold(held_for, time.monotonic()))

    def _arm(self) -> None:
        deadline = self._agent.deadline()
        if deadline == self._armed_for:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._armed_for = deadline
        self._timer = None
        if deadline < math.inf:
            wait_s = max(0.0, deadline - time.monotonic())
            self._timer = self._loop.call_later(wait_s, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._armed_for = math.inf
        self.perform(self._agent.tick(time.monotonic()))
        self._hold_calls()


def new_id() -> bytes:
    """Return a UUIDv7 (RFC 9562)."""
    made: bytes = uuid_utils.uuid7().bytes
    return made
