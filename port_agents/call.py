"""One call, from its first ring to the end of everything it brought with it.

Pure.  What the line notes as the call goes on, and what records, services and counters are made of.
Times are `now` of the agent's clock (seconds, monotonic); the shell knows what the wall clock said.

Invariant: the first disconnect reason stands; nothing here is a caller's answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from msgspec import Struct

from dialgate.codes import NO_ERROR, Code, Raserror
from dialgate.enums import direct_members
from dialgate.wire.record import STEPS_MAX
from port_agents.dialog_actions import Verdict
from port_agents.modem_actions import Caller

__all__ = [
    "Call",
    "DialogOutcome",
    "Disconnect",
    "Happening",
    "Passed",
    "Step",
    "disconnect_for",
]

STEPS_FIRST: Final = STEPS_MAX // 2
"""Of more steps than a record tells, so many of the first are kept, and the rest of the last."""


@direct_members
class Disconnect(StrEnum):
    """Why a call is over: a closed set, fit for records and labels."""

    UNANSWERED = "unanswered"
    """Who rang gave up, or the port answered no calls."""
    NUMBER_REFUSED = "number-refused"
    """Who rang called from a number that the agent doesn't answer."""
    NO_CONNECTION = "no-connection"
    """The modems did not come to terms."""
    CALLER = "caller"
    """The caller hung up, or the telephone network did."""
    REFUSED = "refused"
    """The user was refused: FAILURE."""
    UNDECIDED = "undecided"
    """Nobody could decide: ERROR."""
    SERVICE_ENDED = "service-ended"
    SERVICE_FAILED = "service-failed"
    """The service could not be started."""
    USER_MISMATCH = "user-mismatch"
    """The service knows the caller as another user than the one that was admitted."""
    SESSION_TIMEOUT = "session-timeout"
    IDLE_TIMEOUT = "idle-timeout"
    OPERATOR = "operator"
    PORT_FAULT = "port-fault"
    AGENT_STOPPED = "agent-stopped"
    PPP_REFUSED = "ppp-refused"
    """The caller spoke PPP at the prompt, and no service is named for that."""
    AGENT_RESTART = "agent-restart"
    """The agent was killed, or its machine; its next start says so of the calls it then had."""


@direct_members
class Happening(StrEnum):
    """What can happen in a call, for those who look at it later: a closed set."""

    RANG = "rang"
    """The line gave the first sign of the call."""
    CONNECTED = "connected"
    BEGUN = "begun"
    """BEGIN was sent; the detail is its attempt."""
    ASKED = "asked"
    """A worker asked the caller; the detail is the question's number."""
    ANSWERED = "answered"
    """The answer went out, or why there was none; what it was nobody keeps."""
    DECIDED = "decided"
    """The verdict came."""
    DIALOG_OVER = "dialog over"
    HANDED_OVER = "handed over"
    """The caller got his service."""
    ENDED = "ended"
    """The call is over; the detail is the disconnect reason."""


class Step(NamedTuple):
    """Something that happened in a call."""

    at: float
    what: Happening
    detail: str


_DISCONNECTS: Final = {
    Raserror.ERROR_HARDWARE_FAILURE.code: Disconnect.PORT_FAULT,
    Raserror.ERROR_USER_DISCONNECTION.code: Disconnect.OPERATOR,
}


def disconnect_for(code: Code, *, answering: bool, connected: bool) -> Disconnect:
    """Return why a call ended that the modem ended with `code`."""
    if code in _DISCONNECTS:
        return _DISCONNECTS[code]
    if connected:
        return Disconnect.CALLER
    return Disconnect.NO_CONNECTION if answering else Disconnect.UNANSWERED


@dataclass(frozen=True, slots=True)
class DialogOutcome:
    """How the call's dialog went."""

    dialog: bytes
    attempts: int
    """BEGINs sent."""
    answers: int
    """RECEIVEs that the caller answered."""
    verdict: Verdict | None
    """None: it was ended before there was one."""
    reason: Code
    """Of END; 0: normal."""
    is_local: bool = False
    """Whether it was decided at the site's own broker."""


_NOBODY: Final = Caller()


class Passed(NamedTuple):
    """Bytes that passed over a line without the agent, under a direct service."""

    bytes_in: int
    """From the caller."""
    bytes_out: int


class Call(Struct):
    """One call on one port."""

    id: bytes
    """16 bytes, in BEGIN, in the service's environment and in every record."""
    rang_at: float
    """First sign of the call: a RING, or on a direct line the connection."""
    caller: Caller = _NOBODY
    connected_at: float | None = None
    connect_speed: int = 0
    connect_text: str = ""
    dialog: DialogOutcome | None = None
    service: str = ""
    """Service that the line was handed to; empty: to none."""
    handed_over_at: float | None = None
    bytes_in: int | None = 0
    """From the caller, since the connection; None: a direct service had the line, uncounted."""
    bytes_out: int | None = 0
    ended_at: float | None = None
    disconnect: Disconnect | None = None
    code: Code = NO_ERROR
    """The code behind the disconnect reason, where there is one."""
    steps: tuple[Step, ...] = ()

    def note(self, now: float, what: Happening, detail: str = "") -> None:
        """Note what happened."""
        kept = self.steps
        if len(kept) == STEPS_MAX:
            kept = kept[:STEPS_FIRST] + kept[STEPS_FIRST + 1 :]
        self.steps = (*kept, Step(now, what, detail))

    def blame(self, reason: Disconnect, code: Code) -> None:
        """Note why the call ends; only the first reason counts."""
        if self.disconnect is None:
            self.disconnect = reason
            self.code = code

    def count(self, bytes_in: int = 0, bytes_out: int = 0) -> None:
        """Add bytes that went over the line, unless their number is lost already."""
        if self.bytes_in is not None and self.bytes_out is not None:
            self.bytes_in += bytes_in
            self.bytes_out += bytes_out

    def pass_by(self, passed: Passed | None) -> None:
        """Add what a direct service moved; None: nobody knows how much."""
        if passed is None:
            self.bytes_in = self.bytes_out = None
        else:
            self.count(*passed)
