"""One port from RING to armed again, with a simulated modem: rashost.md's rules and traps.

R and a number is a rule there, T and a number a trap ("what implementers get wrong").
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from dialgate.codes import NO_ERROR, Raserror, Winerror
from dialgate.wire.bodies import ERROR, Send
from dialgate.wire.verbs import Verb
from port_agents.call import Call, Disconnect, Happening
from port_agents.dialog_actions import Route
from port_agents.line_actions import Closure, LineState, ServiceLimits
from port_agents.line_call import Stage
from tests.port_agents.dialog_bench import W
from tests.port_agents.line_bench import (
    GONE,
    IGNORING_DCD,
    SETTINGS,
    Bench,
    called,
    online,
    ready,
)

SYSTEM_DOWN = Winerror.ERROR_SHUTDOWN_IN_PROGRESS.code
BLIND = replace(SETTINGS, modem=IGNORING_DCD)


# The ordinary life of a call.


def test_a_port_is_idle_once_its_modem_is_armed() -> None:
    bench = Bench()

    assert bench.line.state is LineState.UNKNOWN
    bench.plug_in()
    assert bench.take() == ["idle"]


@pytest.mark.parametrize("settings", [SETTINGS, BLIND], ids=["dcd", "no dcd"])
def test_the_life_of_a_call(settings: object) -> None:
    """R1: carrier, Begin, Receive, Complete, End, hand-over, clean-up, armed."""
    bench = ready(settings=settings)  # type: ignore[arg-type]  # parametrized
    bench.call()
    bench.ask()
    bench.type(b"ann\r")
    bench.decide()
    bench.end_reply()
    bench.service_says(b"$ ")
    bench.type(b"ls\r")
    bench.service_ends()
    bench.wait(5)

    assert bench.take() == [
        "answering",
        "s1: BEGIN (1)",
        "authenticating",
        "s1: RECEIVED (1)",
        "s1: END (1)",
        "record start",
        "start console for ann",
        "online",
        "service 'ls\\r'",
        "record stop service-ended",
        "hanging-up service-ended",
        "idle",
    ]
    assert bench.screen.startswith(b"login: ann\r\n$ ")


def test_the_caller_id_and_the_connection_are_in_the_admission() -> None:
    modem = replace(SETTINGS.modem, init=("ATZ", "AT+VCID=1"), rings=2)
    bench = called(settings=replace(SETTINGS, modem=modem))
    bench.admit()
    (admission,) = bench.admissions

    assert (admission.user, admission.caller, admission.connect_speed) == ("ann", "5551234", 38400)
    assert (admission.hport, admission.site, len(admission.call)) == ("oslo/1", "oslo", 16)


def test_type_ahead_goes_to_the_next_prompt_and_at_last_to_the_service() -> None:
    """T6."""
    bench = called()
    bench.type(b"ann\rsecret\rls\r")
    bench.ask(1)
    bench.ask(2, b"Password: ", echo="off")
    bench.admit()

    assert bench.take()[-2:] == ["start console for ann 'ls\\r'", "online"]
    assert bench.screen == b"login: ann\r\nPassword: \r\n"


def test_what_one_caller_typed_is_no_answer_of_the_next() -> None:
    """T6: left-over bytes are flushed between calls."""
    bench = called()
    bench.type(b"root\r")
    bench.hang_up()
    bench.end_reply()
    bench.wait(5)
    bench.call()
    bench.take()
    bench.ask()

    assert bench.take() == []


def test_the_line_is_not_handed_over_before_end_is_answered() -> None:
    """R1, I2."""
    bench = called()
    bench.decide()

    assert bench.take() == ["s1: END (1)"]
    bench.end_reply()
    assert bench.take() == ["record start", "start console for ann", "online"]


# Verdicts.


def test_a_refused_caller_hears_the_last_word_and_is_hung_up_on() -> None:
    """R4, T10."""
    bench = called()
    bench.refuse_user(message="Login incorrect\nGood bye")
    bench.end_reply()
    bench.wait(5)

    assert bench.screen == b"Login incorrect\r\nGood bye\r\n"
    assert bench.take() == [
        "s1: END (1)",
        "hanging-up refused",
        "record stop refused",
        "idle",
    ]


def test_the_last_word_follows_an_answer_on_the_next_line() -> None:
    bench = called()
    bench.ask(prompt=b"Password: ", echo="off")
    bench.type(b"wrong\r")
    bench.refuse_user(message="Login incorrect")

    assert bench.screen == b"Password: \r\nLogin incorrect\r\n"


def test_the_last_word_leaves_an_unfinished_line() -> None:
    bench = called()
    bench.ask()
    bench.type(b"ann")
    bench.refuse_user(message="No")

    assert bench.screen == b"login: ann\r\nNo\r\n"


def test_each_caller_begins_on_a_line_of_his_own() -> None:
    bench = called()
    bench.ask()
    bench.hang_up()
    bench.end_reply()
    bench.wait(5)
    bench.screen = b""
    bench.call()
    bench.refuse_user(message="No")

    assert bench.screen == b"No\r\n"


def test_an_undecided_caller_hears_a_neutral_line() -> None:
    """R4, T8: nobody could decide, which is no refusal of the user."""
    bench = called()
    bench.decide(ERROR, Winerror.ERROR_NO_LOGON_SERVERS.code)

    assert bench.screen == b"Authentication is not available, try again later\r\n"
    assert bench.line.call is not None
    assert bench.line.call.disconnect is Disconnect.UNDECIDED


def test_the_last_word_leaves_before_the_hang_up() -> None:
    """T10."""
    bench = called()
    bench.drains = False
    bench.refuse_user(message="no")

    assert bench.far.is_online
    bench.drain()
    assert not bench.far.is_online


def test_the_hang_up_waits_two_seconds_for_the_last_word_at_most() -> None:
    """T10: with a short bound."""
    bench = called()
    bench.drains = False
    bench.refuse_user(message="no")

    bench.wait(1.9)
    assert bench.far.is_online
    bench.wait(0.1)
    assert not bench.far.is_online


def test_the_wait_for_the_last_word_is_set_for_slow_lines() -> None:
    bench = called(settings=replace(SETTINGS, last_word_timeout_s=17))
    bench.drains = False
    bench.refuse_user(message="no")

    bench.wait(16.9)
    assert bench.far.is_online
    bench.wait(0.1)
    assert not bench.far.is_online


def test_what_was_sent_before_a_verdict_without_a_message_leaves_too() -> None:
    bench = called()
    bench.drains = False
    bench.ask()
    bench.refuse_user()

    assert bench.far.is_online
    bench.drain()
    assert not bench.far.is_online


def test_without_a_worker_the_caller_is_told_and_hung_up_on_in_bounded_time() -> None:
    """R7, T11: fails closed."""
    bench = ready()
    bench.do(bench.line.route(None, bench.now))
    bench.call()
    bench.wait(7.5)

    assert bench.screen == b"Authentication is not available, try again later\r\n"
    assert bench.take()[-2:] == ["hanging-up undecided", "record stop undecided"]


def test_a_second_caller_is_not_answered_while_the_first_ones_end_is_delayed() -> None:
    """T2: no late verdict of his dialog can be taken for the next one's."""
    bench = called()
    bench.hang_up()
    bench.end_reply(NO_ERROR)
    bench.wait(3)
    bench.ring()
    bench.wait(5)

    assert not bench.far.is_online
    bench.decide()
    bench.wait(3)
    assert bench.far.is_online
    assert "start console for ann" not in bench.take()


