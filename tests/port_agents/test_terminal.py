"""The caller's terminal, rule by rule (protocol §6.3-6.5), and the whole table of mode and echo.

Method: bytes in, actions out, compared whole; time is a number.
"""

from __future__ import annotations

import time
from typing import Final, Literal

import pytest

from dialgate.codes import NO_ERROR, Winerror
from port_agents.terminal import (
    TYPE_AHEAD_BYTES_MAX,
    Action,
    Answered,
    Ask,
    Counters,
    Terminal,
    Write,
)

Echo = Literal["on", "off", "mask"]

ECHOES: Final[tuple[Echo, ...]] = ("on", "off", "mask")


def line(
    seq: int = 1,
    *,
    prompt: bytes = b"login: ",
    echo: Echo = "on",
    limit: int = 64,
    timeout_s: int = 0,
    discard: bool = False,
) -> Ask:
    return Ask(seq, prompt, "line", echo, limit, timeout_s, discard)


def raw(seq: int = 1, *, echo: Echo = "off", limit: int = 64) -> Ask:
    return Ask(seq, b"", "raw", echo, limit, 0)


def answer(seq: int, data: bytes) -> Answered:
    return Answered(seq, NO_ERROR, data)


def output(actions: list[Action]) -> bytes:
    return b"".join(action.data for action in actions if isinstance(action, Write))


# What comes in, and then, for a line ended by `CR` after it: the answer, and the echo without the
# last CR LF. "mask" is "on" with stars, so that one column serves both.
EDITING: Final = {
    "text": (b"root", b"root", b"root"),
    "nothing": (b"", b"", b""),
    "BS": (b"rooz\bt", b"root", b"rooz\b \bt"),
    "DEL": (b"rooz\x7ft", b"root", b"rooz\b \bt"),
    "BS in an empty line": (b"\b\x7fa", b"a", b"a"),
    "more BS than text": (b"ab\b\b\bc", b"c", b"ab\b \b\b \bc"),
    "^U": (b"abc\x15root", b"root", b"abc" + b"\b \b" * 3 + b"root"),
    "^X": (b"abc\x18root", b"root", b"abc" + b"\b \b" * 3 + b"root"),
    "^U in an empty line": (b"\x15a", b"a", b"a"),
    "other control characters": (b"\x00r\x03\x04\x07o\x11\x13ot\x17\x1a", b"root", b"root"),
    "TAB": (b"a\tb", b"ab", b"ab"),
    "arrow key": (b"ro\x1b[Aot", b"root", b"root"),
    "arrow key of the other kind": (b"ro\x1bOAot", b"root", b"root"),
    "function key with parameters": (b"ro\x1b[15;2~ot", b"root", b"root"),
    "Alt and a letter": (b"ro\x1bxot", b"root", b"root"),
    "charset selection": (b"ro\x1b(Bot", b"root", b"root"),
    "ESC twice": (b"ro\x1b\x1b[Aot", b"root", b"root"),
    "a sequence broken off by BS": (b"rox\x1b[1\bot", b"root", b"rox\b \bot"),
    "an unfinished sequence": (b"root\x1b[", b"root", b"root"),
    "eight-bit text": (b"j\xf8rn", b"j\xf8rn", b"j\xf8rn"),
    "eight-bit in a sequence": (b"a\x1b[\xf8b", b"a\xf8b", b"a\xf8b"),
    "telnet IAC": (
        b"\xff\xfd\x01\xff\xfb\x1froot",
        b"\xff\xfd\xff\xfbroot",
        b"\xff\xfd\xff\xfbroot",
    ),
}

RAW: Final = {
    "text": (b"root", b"root"),
    "CR": (b"a\r", b"a"),
    "LF": (b"\n", b""),
    "CR LF": (b"a\r\nb", b"ab"),
    "BS": (b"a\b", b"a"),
    "control characters": (b"\x00\x03\x15\x7f", b""),
    "arrow key": (b"\x1b[A", b"[A"),
    "eight-bit text": (b"\xf8", b"\xf8"),
    "telnet IAC": (b"\xff\xfd\x01", b"\xff\xfd"),
}


def as_shown(echoed: bytes, echo: Echo) -> bytes:
    """Turn the column of the table into what `echo` makes of it."""
    match echo:
        case "on":
            return echoed
        case "off":
            return b""
        case "mask":
            return b"\b \b".join(b"*" * len(part) for part in echoed.split(b"\b \b"))


