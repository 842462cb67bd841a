"""The worker's core by named rules: protocol §5 "Worker", §6, and the traces that broke it once."""

from __future__ import annotations

import pytest

from auth_workers.departure import DRAIN_S_MIN
from auth_workers.session_actions import Info
from auth_workers.verdict import Granted, Refused, Undecided
from dialgate.codes import NO_ERROR, Raserror, Winerror
from dialgate.wire.bodies import Receive
from dialgate.wire.body_codec import encode_map
from dialgate.wire.limits import SENDS_MAX
from dialgate.wire.verbs import Verb
from tests.auth_workers.core_bench import FACTS, ME, OTHER, Bench, D, E, begin_body

RETRY = Winerror.ERROR_RETRY.code
TIMEOUT = Winerror.ERROR_TIMEOUT.code


@pytest.fixture
def bench() -> Bench:
    return Bench()


# The life of a dialog.


def test_the_ordinary_life_of_a_dialog(bench: Bench) -> None:
    """rashost.md, rule 1."""
    assert bench.begin(1) == ["start 1 (1)"]
    assert bench.receive(b"login: ") == ["s1: RECEIVE (1) seq=1 'login: '"]
    assert bench.received(1, 1, b"ann") == ["answer 1 win:0 'ann'"]
    assert bench.receive(b"Password: ") == ["s1: RECEIVE (1) seq=2 'Password: '"]
    assert bench.received(1, 2, b"secret") == ["answer 1 win:0 'secret'"]
    assert bench.complete(Granted("ann")) == ["s1: COMPLETE (1) success ann", "outcome success"]
    assert bench.finish() == []
    assert bench.end(1, NO_ERROR) == ["s1: END_REPLY (1) ras:619"]
    assert bench.worker.open_dialogs == 0


def test_a_worker_that_takes_over_begins_after_the_last_seq_accepted(bench: Bench) -> None:
    """§6.1."""
    bench.begin(2, owner=OTHER, seq=7)

    assert bench.send(b"hello") == ["s1: SEND (2) seq=8 'hello'"]
    assert bench.receive(b"login: ") == ["s1: RECEIVE (2) seq=9 'login: '"]


def test_every_question_carries_worker_cookie_and_bounds(bench: Bench) -> None:
    bench.begin(1)
    bench.receive(b"login: ")
    body = bench.sent[-1][-1]

    assert isinstance(body, Receive)
    assert (body.worker, body.cookie, body.limit, body.timeout_s) == (ME, b"cookie", 256, 60)


def test_no_answer_is_asked_for_that_the_port_cannot_hold(bench: Bench) -> None:
    small = begin_body()
    facts = encode_map({**{k: getattr(FACTS, k) for k in FACTS.__struct_fields__}, "recv_size": 16})
    bench.hear(Verb.BEGIN, type(small)(hport="oslo/1", call=b"c" * 16, facts=facts), 1)
    bench.receive(b"login: ")
    body = bench.sent[-1][-1]

    assert isinstance(body, Receive)
    assert body.limit == 16


# The four cases of End (rashost.md, rules 2 and 3, trap 1).


def test_end_normal_and_nonzero_terminates(bench: Bench) -> None:
    bench.begin(1)
    bench.complete(Granted("ann"))
    bench.finish()

    assert bench.end(1, NO_ERROR) == ["s1: END_REPLY (1) ras:619"]


def test_end_normal_and_0_delays_until_the_second_complete(bench: Bench) -> None:
    bench.begin(1)
    bench.complete(Granted("ann"))
    bench.delay_end()

    assert bench.end(1, NO_ERROR) == ["s1: END_REPLY (1) win:0", "unplug 1 ras:619"]
    assert bench.finish() == ["s1: COMPLETE (1) success ann"]
    assert bench.worker.open_dialogs == 0


def test_end_normal_and_0_of_a_task_that_then_fails_completes_with_error(bench: Bench) -> None:
    bench.begin(1)
    bench.complete(Granted("ann"))
    bench.delay_end()
    bench.end(1, NO_ERROR)

    assert bench.complete(Undecided(Raserror.ERROR_AUTH_INTERNAL.code)) == [
        "s1: COMPLETE (1) error ras:645"
    ]
    assert bench.finish() == []


