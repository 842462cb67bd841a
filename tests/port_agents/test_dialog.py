"""The agent's dialog, rule by rule: each test is a sentence of protocol §5 "Agent" or of §6.

The whole table is in `test_dialog_table`; here are the walks through several of its cells.
"""

from __future__ import annotations

import pytest

from dialgate.codes import NO_ERROR, Raserror, Winerror
from dialgate.wire.bodies import ERROR, SUCCESS
from dialgate.wire.verbs import Verb
from port_agents.counters import Again
from port_agents.dialog_actions import Phase, Route
from tests.port_agents.dialog_bench import DISCONNECTED, HOME, NEXT, Bench, Durations, V

TIMED_OUT = Winerror.ERROR_TIMEOUT.code


def begun() -> Bench:
    bench = Bench()
    bench.begin()
    return bench


def asked() -> Bench:
    bench = begun()
    bench.receive()
    return bench


# Begin again.


def test_begin_again_carries_the_last_seq_owner_and_cookie() -> None:
    bench = begun()
    bench.send(1)
    bench.receive(2)
    bench.send(3, worker=V)

    assert bench.lose() == ["s1: BEGIN (2) seq=3 owner=v cookie=c2"]


def test_begin_is_repeated_after_0_then_0_5_then_1_then_2_s_each() -> None:
    bench = begun()
    waits = []
    for _ in range(6):
        started = bench.now
        if not bench.lose():
            while bench.dialog.phase is Phase.WAITING:
                bench.wait(bench.dialog.deadline() - bench.now)
        waits.append(bench.now - started)

    assert waits == [0, 0.5, 1, 2, 2, 2]


def test_a_worker_that_is_heard_resets_the_waits() -> None:
    bench = begun()
    bench.lose()
    bench.lose()
    bench.wait(0.5)
    bench.receive()

    assert bench.lose() == ["s1: BEGIN (4) seq=1 owner=w cookie=c1"]


def test_a_session_that_ends_is_replaced_by_the_next_one_found() -> None:
    bench = asked()

    assert bench.session_over() == []
    assert bench.route(NEXT) == ["s2: BEGIN (2) seq=1 owner=w cookie=c1"]


def test_a_new_session_does_not_shorten_the_wait() -> None:
    bench = begun()
    bench.lose()
    bench.session_over()

    assert bench.route(NEXT) == []
    assert bench.wait(0.5) == ["s2: BEGIN (3) seq=0 owner=- cookie=-"]


def test_a_new_session_disturbs_no_dialog_that_goes_on_in_another() -> None:
    bench = asked()

    assert bench.route(NEXT) == []
    assert bench.answer() == ["s1: RECEIVED (1) seq=1 0 'ann'"]


def test_without_any_broker_for_the_queue_timeout_the_dialog_ends() -> None:
    bench = asked()
    bench.session_over()

    assert bench.wait(9.9) == []
    assert bench.wait(0.1) == ["decided error win:1311", "cancel", "closed"]


def test_a_dialog_that_no_broker_ever_took_ends_after_the_default_queue_timeout() -> None:
    bench = Bench()

    assert bench.begin(None) == []
    assert bench.wait(10) == ["decided error win:1311", "closed"]


def test_brokers_that_only_lose_the_dialog_end_it_after_twenty_attempts() -> None:
    bench = begun()

    assert bench.wait(0) == []
    for _ in range(19):
        bench.lose()
        bench.wait(2)

    assert bench.dialog.attempt == 20
    assert bench.lose() == ["decided error ras:645", "closed"]


def test_a_gap_at_the_last_attempt_ends_the_dialog_with_its_worker_told() -> None:
    bench = begun()
    for _ in range(19):
        bench.lose()
        bench.wait(2)

    assert bench.receive(7) == ["decided error ras:645", "s1: END (20) ras:645"]


def test_losses_do_not_add_up_to_poison_without_an_answer_out() -> None:
    bench = begun()
    for seq in range(1, 6):
        bench.receive(seq)
        bench.lose()

    assert bench.dialog.phase is Phase.BEGUN


def test_the_third_worker_lost_with_an_answer_in_hand_ends_the_dialog() -> None:
    """Trace T20."""
    bench = begun()
    for seq in (1, 2):
        bench.receive(seq)
        bench.answer(seq)
        assert bench.lose() == [f"s1: BEGIN ({seq + 1}) seq={seq} owner=w cookie=c{seq}"]
    bench.receive(3)
    bench.answer(3)

    assert bench.lose() == ["decided error ras:645", "closed"]