@pytest.mark.parametrize("echo", ECHOES)
@pytest.mark.parametrize("end", [b"\r", b"\n", b"\r\n", b"\r\0"], ids=["CR", "LF", "CRLF", "CRNUL"])
@pytest.mark.parametrize(("typed", "expected", "echoed"), EDITING.values(), ids=EDITING.keys())
def test_every_kind_of_input_at_every_kind_of_prompt(
    typed: bytes, expected: bytes, echoed: bytes, end: bytes, echo: Echo
) -> None:
    terminal = Terminal()
    terminal.ask(line(echo=echo), 0.0)

    actions = terminal.receive(typed + end, 0.0)

    assert actions == [Write(as_shown(echoed, echo) + b"\r\n"), answer(1, expected)]
    assert terminal.ask(line(2), 0.0) == [Write(b"login: ")], "the line's end is used up"


@pytest.mark.parametrize("echo", ECHOES)
@pytest.mark.parametrize(("typed", "shown"), RAW.values(), ids=RAW.keys())
def test_every_kind_of_input_in_raw_mode(typed: bytes, shown: bytes, echo: Echo) -> None:
    terminal = Terminal()
    terminal.ask(raw(echo=echo), 0.0)

    actions = terminal.receive(typed, 0.0)

    echoed = as_shown(shown, echo)
    assert actions == [*([Write(echoed)] if echoed else []), answer(1, typed)]


def test_the_prompt_is_written_unchanged() -> None:
    prompt = b"\x1b[1m\xff\0login:\n "

    assert Terminal().ask(line(prompt=prompt), 0.0) == [Write(prompt)]


def test_the_data_of_a_send_is_written_unchanged() -> None:
    assert Terminal().show(b"\x00\xff\r\n\x1b[A") == [Write(b"\x00\xff\r\n\x1b[A")]


def test_showing_nothing_writes_nothing() -> None:
    assert Terminal().show(b"") == []


@pytest.mark.parametrize("late", [b"\n", b"\0"])
def test_the_rest_of_a_line_end_is_swallowed_in_the_next_read(late: bytes) -> None:
    terminal = Terminal()
    terminal.ask(line(), 0.0)
    terminal.receive(b"root\r", 0.0)

    terminal.receive(late, 0.0)

    assert terminal.ask(line(2), 0.0) == [Write(b"login: ")]


@pytest.mark.parametrize("late", [b"\n", b"\0"])
def test_the_rest_of_a_line_end_is_swallowed_after_the_next_ask(late: bytes) -> None:
    terminal = Terminal()
    terminal.ask(line(), 0.0)
    terminal.receive(b"root\r", 0.0)
    terminal.ask(line(2), 0.0)

    actions = terminal.receive(late, 0.0)

    assert actions == []


def test_a_line_feed_behind_an_arrow_key_ends_the_line() -> None:
    terminal = Terminal()
    terminal.ask(line(), 0.0)
    terminal.receive(b"\x1b[A", 0.0)

    assert terminal.receive(b"\n", 0.0)[-1] == Answered(1, NO_ERROR, b"")


def test_the_rest_of_a_line_end_is_swallowed_after_a_discard() -> None:
    terminal = Terminal()
    terminal.receive(b"typed too early\r", 0.0)
    terminal.ask(line(discard=True), 0.0)

    assert terminal.receive(b"\n", 0.0) == []


def test_the_rest_of_a_line_end_is_swallowed_in_raw_mode() -> None:
    terminal = Terminal()
    terminal.ask(line(), 0.0)
    terminal.receive(b"root\r", 0.0)
    terminal.ask(raw(2), 0.0)

    assert terminal.receive(b"\n", 0.0) == []
    assert terminal.receive(b"\n", 0.0) == [answer(2, b"\n")]


def test_only_one_line_feed_belongs_to_a_carriage_return() -> None:
    terminal = Terminal()
    terminal.ask(line(), 0.0)
    terminal.receive(b"root\r\n\n", 0.0)

    actions = terminal.ask(line(2, prompt=b""), 0.0)

    assert actions == [Write(b"\r\n"), answer(2, b"")]


