"""One port's shell: its device and its service, under the orders of its line.

It decides nothing but the pace: who sends faster than the other side takes is made to wait.

Invariants: at most one device and one service are open, and each is told of to the core exactly
once when it is gone; a service that was started is stopped, however its call ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

import structlog

from dialgate.settings import PortSettings, ServiceSettings
from port_agents.device import Device, PortError
from port_agents.direct import Direct
from port_agents.flow import Flow
from port_agents.handover import start_on_device, start_service
from port_agents.hook import run_hook
from port_agents.line_actions import (
    Action,
    CallBegan,
    KeepClosure,
    LineChanged,
    LineState,
    Record,
    ServiceWrite,
    StartService,
    StopService,
    WriteLine,
)
from port_agents.line_locks import LineLocks
from port_agents.modem_actions import Flush, Reopen, RunHook, SetDtr
from port_agents.port_device import PortDevice
from port_agents.port_events import PortEvents
from port_agents.serial_port import SerialPort
from port_agents.service_contract import Service, ServiceError

__all__ = ["Port"]

EARLY_BYTES_MAX: Final = 4096
"""What is kept of a caller's typing until his service is connected."""

_NO_CALL: Final = frozenset(
    {LineState.IDLE, LineState.DISABLED, LineState.FAULTED, LineState.QUARANTINED}
)

log = structlog.get_logger()