def test_a_caller_lost_between_verdict_and_end_reply_gets_no_service() -> None:
    """T3."""
    bench = called()
    bench.decide()
    bench.hang_up()
    bench.end_reply()

    assert bench.take() == [
        "s1: END (1)",
        "hanging-up caller",
        "record stop caller",
    ]


def test_a_success_after_the_caller_was_lost_admits_nobody() -> None:
    """T3."""
    bench = called()
    bench.hang_up()
    bench.decide()
    bench.end_reply()

    assert bench.take() == ["s1: END (1)", "hanging-up caller", "record stop caller"]


# Callers who go, at every stage; nothing is left, the port is armed.


def test_a_caller_who_stops_ringing_leaves_a_record() -> None:
    bench = ready(settings=replace(SETTINGS, modem=replace(SETTINGS.modem, rings=5)))
    bench.ring()
    bench.hang_up()
    bench.wait(15)

    assert bench.take() == ["ringing", "record stop unanswered", "idle"]


@pytest.mark.parametrize("settings", [SETTINGS, BLIND], ids=["dcd", "no dcd"])
@pytest.mark.parametrize(
    "stage", ["begun", "asked", "typing", "answered", "decided", "refused", "delayed", "online"]
)
def test_a_caller_who_hangs_up_leaves_the_port_armed(stage: str, settings: object) -> None:
    """T4, T14."""
    bench = called(settings=settings)  # type: ignore[arg-type]  # parametrized
    bench.drains = stage != "refused"
    if stage in {"asked", "typing", "answered"}:
        bench.ask()
        bench.type({"asked": b"", "typing": b"an", "answered": b"ann\r"}[stage])
    elif stage == "refused":
        bench.refuse_user(message="no")
    elif stage != "begun":
        bench.decide()
    if stage in {"delayed", "online"}:
        bench.end_reply(NO_ERROR if stage == "delayed" else GONE)
    bench.hang_up()
    if stage == "online":
        assert "stop" in bench.take()
        bench.service_ends()
    bench.end_reply()
    bench.wait(3)

    assert bench.line.state is LineState.IDLE
    assert (bench.line.call, bench.line.dialog, bench.line.stage) == (None, None, Stage.NONE)
    assert [kind for kind, _ in bench.records].count("stop") == 1


