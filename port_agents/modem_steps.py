"""What a modem is waiting for: the steps of `modem`, `modem_arming` and `modem_ladder`.

Invariant: every step has one state that observers are told, and only one.
"""

from __future__ import annotations

from enum import Enum, auto

from port_agents.modem_actions import ModemState

__all__ = ["Step"]


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

    @property
    def state(self) -> ModemState:
        """What observers are told of this step."""
        match self:
            case Step.SETTLE | Step.INIT:
                return ModemState.INITIALISING
            case Step.IDLE | Step.PROBE:
                return ModemState.IDLE
            case Step.RINGING | Step.CALLER_ID:
                return ModemState.RINGING
            case Step.ANSWER | Step.CARRIER:
                return ModemState.ANSWERING
            case Step.DATA | Step.BOUNCE:
                return ModemState.CONNECTED
            case Step.DTR_LOW | Step.DCD_FALL | Step.GUARD | Step.ESCAPE | Step.ON_HOOK:
                return ModemState.HANGING_UP
            case Step.GOING_OFF | Step.OFF_HOOK:
                return ModemState.OFF_HOOK
            case Step.FAULTED | Step.HOOK:
                return ModemState.FAULTED
            case Step.CLOSED | Step.QUARANTINED:
                return ModemState[self.name]