def test_end_abnormal_and_nonzero_answers_after_the_clean_up(bench: Bench) -> None:
    bench.begin(1)
    bench.receive()

    assert bench.end(1) == ["cancel 1 ras:619"]
    assert bench.finish() == ["s1: END_REPLY (1) ras:619", "outcome ended"]


def test_end_abnormal_and_0_owes_one_complete(bench: Bench) -> None:
    bench.begin(1)
    bench.delay_end()

    assert bench.end(1) == ["s1: END_REPLY (1) win:0", "unplug 1 ras:619"]
    assert bench.complete(Refused("ann")) == ["s1: COMPLETE (1) failure ann", "outcome ended"]
    assert bench.complete(Granted("ann")) == []


def test_an_end_that_is_delayed_for_too_long_is_cancelled_whatever_the_broker_says(
    bench: Bench,
) -> None:
    """T13."""
    bench.begin(1)
    bench.delay_end()
    bench.end(1)

    assert bench.wait(9.9) == []
    assert bench.wait(0.1) == ["cancel 1 win:1460", "outcome ended"]
    assert bench.complete(Granted("ann")) == []


def test_a_clean_up_that_hangs_holds_no_port(bench: Bench) -> None:
    bench.begin(1)
    bench.end(1)

    assert bench.wait(2.0) == ["s1: END_REPLY (1) ras:619", "outcome ended"]
    assert bench.worker.drops["clean-up took too long"] == 1


# End racing Complete (rashost.md, trap 3).


def test_after_end_a_success_is_not_even_sent(bench: Bench) -> None:
    bench.begin(1)
    bench.end(1)

    assert bench.complete(Granted("ann")) == []


def test_after_a_verdict_an_abnormal_end_is_answered_and_the_first_verdict_stands(
    bench: Bench,
) -> None:
    bench.begin(1)
    bench.complete(Granted("ann"))

    assert bench.complete(Refused("ann")) == []
    assert bench.finish() == []
    assert bench.end(1) == ["s1: END_REPLY (1) ras:619"]


def test_a_task_that_ends_without_a_verdict_is_an_error(bench: Bench) -> None:
    """rashost.md, trap 8."""
    bench.begin(1)

    assert bench.finish() == ["s1: COMPLETE (1) error ras:645", "outcome error"]


# Questions and answers (rashost.md, traps 5 and 7; §6.1-6.3).


def test_a_second_receive_while_one_runs_gets_616(bench: Bench) -> None:
    bench.begin(1)
    bench.receive()

    assert bench.receive() == ["ras:616"]


def test_a_send_waits_for_the_receive_that_runs(bench: Bench) -> None:
    """A RECEIVE that had to be repeated behind a later seq would be a gap (§6.1)."""
    bench.begin(1)
    bench.receive()

    assert bench.send() == ["ras:616"]


def test_an_answer_is_used_once(bench: Bench) -> None:
    bench.begin(1)
    bench.receive()
    bench.received(1, 1, b"123456")

    assert bench.received(1, 1, b"123456") == []


def test_a_late_answer_does_not_satisfy_the_next_question(bench: Bench) -> None:
    bench.begin(1)
    bench.receive()
    bench.received(1, 1, status=TIMEOUT)
    bench.receive()

    assert bench.received(1, 1, b"late") == []
    assert bench.worker.drops["answer to no question"] == 1


def test_an_answer_that_died_with_a_session_is_asked_for_anew(bench: Bench) -> None:
    """T5: 1237, the next seq, the same cookie, and the task hears nothing of it."""
    bench.begin(1)
    bench.send()
    bench.receive(b"code? ")
    bench.close(1)
    bench.begin(2, owner=ME, seq=2, session=2)
    asked = bench.sent[-1][-1]

    assert bench.received(2, 2, status=RETRY, session=2) == ["s2: RECEIVE (2) seq=3 'code? '"]
    again = bench.sent[-1][-1]
    assert isinstance(asked, Receive)
    assert isinstance(again, Receive)
    assert asked.cookie == again.cookie
    assert bench.received(2, 3, b"123456", session=2) == ["answer 1 win:0 '123456'"]