def test_a_worker_that_never_answers_end_pins_the_port_for_the_lease_only() -> None:
    """R3, T1."""
    bench = called()
    bench.hang_up()
    bench.wait(12.9)

    assert bench.line.state is LineState.HANGING_UP
    bench.wait(0.2)
    assert bench.line.state is LineState.IDLE


def test_a_device_that_goes_ends_the_call() -> None:
    bench = called()
    bench.lose_device()
    bench.end_reply()

    assert bench.take() == ["s1: END (1)", "faulted unplugged", "record stop port-fault"]


def test_a_device_that_goes_while_the_caller_is_online_ends_his_service() -> None:
    bench = online()
    bench.lose_device()
    bench.service_ends()

    assert bench.take() == ["stop", "faulted unplugged", "record stop port-fault"]


def test_a_device_that_comes_back_is_armed() -> None:
    bench = called()
    bench.lose_device()
    bench.end_reply()
    bench.hang_up()
    bench.plug_in()

    assert bench.line.state is LineState.IDLE


# Prompts and answers.


def test_what_a_worker_sends_is_shown_unchanged() -> None:
    bench = called()
    bench.say(Verb.SEND, Send(worker=W, seq=1, data=b"Authorised use only\r\n\x07"))

    assert bench.screen == b"Authorised use only\r\n\x07"


def test_the_time_for_an_answer_runs_from_the_prompts_last_byte() -> None:
    bench = called()
    bench.drains = False
    bench.ask(timeout_s=10)
    bench.wait(20)
    assert "s1: RECEIVED (1)" not in bench.take()

    bench.drain()
    bench.wait(10)
    assert bench.take() == ["s1: RECEIVED (1)"]


def test_half_a_password_is_no_user_name_after_a_fail_over() -> None:
    """T5, and trace T23."""
    bench = called()
    bench.ask(1)
    bench.type(b"ann\r")
    bench.ask(2, b"Password: ", echo="off")
    bench.type(b"sec")
    bench.lose()
    bench.ask(3)
    bench.type(b"ret\r")

    assert bench.screen == b"login: ann\r\nPassword: \r\nlogin: ret\r\n"
    assert bench.take()[-1] == "s1: RECEIVED (2)"


def test_a_lost_worker_has_the_caller_asked_again() -> None:
    """T7, T8."""
    bench = called()
    bench.ask(1)
    bench.type(b"ann\r")
    bench.lose()
    bench.ask(2)

    assert bench.take() == ["s1: RECEIVED (1)", "s1: BEGIN (2)"]
    assert bench.screen == b"login: ann\r\n\r\nlogin: "


def test_a_verdict_withdraws_the_question() -> None:
    bench = called()
    bench.ask()
    bench.decide()
    bench.type(b"ann\r")
    bench.end_reply()

    assert "s1: RECEIVED (1)" not in bench.take()


# Services and their limits.


def test_the_verdict_chooses_among_the_services_there_are() -> None:
    bench = called()
    bench.admit(service="shell")

    assert "start shell for ann" in bench.take()


def test_a_service_that_is_not_there_is_not_swapped_for_another() -> None:
    bench = called()
    bench.admit(service="/bin/sh")
    assert "start /bin/sh for ann" in bench.take()

    bench.service_ends("there is no such service")

    assert bench.screen.endswith(b"The service is not available, try again later\r\n")
    assert bench.records[-1][1].disconnect is Disconnect.SERVICE_FAILED


