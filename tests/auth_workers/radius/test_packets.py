"""Requests as bytes, and which datagrams are their answers."""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth_workers.radius.packets import (
    Attribute,
    Fault,
    PacketCode,
    Reply,
    Request,
    access_request,
    accounting_request,
)
from tests.auth_workers.radius.replies import (
    ACCEPT,
    ACCOUNTED,
    CHALLENGE,
    REJECT,
    SECRET,
    attributes_of,
    reply_to,
)

ABOUT: Final = [(Attribute.USER_NAME, b"ann"), (Attribute.STATE, b"0x4142")]


def request(*, signed: bool = True) -> Request:
    return access_request(SECRET, ABOUT, b"secret", signed=signed)


def shown(data: bytes) -> bytes:
    """Return the User-Password in `data` as the server reads it (RFC 2865 §5.2)."""
    hidden, last, password = dict(attributes_of(data))[Attribute.USER_PASSWORD], data[4:20], b""
    for start in range(0, len(hidden), 16):
        key = hashlib.md5(SECRET + last).digest()  # noqa: S324 - RADIUS
        last = hidden[start : start + 16]
        password += bytes(a ^ b for a, b in zip(key, last, strict=True))
    return password.rstrip(b"\0")


def test_the_message_authenticator_comes_first_and_covers_every_byte() -> None:
    data = request().data
    (number, signature), *_ = attributes_of(data)
    blank = data[:22] + bytes(16) + data[38:]

    assert number == Attribute.MESSAGE_AUTHENTICATOR
    assert signature == hmac.digest(SECRET, blank, "md5")


def test_attributes_go_out_as_they_are() -> None:
    """Pyrad would read a text that begins with 0x as hex."""
    assert attributes_of(request().data)[1:3] == ABOUT


@pytest.mark.parametrize("password", [b"", b"secret", b"0x31", b"x" * 16, b"y" * 17, b"z" * 128])
def test_the_password_is_hidden_and_the_server_can_read_it(password: bytes) -> None:
    data = access_request(SECRET, ABOUT, password).data

    assert shown(data) == password
    assert not password or password not in data


def test_identifier_and_authenticator_are_never_the_same() -> None:
    requests = [request().data for _ in range(200)]

    assert len({data[4:20] for data in requests}) == 200
    assert len({data[1] for data in requests}) > 50


@pytest.mark.parametrize("code", [ACCEPT, REJECT, CHALLENGE])
def test_the_servers_answer_is_believed(code: int) -> None:
    asked = request()

    reply = asked.read(reply_to(asked.data, code, [(18, b"a"), (18, b"b"), (24, b"s")]))

    assert isinstance(reply, Reply)
    assert reply.code == code
    assert (reply.attributes[18], reply.attributes[24]) == ([b"a", b"b"], [b"s"])


def test_a_reply_without_message_authenticator_is_refused() -> None:
    asked = request()

    assert asked.read(reply_to(asked.data, ACCEPT, signature=None)) is Fault.UNSIGNED


def test_a_reply_without_message_authenticator_is_believed_where_the_operator_says_so() -> None:
    asked = request(signed=False)

    assert isinstance(asked.read(reply_to(asked.data, ACCEPT, signature=None)), Reply)


@pytest.mark.parametrize("signed", [True, False])
def test_a_forged_message_authenticator_is_refused_even_where_none_is_demanded(
    signed: bool,
) -> None:
    asked = request(signed=signed)
    forged = reply_to(asked.data, ACCEPT, signature=b"\1" * 16)

    assert asked.read(forged) is Fault.FORGED_MESSAGE


def test_two_message_authenticators_are_one_too_many() -> None:
    asked = request()
    twice = reply_to(asked.data, ACCEPT, [(Attribute.MESSAGE_AUTHENTICATOR, bytes(16))])

    assert asked.read(twice) is Fault.FORGED_MESSAGE, "though the first is right"


def test_another_secrets_reply_is_refused() -> None:
    asked = request()

    assert asked.read(reply_to(asked.data, ACCEPT, secret=b"other")) is Fault.FORGED_MESSAGE
    unsigned = reply_to(asked.data, ACCEPT, secret=b"other", signature=None)
    assert asked.read(unsigned) is Fault.FORGED


