"""What a modem does for one line: each test tells one thing that happens on real lines.

The plain transitions are in `test_modem_table.py`, all of them.  Here a modem is talked to byte by
byte, or works a simulated one in virtual time.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from dialgate.codes import Raserror
from port_agents.modem import (
    Armed,
    CallEnded,
    Caller,
    CallerBytes,
    CallerNumber,
    Connected,
    Faulted,
    Flush,
    InitAnswer,
    Modem,
    ModemLines,
    ModemSettings,
    ModemState,
    Reopen,
    Ringing,
    RunHook,
    SetDtr,
    Write,
)
from port_agents.simulated_modem import IncomingCall, SimulatedModemSettings
from tests.port_agents.wired_modem import LINES_DOWN, WiredModem

BARE = ModemSettings(dcd="ignore")
WIRED = ModemSettings()
QUICK = SimulatedModemSettings(ring_interval_s=1.0)
LINES_UP = replace(LINES_DOWN, dcd=True)
REMOTE = CallEnded(Raserror.ERROR_REMOTE_DISCONNECTION.code)

wirings = pytest.mark.parametrize("settings", [WIRED, BARE], ids=["wired", "bare"])


def armed(settings: ModemSettings, simulated: SimulatedModemSettings = QUICK) -> WiredModem:
    wired = WiredModem(settings, simulated)
    wired.plug_in()
    wired.wait(5.0)
    assert wired.take() == [Armed()]
    return wired


def in_call(settings: ModemSettings) -> WiredModem:
    wired = armed(settings)
    wired.do(wired.far.ring(wired.now))
    wired.wait(0.5)
    assert wired.take()[-1] == Connected(Caller(), 38400, "CONNECT 38400")
    return wired


def waiting_for_connect(settings: ModemSettings) -> Modem:
    """Return a modem that has answered a call; what comes next is the test's."""
    modem = Modem(replace(settings, init=()))
    modem.opened(LINES_DOWN if settings.dcd == "auto" else None, 0.0)
    while modem.state is not ModemState.IDLE:
        modem.tick(modem.deadline())
    modem.receive(b"\r\nRING\r\n", 10.0)
    assert modem.state is ModemState.ANSWERING
    return modem


# Init.


def test_init_commands_go_one_by_one_each_after_the_ok_of_the_last() -> None:
    modem = Modem(replace(WIRED, init=("ATZ", "ATE0", "ATS0=0")))
    modem.opened(LINES_DOWN, 0.0)

    assert modem.tick(0.1) == [Flush(), Write(b"ATZ\r")]
    assert modem.receive(b"ATZ\r\r\nOK\r\n", 0.2) == [Write(b"ATE0\r")]
    assert modem.receive(b"ATE0\r\r", 0.3) == []
    assert modem.receive(b"\nO", 0.4) == []
    assert modem.receive(b"K\r\n", 0.5) == [Write(b"ATS0=0\r")]
    assert modem.receive(b"\r\nOK\r\n", 0.6) == [Armed()]


@wirings
def test_the_failing_init_command_is_named_with_what_the_modem_said(
    settings: ModemSettings,
) -> None:
    wired = WiredModem(replace(settings, init=("ATZ", "ATE0", "ATS99=1")), QUICK)

    wired.plug_in()
    wired.wait(3.0)

    assert wired.take()[0] == Faulted('init command "ATS99=1": the modem said "ERROR"')
    assert wired.modem.reason == 'init command "ATS99=1": the modem said "ERROR"'


@wirings
def test_a_silent_modem_is_faulted_tried_again_and_armed_when_it_speaks(
    settings: ModemSettings,
) -> None:
    wired = WiredModem(settings, QUICK)
    wired.far.faults.silent = True

    wired.plug_in()
    wired.wait(100.0)
    faults = wired.take()
    wired.far.faults.silent = False
    wired.wait(130.0)

    assert faults[0] == Faulted('init command "ATZ": no answer in 5 s')
    assert len([fault for fault in faults if isinstance(fault, Faulted)]) >= 4
    assert wired.take()[-1] == Armed()