def test_a_verdict_without_a_service_leaves_it_to_the_port() -> None:
    bench = called()
    bench.admit(service="")

    assert "start console for ann" in bench.take()


@pytest.mark.parametrize(
    ("attributes", "limits"),
    [
        ({}, (600, 60)),
        ({"session_timeout_s": 30, "idle_timeout_s": 10}, (30, 10)),
        ({"session_timeout_s": 900, "idle_timeout_s": 900}, (600, 60)),
        ({"session_timeout_s": 0, "idle_timeout_s": -5}, (600, 60)),
        ({"session_timeout_s": "1", "idle_timeout_s": True}, (600, 60)),
        ({"service": "shell", "session_timeout_s": 30}, (30, 0)),
    ],
)
def test_a_verdict_shortens_limits_and_never_lengthens_them(
    attributes: dict[str, object], limits: tuple[int, int]
) -> None:
    bench = called()
    bench.admit(**attributes)
    (admission,) = bench.admissions

    assert (admission.session_timeout_s, admission.idle_timeout_s) == limits


def test_the_session_limit_ends_the_call_however_busy() -> None:
    bench = online(session_timeout_s=100)
    for _ in range(11):
        bench.wait(9)
        bench.type(b"x")
        bench.service_says(b"y")
    bench.take()
    bench.wait(1)

    assert bench.take() == ["stop", "hanging-up session-timeout"]
    assert bench.screen.endswith(b"y\r\nDisconnected: the session time is over\r\n")
    bench.service_ends()
    assert bench.take() == ["record stop session-timeout"]


@pytest.mark.parametrize("is_direct", [False, True])
def test_a_stay_is_recorded_at_its_interval_until_the_end(is_direct: bool) -> None:
    services = {"console": ServiceLimits(is_direct=is_direct)}
    bench = online(replace(SETTINGS, services=services, interim_s=100))
    bench.type(b"abc")
    bench.do(bench.line.tick(bench.now + 1))
    bench.wait(250)
    bench.hang_up()
    bench.service_ends()
    bench.wait(250)

    assert [kind for kind, _ in bench.records] == ["start", "interim", "interim", "stop"]
    assert bench.records[1][1].ended_at is None
    assert (bench.records[1][1].bytes_in is None) == is_direct


@pytest.mark.parametrize("side", ["caller", "service"])
def test_the_idle_limit_runs_from_the_last_byte_of_either_side(side: str) -> None:
    bench = online()
    bench.wait(59)
    if side == "caller":
        bench.type(b"x")
    else:
        bench.service_says(b"y")
    bench.wait(59)
    bench.take()
    bench.wait(1)

    assert bench.take() == ["stop", "hanging-up idle-timeout"]
    assert bench.screen.endswith(b"Disconnected: idle for too long\r\n")


@pytest.mark.parametrize("limits", [{"is_raw": True}, {"is_direct": True}])
def test_who_reads_no_text_is_hung_up_on_at_his_limit_without_a_word(
    limits: dict[str, bool],
) -> None:
    services = {"console": ServiceLimits(session_timeout_s=10, **limits)}
    bench = online(replace(SETTINGS, services=services))
    bench.wait(10)

    assert bench.take()[-2:] == ["stop", "hanging-up session-timeout"]
    assert bench.screen == b""


def test_each_callers_limit_ends_his_own_service() -> None:
    bench = online(session_timeout_s=10)
    for _ in range(2):
        bench.take()
        bench.wait(10)
        assert bench.take() == ["stop", "hanging-up session-timeout"]
        bench.service_ends()
        bench.wait(5)
        bench.call()
        bench.admit(session_timeout_s=10)


def test_a_caller_who_hangs_up_while_he_is_told_of_his_limit_ends_nothing_twice() -> None:
    bench = online(session_timeout_s=10)
    bench.drains = False
    bench.wait(10)
    assert bench.far.is_online
    bench.hang_up()
    bench.service_ends()

    assert bench.take() == [
        "stop",
        "hanging-up session-timeout",
        "record stop session-timeout",
    ]


def test_what_the_service_says_last_leaves_before_the_hang_up() -> None:
    bench = online()
    bench.drains = False
    bench.service_says(b"bye\r\n")
    bench.service_ends()

    assert bench.far.is_online
    bench.drain()
    assert not bench.far.is_online
    assert bench.screen == b"bye\r\n"


def test_a_service_that_does_not_start_is_told_to_the_caller() -> None:
    bench = online()
    bench.service_ends("connection refused")

    assert bench.screen == b"The service is not available, try again later\r\n"
    assert "record stop service-failed" in bench.take()


