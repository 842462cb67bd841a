"""One port: its inputs, its timers, and the state that observers see.

Pure.  What a call leads to is in `port_agents.line_call`; this module leads each input to the part
that it is for, finishes a call of which nothing is left, and says when the port may answer again.

Invariants: a port answers only when no dialog and no service of an earlier call is left; each call
that rang or connected has exactly one stop record, and at most one start.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from msgspec.structs import replace

from dialgate.codes import Code, Raserror
from port_agents.admission import GOODBYES, is_same_user
from port_agents.call import Disconnect, Passed
from port_agents.counters import Again, AgentCounters
from port_agents.dialog_actions import Route
from port_agents.line_actions import (
    Action,
    Closure,
    KeepClosure,
    LineChanged,
    LineSettings,
    LineState,
    Record,
    ServiceLimits,
)
from port_agents.line_call import LineCall, Stage
from port_agents.modem_actions import ModemLines, ModemState
from port_agents.port_history import PortHistory

__all__ = ["Line"]

_CONNECTING: Final = frozenset({ModemState.ANSWERING, ModemState.HANGING_UP})
_OTHER_USER: Final = Raserror.ERROR_AUTHENTICATION_FAILURE.code
_AT_FAULT: Final = {
    ModemState.CLOSED: LineState.FAULTED,
    ModemState.FAULTED: LineState.FAULTED,
    ModemState.QUARANTINED: LineState.QUARANTINED,
}
_IN_CALL: Final = {
    Stage.LOGIN: LineState.AUTHENTICATING,
    Stage.ONLINE: LineState.ONLINE,
    Stage.LAST_WORD: LineState.HANGING_UP,
    Stage.OVER: LineState.HANGING_UP,
}
_WITHOUT_CALL: Final = {
    ModemState.IDLE: LineState.IDLE,
    ModemState.OFF_HOOK: LineState.IDLE,
    ModemState.RINGING: LineState.RINGING,
    ModemState.ANSWERING: LineState.ANSWERING,
    ModemState.HANGING_UP: LineState.HANGING_UP,
}
"""What observers see of a port: its modem if that can't serve, else its call, else its modem."""
_TALKING: Final = frozenset({Stage.LOGIN, Stage.ONLINE})
_CUT: Final = Raserror.ERROR_USER_DISCONNECTION.code

DOWN_S: Final = 10.0
"""How long no broker can be reached until lines go off-hook: a restart takes less."""
NO_BROKER: Final = "no broker can be reached"


