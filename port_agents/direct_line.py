"""A line without a modem: a terminal, or another machine, at the end of a cable.

Pure, and to `port_agents.line_call` what a modem is: it begins and ends calls.  There is no ring
and nothing to initialise; the modem lines, where the cable has them, and bytes are all there is.

```
 CLOSED -> SETTLE -> IDLE -DCD rises, or the first byte-> DATA -DCD or DSR falls, hang-up-> DTR_LOW
             ^                                                                                 |
             +---------------------------------------------------------------------------------+
```

Invariants: a call begins only while calls may be answered, with DCD's rise or a byte, never with a
DCD that is up all the time (a terminal that stays on gets no new prompt until a key is pressed); it
ends when the line that was up at its beginning, DCD or else DSR, has been down for the debounce;
no byte of one call reaches the next: the driver is flushed between them.
"""

from __future__ import annotations

import math
from typing import Final

from dialgate.codes import Code, Raserror
from port_agents.modem_actions import (
    Action,
    Armed,
    CallEnded,
    Caller,
    CallerBytes,
    Connected,
    Flush,
    InitAnswer,
    ModemLines,
    ModemSettings,
    Reopen,
    SetDtr,
)
from port_agents.modem_ladder import ModemLadder
from port_agents.modem_steps import Step

__all__ = ["CONNECT_TEXT", "DirectLine"]

CONNECT_TEXT: Final = "DIRECT"
"""Stands in facts and records where a modem's CONNECT line would."""
SETTLE_S: Final = 0.1
"""Pause before the line is armed: what the last call left arrives in it and is flushed."""

_WAKE: Final = b"\r\n\0"
"""What a person presses to begin: it is no answer to the first question."""
_IN_CALL: Final = frozenset({Step.DATA, Step.BOUNCE})


class DirectLine(ModemLadder):
    """One line without a modem.  Each input returns the actions to perform, in order."""

    def __init__(self, settings: ModemSettings) -> None:
        super().__init__(settings)
        self.may_answer = True
        """While False, no call begins."""
        self.answers: list[InitAnswer] = []
        """None: there is no modem to answer."""
        self._watched = ""
        """The line whose fall ends this call: dcd, dsr, or none."""

    @property
    def is_asking(self) -> bool:
        """Whether an answer is awaited: never."""
        return False

    @property
    def refuses_caller(self) -> bool:
        """Whether this caller's number is refused: there are no numbers here."""
        return False

    @property
    def watches_carrier(self) -> bool:
        """Whether a modem line shows the end of this call."""
        return bool(self._watched)

    # Inputs; `deadline` and `hook_ended` are inherited.

    def opened(self, lines: ModemLines | None, now: float) -> list[Action]:
        """Take note that the device is open; `lines` None means that it has no modem lines."""
        ended = self._end_call(Raserror.ERROR_HARDWARE_FAILURE.code)
        return ended + self._begin(lines, now)

    def closed(self, reason: str, now: float) -> list[Action]:  # noqa: ARG002  # as all inputs
        """Take note that the device is gone, or did not open; any call on it is over."""
        return [*self._end_call(Raserror.ERROR_HARDWARE_FAILURE.code), *self._gone(reason)]

    def receive(self, data: bytes, now: float) -> list[Action]:  # noqa: ARG002  # as all inputs
        """Take what was read from the device."""
        if self._step is Step.IDLE and self.may_answer:
            typed = data.lstrip(_WAKE)
            return self._connected() + ([CallerBytes(typed)] if typed else [])
        if self._step in _IN_CALL:
            return [CallerBytes(data)]
        self.counters.dropped_bytes += len(data)
        return []

    def lines_changed(self, lines: ModemLines, now: float) -> list[Action]:
        """Take the modem lines as they are now; unchanged ones may be told again."""
        before, self._lines = self._lines, lines
        if self.settings.dcd == "ignore":
            return []
        rose = lines.dcd and before is not None and not before.dcd
        match self._step:
            case Step.IDLE if rose and self.may_answer:
                return self._connected()
            case Step.DATA if self._is_lost:
                if not self.settings.dcd_debounce_ms:
                    return self._over(Raserror.ERROR_REMOTE_DISCONNECTION.code, now)
                self._goto(Step.BOUNCE, now + self.settings.dcd_debounce_ms / 1000)
            case Step.BOUNCE if not self._is_lost:
                self.counters.bounces += 1
                self._goto(Step.DATA)
        return []

    def hang_up(self, now: float) -> list[Action]:
        """End the call, if there is one; what was written to the caller must have been drained."""
        return self._drop(now) if self._step in _IN_CALL else []

    def reset(self, now: float) -> list[Action]:
        """Start over, whatever the state, as an operator orders."""
        self._well()
        if self._step is Step.CLOSED:
            return [Reopen(0.0)]
        return self._over(Raserror.ERROR_USER_DISCONNECTION.code, now)

    def tick(self, now: float) -> list[Action]:
        """Do what time has made due."""
        if now < self._deadline:
            return []
        self._deadline = math.inf
        match self._step:
            case Step.BOUNCE:
                return self._over(Raserror.ERROR_REMOTE_DISCONNECTION.code, now)
            case Step.DTR_LOW:
                self._goto(Step.SETTLE, now + SETTLE_S)
                return [SetDtr(on=True)]
            case Step.SETTLE:
                self._goto(Step.IDLE)
                self._well()
                return [Flush(), Armed()]
            case _:
                return self._climb(now)

    def set_busy(self, busy: bool, now: float) -> list[Action]:  # noqa: ARG002, FBT001  # a modem's
        """Do nothing: whoever is at the end of a cable hears no tone."""
        return []

    def probe(self, now: float) -> list[Action]:  # noqa: ARG002  # as all inputs
        """Do nothing: that the device is open is all that can be known."""
        return []

    def distrust(self) -> None:
        """Do nothing: opening the line drops DTR in any case."""

    # What follows from them.

    def _begin(
        self,
        lines: ModemLines | None,
        now: float,
        *,
        drops_dtr: bool = True,  # noqa: ARG002  # always
    ) -> list[Action]:
        self._lines = lines
        return self._drop(now)

    def _connected(self) -> list[Action]:
        self._goto(Step.DATA)
        lines = self._lines if self.settings.dcd == "auto" else None
        self._watched = "" if lines is None else "dcd" if lines.dcd else "dsr" if lines.dsr else ""
        return [Connected(Caller(), 0, CONNECT_TEXT)]

    @property
    def _is_lost(self) -> bool:
        return bool(self._watched) and not getattr(self._lines, self._watched)

    def _over(self, code: Code, now: float) -> list[Action]:
        return [*self._end_call(code), Flush(), *self._drop(now)]

    def _drop(self, now: float) -> list[Action]:
        self._watched = ""
        if self._lines is None:
            self._goto(Step.SETTLE, now + SETTLE_S)
            return []
        self._goto(Step.DTR_LOW, now + self.settings.dtr_low_ms / 1000)
        return [SetDtr(on=False)]

    def _end_call(self, code: Code) -> list[Action]:
        return [CallEnded(code)] if self._step in _IN_CALL else []
