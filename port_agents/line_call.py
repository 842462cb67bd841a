"""A call on one port: how modem, terminal, dialog and service meet in it.

Pure.  Each part decides for itself; this module is who gets the caller's bytes, when a dialog
begins, and what a verdict means for the line.  `port_agents.line` builds the port on it.

```
  stage NONE --Connected--> LOGIN --success, END answered--> ONLINE
    ^                         | other verdict                  | service ended, or his time is over
    |                         v                                v
    |                      LAST_WORD <-------------------------+
    |                         | drained, or last_word_timeout_s
    |                         v
    +-- dialog closed, ---- OVER <-- caller gone, operator, limit, from every stage
        service gone
```

Invariants: the line is handed over only when its dialog closes with `handed_over` while the caller
is still there; a caller's bytes go to his own dialog or service and nowhere else.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import Enum, auto
from typing import Final

from msgspec.structs import replace

from dialgate.codes import NO_ERROR, Code, Raserror, describe
from dialgate.enums import direct_members
from dialgate.session import Transmit
from dialgate.wire.bodies import SUCCESS, Facts
from port_agents import dialog_actions as dialog_does
from port_agents import modem_actions as modem_does
from port_agents import terminal as terminal_does
from port_agents.admission import Stay, admit, admit_ppp, last_word
from port_agents.call import Call, DialogOutcome, Disconnect, Happening, disconnect_for
from port_agents.counters import AgentCounters
from port_agents.dialog import PortDialog
from port_agents.dialog_actions import Opening, Route, Verdict
from port_agents.direct_line import DirectLine
from port_agents.line_actions import (
    Action,
    Admission,
    CallBegan,
    LineSettings,
    Record,
    ServiceWrite,
    StartService,
    StopService,
    WriteLine,
)
from port_agents.modem import Modem
from port_agents.modem_actions import ModemState
from port_agents.ppp import PppWatch
from port_agents.terminal import Terminal

__all__ = ["RECV_BYTES_MAX", "SEND_BYTES_MAX", "LineCall", "Stage"]

SEND_BYTES_MAX: Final = 4096
"""Most bytes of a SEND's data or a RECEIVE's prompt: BEGIN's send_size."""
RECV_BYTES_MAX: Final = 4096
"""Most bytes of an answer: BEGIN's recv_size."""


@direct_members
class Stage(Enum):
    """How far the call is; the modem knows what comes before the connection."""

    NONE = auto()
    LOGIN = auto()
    """The dialog has the caller."""
    ONLINE = auto()
    """The service has him."""
    LAST_WORD = auto()
    """What was written to him is leaving; then the line is hung up."""
    OVER = auto()
    """He is gone; dialog or service may still have to end."""


