"""What servers are told, and what is made of what they say."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from auth_workers.radius.attributes import (
    MESSAGE_CHARS_MAX,
    class_values,
    complete_attributes,
    number,
    of_call,
    text_of,
)
from auth_workers.radius.packets import Attribute, PacketCode, Reply
from auth_workers.testing import FACTS


def accept(**values: bytes | list[bytes]) -> Reply:
    attributes: dict[int, Sequence[bytes]] = {
        Attribute[name.upper()]: value if isinstance(value, list) else [value]
        for name, value in values.items()
    }
    return Reply(PacketCode.ACCESS_ACCEPT, attributes)


def test_a_server_is_told_of_the_call() -> None:
    facts = replace(FACTS, called="5550000", connect_speed=33600, connect_text="33600/V34")

    assert dict(of_call(facts, "oslo/1", bytes(range(16)))) == {
        Attribute.SERVICE_TYPE: b"\0\0\0\1",  # Login
        Attribute.NAS_PORT_TYPE: b"\0\0\0\0",  # Async
        Attribute.NAS_IDENTIFIER: b"oslo-1",
        Attribute.NAS_PORT_ID: b"oslo/1",
        Attribute.CALLING_STATION_ID: b"5550100",
        Attribute.CALLED_STATION_ID: b"5550000",
        Attribute.CONNECT_INFO: b"33600/V34",
        Attribute.ACCT_SESSION_ID: b"000102030405060708090a0b0c0d0e0f",
    }


def test_what_is_unknown_is_left_out() -> None:
    told = dict(of_call(replace(FACTS, caller="", connect_speed=9600), "oslo/1", bytes(16)))

    assert Attribute.CALLING_STATION_ID not in told
    assert Attribute.CALLED_STATION_ID not in told
    assert told[Attribute.CONNECT_INFO] == b"9600"


def test_a_text_too_long_for_an_attribute_is_left_out_and_not_cut() -> None:
    told = dict(of_call(replace(FACTS, caller="5" * 254), "oslo/1", bytes(16)))

    assert Attribute.CALLING_STATION_ID not in told


@pytest.mark.parametrize(
    ("value", "octets"), [(0, "00000000"), (300, "0000012c"), (2**40, "ffffffff")]
)
def test_numbers_have_32_bits(value: int, octets: str) -> None:
    assert number(value).hex() == octets


def test_the_stay_is_as_the_server_says() -> None:
    reply = accept(
        session_timeout=number(1800),
        idle_timeout=number(300),
        callback_number=b"5550199",
        callback_id=b"home",
        filter_id=[b"field", b"night"],
        service_type=number(2),
        framed_protocol=number(1),
        framed_ip_address=bytes([192, 0, 2, 33]),
        framed_ip_netmask=bytes([255, 255, 255, 0]),
        login_ip_host=bytes([192, 0, 2, 9]),
        login_service=number(1),
        login_tcp_port=number(23),
        port_limit=number(1),
    )

    assert complete_attributes(reply) == {
        "session_timeout_s": 1800,
        "idle_timeout_s": 300,
        "callback_number": "5550199",
        "callback_id": "home",
        "filter_id": "field,night",
        "service_type": 2,
        "framed_protocol": 1,
        "framed_ip_address": "192.0.2.33",
        "framed_ip_netmask": "255.255.255.0",
        "login_ip_host": "192.0.2.9",
        "login_service": 1,
        "login_tcp_port": 23,
        "port_limit": 1,
    }


def test_class_survives_byte_by_byte() -> None:
    values = [b"\x00\xff,1", b"plain"]
    reply = Reply(PacketCode.ACCESS_ACCEPT, {Attribute.CLASS: values})

    written = complete_attributes(reply)

    assert written == {"class": "00ff2c31,706c61696e"}
    assert class_values(written) == values
    assert class_values({}) == []
    assert class_values({"class": "somebody else's"}) == []


@pytest.mark.parametrize("octets", [b"", b"\1", b"\1\2\3\4\5"])
def test_a_number_of_another_length_is_none(octets: bytes) -> None:
    assert complete_attributes(accept(session_timeout=octets, framed_ip_address=octets)) == {}


def test_a_limit_of_zero_is_none() -> None:
    assert complete_attributes(accept(session_timeout=number(0))) == {}


def test_a_servers_text_is_fit_for_a_terminal() -> None:
    assert text_of([b"Your token\r\nis \x1b[31mdue\x07\n"]) == (
        "Your token\r\nis \\x1b[31mdue\\x07\r\n"
    )


@given(st.lists(st.binary(max_size=253), max_size=8))
def test_no_control_character_of_a_server_reaches_a_terminal(values: list[bytes]) -> None:
    text = text_of(values)
    rest = text.replace("\r\n", "")

    assert not any(char < " " or "\x7f" <= char <= "\x9f" for char in rest)
    assert len(text) <= 2 * MESSAGE_CHARS_MAX  # Each newline is two on the line.
