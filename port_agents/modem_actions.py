"""What a modem is set to, what it reports and what its device is asked to do: the words of `modem`.

Not the behaviour; that is `port_agents.modem`.

Invariant: plain values, compared by content; nothing here holds a device or a clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Literal

from msgspec import Struct

from dialgate.codes import Code
from dialgate.enums import direct_members

__all__ = [
    "Action",
    "Armed",
    "CallEnded",
    "Caller",
    "CallerBytes",
    "CallerNumber",
    "Connected",
    "Faulted",
    "Flush",
    "InitAnswer",
    "ModemCounters",
    "ModemLines",
    "ModemSettings",
    "ModemState",
    "Reopen",
    "Ringing",
    "RunHook",
    "SetDtr",
    "Write",
]


@direct_members
class ModemState(Enum):
    """Where a modem stands, as observers are told."""

    CLOSED = "closed"
    """The device is not open."""
    INITIALISING = "initialising"
    """The init commands are being sent."""
    IDLE = "idle"
    """Armed: on-hook, initialised, waiting for RING."""
    RINGING = "ringing"
    """A call is there and has not been answered yet."""
    ANSWERING = "answering"
    """The answer command is out, or its CONNECT waits for DCD."""
    CONNECTED = "connected"
    """Data mode: what arrives is the caller's."""
    HANGING_UP = "hanging-up"
    """DTR is low, or the escape sequence is under way."""
    OFF_HOOK = "off-hook"
    """Callers hear busy, by order: nothing is answered."""
    FAULTED = "faulted"
    """The modem can't serve; the next rung of the ladder follows soon."""
    QUARANTINED = "quarantined"
    """The whole ladder didn't help; it is tried again by itself, seldom."""


class CallerNumber(Enum):
    """What the exchange said about the number that calls."""

    ABSENT = "absent"
    """Nothing: no caller id, or none before CONNECT."""
    GIVEN = "given"
    WITHHELD = "withheld"
    """`P`: the caller withholds it."""
    OUT_OF_AREA = "out-of-area"
    """`O`: the exchange does not know it."""


class Caller(Struct, frozen=True, gc=False):
    """Caller id, as far as it came.  Unverified: anyone who has an exchange can forge it."""

    presentation: CallerNumber = CallerNumber.ABSENT
    number: str = ""
    """Printable ASCII; set only with GIVEN."""
    name: str = ""
    date: str = ""
    """MMDD, as the exchange has it."""
    time: str = ""
    """HHMM, as the exchange has it."""


@dataclass(frozen=True, slots=True)
class ModemLines:
    """The modem lines of a device that has them, as last seen."""

    dcd: bool
    dsr: bool
    ri: bool
    cts: bool


@dataclass(frozen=True, slots=True)
class ModemSettings:
    """How one modem is worked."""

    init: tuple[str, ...] = ("ATZ", "ATE0Q0V1X4&C1&D2S0=0")
    """Sent one by one, each answered OK.  Needed from them: results on, V1 where `dcd` is ignored,
    &C1 and &D2 where it is not, no automatic answer."""
    answer: str = "ATA"
    rings: int = 1
    """RINGs to wait for before answering, 1 or more."""
    dcd: Literal["auto", "ignore"] = "auto"
    """"ignore" is required where the device has no modem lines (PTYs)."""
    hangup: Literal["auto", "dtr", "escape"] = "auto"
    """"auto": DTR where DCD is watched, else the escape sequence."""
    caller_id_wait_ms: int = 0
    """Pause between the last RING waited for and the answer, for caller id lines still to come."""
    command_timeout_s: float = 5.0
    answer_timeout_s: float = 60.0
    ring_timeout_s: float = 10.0
    """Silence after a RING by which the caller has given up."""
    escape_guard_ms: int = 1000
    """Silence before and after `+++`; more than the modem's S12, or a caller may outlast it."""
    dtr_low_ms: int = 1000
    refused_callers: tuple[str, ...] = ()
    """Patterns (`fnmatch.fnmatchcase`) of numbers whose calls are not answered: it just rings."""
    dcd_debounce_ms: int = 0
    """How long DCD must stay down for a call to be over; 0: no moment."""
    probe_interval_s: float = 0.0
    """How often an idle modem is asked whether it is there; 0: never."""
    has_hook: bool = False
    """Whether the operator has a command for modems that nothing else brings back."""
    hook_timeout_s: float = 60.0
    fault_retry_s: tuple[float, ...] = (1.0, 2.0, 5.0, 10.0, 30.0)
    """Waits before the first, second … new try of a faulted or closed modem; the last one stays."""
    quarantine_retry_s: tuple[float, ...] = (60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)
    """Likewise of a quarantined one."""