def test_an_lf_behind_text_ends_a_line_though_the_line_before_ended_with_cr() -> None:
    terminal = Terminal()
    terminal.ask(line(1), 0.0)
    terminal.receive(b"root\r", 0.0)
    terminal.ask(line(2), 0.0)
    assert terminal.receive(b"ses", 0.0) == [Write(b"ses")]
    assert terminal.receive(b"\n", 0.0) == [Write(b"\r\n"), answer(2, b"ses")]
    terminal.ask(line(3), 0.0)
    terminal.receive(b"ls\r", 0.0)
    terminal.ask(line(4), 0.0)

    assert terminal.receive(b"exit\n", 0.0) == [Write(b"exit\r\n"), answer(4, b"exit")]


def test_two_carriage_returns_end_two_lines() -> None:
    terminal = Terminal()
    terminal.ask(line(), 0.0)

    assert terminal.receive(b"\r\r", 0.0) == [Write(b"\r\n"), answer(1, b"")]
    assert terminal.ask(line(2, prompt=b""), 0.0) == [Write(b"\r\n"), answer(2, b"")]


def test_type_ahead_goes_to_the_next_prompt_and_is_echoed_as_that_prompt_says() -> None:
    terminal = Terminal()
    terminal.ask(line(), 0.0)
    terminal.receive(b"root\rsesame\rls\r", 0.0)

    assert terminal.ask(line(2, prompt=b"Password: ", echo="off"), 0.0) == [
        Write(b"Password: \r\n"),
        answer(2, b"sesame"),
    ]
    assert terminal.ask(line(3, prompt=b"Command: ", echo="mask"), 0.0) == [
        Write(b"Command: **\r\n"),
        answer(3, b"ls"),
    ]


def test_what_is_typed_is_behind_an_answer_until_more_is_asked_or_the_next_caller_comes() -> None:
    terminal = Terminal()
    seen = [terminal.is_answered]
    terminal.ask(line(), 0.0)
    seen.append(terminal.is_answered)
    terminal.receive(b"ann\r", 1.0)
    seen.append(terminal.is_answered)
    terminal.ask(line(2), 2.0)
    seen.append(terminal.is_answered)
    terminal.receive(b"xyzzy\r", 3.0)
    terminal.reset()
    seen.append(terminal.is_answered)

    assert seen == [False, False, True, False, False]


def test_type_ahead_may_be_an_unfinished_line_that_goes_on() -> None:
    terminal = Terminal()
    terminal.receive(b"ro", 0.0)

    assert terminal.ask(line(), 0.0) == [Write(b"login: ro")]
    assert terminal.receive(b"ot\r", 0.0) == [Write(b"ot\r\n"), answer(1, b"root")]


def test_type_ahead_is_bounded_and_its_excess_counted() -> None:
    terminal = Terminal()
    terminal.receive(b"a" * 1000, 0.0)
    terminal.receive(b"b" * 1000, 0.0)

    actions = terminal.ask(raw(limit=4000), 0.0)

    assert actions == [answer(1, b"a" * 1000 + b"b" * 24)]
    assert terminal.counters.bytes_dropped == 976


def test_a_line_that_is_too_long_is_cut_and_its_rest_kept_for_the_next_receive() -> None:
    terminal = Terminal()
    terminal.ask(line(limit=4), 0.0)

    actions = terminal.receive(b"abcdefgh\r\nnext\r", 0.0)

    assert actions == [
        Write(b"abcdefgh\r\n"),
        Answered(1, Winerror.ERROR_MORE_DATA.code, b"abcd"),
    ]
    assert terminal.ask(line(2, echo="off"), 0.0)[-1] == answer(2, b"efgh")
    assert terminal.ask(line(3, echo="off"), 0.0)[-1] == answer(3, b"next")


def test_a_line_may_be_edited_back_to_its_limit() -> None:
    terminal = Terminal()
    terminal.ask(line(limit=4), 0.0)

    assert terminal.receive(b"abcdef\b\b\r", 0.0)[-1] == answer(1, b"abcd")


def test_what_exceeds_limit_and_type_ahead_is_neither_kept_nor_echoed() -> None:
    terminal = Terminal()
    terminal.ask(line(limit=4), 0.0)

    echoed = output(terminal.receive(b"x" * 5000, 0.0))
    actions = terminal.receive(b"\r", 0.0)

    assert echoed == b"x" * (4 + 1023)
    assert terminal.counters.bytes_dropped == 5000 - (4 + 1023)
    assert actions[-1] == Answered(1, Winerror.ERROR_MORE_DATA.code, b"xxxx")
    assert terminal.ask(line(2, limit=2000), 0.0)[-1] == answer(2, b"x" * 1023)


