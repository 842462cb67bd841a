"""Records of calls at the broker's core: what is taken, and who hears RECORDED."""

from __future__ import annotations

import msgpack
import pytest

from broker.counts import Drop
from broker.receipts import RECORDED_MAX, Receipt
from dialgate.wire.bodies import Recorded
from dialgate.wire.body_codec import decode_body
from dialgate.wire.envelope import decode_frame, encode_message
from dialgate.wire.record import CallFacts, CallRecord, encode_record
from dialgate.wire.verbs import Role, Verb
from tests.broker.house import House, Key, Peer


def record(number: int, hport: str = "oslo/1") -> CallRecord:
    facts = CallFacts(site="oslo", agent="A", hport=hport, rang_at=1.0)
    name = number.to_bytes(16)
    return CallRecord(record=name, call=name, kind="stop", made_at=2.0, facts=facts)


def recorded(agent: Peer) -> list[tuple[bytes, ...]]:
    """Return the ids of each RECORDED that the agent has heard."""
    said = []
    for raw in agent.outbox.pop(agent.connection, []):
        [(verb, _, _, body, _)], _ = decode_frame(raw)
        assert verb == Verb.RECORDED
        said.append(decode_body(body, Recorded).records)
    return said


def test_a_record_is_acknowledged_when_it_is_stored_and_not_before() -> None:
    house = House()
    agent = house.agent()

    agent.send_raw(encode_record(record(1)))

    assert recorded(agent) == []
    [receipt] = house.broker.receipts.taken
    assert receipt.record == record(1)

    house.broker.recorded([receipt], house.now)

    assert recorded(agent) == [(record(1).record,)]


def test_each_agent_hears_of_its_own_records_in_bounded_messages() -> None:
    house = House()
    one, two = house.agent("A"), house.agent("B", site="bergen")
    one.send_raw(encode_record(record(0)))
    two.send_raw(encode_record(record(1)))
    first, second = house.broker.receipts.taken
    many = [Receipt(second.session, record(number)) for number in range(RECORDED_MAX + 1)]

    house.broker.recorded([first, *many], house.now)

    assert recorded(one) == [(record(0).record,)]
    assert [len(ids) for ids in recorded(two)] == [RECORDED_MAX, 1]


def test_who_has_left_is_told_nothing() -> None:
    house = House()
    agent = house.agent()
    agent.send_raw(encode_record(record(1)))
    agent.hello()

    house.broker.recorded(house.broker.receipts.taken, house.now)

    assert recorded(agent) == []
    assert house.broker.counts.drops[Drop.RECORDED_TO_NOBODY] == 1


def test_the_agent_is_the_one_that_has_the_session_whatever_the_record_says() -> None:
    house = House()
    body = {"record": bytes(16), "call": bytes(16), "kind": "stop", "site": "oslo", "hport": "p"}

    house.agent("A").send_raw(
        encode_message(Verb.RECORD, None, 0, msgpack.packb({**body, "agent": "B"}))
    )

    [receipt] = house.broker.receipts.taken
    assert receipt.record.facts.agent == "A"


def test_a_record_of_another_agents_port_is_denied_without_a_charge() -> None:
    house = House(errors_max=1)
    agent = house.peer(Role.AGENT, "A", key=Key(Role.AGENT, "A", hports=("p1",)))
    agent.hello()

    for _ in range(3):
        agent.send_raw(encode_record(record(1, "p2")))

    assert agent.hears() == ["ERROR win:5"] * 3
    assert house.broker.receipts.taken == []
    assert house.broker.counts.drops[Drop.RECORD_DENIED] == 3


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("record", b"short"),
        ("kind", "begin"),
        ("hport", "two words"),
        ("bytes_in", -1),
        ("rang_at", "yesterday"),
        ("code", ["dos", 5]),
        ("steps", [{"at": 1.0, "what": "rang"}] * 65),
    ],
)
def test_a_record_with_an_unfit_field_is_malformed(field: str, value: object) -> None:
    house = House()
    agent = house.agent()
    body = {"record": bytes(16), "call": bytes(16), "kind": "stop", "site": "oslo", "hport": "p"}

    agent.send_raw(encode_message(Verb.RECORD, None, 0, msgpack.packb({**body, field: value})))

    assert agent.hears() == ["ERROR win:13"]
    assert house.broker.receipts.taken == []
