"""A port agent's process in virtual time: the real core, its devices, services and spool.

The modems are not its own: they stay when it is killed (`simulator.telephone`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, Protocol

from dialgate.histogram import ANSWER_BOUNDS_S, Histogram
from dialgate.session import (
    CloseLink,
    OpenLink,
    SessionClosed,
    SessionEvent,
    SessionOpened,
    Transmit,
)
from dialgate.wire.verbs import Role
from port_agents.agent import Agent
from port_agents.agent_actions import Action, OnPort
from port_agents.brokers import Brokers
from port_agents.call import Call
from port_agents.counters import AgentCounters
from port_agents.line_actions import (
    CallBegan,
    LineSettings,
    Record,
    ServiceLimits,
    ServiceWrite,
    StartService,
    StopService,
    WriteLine,
)
from port_agents.modem_actions import ModemLines, ModemSettings, Reopen, SetDtr
from port_agents.record_sender import LoadRecords, MarkStored, Spooled
from port_agents.simulated_modem import LinesChanged
from simulator.hosts import Peer, Surroundings
from simulator.telephone import FromModem, Telephone

__all__ = ["AgentHost", "Services", "modem_lines"]

MODEM: Final = ModemSettings(
    init=("ATZ", "ATE0Q0V1X4&C1&D2S0=0+VCID=1"), caller_id_wait_ms=500, answer_timeout_s=20.0
)
DRAIN_S: Final = 0.01
"""Until what was written has left the driver."""


class Services(Protocol):
    """What stands behind the gate, and the durable store of one machine."""

    def opened(self, agent: AgentHost, hport: str, start: StartService) -> None:
        """Take a caller."""
        ...

    def written(self, agent: AgentHost, hport: str, data: bytes) -> None:
        """Take what he sends."""
        ...

    def stop(self, agent: AgentHost, hport: str) -> None:
        """Let him go."""
        ...

    def began(self, agent: AgentHost, hport: str, call: Call) -> None:
        """Note that a call is under way."""
        ...

    def keep(self, agent: AgentHost, hport: str, record: Record) -> None:
        """Keep a record."""
        ...

    def load(self, agent: AgentHost, after: int, limit: int) -> None:
        """Read records that no broker has stored yet."""
        ...

    def stored(self, agent: AgentHost, records: Sequence[bytes]) -> None:
        """Note that a broker has stored records."""
        ...


class AgentHost(Peer):
    """One port agent."""

    def __init__(
        self,
        world: Surroundings,
        name: str,
        brokers: Sequence[str],
        telephones: dict[str, Telephone],
        services: Services,
        *,
        dialog_max_s: float,
    ) -> None:
        super().__init__(world, name, Role.AGENT, site=f"site-{name}")
        self.telephones: Final = telephones
        self.touched: set[str] = set()
        """Ports that this turn was about."""
        self._services = services
        self._undrained: dict[str, int] = {}
        self._last_id = 0
        self.dialog_max_s: Final = dialog_max_s
        counters = AgentCounters(Histogram(ANSWER_BOUNDS_S), Histogram(ANSWER_BOUNDS_S))
        settings = [
            LineSettings(
                hport=hport,
                site=self.site,
                agent=name,
                device="simulated",
                service="console",
                services={"console": ServiceLimits(session_timeout_s=40, idle_timeout_s=20)},
                modem=MODEM,
                dialog_max_s=dialog_max_s,
            )
            for hport in telephones
        ]
        self.core: Final = Agent(Brokers(name, brokers), settings, counters, self.new_id)

    def new_id(self) -> bytes:
        """Return 16 bytes that nobody else gives."""
        self._last_id += 1
        return self.instance[:8] + self._last_id.to_bytes(8, "big")

    def start(self) -> None:
        """Look for a broker and open the devices."""
        now = self.timeline.now
        self._perform(self.core.start(now))
        for hport, telephone in self.telephones.items():
            telephone.attach(self)
            self._perform(self.core.opened(hport, modem_lines(telephone.lines), now))

    def on_event(self, link: str, session: int, event: SessionEvent) -> None:
        """Let the core work on one event of a link."""
        now = self.timeline.now
        match event:
            case SessionOpened():
                self._perform(self.core.session_opened(link, event.session, event.welcome, now))
            case SessionClosed():
                self.world.session_over(self, event.session)
                self._perform(self.core.session_closed(event.session, event.code, now))
            case _:
                verb, dialog, attempt, body, _ = event
                self.world.heard(self, session, verb, dialog, attempt, body)
                self._perform(self.core.message(session, verb, dialog, attempt, body, now))

    # What devices and services tell.

    def from_modem(self, hport: str, said: FromModem) -> None:
        """Take what the modem did, in order."""
        now = self.timeline.now
        for each in said:
            if isinstance(each, bytes):
                self._perform(self.core.receive(hport, each, now))
            else:
                self._perform(self.core.lines_changed(hport, modem_lines(each), now))
        self.touched.add(hport)

    def drained(self, hport: str, writes: int) -> None:
        """Take note that what was written has left."""
        if self._undrained.get(hport) == writes:
            self._perform(self.core.drained(hport, self.timeline.now))
            self.touched.add(hport)

    def opened(self, hport: str) -> None:
        """Open a device again."""
        lines = modem_lines(self.telephones[hport].lines)
        self._perform(self.core.opened(hport, lines, self.timeline.now))
        self.touched.add(hport)

    def unplugged(self, hport: str) -> None:
        """Lose a device."""
        self._perform(self.core.closed(hport, "unplugged", self.timeline.now))
        self.touched.add(hport)

    def service_said(self, hport: str, data: bytes) -> None:
        """Take a service's output."""
        self._perform(self.core.service_output(hport, data, self.timeline.now))
        self.touched.add(hport)

    def service_ended(self, hport: str) -> None:
        """Take note that a service is gone."""
        self._perform(self.core.service_ended(hport, "", self.timeline.now))
        self.touched.add(hport)

    # What its disk tells.

    def records_kept(self) -> None:
        """Take note that there is something new in the spool."""
        self._perform(self.core.records.kept())

    def records_loaded(self, records: Sequence[Spooled]) -> None:
        """Take what was read from the spool."""
        self._perform(self.core.records.loaded(records, self.timeline.now))

    # Shell.

    def deadline(self, *, anew: bool = False) -> float:
        """Return when a link or the core is due."""
        if anew or self._links_due == -math.inf:
            self.look_at_links()
        return min(self.core.deadline(), self._links_due)

    def tick(self) -> None:
        """Do what time asks for."""
        super().tick()
        if self.core.deadline() <= self.timeline.now:
            self._perform(self.core.tick(self.timeline.now))

    def look(self) -> None:
        """Let the world look at the ports that the turn was about."""
        if self.touched:
            self.world.turned(self)

    def kill(self) -> None:
        """Go; the devices are closed, so the modems lose DTR."""
        super().kill()
        for telephone in self.telephones.values():
            telephone.detach()

    def _perform(self, actions: Sequence[Action]) -> None:
        for action in actions:
            match action:
                case Transmit():
                    self.transmit(action)
                case OnPort(hport, wanted):
                    self.touched.add(hport)
                    self._on_port(hport, wanted)
                case LoadRecords(after, limit):
                    self._services.load(self, after, limit)
                case MarkStored(records):
                    self._services.stored(self, records)
                case OpenLink(address):
                    self.open_link(address)
                case CloseLink(address):
                    self.stop_link(address)
                case _:
                    pass

    def _on_port(self, hport: str, action: object) -> None:
        telephone = self.telephones[hport]
        match action:
            case WriteLine(data):
                telephone.write(data)
                writes = self._undrained[hport] = self._undrained.get(hport, 0) + 1
                self.timeline.after(DRAIN_S, self.turn, self.drained, hport, writes)
            case SetDtr(on):
                telephone.set_dtr(on)
            case Reopen(after_s):
                self.timeline.after(after_s, self.turn, self.opened, hport)
            case StartService():
                self._services.opened(self, hport, action)
            case ServiceWrite(data):
                self._services.written(self, hport, data)
            case StopService():
                self._services.stop(self, hport)
            case CallBegan(call):
                self._services.began(self, hport, call)
            case Record():
                self._services.keep(self, hport, action)
            case _:
                pass  # Nothing is under way on this line, and nobody looks at its state.


def modem_lines(lines: LinesChanged) -> ModemLines:
    """Return a device's lines as the core takes them."""
    return ModemLines(dcd=lines.dcd, dsr=True, ri=lines.ri, cts=True)