def test_a_modem_that_stays_silent_is_brought_up_the_ladder() -> None:
    modem = Modem(replace(WIRED, has_hook=True))
    modem.opened(LINES_DOWN, 0.0)
    now, left, rungs = 0.0, 0.0, []
    while modem.state is not ModemState.QUARANTINED:
        was, now = modem.state, modem.deadline()
        actions = modem.tick(now)
        if was is ModemState.FAULTED:
            rungs.append((now - left, [type(action).__name__ for action in actions]))
        if actions[-1:] == [RunHook(modem.reason)]:
            modem.hook_ended("", now)
        if modem.state is ModemState.CLOSED:
            modem.opened(LINES_DOWN, now)
        left = now

    assert rungs == [
        (1.0, ["SetDtr"]),  # Init again.
        (2.0, ["SetDtr", "SetDtr"]),  # A second with DTR low.
        (5.0, ["Reopen"]),
        (10.0, ["RunHook"]),
    ]


def test_dtr_is_low_for_a_second_on_the_second_rung() -> None:
    modem = Modem(WIRED)
    modem.opened(LINES_DOWN, 0.0)
    while modem.counters.faults < 2:
        modem.tick(modem.deadline())
    at = modem.deadline()

    assert modem.tick(at) == [SetDtr(on=True), SetDtr(on=False)]
    assert modem.tick(at + 0.99) == []
    assert modem.tick(at + 1.0) == [SetDtr(on=True)]


def test_without_a_hook_the_fourth_fault_is_quarantine() -> None:
    modem = Modem(WIRED)
    modem.opened(LINES_DOWN, 0.0)
    while modem.state is not ModemState.QUARANTINED:
        if modem.state is ModemState.CLOSED:
            modem.opened(LINES_DOWN, 100.0)
        modem.tick(modem.deadline())

    assert (modem.counters.faults, modem.counters.quarantines) == (4, 1)
    assert modem.reason == 'init command "ATZ": no answer in 5 s'


def test_a_quarantined_modem_is_tried_again_later_and_later() -> None:
    modem = Modem(replace(WIRED, quarantine_retry_s=(60.0, 120.0)))
    now = 0.0
    waits: list[float] = []
    modem.opened(LINES_DOWN, now)
    while len(waits) < 3:
        if modem.state is ModemState.CLOSED:
            modem.opened(LINES_DOWN, now)
        if modem.state is ModemState.QUARANTINED:
            waits.append(modem.deadline() - now)
        now = modem.deadline()
        modem.tick(now)

    assert waits == pytest.approx([60.0, 120.0, 120.0])


def test_the_hook_is_run_once_and_a_modem_that_it_mends_is_armed() -> None:
    wired = WiredModem(replace(WIRED, has_hook=True), QUICK)
    wired.far.faults.silent = True
    wired.plug_in()
    wired.wait(60.0)
    assert RunHook('init command "ATZ": no answer in 5 s') in wired.take()

    wired.far.faults.silent = False
    wired.do(wired.modem.hook_ended("", wired.now))
    wired.wait(1.0)
    assert wired.take() == [Armed()]


def test_dcd_that_stays_up_is_reset_once_and_then_quarantined() -> None:
    wired = in_call(WIRED)
    wired.far.faults.dcd_stuck = True

    wired.do(wired.modem.hang_up(wired.now))
    wired.wait(30.0)

    assert wired.modem.state is ModemState.QUARANTINED
    assert wired.modem.reason.startswith("dcd-stuck")
    assert wired.modem.counters.faults == 2


def test_what_a_modem_said_that_was_no_result_is_in_the_reason() -> None:
    modem = Modem(WIRED)
    modem.opened(LINES_DOWN, 0.0)
    modem.tick(0.1)
    modem.receive(b"\r\nCOMMAND?\r\n", 1.0)
    modem.tick(5.1)

    assert modem.reason == 'init command "ATZ": no OK in 5 s, but "COMMAND?"'


def test_noise_of_another_speed_is_in_the_reason_too() -> None:
    modem = Modem(WIRED)
    modem.opened(LINES_DOWN, 0.0)
    modem.tick(0.1)
    modem.receive(b"\xfe\x80", 1.0)
    modem.tick(5.1)

    assert modem.reason == 'init command "ATZ": no OK in 5 s, but "\\xfe\\x80"'


# Probes.


def test_an_idle_modem_is_asked_now_and_then_whether_it_is_there() -> None:
    wired = armed(replace(WIRED, probe_interval_s=300.0))

    wired.wait(601.0)
    assert wired.modem.counters.probes == 2
    assert wired.modem.answers[-1] == InitAnswer("AT", "OK", 0)

    wired.take()
    wired.far.faults.silent = True
    wired.wait(305.1)
    assert Faulted('probe "AT": no answer in 5 s') in wired.take()


