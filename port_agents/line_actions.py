"""What a line is set to and what it asks of its shell: the words of `line`.

Not the behaviour; that is `port_agents.line`.  `SetDtr`, `Flush` and `Reopen` (modem_actions) and
`Transmit` and `Unserved` (dialog_actions) are its actions, too.

Invariant: plain values; nothing here shows in `repr` what goes over the line.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

from dialgate.enums import direct_members
from dialgate.session import Transmit
from port_agents.call import Call
from port_agents.dialog_actions import Unserved
from port_agents.modem_actions import Flush, ModemSettings, Reopen, RunHook, SetDtr

__all__ = [
    "Action",
    "Admission",
    "CallBegan",
    "Closure",
    "KeepClosure",
    "LineChanged",
    "LineSettings",
    "LineState",
    "Record",
    "ServiceLimits",
    "ServiceWrite",
    "StartService",
    "StopService",
    "WriteLine",
]


@direct_members
class LineState(StrEnum):
    """A port as observers see it (protocol §4, verb 9)."""

    IDLE = "idle"
    RINGING = "ringing"
    ANSWERING = "answering"
    AUTHENTICATING = "authenticating"
    ONLINE = "online"
    HANGING_UP = "hanging-up"
    DISABLED = "disabled"
    FAULTED = "faulted"
    QUARANTINED = "quarantined"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class ServiceLimits:
    """What the configuration allows a service's callers; 0: no limit."""

    session_timeout_s: int = 0
    idle_timeout_s: int = 0
    is_direct: bool = False
    """It has the device itself: the line doesn't see whether it is idle."""
    is_raw: bool = False
    """Its callers are programs, as PPP's are, that can't read what people are told."""


@dataclass(frozen=True, slots=True)
class LineSettings:
    """One port."""

    hport: str
    site: str
    agent: str
    device: str
    service: str
    """For callers whose verdict names none that is in `services`."""
    services: Mapping[str, ServiceLimits]
    modem: ModemSettings = field(default_factory=ModemSettings)
    called: str = ""
    """The line's own telephone number; empty: not known."""
    is_direct: bool = False
    """Whether the line has no modem."""
    ppp_service: str = ""
    """For callers who speak PPP at the prompt, without a verdict; empty: they are refused."""
    silence_timeout_s: float = 0.0
    """How long a call may be silent where no modem line shows its end; 0: no limit."""
    when_down: Literal["ring", "busy", "answer"] = "answer"
    """What callers get while there is no broker."""
    parity_strip: bool = False
    dialog_max_s: float = 600.0
    last_word_timeout_s: float = 2.0
    """How long a hang-up waits for what was written to the caller to leave."""
    interim_s: int = 0
    """How often a record tells how a caller's stay goes on; 0: never."""


@dataclass(frozen=True, slots=True)
class Admission:
    """Who was admitted, on which call, and for how long: what a service is started with."""

    user: str
    domain: str
    attributes: Mapping[str, Any] = field(repr=False)
    """As the worker gave them with its verdict."""
    hport: str
    site: str
    call: bytes
    caller: str
    """The number that called; empty if it was not given.  Unverified."""
    connect_speed: int
    session_timeout_s: int
    """0: no limit."""
    idle_timeout_s: int


@dataclass(frozen=True, slots=True)
class WriteLine:
    """Write to the device.  An echo may hold an answer, so the bytes are not in `repr`."""

    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class StartService:
    """Start the service `name`; `first_input` is what the caller typed ahead for it."""

    name: str
    admission: Admission
    first_input: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class ServiceWrite:
    """Give the service what the caller sent."""

    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class StopService:
    """End the service and all it started; `service_ended` follows, in bounded time."""


@dataclass(frozen=True, slots=True)
class CallBegan:
    """Note durably that the call, as it is now, is under way.

    It is no record; if the agent is killed, its next start makes the call's stop record of it.
    """

    call: Call


@dataclass(frozen=True, slots=True)
class Record:
    """Keep a record of the call, as it is now, durably."""

    kind: Literal["start", "interim", "stop"]
    call: Call


@dataclass(frozen=True, slots=True)
class Closure:
    """Why an operator has closed a port to calls; it outlives the agent."""

    reason: str
    """For observers: the order, who gave it, and why."""
    is_busy: bool = False
    """Whether callers hear busy; else it rings."""


@dataclass(frozen=True, slots=True)
class KeepClosure:
    """Keep over restarts that the port is closed, or with None that it is not; `kept` follows."""

    closure: Closure | None


@dataclass(frozen=True, slots=True)
class LineChanged:
    """Observers see another state of this port now."""

    state: LineState
    reason: str
    """For the operator; empty where the state says it all."""


Action = (
    WriteLine
    | SetDtr
    | Flush
    | Reopen
    | RunHook
    | Transmit
    | Unserved
    | StartService
    | ServiceWrite
    | StopService
    | CallBegan
    | Record
    | KeepClosure
    | LineChanged
)
