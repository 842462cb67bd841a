"""The broker as a whole: draining, operators' orders, observers' lines, rights on ports."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import UNSET

from dialgate.codes import NO_ERROR, Code
from dialgate.wire.bodies import Bye, Command, Commanded, Lines, LineState
from dialgate.wire.envelope import encode_message
from dialgate.wire.verbs import Role, Verb
from tests.broker.house import House, Key, Peer, id16

# ---------------------------------------------------------------------------- draining


def test_a_broker_that_drains_tells_its_agents_and_serves_until_the_deadline() -> None:
    house = House()
    agent, worker = house.agent(), house.worker(credit=2)

    house.broker.drain(5000, house.now)
    assert agent.hears() == ["DRAIN"]
    assert worker.hears() == []
    agent.begin("d")
    assert house.state("d") == "OWNED(1)"
    house.wait(5.1)

    assert agent.hears()[-1] == "BYE win:1226"
    assert worker.hears()[-1] == "BYE win:1226"
    assert house.broker.is_stopped


def test_an_agent_that_comes_while_the_broker_drains_is_told_what_time_is_left() -> None:
    house = House()
    house.broker.drain(5000, house.now)
    house.wait(2)

    assert house.peer(Role.AGENT, "A").hello() == ["WELCOME", "DRAIN"]


def test_a_broker_that_has_stopped_answers_nobody() -> None:
    house = House()
    house.broker.stop(house.now)

    assert house.peer(Role.AGENT, "A").hello() == []
    assert house.broker.deadline() == float("inf")


def test_an_operator_can_drain_a_worker() -> None:
    house = House()
    worker = house.worker()

    assert house.broker.drain_worker("W0", 1000, house.now)
    assert worker.hears() == ["DRAIN"]
    assert not house.broker.drain_worker("W9", 1000, house.now)


# ---------------------------------------------------------------------------- starts and ends


def turns(house: House) -> list[tuple[str, bool, float]]:
    """Return and forget what the broker knows of agents' starts and ends."""
    found = [(turn.agent.name, turn.started, turn.ago_s) for turn in house.broker.turns]
    house.broker.turns.clear()
    return found


def test_an_agent_says_when_it_started_and_that_it_ends() -> None:
    house = House()
    agent = house.peer(Role.AGENT, "A")

    agent.hello(up_ms=2500)
    assert turns(house) == [("A", True, 2.5)]
    agent.say(Verb.BYE, Bye(code=NO_ERROR, stops=True))
    assert turns(house) == [("A", False, 0.0)]


def test_who_goes_to_another_broker_or_says_nothing_of_it_has_not_ended() -> None:
    house = House()
    agent = house.agent()
    agent.say(Verb.BYE, Bye(code=NO_ERROR))

    assert turns(house) == []


# ---------------------------------------------------------------------------- commands


def order(house: House, command_id: str = "c", agent: str = "A") -> bool:
    command = Command(
        id=id16(command_id), hport="p1", act="hangup", mode="", operator="ann", reason="stuck"
    )
    return house.broker.command(agent, command, house.now)


def test_a_command_is_answered_with_the_agents_code() -> None:
    house = House()
    agent = house.agent()

    assert order(house)
    assert agent.hears() == ["COMMAND"]
    agent.say(Verb.COMMANDED, Commanded(id=id16("c"), code=NO_ERROR))

    assert house.broker.commands.answers == [(id16("c"), NO_ERROR)]


def test_a_command_for_an_agent_that_is_not_here_is_not_sent() -> None:
    assert not order(House())


def test_a_command_without_an_answer_is_answered_in_bounded_time() -> None:
    house = House(command_timeout_s=5.0)
    house.agent()
    order(house)

    house.wait(5.1)

    assert house.broker.commands.answers == [(id16("c"), Code("win", 1460))]


def test_a_command_whose_agent_goes_is_answered_at_once() -> None:
    house = House()
    agent = house.agent()
    order(house)

    agent.fails()

    assert house.broker.commands.answers == [(id16("c"), Code("win", 1236))]


def test_an_answer_to_no_command_or_from_another_agent_is_dropped() -> None:
    house = House()
    _agent, other = house.agent("A"), house.agent("B")
    order(house)

    other.say(Verb.COMMANDED, Commanded(id=id16("c"), code=NO_ERROR))
    other.say(Verb.COMMANDED, Commanded(id=id16("x"), code=NO_ERROR))

    assert house.broker.commands.answers == []
    assert house.drops() == {"unknown command": 2}


def test_commands_under_way_are_bounded() -> None:
    house = House(commands_max=1)
    house.agent()

    assert order(house, "c")
    assert not order(house, "e")


def test_a_command_that_is_under_way_is_not_sent_again() -> None:
    house = House()
    agent = house.agent()

    assert order(house)
    assert not order(house)

    assert agent.hears() == ["COMMAND"]


# ---------------------------------------------------------------------------- records


def test_a_record_that_is_none_gets_an_error() -> None:
    house = House()
    agent = house.agent()

    agent.send_raw(encode_message(Verb.RECORD, None, 0, b"\x80"))

    assert agent.hears() == ["ERROR win:13"]
    assert house.broker.receipts.taken == []


# ---------------------------------------------------------------------------- ports, §6.9 and §7


def test_begin_is_checked_against_what_the_key_may() -> None:
    house = House()
    agent = house.peer(Role.AGENT, "A", key=Key(Role.AGENT, "A", hports=("p1",)))
    agent.hello()

    agent.begin("d", hport="p2")

    assert agent.hears() == ["REFUSED d(1) win:5", "ERROR win:5"]
    assert house.state("d") == "none"


def test_begin_is_not_checked_against_lines() -> None:
    house = House()
    agent = house.agent()
    tell_lines(agent, "p1")

    agent.begin("d", hport="p2")

    assert house.state("d") == "WAITING(1)"


