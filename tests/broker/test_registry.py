"""Protocol §3, "Session": who is welcomed, who is refused, who is lost.  One test a sentence."""

from __future__ import annotations

import pytest

from broker.sessions import REVOKED
from dialgate.wire.bodies import Ping
from dialgate.wire.body_codec import encode
from dialgate.wire.envelope import encode_message
from dialgate.wire.verbs import FROM_AGENT, FROM_WORKER, Role, Verb
from tests.broker.house import UNKNOWN_VERB, House, Key, Peer, id16

# ---------------------------------------------------------------------------- HELLO


@pytest.mark.parametrize("role", [Role.AGENT, Role.WORKER])
def test_hello_is_answered_welcome(role: Role) -> None:
    house = House()

    assert house.peer(role, "P").hello() == ["WELCOME"]


def test_another_protocol_is_refused() -> None:
    house = House()

    assert house.peer(Role.AGENT, "A").hello(protocol=2) == ["ERROR win:50"]


def test_another_protocol_is_refused_whatever_its_hello_looks_like() -> None:
    house = House()
    agent = house.peer(Role.AGENT, "A")
    agent.connect()

    agent.send_raw(encode_message(Verb.HELLO, None, 0, b"\x81\xa8protocol\x02"))

    assert agent.hears() == ["ERROR win:50"]


def test_the_wrong_role_for_the_socket_is_refused() -> None:
    house = House()

    assert house.peer(Role.AGENT, "A").hello(role="worker", capacity=1) == ["ERROR win:5"]
    assert house.peer(Role.WORKER, "W").hello(role="agent", site="oslo") == ["ERROR win:5"]


def test_a_hello_with_a_bad_body_is_refused() -> None:
    house = House()
    agent = house.peer(Role.AGENT, "A")
    agent.connect()

    agent.send_raw(encode_message(Verb.HELLO, None, 0, b"\x81\xa8protocol\x01"))

    assert agent.hears() == ["ERROR win:13"]


@pytest.mark.parametrize("session", [1, 2])
def test_a_session_that_is_not_higher_is_refused(session: int) -> None:
    house = House()
    agent = house.agent()
    agent.hello()

    assert agent.hello(session=session) == ["ERROR win:183"]


def test_a_session_that_is_not_higher_is_refused_after_the_last_one_is_over_as_well() -> None:
    house = House()
    agent = house.agent()
    agent.bye()

    assert agent.hello(session=1) == ["ERROR win:183"]


def test_a_second_hello_on_a_connection_is_refused() -> None:
    house = House()
    agent = house.agent()

    agent.greet_again()

    assert agent.hears() == ["ERROR win:183"]


def test_a_second_hello_on_a_connection_is_refused_after_bye_as_well() -> None:
    house = House()
    agent = house.agent()
    agent.bye()

    agent.greet_again()

    assert agent.hears() == ["ERROR win:183"]


def test_a_higher_session_of_the_same_process_ends_the_old_one() -> None:
    house = House()
    agent = house.agent()
    old = agent.connection

    assert agent.hello() == ["WELCOME"]

    agent.connection = old
    agent.ping()
    assert agent.hears() == ["LOST win:1168"]


def test_an_instance_has_one_name() -> None:
    house = House()
    house.worker("W0")
    twin = house.peer(Role.WORKER, "W1")
    twin.instance = id16("W0")

    assert twin.hello() == ["ERROR win:183"]


def test_sessions_are_bounded() -> None:
    house = House(sessions_max=1)
    house.agent("A")

    assert house.peer(Role.AGENT, "B").hello() == ["ERROR win:170"]
    assert house.peer(Role.WORKER, "W").hello() == ["WELCOME"]


def test_names_are_bounded_and_connected_ones_are_kept() -> None:
    house = House(names_max=2)
    here = house.agent("here")
    for name in ("x", "y", "z"):
        house.agent(name).bye()

    assert here.hello(session=1) == ["ERROR win:183"]


# --------------------------------------------------------------------------one name, two processes


def twin_of(house: House, name: str) -> tuple[list[str], Peer]:
    """Let another process say HELLO under a name in use."""
    twin = house.peer(Role.WORKER, name)
    twin.instance = id16("twin")
    return twin.hello(), twin


def test_another_instance_under_a_name_in_use_makes_the_broker_ping_the_old() -> None:
    house = House()
    old = house.worker("W0")

    said, _twin = twin_of(house, "W0")

    assert old.hears() == ["PING"]
    assert said == []


