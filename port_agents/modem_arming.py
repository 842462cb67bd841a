"""From anything to on-hook, initialised and armed: the part of a modem that knows no calls.

Pure.  `port_agents.modem` builds on it: it decides when a call ends, this decides how the modem is
hung up, initialised and, if it can't serve, tried again.

```
 DTR_LOW ---> DCD_FALL ------+
                             v     all OK
 GUARD -> ESCAPE -> ON_HOOK -> SETTLE -> INIT -> IDLE
   ^                                      |  refused, silent, DCD stuck
   +-------------------------------- FAULTED
```

Invariants: every step but CLOSED and IDLE has a deadline, and no cycle of steps lacks FAULTED, so
the modem is IDLE or FAULTED within a bound; FAULTED tries again, later and later.  Init commands
are sent only when no caller can answer them: DCD is down, DTR was dropped, or the escape sequence,
which no caller can send or suppress, came before them.  (A caller who types NO CARRIER and then
plays the modem would otherwise be taken for the next call, without a hang-up.)
"""

from __future__ import annotations

import math
from enum import Enum, auto
from typing import Final

from port_agents.modem_actions import (
    Action,
    Armed,
    Faulted,
    Flush,
    ModemCounters,
    ModemLines,
    ModemSettings,
    ModemState,
    SetDtr,
    Write,
)
from port_agents.modem_results import Error, NoCall, Ok, Result, ResultLines, printable

__all__ = ["DCD_FALL_S", "SETTLE_S", "ModemArming", "Step"]

SETTLE_S: Final = 0.1
"""Pause before the init commands: late results of what went before arrive in it and are flushed."""
DCD_FALL_S: Final = 5.0
"""By when DCD must be down after a hang-up."""

_DCD_STUCK: Final = (
    "dcd-stuck: DCD stays up with no call; put &C1 and &D2 in init, check the cable, "
    'or set dcd = "ignore"'
)


class Step(Enum):
    """What is being waited for; finer than `ModemState`."""

    CLOSED = auto()
    SETTLE = auto()
    """The pause before the init commands."""
    INIT = auto()
    """The result of an init command."""
    IDLE = auto()
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
    DTR_LOW = auto()
    """The end of the pulse on DTR."""
    DCD_FALL = auto()
    GUARD = auto()
    """The end of the silence before the escape sequence."""
    ESCAPE = auto()
    """The end of the silence behind it."""
    ON_HOOK = auto()
    """OK to ATH."""
    FAULTED = auto()
    """The next try."""

    @property
    def state(self) -> ModemState:
        """What observers are told of this step."""
        match self:
            case Step.SETTLE | Step.INIT:
                return ModemState.INITIALISING
            case Step.RINGING | Step.CALLER_ID:
                return ModemState.RINGING
            case Step.ANSWER | Step.CARRIER:
                return ModemState.ANSWERING
            case Step.DATA:
                return ModemState.CONNECTED
            case Step.DTR_LOW | Step.DCD_FALL | Step.GUARD | Step.ESCAPE | Step.ON_HOOK:
                return ModemState.HANGING_UP
            case Step.CLOSED | Step.IDLE | Step.FAULTED:
                return ModemState[self.name]