def test_a_worker_lost_behind_the_end_is_nobodys_poison() -> None:
    bench = begun()
    for seq in (1, 2):
        bench.receive(seq)
        bench.answer(seq)
        bench.lose()
    bench.receive(3)
    bench.answer(3)
    bench.end()

    assert bench.lose() == ["closed"]
    assert bench.dialog.verdict is None


def test_a_worker_that_spoke_after_the_answer_is_not_poisoned_by_it() -> None:
    bench = begun()
    for seq in (1, 3, 5, 7):
        bench.receive(seq)
        bench.answer(seq)
        bench.send(seq + 1)
        bench.lose()

    assert bench.dialog.phase is Phase.BEGUN


def test_a_broker_that_goes_with_an_answer_is_no_poison() -> None:
    bench = begun()
    for seq in (1, 2, 3, 4):
        bench.receive(seq)
        bench.answer(seq)
        bench.session_over(seq)
        bench.route(Route(seq + 1))

    assert bench.dialog.phase is Phase.BEGUN


# Questions and answers.


def test_a_repeated_question_waits_on_and_is_not_shown_again() -> None:
    bench = asked()
    bench.lose()

    assert bench.receive(1) == []
    assert bench.answer() == ["s1: RECEIVED (2) seq=1 0 'ann'"]


def test_a_repeated_question_whose_answer_is_out_gets_1237_and_no_answer() -> None:
    """Trace T5."""
    bench = asked()
    bench.answer()
    bench.lose()

    assert bench.receive(1) == ["s1: RECEIVED (2) seq=1 win:1237"]
    assert bench.receive(2) == ["ask 2 'login: ' anew"]


def test_a_question_below_the_last_one_is_a_gap() -> None:
    """Trace T6."""
    bench = asked()
    bench.answer()
    bench.receive(2)

    assert bench.receive(1) == ["s1: BEGIN (2) seq=2 owner=w cookie=c2"]


def test_a_question_before_a_send_that_was_shown_may_be_repeated() -> None:
    bench = asked()
    bench.send(2)
    bench.lose()

    assert bench.receive(1) == []
    assert bench.answer() == ["s1: RECEIVED (2) seq=1 0 'ann'"]


def test_the_number_of_a_send_is_none_for_a_question() -> None:
    bench = asked()
    bench.send(2)

    assert bench.receive(2) == ["s1: BEGIN (2) seq=2 owner=w cookie=c1"]


def test_another_worker_gets_no_answer_to_a_question_it_has_not_asked() -> None:
    """Trace T4: the agent's own guard, should a worker forget protocol §5's."""
    bench = asked()
    bench.lose()

    assert bench.receive(1, worker=V) == ["s1: BEGIN (3) seq=1 owner=w cookie=c1"]


def test_a_worker_that_only_spoke_since_has_not_asked_the_question_either() -> None:
    bench = asked()
    bench.lose()
    bench.send(2, worker=V)

    assert bench.receive(1, worker=V) == ["s1: BEGIN (3) seq=2 owner=v cookie=c1"]


def test_an_answer_between_two_attempts_waits_for_its_question() -> None:
    bench = asked()
    bench.session_over()

    assert bench.answer() == []
    assert bench.route(NEXT) == ["s2: BEGIN (2) seq=1 owner=w cookie=c1"]
    assert bench.receive(1) == ["s2: RECEIVED (2) seq=1 0 'ann'"]


def test_of_two_answers_to_one_question_the_first_counts() -> None:
    bench = asked()
    bench.session_over()
    bench.answer()
    bench.answer(data=b"bob")
    bench.route(NEXT)

    assert bench.receive(1) == ["s2: RECEIVED (2) seq=1 0 'ann'"]


def test_who_has_answered_is_asked_no_more_when_the_dialog_ends() -> None:
    bench = asked()
    bench.session_over()
    bench.answer()

    assert bench.end() == ["closed"]