def test_another_instance_is_refused_once_the_old_one_shows_life() -> None:
    house = House()
    old = house.worker("W0")
    _, twin = twin_of(house, "W0")

    house.wait(1.1)

    assert twin.hears() == ["ERROR win:170"]
    old.ping()
    assert "PONG" in old.hears()


def test_another_instance_is_welcomed_when_the_old_one_shows_no_life_within_a_heartbeat() -> None:
    house = House()
    old = house.worker("W0")
    old.is_silent = True
    _, twin = twin_of(house, "W0")

    house.wait(0.9)
    assert twin.hears() == []
    house.wait(0.2)

    assert twin.hears() == ["WELCOME"]


def test_another_instance_is_welcomed_at_once_when_the_ping_to_the_old_one_fails() -> None:
    house = House()
    old = house.worker("W0")
    _, twin = twin_of(house, "W0")

    old.fails()

    assert twin.hears() == ["WELCOME"]


def test_a_third_instance_is_refused_while_two_are_at_it() -> None:
    house = House()
    house.worker("W0")
    twin_of(house, "W0")
    third = house.peer(Role.WORKER, "W0")
    third.instance = id16("third")

    assert third.hello() == ["ERROR win:170"]


def test_the_same_newcomer_may_come_again_but_not_by_the_same_connection() -> None:
    house = House()
    old = house.worker("W0")
    old.is_silent = True
    _, twin = twin_of(house, "W0")

    twin.greet_again()
    assert twin.hears() == ["ERROR win:183"]
    assert twin.hello() == []
    house.wait(1.1)

    assert twin.hears() == ["WELCOME"]


# ---------------------------------------------------------------------------- without a session


def test_a_frame_without_a_session_is_dropped_unread_and_answered_lost() -> None:
    house = House()
    stranger = house.peer(Role.AGENT, "A")
    stranger.connect()

    stranger.begin("d")

    assert stranger.hears() == ["LOST win:1168"]
    assert house.state("d") == "none"
    assert house.drops() == {"no session": 1}


def test_a_frame_after_the_session_is_over_is_answered_lost() -> None:
    house = House()
    agent = house.agent()
    agent.bye()

    agent.begin("d")

    assert agent.hears() == ["LOST win:1168"]


def test_what_follows_hello_in_its_frame_belongs_to_the_session() -> None:
    house = House()
    agent = house.agent()
    agent.connect()
    agent.session += 1

    agent.send_raw(agent.hello_message() + encode(Verb.PING, Ping(sent_ms=5)))

    assert agent.hears() == ["WELCOME", "PONG"]


def test_what_follows_bye_in_its_frame_is_dropped() -> None:
    house = House()
    agent = house.agent()

    agent.send_raw(encode_message(Verb.BYE, None, 0, b"\x81\xa4code\x00") + agent.hello_message())

    assert agent.hears() == []
    assert house.drops() == {"after the session's end": 1}


# ---------------------------------------------------------------------------- signs of life


def test_who_was_not_sent_anything_for_a_heartbeat_gets_ping() -> None:
    house = House()
    agent = house.agent()
    agent.is_silent = True

    house.wait(0.9)
    assert agent.hears() == []
    house.wait(0.2)

    assert agent.hears() == ["PING"]


def test_who_was_sent_something_gets_no_ping() -> None:
    house = House()
    agent = house.agent()

    for _ in range(10):
        house.wait(0.5)
        agent.ping()
        assert agent.hears() == ["PONG"]


def test_ping_is_echoed_unchanged() -> None:
    house = House()
    agent = house.agent()

    agent.say(Verb.PING, Ping(sent_ms=-(2**40)))

    [raw] = house.broker.outbox_agents[agent.connection]
    assert raw == encode(Verb.PONG, Ping(sent_ms=-(2**40)))


@pytest.mark.parametrize("role", [Role.AGENT, Role.WORKER])
def test_three_heartbeats_of_silence_end_the_session(role: Role) -> None:
    house = House()
    peer = house.peer(role, "P")
    peer.hello()
    peer.is_silent = True

    house.wait(2.9)
    assert house.is_connected(peer)
    house.wait(0.2)

    assert not house.is_connected(peer)


