"""Properties of a modem on any line: Hypothesis plays caller, owner, operator, noise and clock.

Goal: whatever happens, every call has one end, no byte is taken for another call's, and the modem
is armed again, on-hook, within a bound.  Method: the real `Modem` works a simulated one in virtual
time; the model knows what a caller did and what the owner was told.  `BUGS` are planted ones, each
of which this test must find.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from dialgate.codes import Code
from port_agents.modem import (
    Action,
    Armed,
    CallEnded,
    Caller,
    CallerBytes,
    Connected,
    Modem,
    ModemSettings,
    ModemState,
    Ringing,
    Write,
)
from port_agents.modem_arming import Step
from port_agents.modem_results import CarrierWatch, Connect
from port_agents.simulated_modem import IncomingCall, SimulatedAction, SimulatedModemSettings
from tests.port_agents.wired_modem import LINES_DOWN, WiredModem

ARMED_WITHIN_S = 60.0
"""Hang-up, fault, the longest wait before a new try, and init, with a margin."""
WIRINGS = (
    ModemSettings(rings=2, quarantine_retry_s=(30.0,), dcd_debounce_ms=200),
    ModemSettings(
        rings=1,
        hangup="escape",
        init=("ATZ", "ATE0+VCID=1"),
        quarantine_retry_s=(30.0,),
        probe_interval_s=20.0,
    ),
    ModemSettings(dcd="ignore", quarantine_retry_s=(30.0,), probe_interval_s=10.0),
    ModemSettings(
        dcd="ignore",
        rings=2,
        init=("ATZ", "AT+VCID=1"),
        caller_id_wait_ms=300,
        quarantine_retry_s=(30.0,),
    ),
)
TEXTS = (
    b"ann\r\n",
    b"\r\nNO CARRIER\r\n",
    b"\r\n",
    b"\r",
    b"\nNO CARRIER\n",
    b"\r\nNO",
    b" CARR",
    b"+++",
    b"\r\nOK\r\n",
    b"\r\nRING\r\n",
    b"\r\nCONNECT 9600\r\n",
    bytes(range(256)),
)
NOISES = (b"\xff\x00~", b"x" * 300, b"\r\n", b"\r\nCARRIER\r\n", b"AT\r")
FAULTS = ("", "silent", "refuses", "echo_stuck", "dcd_stuck")
DURATIONS_S = (0.01, 0.06, 0.5, 1.0, 2.3, 6.0, 30.0)


class Owned(WiredModem):
    """Holds what the modem tells its owner against the model."""

    def __init__(self, modem_settings: ModemSettings, modem: type[Modem]) -> None:
        super().__init__(modem_settings, SimulatedModemSettings(ring_interval_s=1.0), modem)
        self.in_call = False
        self.is_connected = False
        self.sent = b""
        """By the caller of this call, since CONNECT."""
        self.got = b""
        self.is_initialised = False
        self.end_was_hidden = False
        """Whether a fault hid the end of this call: then what the modem says looks like typing."""

    def told(self, action: Action) -> None:
        match action:
            case Ringing(count):
                assert not self.is_connected, "RING in a call"
                assert self.in_call == (count > 1), "a call that begins with another RING"
                self.in_call = True
            case Connected():
                assert self.in_call, "CONNECT without RING"
                assert not self.is_connected, "a call that begins twice"
                assert self.far.is_online or self.answered, "CONNECT without a caller"
                self.is_connected = True
                self.is_initialised = False
            case CallerBytes(data):
                assert self.is_connected, "bytes of no call"
                assert data, "no bytes"
                self.got += data
                # The CR that begins NO CARRIER is not held back when it comes alone.
                said = self.sent if self.far.is_online else self.sent + b"\r"
                assert said.startswith(self.got) or self.end_was_hidden, "another's bytes"
            case CallEnded():
                assert self.in_call, "the end of no call"
                self.over()
            case Armed():
                assert not self.in_call, "armed in a call"
                assert self.is_initialised, "armed without init after a call"
                assert not self.far.is_online, "armed with the caller still on the line"
            case _:
                pass

    def _deliver(self, action: Action | SimulatedAction) -> None:
        settings = self.modem.settings
        self.is_initialised |= action == Write(settings.init[-1].encode() + b"\r")
        super()._deliver(action)

    def over(self) -> None:
        """End the call, in the model."""
        self.in_call = self.is_connected = False
        self.sent = self.got = b""
        self.end_was_hidden = False


class ModemOnAnyLine(RuleBasedStateMachine):
    modem_class: ClassVar[type[Modem]] = Modem

    @initialize(
        wiring=st.sampled_from(WIRINGS),
        size=st.integers(1, 40),
        in_call=st.booleans(),
    )
    def plug_in(self, wiring: ModemSettings, size: int, in_call: bool) -> None:
        """Begin with a modem of which nothing is known, or in the middle of a call."""
        self.line = Owned(wiring, self.modem_class)
        self.reads_are_cut(size)
        self.line.plug_in()
        if in_call:
            self.line.wait(10.0)
            self.dial("", 3.0)

    @rule(
        number=st.sampled_from(["", "5551234", "P", "O"]),
        patience_s=st.sampled_from([0.0, 0.5, 3.0]),
    )
    def dial(self, number: str, patience_s: float) -> None:
        if self.line.far.is_idle:
            self.line.do(self.line.far.ring(self.line.now, IncomingCall(number)))
            self.line.wait(patience_s)

    @precondition(lambda self: self.line.far.is_online)
    @rule(data=st.sampled_from(TEXTS), waits=st.booleans())
    def type(self, data: bytes, waits: bool) -> None:
        was_connected = self.line.is_connected
        if self.line.in_call:
            self.line.sent += data
        self.line.do(self.line.far.line(data, self.line.now))
        if was_connected and self.line.modem.settings.dcd == "auto":
            assert self.line.is_connected, "a typed text ended the call"
        if waits and self.line.is_connected:
            self.line.wait(0.06)
            assert self.line.got == self.line.sent, "typed and never heard"

    @precondition(lambda self: not self.line.far.is_idle)
    @rule()
    def caller_hangs_up(self) -> None:
        faults = self.line.far.faults
        self.line.end_was_hidden |= faults.silent or faults.dcd_stuck
        self.line.do(self.line.far.far_hang_up(self.line.now))

    @rule()
    def owner_hangs_up(self) -> None:
        actions = self.line.modem.hang_up(self.line.now)
        self.line.over()
        self.line.do(actions)

    @precondition(lambda self: self.line.is_connected)
    @rule(data=st.sampled_from([b"login: ", b"\r\n"]))
    def owner_writes(self, data: bytes) -> None:
        self.line.write(data)

    @rule()
    def operator_resets(self) -> None:
        self.line.do(self.line.modem.reset(self.line.now))

    @rule()
    def device_is_unplugged_and_found_again(self) -> None:
        self.line.do(self.line.modem.closed("unplugged", self.line.now))
        self.line.wait(2.0)
        lines = replace(LINES_DOWN, dcd=self.line.far.is_online)
        wired = self.line.modem.settings.dcd == "auto"
        self.line.do(self.line.modem.opened(lines if wired else None, self.line.now))

    @precondition(lambda self: not self.line.far.is_online)
    @rule(data=st.sampled_from(NOISES))
    def line_is_noisy(self, data: bytes) -> None:
        self.line.do(self.line.modem.receive(data, self.line.now))

    def reads_are_cut(self, size: int) -> None:
        self.line.pieces = lambda data: [
            data[start : start + size] for start in range(0, len(data), size)
        ]

    @rule(fault=st.sampled_from(FAULTS))
    def modem_fails(self, fault: str) -> None:
        self.heal()
        if fault:
            setattr(self.line.far.faults, fault, "ATE0" if fault == "refuses" else True)

    @rule(duration_s=st.sampled_from(DURATIONS_S))
    def wait(self, duration_s: float) -> None:
        self.line.wait(duration_s)

    @rule()
    def all_is_well_in_the_end(self) -> None:
        """With nobody on the line and nothing broken, the modem is armed within the bound."""
        self.heal()
        self.caller_hangs_up()
        self.line.wait(0.25)  # Longer than the debounce.
        if self.line.is_connected:
            assert self.line.end_was_hidden, "the end of the call was not seen"
            self.owner_hangs_up()
        self.line.wait(ARMED_WITHIN_S)

        assert self.line.modem.state is ModemState.IDLE
        assert self.line.far.is_idle
        assert not self.line.in_call, "a call without an end"

    @precondition(lambda self: self.line.is_connected and self.line.far.is_online)
    @rule()
    def a_caller_who_is_dropped_is_dropped(self) -> None:
        """Hang up after a good call on a good modem: on-hook within 3 s."""
        self.heal()
        self.owner_hangs_up()
        self.line.wait(3.0)

        assert not self.line.far.is_online

    @invariant()
    def every_wait_has_an_end(self) -> None:
        endless = {ModemState.CLOSED, ModemState.IDLE, ModemState.CONNECTED}
        assert self.line.modem.deadline() < math.inf or self.line.modem.state in endless

    def heal(self) -> None:
        faults = self.line.far.faults
        faults.silent = faults.echo_stuck = faults.dcd_stuck = False
        faults.refuses = ""
        self.line.do(self.line.far.dtr(on=True, now=self.line.now))


TestModemOnAnyLine = ModemOnAnyLine.TestCase
TestModemOnAnyLine.settings = settings(
    max_examples=settings().max_examples // 2, stateful_step_count=30
)


# Planted bugs: each class is a modem with one of them.


class ForgetsToHangUp(Modem):
    def _go_on_hook(self, now: float) -> list[Action]:
        return self._settle(now)


class TrustsATypedNoCarrier(Modem):
    def _watched(self, data: bytes, now: float) -> list[Action]:
        actions = super()._watched(data, now)
        return self._settle(now) and actions if self._step is Step.GUARD else actions


class BelievesItIsOnHookAtOnce(Modem):
    def _escape(self, now: float) -> list[Action]:
        return self._settle(now)


class ArmsWithoutInit(Modem):
    def _settle(self, now: float) -> list[Action]:
        return self._armed(now)


class KeepsOldBytes(Modem):
    def _connected(self, now: float) -> list[Action]:
        return [*super()._connected(now), CallerBytes(b"left over")]


class ForgetsTheEndOfACall(Modem):
    def _end_call(self, code: Code) -> list[Action]:
        return []


class EndsACallTwice(Modem):
    def _lost(self, code: Code, now: float) -> list[Action]:
        return [*super()._lost(code, now), CallEnded(code)]


class NeverGivesUpInit(Modem):
    def _goto(self, step: Step, deadline: float = math.inf) -> None:
        super()._goto(step, math.inf if step is Step.INIT else deadline)


class NeverTriesAgain(Modem):
    def _fault(self, reason: str, now: float) -> list[Action]:
        actions = super()._fault(reason, now)
        self._deadline = math.inf
        return actions


class RingsForEver(Modem):
    def _goto(self, step: Step, deadline: float = math.inf) -> None:
        super()._goto(step, 1e9 if step is Step.RINGING else deadline)


class TakesTypedTextForTheEnd(Modem):
    @property
    def _watches_dcd(self) -> bool:
        return False


class DoesNotHoldBack(Modem):
    def __init__(self, modem_settings: ModemSettings) -> None:
        super().__init__(modem_settings)
        self._watch = _HoldsNothing()


class _HoldsNothing(CarrierWatch):
    def feed(self, data: bytes) -> tuple[bytes, bool]:
        heard, gone = super().feed(data)
        return heard + self.release(), gone


class NeverReleasesWhatItHolds(Modem):
    def _watched(self, data: bytes, now: float) -> list[Action]:
        actions = super()._watched(data, now)
        if self._step is Step.DATA:
            self._deadline = math.inf
        return actions


class ForgetsTheLineFeedOfConnect(Modem):
    def _answered(self, connect: Connect, now: float) -> list[Action]:
        return super()._answered(msgspec.structs.replace(connect, numeric=True), now)


class CountsRingsOverCalls(Modem):
    def _ring(self, now: float) -> list[Action]:
        rings = self._rings
        actions = super()._ring(now)
        self._rings = max(self._rings, rings)
        return [Ringing(self._rings, Caller()), *actions[1:]]


class IgnoresTheDropOfDcd(Modem):
    def lines_changed(self, lines: Any, now: float) -> list[Action]:
        return super().lines_changed(lines, now) if lines.dcd else []


class ListensWhileItHangsUp(Modem):
    def receive(self, data: bytes, now: float) -> list[Action]:
        if self.state is ModemState.HANGING_UP:
            return [CallerBytes(data)]
        return super().receive(data, now)


BUGS = [
    ForgetsToHangUp,
    TrustsATypedNoCarrier,
    BelievesItIsOnHookAtOnce,
    ArmsWithoutInit,
    KeepsOldBytes,
    ForgetsTheEndOfACall,
    EndsACallTwice,
    NeverGivesUpInit,
    NeverTriesAgain,
    RingsForEver,
    TakesTypedTextForTheEnd,
    DoesNotHoldBack,
    NeverReleasesWhatItHolds,
    ForgetsTheLineFeedOfConnect,
    CountsRingsOverCalls,
    IgnoresTheDropOfDcd,
    ListensWhileItHangsUp,
]


def walk(modem: type[Modem], seed: int, steps: int = 30) -> None:
    """Let a seed pick the moves: the same ones at every run, and many more a second."""
    chance = random.Random(seed)
    machine = type("Walked", (ModemOnAnyLine,), {"modem_class": modem})()
    machine.plug_in(chance.choice(WIRINGS), chance.randint(1, 40), chance.random() < 0.5)
    line = machine.line
    anytime: list[Callable[[], object]] = [
        lambda: machine.dial(
            chance.choice(["", "5551234", "P", "O"]), chance.choice([0.0, 0.5, 3.0])
        ),
        machine.owner_hangs_up,
        machine.operator_resets,
        machine.device_is_unplugged_and_found_again,
        lambda: machine.modem_fails(chance.choice(FAULTS)),
        lambda: machine.wait(chance.choice(DURATIONS_S)),
        lambda: machine.wait(chance.choice(DURATIONS_S)),
        machine.all_is_well_in_the_end,
    ]
    online: list[Callable[[], object]] = [
        lambda: machine.type(chance.choice(TEXTS), chance.random() < 0.5)
    ] * 4
    for _ in range(steps):
        moves = list(anytime)
        moves += online if line.far.is_online else [lambda: machine.line_is_noisy(noise(chance))]
        if line.is_connected:
            moves.append(lambda: machine.owner_writes(chance.choice([b"login: ", b"\r\n"])))
        if line.is_connected and line.far.is_online:
            moves.append(machine.a_caller_who_is_dropped_is_dropped)
        moves += [] if line.far.is_idle else [machine.caller_hangs_up]
        chance.choice(moves)()
        machine.every_wait_has_an_end()


def noise(chance: random.Random) -> bytes:
    return chance.choice(NOISES)


def walks(modem: type[Modem], number: int) -> None:
    for seed in range(number):
        walk(modem, seed)


def test_walks() -> None:
    walks(Modem, 2 * settings().max_examples)


@pytest.mark.interpreted
@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.__name__)
def test_a_planted_bug_is_found(bug: type[Modem]) -> None:
    with pytest.raises(AssertionError):
        walks(bug, 2000)