def test_a_raw_answer_holds_at_most_the_limit_and_the_rest_is_kept() -> None:
    terminal = Terminal()
    terminal.ask(raw(limit=3), 0.0)

    assert terminal.receive(b"abcde", 0.0) == [answer(1, b"abc")]
    assert terminal.ask(raw(2, limit=3), 0.0) == [answer(2, b"de")]


def test_a_raw_request_takes_an_unfinished_line() -> None:
    terminal = Terminal()
    terminal.ask(line(), 0.0)
    terminal.receive(b"rooz\bt", 0.0)

    assert terminal.ask(raw(2), 0.0) == [answer(2, b"root")]


def test_the_time_out_runs_from_the_last_byte_of_the_prompt() -> None:
    terminal = Terminal()
    terminal.ask(line(timeout_s=10), 0.0)
    assert terminal.deadline() is None

    terminal.prompt_written(5.0)
    terminal.prompt_written(7.0)

    assert terminal.deadline() == 15.0
    assert terminal.tick(14.9) == []
    assert terminal.tick(15.0) == [Answered(1, Winerror.ERROR_TIMEOUT.code, b"")]
    assert terminal.deadline() is None


def test_with_nothing_to_write_the_time_out_runs_at_once() -> None:
    terminal = Terminal()

    terminal.ask(line(prompt=b"", timeout_s=10), 1.0)

    assert terminal.deadline() == 11.0


def test_a_time_out_of_zero_is_none() -> None:
    terminal = Terminal()
    terminal.ask(line(timeout_s=0), 0.0)

    terminal.prompt_written(0.0)

    assert terminal.deadline() is None
    assert terminal.tick(1e9) == []


def test_a_time_out_discards_the_unfinished_line() -> None:
    terminal = Terminal()
    terminal.ask(line(timeout_s=10), 0.0)
    terminal.prompt_written(0.0)
    terminal.receive(b"roo", 9.0)
    terminal.tick(10.0)

    assert terminal.ask(line(2), 11.0) == [Write(b"login: ")]
    assert terminal.receive(b"guest\r", 12.0)[-1] == answer(2, b"guest")


def test_a_line_that_ends_at_the_deadline_is_too_late() -> None:
    terminal = Terminal()
    terminal.ask(line(timeout_s=10), 0.0)
    terminal.prompt_written(0.0)

    actions = terminal.receive(b"root\r", 10.0)

    assert actions == [Answered(1, Winerror.ERROR_TIMEOUT.code, b"")]


def test_a_prompt_written_after_its_answer_times_nothing() -> None:
    terminal = Terminal()
    terminal.receive(b"root\r", 0.0)
    terminal.ask(line(timeout_s=10), 0.0)

    terminal.prompt_written(1.0)

    assert terminal.deadline() is None


def test_a_cancelled_request_gets_no_answer_and_its_text_goes_to_the_next() -> None:
    terminal = Terminal()
    terminal.ask(line(timeout_s=10), 0.0)
    terminal.prompt_written(0.0)
    terminal.receive(b"ro", 1.0)

    terminal.cancel()

    assert terminal.deadline() is None
    assert terminal.receive(b"ot\r", 2.0) == []
    assert terminal.ask(line(2), 3.0) == [Write(b"login: root\r\n"), answer(2, b"root")]


def test_a_request_replaces_an_open_one() -> None:
    terminal = Terminal()
    terminal.ask(line(1, timeout_s=10), 0.0)
    terminal.prompt_written(0.0)
    terminal.ask(line(2), 1.0)

    assert terminal.tick(11.0) == []
    assert terminal.receive(b"root\r", 12.0)[-1] == answer(2, b"root")


def test_a_cancelled_line_keeps_no_more_than_type_ahead_may() -> None:
    terminal = Terminal()
    terminal.ask(line(limit=4000), 0.0)
    terminal.receive(b"x" * 3000, 0.0)

    terminal.cancel()

    assert terminal.ask(raw(2, limit=4000), 0.0) == [answer(2, b"x" * TYPE_AHEAD_BYTES_MAX)]
    assert terminal.counters.bytes_dropped == 3000 - TYPE_AHEAD_BYTES_MAX


def test_half_a_password_never_becomes_a_user_name() -> None:
    """Protocol §6.4: a new request under a new attempt starts from nothing."""
    terminal = Terminal()
    terminal.ask(line(2, prompt=b"Password: ", echo="off"), 0.0)
    terminal.receive(b"ses", 0.0)

    actions = terminal.ask(line(3, discard=True), 1.0)

    assert actions == [Write(b"\r\nlogin: ")]
    assert terminal.receive(b"root\r", 1.0)[-1] == answer(3, b"root")