def test_any_frame_is_a_sign_of_life() -> None:
    house = House()
    agent = house.agent()
    agent.is_silent = True

    for attempt in range(1, 9):
        house.wait(1)
        agent.received("d", attempt)

    assert house.is_connected(agent)


def test_a_failed_send_ends_the_session_and_forgets_what_was_to_be_sent() -> None:
    house = House()
    agent = house.agent()
    agent.ping()

    agent.fails()

    assert not house.is_connected(agent)
    assert agent.hears() == []


def test_a_failed_send_to_a_stranger_is_only_counted() -> None:
    house = House()
    stranger = house.peer(Role.AGENT, "A")
    stranger.connect()
    stranger.ping()

    stranger.fails()

    assert house.drops() == {"no session": 1, "send failed": 1}


def test_session_losses_are_counted_by_reason() -> None:
    house = House()
    house.agent("A").bye()
    house.agent("B").fails()
    house.worker("W0").hello()
    house.worker("W1").is_silent = True
    house.wait(3.2)

    over = {(role, why.value): n for (role, why), n in house.broker.counts.sessions_over.items()}

    assert over == {
        (Role.AGENT, "bye"): 1,
        (Role.AGENT, "send failed"): 1,
        (Role.WORKER, "newer session"): 1,
        (Role.WORKER, "silence"): 1,
    }


# ---------------------------------------------------------------------------- verbs and faults


def test_an_unknown_verb_is_counted_and_ignored() -> None:
    house = House()
    agent = house.agent()

    agent.send_raw(encode_message(UNKNOWN_VERB, None, 0, b"?"))

    assert agent.hears() == []
    assert house.drops() == {"unknown verb": 1}


@pytest.mark.parametrize("verb", sorted(set(Verb) - FROM_AGENT))
def test_a_verb_that_an_agent_may_not_use_gets_error(verb: Verb) -> None:
    house = House()
    agent = house.agent()
    dialog = id16("d") if verb >= Verb.BEGIN else None

    agent.send_raw(encode_message(verb, dialog, 1 if dialog else 0, b""))

    assert agent.hears() == ["ERROR win:5"]


@pytest.mark.parametrize("verb", sorted(set(Verb) - FROM_WORKER))
def test_a_verb_that_a_worker_may_not_use_gets_error(verb: Verb) -> None:
    house = House()
    worker = house.worker()
    dialog = id16("d") if verb >= Verb.BEGIN else None

    worker.send_raw(encode_message(verb, dialog, 1 if dialog else 0, b""))

    assert worker.hears() == ["ERROR win:5"]


@pytest.mark.parametrize("verb", sorted(FROM_AGENT - {Verb.PONG, Verb.RECORD, Verb.RECEIVED}))
def test_a_bad_body_of_an_agent_is_answered(verb: Verb) -> None:
    house = House()
    agent = house.agent()
    dialog = id16("d") if verb >= Verb.BEGIN else None

    agent.send_raw(encode_message(verb, dialog, 1 if dialog else 0, b"\x81\xa1?\xc0"))

    answers = {Verb.BEGIN: "REFUSED d(1) win:13", Verb.HELLO: "ERROR win:183"}
    assert agent.hears() == [answers.get(verb, "ERROR win:13")]
    assert house.is_connected(agent)


@pytest.mark.parametrize("verb", [Verb.READY, Verb.DRAIN, Verb.BYE, Verb.REFUSED, Verb.END_REPLY])
def test_a_bad_body_of_a_worker_is_answered(verb: Verb) -> None:
    house = House()
    agent, worker = house.agent(), house.worker(credit=1)
    agent.begin("d")
    agent.end("d")
    worker.hears()
    dialog = id16("d") if verb >= Verb.BEGIN else None

    worker.send_raw(encode_message(verb, dialog, 1 if dialog else 0, b"\x81\xa1?\xc0"))

    assert worker.hears() == ["ERROR win:13"]
    assert house.state("d") == "ENDING(1)"


def test_good_messages_before_a_fault_count() -> None:
    house = House()
    agent = house.agent()

    agent.send_raw(
        encode(Verb.PING, Ping(sent_ms=1)) + b"\xc1" + encode(Verb.PING, Ping(sent_ms=2))
    )

    assert agent.hears() == ["PONG", "ERROR win:13"]
    assert house.broker.counts.malformed == {(Role.AGENT, "not MessagePack"): 1}
    assert house.session_of(agent).faults == {"malformed": 1}


