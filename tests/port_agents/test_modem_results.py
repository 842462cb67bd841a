"""What modems say, as makers have it, and how a call's end is found in the caller's data."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialgate.codes import Raserror
from port_agents.modem_results import (
    LINE_BYTES_MAX,
    CallerField,
    CarrierWatch,
    Connect,
    Error,
    NoCall,
    Ok,
    Result,
    ResultLines,
    Ring,
    parse,
    printable,
)


@pytest.mark.parametrize(
    ("line", "result"),
    [
        (b"OK", Ok()),
        (b"0", Ok(numeric=True)),
        (b"ERROR", Error()),
        (b"4", Error()),
        (b"RING", Ring()),
        (b"ring", Ring()),
        (b"RING A", Ring()),
        (b"2", Ring()),
        (b"NO CARRIER", NoCall(Raserror.ERROR_NO_CARRIER.code)),
        (b"3", NoCall(Raserror.ERROR_NO_CARRIER.code)),
        (b"NO DIALTONE", NoCall(Raserror.ERROR_NO_DIALTONE.code)),
        (b"NO DIAL TONE", NoCall(Raserror.ERROR_NO_DIALTONE.code)),
        (b"6", NoCall(Raserror.ERROR_NO_DIALTONE.code)),
        (b"BUSY", NoCall(Raserror.ERROR_LINE_BUSY.code)),
        (b"7", NoCall(Raserror.ERROR_LINE_BUSY.code)),
        (b"NO ANSWER", NoCall(Raserror.ERROR_NO_ANSWER.code)),
        (b"8", NoCall(Raserror.ERROR_NO_ANSWER.code)),
        (b"CONNECT", Connect(0, "CONNECT")),
        (b"CONNECT 38400", Connect(38400, "CONNECT 38400")),
        (
            b"CONNECT 33600/ARQ/V34/LAPM/V42BIS",
            Connect(33600, "CONNECT 33600/ARQ/V34/LAPM/V42BIS"),
        ),
        (b"CONNECT/ARQ/V34", Connect(0, "CONNECT/ARQ/V34")),
        (b"1", Connect(0, "CONNECT", numeric=True)),
        (b"10", Connect(2400, "CONNECT 2400", numeric=True)),
        (b"84", Connect(33600, "CONNECT 33600", numeric=True)),
        (b"NMBR = 5551234", CallerField("NMBR", "5551234")),
        (b"NMBR=5551234", CallerField("NMBR", "5551234")),
        (b"NMBR = P", CallerField("NMBR", "P")),
        (b"NAME = ANN O'HARA", CallerField("NAME", "ANN O'HARA")),
        (b"NAME = RING", CallerField("NAME", "RING")),
        (b"NAME =", CallerField("NAME", "")),
        (b"DATE = 0321", CallerField("DATE", "0321")),
        (b"TIME=1405", CallerField("TIME", "1405")),
        (b"ATE0", None),
        (b"+++", None),
        (b"CONNECTED", None),
        (b"CARRIER 33600", None),
        (b"33", None),
        (b"\x00\xff\x1b[2J", None),
    ],
)
def test_result_lines_are_understood(line: bytes, result: Result | None) -> None:
    assert parse(line) == result


def test_control_characters_are_escaped() -> None:
    assert printable(b"CONNECT\x1b[2J\xff") == "CONNECT\\x1b[2J\\xff"


def test_caller_id_cannot_bring_control_characters() -> None:
    assert parse(b"NAME = \x1b]0;x\x07") == CallerField("NAME", "\\x1b]0;x\\x07")


@given(st.lists(st.binary(max_size=8), max_size=40))
def test_lines_are_the_same_however_they_are_cut(reads: list[bytes]) -> None:
    whole, cut = ResultLines(), ResultLines()

    whole.feed(b"".join(reads))
    expected = drained(whole)
    found = []
    for read in reads:
        cut.feed(read)
        found += drained(cut)

    assert found == expected
    assert cut.take_rest() == whole.take_rest()


def drained(lines: ResultLines) -> list[bytes]:
    found = []
    while (line := lines.next_line()) is not None:
        found.append(line)
    return found


def test_a_line_of_256_bytes_is_kept() -> None:
    lines = ResultLines()

    lines.feed(b"x" * LINE_BYTES_MAX + b"\r\n")

    assert lines.next_line() == b"x" * 256
    assert lines.long_lines == 0


@pytest.mark.parametrize("reads", [1, 5, 257])
def test_a_longer_line_is_discarded_and_counted_once(reads: int) -> None:
    lines = ResultLines()
    found = []

    for _ in range(reads):
        lines.feed(b"x" * 257)
        found += drained(lines)
    lines.feed(b"\r\nOK\r\n")
    found += drained(lines)

    assert found == [b"OK"]
    assert lines.long_lines == 1


def test_a_megabyte_of_line_ends_is_no_line() -> None:
    lines = ResultLines()

    lines.feed(b"\r\n" * 500_000)

    assert lines.next_line() is None


def test_no_carrier_on_a_line_of_its_own_is_found() -> None:
    assert CarrierWatch().feed(b"so far\r\nNO CARRIER\r\n") == (b"so far", True)


@pytest.mark.parametrize(
    "data", [b"NO CARRIER\r\n", b"\nNO CARRIER\n", b"\r\nNO CARRIERS\r\n", b"\r\n NO CARRIER\r\n"]
)
def test_other_lines_with_these_words_are_the_callers(data: bytes) -> None:
    watch = CarrierWatch()

    heard, gone = watch.feed(data)

    assert not gone
    assert heard + watch.release() == data


def test_what_may_be_its_beginning_is_held_from_two_bytes_on() -> None:
    watch = CarrierWatch()

    assert watch.feed(b"a\r") == (b"a\r", False)
    assert watch.feed(b"b\r\nNO CARR") == (b"b", False)
    assert watch.holds
    assert watch.feed(b"Y\r") == (b"\r\nNO CARRY\r", False)
    assert not watch.holds


def test_it_is_found_behind_a_release() -> None:
    watch = CarrierWatch()

    watch.feed(b"\r\nNO")
    released = watch.release()
    heard, gone = watch.feed(b" CARRIER\r\n")

    assert (released, heard, gone) == (b"\r\nNO", b"", True)


PIECES = st.sampled_from([b"\r", b"\n", b"\r\n", b"NO ", b"CARRIER", b"\r\nNO CARRIE", b"x", b""])


@given(st.lists(st.tuples(PIECES, st.booleans())))
def test_no_byte_of_the_caller_is_lost_doubled_or_late_for_ever(
    pieces: list[tuple[bytes, bool]],
) -> None:
    watch = CarrierWatch()
    sent = heard = b""

    for piece, waits in pieces:
        sent += piece
        more, gone = watch.feed(piece)
        heard += more
        if gone:
            break
        if waits:
            heard += watch.release()
    else:
        heard += watch.release()

    before, found, _ = sent.partition(b"\r\nNO CARRIER\r")
    if found:
        # What had to be released in time is the beginning of the line at most.
        assert heard.startswith(before)
        assert found.startswith(heard[len(before) :])
    else:
        assert heard == sent
