"""The agent of a small world with its line, a modem, whoever calls, and the service.

The modem is at the agent's side: between them nothing is ever under way.  A caller dials, hangs up,
and answers the question that stands before him, saying which, each at any moment.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

from dialgate.codes import NO_ERROR
from dialgate.session import CloseLink, Transmit
from dialgate.wire.bodies import Complete
from dialgate.wire.body_codec import decode_body
from dialgate.wire.envelope import decode_frame
from dialgate.wire.verbs import Verb
from port_agents.agent import Agent
from port_agents.agent_actions import OnPort
from port_agents.brokers import Brokers
from port_agents.dialog import PortDialog
from port_agents.dialog_actions import Phase
from port_agents.line import Line
from port_agents.line_actions import LineState, Record, StartService, StopService, WriteLine
from port_agents.modem import Modem
from port_agents.modem_actions import ModemLines, Reopen, SetDtr
from port_agents.modem_steps import Step
from port_agents.simulated_modem import CallDropped, LinesChanged, SimulatedModem, ToDte
from port_agents.timers import Timers
from tests.simulator.small_world.parts import (
    AGENT,
    BROKERS,
    Attempt,
    Broken,
    Facts,
    Input,
    Part,
    Word,
    free_number,
)
from tests.simulator.small_world.told import COUNTERS, SETTINGS, WELCOME

__all__ = ["Site"]

PORT: Final = SETTINGS.hport
HANGING_UP: Final = {Step.DTR_LOW, Step.DCD_FALL, Step.GUARD, Step.ESCAPE, Step.ON_HOOK}


class Ids:
    """Gives ids that are never given again: by the number of the caller, and how many he has had.

    So the second call's are the same whatever the first one came to.
    """

    def __init__(self) -> None:
        self.caller = 0
        self.given = 0

    def __call__(self) -> bytes:
        self.given += 1
        return f"call {self.caller} id {self.given}".encode().ljust(16, b".")


class Site(Part):
    """The agent's process, and what it has on its port."""

    def __init__(self) -> None:
        super().__init__()
        self.ids = Ids()
        self.modem = SimulatedModem()
        self.caller = 0
        """Number of the caller on the line; 0: nobody."""
        self.is_serving = False
        self.stops: dict[bytes, int] = {}
        """Stop records, by call."""
        self.sessions: dict[str, int] = {}
        self.last_begin: Attempt | None = None
        self.start()

    def start(self) -> None:
        """Start the agent, and open the device."""
        choice = Brokers(AGENT, BROKERS, weight=weight)
        self.agent = Agent(choice, [SETTINGS], COUNTERS, self.ids)
        self.sessions = {}
        self.modem.dtr(True, self.now)
        self.do(self.agent.start(self.now))
        self.do(self.agent.opened(PORT, lines_of(self.modem._shown), self.now))

    @property
    def line(self) -> Line:
        return self.agent.lines[PORT]

    @property
    def dialog(self) -> PortDialog | None:
        return self.line.dialog

    # Inputs.

    def take(self, what: Input) -> None:
        match what:
            case ("message", broker, message):
                self.hear(broker, message)
            case ("over", broker):
                self.do(self.agent.session_closed(self.sessions.pop(broker), NO_ERROR, self.now))
            case ("open", broker):
                self.sessions[broker] = number = free_number(broker, set(self.numbers()))
                self.do(self.agent.session_opened(broker, number, WELCOME, self.now))
            case ("dial", number):
                self.caller = self.ids.caller = number
                self.ids.given = 0
                self.from_modem(self.modem.ring(self.now))
            case ("hang up",):
                self.caller = 0
                self.from_modem(self.modem.far_hang_up(self.now))
            case ("answer",):
                assert self.line.terminal._request is not None, "he answers what he is asked"
                question = self.line.terminal._request.prompt
                answer = b"caller%d to %s\r" % (self.caller, question)
                self.from_modem(self.modem.line(answer, self.now))
            case ("die",):
                # The system drops DTR, and the modem whoever is connected; one who rings rings on.
                self.is_serving = False
                self.last_begin = None
                self.from_modem(self.modem.dtr(False, self.now), is_heard=False)
                self.start()
            case ("pass", passed_s):
                self.pass_time(passed_s)
                if self.modem.deadline() <= self.now:
                    self.from_modem(self.modem.tick(self.now))
                if self.agent.deadline() <= self.now:
                    self.do(self.agent.tick(self.now))
            case _:
                raise AssertionError(what)

    def hear(self, broker: str, message: bytes) -> None:
        """Take a message, and tell whose word was accepted, if one was."""
        [(verb, name, attempt, body, _)], _ = decode_frame(message)
        dialog = self.dialog
        seq = -1 if dialog is None or dialog.phase is not Phase.BEGUN else dialog._exchange.seq
        number = self.sessions[broker]
        self.do(self.agent.message(number, verb, name, attempt, body, self.now))
        if dialog is None or seq < 0:
            return
        if verb == Verb.COMPLETE and dialog.phase is not Phase.BEGUN:
            worker = decode_body(body, Complete).worker
        elif dialog._exchange.seq > seq:
            worker = dialog._exchange.worker
        else:
            return
        self.said.append((AGENT, Word("heard", dialog.dialog, attempt, worker)))

    def numbers(self) -> Iterator[int]:
        """Yield the numbers of sessions that something may be compared with."""
        yield from self.sessions.values()
        routes = [self.line._route]
        if self.dialog is not None:
            routes += [self.dialog._route, self.dialog._used]
        yield from (each.session for each in routes if each is not None)

    # What is wanted.

    def do(self, actions: list[Any]) -> None:
        for action in actions:
            match action:
                case Transmit(session, message):
                    self.send(session, message)
                case CloseLink(link):
                    if self.sessions.pop(link, None) is not None:
                        self.said.append((link, Word("closed")))
                case OnPort(_, wanted):
                    self.on_port(wanted)
                case _:
                    pass

    def send(self, session: int, message: bytes) -> None:
        [(verb, dialog, attempt, _, _)], _ = decode_frame(message)
        if verb == Verb.LINES:
            return  # For observers.
        if verb == Verb.BEGIN and dialog is not None:
            known = self.last_begin
            if known is not None and known[0] == dialog and attempt <= known[1]:
                raise Broken(f"I1: attempt {attempt} is begun behind attempt {known[1]}")
            self.last_begin = dialog, attempt
        self.said += [(link, message) for link, n in self.sessions.items() if n == session]

    def on_port(self, action: Any) -> None:
        match action:
            case WriteLine(data):
                self.from_modem(self.modem.dte(data, self.now))
                self.do(self.agent.drained(PORT, self.now))
            case SetDtr(on):
                self.from_modem(self.modem.dtr(on, self.now))
            case Reopen():
                raise Broken("a device is opened that was never closed")
            case StartService(_, admission):
                if self.is_serving:
                    raise Broken("I1: two services on a port")
                if not self.caller or admission.user != f"caller{self.caller}":
                    raise Broken(f"I2: {admission.user} is let in for caller {self.caller}")
                self.is_serving = True
            case StopService():
                self.is_serving = False
                self.do(self.agent.service_ended(PORT, "", self.now))
            case Record("stop", call):
                self.stops[call.id] = self.stops.get(call.id, 0) + 1
                if self.stops[call.id] > 1:
                    raise Broken("I6: two stop records")
            case _:
                pass

    def from_modem(self, actions: list[Any], *, is_heard: bool = True) -> None:
        for action in actions:
            match action:
                case ToDte(data) if is_heard:
                    self.do(self.agent.receive(PORT, data, self.now))
                case LinesChanged() if is_heard:
                    self.do(self.agent.lines_changed(PORT, lines_of(action), self.now))
                case CallDropped():
                    self.caller = 0
                case _:
                    pass

    # What others may know.

    def due(self) -> float:
        return min(self.agent.deadline(), self.modem.deadline())

    def settle(self) -> None:
        line, dialog = self.line, self.dialog
        if (known := self.agent._timers._due.get(line)) is not None:
            # What was asked for too early does no harm, and would be a state of its own.
            self.agent._timers = timers = Timers[Line]()
            timers.set(line, max(known, line.deadline()))
        self.stops = {x: n for x, n in self.stops.items() if line.call and x == line.call.id}
        if line.call is None and self.modem.is_idle:
            self.ids.caller = self.ids.given = 0
        assert isinstance(line.modem, Modem), "the line has one"
        if line.modem._step not in HANGING_UP:
            line.modem._after_call = False
        if dialog is None:
            self.last_begin = None
            return
        if dialog.phase is not Phase.BEGUN:
            dialog._exchange.answer_out = False
        if dialog.phase is not Phase.WAITING:
            dialog._waiting_until = math.inf
        elif dialog._used is not None:
            dialog._used = replace(dialog._used, session=0)
        if dialog._retries.due <= self.now:
            dialog._retries.due = -math.inf
        if dialog.phase not in {Phase.WAITING, Phase.BEGUN}:
            dialog._begun_at = -math.inf

    def facts(self) -> Facts:
        line, dialog = self.line, self.dialog
        begun = None
        if dialog is not None and dialog.phase is Phase.BEGUN:
            begun = dialog.dialog, dialog.attempt
        phase = None if dialog is None else (dialog.dialog, dialog.attempt, dialog.phase.name)
        outline = line.state.value, line.stage.name, line.modem.state.value, phase
        is_asked = line.terminal._request is not None
        return Facts(
            outline=(*outline, self.is_serving, self.caller, *sorted(self.sessions)),
            due_s=self.due_s(),
            unrest="" if line.state is LineState.IDLE else f"I3: the port is {line.state}",
            caller=self.caller,
            links=tuple(sorted(self.agent.brokers.links)),
            may_dial=not self.caller and self.modem.is_idle,
            may_answer=bool(self.caller) and is_asked,
            waits=begun is not None and not is_asked,
            begun=begun,
        )


def weight(_agent: str, link: str) -> bytes:
    """Order brokers by name."""
    return bytes([255 - ord(link)])


def lines_of(changed: LinesChanged) -> ModemLines:
    return ModemLines(dcd=changed.dcd, dsr=True, ri=changed.ri, cts=True)