class ModemCounters(Struct):
    """Running totals of one modem; plain integers, read when metrics are scraped."""

    long_lines: int = 0
    """Result lines over the limit, discarded."""
    unknown_lines: int = 0
    """Lines that say nothing to us: echo, product names, noise."""
    stray_results: int = 0
    """Known results at a moment when they mean nothing, such as RING during a call."""
    unasked_carriers: int = 0
    """Carrier or CONNECT that nobody asked for; hung up at once."""
    dropped_bytes: int = 0
    """Bytes of no call, or typed ahead beyond the limit while DCD was awaited."""
    faults: int = 0
    quarantines: int = 0
    probes: int = 0
    """AT commands to an idle modem."""
    bounces: int = 0
    """Times that DCD was down for less than the debounce in a call."""


@dataclass(frozen=True, slots=True)
class InitAnswer:
    """What the modem said to one command, the last time it was made ready or asked."""

    command: str
    answer: str
    """Printable ASCII; empty: nothing."""
    took_ms: int


@dataclass(frozen=True, slots=True)
class Write:
    """Write these bytes to the device."""

    data: bytes


@dataclass(frozen=True, slots=True)
class SetDtr:
    """Raise or drop DTR."""

    on: bool


@dataclass(frozen=True, slots=True)
class Flush:
    """Discard what the driver holds, in both directions."""


@dataclass(frozen=True, slots=True)
class Ringing:
    """A RING, or the caller id of a call that is not answered; the first RING begins a call."""

    count: int
    caller: Caller
    """As known by now."""


@dataclass(frozen=True, slots=True)
class Connected:
    """The call is up; what follows is between the caller and us."""

    caller: Caller
    connect_speed: int
    """Bit/s as the modem said, 0 if it did not."""
    connect_text: str
    """The whole CONNECT line, printable ASCII."""


@dataclass(frozen=True, slots=True)
class CallerBytes:
    """What the caller sent after CONNECT."""

    data: bytes


@dataclass(frozen=True, slots=True)
class CallEnded:
    """The call is over, answered or not.

    Comes once for each call that `Ringing` or `Connected` began, except after `hang_up`, whose
    caller knows.
    """

    code: Code


@dataclass(frozen=True, slots=True)
class Armed:
    """The modem waits for the next call."""


@dataclass(frozen=True, slots=True)
class Faulted:
    """The modem can't serve; it is tried again by itself."""

    reason: str
    """For the operator: the command, what the modem said to it (control characters escaped), the
    remedy."""


@dataclass(frozen=True, slots=True)
class Reopen:
    """Open the device anew, closing it first if it is open; `opened` or `closed` tells how."""

    after_s: float


@dataclass(frozen=True, slots=True)
class RunHook:
    """Run the operator's command, for example to cycle the modem's power; `hook_ended` follows."""

    reason: str
    """Why the modem can't serve."""


Action = (
    Write
    | SetDtr
    | Flush
    | Ringing
    | Connected
    | CallerBytes
    | CallEnded
    | Armed
    | Faulted
    | Reopen
    | RunHook
)