def test_a_modem_that_is_not_idle_is_not_probed() -> None:
    answering = waiting_for_connect(WIRED)
    arming = Modem(WIRED)
    arming.opened(LINES_DOWN, 0.0)

    for modem in (answering, arming):
        assert modem.probe(10.5) == []
        assert modem.counters.probes == 0


def test_a_number_that_comes_when_the_call_is_answered_refuses_nobody() -> None:
    modem = waiting_for_connect(replace(WIRED, refused_callers=("555*",)))

    assert modem.receive(b"\r\nNMBR = 5551234\r\n", 10.5) == []
    assert modem.state is ModemState.ANSWERING


def test_what_the_modem_said_to_each_init_command_is_kept() -> None:
    wired = WiredModem(replace(WIRED, init=("ATZ", "ATS99=1")), QUICK)
    wired.plug_in()
    wired.wait(0.5)

    assert [(x.command, x.answer) for x in wired.modem.answers] == [
        ("ATZ", "OK"),
        ("ATS99=1", "ERROR"),
    ]


# Debounce.


def test_a_dcd_that_bounces_ends_no_call_and_what_came_meanwhile_is_the_callers() -> None:
    wired = in_call(replace(WIRED, dcd_debounce_ms=200))
    up = replace(LINES_DOWN, dcd=True)

    wired.do(wired.modem.lines_changed(LINES_DOWN, wired.now))
    wired.do(wired.modem.receive(b"ls", wired.now))
    assert wired.take() == []
    wired.wait(0.1)
    wired.do(wired.modem.lines_changed(up, wired.now))

    assert wired.take() == [CallerBytes(b"ls")]
    assert wired.modem.counters.bounces == 1


def test_a_dcd_that_stays_down_ends_the_call_and_what_came_meanwhile_is_nobodys() -> None:
    wired = in_call(replace(WIRED, dcd_debounce_ms=200))

    wired.do(wired.modem.lines_changed(LINES_DOWN, wired.now))
    wired.do(wired.modem.receive(b"\r\nNO CARRIER\r\n", wired.now))
    wired.wait(0.201)

    assert wired.take()[:1] == [CallEnded(Raserror.ERROR_REMOTE_DISCONNECTION.code)]


# Busy.


def test_a_modem_that_is_busy_is_off_hook_until_it_shall_be_no_more() -> None:
    wired = armed(WIRED)

    wired.do(wired.modem.set_busy(True, wired.now))
    assert wired.modem.state is ModemState.OFF_HOOK
    wired.do(wired.modem.set_busy(False, wired.now))
    wired.wait(3.0)

    assert wired.modem.state is ModemState.IDLE


def test_a_modem_that_cannot_be_busy_rings_and_says_so() -> None:
    wired = armed(WIRED)
    wired.far.faults.refuses = "H1"

    wired.do(wired.modem.set_busy(True, wired.now))

    assert wired.modem.state is ModemState.IDLE
    assert wired.modem.reason == 'can\'t be busy, and rings: ATH1: the modem said "ERROR"'


def test_a_busy_modem_that_was_reset_is_busy_again() -> None:
    wired = armed(WIRED)
    wired.do(wired.modem.set_busy(True, wired.now))

    wired.do(wired.modem.reset(wired.now))
    wired.wait(3.0)

    assert wired.modem.state is ModemState.OFF_HOOK


def test_results_stay_verbose_where_no_dcd_tells_the_end_of_a_call() -> None:
    wired = WiredModem(replace(BARE, init=("ATE0V0",)), QUICK)

    wired.plug_in()
    wired.wait(2.5)

    assert wired.take() == [
        Faulted(
            "results are numeric (V0), which can't show the end of a call without DCD: "
            "put V1 in init"
        )
    ]


def test_a_device_without_modem_lines_needs_dcd_ignored() -> None:
    modem = Modem(WIRED)

    assert modem.opened(None, 0.0) == [
        Faulted('the device has no modem lines: set dcd = "ignore" for it')
    ]


def test_where_dcd_is_ignored_a_device_whose_dcd_is_up_is_armed_all_the_same() -> None:
    modem = Modem(replace(BARE, init=()))
    modem.opened(LINES_UP, 0.0)
    while modem.deadline() < 60.0:
        modem.tick(modem.deadline())

    assert modem.state is ModemState.IDLE
    assert not modem.watches_carrier
    assert modem.lines_changed(LINES_UP, 60.0) == []


