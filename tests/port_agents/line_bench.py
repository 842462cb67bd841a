"""A port on the bench: a simulated modem and its caller, brokers' messages, a service.

`Bench` plays the shell and the broker.  What the line asks for is kept as short lines:

    s1: BEGIN (1) seq=0 owner=- cookie=-  as in `dialog_bench`
    start console for ann / service 'ls' / stop / record start / record stop caller
    idle / ringing / hanging-up caller ...       the states that observers see
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import replace
from itertools import count
from typing import Any, Final

from dialgate.codes import NO_ERROR, Code
from dialgate.session import Transmit
from dialgate.wire.bodies import FAILURE, SUCCESS, Complete, EndReply, Lost, Receive, Refused
from dialgate.wire.body_codec import encode_body
from dialgate.wire.envelope import decode_frame
from dialgate.wire.verbs import Verb
from port_agents.call import Call
from port_agents.dialog_actions import Route, Unserved
from port_agents.line import Line
from port_agents.line_actions import (
    Action,
    Admission,
    CallBegan,
    LineChanged,
    LineSettings,
    Record,
    ServiceLimits,
    ServiceWrite,
    StartService,
    StopService,
    WriteLine,
)
from port_agents.modem_actions import Flush, ModemLines, ModemSettings, Reopen, SetDtr
from port_agents.simulated_modem import (
    LinesChanged,
    SimulatedAction,
    SimulatedModem,
    SimulatedModemSettings,
    ToCaller,
    ToDte,
)
from port_agents.simulated_modem_actions import IncomingCall
from tests.port_agents.dialog_bench import (
    DISCONNECTED,
    GONE,
    HOME,
    NO_WORKER,
    W,
    code_text,
    new_counters,
)

DOWN: Final = ModemLines(dcd=False, dsr=True, ri=False, cts=True)
SETTINGS: Final = LineSettings(
    hport="oslo/1",
    site="oslo",
    agent="oslo-1",
    device="/dev/ttyS0",
    service="console",
    services={
        "console": ServiceLimits(session_timeout_s=600, idle_timeout_s=60),
        "shell": ServiceLimits(),
    },
)


class Bench:
    """One port, its caller, its broker and its service."""

    def __init__(
        self,
        kind: type[Line] = Line,
        settings: LineSettings = SETTINGS,
        *,
        route: Route | None = HOME,
    ) -> None:
        ids = count(1)
        self.counters = new_counters()
        self.line = kind(settings, self.counters, lambda: next(ids).to_bytes(16))
        self.far = SimulatedModem(SimulatedModemSettings(ring_interval_s=1.0))
        self.now = 100.0
        self.seen: list[str] = []
        """What the line asked for, states included; `take` empties it."""
        self.screen = b""
        """What the caller saw."""
        self.begun: list[Call] = []
        """What was noted of calls that were under way."""
        self.records: list[tuple[str, Call]] = []
        self.admissions: list[Admission] = []
        self.sent: list[tuple[int, Verb, bytes, int]] = []
        """Session, verb, dialog and attempt of each message."""
        self.drains = True
        """Whether what is written leaves at once."""
        self._is_undrained = False
        self._under_way: deque[Action | SimulatedAction] = deque()
        self._is_delivering = False
        self.has_lines = settings.modem.dcd == "auto"
        if route is not None:
            self.do(self.line.route(route, self.now))

    # The shell.

    def plug_in(self) -> None:
        self.do(self.line.opened(DOWN if self.has_lines else None, self.now))
        self.wait(3)

    def wait(self, seconds: float) -> None:
        """Let time pass, with all that is due in it."""
        until = self.now + seconds
        while (due := min(self.line.deadline(), self.far.deadline())) <= until:
            self.now = max(self.now, due)
            self.do(self.line.tick(self.now))
            self.do(self.far.tick(self.now))
        self.now = until

    def take(self) -> list[str]:
        """Return what was seen since the last time."""
        seen, self.seen = self.seen, []
        return seen

    def lose_device(self) -> None:
        self.do(self.line.closed("unplugged", self.now))

    # The caller.

    def ring(self) -> None:
        """Call; the first RING comes at once."""
        self.do(self.far.ring(self.now, IncomingCall(number="5551234")))

    def call(self) -> None:
        """Call, and wait for the connection."""
        self.ring()
        self.wait(3)

    def type(self, data: bytes) -> None:
        self.do(self.far.line(data, self.now))

    def hang_up(self) -> None:
        self.do(self.far.far_hang_up(self.now))

    # The worker.

    def say(self, verb: Verb, body: Any, session: int = 1) -> None:
        dialog = self.line.dialog
        if dialog is not None:
            raw = encode_body(body)
            self.do(self.line.message(session, verb, dialog.attempt, raw, self.now))

    def ask(self, seq: int = 1, prompt: bytes = b"login: ", **fields: Any) -> None:
        question: dict[str, Any] = {
            "mode": "line",
            "echo": "on",
            "limit": 64,
            "timeout_s": 30,
            "cookie": b"",
        } | fields
        self.say(Verb.RECEIVE, Receive(worker=W, seq=seq, prompt=prompt, **question))

    def decide(self, msg_id: Any = SUCCESS, error: Code = NO_ERROR, **attributes: Any) -> None:
        self.say(
            Verb.COMPLETE,
            Complete(
                worker=W,
                msg_id=msg_id,
                error=error,
                username="ann" if msg_id == SUCCESS else "",
                domain="",
                attributes=attributes,
            ),
        )

    def refuse_user(self, **attributes: Any) -> None:
        self.decide(FAILURE, **attributes)

    def end_reply(self, code: Code = DISCONNECTED) -> None:
        self.say(Verb.END_REPLY, EndReply(code=code))

    def lose(self) -> None:
        self.say(Verb.LOST, Lost(code=DISCONNECTED))

    def refuse(self, code: Code = NO_WORKER) -> None:
        self.say(Verb.REFUSED, Refused(code=code))

    def admit(self, **attributes: Any) -> None:
        """Let the caller in."""
        self.decide(**attributes)
        self.end_reply()

    # The service.

    def service_says(self, data: bytes) -> None:
        self.do(self.line.service_output(data, self.now))

    def service_ends(self, failure: str = "") -> None:
        self.do(self.line.service_ended(failure, self.now))

    # The wires.  First in, first out.

    def do(self, actions: Iterable[Action | SimulatedAction]) -> None:
        self._under_way.extend(actions)
        if self._is_delivering:
            return
        self._is_delivering = True
        while self._under_way or (self._is_undrained and self.drains):
            if self._under_way:
                self._deliver(self._under_way.popleft())
            else:
                self._is_undrained = False
                self._under_way.extend(self.line.drained(self.now))
        self._is_delivering = False

    def drain(self) -> None:
        """Let what was written leave."""
        self._is_undrained = False
        self.do(self.line.drained(self.now))

    def _deliver(self, action: Action | SimulatedAction) -> None:
        match action:
            case WriteLine(data):
                self._is_undrained = True
                self.do(self.far.dte(data, self.now))
            case SetDtr(on):
                self.do(self.far.dtr(on, self.now))
            case Reopen(0.0):
                lines = replace(DOWN, dcd=self.far.is_online or self.far.faults.dcd_stuck)
                self.do(self.line.opened(lines if self.has_lines else None, self.now))
            case Flush() | Reopen():
                pass
            case ToDte(data):
                self.do(self.line.receive(data, self.now))
            case ToCaller(data):
                self.screen += data
            case LinesChanged(dcd, ri):
                if self.has_lines:
                    lines = ModemLines(dcd=dcd, dsr=True, ri=ri, cts=True)
                    self.do(self.line.lines_changed(lines, self.now))
            case Transmit(session, message):
                ((verb, dialog, attempt, _, _),), _ = decode_frame(message)
                assert dialog is not None
                self.sent.append((session, Verb(verb), dialog, attempt))
                self.seen.append(f"s{session}: {Verb(verb).name} ({attempt})")
            case _:
                self._note(action)

    def _note(self, action: Action | SimulatedAction) -> None:
        match action:
            case StartService(name, admission, first_input):
                self.admissions.append(admission)
                typed = f" {first_input.decode('latin-1')!r}" if first_input else ""
                self.seen.append(f"start {name} for {admission.user}{typed}")
            case ServiceWrite(data):
                self.seen.append(f"service {data.decode()!r}")
            case StopService():
                self.seen.append("stop")
            case CallBegan(call):
                self.begun.append(call)
            case Record(kind, call):
                self.records.append((kind, call))
                self.seen.append(f"record {kind} {call.disconnect or ''}".rstrip())
            case LineChanged(state, reason):
                self.seen.append(f"{state} {reason}".rstrip())
            case Unserved(_, code):
                self.seen.append(f"unserved {code_text(code)}")
            case _:
                pass  # The simulated modem's own news.


def ready(kind: type[Line] = Line, settings: LineSettings = SETTINGS) -> Bench:
    """Return a port that is armed."""
    bench = Bench(kind, settings)
    bench.plug_in()
    bench.take()
    return bench


def called(kind: type[Line] = Line, settings: LineSettings = SETTINGS) -> Bench:
    """Return a port whose caller is connected, with BEGIN out."""
    bench = ready(kind, settings)
    bench.call()
    bench.take()
    return bench


def online(settings: LineSettings = SETTINGS, **attributes: Any) -> Bench:
    """Return a port whose caller is at his service."""
    bench = called(settings=settings)
    bench.admit(**attributes)
    bench.take()
    return bench


IGNORING_DCD: Final = ModemSettings(dcd="ignore")

__all__ = ["GONE", "IGNORING_DCD", "SETTINGS", "Bench", "called", "online", "ready"]
