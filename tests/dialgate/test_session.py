"""The peer's session: protocol §3 from the peer's side, sentence by sentence, without a socket."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from dialgate.codes import NO_ERROR, Winerror
from dialgate.session import (
    WELCOME_S_MAX,
    PeerSession,
    SessionClosed,
    SessionOpened,
    SessionState,
)
from dialgate.wire.bodies import Bye, Error, Lost, Ping, Received, Welcome
from dialgate.wire.body_codec import decode_body, encode
from dialgate.wire.envelope import decode_frame
from dialgate.wire.limits import BODY_BYTES_MAX, FRAME_BYTES_MAX
from dialgate.wire.verbs import Role, Verb

WELCOME = Welcome(
    protocol=1,
    name="broker-1",
    instance=bytes(16),
    heartbeat_ms=1000,
    end_lease_ms=10_000,
    queue_timeout_ms=10_000,
    frame_bytes_max=FRAME_BYTES_MAX,
    body_bytes_max=BODY_BYTES_MAX,
)
DIALOG = bytes(range(16))
CODE = Winerror.ERROR_BUSY.code
LINK = "tcp://127.0.0.1:7701"


def closed() -> PeerSession:
    numbers = itertools.count(1)
    return PeerSession(
        LINK,
        Role.WORKER,
        hello=lambda session: b"HELLO %d" % session,
        next_session=lambda: next(numbers),
        jitter=lambda: 0.0,
    )


def greeting(now: float = 0.0) -> PeerSession:
    session = closed()
    session.start(now)
    session.take_frames(now)
    session.connect_wanted = False
    return session


def opened(now: float = 0.0) -> PeerSession:
    session = greeting(now)
    session.receive(encode(Verb.WELCOME, WELCOME), now)
    return session


def begin_like(verb: Verb = Verb.RECEIVED) -> bytes:
    return encode(verb, Received(seq=1, status=NO_ERROR, data=b""), DIALOG, 1)


def sent(session: PeerSession, now: float) -> list[tuple[int, Any]]:
    frames = session.take_frames(now)
    return [(m[0], m[3]) for frame in frames for m in decode_frame(frame)[0]]


def test_who_greets_has_a_time_by_which_he_gives_up() -> None:
    assert greeting(now=5.0).deadline() == 5.0 + WELCOME_S_MAX


def test_a_failed_send_of_a_session_that_is_over_ends_no_other() -> None:
    session = opened()
    assert session.send_failed(1.0) != []
    retry_at = session.deadline()

    assert session.send_failed(1.1) == []
    assert session.losses == {"send failed": 1}
    assert session.deadline() == retry_at


def test_a_pong_is_nobodys_but_the_sessions() -> None:
    assert opened().receive(encode(Verb.PONG, Ping(sent_ms=1)), 0.1) == []


def test_only_an_answer_to_hello_ends_the_greeting() -> None:
    session = greeting()

    assert session.receive(encode(Verb.PONG, Ping(sent_ms=1)), 0.1) == []
    assert session.state is SessionState.GREETING
    assert session.drops == {}


def test_a_session_begins_with_a_fresh_socket_and_hello_alone() -> None:
    session = closed()
    session.start(0.0)

    assert session.connect_wanted
    assert session.take_frames(0.0) == [b"HELLO 1"]
    assert not session.send(b"early")


def test_welcome_opens_it() -> None:
    session = greeting()

    assert session.receive(encode(Verb.WELCOME, WELCOME), 0.1) == [SessionOpened(LINK, 1, WELCOME)]
    assert session.state is SessionState.OPEN
    assert session.send(b"m")
    assert session.take_frames(0.1) == [b"m"]


def test_without_welcome_in_3_s_it_tries_again_on_a_fresh_socket_with_a_higher_number() -> None:
    session = greeting()

    assert session.tick(2.9) == []
    assert session.state is SessionState.GREETING
    assert session.tick(3.0) == []
    assert session.state is SessionState.WAITING
    session.tick(session.deadline())
    assert session.connect_wanted
    assert session.take_frames(4.0) == [b"HELLO 2"]


def test_back_off_grows_to_its_bound_and_ends_with_a_welcome() -> None:
    session = greeting()
    waits = []
    now = 0.0
    for _ in range(8):
        now += 3.0
        session.tick(now)
        waits.append(session.deadline() - now)
        now = session.deadline()
        session.tick(now)

    assert waits == [0.25, 0.5, 1.0, 2.0, 4.0, 4.0, 4.0, 4.0]

    session.receive(encode(Verb.WELCOME, WELCOME), now)
    session.send_failed(now)

    assert session.deadline() - now == 0.125


@pytest.mark.parametrize(
    "answer",
    [
        encode(Verb.ERROR, Error(code=CODE, text="name in use")),
        encode(Verb.BYE, Bye(code=CODE)),
        encode(Verb.LOST, Lost(code=CODE)),
        encode(
            Verb.WELCOME,
            Welcome(
                **{f: getattr(WELCOME, f) for f in WELCOME.__struct_fields__} | {"protocol": 2}
            ),
        ),
    ],
    ids=["ERROR", "BYE", "LOST", "another protocol"],
)
def test_a_refused_hello_ends_the_try_and_nobody_hears_of_a_session(answer: bytes) -> None:
    session = greeting()

    assert session.receive(answer, 0.1) == []
    assert session.state is SessionState.WAITING


def test_a_refusal_keeps_its_words_for_the_operator() -> None:
    session = greeting()
    session.receive(encode(Verb.ERROR, Error(code=CODE, text="name in use")), 0.1)

    assert session.refusal == "name in use"


def test_dialog_messages_before_welcome_are_dropped() -> None:
    assert greeting().receive(begin_like(), 0.1) == []


def test_dialog_messages_are_handed_on_in_order() -> None:
    session = opened()
    events = session.receive(begin_like() + begin_like(Verb.END), 0.1)

    assert [event[0] for event in events if isinstance(event, tuple)] == [20, 22]


def test_a_verb_that_no_broker_sends_to_this_role_is_dropped_and_counted() -> None:
    session = opened()

    assert session.receive(begin_like(Verb.SEND), 0.1) == []
    assert session.drops == {"unexpected verb": 1}


def test_what_follows_welcome_in_its_frame_is_delivered_after_it() -> None:
    session = greeting()
    events = session.receive(encode(Verb.WELCOME, WELCOME) + begin_like(), 0.1)

    assert isinstance(events[0], SessionOpened)
    assert events[1] == (20, DIALOG, 1, decode_frame(begin_like())[0][0][3], begin_like())


@pytest.mark.parametrize(
    ("verb", "body"), [(Verb.BYE, Bye(code=CODE)), (Verb.LOST, Lost(code=CODE))]
)
def test_bye_and_lost_without_a_dialog_end_the_session(verb: Verb, body: Bye | Lost) -> None:
    session = opened()
    events = session.receive(begin_like() + encode(verb, body) + begin_like(), 0.1)

    assert [type(event) for event in events] == [tuple, SessionClosed]
    assert events[1] == SessionClosed(LINK, 1, CODE)


def test_a_ping_is_answered_with_its_own_words() -> None:
    session = opened()
    session.receive(encode(Verb.PING, Ping(sent_ms=-7)), 0.1)

    [(verb, body)] = sent(session, 0.1)
    assert verb == Verb.PONG
    assert decode_body(body, Ping).sent_ms == -7


def test_a_side_that_has_sent_nothing_for_a_heartbeat_sends_ping() -> None:
    session = opened()
    session.send(b"m")
    session.take_frames(0.5)

    session.tick(1.4)
    assert sent(session, 1.4) == []
    session.tick(1.5)
    assert [verb for verb, _ in sent(session, 1.5)] == [Verb.PING]


def test_three_heartbeats_of_silence_lose_the_broker() -> None:
    session = opened()

    assert session.tick(2.9) == []
    session.take_frames(2.9)
    assert session.tick(3.0) == [SessionClosed(LINK, 1, Winerror.ERROR_TIMEOUT.code)]


def test_its_deadline_is_the_next_ping_or_the_end_of_the_brokers_silence() -> None:
    session = opened()
    assert session.deadline() == 1.0

    session.tick(2.5)
    session.take_frames(2.5)

    assert session.deadline() == 3.0


def test_any_frame_is_a_sign_of_life() -> None:
    session = opened()
    session.receive(b"\xc1", 2.9)

    assert session.tick(5.8) == []
    assert session.drops == {"not MessagePack": 1}


def test_a_failed_send_ends_the_session_as_silence_would() -> None:
    session = opened()
    session.send(b"queued")

    assert session.send_failed(0.2) == [
        SessionClosed(LINK, 1, Winerror.ERROR_CONNECTION_ABORTED.code)
    ]
    assert session.take_frames(0.2) == []


def test_nothing_of_an_old_session_is_heard_once_it_is_over() -> None:
    session = opened()
    session.send_failed(0.2)

    assert session.receive(begin_like(), 0.3) == []


def test_stopping_says_bye_and_opens_no_session_any_more() -> None:
    session = opened()
    session.stop(NO_ERROR)

    assert [verb for verb, _ in sent(session, 0.1)] == [Verb.BYE]
    assert session.tick(100.0) == []
    assert not session.connected()


def test_a_session_closed_by_its_owner_is_followed_by_another() -> None:
    session = opened()
    session.close_session(NO_ERROR, 1.0)

    assert [verb for verb, _ in sent(session, 1.0)] == [Verb.BYE]
    session.tick(session.deadline())
    assert session.take_frames(2.0) == [b"HELLO 2"]