def test_a_device_that_is_not_open_shows_no_carrier() -> None:
    assert not Modem(WIRED).watches_carrier


def test_a_device_without_modem_lines_cannot_hang_up_by_dtr() -> None:
    modem = Modem(replace(BARE, hangup="dtr"))

    assert modem.opened(None, 0.0) == [
        Faulted('the device has no DTR: set hangup = "escape" for it')
    ]


@wirings
def test_a_call_that_an_earlier_agent_left_up_is_hung_up_first(settings: ModemSettings) -> None:
    wired = in_call(settings)
    wired.modem = Modem(settings)
    lines = LINES_UP if settings is WIRED else None

    wired.do(wired.modem.opened(lines, wired.now))
    wired.wait(10.0)

    assert wired.take() == [Armed()]
    assert wired.dropped == 1
    assert b"AT" not in wired.screen


def test_dcd_that_init_leaves_up_is_a_fault() -> None:
    wired = WiredModem(replace(WIRED, init=("ATZ", "AT&C0")), QUICK)

    wired.plug_in()
    wired.wait(0.5)

    assert isinstance(fault := wired.take()[0], Faulted)
    assert fault.reason.startswith("dcd-stuck")


def test_dcd_that_was_up_for_want_of_init_is_mended_by_it() -> None:
    wired = WiredModem(WIRED, QUICK)
    wired.write(b"AT&C0\r")

    wired.do(wired.modem.opened(LINES_UP, 0.0))
    wired.wait(30.0)

    assert wired.take() == [Armed()]


# RING and caller id.


def test_a_call_is_answered_at_the_ring_that_is_set() -> None:
    wired = armed(replace(WIRED, rings=3))

    wired.do(wired.far.ring(wired.now))
    wired.wait(1.5)

    assert wired.take() == [Ringing(1, Caller()), Ringing(2, Caller())]
    wired.wait(1.0)
    assert wired.take() == [
        Ringing(3, Caller()),
        Connected(Caller(), 38400, "CONNECT 38400"),
    ]


@wirings
def test_a_caller_who_gives_up_leaves_the_modem_armed(settings: ModemSettings) -> None:
    wired = armed(replace(settings, rings=4))

    wired.do(wired.far.ring(wired.now))
    wired.do(wired.far.far_hang_up(wired.now))
    wired.wait(10.0)

    assert wired.take() == [Ringing(1, Caller()), REMOTE, Armed()]


def test_rings_of_two_calls_do_not_add_up() -> None:
    wired = armed(replace(WIRED, rings=2))
    for _ in range(2):
        wired.do(wired.far.ring(wired.now))
        wired.do(wired.far.far_hang_up(wired.now))
        wired.wait(11.0)

    assert wired.take() == [Ringing(1, Caller()), REMOTE, Armed()] * 2


def test_a_modem_that_may_not_answer_reports_rings_only() -> None:
    wired = armed(WIRED)
    wired.modem.may_answer = False

    wired.do(wired.far.ring(wired.now))
    wired.wait(2.5)

    assert wired.take() == [Ringing(count, Caller()) for count in (1, 2, 3)]
    wired.modem.may_answer = True
    wired.wait(1.0)
    assert wired.take()[-1] == Connected(Caller(), 38400, "CONNECT 38400")


def test_an_answer_forbidden_during_the_wait_for_caller_id_is_not_given() -> None:
    wired = armed(replace(WIRED, caller_id_wait_ms=500))
    wired.do(wired.far.ring(wired.now))

    wired.modem.may_answer = False
    wired.wait(0.9)

    assert wired.modem.state is ModemState.RINGING
    assert wired.answered == 0