def test_a_timeout_is_told_as_it_came(bench: Bench) -> None:
    bench.begin(1)
    bench.receive()

    assert bench.received(1, 1, status=TIMEOUT) == ["answer 1 win:1460 ''"]
    assert bench.worker.info(1) == Info(TIMEOUT, 0, "/dev/ttyS0")


def test_getinfo_costs_no_message(bench: Bench) -> None:
    bench.begin(1)
    before = bench.worker.info(1)
    bench.receive()
    running = bench.worker.info(1)
    bench.received(1, 1, b"ann")
    sent = len(bench.sent)

    assert before == Info(NO_ERROR, 0, "/dev/ttyS0")
    assert running == Info(Raserror.PENDING.code, 0, "/dev/ttyS0")
    assert bench.worker.info(1) == Info(NO_ERROR, 3, "/dev/ttyS0")
    assert bench.worker.info(2) == Info(Raserror.ERROR_PORT_DISCONNECTED.code, 0, "")
    assert len(bench.sent) == sent


def test_a_ninth_send_between_two_questions_is_refused_here(bench: Bench) -> None:
    bench.begin(1)
    for _ in range(SENDS_MAX):
        bench.send()

    assert bench.send() == ["win:170"]
    assert bench.receive() == ["s1: RECEIVE (1) seq=9 'login: '"]
    bench.received(1, 9, b"ann")
    assert bench.send() == ["s1: SEND (1) seq=10 'hello'"]


def test_what_the_port_or_a_message_cannot_hold_is_refused_here(bench: Bench) -> None:
    bench.begin(1)

    assert bench.send(b"x" * 1025) == ["ras:603"]
    assert bench.receive(b"x" * 16_384) == ["ras:603"]
    assert bench.send() == ["s1: SEND (1) seq=1 'hello'"]


def test_a_send_that_no_message_can_hold_is_refused_here(bench: Bench) -> None:
    fields = {name: getattr(FACTS, name) for name in FACTS.__struct_fields__}
    begin = begin_body()
    facts = encode_map({**fields, "send_size": 65_535})
    bench.hear(Verb.BEGIN, type(begin)(hport="oslo/1", call=b"c" * 16, facts=facts), 1)

    assert bench.send(b"x" * 16_384) == ["ras:603"]


# Bad bodies (protocol §3).


def test_a_malformed_answer_is_a_verdict_of_error_13(bench: Bench) -> None:
    bench.begin(1)
    bench.receive()

    assert bench.hear(Verb.RECEIVED, b"\xc1", 1) == [
        "s1: COMPLETE (1) error win:13",
        "outcome error",
        "cancel 1 win:13",
    ]


def test_an_answer_longer_than_was_asked_for_is_malformed(bench: Bench) -> None:
    bench.begin(1)
    bench.receive()

    assert bench.received(1, 1, b"x" * 257)[0] == "s1: COMPLETE (1) error win:13"


@pytest.mark.parametrize("facts", [b"", b"\xc1", encode_map({"site": "oslo"})])
def test_a_begin_with_unreadable_facts_is_refused_with_13(bench: Bench, facts: bytes) -> None:
    begin = begin_body()
    bad = type(begin)(hport="oslo/1", call=b"c" * 16, facts=facts)

    assert bench.hear(Verb.BEGIN, bad, 1) == ["s1: REFUSED (1) win:13"]
    assert bench.begin(1) == []


def test_a_message_of_a_session_that_is_over_is_dropped(bench: Bench) -> None:
    bench.close(1)

    assert bench.begin(1, session=1) == []
    assert bench.worker.drops == {"no session": 1}


# The traces.


def test_t1_an_end_of_the_attempt_before_is_answered_and_changes_nothing(bench: Bench) -> None:
    bench.begin(1)
    bench.receive()
    bench.begin(2, owner=ME, seq=1, session=2)

    assert bench.end(1, session=1) == ["s1: END_REPLY (1) ras:619"]
    assert bench.received(2, 1, b"ann", session=2) == ["answer 1 win:0 'ann'"]