def test_a_discard_throws_type_ahead_away_too() -> None:
    terminal = Terminal()
    terminal.receive(b"sesame\rmore\r", 0.0)

    assert terminal.ask(line(discard=True), 1.0) == [Write(b"\r\nlogin: ")]


def test_parity_bits_are_stripped_where_the_setting_says_so() -> None:
    with_parity = bytes(byte | 0x80 for byte in b"root\r\n")
    terminal = Terminal(parity_strip=True)
    terminal.ask(line(), 0.0)

    assert terminal.receive(with_parity, 0.0) == [Write(b"root\r\n"), answer(1, b"root")]


def test_parity_bits_are_stripped_from_raw_input_and_type_ahead_too() -> None:
    terminal = Terminal(parity_strip=True)
    terminal.receive(b"\xe1", 0.0)

    assert terminal.ask(raw(), 0.0) == [answer(1, b"a")]


def test_an_arrow_key_in_two_reads_leaves_nothing() -> None:
    terminal = Terminal()
    terminal.ask(line(), 0.0)
    terminal.receive(b"root\x1b", 0.0)

    assert terminal.receive(b"[", 0.0) == []
    assert terminal.receive(b"A\r", 0.0) == [Write(b"\r\n"), answer(1, b"root")]


def test_the_service_gets_what_was_typed_after_the_last_answer() -> None:
    terminal = Terminal()
    terminal.ask(line(), 0.0)
    terminal.receive(b"sesame\r\nls\r\n", 0.0)

    assert terminal.take_type_ahead() == b"ls\r\n"
    assert terminal.take_type_ahead() == b""


def test_a_reset_leaves_nothing_to_the_next_caller() -> None:
    terminal = Terminal()
    terminal.ask(line(timeout_s=10), 0.0)
    terminal.prompt_written(0.0)
    terminal.receive(b"ro\x1b[", 0.0)

    terminal.reset()

    assert terminal.deadline() is None
    assert terminal.take_type_ahead() == b""
    assert terminal.ask(line(), 0.0) == [Write(b"login: ")]
    assert terminal.receive(b"Anna\n", 0.0)[-1] == answer(1, b"Anna")


def test_a_reset_forgets_that_a_line_feed_was_owed() -> None:
    terminal = Terminal()
    terminal.ask(line(), 0.0)
    terminal.receive(b"root\r", 0.0)
    terminal.reset()
    terminal.ask(line(), 0.0)

    assert terminal.receive(b"\n", 0.0) == [Write(b"\r\n"), answer(1, b"")]


def test_counters_tell_what_came_of_requests_and_noise() -> None:
    terminal = Terminal()
    terminal.ask(line(limit=2, timeout_s=1), 0.0)
    terminal.receive(b"\x03ab\x1b[1", 0.0)
    terminal.receive(b"~c\r", 0.0)
    terminal.ask(line(2), 0.0)
    terminal.ask(line(3, timeout_s=1), 0.0)
    terminal.prompt_written(0.0)
    terminal.tick(1.0)

    assert terminal.counters == Counters(
        answers=2, answers_too_long=1, timeouts=1, controls_ignored=5, bytes_dropped=0
    )


def test_what_a_caller_types_is_in_no_repr() -> None:
    terminal = Terminal()
    terminal.ask(line(), 0.0)

    actions = terminal.receive(b"sesame\rsesame", 0.0)

    assert b"sesame" in output(actions)
    assert "sesame" not in repr(actions)
    assert "sesame" not in repr(terminal)


@pytest.mark.parametrize("noise", [b"x", b"\x1b[1", b"\x00\xff\x1b[A\b~}#\xc0!"])
def test_ten_megabytes_without_a_newline_are_cheap_and_bounded(noise: bytes) -> None:
    block = (noise * 4096)[:4096]
    terminal = Terminal()
    terminal.ask(line(echo="off", timeout_s=60), 0.0)
    terminal.prompt_written(0.0)

    started = time.process_time()
    for _ in range(10 * 256):
        terminal.receive(block, 1.0)
    spent_s = time.process_time() - started

    assert spent_s < 15.0
    assert terminal.tick(60.0) == [Answered(1, Winerror.ERROR_TIMEOUT.code, b"")]
    assert terminal.take_type_ahead() == b""