def test_the_port_does_not_answer_before_the_last_service_is_gone() -> None:
    bench = online()
    bench.hang_up()
    bench.wait(3)
    bench.ring()
    bench.wait(5)
    assert not bench.far.is_online

    bench.service_ends()
    bench.wait(3)
    assert bench.far.is_online


def test_what_a_service_says_after_the_call_reaches_nobody() -> None:
    bench = online()
    bench.hang_up()
    bench.take()
    bench.service_says(b"secret")

    assert bench.take() == []


# Operators.


def test_an_operator_ends_a_login() -> None:
    bench = called()
    bench.do(bench.line.cut(Disconnect.OPERATOR, GONE, bench.now))
    bench.end_reply()
    bench.wait(3)

    assert bench.take() == [
        "s1: END (1)",
        "hanging-up operator",
        "record stop operator",
        "idle",
    ]


def test_a_stopping_agent_ends_a_session() -> None:
    bench = online()
    bench.do(bench.line.cut(Disconnect.AGENT_STOPPED, SYSTEM_DOWN, bench.now))
    bench.service_ends()

    assert bench.take() == ["stop", "hanging-up agent-stopped", "record stop agent-stopped"]


def test_a_cut_without_a_call_does_nothing() -> None:
    bench = ready()
    bench.do(bench.line.cut(Disconnect.OPERATOR, GONE, bench.now))

    assert bench.take() == []


def test_a_reset_ends_the_call_and_brings_the_modem_back() -> None:
    """T14."""
    bench = online()
    bench.do(bench.line.reset(bench.now))
    bench.service_ends()
    bench.wait(3)

    assert bench.take() == [
        "stop",
        "hanging-up operator",
        "record stop operator",
        "idle",
    ]


def test_a_port_that_is_tried_again_says_what_was_wrong() -> None:
    bench = ready(settings=BLIND)
    bench.far.faults.silent = True
    bench.do(bench.line.probe(bench.now))
    bench.wait(SETTINGS.modem.command_timeout_s)
    assert bench.line.state is LineState.FAULTED
    reason = bench.line.reason
    bench.wait(1)

    assert (bench.line.state, bench.line.reason) == (LineState.HANGING_UP, reason)
    bench.far.faults.silent = False
    bench.wait(10)
    assert (bench.line.state, bench.line.reason) == (LineState.IDLE, "")


def test_a_reset_mends_a_faulted_port_at_once() -> None:
    bench = ready()
    bench.far.faults.refuses = "ATZ"
    bench.do(bench.line.reset(bench.now))
    bench.wait(0.5)
    assert bench.line.state is LineState.FAULTED
    bench.far.faults.refuses = ""
    bench.do(bench.line.reset(bench.now))
    bench.wait(0.5)

    assert bench.line.state is LineState.IDLE


def test_a_disabled_port_lets_it_ring() -> None:
    bench = ready()
    bench.do(bench.line.disable(Closure("disabled by eve"), bench.now))
    bench.call()
    bench.hang_up()
    bench.wait(15)

    assert bench.take() == [
        "disabled disabled by eve",
        "ringing",
        "record stop unanswered",
        "disabled disabled by eve",
    ]


def test_a_call_goes_on_when_its_port_is_disabled() -> None:
    bench = online()
    bench.do(bench.line.disable(Closure("disabled"), bench.now))
    bench.type(b"ls\r")

    assert bench.take() == ["service 'ls\\r'"]


def test_an_enabled_port_answers_what_rings() -> None:
    bench = ready()
    bench.do(bench.line.disable(Closure("disabled"), bench.now))
    bench.call()
    bench.do(bench.line.enable(bench.now))
    bench.wait(2)

    assert bench.far.is_online


def test_what_drains_a_port_does_not_change_why_it_is_disabled() -> None:
    bench = ready()
    bench.do(bench.line.disable(Closure("disabled"), bench.now))
    bench.do(bench.line.close_to_calls("draining", bench.now))

    assert bench.line.reason == "disabled"


# Records.


def test_a_call_is_noted_when_it_rings_and_when_it_is_connected_before_anything_is_asked() -> None:
    modem = replace(SETTINGS.modem, init=("ATZ", "AT+VCID=1"), rings=2)
    bench = ready(settings=replace(SETTINGS, modem=modem))
    bench.ring()
    rang = list(bench.begun)
    bench.wait(5)

    assert [call.connected_at for call in rang] == [None]
    assert [call.caller.number for call in bench.begun] == ["", "5551234"]
    assert {call.id for call in bench.begun} == {rang[0].id}
    assert bench.records == []