def test_t2_a_begin_that_was_overtaken_is_dropped(bench: Bench) -> None:
    bench.begin(2, session=2)

    assert bench.begin(1, session=1) == []
    assert bench.receive() == ["s2: RECEIVE (2) seq=1 'login: '"]


def test_t3_no_zombie_starts_after_its_dialog_has_ended(bench: Bench) -> None:
    bench.begin(2)
    bench.complete(Granted("ann"))
    bench.finish()
    bench.end(2, NO_ERROR)

    assert bench.begin(1) == []
    assert bench.begin(2) == []
    assert bench.wait(599.0) == []
    assert bench.begin(1) == []
    bench.wait(1.0)
    assert bench.begin(1) == ["start 2 (1)"]


def test_t4_a_task_whose_question_was_never_seen_does_not_get_anothers_answer(
    bench: Bench,
) -> None:
    bench.begin(1)
    bench.receive(b"login: ")

    assert bench.begin(3, owner=OTHER, seq=1) == [
        "cancel 1 ras:619",
        "outcome superseded",
        "start 2 (3)",
    ]
    assert bench.received(3, 1, b"secret") == []
    assert bench.receive(b"login: ", task=1) == ["ras:619"]
    assert bench.receive(b"login: ", task=2) == ["s1: RECEIVE (3) seq=2 'login: '"]


def test_t7_a_task_that_delayed_an_end_is_not_re_attached(bench: Bench) -> None:
    bench.begin(1)
    bench.receive()
    bench.delay_end()
    bench.end(1)

    assert bench.begin(2, owner=ME, seq=1) == [
        "cancel 1 ras:619",
        "outcome superseded",
        "start 2 (2)",
    ]
    assert bench.complete(Granted("ann"), task=1) == []
    assert bench.finish(task=1) == []


def test_t8_an_agent_that_comes_back_to_its_broker_begins_anew_after_an_end(bench: Bench) -> None:
    bench.begin(1)
    bench.end(1)

    assert bench.begin(2, owner=ME, seq=0) == ["outcome superseded", "start 2 (2)"]


def test_t16_a_link_that_breaks_and_is_back_at_once_relies_on_nothing_in_flight(
    bench: Bench,
) -> None:
    bench.begin(1)
    bench.receive()
    bench.close(1)
    bench.open(3)

    assert bench.hear(Verb.RECEIVED, b"\x80", 1, session=3) == []
    assert bench.begin(2, owner=ME, seq=1, session=3) == ["s3: RECEIVE (2) seq=1 'login: '"]


def test_t18_an_agent_that_moves_there_and_back_has_one_prompt(bench: Bench) -> None:
    bench.begin(1, session=1)
    bench.receive()
    bench.begin(2, owner=ME, seq=1, session=2)
    bench.begin(3, owner=ME, seq=1, session=1)

    assert bench.begin(2, owner=ME, seq=1, session=2) == []
    assert bench.received(2, 1, b"ann", session=2) == []
    assert bench.received(3, 1, b"ann", session=1) == ["answer 1 win:0 'ann'"]


def test_t20_a_dialog_that_killed_two_workers_starts_here_like_any_other(bench: Bench) -> None:
    assert bench.begin(3, owner=OTHER, seq=1) == ["start 1 (3)"]


def test_t21_an_end_for_a_dialog_that_is_not_here_is_answered_at_once(bench: Bench) -> None:
    assert bench.end(4) == ["s1: END_REPLY (4) ras:619"]
    bench.hear(Verb.BEGIN, b"\x80", 5)
    assert bench.end(5) == ["s1: END_REPLY (5) ras:619"]


# Re-attaching.


def test_what_was_said_into_the_void_is_said_again_in_order(bench: Bench) -> None:
    bench.begin(1)
    bench.send(b"one")
    bench.close(1)

    assert bench.send(b"two") == []
    assert bench.receive(b"three? ") == []
    assert bench.begin(2, owner=ME, seq=1, session=2) == [
        "s2: SEND (2) seq=2 'two'",
        "s2: RECEIVE (2) seq=3 'three? '",
    ]


