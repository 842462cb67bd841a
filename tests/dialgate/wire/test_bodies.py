"""Bodies: every verb's survives the round trip, and a bad one is refused with its field's name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgpack
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialgate.codes import NO_ERROR, Code, Raserror, Winerror
from dialgate.errors import BodyError
from dialgate.wire import bodies
from dialgate.wire.body_codec import decode_body, decode_map, encode_body
from dialgate.wire.fields import Body, CodedBody
from dialgate.wire.verbs import Verb

ID = bytes(16)
COMPLETE: dict[str, Any] = {
    "worker": ID,
    "msg_id": 1,
    "error": 0,
    "username": "ann",
    "domain": "",
    "attributes": {},
}


def test_every_verb_but_record_has_a_body() -> None:
    assert set(Verb) - set(bodies.BODIES) == {Verb.RECORD}


def kinds(base: type[Body]) -> Iterator[type[Body]]:
    for kind in base.__subclasses__():
        yield kind
        yield from kinds(kind)


# In one order: processes that share the tests must collect them alike.
BODIES: Final = sorted(set(kinds(Body)) - {CodedBody}, key=lambda kind: kind.__name__)


@pytest.mark.parametrize("kind", BODIES, ids=lambda kind: kind.__name__)
def test_the_codes_of_every_body_are_judged(kind: type[Body]) -> None:
    codes = {name for name, what in kind.__annotations__.items() if what == "WireCode"}

    assert codes == set(kind.code_fields)
    assert issubclass(kind, CodedBody) == bool(codes)


@pytest.mark.parametrize("zero", [0, ["win", 0], ["ras", 0]], ids=str)
def test_every_spelling_of_zero_is_no_error(zero: object) -> None:
    """Protocol §4: [ns, 0] equals 0."""
    assert decode_body(msgpack.packb({"reason": zero}), bodies.End).reason == NO_ERROR


def test_no_error_is_written_as_0_and_a_code_with_its_namespace() -> None:
    assert msgpack.unpackb(encode_body(bodies.End(reason=NO_ERROR))) == {"reason": 0}
    assert msgpack.unpackb(encode_body(bodies.Lost(code=Raserror.ERROR_AUTH_INTERNAL.code))) == {
        "code": ["ras", 645]
    }


def test_a_code_that_no_table_has_is_carried_unchanged() -> None:
    code = Code("mpr", 31337)

    assert decode_body(encode_body(bodies.Bye(code=code)), bodies.Bye) == bodies.Bye(code=code)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({}, "code"),
        ({"code": 5}, "code"),
        ({"code": None}, "code"),
        ({"code": ["win"]}, "code"),
        ({"code": ["win", "5"]}, "code"),
        ({"code": ["dos", 5]}, "`code` is no code"),
        ({"code": ["win", -5]}, "`code` is no code"),
    ],
    ids=str,
)
def test_a_bad_code_is_refused_by_name(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(BodyError, match=field):
        decode_body(msgpack.packb(fields), bodies.Bye)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"msg_id": 4}, "msg_id"),
        ({"msg_id": 1, "username": ""}, "`username` is empty in a SUCCESS"),
        ({"msg_id": 3, "error": 0}, "`error` must be nonzero in an ERROR"),
        ({"msg_id": 2, "error": ["win", 5]}, "`error` must be nonzero in an ERROR and 0"),
        ({"msg_id": 1, "error": ["win", 5]}, "`error` must be nonzero in an ERROR and 0"),
        ({"username": "ä" * 129}, "`username` is longer than 256 bytes"),
        ({"domain": "d" * 256}, "`domain` is longer than 255 bytes"),
        ({"worker": b"short"}, "worker"),
        ({"attributes": []}, "attributes"),
    ],
    ids=str,
)
def test_half_a_verdict_is_refused(change: dict[str, Any], text: str) -> None:
    """rashost.md, traps 9 and 12."""
    with pytest.raises(BodyError, match=text):
        decode_body(msgpack.packb(COMPLETE | change), bodies.Complete)


def test_a_name_of_256_bytes_is_whole() -> None:
    verdict = decode_body(msgpack.packb(COMPLETE | {"username": "u" * 256}), bodies.Complete)

    assert verdict.username == "u" * 256


def test_a_key_given_twice_is_refused() -> None:
    with pytest.raises(BodyError, match="a key given twice"):
        decode_map(b"\x82\xa4code\x00\xa4code\x00")


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"\xc1", "sealed"),
        (b"\x90", "not a map"),
        (b"\x81\x01\x02", "no well-formed MessagePack|a key that is no string"),
        (b"\x81\xc4\x01k\x02", "a key that is no string"),
        (b"\x81\xa1k\xd6\xff\0\0\0\0", "no well-formed MessagePack|an extension type"),
        (b"\x81\xa1k\xc7\x00\x05", "an extension type"),
        (b"\x81\xa1k", "no well-formed MessagePack"),
        (b"\x80\x80", "no well-formed MessagePack"),
        (b"\x81\xa1\xff\x00", "no well-formed MessagePack"),
    ],
    ids=repr,
)
def test_a_body_that_is_no_plain_map_is_refused(body: bytes, text: str) -> None:
    with pytest.raises(BodyError, match=text):
        decode_map(body)


def test_an_empty_body_is_an_empty_map_and_unknown_keys_are_ignored() -> None:
    assert decode_map(b"") == {}
    assert decode_body(msgpack.packb({"credit": 3, "later": [1]}), bodies.Ready).credit == 3


def test_an_error_never_quotes_an_answer() -> None:
    """Invariant I7: a password in a malformed RECEIVED stays out of texts."""
    with pytest.raises(BodyError) as caught:
        decode_body(msgpack.packb({"seq": 1, "status": 0, "data": "hunter2"}), bodies.Received)

    assert "hunter2" not in str(caught.value)


def test_an_answer_has_no_repr() -> None:
    assert "hunter2" not in repr(bodies.Received(seq=1, status=NO_ERROR, data=b"hunter2"))


def test_a_body_over_16_kib_can_not_be_sent() -> None:
    with pytest.raises(BodyError, match="longer than 16384 bytes"):
        encode_body(bodies.Send(worker=ID, seq=1, data=bytes(16380)))


@pytest.mark.parametrize("role", ["agent", "worker"])
def test_a_hello_says_what_its_role_must(role: str) -> None:
    hello = {
        "protocol": 1,
        "role": role,
        "name": "n",
        "instance": ID,
        "session": 1,
        "version": "0",
    }

    with pytest.raises(BodyError, match="site" if role == "agent" else "capacity"):
        decode_body(msgpack.packb(hello), bodies.Hello)


@pytest.mark.parametrize("owner", [b"w", bytes(15), bytes(17)], ids=len)
def test_an_owner_that_is_no_instance_is_refused(owner: bytes) -> None:
    begin = {"hport": "p", "call": ID, "owner": owner, "facts": b"\x80"}

    with pytest.raises(BodyError, match="owner"):
        decode_body(msgpack.packb(begin), bodies.Begin)


def test_a_hello_of_another_protocol_can_still_be_told_so() -> None:
    hello = {
        "protocol": 2,
        "role": "agent",
        "name": "n",
        "instance": ID,
        "session": 1,
        "version": "0",
    }

    assert decode_body(msgpack.packb(hello), bodies.Hello).protocol == 2


@given(
    st.builds(
        bodies.Receive,
        worker=st.binary(min_size=16, max_size=16),
        seq=st.integers(1, 2**32 - 1),
        prompt=st.binary(max_size=200),
        mode=st.sampled_from(["line", "raw"]),
        echo=st.sampled_from(["on", "off", "mask"]),
        limit=st.integers(1, 65535),
        timeout_s=st.integers(0, 86400),
        cookie=st.binary(max_size=4096),
    )
)
def test_a_receive_survives_the_round_trip(receive: bodies.Receive) -> None:
    assert decode_body(encode_body(receive), bodies.Receive) == receive


def test_a_refusal_keeps_its_code() -> None:
    refused = bodies.Refused(code=Winerror.ERROR_NO_LOGON_SERVERS.code)

    assert decode_body(encode_body(refused), bodies.Refused) == refused


WHOLE: Final[dict[type[Body], dict[str, Any]]] = {
    bodies.Begin: {
        "hport": "oslo/1",
        "pool": "default",
        "owner": ID,
        "seq": 3,
        "call": ID,
        "cookie": b"c",
        "facts": b"",
    },
    bodies.Bye: {"code": ["ras", 645], "stops": True},
    bodies.Complete: COMPLETE | {"attributes": {"service": "ppp", "more": {"a": 1, "b": [True]}}},
    bodies.End: {"reason": 0},
    bodies.EndReply: {"code": ["ras", 619]},
    bodies.Facts: {"site": "s", "agent": "a", "device": "d", "send_size": 1, "recv_size": 2},
    bodies.Lines: {
        "lines": [{"hport": "p", "state": "idle", "reason": "", "since_ms": 1, "detail": {"a": 1}}],
        "complete": True,
    },
    bodies.Received: {"seq": 2, "status": ["win", 1460], "data": b"answer"},
    bodies.Send: {"worker": ID, "seq": 1, "data": b"hello"},
}
"""Of each sort of body one, as a peer may send it."""
ODD_VALUES: Final[Sequence[object]] = (
    *(0, 1, -1, 2**40, 1.0, True, None, "", "ann", b"", b"ann", ID, [], ["win", 5], {}, {"a": 1}),
    *(msgpack.ExtType(5, b"x"), msgpack.Timestamp(1), {"a": msgpack.Timestamp(1)}, {1: 2}),
)


def packed(pairs: Sequence[tuple[object, object]]) -> bytes:
    """Return a map of these pairs, keys given twice included."""
    head: bytes = msgpack.Packer(autoreset=True).pack_map_header(len(pairs))
    return head + b"".join(msgpack.packb(key) + msgpack.packb(value) for key, value in pairs)


def decoded(body: bytes, kind: type[Body]) -> Body | None:
    try:
        return decode_body(body, kind)
    except BodyError:
        return None


def plainly_meant(body: bytes, kind: type[Body]) -> Body | None:
    """Return what the map means to a reader who only looks whether each of its keys stands once."""
    pairs = msgpack.unpackb(body, raw=False, object_pairs_hook=Pairs)
    if type(pairs) is not Pairs or len(pairs) != len(dict(pairs)):
        return None
    try:
        return msgspec.convert({key: as_maps(value) for key, value in pairs}, kind)
    except msgspec.ValidationError:
        return None


class Pairs(list[tuple[Any, Any]]):
    """A map as it came."""


def as_maps(value: object) -> object:
    if isinstance(value, Pairs):
        return {key: as_maps(inside) for key, inside in value}
    return [as_maps(inside) for inside in value] if isinstance(value, list) else value


@given(st.sampled_from(list(WHOLE)), st.data())
def test_what_is_read_of_a_body_is_all_that_it_can_mean(
    kind: type[Body], data: st.DataObject
) -> None:
    pairs = list(WHOLE[kind].items())
    for _ in range(data.draw(st.integers(0, 3))):
        place = data.draw(st.integers(0, len(pairs)))
        key = data.draw(st.sampled_from([*WHOLE[kind], "later", b"seq", 1]))
        value = data.draw(st.sampled_from([*WHOLE[kind].values(), *ODD_VALUES]))
        pairs[place : place + data.draw(st.integers(0, 1))] = data.draw(
            st.sampled_from([[], [(key, value)], [(key, WHOLE[kind].get(str(key)))]])
        )
    body = packed(pairs)

    read = decoded(body, kind)
    assert read is None or read == plainly_meant(body, kind)


@given(st.sampled_from(list(WHOLE)), st.data())
def test_so_is_what_is_read_of_a_body_with_a_byte_astray(
    kind: type[Body], data: st.DataObject
) -> None:
    whole = bytearray(packed(list(WHOLE[kind].items())))
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place : place + data.draw(st.integers(0, 1))] = data.draw(st.binary(max_size=1))
    body = bytes(whole)

    read = decoded(body, kind)
    assert read is None or read == plainly_meant(body, kind)


@pytest.mark.parametrize("kind", WHOLE, ids=lambda kind: kind.__name__)
def test_a_body_with_a_key_of_a_later_version_is_read(kind: type[Body]) -> None:
    assert decoded(packed([*WHOLE[kind].items(), ("later", 1)]), kind) == decoded(
        packed(list(WHOLE[kind].items())), kind
    )


@pytest.mark.parametrize(
    ("kind", "key", "instead_of"),
    [
        (bodies.Received, "data", "seq"),
        (bodies.Begin, "hport", "cookie"),
        (bodies.Begin, "cookie", "owner"),
        (bodies.Complete, "username", "domain"),
    ],
)
def test_no_body_is_read_in_which_a_key_stands_twice(
    kind: type[Body], key: str, instead_of: str
) -> None:
    """Neither one too many nor, with the right number of keys, one in place of another."""
    again = (key, WHOLE[kind][key])
    pairs = list(WHOLE[kind].items())

    for body in ([*pairs, again], [again if each[0] == instead_of else each for each in pairs]):
        assert decoded(packed(body), kind) is None


def test_no_verdict_is_read_in_which_an_attribute_stands_twice() -> None:
    attributes = packed([("service", "console"), ("tries", 1), ("service", "ppp")])
    body = packed([*COMPLETE.items()]).removesuffix(b"\x80") + attributes

    assert decoded(body, bodies.Complete) is None


@pytest.mark.parametrize("kind", WHOLE, ids=lambda kind: kind.__name__)
def test_a_body_is_written_as_a_map_of_its_fields_in_their_order(kind: type[Body]) -> None:
    body = msgspec.convert(WHOLE[kind], kind)
    fields = {name: getattr(body, name) for name in kind.__struct_fields__}
    fields |= {name: 0 for name in kind.code_fields if fields[name] == NO_ERROR}

    assert encode_body(body) == msgpack.packb(fields, default=msgspec.structs.asdict)


@pytest.mark.parametrize("inner", [{1: 2}, [{1: 2}], {b"x": 2}])
def test_a_map_inside_whose_keys_are_no_strings_is_refused(inner: object) -> None:
    body = msgpack.packb({**COMPLETE, "attributes": {"a": inner}})

    with pytest.raises(BodyError):
        decode_body(body, bodies.Complete)