@pytest.mark.parametrize(
    ("lines", "caller"),
    [
        (
            b"\r\nDATE = 0321\r\n\r\nTIME = 1405\r\n\r\nNMBR = 5551234\r\n\r\nNAME = ANN\r\n",
            Caller(CallerNumber.GIVEN, "5551234", "ANN", "0321", "1405"),
        ),
        (b"\r\nNMBR=5551234\r\n", Caller(CallerNumber.GIVEN, "5551234")),
        (b"\r\nNMBR = P\r\n\r\nNAME = P\r\n", Caller(CallerNumber.WITHHELD)),
        (b"\r\nNMBR = O\r\n\r\nNAME = O\r\n", Caller(CallerNumber.OUT_OF_AREA)),
        (b"\r\nNMBR =\r\n", Caller()),
        (b"", Caller()),
    ],
)
@pytest.mark.parametrize("before_answer", [True, False])
def test_caller_id_counts_from_the_first_ring_to_connect(
    lines: bytes, caller: Caller, before_answer: bool
) -> None:
    modem = Modem(replace(BARE, init=(), rings=2))
    modem.opened(None, 0.0)
    while modem.state is not ModemState.IDLE:
        modem.tick(modem.deadline())

    modem.receive(b"\r\nRING\r\n", 10.0)
    if before_answer:
        modem.receive(lines, 11.0)
    modem.receive(b"\r\nRING\r\n", 12.0)
    if not before_answer:
        modem.receive(lines, 13.0)

    assert modem.receive(b"\r\nCONNECT 9600\r\n", 20.0) == [Connected(caller, 9600, "CONNECT 9600")]


def test_caller_id_of_one_call_is_not_the_next_ones() -> None:
    wired = armed(replace(WIRED, init=("ATZ", "AT+VCID=1"), rings=2))
    wired.do(wired.far.ring(wired.now, IncomingCall("5551234")))
    wired.wait(0.5)
    wired.do(wired.far.far_hang_up(wired.now))
    wired.wait(11.0)
    wired.take()

    wired.do(wired.far.ring(wired.now, IncomingCall("")))
    wired.wait(1.5)

    assert wired.take()[-1] == Connected(Caller(), 38400, "CONNECT 38400")


def test_there_is_time_for_caller_id_before_a_call_is_answered_at_the_first_ring() -> None:
    wired = armed(replace(WIRED, init=("ATZ", "AT+VCID=1"), caller_id_wait_ms=500))

    wired.do(wired.far.ring(wired.now, IncomingCall("5551234", "ANN", "0321", "1405")))
    wired.wait(1.0)

    caller = Caller(CallerNumber.GIVEN, "5551234", "ANN", "0321", "1405")
    assert wired.take() == [Ringing(1, Caller()), Connected(caller, 38400, "CONNECT 38400")]


# CONNECT.


@pytest.mark.parametrize(
    ("said", "speed", "text"),
    [
        (b"\r\nCONNECT 38400\r\n", 38400, "CONNECT 38400"),
        (
            b"\r\nCONNECT 33600/ARQ/V34/LAPM/V42BIS\r\n",
            33600,
            "CONNECT 33600/ARQ/V34/LAPM/V42BIS",
        ),
        (b"\r\nCONNECT\r\n", 0, "CONNECT"),
        (b"12\r", 9600, "CONNECT 9600"),
        (b"ATA\r\r\nCARRIER 33600\r\n\r\nCONNECT 115200\r\n", 115200, "CONNECT 115200"),
    ],
)
def test_connect_tells_speed_and_protocol(said: bytes, speed: int, text: str) -> None:
    modem = waiting_for_connect(BARE)

    assert modem.receive(said, 11.0) == [Connected(Caller(), speed, text)]


@wirings
@pytest.mark.parametrize("size", [1, 3, 7, 40])
def test_bytes_behind_connect_are_the_callers_and_none_before_it(
    settings: ModemSettings, size: int
) -> None:
    modem = waiting_for_connect(settings)
    if settings is WIRED:
        modem.lines_changed(LINES_UP, 10.5)
    said = b"\r\nnoise\r\n\r\nCONNECT 9600\r\n\nann\r"

    actions = []
    for start in range(0, len(said), size):
        actions += modem.receive(said[start : start + size], 11.0)

    assert actions[0] == Connected(Caller(), 9600, "CONNECT 9600")
    heard = [action.data for action in actions[1:] if isinstance(action, CallerBytes)]
    assert b"".join(heard) == b"\nann\r"


def test_behind_a_numeric_connect_a_line_feed_is_the_callers() -> None:
    modem = waiting_for_connect(BARE)

    assert modem.receive(b"1\r\nann", 11.0) == [
        Connected(Caller(), 0, "CONNECT"),
        CallerBytes(b"\nann"),
    ]


def test_the_call_is_up_when_dcd_is() -> None:
    modem = waiting_for_connect(WIRED)

    assert modem.receive(b"\r\nCONNECT 9600\r\nan", 11.0) == []
    assert modem.receive(b"n\r", 11.5) == []
    assert modem.lines_changed(LINES_UP, 12.0) == [
        Connected(Caller(), 9600, "CONNECT 9600"),
        CallerBytes(b"ann\r"),
    ]