class LineCall:
    """What a port is made of, and the call on it.

    Args:
        settings: the port's.
        counters: the agent's.
        new_id: gives 16 bytes that were never given before: ids of calls and dialogs.
    """

    def __init__(
        self, settings: LineSettings, counters: AgentCounters, new_id: Callable[[], bytes]
    ) -> None:
        self.settings: Final = settings
        self.modem: Final[Modem | DirectLine] = (
            DirectLine(settings.modem) if settings.is_direct else Modem(settings.modem)
        )
        self.terminal: Final = Terminal(parity_strip=settings.parity_strip)
        self.dialog: PortDialog | None = None
        """The dialog that is open on this port."""
        self.call: Call | None = None
        self.stage = Stage.NONE
        self._counters = counters
        self._new_id = new_id
        self._route: Route | None = None
        self._stay: Stay | None = None
        """The limits of the service's caller."""
        self._has_service = False
        """Whether a service was started and has not ended."""
        self._is_stopping = False
        """Whether it was told to end."""
        self._is_at_line_start = True
        """Whether what is written next begins a line of the caller's screen."""
        self._attempt = 0
        """Of the dialog, as far as it was noted."""
        self._is_undrained = False
        """Whether the driver may hold bytes that were written."""
        self._ppp: Final = PppWatch()
        self._ppp_input: bytearray | None = None
        """What a caller who speaks PPP has sent, while his dialog ends."""
        self._hang_up_at = math.inf
        self._active_at = -math.inf
        """When the last byte passed, in either direction."""

    # What the parts ask for.

    def _from_modem(self, wanted: list[modem_does.Action], now: float) -> list[Action]:
        actions: list[Action] = []
        for action in wanted:
            match action:
                case modem_does.Write():
                    actions.append(WriteLine(action.data))
                case modem_does.CallerBytes():
                    actions += self._from_caller(action.data, now)
                case modem_does.Ringing():
                    actions += self._ringing(action.caller, now)
                case modem_does.Connected():
                    actions += self._connected(action, now)
                case modem_does.CallEnded():
                    actions += self._call_ended(action.code, now)
                case (
                    modem_does.SetDtr()
                    | modem_does.Flush()
                    | modem_does.Reopen()
                    | modem_does.RunHook()
                ):
                    actions.append(action)
                case modem_does.Armed() | modem_does.Faulted():
                    pass  # The modem's state tells.
        return actions

    def _from_terminal(self, wanted: list[terminal_does.Action], now: float) -> list[Action]:
        actions: list[Action] = []
        for action in wanted:
            match action:
                case terminal_does.Write():
                    actions += self._write(action.data)
                case terminal_does.Answered(seq, status, data):
                    assert self.dialog is not None, "a question is withdrawn with its dialog"
                    self._note(now, Happening.ANSWERED, _answer(seq, status))
                    actions += self._from_dialog(self.dialog.answered(seq, status, data), now)
        return actions

    def _from_dialog(self, wanted: list[dialog_does.Action], now: float) -> list[Action]:
        actions: list[Action] = []
        self._note_attempt(now)
        for action in wanted:
            match action:
                case Transmit() | dialog_does.Unserved():
                    actions.append(action)
                case terminal_does.Ask():
                    self._note(now, Happening.ASKED, f"question {action.seq}")
                    actions += self._from_terminal(self.terminal.ask(action, now), now)
                case dialog_does.Show(data):
                    actions += self._from_terminal(self.terminal.show(data), now)
                case dialog_does.CancelAsk():
                    self.terminal.cancel()
                case dialog_does.Decided(verdict):
                    actions += self._decided(verdict, now)
                case dialog_does.Closed(handed_over):
                    actions += self._dialog_closed(handed_over=handed_over, now=now)
        return actions

    # The call.

    def _ringing(self, caller: modem_does.Caller, now: float) -> list[Action]:
        if self.stage is Stage.OVER:
            return []  # It is heard when nothing of the last call is left.
        is_first = self.call is None
        if self.call is None:
            self.call = Call(self._new_id(), now)
            self._note(now, Happening.RANG)
        self.call.caller = caller
        if self.modem.refuses_caller:
            self.call.blame(Disconnect.NUMBER_REFUSED, NO_ERROR)
        return [CallBegan(replace(self.call))] if is_first else []

    def _connected(self, connected: modem_does.Connected, now: float) -> list[Action]:
        call = self.call = self.call or Call(self._new_id(), now)
        call.caller = connected.caller
        call.connected_at = self._active_at = now
        call.connect_speed = connected.connect_speed
        call.connect_text = connected.connect_text
        self._note(now, Happening.CONNECTED, call.connect_text)
        self._attempt = 0
        self._is_at_line_start = True  # Behind his own modem's CONNECT.
        self.stage = Stage.LOGIN
        # What an earlier caller typed is no answer of this one.
        self.terminal.reset()
        self._ppp.clear()
        self._ppp_input = None
        facts = Facts(
            site=self.settings.site,
            agent=self.settings.agent,
            device=self.settings.device,
            caller=call.caller.number,
            called=self.settings.called,
            connect_speed=call.connect_speed,
            connect_text=call.connect_text,
            send_size=SEND_BYTES_MAX,
            recv_size=RECV_BYTES_MAX,
        )
        self.dialog = PortDialog(
            self._new_id(),
            Opening(self.settings.hport, call.id, facts),
            self._counters,
            dialog_max_s=self.settings.dialog_max_s,
        )
        begun = self._from_dialog(self.dialog.begin(self._route, now), now)
        return [CallBegan(replace(call)), *begun]

    def _from_caller(self, data: bytes, now: float) -> list[Action]:
        self._active_at = now
        if self.call is not None:
            self.call.count(bytes_in=len(data))
        if self.stage is Stage.LOGIN:
            if self._ppp_input is not None:
                self._ppp_input += data[: RECV_BYTES_MAX - len(self._ppp_input)]
                return []
            if frame := self._ppp_at_prompt(data):
                return self._speaks_ppp(frame, now)
            return self._from_terminal(self.terminal.receive(data, now), now)
        if self.stage is Stage.ONLINE and self._stay is not None:
            self._stay.active(now)
            return [ServiceWrite(data)]
        return []

    def _call_ended(self, code: Code, now: float) -> list[Action]:
        """Deal with the end of a call by its caller, the network, or the device."""
        if self.call is None:
            return []
        reason = disconnect_for(
            code,
            connected=self.call.connected_at is not None,
            answering=self.modem.state is not ModemState.IDLE,
        )
        return self._cut(reason, code, now)

    def _decided(self, verdict: Verdict, now: float) -> list[Action]:
        code = "" if verdict.error.ok else f" ({describe(verdict.error)})"
        self._note(now, Happening.DECIDED, verdict.outcome + code)
        if verdict.msg_id == SUCCESS:
            return []
        reason, word = last_word(verdict)
        return self._last_word(reason, word, now, verdict.error)

    def _dialog_closed(self, *, handed_over: bool, now: float) -> list[Action]:
        dialog, call = self.dialog, self.call
        assert dialog is not None, "only an open dialog closes"
        assert call is not None, "a call outlives its dialog"
        self.dialog = None
        call.note(now, Happening.DIALOG_OVER, "" if dialog.reason.ok else describe(dialog.reason))
        call.dialog = DialogOutcome(
            dialog.dialog,
            dialog.attempt,
            dialog.answers,
            dialog.verdict,
            dialog.reason,
            is_local=dialog.is_local,
        )
        if handed_over and dialog.is_local:
            self._counters.local_admissions += 1
            self._counters.local_admitted_at = now
        if self._ppp_input is not None and self.stage is Stage.LOGIN:
            first_input, self._ppp_input = bytes(self._ppp_input), None
            return self._hand_over(*admit_ppp(self.settings, call), first_input, now)
        if not handed_over or dialog.verdict is None:
            return []
        name, admission = admit(self.settings, call, dialog.verdict)
        return self._hand_over(name, admission, self.terminal.take_type_ahead(), now)

    def _ppp_at_prompt(self, data: bytes) -> bytes:
        """Return the stream from a PPP frame on that came instead of an answer, or nothing.

        Behind an answer it is type-ahead for the service: a caller's program may speak PPP as soon
        as it has sent the password, without waiting for the verdict.
        """
        if self.terminal.is_answered:
            self._ppp.clear()
            return b""
        frame = self._ppp.feed(data)
        before = data[: max(0, len(data) - len(frame))]
        return b"" if b"\r" in before or b"\n" in before else frame

    def _speaks_ppp(self, frame: bytes, now: float) -> list[Action]:
        """Lead a caller who speaks PPP to the service that is named for him, or hang up."""
        code = Raserror.ERROR_PORT_DISCONNECTED.code
        if not self.settings.ppp_service:
            actions = self._cut(Disconnect.PPP_REFUSED, code, now)
            return actions + self._from_modem(self.modem.hang_up(now), now)
        self._ppp_input = bytearray(frame[:RECV_BYTES_MAX])
        assert self.dialog is not None, "a login has its dialog"
        return self._from_dialog(self.dialog.end(code, now), now)

    def _hand_over(
        self, name: str, admission: Admission, first_input: bytes, now: float
    ) -> list[Action]:
        call = self.call
        assert call is not None, "a line is handed over to a caller"
        call.service = name
        call.handed_over_at = now
        call.note(now, Happening.HANDED_OVER, name)
        self.stage = Stage.ONLINE
        self._has_service = True
        self._is_stopping = False
        self._stay = Stay(
            admission.session_timeout_s, admission.idle_timeout_s, now, self.settings.interim_s
        )
        return [Record("start", replace(call)), StartService(name, admission, first_input)]

    def _last_word(
        self, reason: Disconnect, word: bytes, now: float, code: Code = NO_ERROR
    ) -> list[Action]:
        """Write `word`, and hang up when all that was written has left, or soon."""
        assert self.call is not None, "a last word is said to a caller"
        self.call.blame(reason, code)
        self.stage = Stage.LAST_WORD
        self._stay = None
        self._hang_up_at = now + self.settings.last_word_timeout_s
        actions = self._write(word if self._is_at_line_start or not word else b"\r\n" + word)
        return actions if self._is_undrained else self._hang_up(now)

    def _stop_service(self) -> list[Action]:
        """Tell the service to end; once, or the end itself would be broken off."""
        if not self._has_service or self._is_stopping:
            return []
        self._is_stopping = True
        return [StopService()]

    def _hang_up(self, now: float) -> list[Action]:
        self._over(now)
        return self._from_modem(self.modem.hang_up(now), now)

    def _cut(self, reason: Disconnect, code: Code, now: float) -> list[Action]:
        """End dialog and service; the modem is the caller's business."""
        if self.call is None or self.stage is Stage.OVER:
            return []
        self.call.blame(reason, code)
        self._over(now)
        actions = self._stop_service()
        if self.dialog is not None:
            actions += self._from_dialog(self.dialog.end(code, now), now)
        return actions

    def _over(self, now: float) -> None:
        assert self.call is not None, "a call is over once"
        self.call.ended_at = now
        self._note(now, Happening.ENDED, str(self.call.disconnect or ""))
        self.stage = Stage.OVER
        self._hang_up_at = math.inf
        self._stay = None
        self.terminal.reset()

    def _note(self, now: float, what: Happening, detail: str = "") -> None:
        if self.call is not None:
            self.call.note(now, what, detail)

    def _note_attempt(self, now: float) -> None:
        if self.dialog is not None and self.dialog.attempt > self._attempt:
            self._attempt = self.dialog.attempt
            self._note(now, Happening.BEGUN, f"attempt {self._attempt}")

    def _write(self, data: bytes) -> list[Action]:
        if not data:
            return []
        self._is_undrained = True
        self._is_at_line_start = data.endswith(b"\n")
        if self.call is not None:
            self.call.count(bytes_out=len(data))
        return [WriteLine(data)]


def _answer(seq: int, status: Code) -> str:
    return f"question {seq}" + ("" if status.ok else f" ({describe(status)})")
