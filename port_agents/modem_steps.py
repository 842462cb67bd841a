"""What a modem is waiting for: the steps of `modem`, `modem_arming` and `modem_ladder`.

Invariant: every step has one state that observers are told, and only one.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

from dialgate.enums import direct_members
from port_agents.modem_actions import ModemState

__all__ = ["Step"]


@direct_members
class Step(Enum):
    """What is being waited for; finer than `ModemState`."""

    CLOSED = auto()
    SETTLE = auto()
    """The pause before the init commands."""
    INIT = auto()
    """The result of an init command."""
    IDLE = auto()
    PROBE = auto()
    """OK to AT, from a modem that is idle."""
    RINGING = auto()
    """The next RING."""
    CALLER_ID = auto()
    """Caller id lines; enough RINGs have come."""
    ANSWER = auto()
    """CONNECT."""
    CARRIER = auto()
    """DCD, after CONNECT."""
    DATA = auto()
    """The end of the call."""
    BOUNCE = auto()
    """Whether DCD, which fell in a call, stays down."""
    DTR_LOW = auto()
    """The end of the pulse on DTR."""
    DCD_FALL = auto()
    GUARD = auto()
    """The end of the silence before the escape sequence."""
    ESCAPE = auto()
    """The end of the silence behind it."""
    ON_HOOK = auto()
    """OK to ATH."""
    GOING_OFF = auto()
    """OK to ATH1, which takes the line off-hook."""
    OFF_HOOK = auto()
    """An order; now and then ATH1 is said again."""
    FAULTED = auto()
    """The next rung of the ladder."""
    HOOK = auto()
    """The end of the operator's hook."""
    QUARANTINED = auto()
    """The next try of the whole."""

    state: ModemState
    """What observers are told of this step."""


_STATES: Final = {
    Step.CLOSED: ModemState.CLOSED,
    Step.SETTLE: ModemState.INITIALISING,
    Step.INIT: ModemState.INITIALISING,
    Step.IDLE: ModemState.IDLE,
    Step.PROBE: ModemState.IDLE,
    Step.RINGING: ModemState.RINGING,
    Step.CALLER_ID: ModemState.RINGING,
    Step.ANSWER: ModemState.ANSWERING,
    Step.CARRIER: ModemState.ANSWERING,
    Step.DATA: ModemState.CONNECTED,
    Step.BOUNCE: ModemState.CONNECTED,
    Step.DTR_LOW: ModemState.HANGING_UP,
    Step.DCD_FALL: ModemState.HANGING_UP,
    Step.GUARD: ModemState.HANGING_UP,
    Step.ESCAPE: ModemState.HANGING_UP,
    Step.ON_HOOK: ModemState.HANGING_UP,
    Step.GOING_OFF: ModemState.OFF_HOOK,
    Step.OFF_HOOK: ModemState.OFF_HOOK,
    Step.FAULTED: ModemState.FAULTED,
    Step.HOOK: ModemState.FAULTED,
    Step.QUARANTINED: ModemState.QUARANTINED,
}
for _step in Step:
    _step.state = _STATES[_step]