class Line(LineCall):
    """One port.  Each input returns the actions to perform, in order."""

    def __init__(
        self, settings: LineSettings, counters: AgentCounters, new_id: Callable[[], bytes]
    ) -> None:
        super().__init__(settings, counters, new_id)
        self.state = LineState.UNKNOWN
        self.reason = "starting"
        self.since = -math.inf
        """When the state last changed."""
        self._closing = ""
        """Why the agent, which goes, answers no calls."""
        self._drained = ""
        """Why an operator lets calls end, until the agent's end."""
        self._held = ""
        """Why the agent answers no calls for the time being."""
        self.closure: Closure | None = None
        """An operator's order, which outlives the agent."""
        self._busy_since = math.inf
        """When it is time to be busy for want of a broker."""
        self._is_busy = False
        self.history: Final = PortHistory()
        self._is_known = False
        """Whether the device was opened, or could not be."""
        self._last_disconnect = ""
        """Why the last call ended."""

    @property
    def is_clear(self) -> bool:
        """Whether an agent that stops may leave it: nobody is connected or will be."""
        return self.stage is Stage.NONE and self.modem.state not in _CONNECTING

    # The device.

    def opened(self, lines: ModemLines | None, now: float) -> list[Action]:
        """Take note that the device is open; `lines` None means that it has no modem lines."""
        self._is_known = True
        return self._settled(self._from_modem(self.modem.opened(lines, now), now), now)

    def closed(self, reason: str, now: float) -> list[Action]:
        """Take note that the device is gone, or did not open."""
        self._is_known = True
        self._is_undrained = False
        return self._settled(self._from_modem(self.modem.closed(reason, now), now), now)

    def lines_changed(self, lines: ModemLines, now: float) -> list[Action]:
        """Take the modem lines as they are now."""
        return self._settled(self._from_modem(self.modem.lines_changed(lines, now), now), now)

    def receive(self, data: bytes, now: float) -> list[Action]:
        """Take what was read from the device."""
        return self._settled(self._from_modem(self.modem.receive(data, now), now), now)

    @property
    def awaits_drain(self) -> bool:
        """Whether `drained` leads to anything: to a hang-up, or to a question's time-out."""
        return self.stage is Stage.LAST_WORD or self.terminal.awaits_prompt

    def drained(self, now: float) -> list[Action]:
        """Take note that the last byte of all that was written has left."""
        self._is_undrained = False
        self.terminal.prompt_written(now)
        if self.stage is not Stage.LAST_WORD:
            return []
        return self._settled(self._hang_up(now), now)

    # Brokers.

    def route(self, route: Route | None, now: float) -> list[Action]:
        """Use this session for BEGINs from now on; None: there is none."""
        self._route = route
        self._busy_since = math.inf
        actions = [] if self.dialog is None else self.dialog.route(route, now)
        return self._settled(self._from_dialog(actions, now), now)

    def move(self, route: Route, cause: Again, now: float) -> list[Action]:
        """BEGIN the open dialog again by `route`, unless it had a verdict or an END."""
        actions = [] if self.dialog is None else self.dialog.move(route, cause, now)
        return self._settled(self._from_dialog(actions, now), now)

    def give_up(self, now: float) -> list[Action]:
        """End the open dialog, which no broker is left to be offered to."""
        actions = [] if self.dialog is None else self.dialog.give_up(now)
        return self._settled(self._from_dialog(actions, now), now)

    def session_over(self, session: int, now: float) -> list[Action]:
        """Take note that a session has ended."""
        if self._route is not None and self._route.session == session:
            self._route = None
        actions = [] if self.dialog is None else self.dialog.session_over(session, now)
        return self._settled(self._from_dialog(actions, now), now)

    def message(
        self, session: int, verb: int, attempt: int, body: bytes, now: float
    ) -> list[Action]:
        """Take a message of the open dialog."""
        assert self.dialog is not None, "the agent knows which dialogs are open"
        actions = self.dialog.message(session, verb, attempt, body, now)
        return self._settled(self._from_dialog(actions, now), now)

    # The service.

    def service_output(self, data: bytes, now: float) -> list[Action]:
        """Take what the service says to the caller."""
        if self._stay is None:
            return []
        self._active_at = now
        self._stay.active(now)
        return self._write(data)

    def hook_ended(self, failure: str, now: float) -> list[Action]:
        """Take note that the operator's hook has ended; `failure` says why it did not work."""
        return self._settled(self._from_modem(self.modem.hook_ended(failure, now), now), now)

    def passed_by(self, passed: Passed | None) -> None:
        """Take note of what a direct service moved over the line; None: nobody counted."""
        if self.call is not None:
            self.call.pass_by(passed)

    def service_ended(self, failure: str, now: float) -> list[Action]:
        """Take note that the service is gone; `failure` says why it could not be started."""
        self._has_service = False
        actions: list[Action] = []
        if self.stage is Stage.ONLINE:
            reason = Disconnect.SERVICE_FAILED if failure else Disconnect.SERVICE_ENDED
            word = b"The service is not available, try again later\r\n" if failure else b""
            actions = self._last_word(reason, word, now)
        return self._settled(actions, now)

    def service_user(self, name: str, now: float) -> tuple[bool, list[Action]]:
        """Take the name that the service knows its caller by.

        Return whether it is the one that was admitted; if not, the call is ended (rule 5).
        """
        outcome = None if self.call is None else self.call.dialog
        if self.stage is not Stage.ONLINE or outcome is None or outcome.verdict is None:
            return False, []
        if is_same_user(outcome.verdict, name):
            return True, []
        return False, self.cut(Disconnect.USER_MISMATCH, _OTHER_USER, now)

    # Operators.

    def cut(self, reason: Disconnect, code: Code, now: float) -> list[Action]:
        """End the call, if there is one, whatever its stage; END carries `code`."""
        actions = self._cut(reason, code, now)
        return self._settled(actions + self._from_modem(self.modem.hang_up(now), now), now)

    def reset(self, now: float) -> list[Action]:
        """End the call and bring the modem from whatever state to armed."""
        actions = self._cut(Disconnect.OPERATOR, _CUT, now)
        return self._settled(actions + self._from_modem(self.modem.reset(now), now), now)

    def close_to_calls(self, reason: str, now: float) -> list[Action]:
        """Answer no calls from now on, since the agent goes; the one that is there goes on."""
        self._closing = reason
        return self._settled([], now)

    def hold(self, reason: str, now: float) -> list[Action]:
        """Answer no calls for the time being; empty reason: answer them again."""
        self._held = reason
        return self._settled([], now)

    def disable(self, closure: Closure, now: float) -> list[Action]:
        """Answer no calls until `enable`, over restarts, too; the one that is there goes on."""
        self.closure = closure
        return self._settled([KeepClosure(closure)], now)

    def drain(self, reason: str, now: float) -> list[Action]:
        """Answer no calls until `enable` or the agent's next start; the one that is there goes on.

        It is for a restart, after which the port shall answer again.
        """
        self._drained = reason
        return self._settled([], now)

    def enable(self, now: float) -> list[Action]:
        """Answer calls again."""
        self._drained = ""
        self.closure = None
        return self._settled([KeepClosure(None)], now)

    def distrust(self) -> None:
        """Hang up before all else when the device is opened: an earlier run left a call on it."""
        self.modem.distrust()

    def restore(self, closure: Closure) -> None:
        """Be as closed as an earlier run of the agent was; before the device is opened."""
        self.closure = closure

    def probe(self, now: float) -> list[Action]:
        """Ask the modem whether it is there, if it is idle."""
        return self._settled(self._from_modem(self.modem.probe(now), now), now)

    @property
    def closed_for(self) -> str:
        """Why the port answers no calls; empty if it does."""
        if self.closure is not None:
            return self.closure.reason
        return self._closing or self._drained or self._held

    # Time.

    def tick(self, now: float) -> list[Action]:
        """Do what time has made due."""
        actions = self._from_modem(self.modem.tick(now), now)
        actions += self._from_terminal(self.terminal.tick(now), now)
        if self.dialog is not None:
            actions += self._from_dialog(self.dialog.tick(now), now)
        if self._stay is not None and (limit := self._stay.over(now)) is not None:
            actions += self._overstayed(limit, now)
        if self._stay is not None and self._stay.take_interim(now):
            actions.append(self._interim())
        if now >= self._silent_at:
            actions += self._cut(Disconnect.IDLE_TIMEOUT, _CUT, now)
            actions += self._from_modem(self.modem.hang_up(now), now)
        if now >= self._hang_up_at:
            actions += self._hang_up(now)
        return self._settled(actions, now)

    def _overstayed(self, limit: Disconnect, now: float) -> list[Action]:
        """End the stay of a caller who has reached a limit, and tell him if he is one who reads."""
        assert self.call is not None, "only a caller stays"
        service = self.settings.services.get(self.call.service, ServiceLimits())
        if service.is_direct or service.is_raw:
            actions = self._cut(limit, _CUT, now)
            return actions + self._from_modem(self.modem.hang_up(now), now)
        return self._stop_service() + self._last_word(limit, GOODBYES[limit], now, _CUT)

    def _interim(self) -> Record:
        """Return a record of how the stay goes on; a direct service's bytes come with the stop."""
        assert self.call is not None, "only a caller stays"
        call = replace(self.call)
        limits = self.settings.services.get(call.service)
        if limits is not None and limits.is_direct:
            call.pass_by(None)
        return Record("interim", call)

    def deadline(self) -> float:
        """Return when `tick` is due; `math.inf` if it isn't."""
        busy_at = math.inf if self._is_busy else self._busy_since
        due = min(self.modem.deadline(), self._hang_up_at, busy_at)
        if (terminal := self.terminal.deadline()) is not None:
            due = min(due, terminal)
        if self.dialog is not None:
            due = min(due, self.dialog.deadline())
        if self._stay is not None:
            due = min(due, self._stay.deadline())
        if self.settings.silence_timeout_s:
            due = min(due, self._silent_at)
        return due

    @property
    def _silent_at(self) -> float:
        """Return when a call has been silent for too long whose end no modem line shows."""
        limit_s = self.settings.silence_timeout_s
        if not limit_s or self.stage not in _TALKING or self.modem.watches_carrier:
            return math.inf
        return self._active_at + limit_s

    @property
    def _is_unserved(self) -> bool:
        """Whether calls aren't answered for want of a broker."""
        return self._route is None and self.settings.when_down != "answer"

    # After every input.

    def _settled(self, actions: list[Action], now: float) -> list[Action]:
        """Finish a call of which nothing is left, and tell of a new state."""
        call = self.call
        if self.stage is Stage.OVER and self.dialog is None and not self._has_service:
            assert call is not None, "a stage belongs to a call"
            assert call.disconnect is not None, "what ends a call says why"
            self._counters.calls[call.disconnect] += 1
            actions.append(Record("stop", replace(call)))
            self.history.over(call)
            self._last_disconnect = str(call.disconnect)
            self.call = None
            self.stage = Stage.NONE
        is_free = self.stage is not Stage.OVER and not self.closed_for
        self.modem.may_answer = is_free and not self._is_unserved
        if self._wants_busy(now) is not self._is_busy:
            self._is_busy = not self._is_busy
            actions += self._from_modem(self.modem.set_busy(self._is_busy, now), now)
        state, reason = self._observed()
        if state is not self.state or reason != self.reason:
            self.state, self.reason, self.since = state, reason, now
            actions.append(LineChanged(state, reason))
        return actions

    def _wants_busy(self, now: float) -> bool:
        """Return whether operators or brokers want callers to hear busy."""
        if self._route is None and self.settings.when_down == "busy":
            self._busy_since = min(self._busy_since, now + DOWN_S)
        return now >= self._busy_since or (self.closure is not None and self.closure.is_busy)

    def _fault(self) -> str:
        """Return what is wrong with the modem, and that nobody would be answered if it were not."""
        closed_for = "" if self.closure is None else f" ({self.closure.reason})"
        return f"{self.modem.reason}{closed_for}"

    def _observed(self) -> tuple[LineState, str]:
        modem = self.modem.state
        if (at_fault := _AT_FAULT.get(modem)) is not None and self._is_known:
            return at_fault, self._fault()
        state = _IN_CALL.get(self.stage) or _WITHOUT_CALL.get(modem)
        if state is None or not self._is_known:
            # Initialising: as before, until the modem is armed or at fault.
            return self.state, self.reason
        if state is LineState.IDLE:
            return self._observed_idle()
        if state is not LineState.HANGING_UP:
            return state, ""
        if self.stage is Stage.NONE:
            return state, self.modem.reason or self._last_disconnect
        assert self.call is not None, "a stage belongs to a call"
        return state, str(self.call.disconnect)

    def _observed_idle(self) -> tuple[LineState, str]:
        if self.closed_for:
            reasons = filter(None, (self.closed_for, self.modem.reason))
            return LineState.DISABLED, "; ".join(reasons)
        return LineState.IDLE, NO_BROKER if self._is_unserved else self.modem.reason