def test_connect_without_dcd_is_no_call() -> None:
    modem = waiting_for_connect(WIRED)
    modem.receive(b"\r\nCONNECT 9600\r\n", 11.0)

    assert modem.deadline() == 13.0
    assert modem.tick(13.0) == [
        CallEnded(Raserror.ERROR_NO_CARRIER.code),
        Flush(),
        SetDtr(on=False),
    ]


def test_what_is_typed_before_dcd_is_kept_to_a_limit() -> None:
    modem = waiting_for_connect(WIRED)
    modem.receive(b"\r\nCONNECT 9600\r\n", 11.0)

    modem.receive(b"x" * 3000, 11.5)

    assert modem.lines_changed(LINES_UP, 12.0)[1] == CallerBytes(b"x" * 1024)
    assert modem.counters.dropped_bytes == 3000 - 1024


@wirings
def test_an_answer_that_leads_to_nothing_ends_in_time(settings: ModemSettings) -> None:
    wired = WiredModem(settings, replace(QUICK, training_s=200.0))
    wired.plug_in()
    wired.wait(5.0)
    wired.do(wired.far.ring(wired.now))
    wired.take()

    wired.wait(70.0)

    assert wired.take() == [CallEnded(Raserror.ERROR_REQUEST_TIMEOUT.code), Armed()]
    assert wired.far.is_idle


@wirings
def test_a_carrier_that_nobody_asked_for_is_hung_up(settings: ModemSettings) -> None:
    wired = armed(replace(settings, init=("ATZ", "ATE0S0=1"), rings=2))

    wired.do(wired.far.ring(wired.now))
    wired.wait(10.0)

    assert wired.take() == [
        Ringing(1, Caller()),
        CallEnded(Raserror.ERROR_DISCONNECTION.code),
        Armed(),
    ]
    assert (wired.dropped, wired.modem.counters.unasked_carriers) == (1, 1)


# The end of a call.


@wirings
def test_a_caller_who_hangs_up_ends_the_call_and_the_modem_is_armed_within_3_s(
    settings: ModemSettings,
) -> None:
    wired = in_call(settings)

    wired.do(wired.far.far_hang_up(wired.now))
    at_once = wired.take()
    wired.wait(3.0)

    assert at_once == [REMOTE]
    assert wired.take() == [Armed()]


@wirings
def test_hang_up_drops_the_caller_and_arms_the_modem_within_3_s(settings: ModemSettings) -> None:
    wired = in_call(settings)

    wired.do(wired.modem.hang_up(wired.now))
    wired.wait(3.0)

    assert wired.take() == [Armed()]
    assert wired.dropped == 1
    assert wired.far.is_idle


def test_with_dcd_watched_a_typed_no_carrier_means_nothing() -> None:
    wired = in_call(WIRED)

    wired.do(wired.far.line(b"\r\nNO CARRIER\r\n", wired.now))

    assert wired.take() == [CallerBytes(b"\r\nNO CARRIER\r\n")]
    assert wired.modem.state is ModemState.CONNECTED


def test_without_dcd_a_caller_who_plays_the_modem_only_hangs_up_on_himself() -> None:
    wired = in_call(BARE)

    wired.do(wired.far.line(b"bye\r\nNO CARRIER\r\n", wired.now))
    for _ in range(100):
        wired.wait(0.05)
        wired.do(wired.far.line(b"\r\nOK\r\n", wired.now))
        wired.do(wired.far.line(b"\r\nRING\r\n\r\nCONNECT 9600\r\n", wired.now))

    assert wired.take() == [CallerBytes(b"bye"), REMOTE, Armed()]
    assert wired.dropped == 1
    assert b"AT" not in wired.screen


def test_the_modems_no_carrier_never_reaches_who_reads_the_caller() -> None:
    wired = in_call(BARE)
    wired.pieces = lambda data: [data[:4], data[4:9], data[9:]]

    wired.do(wired.far.line(b"half a line", wired.now))
    wired.do(wired.far.far_hang_up(wired.now))

    assert wired.heard() == b"half a line"


def test_held_bytes_are_given_up_after_50_ms() -> None:
    wired = in_call(BARE)

    wired.do(wired.far.line(b"ann\r\n", wired.now))
    wired.wait(0.049)
    before = wired.take()
    wired.wait(0.002)

    assert before == [CallerBytes(b"ann")]
    assert wired.take() == [CallerBytes(b"\r\n")]


