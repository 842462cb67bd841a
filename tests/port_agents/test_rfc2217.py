"""The client's side of RFC 2217, against what servers say, do not say, and say otherwise."""

from __future__ import annotations

import math
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from port_agents.modem_actions import ModemLines
from port_agents.rfc2217 import (
    BANNER_BYTES_MAX,
    ComPort,
    ComPortSettings,
    Heard,
    Hold,
    LinesAre,
    Opened,
    Refused,
    Send,
)
from port_agents.telnet import sub

DOWN: Final = ModemLines(dcd=False, dsr=True, ri=False, cts=True)
UP: Final = ModemLines(dcd=True, dsr=True, ri=False, cts=True)
DO_COM: Final = b"\xff\xfd\x2c"


def notify(bits: int) -> bytes:
    return sub(44, bytes([107, bits]))


def begun(settings: ComPortSettings | None = None) -> ComPort:
    port = ComPort(settings or ComPortSettings())
    port.begin(0.0)
    return port


def opened() -> ComPort:
    port = begun()
    port.receive(DO_COM + notify(0x30), 0.0)
    return port


def test_it_offers_com_port_control_and_asks_for_binary_both_ways() -> None:
    (sent,) = ComPort(ComPortSettings()).begin(0.0)

    assert sent == Send(b"\xff\xfb\x2c\xff\xfb\x03\xff\xfb\x00\xff\xfd\x00\xff\xfd\x03")


def test_the_line_is_set_as_soon_as_the_server_agrees() -> None:
    settings = ComPortSettings(9600, 7, "even", 2, rtscts=False, xonxoff=True)

    (sent,) = begun(settings).receive(DO_COM, 0.0)

    assert sent == Send(
        sub(44, b"\x01\x00\x00\x25\x80")
        + sub(44, b"\x02\x07")
        + sub(44, b"\x03\x03")
        + sub(44, b"\x04\x02")
        + sub(44, b"\x05\x02")
        + sub(44, b"\x0a\x00")
        + sub(44, b"\x0b\xff")
        + sub(44, b"\x05\x0b")
    )


def test_the_port_is_open_when_the_modem_lines_are_told_and_no_acknowledgement_is_waited_for() -> (
    None
):
    port = begun()
    port.receive(DO_COM, 0.0)

    assert port.receive(notify(0x30), 0.1) == [Opened(DOWN)]
    assert port.deadline() == math.inf


def test_a_server_that_offers_the_option_itself_has_agreed() -> None:
    sent, settings = begun().receive(b"\xff\xfb\x2c", 0.0)

    assert sent == Send(b"\xff\xfd\x2c")
    assert isinstance(settings, Send)


def test_without_word_of_modem_lines_the_port_has_none() -> None:
    port = begun()
    port.receive(DO_COM, 1.0)

    assert port.tick(2.9) == []
    assert port.tick(3.0) == [Opened(None)]


def test_a_server_that_refuses_the_option_is_refused() -> None:
    assert begun().receive(b"\xff\xfe\x2c", 0.0) == [Refused("does not speak RFC 2217")]


def test_what_a_busy_server_says_is_in_the_reason() -> None:
    port = begun()
    port.receive(b"Port already in use\r\n", 0.0)

    assert port.ended() == (
        'the terminal server closed the connection, and said "Port already in use"'
    )
    assert port.tick(5.0) == [
        Refused('did not agree to RFC 2217 within 5 s, and said "Port already in use"')
    ]


def test_a_server_that_talks_without_end_is_refused() -> None:
    (refused,) = begun().receive(b"x" * BANNER_BYTES_MAX, 0.0)

    assert isinstance(refused, Refused)
    assert refused.reason.startswith("is no RFC 2217 port")


def test_a_refused_port_says_nothing_more() -> None:
    port = begun()
    port.receive(b"\xff\xfe\x2c", 0.0)

    assert port.receive(DO_COM + notify(0xB0) + b"x", 0.0) == []


def test_bytes_before_the_agreement_are_not_the_lines() -> None:
    assert begun().receive(b"Welcome\r\n", 0.0) == []


def test_bytes_of_the_line_are_handed_on() -> None:
    assert opened().receive(b"\r\nRING\r\n", 0.0) == [Heard(b"\r\nRING\r\n")]


def test_without_binary_a_nul_behind_cr_is_the_servers() -> None:
    port = opened()

    assert port.receive(b"a\r\0b\r", 0.0) == [Heard(b"a\rb\r")]
    assert port.receive(b"\0c", 0.0) == [Heard(b"c")]


def test_with_binary_a_nul_is_the_lines() -> None:
    port = opened()
    port.receive(b"\xff\xfb\x00", 0.0)

    assert port.receive(b"a\r\0", 0.0) == [Heard(b"a\r\0")]


def test_a_change_of_the_modem_lines_is_told_once() -> None:
    port = opened()

    assert port.receive(notify(0xB8), 0.0) == [LinesAre(UP)]
    assert port.receive(notify(0xB0), 0.0) == []
    assert port.receive(notify(0x30), 0.0) == [LinesAre(DOWN)]


def test_flow_control_holds_and_releases() -> None:
    assert opened().receive(sub(44, b"\x6c") + sub(44, b"\x6d"), 0.0) == [Hold(True), Hold(False)]


def test_other_options_are_declined_once() -> None:
    port = opened()

    assert port.receive(b"\xff\xfb\x01\xff\xfd\x18", 0.0) == [
        Send(b"\xff\xfe\x01"),
        Send(b"\xff\xfc\x18"),
    ]


@pytest.mark.parametrize("command", [100, 101, 102, 103, 104, 105, 106, 110, 111, 112, 200])
def test_acknowledgements_change_nothing(command: int) -> None:
    assert opened().receive(sub(44, bytes([command, 0])), 0.0) == []


def test_dtr_break_and_purge_are_commands() -> None:
    port = opened()

    assert port.set_dtr(on=False) == sub(44, b"\x05\x09")
    assert port.set_dtr(on=True) == sub(44, b"\x05\x08")
    assert port.set_break(on=True) == sub(44, b"\x05\x05")
    assert port.set_break(on=False) == sub(44, b"\x05\x06")
    assert port.purge() == sub(44, b"\x0c\x03")
    assert port.data(b"a\xff") == b"a\xff\xff"


@given(st.lists(st.binary(max_size=60), max_size=30))
def test_whatever_a_server_sends_it_is_open_or_refused_in_bounded_time(noise: list[bytes]) -> None:
    port = begun()
    outcomes = [action for piece in noise for action in port.receive(piece, 0.0)]
    outcomes += port.tick(5.0) + port.tick(10.0)

    ends = [action for action in outcomes if isinstance(action, Opened | Refused)]
    assert len([end for end in ends if isinstance(end, Opened)]) <= 1
    assert ends
    assert port.deadline() == math.inf