class Port(PortDevice):
    """One port.

    Args:
        settings: the port's.
        services: those of the configuration, by name.
        events: the agent.
        tasks: where services run.
        locks: where other programs' locks are; None: nowhere.
        grace_s: how long a service may take to end by itself.
    """

    def __init__(
        self,
        settings: PortSettings,
        services: Mapping[str, ServiceSettings],
        events: PortEvents,
        tasks: asyncio.TaskGroup,
        locks: LineLocks | None = None,
        *,
        grace_s: float = 1.0,
    ) -> None:
        super().__init__(settings, events, tasks, locks)
        self.bytes_lost = 0
        """Bytes that one side sent and the other had no room for."""
        self._services = services
        self._grace_s = grace_s
        self._service: Service | None = None
        self._serving: asyncio.Task[str] | None = None
        self._service_over = asyncio.Event()
        self._flow: Flow | None = None
        self._early = bytearray()
        """What the caller typed before his service was there."""

    def do(self, action: Action) -> None:
        """Perform what the line wants."""
        match action:
            case WriteLine() | SetDtr() | Flush():
                if self._device is not None:
                    self._do_device(self._device, action)
            case ServiceWrite(data):
                self._write_service(data)
            case Reopen(after_s):
                self._reopen_later(after_s)
            case StartService(_, _, first_input):
                self._early = bytearray(first_input)
                self._service_over.clear()
                self._serving = self._tasks.create_task(self._serve(action))
                # Not the task's own last step: one that is cancelled at once has no step at all.
                self._serving.add_done_callback(self._served)
            case StopService():
                assert self._serving is not None, "a service that was started is stopped"
                self._serving.cancel()
            case CallBegan(call):
                self._events.call_began(self.hport, call)
            case Record() | KeepClosure() | RunHook():
                self._do_beside(action)
            case LineChanged(state, reason):
                self._follow(state, reason)
            case _:
                raise AssertionError(f"{type(action).__name__} is the agent's to perform")

    def _do_beside(self, action: Record | KeepClosure | RunHook) -> None:
        match action:
            case Record():
                self._events.record(self.hport, action)
            case KeepClosure(closure):
                self._events.keep_closure(self.hport, closure)
            case RunHook(reason):
                log.warning("hook", hport=self.hport, command=self._settings.hook, reason=reason)
                self._tasks.create_task(self._run_hook())

    def _do_device(self, device: Device, action: WriteLine | SetDtr | Flush) -> None:
        match action:
            case WriteLine(data):
                if not device.write(data):
                    self.bytes_lost += len(data)
                self._balance()
            case SetDtr(on):
                device.set_dtr(on=on)
            case Flush():
                device.flush()

    def _follow(self, state: LineState, reason: str) -> None:
        log.info("line", hport=self.hport, state=str(state), reason=reason)
        if self._device is not None:
            self._device.watch_carrier(in_call=state not in _NO_CALL)
            if self._settings.dial_out:
                self._share(in_call=state not in _NO_CALL)

    # What the device tells.

    def on_bytes(self, data: bytes) -> None:
        """Pass on what was read."""
        self._events.receive(self.hport, data)

    def on_drained(self) -> None:
        """Let the service go on, and tell the line."""
        self._balance()
        self._events.drained(self.hport)

    async def _run_hook(self) -> None:
        settings = self._settings
        failure = await run_hook(
            settings.hook, self.hport, settings.device, settings.hook_timeout_s
        )
        self._events.hook_ended(self.hport, failure)

    # The service.

    async def _serve(self, start: StartService) -> str:
        """Run a service until it ends or this task is cancelled; return why it did not start."""
        service: Service | None = None
        try:
            service = await self._start(start)
            self._service = service
            if self._device is not None and not isinstance(service, Direct):
                knows_carrier = self._settings.dcd == "auto"
                self._flow = Flow(self._device, service, knows_carrier=knows_carrier)
            log.info("service started", hport=self.hport, service=start.name)
            if self._early:
                self._write_service(bytes(self._early))
            await self._service_over.wait()
        except ServiceError as error:
            reason = str(error)
            log.warning("service not started", hport=self.hport, service=start.name, reason=reason)
            return reason
        finally:
            self._service = None
            if self._flow is not None:
                self._flow.end()
                self._flow = None
            if service is not None and not await service.stop(self._grace_s):
                log.error("service not gone", hport=self.hport, service=start.name)
            if isinstance(service, Direct):
                self._events.passed_by(self.hport, service.passed)
                self._take_back()
        return ""

    async def _start(self, start: StartService) -> Service:
        settings, events = self._settings_of(start.name), _ServiceEvents(self)
        contact = self._events.expect_user(self.hport)
        if settings.direct:
            if isinstance(self._device, SerialPort):
                self._device.share()
            place = (self._device, self._settings.device)
            return await start_on_device(settings, start.admission, events, contact, place)
        return await start_service(settings, start.admission, events, contact)

    def _take_back(self) -> None:
        """Open the device anew that a direct service had; one that was lost is opened elsewhere."""
        if self._device is None:
            return
        self._device.close()
        try:
            self._device = self._open()
        except PortError as error:
            self._device = None
            self._events.closed(self.hport, str(error))
        else:
            self._device.watch_carrier(in_call=True)

    def _settings_of(self, name: str) -> ServiceSettings:
        """Return the settings of a service.

        Raises:
            ServiceError: this agent has none of that name.
        """
        settings = self._services.get(name)
        if settings is None:
            raise ServiceError(
                f"the verdict names a service that this agent doesn't have: add [services.{name}]"
            )
        return settings

    def _served(self, task: asyncio.Task[str]) -> None:
        failure = "" if task.cancelled() or task.exception() else task.result()
        self._events.service_ended(self.hport, failure)

    def _write_service(self, data: bytes) -> None:
        if self._service is None:
            # It is being connected, or ended by itself while this was under way.
            room = EARLY_BYTES_MAX - len(self._early)
            self._early += data[:room]
            self.bytes_lost += max(0, len(data) - room)
            return
        if not self._service.write(data):
            self.bytes_lost += len(data)
        self._balance()

    def _balance(self) -> None:
        if self._flow is not None:
            self._flow.adjust()

    def service_said(self, data: bytes) -> None:
        """Pass on the service's output."""
        self._events.service_output(self.hport, data)

    def service_took(self) -> None:
        """Let the caller go on."""
        self._balance()

    def service_went(self, reason: str) -> None:
        """Note that the service ended by itself."""
        log.info("service ended", hport=self.hport, reason=reason)
        self._service_over.set()


class _ServiceEvents:
    """Tells a port of its service."""

    def __init__(self, port: Port) -> None:
        self._port = port

    def on_output(self, data: bytes) -> None:
        self._port.service_said(data)

    def on_drained(self) -> None:
        self._port.service_took()

    def on_end(self, reason: str) -> None:
        self._port.service_went(reason)
