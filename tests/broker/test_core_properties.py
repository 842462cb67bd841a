"""Nothing that a peer sends ends a broker (protocol §3), nor makes it answer beyond measure.

Hypothesis makes frames of every kind: bytes, messages with any verb and any body, good bodies with
a field spoilt; by connections with and without a session, of both roles.
"""

from __future__ import annotations

from typing import Any, Final

import msgpack
from hypothesis import given, settings
from hypothesis import strategies as st

from dialgate.wire.bodies import BODIES as STRUCTS
from dialgate.wire.envelope import decode_frame, encode_message
from dialgate.wire.limits import FRAME_BYTES_MAX
from dialgate.wire.verbs import Role, Verb
from tests.broker.house import House, Peer, id16

DIALOGS: Final = st.sampled_from([None, id16("d"), id16("e"), b"short"])
ATTEMPTS: Final = st.integers(-1, 4) | st.sampled_from([2**32 - 1, 2**32])
VALUES: Final = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=8)
    | st.binary(max_size=20)
    | st.sampled_from([id16("W"), id16("A"), "p1", "agent", "worker", "default", ["ras", 619], 0]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=4,
)
FIELDS: Final = sorted({name for body in STRUCTS.values() for name in body.__struct_fields__})
BODIES: Final = st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=6).map(
    msgpack.packb
) | st.binary(max_size=40)
GOOD: Final = st.sampled_from(["hello", "begin", "ready", "ask", "complete", "end", "end_reply"])


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    verb = draw(st.sampled_from([*Verb, 0, 14, 15, 99, 2**40]))
    return encode_message(
        verb, draw(DIALOGS), draw(ATTEMPTS.filter(lambda n: n >= 0)), draw(BODIES)
    )


FRAMES: Final = st.lists(messages(), max_size=4).map(b"".join) | st.binary(max_size=60)


@given(st.lists(st.tuples(st.sampled_from(["A", "W", "stranger"]), GOOD | FRAMES), max_size=12))
@settings(max_examples=settings().max_examples // 2)
def test_nothing_that_a_peer_sends_ends_a_broker(said: list[tuple[str, Any]]) -> None:
    house = House(errors_max=1000, heartbeat_ms=20_000)
    peers = {
        "A": house.agent("A"),
        "W": house.worker("W", credit=5),
        "stranger": house.peer(Role.WORKER, "S"),
    }

    for name, what in said:
        peer = peers[name]
        if isinstance(what, bytes):
            number = len(decode_frame(what)[0])
            before = pending(peer)
            peer.send_raw(what)
            assert pending(peer) - before <= 2 * number + 2
        else:
            good(peer, what)
    house.wait(11)

    assert len(house.broker.switchboard.queue) == 0


def pending(peer: Peer) -> int:
    """Return how many messages wait to be sent to a peer."""
    return len(peer.outbox.get(peer.connection, ()))


def good(peer: Peer, what: str) -> None:
    """Say something sensible, so that what follows finds dialogs."""
    if what == "hello":
        peer.hello()
    elif what == "ready":
        peer.ready(10)
    else:
        getattr(peer, what)("d")


def test_a_frame_of_the_largest_size_is_answered_once() -> None:
    house = House()
    agent = house.agent()

    agent.send_raw(b"\xc1" * (FRAME_BYTES_MAX + 1))

    assert agent.hears() == ["ERROR win:13"]
    assert house.broker.counts.malformed == {(Role.AGENT, "frame too long"): 1}
