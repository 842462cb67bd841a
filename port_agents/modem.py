"""One modem: RING, answer, CONNECT, the caller's bytes, the end of the call, and armed again.

Pure: what the device said and `now` (seconds, monotonic) go in, actions come out, to be performed
in their order.  It knows nothing of dialogs, users or the terminal (`port_agents.line` does), and
it opens no device (`port_agents.serial_port` does).

```
 CLOSED -> INITIALISING -> IDLE -RING-> RINGING -enough-> ANSWERING -CONNECT-> CONNECTED
            ^  |   ^        ^  no more     |                 |                     |
       retry|  |   |        +--------------+                 |                     |
            |  v   +------------------------ HANGING_UP <----+---------------------+
          FAULTED
```

Invariants: after every call that was answered, however it ended, the modem is hung up and
initialised anew before it is armed; every state but CLOSED and IDLE has a deadline, so `tick` leads
from each of them to IDLE or to FAULTED, which tries again; no byte is handed on as the caller's
unless it came behind this call's CONNECT.

With DCD watched, DCD alone says whether there is a call; a caller who types NO CARRIER types text.
Where DCD is ignored or the device has none, that line is the only sign there is; a caller who types
it hangs up on himself, and no more than that: the modem is hung up by the escape sequence.
"""

from __future__ import annotations

import math
from fnmatch import fnmatchcase
from typing import Final

from msgspec.structs import replace

from dialgate.codes import Code, Raserror
from port_agents.modem_actions import (
    Action,
    Armed,
    CallEnded,
    Caller,
    CallerBytes,
    CallerNumber,
    Connected,
    Faulted,
    Flush,
    InitAnswer,
    ModemCounters,
    ModemLines,
    ModemSettings,
    ModemState,
    Reopen,
    Ringing,
    RunHook,
    SetDtr,
    Write,
)
from port_agents.modem_arming import ModemArming, Step
from port_agents.modem_results import (
    CallerField,
    CarrierWatch,
    Connect,
    Error,
    NoCall,
    Ok,
    Result,
    Ring,
    parse,
)

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
    "Modem",
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

CARRIER_S: Final = 2.0
"""By when DCD must be up after CONNECT."""
HOLD_S: Final = 0.05
"""How long bytes that may be the beginning of NO CARRIER are held back."""
EARLY_BYTES_MAX: Final = 1024
"""What is kept of the caller's typing between CONNECT and DCD."""

_BEHIND_CONNECT: Final = frozenset({Step.CARRIER, Step.DATA, Step.BOUNCE})
_DEAF: Final = frozenset(
    {Step.CLOSED, Step.FAULTED, Step.HOOK, Step.QUARANTINED}
    | {Step.SETTLE, Step.DTR_LOW, Step.DCD_FALL}
)
"""What is said then is of no call, or of one that is over."""
_ARMED: Final = frozenset({Step.IDLE, Step.PROBE})
_RINGING: Final = frozenset({Step.RINGING, Step.CALLER_ID})
_UNANSWERED: Final = _ARMED | _RINGING
_IN_CALL: Final = frozenset(
    {Step.RINGING, Step.CALLER_ID, Step.ANSWER, Step.CARRIER, Step.DATA, Step.BOUNCE},
)


