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
from typing import Final

from port_agents.modem_actions import (
    Action,
    Armed,
    Flush,
    InitAnswer,
    ModemLines,
    ModemSettings,
    SetDtr,
    Write,
)
from port_agents.modem_ladder import DCD_STUCK, ModemLadder
from port_agents.modem_results import Error, NoCall, Ok, Result, ResultLines, printable
from port_agents.modem_steps import Step

__all__ = ["DCD_FALL_S", "SETTLE_S", "ModemArming", "Step"]

SETTLE_S: Final = 0.1
"""Pause before the init commands: late results of what went before arrive in it and are flushed."""
DCD_FALL_S: Final = 5.0
"""By when DCD must be down after a hang-up."""

_ASKING: Final = frozenset({Step.PROBE, Step.GOING_OFF})


class ModemArming(ModemLadder):
    """Hangs a modem up, initialises and arms it."""

    def __init__(self, settings: ModemSettings) -> None:
        super().__init__(settings)
        self.answers: list[InitAnswer] = []
        """What the modem said to the commands that last made it ready, and to the last probe."""
        self._results = ResultLines()
        self._init_next = 0
        self._after_call = False
        """Whether the hang-up under way ends a call of ours: then DCD has to fall."""
        self._is_busy = False
        """Whether the line is to be off-hook."""
        self._asked_at = 0.0
        """When the last command went out."""
        self._is_distrusted = False
        """Whether an earlier run left a call on the line."""
        self._said = b""
        """The last line that came since and was no result."""

    @property
    def watches_carrier(self) -> bool:
        """Whether DCD shows the end of a call."""
        return self._watches_dcd

    @property
    def is_asking(self) -> bool:
        """Whether the result of a probe, or of going off-hook, is awaited."""
        return self._step in _ASKING

    def distrust(self) -> None:
        """Hang up first when the device is opened, whatever its lines say."""
        self._is_distrusted = True

    # Orders.

    def set_busy(self, busy: bool, now: float) -> list[Action]:  # noqa: FBT001 - a state
        """Take the line off-hook, so that callers hear busy, as soon as no call is on it; or back.

        A modem that does not take ATH1 is left ringing, and `reason` says so.
        """
        self._is_busy = busy
        if busy and self._step is Step.IDLE:
            return self._go_off_hook(now)
        if not busy and self._step in {Step.GOING_OFF, Step.OFF_HOOK}:
            self._after_call = False
            return self._drop_carrier(now)
        return []

    def probe(self, now: float) -> list[Action]:
        """Ask an idle modem whether it is there; what it says is in `answers`, or a fault."""
        if self._step is Step.OFF_HOOK:
            return self._go_off_hook(now)
        if self._step is not Step.IDLE:
            return []
        self.counters.probes += 1
        self._goto(Step.PROBE, now + self.settings.command_timeout_s)
        return self._ask("AT", now)

    # For the calls built on this.

    def _begin(
        self, lines: ModemLines | None, now: float, *, drops_dtr: bool = False
    ) -> list[Action]:
        """Start from an open device, unless it can't be worked as it is set."""
        self._lines = lines
        if lines is None and self.settings.dcd == "auto":
            return self._fault('the device has no modem lines: set dcd = "ignore" for it', now)
        if lines is None and self.settings.hangup == "dtr":
            return self._fault('the device has no DTR: set hangup = "escape" for it', now)
        raise_dtr: list[Action] = [] if lines is None else [SetDtr(on=True)]
        return raise_dtr + self._start(now, drops_dtr=drops_dtr)

    def _go_on_hook(self, now: float) -> list[Action]:
        """Hang up after a call."""
        self._after_call = True
        return self._drop_carrier(now)

    def _armed(self, now: float) -> list[Action]:
        interval_s = self.settings.probe_interval_s
        self._goto(Step.IDLE, now + interval_s if interval_s else math.inf)
        self._well()
        return [Armed()]

    def _ready(self, now: float) -> list[Action]:
        """Wait for calls, or be busy to them."""
        return self._go_off_hook(now) if self._is_busy else self._armed(now)

    def _go_off_hook(self, now: float) -> list[Action]:
        self._goto(Step.GOING_OFF, now + self.settings.command_timeout_s)
        return self._ask("ATH1", now)

    def _stays_on_hook(self, why: str, now: float) -> list[Action]:
        """Let it ring: the modem can't be busy."""
        self._is_busy = False
        actions = self._armed(now)
        self.reason = f"can't be busy, and rings: ATH1: {why}"
        return actions

    def _arming_heard(self, result: Result, line: bytes, now: float) -> list[Action]:
        """Take a result that comes outside a call."""
        match self._step, result:
            case Step.INIT, Ok():
                return self._accepted(result, line, now)
            case Step.INIT, Error():
                self._note(self._command, line, now)
                said = f'init command "{self._command}": the modem said "{printable(line)}"'
                return self._fault(said, now)
            case Step.PROBE, Ok():
                self._note("AT", line, now)
                return self._armed(now)
            case Step.PROBE, Error():
                self._note("AT", line, now)
                return self._fault(f'probe "AT": the modem said "{printable(line)}"', now)
            case Step.GOING_OFF, Ok():
                self._note("ATH1", line, now)
                interval_s = self.settings.probe_interval_s
                self._goto(Step.OFF_HOOK, now + interval_s if interval_s else math.inf)
                self._well()
                return []
            case Step.GOING_OFF, Error():
                self._note("ATH1", line, now)
                return self._stays_on_hook(f'the modem said "{printable(line)}"', now)
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
                return self._fault(f'init command "{self._command}": {self._silence(now)}', now)
            case Step.IDLE:
                return self.probe(now)
            case Step.PROBE:
                return self._fault(f'probe "AT": {self._silence(now)}', now)
            case Step.GOING_OFF:
                return self._stays_on_hook(self._silence(now), now)
            case Step.OFF_HOOK:
                return self._go_off_hook(now)
            case Step.DTR_LOW:
                return [SetDtr(on=True), *self._on_hook(now)]
            case Step.DCD_FALL if self._after_call:
                return self._fault(DCD_STUCK, now)
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
            case Step.FAULTED | Step.HOOK | Step.QUARANTINED:
                return self._climb(now)
            case _:
                raise AssertionError(f"{self._step} has no deadline")

    @property
    def _watches_dcd(self) -> bool:
        return self._lines is not None and self.settings.dcd == "auto"

    @property
    def _has_carrier(self) -> bool:
        return self._watches_dcd and self._lines is not None and self._lines.dcd

    # On-hook.

    def _start(self, now: float, *, drops_dtr: bool = False) -> list[Action]:
        """Bring a modem of which nothing is known to IDLE; a call of an earlier run may be up."""
        self._after_call = False
        drops_dtr, self._is_distrusted = drops_dtr or self._is_distrusted, False
        if self._watches_dcd and not self._has_carrier and not drops_dtr:
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
            return self._ask(self._command, now)
        if self._has_carrier:
            return self._fault(DCD_STUCK, now)
        return self._ready(now)

    def _accepted(self, result: Ok, line: bytes, now: float) -> list[Action]:
        self._note(self._command, line, now)
        self._init_next += 1
        is_last = self._init_next == len(self.settings.init)
        if is_last and result.numeric and not self._watches_dcd:
            return self._fault(
                "results are numeric (V0), which can't show the end of a call without DCD: "
                "put V1 in init",
                now,
            )
        return self._next_command(now)

    def _ask(self, command: str, now: float) -> list[Action]:
        self._asked_at = now
        self._said = b""
        return [Write(command.encode("ascii") + b"\r")]

    def _note(self, command: str, line: bytes, now: float) -> None:
        """Keep what the modem said to a command, in the place of what it said to it before."""
        took_ms = round((now - self._asked_at) * 1000)
        self.answers = [x for x in self.answers if x.command != command]
        self.answers.append(InitAnswer(command, printable(line), took_ms))

    def _silence(self, now: float) -> str:
        """Return in words that no result came, and what came in its place."""
        command = "AT" if self._step is Step.PROBE else "ATH1"
        said = self._said or self._results.pending
        self._note(self._command if self._step is Step.INIT else command, said, now)
        within = f"{self.settings.command_timeout_s:g} s"
        if not said:
            return f"no answer in {within}"
        return f'no OK in {within}, but "{printable(said)}"'

    @property
    def _command(self) -> str:
        return self.settings.init[self._init_next]

    @property
    def _guard_s(self) -> float:
        return self.settings.escape_guard_ms / 1000