def test_a_reply_to_another_request_is_refused() -> None:
    """Another authenticator with the same identifier, and another identifier."""
    asked = request()
    same_identifier = bytes([1, asked.data[1]]) + request().data[2:]
    other_identifier = bytes([1, asked.data[1] ^ 1]) + asked.data[2:]

    assert asked.read(reply_to(same_identifier, ACCEPT)) is Fault.FORGED_MESSAGE
    assert asked.read(reply_to(other_identifier, ACCEPT)) is Fault.OTHER_REQUEST


def test_a_proxy_state_that_was_not_sent_is_the_mark_of_a_forgery() -> None:
    """CVE-2024-3596."""
    asked = request()

    assert asked.read(reply_to(asked.data, ACCEPT, [(33, b"x")])) is Fault.FORGED


@pytest.mark.parametrize("code", [0, 1, 4, ACCOUNTED, 12, 255])
def test_what_answers_no_access_request_is_malformed(code: int) -> None:
    asked = request()

    assert asked.read(reply_to(asked.data, code)) is Fault.MALFORMED


def test_accounting_is_answered_with_accounting_only() -> None:
    asked = accounting_request(SECRET, [(Attribute.ACCT_STATUS_TYPE, b"\0\0\0\1")])
    answer = reply_to(asked.data, ACCOUNTED, signature=None)

    assert asked.read(answer) == Reply(PacketCode.ACCOUNTING_RESPONSE, {})
    assert asked.read(reply_to(asked.data, ACCEPT, signature=None)) is Fault.MALFORMED
    assert asked.read(reply_to(asked.data, ACCOUNTED, secret=b"x", signature=None)) is Fault.FORGED


@pytest.mark.parametrize("size", [0, 1, 19])
def test_a_cut_header_is_malformed(size: int) -> None:
    asked = request()

    assert asked.read(reply_to(asked.data, ACCEPT)[:size]) is Fault.MALFORMED


def test_an_attribute_longer_than_its_packet_is_malformed() -> None:
    asked = request()
    reply = bytearray(reply_to(asked.data, ACCEPT, [(18, b"abc")]))
    reply[-4] = 6

    assert asked.read(bytes(reply)) is Fault.MALFORMED


@pytest.mark.timeout(20)
@pytest.mark.parametrize("size", [0, 1])
def test_an_attribute_shorter_than_its_own_head_is_malformed(size: int) -> None:
    asked = request()
    reply = bytearray(reply_to(asked.data, ACCEPT, [(18, b"")]))
    reply[-1] = size

    assert asked.read(bytes(reply)) is Fault.MALFORMED


def test_a_packet_longer_than_any_may_be_is_malformed() -> None:
    asked = request()
    long = reply_to(asked.data, ACCEPT, [(18, b"x" * 253)] * 16)

    assert len(long) == 4096 + 20 + 18 - 16
    assert asked.read(long) is Fault.MALFORMED


@given(st.binary(max_size=300))
def test_no_garbage_is_an_answer_or_an_exception(data: bytes) -> None:
    asked = request(signed=False)

    assert isinstance(asked.read(data), Fault)
    assert isinstance(asked.read(bytes([2, asked.data[1]]) + data), Fault)


@given(st.data())
def test_no_flipped_bit_is_believed(data: st.DataObject) -> None:
    asked = request()
    reply = bytearray(reply_to(asked.data, ACCEPT, [(18, b"welcome"), (27, b"\0\0\0\1")]))
    bit = data.draw(st.integers(0, len(reply) * 8 - 1))
    reply[bit // 8] ^= 1 << (bit % 8)

    assert isinstance(asked.read(bytes(reply)), Fault)


def test_nothing_secret_is_in_a_representation() -> None:
    asked = request()
    reply = asked.read(reply_to(asked.data, ACCEPT, [(18, b"welcome")]))

    assert repr(reply) == "Reply(ACCESS_ACCEPT, [18, 80])"
    assert "secret" not in repr(asked)
