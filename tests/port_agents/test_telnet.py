"""Telnet cut into data and commands, whatever pieces it comes in."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from port_agents.telnet import (
    DO,
    SUB_BYTES_MAX,
    WILL,
    Data,
    Event,
    Negotiation,
    Sub,
    TelnetParser,
    escaped,
    negotiation,
    sub,
)


def fed(*pieces: bytes) -> list[Event]:
    parser = TelnetParser()
    return [event for piece in pieces for event in parser.feed(piece)]


def test_data_passes_and_a_doubled_iac_is_one_byte() -> None:
    assert fed(b"login: \xff\xff\r\n") == [Data(b"login: \xff\r\n")]


def test_commands_are_cut_out_of_the_data_in_order() -> None:
    assert fed(b"a\xff\xfb\x2cb\xff\xfa\x2c\x6b\x80\xff\xf0c") == [
        Data(b"a"),
        Negotiation(WILL, 44),
        Data(b"b"),
        Sub(44, b"\x6b\x80"),
        Data(b"c"),
    ]


def test_an_iac_in_a_subnegotiation_is_doubled() -> None:
    assert fed(sub(44, b"\xff\x00")) == [Sub(44, b"\xff\x00")]


def test_commands_without_an_option_are_dropped() -> None:
    assert fed(b"a\xff\xf1b\xff\xf9c") == [Data(b"abc")]


def test_a_subnegotiation_without_end_keeps_nothing_beyond_the_limit() -> None:
    parser = TelnetParser()

    parser.feed(b"\xff\xfa\x2c" + bytes(100_000))

    assert len(parser._sub) <= SUB_BYTES_MAX + 1
    assert parser.feed(b"\xff\xf0x") == [Data(b"x")]
    assert parser.malformed == 1


events = st.one_of(
    st.binary(min_size=1).map(Data),
    st.builds(Negotiation, st.sampled_from([WILL, DO]), st.integers(0, 255)),
    st.builds(Sub, st.integers(0, 254), st.binary(max_size=40)),
)


def written(event: Event) -> bytes:
    match event:
        case Data(data):
            return escaped(data)
        case Negotiation(verb, option):
            return negotiation(verb, option)
        case Sub(option, payload):
            return sub(option, payload)


def joined(found: list[Event]) -> list[Event]:
    """Return the events with neighbouring data in one."""
    result: list[Event] = []
    for event in found:
        if isinstance(event, Data) and result and isinstance(result[-1], Data):
            result[-1] = Data(result[-1].data + event.data)
        else:
            result.append(event)
    return result


@given(st.lists(events), st.lists(st.integers(1, 7), min_size=1))
def test_what_is_written_is_read_whatever_the_pieces(sent: list[Event], sizes: list[int]) -> None:
    stream = b"".join(map(written, sent))
    pieces, number = [], 0
    while stream:
        size = sizes[number % len(sizes)]
        pieces.append(stream[:size])
        stream, number = stream[size:], number + 1

    assert joined(fed(*pieces)) == joined(sent)


@given(st.binary(max_size=400))
def test_no_noise_breaks_it(noise: bytes) -> None:
    parser = TelnetParser()

    parser.feed(noise)

    assert len(parser._sub) <= SUB_BYTES_MAX + 1