def test_the_question_that_is_out_is_repeated_even_if_it_was_accepted(bench: Bench) -> None:
    bench.begin(1)
    bench.send(b"one")
    bench.receive(b"two? ")

    assert bench.begin(2, owner=ME, seq=2) == ["s1: RECEIVE (2) seq=2 'two? '"]


def test_a_question_that_was_answered_is_not_repeated(bench: Bench) -> None:
    bench.begin(1)
    bench.receive()
    bench.received(1, 1, b"ann")
    bench.send(b"wait")

    assert bench.begin(2, owner=ME, seq=1) == ["s1: SEND (2) seq=2 'wait'"]


def test_a_verdict_given_into_the_void_is_given_again(bench: Bench) -> None:
    bench.begin(1)
    bench.receive()
    bench.received(1, 1, b"ann")
    bench.close(1)
    bench.complete(Granted("ann"))
    bench.finish()

    assert bench.begin(2, owner=ME, seq=1, session=2) == ["s2: COMPLETE (2) success ann"]
    assert bench.end(2, NO_ERROR, session=2) == ["s2: END_REPLY (2) ras:619"]


def test_a_seq_that_this_task_never_sent_was_anothers(bench: Bench) -> None:
    bench.begin(1)
    bench.receive()

    assert bench.begin(2, owner=ME, seq=2)[-1] == "start 2 (2)"


def test_a_silent_task_waits_for_reattach_s_and_no_longer(bench: Bench) -> None:
    bench.begin(1)
    bench.receive()
    bench.wait(5.0)
    bench.lost(1)

    assert bench.wait(29.9) == []
    assert bench.wait(0.1) == ["cancel 1 ras:619", "outcome lost"]
    assert bench.begin(2, owner=ME, seq=1) == ["start 2 (2)"]


def test_losing_a_dialog_twice_does_not_prolong_its_wait(bench: Bench) -> None:
    bench.begin(1)
    bench.lost(1)
    bench.wait(20.0)
    bench.close(1)

    assert bench.wait(10.0) == ["cancel 1 ras:619", "outcome lost"]


def test_a_dialog_that_was_found_again_can_be_lost_again(bench: Bench) -> None:
    bench.begin(1)
    bench.receive()
    bench.lost(1)
    bench.wait(20.0)
    bench.begin(2, owner=ME, seq=1)

    assert bench.wait(20.0) == []
    bench.lost(2)
    assert bench.wait(29.9) == []
    assert bench.wait(0.1) == ["cancel 1 ras:619", "outcome lost"]


def test_a_broker_takes_only_its_own_dialogs_with_it(bench: Bench) -> None:
    bench.begin(1, session=1, dialog=D)
    bench.begin(1, session=2, dialog=E)
    bench.close(1)

    assert bench.receive(task=1) == []
    assert bench.receive(task=2) == ["s2: RECEIVE (1) seq=1 'login: '"]


# Bounds.


def test_no_task_is_older_than_dialog_max_s(bench: Bench) -> None:
    bench.begin(1)
    bench.wait(300.0)
    bench.begin(1, dialog=E)

    assert bench.wait(299.9) == []
    assert bench.wait(0.1) == [
        "s1: COMPLETE (1) error win:1460",
        "cancel 1 win:1460",
        "outcome error",
    ]
    assert bench.worker.open_dialogs == 1


def test_moving_a_dialog_does_not_prolong_its_life(bench: Bench) -> None:
    bench.begin(1)
    bench.receive()
    bench.wait(599.0)
    bench.begin(2, owner=ME, seq=1, session=2)

    assert bench.wait(1.0)[0] == "s2: COMPLETE (2) error win:1460"


# Credit (§6.7, §6.8).


def test_a_worker_offers_each_broker_its_share() -> None:
    assert Bench(capacity=9).ready == [(1, 5), (2, 4)]


def test_credit_is_renewed_when_a_dialog_ends() -> None:
    bench = Bench(capacity=4)
    bench.begin(1)
    bench.complete(Granted("ann"))
    bench.finish()
    before = list(bench.ready)
    bench.end(1, NO_ERROR)

    assert before == [(1, 2), (2, 2)]
    assert bench.ready[2:] == [(1, 3)]