class Modem(ModemArming):
    """One modem on one device.  Each input returns the actions to perform, in order."""

    def __init__(self, settings: ModemSettings) -> None:
        super().__init__(settings)
        self.may_answer = True
        """While False, RINGs are counted and reported, and never answered."""
        self._rings = 0
        self._caller = Caller()
        self._connect = Connect(0, "")
        self._lf_owed = False
        """Whether the LF of the CONNECT line is still to come: it isn't the caller's."""
        self._early = bytearray()
        self._watch = CarrierWatch()

    @property
    def refuses_caller(self) -> bool:
        """Whether who rings, or rang last, calls from a number that is not answered."""
        number = self._caller.number
        return bool(number) and any(
            fnmatchcase(number, pattern) for pattern in self.settings.refused_callers
        )

    @property
    def _answers(self) -> bool:
        return self.may_answer and not self.refuses_caller

    # Inputs; `deadline` is inherited.

    def opened(self, lines: ModemLines | None, now: float) -> list[Action]:
        """Take note that the device is open; `lines` None means that it has no modem lines."""
        ended = self._end_call(Raserror.ERROR_HARDWARE_FAILURE.code)
        return ended + self._begin(lines, now)

    def closed(self, reason: str, now: float) -> list[Action]:  # noqa: ARG002  # as all inputs
        """Take note that the device is gone, or did not open; any call on it is over."""
        ended = self._end_call(Raserror.ERROR_HARDWARE_FAILURE.code)
        return [*ended, *self._gone(reason)]

    def receive(self, data: bytes, now: float) -> list[Action]:
        """Take what was read from the device."""
        if self._step in _DEAF:
            self.counters.dropped_bytes += len(data)
            return []
        if self._step in _BEHIND_CONNECT:
            return self._from_caller(data, now)
        return self._from_modem(data, now)

    def lines_changed(self, lines: ModemLines, now: float) -> list[Action]:
        """Take the modem lines as they are now; unchanged ones may be told again."""
        self._lines = lines
        if not self._watches_dcd:
            return []
        match self._step:
            case Step.DATA if not lines.dcd:
                return self._carrier_fell(now)
            case Step.BOUNCE if lines.dcd:
                return self._carrier_back(now)
            case Step.CARRIER if lines.dcd:
                return self._connected(now)
            case Step.IDLE | Step.PROBE | Step.RINGING | Step.CALLER_ID if lines.dcd:
                return self._unasked(now)
            case Step.DCD_FALL if not lines.dcd:
                return self._settle(now)
            case _:
                return []

    def hang_up(self, now: float) -> list[Action]:
        """End the call, if there is one; what was written to the caller must have been drained.

        Nothing is flushed here: a PTY says that it is drained before the other side has read it.
        A call that rings is not answered; should it go on to ring, it counts as a new one.
        """
        match self._step:
            case Step.RINGING | Step.CALLER_ID:
                return self._ready(now)
            case Step.ANSWER | Step.CARRIER | Step.DATA | Step.BOUNCE:
                return self._go_on_hook(now)
            case _:
                return []

    def reset(self, now: float) -> list[Action]:
        """Start over, whatever the state, as an operator orders."""
        self._tries_failed = self._opens_failed = 0
        if self._step is Step.CLOSED:
            return [Reopen(0.0)]
        if self._step in _IN_CALL:
            return self._lost(Raserror.ERROR_USER_DISCONNECTION.code, now)
        return self._begin(self._lines, now)

    def tick(self, now: float) -> list[Action]:
        """Do what time has made due."""
        if now < self._deadline:
            return []
        self._deadline = math.inf
        match self._step:
            case Step.RINGING:
                return self._gave_up(now)
            case Step.CALLER_ID:
                return self._answer(now)
            case Step.ANSWER:
                return self._lost(Raserror.ERROR_REQUEST_TIMEOUT.code, now)
            case Step.CARRIER:
                return self._lost(Raserror.ERROR_NO_CARRIER.code, now)
            case Step.DATA:
                return [CallerBytes(self._watch.release())]
            case Step.BOUNCE:
                return self._lost(Raserror.ERROR_REMOTE_DISCONNECTION.code, now)
            case _:
                return self._arming_tick(now)

    # What the modem says.

    def _from_modem(self, data: bytes, now: float) -> list[Action]:
        actions: list[Action] = []
        self._results.feed(data)
        while (line := self._results.next_line()) is not None:
            if (result := parse(line)) is None:
                self.counters.unknown_lines += 1
                self._said = line
                continue
            actions += self._heard(result, line, now)
            if self._step in _BEHIND_CONNECT:
                actions += self._from_caller(self._results.take_rest(), now)
                break
        self.counters.long_lines = self._results.long_lines
        return actions

    def _heard(self, result: Result, line: bytes, now: float) -> list[Action]:
        step = self._step
        match result:
            case Ok():
                return self._arming_heard(result, line, now)
            case CallerField() if step in _RINGING or step is Step.ANSWER:
                self._caller = _with_field(self._caller, result)
                # There may be no other RING to tell whose call is not answered.
                is_told = step is not Step.ANSWER and self.refuses_caller
                return [Ringing(self._rings, self._caller)] if is_told else []
            case Ring() if step in _UNANSWERED:
                return self._ring(now)
            case Connect() if step is Step.ANSWER:
                return self._answered(result, now)
            case Connect() if step in _UNANSWERED:
                return self._unasked(now)
            case NoCall() if step in _RINGING:
                return self._gave_up(now)
            case NoCall(code) if step is Step.ANSWER:
                return self._lost(code, now)
            case Error() if step is Step.ANSWER:
                return self._lost(Raserror.ERROR_FROM_DEVICE.code, now)
            case _:
                return self._arming_heard(result, line, now)

    def _ring(self, now: float) -> list[Action]:
        if self._step in _ARMED:
            self._rings = 0
            self._caller = Caller()
        self._rings += 1
        ringing: list[Action] = [Ringing(self._rings, self._caller)]
        if self._step is Step.CALLER_ID:
            return ringing
        if self._rings < self.settings.rings or not self._answers:
            self._goto(Step.RINGING, now + self.settings.ring_timeout_s)
            return ringing
        if self.settings.caller_id_wait_ms:
            self._goto(Step.CALLER_ID, now + self.settings.caller_id_wait_ms / 1000)
            return ringing
        return ringing + self._answer(now)

    def _answer(self, now: float) -> list[Action]:
        if not self._answers:
            self._goto(Step.RINGING, now + self.settings.ring_timeout_s)
            return []
        self._goto(Step.ANSWER, now + self.settings.answer_timeout_s)
        return [Write(self.settings.answer.encode("ascii") + b"\r")]

    def _answered(self, connect: Connect, now: float) -> list[Action]:
        self._connect = connect
        self._lf_owed = not connect.numeric
        self._early.clear()
        if self._watches_dcd and not self._has_carrier:
            self._goto(Step.CARRIER, now + CARRIER_S)
            return []
        return self._connected(now)

    # The call.

    def _connected(self, now: float) -> list[Action]:
        """Hand the call to who owns the line, and behind it what was typed since CONNECT."""
        self._goto(Step.DATA)
        self._watch.clear()
        early = bytes(self._early)
        self._early.clear()
        connected = Connected(self._caller, self._connect.speed, self._connect.text)
        return [connected, *self._from_caller(early, now)]

    def _from_caller(self, data: bytes, now: float) -> list[Action]:
        if self._lf_owed and data:
            self._lf_owed = False
            data = data.removeprefix(b"\n")
        if not data:
            return []
        if self._step is not Step.DATA:
            kept = data[: EARLY_BYTES_MAX - len(self._early)]
            self._early += kept
            self.counters.dropped_bytes += len(data) - len(kept)
            return []
        if self._watches_dcd:
            return [CallerBytes(data)]
        return self._watched(data, now)

    def _watched(self, data: bytes, now: float) -> list[Action]:
        """Hand on the caller's bytes, unless the modem's NO CARRIER ends them."""
        heard, gone = self._watch.feed(data)
        actions: list[Action] = [CallerBytes(heard)] if heard else []
        if gone:
            return actions + self._lost(Raserror.ERROR_REMOTE_DISCONNECTION.code, now)
        if not self._watch.holds:
            self._deadline = math.inf
        elif heard or self._deadline == math.inf:
            self._deadline = now + HOLD_S
        return actions

    def _lost(self, code: Code, now: float) -> list[Action]:
        """End a call that its caller or the modem gave up, or an operator cut."""
        return [*self._end_call(code), Flush(), *self._go_on_hook(now)]

    def _carrier_fell(self, now: float) -> list[Action]:
        """End the call, or see first whether DCD stays down; what comes meanwhile is held back."""
        if not self.settings.dcd_debounce_ms:
            return self._lost(Raserror.ERROR_REMOTE_DISCONNECTION.code, now)
        self._goto(Step.BOUNCE, now + self.settings.dcd_debounce_ms / 1000)
        return []

    def _carrier_back(self, now: float) -> list[Action]:
        self.counters.bounces += 1
        self._goto(Step.DATA)
        held = bytes(self._early)
        self._early.clear()
        return self._from_caller(held, now)

    def _unasked(self, now: float) -> list[Action]:
        """Hang up a carrier that we did not ask for: nobody gets in by the modem's own will."""
        self.counters.unasked_carriers += 1
        return self._lost(Raserror.ERROR_DISCONNECTION.code, now)

    def _gave_up(self, now: float) -> list[Action]:
        """Go back to IDLE: who rang has stopped."""
        return self._end_call(Raserror.ERROR_REMOTE_DISCONNECTION.code) + self._ready(now)

    def _end_call(self, code: Code) -> list[Action]:
        return [CallEnded(code)] if self._step in _IN_CALL else []


def _with_field(caller: Caller, field: CallerField) -> Caller:
    """Return `caller` with what one caller id line adds."""
    match field.name, field.value.upper():
        case "NMBR", "P":
            return replace(caller, presentation=CallerNumber.WITHHELD, number="")
        case "NMBR", "O":
            return replace(caller, presentation=CallerNumber.OUT_OF_AREA, number="")
        case "NMBR", _ if field.value:
            return replace(caller, presentation=CallerNumber.GIVEN, number=field.value)
        case "NAME", value:
            return replace(caller, name="" if value in {"P", "O"} else field.value)
        case "DATE", _:
            return replace(caller, date=field.value)
        case "TIME", _:
            return replace(caller, time=field.value)
        case _:
            return caller