def test_an_answer_between_two_attempts_is_forgotten_with_the_next_question() -> None:
    bench = asked()
    bench.session_over()
    bench.answer(data=b"secret")
    bench.route(NEXT)

    assert bench.receive(2, worker=V) == ["ask 2 'login: ' anew"]
    assert bench.receive(2, worker=V) == []
    assert bench.answer(2) == ["s2: RECEIVED (2) seq=2 0 'ann'"]


def test_an_answer_is_sent_once() -> None:
    bench = asked()

    assert bench.answer() == ["s1: RECEIVED (1) seq=1 0 'ann'"]
    assert bench.answer() == []


def test_a_second_question_of_the_attempt_gets_616_and_takes_its_number() -> None:
    bench = asked()

    assert bench.receive(2) == ["s1: RECEIVED (1) seq=2 ras:616"]
    assert bench.answer() == ["s1: RECEIVED (1) seq=1 0 'ann'"]
    assert bench.receive(3) == ["ask 3 'login: '"]


def test_a_refused_question_leaves_the_cookie_of_the_one_that_is_open() -> None:
    bench = asked()
    bench.receive(2)

    assert bench.lose() == ["s1: BEGIN (2) seq=2 owner=w cookie=c1"]


def test_only_the_first_question_of_a_new_attempt_discards_what_was_typed() -> None:
    bench = asked()
    bench.lose()

    assert bench.receive(2) == ["ask 2 'login: ' anew"]
    bench.answer(2)
    assert bench.receive(3) == ["ask 3 'login: '"]


def test_a_question_after_one_that_waited_on_discards_nothing() -> None:
    bench = asked()
    bench.lose()
    bench.receive(1)
    bench.answer(1)

    assert bench.receive(2) == ["ask 2 'login: '"]


def test_eight_sends_are_shown_between_questions_and_the_ninth_ends_the_dialog() -> None:
    bench = begun()

    assert [bench.send(seq) for seq in range(1, 9)] == [["show 'hello'"]] * 8
    assert bench.send(9) == ["decided error win:13", "s1: END (1) win:13"]


def test_a_question_lets_eight_more_sends_through() -> None:
    bench = begun()
    for seq in range(1, 9):
        bench.send(seq)
    bench.receive(9)

    assert [bench.send(seq) for seq in range(10, 18)] == [["show 'hello'"]] * 8


def test_a_new_attempt_lets_eight_more_sends_through() -> None:
    bench = begun()
    for seq in range(1, 9):
        bench.send(seq)
    bench.lose()

    assert bench.send(9, worker=V) == ["show 'hello'"]


def test_data_of_send_size_is_shown_and_a_byte_more_ends_the_dialog() -> None:
    bench = begun()

    assert bench.send(1, b"x" * 100) == [f"show {'x' * 100!r}"]
    assert bench.send(2, b"x" * 101) == ["decided error win:13", "s1: END (1) win:13"]


def test_a_prompt_over_send_size_ends_the_dialog() -> None:
    bench = begun()

    assert bench.receive(1, b"x" * 101) == ["decided error win:13", "s1: END (1) win:13"]


def test_an_answer_is_never_longer_than_recv_size() -> None:
    bench = begun()
    bench.receive(limit=5000)

    assert [ask.limit for ask in bench.asks] == [80]


def test_a_timed_out_question_is_answered_with_its_status() -> None:
    bench = asked()

    assert bench.answer(data=b"", status=TIMED_OUT) == ["s1: RECEIVED (1) seq=1 win:1460"]
    assert bench.dialog.answers == 0


# Verdicts and End: the four cases, and their races.


def test_normal_end_terminated_now_hands_a_success_over() -> None:
    bench = asked()
    bench.answer()

    assert bench.complete() == ["s1: END (1) 0", "decided success ann"]
    assert bench.end_reply() == ["handed over"]


def test_normal_end_delayed_hands_a_success_over_after_the_second_complete() -> None:
    bench = begun()
    bench.complete()

    assert bench.end_reply(NO_ERROR) == []
    assert bench.fail() == ["handed over"]


def test_abnormal_end_terminated_now_closes() -> None:
    bench = asked()

    assert bench.end() == ["cancel", "s1: END (1) ras:629"]
    assert bench.end_reply() == ["closed"]


def test_abnormal_end_delayed_admits_nobody_whatever_the_second_complete_says() -> None:
    """Trace T14."""
    bench = begun()
    bench.end()
    bench.end_reply(NO_ERROR)

    assert bench.complete() == ["closed"]


