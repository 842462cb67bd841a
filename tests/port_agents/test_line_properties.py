"""A port under any order of calls, verdicts, services, operators and faults.

Hypothesis plays the caller on a simulated modem, the worker, the service, the operator and the
clock.  The model is who is on the line: every caller's bytes carry his number, and a service or a
worker may get only those of the caller it was begun for.

Each mutant at the end lacks one guard; random walks must find it out.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from dialgate.codes import NO_ERROR, Code
from dialgate.wire.bodies import ERROR, FAILURE, SUCCESS, Received
from dialgate.wire.body_codec import decode_body
from dialgate.wire.envelope import decode_frame
from dialgate.wire.verbs import Verb
from port_agents.call import Call, Disconnect
from port_agents.dialog_actions import Closed, Route
from port_agents.line import Line
from port_agents.line_actions import Action, Record, ServiceWrite, StartService, StopService
from port_agents.line_call import Stage
from port_agents.modem_actions import Connected, ModemState
from tests.port_agents.line_bench import GONE, Bench


class Watched(Bench):
    """A bench that looks at everything the line wants."""

    def __init__(self, kind: type[Line] = Line) -> None:
        self.caller = 0
        """Number of the caller who is on the line, or was last."""
        self.served: int | None = None
        """The caller whose service runs."""
        self.admitted: set[int] = set()
        """Callers for whom a success was said while they were there."""
        self.answered_calls: set[int] = set()
        self.kinds: Counter[tuple[bytes, str]] = Counter()
        super().__init__(kind)
        self.plug_in()

    def ring(self) -> None:
        if self.far.is_idle:
            self.caller += 1
            super().ring()

    def type(self, data: bytes) -> None:
        super().type(bytes([0x30 + self.caller % 10]) * 3 + data)

    def check_typed(self, data: bytes, caller: int) -> None:
        typed = set(data) & set(b"0123456789")
        assert typed <= {0x30 + caller % 10}, "another caller's bytes"

    def _deliver(self, action: Any) -> None:
        match action:
            case StartService(_, _, first_input):
                assert self.served is None, "two services"
                assert self.caller in self.admitted, "let in by nobody's word"
                self.check_typed(first_input, self.caller)
                self.served = self.caller
            case ServiceWrite(data):
                assert self.served is not None, "typed to nobody"
                self.check_typed(data, self.served)
            case StopService():
                assert self.served is not None, "stopped what does not run"
            case Record(kind, call):
                self.kinds[call.id, kind] += 1
                assert self.kinds[call.id, kind] == 1, "a second record of a kind"
                assert kind == "start" or call.disconnect is not None
                assert kind == "stop" or not self.kinds[call.id, "stop"], "started when over"
            case _ if hasattr(action, "message"):
                self._check_message(action.message)
            case _:
                pass
        super()._deliver(action)

    def _check_message(self, message: bytes) -> None:
        ((verb, _, _, body, _),), _ = decode_frame(message)
        if verb == Verb.RECEIVED:
            self.check_typed(decode_body(body, Received).data, self.caller)


class LineMachine(RuleBasedStateMachine):
    def __init__(self, kind: type[Line] = Line) -> None:
        super().__init__()
        self.bench = Watched(kind)

    @rule(seconds=st.sampled_from([0.05, 0.5, 2.0, 2.5, 14.0]))
    def wait(self, seconds: float) -> None:
        self.bench.wait(seconds)

    @rule()
    def ring(self) -> None:
        self.bench.ring()
        self.bench.wait(1.0)

    @rule(ends=st.booleans())
    def type(self, ends: bool) -> None:
        self.bench.type(b"\r" if ends else b"")

    @rule()
    def hang_up(self) -> None:
        self.bench.hang_up()

    @rule()
    def ask(self) -> None:
        dialog = self.bench.line.dialog
        if dialog is not None:
            self.bench.ask(dialog._exchange.seq + 1)

    @rule(msg_id=st.sampled_from([SUCCESS, FAILURE, ERROR]))
    def decide(self, msg_id: int) -> None:
        bench = self.bench
        if msg_id == SUCCESS and bench.line.stage is Stage.LOGIN:
            bench.admitted.add(bench.caller)
        bench.decide(msg_id, GONE if msg_id == ERROR else NO_ERROR)

    @rule(code=st.sampled_from([NO_ERROR, GONE]))
    def end_reply(self, code: Code) -> None:
        self.bench.end_reply(code)

    @rule()
    def lose_worker(self) -> None:
        self.bench.lose()

    @rule()
    def refuse(self) -> None:
        self.bench.refuse(GONE)

    @rule(is_there=st.booleans())
    def session(self, is_there: bool) -> None:
        bench = self.bench
        bench.do(bench.line.session_over(1, bench.now))
        bench.do(bench.line.route(Route(1) if is_there else None, bench.now))

    @rule()
    def service_says(self) -> None:
        if self.bench.served is not None:
            self.bench.service_says(b"$ ")

    @rule()
    def service_ends(self) -> None:
        if self.bench.served is not None:
            self.bench.served = None
            self.bench.service_ends()

    @rule(cut=st.booleans())
    def operator(self, cut: bool) -> None:
        bench = self.bench
        if cut:
            bench.do(bench.line.cut(Disconnect.OPERATOR, GONE, bench.now))
        else:
            bench.do(bench.line.reset(bench.now))

    @rule()
    def unplug(self) -> None:
        self.bench.lose_device()
        self.bench.hang_up()
        self.bench.do(self.bench.line.opened(None, self.bench.now))

    @rule(drains=st.booleans())
    def driver(self, drains: bool) -> None:
        self.bench.drains = drains
        self.bench.do(())

    @invariant()
    def nothing_is_answered_before_the_last_call_is_over(self) -> None:
        line = self.bench.line
        if line.stage is Stage.OVER:
            assert not line.modem.may_answer
        if self.bench.served is not None:
            assert line.stage in {Stage.ONLINE, Stage.OVER}
        if line.stage is Stage.NONE:
            assert line.dialog is None
            assert self.bench.served is None

    @invariant()
    def every_wait_has_an_end(self) -> None:
        assert self.bench.line.deadline() > self.bench.now

    def settle(self) -> None:
        """Let everybody go; the port must come to rest with every call recorded."""
        if self.bench.line.stage is Stage.LAST_WORD:
            self.bench.wait(2.0)
            assert not self.bench.far.is_online, "not hung up on"
        self.hang_up()
        self.service_ends()
        self.bench.drains = True
        self.bench.wait(700)
        self.service_ends()
        self.bench.wait(30)
        line = self.bench.line
        assert (line.call, line.stage) == (None, Stage.NONE)
        assert line.modem.state in {ModemState.IDLE, ModemState.FAULTED, ModemState.QUARANTINED}
        starts = {call for call, kind in self.bench.kinds if kind == "start"}
        stops = {call for call, kind in self.bench.kinds if kind == "stop"}
        assert starts <= stops

    def teardown(self) -> None:
        self.settle()


TestLine = LineMachine.TestCase
TestLine.settings = settings(max_examples=settings().max_examples // 2, stateful_step_count=25)


# Planted bugs.


class KeepsWhatWasTyped(Line):
    def _connected(self, connected: Connected, now: float) -> list[Action]:
        reset, self.terminal.reset = self.terminal.reset, lambda: None  # type: ignore[method-assign]
        try:
            return super()._connected(connected, now)
        finally:
            self.terminal.reset = reset  # type: ignore[method-assign]

    def _over(self, now: float) -> None:
        typed = self.terminal.take_type_ahead()
        super()._over(now)
        self.terminal._keep(typed)


class AnswersTooSoon(Line):
    def _settled(self, actions: list[Action], now: float) -> list[Action]:
        done = super()._settled(actions, now)
        self.modem.may_answer = True
        return done


class ForgetsTheDialogOfALostCaller(Line):
    def _cut(self, reason: Disconnect, code: Code, now: float) -> list[Action]:
        dialog, self.dialog = self.dialog, None
        done = super()._cut(reason, code, now)
        self.dialog = dialog
        return done


class ForgetsTheServiceOfALostCaller(Line):
    def service_ended(self, failure: str, now: float) -> list[Action]:
        return self._settled([], now)


class StartsWhatTheDialogDoesNot(Line):
    def _from_dialog(self, wanted: Any, now: float) -> list[Action]:
        over = [Closed(handed_over=True) if isinstance(x, Closed) else x for x in wanted]
        return super()._from_dialog(over, now)


class RecordsTwice(Line):
    def _settled(self, actions: list[Action], now: float) -> list[Action]:
        done = super()._settled(actions, now)
        return done + [x for x in done if isinstance(x, Record)]


class NeverHangsUp(Line):
    def _hang_up(self, now: float) -> list[Action]:
        self._hang_up_at = now + 1e6
        return []


class TypesToTheServiceForEver(Line):
    def _from_caller(self, data: bytes, now: float) -> list[Action]:
        if self._has_service:
            return [ServiceWrite(data)]
        return super()._from_caller(data, now)

    def _dialog_closed(self, *, handed_over: bool, now: float) -> list[Action]:
        self._has_service = True
        return super()._dialog_closed(handed_over=handed_over, now=now)


MUTANTS: Final = [
    KeepsWhatWasTyped,
    AnswersTooSoon,
    ForgetsTheDialogOfALostCaller,
    ForgetsTheServiceOfALostCaller,
    StartsWhatTheDialogDoesNot,
    RecordsTwice,
    NeverHangsUp,
    TypesToTheServiceForEver,
]


def walk(machine: LineMachine, chance: random.Random, steps: int) -> None:
    moves: list[Callable[[], object]] = [
        machine.ring,
        machine.ring,
        machine.ask,
        lambda: machine.type(chance.random() < 0.5),
        lambda: machine.type(True),
        lambda: machine.decide(chance.choice([SUCCESS, SUCCESS, FAILURE, ERROR])),
        lambda: machine.end_reply(chance.choice([NO_ERROR, GONE, GONE])),
        machine.hang_up,
        machine.service_says,
        machine.service_ends,
        lambda: machine.wait(chance.choice([0.5, 2.0, 2.5])),
        lambda: machine.operator(chance.random() < 0.5),
        lambda: machine.driver(chance.random() < 0.5),
    ]
    for _ in range(steps):
        chance.choice(moves)()
        machine.nothing_is_answered_before_the_last_call_is_over()
        machine.every_wait_has_an_end()
    machine.settle()


def walks(line: type[Line], number: int) -> None:
    chance = random.Random(1)
    for _ in range(number):
        walk(LineMachine(line), chance, 30)


def test_walks() -> None:
    walks(Line, 2 * settings().max_examples)


@pytest.mark.interpreted
@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_planted_bug_is_found(mutant: type[Line]) -> None:
    with pytest.raises(AssertionError):
        walks(mutant, 400)


def test_a_call_outlives_no_record() -> None:
    """What a record holds does not change when the call goes on."""
    bench = Watched()
    bench.ring()
    bench.wait(3)
    bench.admitted.add(bench.caller)
    bench.admit()
    ((_, start),) = bench.records
    bench.type(b"ls\r")

    assert isinstance(start, Call)
    assert start.bytes_in == 0