def test_a_begin_beyond_the_capacity_is_served() -> None:
    bench = Bench(capacity=1)
    bench.begin(1, dialog=D)

    assert bench.begin(1, dialog=E) == ["start 2 (1)"]
    assert bench.worker.open_dialogs == 2


def test_a_begin_that_was_dropped_or_refused_spends_credit_too() -> None:
    bench = Bench(capacity=4)
    bench.hear(Verb.BEGIN, b"\x80", 1)
    bench.begin(1)

    assert bench.ready == [(1, 2), (2, 2), (1, 3), (1, 4)]


def test_a_re_attached_dialog_takes_room_once() -> None:
    bench = Bench(capacity=2)
    bench.begin(1)
    bench.receive()
    bench.begin(2, owner=ME, seq=1, session=2)

    assert bench.worker.open_dialogs == 1


# Drain.


def test_a_worker_that_stops_tells_every_broker_and_leaves_when_it_is_idle(bench: Bench) -> None:
    assert bench.lines(bench.worker.drain(25.0, bench.now)) == [
        "s1: DRAIN 25000 ms",
        "s2: DRAIN 25000 ms",
    ]
    assert bench.wait(0.1) == []
    assert bench.wait(DRAIN_S_MIN) == ["leave win:0"]


def test_an_operators_order_drains_like_a_signal(bench: Bench) -> None:
    assert bench.order_drain(60_000) == ["s1: DRAIN 60000 ms", "s2: DRAIN 60000 ms"]
    assert bench.worker.draining
    assert bench.order_drain(60_000, session=2) == []


def test_an_order_that_cannot_be_read_is_none(bench: Bench) -> None:
    assert bench.lines(bench.worker.message(1, Verb.DRAIN, None, 0, b"\xc1", 0.0)) == []
    assert not bench.worker.draining
    assert bench.worker.drops == {"bad body": 1}


def test_a_draining_worker_finishes_its_dialogs_first(bench: Bench) -> None:
    bench.begin(1)
    bench.worker.drain(25.0, bench.now)

    assert bench.wait(20.0) == []
    bench.complete(Granted("ann"))
    bench.finish()
    bench.end(1, NO_ERROR)
    assert bench.wait(0.1) == ["leave win:0"]


def test_what_crosses_a_drain_is_served_and_no_credit_is_given(bench: Bench) -> None:
    ready = list(bench.ready)
    bench.worker.drain(25.0, bench.now)

    assert bench.begin(1) == ["start 1 (1)"]
    bench.complete(Granted("ann"))
    bench.finish()
    bench.end(1, NO_ERROR)
    assert bench.ready == ready


def test_what_is_open_at_the_deadline_is_left_to_others(bench: Bench) -> None:
    bench.begin(1)
    bench.worker.drain(25.0, bench.now)

    assert bench.wait(25.0) == ["cancel 1 ras:619", "outcome lost", "leave win:0"]


def test_a_broker_that_comes_while_the_worker_drains_is_told(bench: Bench) -> None:
    bench.begin(1)
    bench.worker.drain(25.0, bench.now)
    bench.now += 5.0

    assert bench.open(3, "B") == ["s3: DRAIN 20000 ms"]


def test_a_task_that_is_over_delays_nothing(bench: Bench) -> None:
    bench.begin(1)
    bench.end(1)
    bench.finish()

    bench.delay_end()

    assert bench.begin(2) == ["start 2 (2)"]
    assert bench.end(2) == ["cancel 2 ras:619"]


def test_other_words_of_a_broker_change_nothing(bench: Bench) -> None:
    assert bench.lines(bench.worker.message(1, Verb.ERROR, None, 0, b"", 0.0)) == []


def test_no_answer_is_in_the_representation_of_what_the_core_says(bench: Bench) -> None:
    bench.begin(1)
    bench.receive()
    actions = bench.worker.message(
        1, Verb.RECEIVED, D, 1, encode_map({"seq": 1, "status": 0, "data": b"hunter2"}), 0.0
    )

    assert "hunter2" not in repr(actions)