def test_a_handed_over_call_has_one_start_and_one_stop() -> None:
    bench = called()
    bench.ask()
    bench.type(b"ann\r")
    bench.admit()
    bench.service_says(b"hello")
    bench.type(b"ls\r")
    bench.wait(7)
    bench.hang_up()
    bench.service_ends()
    (first, start), (last, stop) = bench.records

    assert (first, last) == ("start", "stop")
    assert start.id == stop.id
    assert start.disconnect is None
    assert (stop.disconnect, stop.code) == (
        Disconnect.CALLER,
        Raserror.ERROR_REMOTE_DISCONNECTION.code,
    )
    assert stop.dialog is not None
    assert (stop.dialog.attempts, stop.dialog.answers) == (1, 1)
    assert (stop.bytes_in, stop.bytes_out) == (7, len(b"login: ann\r\nhello"))
    assert stop.handed_over_at is not None
    assert stop.ended_at is not None
    assert stop.ended_at - stop.handed_over_at == pytest.approx(7)


def test_a_refused_call_has_a_stop_only_and_says_who() -> None:
    bench = called()
    bench.refuse_user()
    bench.end_reply()
    ((kind, stop),) = bench.records

    assert kind == "stop"
    assert stop.dialog is not None
    assert stop.dialog.verdict is not None
    assert stop.dialog.verdict.outcome == "failure"


def test_a_call_that_got_no_verdict_says_why_its_dialog_ended() -> None:
    bench = called()
    bench.hang_up()
    bench.end_reply()
    ((_, stop),) = bench.records

    assert stop.dialog is not None
    assert (stop.dialog.verdict, stop.dialog.reason) == (None, GONE)


def test_calls_are_counted_by_disconnect_reason() -> None:
    bench = called()
    bench.hang_up()
    bench.end_reply()

    assert bench.counters.calls == {Disconnect.CALLER: 1}


# Sessions.


def test_the_next_call_begins_on_the_session_that_there_is_then() -> None:
    bench = called()
    bench.hang_up()
    bench.end_reply()
    bench.do(bench.line.route(Route(2), bench.now))
    bench.wait(5)
    bench.take()
    bench.call()

    assert "s2: BEGIN (1)" in bench.take()


def test_every_call_has_a_dialog_of_its_own() -> None:
    """T2: HPORT alone is no identity."""
    bench = called()
    bench.hang_up()
    bench.end_reply()
    bench.wait(5)
    bench.call()
    begins = [dialog for _, verb, dialog, _ in bench.sent if verb is Verb.BEGIN]

    assert len(set(begins)) == len(begins) == 2


def test_a_port_that_is_held_answers_nobody_until_it_is_let_go() -> None:
    bench = ready()
    bench.do(bench.line.hold("no room", bench.now))
    assert (bench.line.state, bench.line.reason) == (LineState.DISABLED, "no room")
    assert not bench.line.modem.may_answer

    bench.do(bench.line.hold("", bench.now))

    assert (bench.line.state, bench.line.modem.may_answer) == (LineState.IDLE, True)


def test_a_port_that_drains_is_not_opened_by_being_let_go() -> None:
    bench = ready()
    bench.do(bench.line.close_to_calls("draining", bench.now))

    bench.do(bench.line.hold("", bench.now))

    assert bench.line.reason == "draining"


def test_a_record_tells_each_step_of_its_call_and_no_answer() -> None:
    bench = called()
    bench.ask()
    bench.type(b"geheim\r")
    bench.admit()
    bench.hang_up()
    bench.service_ends()
    _, (_, stop) = bench.records

    assert [step.what.value for step in stop.steps] == [
        *("rang", "connected", "begun", "asked", "answered"),
        *("decided", "dialog over", "handed over", "ended"),
    ]
    assert [step.at for step in stop.steps] == sorted(step.at for step in stop.steps)
    assert "geheim" not in repr(stop.steps)


def test_of_too_many_steps_the_first_and_the_last_are_kept() -> None:
    call = Call(bytes(16), 0.0)
    for number in range(200):
        call.note(float(number), Happening.ASKED)

    times = [step.at for step in call.steps]
    assert (len(times), times[0], times[31], times[32], times[-1]) == (64, 0, 31, 168, 199)