def test_a_second_agent_with_a_known_hport_is_served_and_told_once() -> None:
    house = House()
    first, second = house.agent("A"), house.agent("B")
    house.worker(credit=9)

    first.begin("d", hport="p1")
    second.begin("e", hport="p1")
    second.begin("f", hport="p1")

    assert second.hears() == ["ERROR win:183"]
    assert first.hears() == []
    assert (house.state("d"), house.state("f")) == ("OWNED(1)", "OWNED(1)")
    assert house.broker.counts.claimed_twice == 1


def test_a_port_whose_first_agent_has_gone_is_the_second_ones() -> None:
    house = House()
    first, second = house.agent("A"), house.agent("B")
    first.begin("d", hport="p1")
    first.bye()

    second.begin("e", hport="p1")

    assert second.hears() == []
    assert first.hello() == ["WELCOME"]
    first.begin("f", hport="p1")
    assert first.hears() == ["ERROR win:183"]


# ---------------------------------------------------------------------------- lines, §9


def tell_lines(agent: Peer, *hports: str, complete: bool = True) -> None:
    lines = tuple(LineState(hport=h, state="idle", reason="", since_ms=0) for h in hports)
    agent.say(Verb.LINES, Lines(lines=lines, complete=complete))


def shown(house: House) -> dict[str, str]:
    return {
        hport: line.state
        for lines in house.broker.board.lines.values()
        for hport, line in lines.items()
    }


def test_lines_come_in_as_many_messages_as_needed() -> None:
    house = House()
    agent = house.agent()

    tell_lines(agent, "p1", complete=False)
    tell_lines(agent, "p2")

    assert shown(house) == {"p1": "idle", "p2": "idle"}


def test_ports_that_a_new_list_does_not_name_are_forgotten() -> None:
    house = House()
    agent = house.agent()
    tell_lines(agent, "p1", "p2")

    agent.hello()
    tell_lines(agent, "p2", complete=False)
    assert shown(house) == {"p1": "unknown", "p2": "idle"}
    tell_lines(agent, "p3")

    assert shown(house) == {"p2": "idle", "p3": "idle"}


def test_ports_of_an_agent_that_is_gone_are_unknown_under_its_last_session() -> None:
    house = House()
    agent = house.agent()
    tell_lines(agent, "p1")

    agent.fails()

    line = house.broker.board.lines["A"]["p1"]
    assert (line.state, line.instance, line.session) == ("unknown", id16("A"), 1)


def test_ports_of_an_agent_are_bounded() -> None:
    house = House(ports_max=1)
    agent = house.agent()

    tell_lines(agent, "p1", "p2")

    assert agent.hears() == ["ERROR win:13"]
    assert shown(house) == {"p1": "idle"}


def tell_detail(agent: Peer, **detail: Any) -> None:
    told: Any = detail or UNSET
    line = LineState(hport="p1", state="idle", reason="", since_ms=0, detail=told)
    agent.say(Verb.LINES, Lines(lines=(line,), complete=True))


def detail_of(house: House) -> dict[str, Any]:
    return house.broker.board.lines["A"]["p1"].detail


def test_what_a_session_tells_of_a_port_is_laid_over_what_it_told_before() -> None:
    house = House()
    agent = house.agent()
    tell_detail(agent, modem_lines={"dcd": False}, counters={"calls": 1, "faults": 1})
    tell_detail(agent, counters={"calls": 2})
    tell_detail(agent)

    assert detail_of(house) == {"modem_lines": {"dcd": False}, "counters": {"calls": 2}}


@pytest.mark.parametrize("again", [{}, {"instance": id16("B")}])
def test_what_another_session_told_of_a_port_is_not_kept(again: dict[str, Any]) -> None:
    house = House()
    agent = house.agent()
    tell_detail(agent, modem_lines={"dcd": True}, last_call=None)
    agent.fails()
    agent.session -= bool(again)
    assert agent.hello(**again) == ["WELCOME"]
    tell_detail(agent, last_call={"user": "ann"})

    assert detail_of(house) == {"last_call": {"user": "ann"}}


def test_of_a_port_no_more_is_kept_than_a_message_tells_or_eight_names() -> None:
    house = House()
    agent = house.agent()
    whole = {f"n{number}": 0 for number in range(9)}
    tell_detail(agent, **whole)
    tell_detail(agent, **whole)
    assert (detail_of(house), agent.hears()) == (whole, [])

    tell_detail(agent, n9=0)
    assert (detail_of(house), agent.hears()) == (whole, ["ERROR win:13"])


def test_an_agent_is_warned_of_so_many_ports_of_others_and_no_more() -> None:
    house = House(ports_max=1)
    one, other, late = house.agent("A"), house.agent("B"), house.agent("C")
    one.begin("d", hport="p1")
    other.begin("e", hport="p2")

    late.begin("f", hport="p1")
    late.begin("g", hport="p2")

    assert late.hears() == ["ERROR win:183"]


def test_ports_of_an_agent_that_is_back_are_not_called_unknown_again() -> None:
    house = House()
    agent = house.agent()
    tell_lines(agent, "p1")
    agent.fails()
    house.wait(5)

    agent.hello()

    assert house.broker.board.lines["A"]["p1"].since == 0.0


def test_changes_that_are_not_kept_any_more_take_a_snapshot() -> None:
    house = House(changes_max=2)
    board = house.broker.board
    board.watch(on=True)
    agent = house.agent()
    tell_lines(agent, "p1", "p2")

    last = board.last_id

    assert [change.id for change in board.since(last - 2) or ()] == [last - 1, last]
    assert board.since(last) == []
    assert board.since(last - 3) is None
    assert board.since(last + 1) is None
