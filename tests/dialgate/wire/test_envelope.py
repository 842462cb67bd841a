"""Frames: what is let in, what is refused and why, and that any bytes end well."""

from __future__ import annotations

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialgate.wire import limits
from dialgate.wire.envelope import decode_frame, encode_message, pack_frames
from dialgate.wire.verbs import Verb

DIALOG = bytes(range(16))
GOOD = encode_message(Verb.SEND, DIALOG, 1, b"\x80")


def test_a_frame_gives_its_messages_with_their_own_bytes() -> None:
    ping = encode_message(Verb.PING, None, 0, b"")

    assert decode_frame(GOOD + ping) == (
        [(18, DIALOG, 1, b"\x80", GOOD), (4, None, 0, b"", ping)],
        "",
    )


def pack(*elements: object) -> bytes:
    packed: bytes = msgpack.packb(elements)
    return packed


@pytest.mark.parametrize(
    ("bad", "fault"),
    [
        pytest.param(pack(18, DIALOG, 1), "not a message", id="three elements"),
        pytest.param(pack(18, DIALOG, 1, b"", 0), "not MessagePack", id="five elements"),
        pytest.param(pack(True, None, 0, b""), "not a message", id="bool for a verb"),
        pytest.param(pack(18.0, DIALOG, 1, b""), "not a message", id="verb a float"),
        pytest.param(pack(18, DIALOG, 1.0, b""), "not a message", id="attempt a float"),
        pytest.param(pack(-1, None, 0, b""), "not a message", id="negative verb"),
        pytest.param(pack(18, DIALOG, -1, b""), "not a message", id="negative attempt"),
        pytest.param(pack(18, DIALOG, 0, b""), "not a message", id="a dialog without attempt"),
        pytest.param(pack(18, DIALOG, 2**32, b""), "not a message", id="attempt out of range"),
        pytest.param(pack(18, DIALOG[:15], 1, b""), "not a message", id="dialog too short"),
        pytest.param(pack(18, "d" * 16, 1, b""), "not MessagePack", id="dialog a string"),
        pytest.param(pack(18, DIALOG, 1, {}), "not a message", id="body a map"),
        pytest.param(pack(18, DIALOG, 1, None), "not a message", id="body nil"),
        pytest.param(pack(18, None, 0, b""), "dialog and verb disagree", id="SEND without dialog"),
        pytest.param(pack(4, DIALOG, 1, b""), "dialog and verb disagree", id="PING of a dialog"),
        pytest.param(pack(4, None, 1, b""), "dialog and verb disagree", id="PING with attempt"),
        pytest.param(pack(18, DIALOG, 1, bytes(16385)), "body too long", id="body too long"),
        pytest.param(msgpack.packb({1: 2}), "not MessagePack", id="a map"),
        pytest.param(msgpack.packb(7), "not a message", id="a number"),
        pytest.param(b"\xd6\xff\0\0\0\0", "not MessagePack", id="an extension type"),
        pytest.param(b"\x91" * 3000, "not MessagePack", id="nested beyond reason"),
        pytest.param(b"\xc1", "not MessagePack", id="the byte that MessagePack never uses"),
        pytest.param(
            b"\xdd\xff\xff\xff\xff", "not MessagePack", id="an array of 4 thousand million"
        ),
    ],
)
def test_a_malformed_message_drops_the_rest_of_its_frame_only(bad: bytes, fault: str) -> None:
    """Protocol §3: good messages before a fault in a frame count."""
    messages, found = decode_frame(GOOD + bad + GOOD)

    assert messages == [(18, DIALOG, 1, b"\x80", GOOD)]
    assert found == fault
    assert decode_frame(bad) == ([], fault)


def test_a_message_cut_short_is_told_apart_from_none() -> None:
    assert decode_frame(GOOD + GOOD[:-1]) == ([(18, DIALOG, 1, b"\x80", GOOD)], "truncated")


def test_a_body_of_16_kib_passes() -> None:
    message = encode_message(Verb.SEND, DIALOG, 1, bytes(limits.BODY_BYTES_MAX))

    assert decode_frame(message) == ([(18, DIALOG, 1, bytes(limits.BODY_BYTES_MAX), message)], "")


def test_a_frame_over_64_kib_is_refused_unread() -> None:
    assert decode_frame(bytes(limits.FRAME_BYTES_MAX + 1)) == ([], "frame too long")


def test_a_frame_holds_512_messages_and_no_more() -> None:
    ping = encode_message(Verb.PING, None, 0, b"")

    messages, fault = decode_frame(ping * 513)

    assert (len(messages), fault) == (512, "too many messages")


def test_an_unknown_verb_passes_with_and_without_a_dialog() -> None:
    """Protocol §3: it is counted and ignored, so that peers can be upgraded one by one."""
    messages, fault = decode_frame(pack(200, DIALOG, 1, b"") + pack(14, None, 0, b""))

    assert ([m[0] for m in messages], fault) == ([200, 14], "")


@given(st.binary(max_size=300))
def test_any_bytes_end_in_messages_and_at_most_one_fault(frame: bytes) -> None:
    messages, fault = decode_frame(frame)

    consumed = sum(len(message[4]) for message in messages)
    assert (consumed == len(frame)) == (not fault)


@given(st.binary(max_size=30) | st.integers(0, 3 * len(GOOD)).map(lambda end: (GOOD * 3)[:end]))
def test_no_frame_depends_on_what_came_before_it(before: bytes) -> None:
    decode_frame(before)

    assert decode_frame(GOOD) == ([(18, DIALOG, 1, b"\x80", GOOD)], "")


@given(st.lists(st.integers(0, limits.BODY_BYTES_MAX), max_size=30))
def test_packing_keeps_order_and_limits(sizes: list[int]) -> None:
    messages = [encode_message(Verb.SEND, DIALOG, i + 1, bytes(n)) for i, n in enumerate(sizes)]

    frames = pack_frames(messages)

    unpacked = [message[4] for frame in frames for message in decode_frame(frame)[0]]
    assert unpacked == messages
    assert all(decode_frame(frame)[1] == "" for frame in frames)


def test_packing_starts_a_new_frame_after_512_messages() -> None:
    assert [len(f) for f in pack_frames([b"x"] * 1025)] == [512, 512, 1]