def test_a_verdict_after_an_abnormal_end_is_dropped_and_counted() -> None:
    bench = begun()
    bench.end()

    assert bench.complete() == []
    assert bench.end_reply() == ["closed"]
    assert bench.drops() == {"COMPLETE before END_REPLY 0": 1}


def test_a_second_verdict_before_the_answer_to_end_is_dropped_and_counted() -> None:
    bench = begun()
    bench.fail()

    assert bench.complete() == []
    assert bench.end_reply() == ["closed"]
    assert bench.drops() == {"COMPLETE before END_REPLY 0": 1}


def test_the_first_verdict_stands_against_the_one_that_releases_the_port() -> None:
    bench = begun()
    bench.fail()
    bench.end_reply(NO_ERROR)

    assert bench.complete() == ["closed"]


def test_a_caller_lost_after_end_0_only_prevents_the_hand_over() -> None:
    bench = begun()
    bench.complete()

    assert bench.end() == []
    assert bench.end_reply() == ["closed"]


def test_a_caller_lost_while_end_0_is_delayed_prevents_the_hand_over_too() -> None:
    bench = begun()
    bench.complete()
    bench.end_reply(NO_ERROR)
    bench.end()

    assert bench.complete() == ["closed"]


def test_the_first_ends_reason_stands() -> None:
    bench = begun()

    assert bench.end() == ["s1: END (1) ras:629"]
    assert bench.end(Raserror.ERROR_USER_DISCONNECTION.code) == []
    assert bench.dialog.reason == Raserror.ERROR_REMOTE_DISCONNECTION.code


def test_an_end_reply_before_end_is_dropped() -> None:
    bench = begun()

    assert bench.end_reply() == []
    assert bench.complete() == ["s1: END (1) 0", "decided success ann"]
    assert bench.drops() == {"END_REPLY before END": 1}


def test_an_unanswered_end_closes_after_the_lease_and_three_heartbeats() -> None:
    bench = Bench()
    bench.begin(Route(1, heartbeat_s=2, end_lease_s=5))
    bench.complete()

    assert bench.wait(10.9) == []
    assert bench.wait(0.1) == ["handed over"]


def test_a_delayed_end_goes_on_with_the_lease_that_it_had() -> None:
    """Rule 3: a delayed End whose Complete never comes pins the port for no longer."""
    bench = begun()
    bench.end()
    bench.wait(12)
    bench.end_reply(NO_ERROR)

    assert bench.wait(0.9) == []
    assert bench.wait(0.1) == ["closed"]


def test_an_end_that_is_delayed_twice_is_dropped_once() -> None:
    bench = begun()
    bench.end()
    bench.end_reply(NO_ERROR)

    assert bench.end_reply(NO_ERROR) == []
    assert bench.drops() == {"second END_REPLY": 1}


@pytest.mark.parametrize("loss", [Bench.lose, Bench.session_over, Bench.refuse])
def test_who_would_answer_end_is_lost_and_the_verdict_stands(loss: object) -> None:
    """Traces T9 and T10."""
    bench = begun()
    bench.complete()

    assert callable(loss)
    assert loss(bench) == ["handed over"]
    assert bench.route(NEXT) == []
    assert bench.dialog.attempt == 1


def test_no_begin_follows_an_end_at_any_broker() -> None:
    bench = begun()
    bench.end()

    assert bench.move(NEXT) == []
    assert bench.route(NEXT) == []
    assert bench.session_over() == ["closed"]
    assert bench.route(HOME) == []


def test_an_end_without_a_session_sends_nothing_and_closes_at_once() -> None:
    bench = asked()
    bench.session_over()

    assert bench.end() == ["cancel", "closed"]


def test_a_dialog_that_takes_too_long_is_ended() -> None:
    bench = Bench(dialog_max_s=30)
    bench.begin()
    bench.receive()

    assert bench.wait(29) == []
    assert bench.wait(1) == ["decided error win:1460", "cancel", "s1: END (1) win:1460"]


def test_the_longest_time_runs_from_the_first_begin_over_all_attempts() -> None:
    bench = Bench(dialog_max_s=30)
    bench.begin()
    for _ in range(5):
        bench.wait(5)
        bench.receive(bench.dialog.attempt)
        bench.lose()

    assert bench.wait(4) == []
    assert bench.wait(1) == ["decided error win:1460", "cancel", "s1: END (6) win:1460"]