def test_garbage_without_a_session_is_answered_too() -> None:
    house = House()
    stranger = house.peer(Role.WORKER, "W")
    stranger.connect()

    stranger.send_raw(b"GET / HTTP/1.1\r\n")

    assert stranger.hears() == ["LOST win:1168", "ERROR win:13"]


def test_twenty_errors_in_ten_seconds_cost_the_session() -> None:
    house = House()
    agent = house.agent()

    for _ in range(19):
        agent.send_raw(b"\xc1")
    assert house.is_connected(agent)
    agent.hears()
    agent.send_raw(b"\xc1")

    assert agent.hears() == ["ERROR win:13", "BYE win:13"]
    assert not house.is_connected(agent)


def test_twenty_errors_in_more_than_ten_seconds_cost_nothing() -> None:
    house = House()
    agent = house.agent()

    for _ in range(40):
        agent.send_raw(b"\xc1")
        house.wait(0.6)

    assert house.is_connected(agent)


def test_the_frames_of_a_peer_with_too_many_errors_are_dropped_unread_for_a_while() -> None:
    house = House()
    agent = house.agent()
    for _ in range(20):
        agent.send_raw(b"\xc1")
    agent.hears()

    house.wait(9.9)
    agent.ping()
    assert agent.hears() == []
    house.wait(0.2)
    agent.ping()

    assert agent.hears() == ["LOST win:1168"]
    assert house.drops() == {"penalty": 1, "no session": 1}


def test_who_is_dropped_unread_is_known_by_his_key_where_there_are_keys() -> None:
    house = House()
    bad = house.peer(Role.AGENT, "A", key=Key(Role.AGENT, "A"))
    bad.hello()
    for _ in range(20):
        bad.send_raw(b"\xc1")
    bad.hears()

    assert bad.hello() == []
    assert house.peer(Role.AGENT, "B", key=Key(Role.AGENT, "B")).hello() == ["WELCOME"]


def test_a_stranger_with_too_many_errors_is_sent_bye_and_dropped_unread() -> None:
    house = House()
    stranger = house.peer(Role.AGENT, "A")
    stranger.connect()
    for _ in range(20):
        stranger.send_raw(b"\xc1")

    assert stranger.hears()[-1] == "BYE win:13"
    stranger.greet_again()
    assert stranger.hears() == []


def test_remembered_offenders_are_bounded() -> None:
    house = House(offenders_max=1, errors_max=2)
    first, second = house.peer(Role.AGENT, "A"), house.peer(Role.AGENT, "B")
    for stranger in (first, second):
        stranger.connect()
        stranger.send_raw(b"\xc1")
        stranger.hears()
    first.send_raw(b"\xc1")

    assert "BYE win:13" not in first.hears()


# ---------------------------------------------------------------------------- keys


def test_a_key_is_bound_to_role_and_name() -> None:
    house = House()

    assert house.peer(Role.AGENT, "A", key=Key(Role.WORKER, "A")).hello() == ["ERROR win:5"]
    assert house.peer(Role.AGENT, "A", key=Key(Role.AGENT, "B")).hello() == ["ERROR win:5"]
    assert house.peer(Role.AGENT, "A", key=Key(Role.AGENT, "A")).hello() == ["WELCOME"]


def test_an_agents_key_is_bound_to_its_site() -> None:
    house = House()
    key = Key(Role.AGENT, "A", site="bergen")

    assert house.peer(Role.AGENT, "A", key=key).hello() == ["ERROR win:5"]


def test_a_key_that_is_revoked_ends_the_session_at_its_next_frame() -> None:
    house = House()
    agent = house.peer(Role.AGENT, "A", key=Key(Role.AGENT, "A"))
    agent.hello()

    agent.right = REVOKED
    agent.begin("d")

    assert agent.hears() == ["BYE win:5"]
    assert house.state("d") == "none"
    assert agent.hello() == ["ERROR win:5"]


def test_a_key_whose_right_was_read_again_goes_on_if_it_says_the_same() -> None:
    house = House()
    agent = house.peer(Role.AGENT, "A", key=Key(Role.AGENT, "A"))
    agent.hello()

    agent.right = Key(Role.AGENT, "A", hports=())
    agent.begin("d")
    assert agent.hears() == ["REFUSED d(1) win:5", "ERROR win:5"]
    agent.right = Key(Role.AGENT, "B")
    agent.begin("d")

    assert agent.hears() == ["BYE win:5"]
