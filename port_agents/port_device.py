"""One port's device: opened, lost and opened again, locked and let go.

A shell: when the device is opened anew is the line's decision; what is decided here is only who
else may have it, by lock files.  `port_agents.port` builds the port on it.

Invariants: at most one device is open; that it is gone is told once; a lock is held only with the
device open, and with `dial_out` only in a call.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

import structlog

from dialgate.settings import PortSettings
from dialgate.settings.endpoints import TERMINAL_SERVER
from port_agents.device import Device, PortError, PortListener
from port_agents.line_locks import LineLocks
from port_agents.modem_actions import ModemLines
from port_agents.network_port import connect_port
from port_agents.port_events import PortEvents
from port_agents.serial_port import open_port

__all__ = ["PortDevice"]

LOCK_POLL_S: Final = 1.0
"""How often an idle line is looked at for another program's lock."""

log = structlog.get_logger()


class PortDevice(PortListener):
    """The device of one port.

    Args:
        settings: the port's.
        events: the agent.
        tasks: where connections to terminal servers are made.
        locks: where other programs' locks are; None: nowhere.
    """

    def __init__(
        self,
        settings: PortSettings,
        events: PortEvents,
        tasks: asyncio.TaskGroup,
        locks: LineLocks | None,
    ) -> None:
        self.hport: Final = settings.hport
        self._settings = settings
        self._events = events
        self._tasks = tasks
        self._loop = asyncio.get_running_loop()
        self._is_remote: Final = settings.device.startswith(TERMINAL_SERVER)
        self._locks = None if self._is_remote else locks
        self._absent = ""
        """Why the device could not be opened for the first time, though it may be later."""
        self._watch: asyncio.TimerHandle | None = None
        self._device: Device | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._reopen_timer: asyncio.TimerHandle | None = None

    def open(self) -> None:
        """Open the device for the first time; one behind a terminal server not before `start`.

        One that another program has locked, or a USB adapter that is not plugged in, is waited for.

        Raises:
            PortError: it can't be opened, or has no modem lines and needs them.
        """
        if self._is_remote:
            return
        try:
            self._device = self._open()
        except PortError as error:
            if not self._may_come:
                raise
            self._absent = str(error)
            return
        lines = self._device.lines()
        if lines is None and self._settings.modem and self._settings.dcd == "auto":
            self.close()
            raise PortError(
                f"{self._settings.device}: has no modem lines, so the end of a call is not seen: "
                f'set dcd = "ignore" for port {self.hport}'
            )

    def start(self) -> None:
        """Tell the agent of the open device."""
        if self._is_remote:
            self._reopen()
        elif self._device is None:
            self._events.closed(self.hport, self._absent)
        else:
            self._is_open(self._device)

    def close(self) -> None:
        """Close the device, and open it no more; a service is ended by its task's end."""
        if self._reopen_timer is not None:
            self._reopen_timer.cancel()
        if self._connecting is not None:
            self._connecting.cancel()
        self._let_go()

    def on_lines(self, lines: ModemLines) -> None:
        """Pass on how the modem lines are."""
        self._events.lines_changed(self.hport, lines)

    def on_lost(self, reason: str) -> None:
        """Pass on that the device is gone."""
        self._device = None
        self._unlock()
        log.warning("device lost", hport=self.hport, device=self._settings.device, reason=reason)
        self._events.closed(self.hport, f"{self._settings.device}: {reason}")

    def _open(self) -> Device:
        """Open the device, locked unless others may dial out.

        Raises:
            PortError: another program has it, or it can't be opened.
        """
        device = self._settings.device
        if self._locks is not None:
            self._locks.take(device)
        try:
            opened = open_port(self._settings, self)
        except PortError:
            self._unlock()
            raise
        if self._settings.dial_out:
            self._unlock()
        return opened

    @property
    def _may_come(self) -> bool:
        """Whether the device may be had later: its USB adapter, or from the program that has it."""
        device = self._settings.device
        is_unplugged = device.startswith("/dev/serial/") and not Path(device).exists()
        return is_unplugged or (self._locks is not None and bool(self._locks.holder(device)))

    def _is_open(self, device: Device) -> None:
        self._events.opened(self.hport, device.lines())
        if self._settings.dial_out and self._locks is not None and self._watch is None:
            self._watch = self._loop.call_later(LOCK_POLL_S, self._look_for_lock)

    async def _connect(self) -> None:
        """Connect to a device behind a terminal server, and tell of it or why there is none."""
        try:
            self._device = await connect_port(self._settings, self)
        except PortError as error:
            self._connecting = None
            self._events.closed(self.hport, str(error))
            return
        self._connecting = None
        self._events.opened(self.hport, self._device.lines())

    def _reopen_later(self, after_s: float) -> None:
        if self._reopen_timer is not None:
            self._reopen_timer.cancel()
        self._reopen_timer = self._loop.call_later(after_s, self._reopen)

    def _reopen(self) -> None:
        self._reopen_timer = None
        if self._connecting is not None:
            return
        self._let_go()
        if self._is_remote:
            self._connecting = self._tasks.create_task(self._connect())
            return
        try:
            self._device = self._open()
        except PortError as error:
            self._events.closed(self.hport, str(error))
            return
        self._is_open(self._device)

    def _look_for_lock(self) -> None:
        """Let go of an idle line that another program has locked."""
        self._watch = None
        if self._device is None or self._locks is None:
            return
        if holder := self._locks.holder(self._settings.device):
            self._give_way(f"{self._settings.device}: in use by {holder}")
        else:
            self._watch = self._loop.call_later(LOCK_POLL_S, self._look_for_lock)

    def _give_way(self, reason: str) -> None:
        self._let_go()
        self._loop.call_soon(self._events.closed, self.hport, reason)

    def _share(self, *, in_call: bool) -> None:
        """Have a line that others may dial out on for ourselves in a call, and only then."""
        if not in_call:
            self._unlock()
        elif self._locks is not None:
            try:
                self._locks.take(self._settings.device)
            except PortError as error:
                self._give_way(str(error))

    def _let_go(self) -> None:
        """Close the device, if it is open, and unlock it."""
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        if self._device is not None:
            self._device.close()
            self._device = None
            self._unlock()

    def _unlock(self) -> None:
        if self._locks is not None:
            self._locks.release(self._settings.device)
