"""A modem that can't serve, and what is tried to bring it back: the ladder.

Pure.  `port_agents.modem_arming` builds on it: it finds faults, this decides what follows.

```
 fault 1 -> init again -> fault 2 -> DTR low 1 s -> fault 3 -> device opened anew -> fault 4
   -> the operator's hook, if there is one -> fault 5 -> QUARANTINED, tried again with back-off
```

DCD that stays up with no call takes the short way: one reset, then quarantine, since opening the
device anew or cycling power mends no cable.

Invariants: a fault leads to a step with a deadline; each rung is climbed once until the modem is
armed again; the reason is the last fault's, with what the modem said.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Final

from port_agents.modem_actions import (
    Action,
    Faulted,
    ModemCounters,
    ModemLines,
    ModemSettings,
    ModemState,
    Reopen,
    RunHook,
)
from port_agents.modem_steps import Step

__all__ = ["DCD_STUCK", "ModemLadder"]

DCD_STUCK: Final = (
    "dcd-stuck: DCD stays up with no call; put &C1 and &D2 in init, check the cable, "
    'or set dcd = "ignore"'
)
_RUNGS: Final = 3
"""Rungs that every modem has: init, DTR, reopening."""
_RUNGS_DCD: Final = 1


class ModemLadder(ABC):
    """Faults, retries, quarantine."""

    def __init__(self, settings: ModemSettings) -> None:
        self.settings: Final = settings
        self.counters: Final = ModemCounters()
        self.reason = ""
        """Why the modem is not armed, for the operator; empty when it is, or serves a call."""
        self._step = Step.CLOSED
        self._deadline = math.inf
        self._lines: ModemLines | None = None
        self._tries_failed = 0
        """Faults since it was last armed."""
        self._opens_failed = 0
        """Times that the device was gone or did not open, since the modem was last armed."""

    @property
    def lines(self) -> ModemLines | None:
        """The modem lines as last seen; None: there are none, or it is not known yet."""
        return self._lines

    @property
    def state(self) -> ModemState:
        """Where the modem stands."""
        return self._step.state

    def deadline(self) -> float:
        """Return when `tick` is due, `math.inf` if it isn't."""
        return self._deadline

    def hook_ended(self, failure: str, now: float) -> list[Action]:
        """Take note that the operator's hook has ended; `failure` says why it did not work."""
        if self._step is not Step.HOOK:
            return []
        if failure:
            return self._fault(f"{self.reason}; the hook failed: {failure}", now)
        return self._reopen()

    @abstractmethod
    def _begin(
        self, lines: ModemLines | None, now: float, *, drops_dtr: bool = False
    ) -> list[Action]:
        """Start from an open device."""

    def _goto(self, step: Step, deadline: float = math.inf) -> None:
        self._step = step
        self._deadline = deadline

    def _well(self) -> None:
        """Note that the modem serves: the next fault starts at the ladder's foot."""
        self._tries_failed = self._opens_failed = 0
        self.reason = ""

    def _fault(self, reason: str, now: float) -> list[Action]:
        self.counters.faults += 1
        self.reason = reason
        rungs = _RUNGS_DCD if reason == DCD_STUCK else _RUNGS + self.settings.has_hook
        over = self._tries_failed - rungs
        waits = self.settings.fault_retry_s if over < 0 else self.settings.quarantine_retry_s
        wait_s = _nth(waits, self._tries_failed if over < 0 else over)
        self._tries_failed += 1
        self.counters.quarantines += over >= 0
        self._goto(Step.FAULTED if over < 0 else Step.QUARANTINED, now + wait_s)
        return [Faulted(reason)]

    def _gone(self, reason: str) -> list[Action]:
        """Wait for a device that is gone, or did not open."""
        self._goto(Step.CLOSED)
        self.reason = reason
        wait_s = _nth(self.settings.fault_retry_s, self._opens_failed)
        self._opens_failed += 1
        return [Reopen(wait_s)]

    def _reopen(self) -> list[Action]:
        self._goto(Step.CLOSED)
        return [Reopen(0.0)]

    def _climb(self, now: float) -> list[Action]:
        """Take the next rung."""
        match self._step, self._tries_failed:
            case Step.FAULTED, 1:
                return self._begin(self._lines, now)
            case Step.FAULTED, 2:
                return self._begin(self._lines, now, drops_dtr=True)
            case Step.FAULTED, 4:
                self._goto(Step.HOOK, now + self.settings.hook_timeout_s)
                return [RunHook(self.reason)]
            case Step.HOOK, _:
                bound = f"{self.settings.hook_timeout_s:g} s"
                return self.hook_ended(f"it did not end within {bound}", now)
            case _:
                return self._reopen()


def _nth(waits: tuple[float, ...], number: int) -> float:
    return waits[min(number, len(waits) - 1)]