def test_dcd_that_stays_up_after_a_hang_up_is_a_fault_until_it_falls() -> None:
    wired = in_call(WIRED)
    wired.far.faults.dcd_stuck = True

    wired.do(wired.modem.hang_up(wired.now))
    wired.wait(7.0)
    assert isinstance(fault := wired.take()[0], Faulted)
    assert fault.reason.startswith("dcd-stuck")

    wired.far.faults.dcd_stuck = False
    wired.do(wired.far.dtr(on=True, now=wired.now))
    wired.wait(60.0)
    assert wired.take()[-1] == Armed()


def test_a_device_that_goes_ends_the_call_and_is_opened_again_later_and_later() -> None:
    wired = in_call(WIRED)

    gone = CallEnded(Raserror.ERROR_HARDWARE_FAILURE.code)
    assert wired.modem.closed("unplugged", 1.0) == [gone, Reopen(1.0)]
    assert wired.modem.closed("no such device", 2.0) == [Reopen(2.0)]
    assert wired.modem.closed("no such device", 4.0) == [Reopen(5.0)]
    assert wired.modem.reason == "no such device"


@wirings
def test_an_operators_reset_ends_the_call_and_arms_the_modem(settings: ModemSettings) -> None:
    wired = in_call(settings)

    wired.do(wired.modem.reset(wired.now))
    wired.wait(3.0)

    assert wired.take() == [CallEnded(Raserror.ERROR_USER_DISCONNECTION.code), Armed()]


def test_a_reset_does_not_wait_for_the_next_try() -> None:
    wired = WiredModem(WIRED, QUICK)
    wired.far.faults.silent = True
    wired.plug_in()
    wired.wait(60.0)
    assert wired.modem.state is ModemState.QUARANTINED
    wired.take()

    wired.far.faults.silent = False
    wired.do(wired.modem.reset(wired.now))
    wired.wait(0.2)

    assert wired.take() == [Armed()]


@pytest.mark.parametrize("settings", [WIRED, replace(WIRED, hangup="escape"), BARE])
def test_call_after_call_is_served(settings: ModemSettings) -> None:
    wired = armed(settings)

    for number in range(5):
        wired.do(wired.far.ring(wired.now))
        wired.wait(0.5)
        wired.do(wired.far.line(b"%d" % number, wired.now))
        wired.write(b"login: ")
        if number % 2:
            wired.do(wired.far.far_hang_up(wired.now))
        else:
            wired.do(wired.modem.hang_up(wired.now))
        wired.wait(3.0)
        assert wired.heard() == b"%d" % number
        assert wired.take()[-1] == Armed()

    assert wired.answered == 5


# Noise.


def test_noise_is_counted_and_disturbs_nothing() -> None:
    wired = armed(WIRED)
    noise = bytes(range(256)) * 40 + b"\r\n"

    wired.do(wired.modem.receive(noise, wired.now))
    wired.do(wired.modem.receive(b"~" * 5000 + b"\r\n", wired.now))

    assert wired.take() == []
    assert wired.modem.counters.long_lines >= 1
    assert wired.modem.counters.unknown_lines >= 1
    wired.do(wired.far.ring(wired.now))
    assert wired.take()[-1] == Connected(Caller(), 38400, "CONNECT 38400")


def test_ring_during_a_hang_up_is_ignored_and_counted() -> None:
    modem = waiting_for_connect(BARE)
    modem.receive(b"\r\nCONNECT 9600\r\n", 11.0)
    modem.hang_up(12.0)

    assert modem.receive(b"\r\nRING\r\n", 12.1) == []
    assert modem.counters.stray_results == 1


def test_modem_lines_may_be_told_again_unchanged() -> None:
    wired = in_call(WIRED)

    wired.do(wired.modem.lines_changed(ModemLines(dcd=True, dsr=True, ri=False, cts=True), 1.0))

    assert wired.take() == []


def test_a_line_that_an_earlier_run_left_in_a_call_is_hung_up_for_a_second_first() -> None:
    modem = Modem(WIRED)
    modem.distrust()

    assert modem.opened(LINES_DOWN, 0.0) == [SetDtr(on=True), SetDtr(on=False)]
    assert modem.tick(0.99) == []
    assert modem.tick(1.0) == [SetDtr(on=True)]
