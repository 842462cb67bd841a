"""The simulated modem says and does, byte by byte, what Hayes modems do."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from port_agents.simulated_modem import (
    CallAnswered,
    CallDropped,
    Dialled,
    IncomingCall,
    LinesChanged,
    SimulatedAction,
    SimulatedModem,
    SimulatedModemSettings,
    ToCaller,
    ToDte,
)

ANN = IncomingCall("5551234", "ANN", "0321", "1405")


def said(actions: Sequence[SimulatedAction]) -> bytes:
    return b"".join(action.data for action in actions if isinstance(action, ToDte))


def others(actions: Sequence[SimulatedAction]) -> list[SimulatedAction]:
    return [action for action in actions if not isinstance(action, ToDte)]


def quiet(init: bytes = b"") -> SimulatedModem:
    """Return a modem without echo."""
    modem = SimulatedModem()
    modem.dte(b"ATE0" + init + b"\r", -100.0)
    return modem


def in_call(init: bytes = b"") -> SimulatedModem:
    modem = quiet(init)
    modem.ring(0.0)
    modem.dte(b"ATA\r", 0.0)
    return modem


# Commands.


@pytest.mark.parametrize(
    ("typed", "answer"),
    [
        (b"AT\r", b"\r\nOK\r\n"),
        (b"at z\r", b"\r\nOK\r\n"),
        (b"ATE0Q0V1X4&C1&D2S0=0\r", b"\r\nOK\r\n"),
        (b"AT&F&K3L0M0\r", b"\r\nOK\r\n"),
        (b"ATS12?\r", b"\r\n050\r\n\r\nOK\r\n"),
        (b"ATS12=20S12?\r", b"\r\n020\r\n\r\nOK\r\n"),
        (b"ATI\r", b"\r\nSimulated Hayes modem\r\n\r\nOK\r\n"),
        (b"ATV0\r", b"0\r"),
        (b"ATV0J\r", b"4\r"),
        (b"ATQ1\r", b""),
        (b"ATJ\r", b"\r\nERROR\r\n"),
        (b"ATX8\r", b"\r\nERROR\r\n"),
        (b"ATS0=256\r", b"\r\nERROR\r\n"),
        (b"ATS99?\r", b"\r\nERROR\r\n"),
        (b"ATO\r", b"\r\nERROR\r\n"),
        (b"AT&Q0\r", b"\r\nERROR\r\n"),
        (b"ATDT5551;\r", b"\r\nERROR\r\n"),
        (b"AT+FCLASS=0\r", b"\r\nOK\r\n"),
        (b"AT+FCLASS=?\r", b"\r\n0\r\n\r\nOK\r\n"),
        (b"AT+FCLASS=8\r", b"\r\nERROR\r\n"),
        (b"AT" + b"L0" * 200 + b"\r", b"\r\nERROR\r\n"),
        (b"hello\r", b""),
        (b"+++\rATH\r", b"\r\nOK\r\n"),
        (b"ATJ\x08\r", b"\r\nOK\r\n"),
        (b"ATS12?\rA/", b"\r\n050\r\n\r\nOK\r\n" * 2),
        (b"AT+VCID=1#CID=0\r", b"\r\nOK\r\n"),
    ],
)
def test_commands_are_answered(typed: bytes, answer: bytes) -> None:
    assert said(quiet().dte(typed, 0.0)) == answer


def test_what_is_typed_is_echoed_until_told_otherwise() -> None:
    modem = SimulatedModem()

    assert said(modem.dte(b"AT\r", 0.0)) == b"AT\r\r\nOK\r\n"
    assert said(modem.dte(b"ATE0\r", 0.0)) == b"ATE0\r\r\nOK\r\n"
    assert said(modem.dte(b"AT\r", 0.0)) == b"\r\nOK\r\n"


def test_z_restores_what_the_factory_set() -> None:
    modem = quiet(b"V0S0=5")

    modem.dte(b"ATZ\r", 0.0)

    assert said(modem.dte(b"ATS0?\r", 0.0)) == b"ATS0?\r\r\n000\r\n\r\nOK\r\n"


# Calls.


def test_it_rings_at_its_interval_until_the_caller_gives_up() -> None:
    modem = quiet()

    assert modem.ring(0.0) == [LinesChanged(dcd=False, ri=True), ToDte(b"\r\nRING\r\n")]
    assert modem.deadline() == 4.0
    assert modem.tick(4.0) == [ToDte(b"\r\nRING\r\n")]
    assert modem.far_hang_up(5.0) == [LinesChanged(dcd=False, ri=False)]
    assert modem.tick(8.0) == []
    assert modem.is_idle


def test_caller_id_comes_behind_the_first_ring_when_it_is_on() -> None:
    modem = quiet(b"+VCID=1")

    first = said(modem.ring(0.0, ANN))
    second = said(modem.tick(4.0))

    assert first == (
        b"\r\nRING\r\n\r\nDATE = 0321\r\n\r\nTIME = 1405\r\n"
        b"\r\nNMBR = 5551234\r\n\r\nNAME = ANN\r\n"
    )
    assert second == b"\r\nRING\r\n"


@pytest.mark.parametrize("init", [b"", b"+VCID=0", b"#CID=0"])
def test_without_it_there_is_none(init: bytes) -> None:
    assert said(quiet(init).ring(0.0, ANN)) == b"\r\nRING\r\n"


def test_an_answer_connects() -> None:
    modem = quiet()
    modem.ring(0.0)

    assert modem.dte(b"ATA\r", 1.0) == [
        LinesChanged(dcd=False, ri=False),
        LinesChanged(dcd=True, ri=False),
        ToDte(b"\r\nCONNECT 38400\r\n"),
        CallAnswered(),
    ]


def test_it_answers_by_itself_at_the_ring_in_s0() -> None:
    modem = quiet(b"S0=2")
    modem.ring(0.0)

    assert CallAnswered() in modem.tick(4.0)


def test_with_dtr_down_it_does_not_answer_by_itself() -> None:
    modem = quiet(b"S0=1")
    modem.dtr(on=False, now=0.0)

    assert CallAnswered() not in modem.ring(0.0)


@pytest.mark.parametrize(
    ("init", "connect"),
    [
        (b"", b"\r\nCONNECT 38400\r\n"),
        (b"X0", b"\r\nCONNECT\r\n"),
        (b"V0", b"17\r"),
        (b"V0X0", b"1\r"),
    ],
)
def test_connect_is_said_as_set(init: bytes, connect: bytes) -> None:
    modem = quiet(init)
    modem.ring(0.0)

    assert said(modem.dte(b"ATA\r", 0.0)) == connect


def test_an_answer_to_nobody_ends_after_s7() -> None:
    modem = quiet(b"S7=30")

    assert modem.dte(b"ATA\r", 0.0) == []
    assert modem.deadline() == 30.0
    assert said(modem.tick(30.0)) == b"\r\nNO CARRIER\r\n"
    assert modem.is_idle


def test_a_byte_aborts_an_answer_in_training() -> None:
    modem = SimulatedModem(SimulatedModemSettings(training_s=5.0))
    modem.dte(b"ATE0\r", 0.0)
    modem.ring(0.0)
    modem.dte(b"ATA\r", 0.0)

    actions = modem.dte(b"A", 1.0)

    assert said(actions) == b"\r\nNO CARRIER\r\n"
    assert others(actions) == [CallDropped()]


# Calls of its own.


@pytest.mark.parametrize(
    ("typed", "number"),
    [
        (b"ATDT5551\r", "5551"),
        (b"atdp 0, (22) 33-44\r", "0223344"),
        (b"ATX3D*21#\r", "*21#"),
        (b"ATD\r", ""),
    ],
)
def test_it_dials_and_says_connect_when_it_is_answered(typed: bytes, number: str) -> None:
    modem = quiet()

    assert modem.dte(typed, 0.0) == [Dialled(number)]
    assert not modem.is_idle
    assert modem.far_answered(9.0) == [
        LinesChanged(dcd=True, ri=False),
        ToDte(b"\r\nCONNECT 38400\r\n"),
        CallAnswered(),
    ]
    assert modem.dte(b"ATH\r", 20.0) == [ToCaller(b"ATH\r")]
    assert modem.far_answered(21.0) == []


@pytest.mark.parametrize(
    ("init", "result"),
    [(b"", b"\r\nBUSY\r\n"), (b"V0", b"7\r"), (b"X2", b"\r\nNO CARRIER\r\n")],
)
def test_a_busy_number_is_told_as_set(init: bytes, result: bytes) -> None:
    modem = quiet(init)
    modem.dte(b"ATD5551\r", 0.0)

    assert said(modem.far_busy(1.0)) == result
    assert modem.is_idle
    assert modem.far_busy(1.0) == []


def test_who_does_not_answer_in_s7_is_given_up() -> None:
    modem = quiet(b"S7=30")
    modem.dte(b"ATD5551\r", 0.0)

    assert modem.deadline() == 30.0
    assert modem.tick(29.9) == []
    assert modem.tick(30.0) == [CallDropped(), ToDte(b"\r\nNO CARRIER\r\n")]
    assert modem.is_idle


def test_a_byte_aborts_dialling() -> None:
    modem = quiet()
    modem.dte(b"ATD5551\r", 0.0)

    assert modem.dte(b"x", 1.0) == [CallDropped(), ToDte(b"\r\nNO CARRIER\r\n")]
    assert modem.is_idle


def test_a_number_that_is_not_connected_is_no_carrier() -> None:
    modem = quiet()
    modem.dte(b"ATD5551\r", 0.0)

    assert modem.far_hang_up(1.0) == [ToDte(b"\r\nNO CARRIER\r\n")]


@pytest.mark.parametrize("escaped", [False, True])
def test_it_does_not_dial_into_a_call(escaped: bool) -> None:
    modem = in_call() if escaped else quiet()
    if escaped:
        modem.dte(b"+++", 10.0)
        modem.tick(11.0)
    else:
        modem.ring(0.0)

    assert said(modem.dte(b"ATD5551\r", 20.0)) == b"\r\nERROR\r\n"


def test_dtr_ends_a_call_of_its_own_too() -> None:
    modem = quiet()
    modem.dte(b"ATD5551\r", 0.0)

    assert modem.dtr(on=False, now=1.0) == [CallDropped()]
    assert modem.is_idle


def test_bytes_pass_unchanged_both_ways_during_a_call_only() -> None:
    every_byte = bytes(range(256))
    modem = quiet()
    modem.ring(0.0)

    assert modem.line(b"early", 0.0) == []
    modem.dte(b"ATA\r", 0.0)
    assert modem.line(every_byte, 0.0) == [ToDte(every_byte)]
    assert modem.dte(every_byte, 0.0) == [ToCaller(every_byte)]
    modem.far_hang_up(0.0)
    assert modem.line(b"late", 0.0) == []


def test_a_caller_who_hangs_up_is_told_as_no_carrier_and_dcd() -> None:
    modem = in_call()

    assert modem.far_hang_up(1.0) == [
        LinesChanged(dcd=False, ri=False),
        ToDte(b"\r\nNO CARRIER\r\n"),
    ]
    assert modem.is_idle


def test_a_second_call_finds_the_line_busy() -> None:
    modem = in_call()

    assert not modem.is_idle
    with pytest.raises(ValueError, match="not idle"):
        modem.ring(1.0)


# The escape sequence.


def escaped(modem: SimulatedModem) -> bytes:
    modem.dte(b"+++", 10.0)
    return said(modem.tick(11.0))


def test_silence_three_escape_characters_and_silence_lead_to_command_state() -> None:
    modem = in_call()

    assert modem.dte(b"+++", 10.0) == [ToCaller(b"+++")]
    assert modem.tick(10.99) == []
    assert said(modem.tick(11.0)) == b"\r\nOK\r\n"
    assert modem.line(b"unheard", 11.5) == []


def test_in_pieces_too() -> None:
    modem = in_call()

    for at in (10.0, 10.4, 10.8):
        modem.dte(b"+", at)

    assert modem.tick(11.7) == []
    assert said(modem.tick(11.8)) == b"\r\nOK\r\n"


@pytest.mark.parametrize(
    "typed",
    [
        [(9.5, b"x"), (10.0, b"+++")],
        [(10.0, b"+++"), (10.9, b"\r")],
        [(10.0, b"x+++")],
        [(10.0, b"+++x")],
        [(10.0, b"++++")],
        [(10.0, b"+"), (11.1, b"++")],
    ],
)
def test_anything_else_is_data(typed: list[tuple[float, bytes]]) -> None:
    modem = in_call()

    for at, data in typed:
        assert modem.dte(data, at) == [ToCaller(data)]

    assert modem.tick(20.0) == []


def test_s12_is_the_guard_time_in_fiftieths_of_a_second() -> None:
    modem = in_call(b"S12=10")

    modem.dte(b"+++", 10.0)

    assert modem.deadline() == pytest.approx(10.2)


def test_s2_is_the_escape_character_and_above_127_there_is_none() -> None:
    other, none = in_call(b"S2=33"), in_call(b"S2=128")

    other.dte(b"!!!", 10.0)
    none.dte(b"\x80\x80\x80", 10.0)

    assert said(other.tick(11.0)) == b"\r\nOK\r\n"
    assert none.tick(11.0) == []


def test_o_goes_back_to_the_call() -> None:
    modem = in_call()
    escaped(modem)

    assert said(modem.dte(b"ATO\r", 12.0)) == b"\r\nCONNECT 38400\r\n"
    assert modem.line(b"still here", 13.0) == [ToDte(b"still here")]


def test_h_hangs_up_and_says_no_carrier_and_then_ok() -> None:
    modem = in_call()
    escaped(modem)

    actions = modem.dte(b"ATH\r", 12.0)

    assert said(actions) == b"\r\nNO CARRIER\r\n\r\nOK\r\n"
    assert others(actions) == [CallDropped(), LinesChanged(dcd=False, ri=False)]


def test_z_hangs_up_too() -> None:
    modem = in_call()
    escaped(modem)

    assert CallDropped() in modem.dte(b"ATZ\r", 12.0)


def test_h_does_not_stop_a_call_that_rings() -> None:
    modem = quiet()
    modem.ring(0.0)

    modem.dte(b"ATH\r", 1.0)

    assert said(modem.tick(4.0)) == b"\r\nRING\r\n"


# Modem lines.


@pytest.mark.parametrize(
    ("init", "actions"),
    [
        (b"&D0", []),
        (b"&D1", [ToDte(b"\r\nOK\r\n")]),
        (
            b"&D2",
            [CallDropped(), LinesChanged(dcd=False, ri=False), ToDte(b"\r\nNO CARRIER\r\n")],
        ),
        (
            b"&D3",
            [CallDropped(), LinesChanged(dcd=False, ri=False), ToDte(b"\r\nNO CARRIER\r\n")],
        ),
    ],
)
def test_dtr_does_what_it_is_set_to(init: bytes, actions: list[SimulatedAction]) -> None:
    assert in_call(init).dtr(on=False, now=1.0) == actions


def test_dtr_up_or_down_twice_is_nothing() -> None:
    modem = in_call()

    assert modem.dtr(on=True, now=1.0) == []
    modem.dtr(on=False, now=1.0)
    assert modem.dtr(on=False, now=1.0) == []


def test_with_c0_dcd_is_always_up() -> None:
    modem = quiet()

    assert LinesChanged(dcd=True, ri=False) in modem.dte(b"AT&C0\r", 0.0)
    assert LinesChanged(dcd=False, ri=False) in modem.dte(b"AT&C1\r", 0.0)


# Faults.


def test_a_silent_modem_does_nothing_at_all() -> None:
    modem = quiet(b"S0=1")
    modem.faults.silent = True

    assert modem.dte(b"ATZ\r", 0.0) == []
    assert said(modem.ring(0.0)) == b""


def test_a_command_can_be_refused() -> None:
    modem = quiet()
    modem.faults.refuses = "X4"

    assert said(modem.dte(b"ATV1X4\r", 0.0)) == b"\r\nERROR\r\n"
    assert said(modem.dte(b"ATV1\r", 0.0)) == b"\r\nOK\r\n"


def test_a_result_can_come_in_three_pieces() -> None:
    modem = quiet()
    modem.faults.splits_results = True

    assert modem.dte(b"AT\r", 0.0) == [ToDte(b"\r\n"), ToDte(b"OK"), ToDte(b"\r\n")]


def test_echo_can_stick() -> None:
    modem = quiet()
    modem.faults.echo_stuck = True

    assert said(modem.dte(b"ATE0\r", 0.0)) == b"ATE0\r\r\nOK\r\n"


def test_caller_id_can_be_lost() -> None:
    modem = quiet(b"+VCID=1")
    modem.faults.loses_caller_id = True

    assert said(modem.ring(0.0, ANN)) == b"\r\nRING\r\n"


def test_dcd_can_stick() -> None:
    modem = in_call()
    modem.faults.dcd_stuck = True

    assert modem.far_hang_up(1.0) == [ToDte(b"\r\nNO CARRIER\r\n")]