def test_a_lease_that_is_over_decides_before_the_message_that_comes_with_it() -> None:
    bench = begun()
    bench.end()
    bench.end_reply(NO_ERROR)
    bench.now += 13

    assert bench.complete() == ["closed"]
    assert bench.drops() == {"no BEGIN outstanding": 1}


def test_the_verdict_is_kept_with_all_that_the_worker_said() -> None:
    bench = begun()
    bench.complete()
    verdict = bench.dialog.verdict

    assert verdict is not None
    assert (verdict.msg_id, verdict.username) == (SUCCESS, "ann")
    assert verdict.attributes == {"service": "console"}


def test_an_error_verdict_ends_normally_too() -> None:
    bench = begun()

    assert bench.complete(ERROR, TIMED_OUT) == ["s1: END (1) 0", "decided error win:1460"]


# Which messages count.


def test_a_message_of_a_lower_attempt_is_dropped_and_counted() -> None:
    bench = begun()
    bench.lose()

    assert bench.message(Verb.COMPLETE, b"", attempt=1) == []
    assert bench.drops() == {"other attempt": 1}


def test_a_message_by_another_session_is_dropped_and_counted() -> None:
    bench = begun()

    assert bench.message(Verb.COMPLETE, b"", session=2) == []
    assert bench.drops() == {"other session": 1}


def test_after_a_move_the_old_session_counts_for_nothing() -> None:
    bench = asked()
    bench.move(NEXT)

    assert bench.message(Verb.LOST, b"", session=1) == []
    assert bench.session_over(1) == []
    assert bench.receive(1) == []
    assert bench.answer() == ["s2: RECEIVED (2) seq=1 0 'ann'"]


# Offers.


@pytest.mark.parametrize("code", [Winerror.ERROR_NO_LOGON_SERVERS, Winerror.ERROR_BUSY])
def test_a_broker_without_workers_or_room_lets_the_dialog_be_offered(code: Winerror) -> None:
    bench = begun()

    assert bench.refuse(code.code) == [f"unserved win:{code.value}"]
    assert bench.move(NEXT, Again.OFFERED) == ["s2: BEGIN (2) seq=0 owner=- cookie=-"]


def test_an_offered_dialog_is_not_begun_where_it_was_refused() -> None:
    bench = begun()
    bench.refuse()

    assert bench.route(HOME) == []
    assert bench.wait(5) == []


def test_a_dialog_that_nobody_takes_ends_with_the_refusals_code() -> None:
    bench = begun()
    bench.refuse(Winerror.ERROR_BUSY.code)

    assert bench.give_up() == ["decided error win:170", "closed"]


def test_any_other_refusal_ends_the_dialog() -> None:
    bench = begun()

    assert bench.refuse(DISCONNECTED) == ["decided error ras:619", "closed"]


def test_a_refusal_after_end_only_closes() -> None:
    bench = begun()
    bench.end()

    assert bench.refuse() == ["closed"]


# Counted.


def test_times_are_observed() -> None:
    bench = begun()
    bench.now += 0.25
    bench.receive()
    bench.answer()
    bench.receive(2)
    bench.complete()
    bench.now += 0.5
    bench.end_reply(NO_ERROR)
    bench.end_reply()
    prompts, replies = bench.counters.begin_to_prompt, bench.counters.end_to_reply

    assert isinstance(prompts, Durations)
    assert isinstance(replies, Durations)
    assert (prompts.seconds, replies.seconds) == ([0.25], [0.5])


def test_begins_and_their_causes_are_counted() -> None:
    bench = begun()
    bench.lose()
    bench.receive(5)
    bench.move(NEXT)
    bench.session_over(2)
    bench.route(HOME)
    bench.wait(0.5)

    assert bench.counters.begins == 5
    assert bench.counters.begun_again == {
        Again.LOST: 1,
        Again.GAP: 1,
        Again.MOVED: 1,
        Again.SESSION_OVER: 1,
    }


def test_a_dialog_is_counted_once_by_its_outcome() -> None:
    bench = begun()
    bench.complete()
    bench.end()
    bench.end_reply()

    assert bench.counters.dialogs == {"success": 1}