class ModemArming:
    """Hangs a modem up, initialises and arms it."""

    def __init__(self, settings: ModemSettings) -> None:
        self.settings: Final = settings
        self.counters: Final = ModemCounters()
        self.reason = "not opened yet"
        """Why the modem is not armed, for the operator; empty when it is, or serves a call."""
        self._step = Step.CLOSED
        self._deadline = math.inf
        self._lines: ModemLines | None = None
        self._results = ResultLines()
        self._init_next = 0
        self._after_call = False
        """Whether the hang-up under way ends a call of ours: then DCD has to fall."""
        self._tries_failed = 0

    @property
    def state(self) -> ModemState:
        """Where the modem stands."""
        return self._step.state

    def deadline(self) -> float:
        """Return when `tick` is due, `math.inf` if it isn't."""
        return self._deadline

    # For the calls built on this.

    def _begin(self, lines: ModemLines | None, now: float) -> list[Action]:
        """Start from an open device, unless it can't be worked as it is set."""
        self._lines = lines
        if lines is None and self.settings.dcd == "auto":
            return self._fault('the device has no modem lines: set dcd = "ignore" for it', now)
        if lines is None and self.settings.hangup == "dtr":
            return self._fault('the device has no DTR: set hangup = "escape" for it', now)
        raise_dtr: list[Action] = [] if lines is None else [SetDtr(on=True)]
        return raise_dtr + self._start(now)

    def _go_on_hook(self, now: float) -> list[Action]:
        """Hang up after a call."""
        self._after_call = True
        return self._drop_carrier(now)

    def _armed(self) -> list[Action]:
        self._goto(Step.IDLE)
        self._tries_failed = 0
        self.reason = ""
        return [Armed()]

    def _arming_heard(self, result: Result, line: bytes, now: float) -> list[Action]:
        """Take a result that comes outside a call."""
        match self._step, result:
            case Step.INIT, Ok():
                return self._accepted(result, now)
            case Step.INIT, Error():
                said = f'init command "{self._command}": the modem said "{printable(line)}"'
                return self._fault(said, now)
            case Step.ESCAPE, Ok():
                return []  # The modem's, or typed by a caller: ATH waits for the silence to end.
            case Step.ON_HOOK, Ok() if self._after_call:
                return self._on_hook(now)
            case Step.ON_HOOK, Ok():
                return self._settle(now)  # DCD may be up for want of &C1 in init.
            case Step.ON_HOOK, NoCall():
                return []  # OK follows.
            case _:
                self.counters.stray_results += 1
                return []

    def _arming_tick(self, now: float) -> list[Action]:
        """Go on from the step whose time is over."""
        match self._step:
            case Step.SETTLE:
                self._results.clear()
                return [Flush(), *self._next_command(now)]
            case Step.INIT:
                within = f"{self.settings.command_timeout_s:g} s"
                return self._fault(f'init command "{self._command}": no answer in {within}', now)
            case Step.DTR_LOW:
                return [SetDtr(on=True), *self._on_hook(now)]
            case Step.DCD_FALL if self._after_call:
                return self._fault(_DCD_STUCK, now)
            case Step.GUARD:
                self._goto(Step.ESCAPE, now + self._guard_s + SETTLE_S)
                # What a stuck line may still hold must not stand before it.
                return [Flush(), Write(b"+++")]
            case Step.ESCAPE:
                self._goto(Step.ON_HOOK, now + self.settings.command_timeout_s)
                # To a modem that was in command state all the time, +++ is a command to end.
                return [Write(b"\rATH\r")]
            case Step.DCD_FALL:
                return self._escape(now)
            case Step.ON_HOOK:
                # Whether the modem is there at all, the init commands will tell.
                return self._settle(now)
            case Step.FAULTED:
                return self._begin(self._lines, now)
            case _:
                raise AssertionError(f"{self._step} has no deadline")

    def _fault(self, reason: str, now: float) -> list[Action]:
        self.counters.faults += 1
        self.reason = reason
        self._goto(Step.FAULTED, now + self._retry_s())
        return [Faulted(reason)]

    def _retry_s(self) -> float:
        ladder = self.settings.fault_retry_s
        wait_s = ladder[min(self._tries_failed, len(ladder) - 1)]
        self._tries_failed += 1
        return wait_s

    def _goto(self, step: Step, deadline: float = math.inf) -> None:
        self._step = step
        self._deadline = deadline

    @property
    def _watches_dcd(self) -> bool:
        return self._lines is not None and self.settings.dcd == "auto"

    @property
    def _has_carrier(self) -> bool:
        return self._watches_dcd and self._lines is not None and self._lines.dcd

    # On-hook.

    def _start(self, now: float) -> list[Action]:
        """Bring a modem of which nothing is known to IDLE; a call of an earlier run may be up."""
        self._after_call = False
        if self._watches_dcd and not self._has_carrier:
            return self._settle(now)
        return self._drop_carrier(now)

    def _drop_carrier(self, now: float) -> list[Action]:
        self._results.clear()
        hangup = self.settings.hangup
        if hangup == "dtr" or (hangup == "auto" and self._watches_dcd):
            self._goto(Step.DTR_LOW, now + self.settings.dtr_low_ms / 1000)
            return [SetDtr(on=False)]
        return self._escape(now)

    def _escape(self, now: float) -> list[Action]:
        self._goto(Step.GUARD, now + self._guard_s)
        return []

    def _on_hook(self, now: float) -> list[Action]:
        if not self._has_carrier:
            return self._settle(now)
        self._goto(Step.DCD_FALL, now + DCD_FALL_S)
        return []

    def _settle(self, now: float) -> list[Action]:
        self._init_next = 0
        self._goto(Step.SETTLE, now + SETTLE_S)
        return []

    # The init commands.

    def _next_command(self, now: float) -> list[Action]:
        if self._init_next < len(self.settings.init):
            self._goto(Step.INIT, now + self.settings.command_timeout_s)
            return [Write(self._command.encode("ascii") + b"\r")]
        if self._has_carrier:
            return self._fault(_DCD_STUCK, now)
        return self._armed()

    def _accepted(self, result: Ok, now: float) -> list[Action]:
        self._init_next += 1
        is_last = self._init_next == len(self.settings.init)
        if is_last and result.numeric and not self._watches_dcd:
            return self._fault(
                "results are numeric (V0), which can't show the end of a call without DCD: "
                "put V1 in init",
                now,
            )
        return self._next_command(now)

    @property
    def _command(self) -> str:
        return self.settings.init[self._init_next]

    @property
    def _guard_s(self) -> float:
        return self.settings.escape_guard_ms / 1000
