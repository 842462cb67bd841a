"""Callers who speak PPP at the prompt: recognised, and led to their service or hung up on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from port_agents.line_actions import ServiceLimits
from port_agents.ppp import PppWatch
from tests.port_agents.line_bench import SETTINGS, called

PLAIN = bytes.fromhex("7eff03c021010100147e")
ESCAPED = bytes.fromhex("7eff7d23c0217d217d217d207d347e")
SERVICES = {**SETTINGS.services, "ppp": ServiceLimits(session_timeout_s=3600)}


@pytest.mark.parametrize("frame", [PLAIN, ESCAPED])
@pytest.mark.parametrize("size", [1, 2, 5, 100])
def test_a_frame_is_found_in_whatever_pieces_it_comes(frame: bytes, size: int) -> None:
    watch = PppWatch()
    stream = b"noise\r\n" + frame
    pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
    found = [bool(watch.feed(piece)) for piece in pieces]

    assert any(found)


def test_what_is_found_begins_with_the_frame() -> None:
    watch = PppWatch()
    watch.feed(b"ab\x7e\xff")

    assert watch.feed(PLAIN[2:]) == PLAIN


def test_the_bytes_of_one_call_are_no_beginning_of_the_nexts() -> None:
    watch = PppWatch()
    watch.feed(PLAIN[:3])
    watch.clear()

    assert not watch.feed(PLAIN[3:])


def test_without_a_service_for_him_the_caller_is_hung_up_on() -> None:
    bench = called()
    bench.ask()
    bench.take()
    bench.type(ESCAPED)

    assert bench.take()[:2] == ["s1: END (1)", "hanging-up ppp-refused"]
    bench.end_reply()
    bench.wait(5)
    assert bench.take()[-1] == "idle"


def test_the_service_that_is_named_for_him_gets_the_frame_once_the_dialog_is_over() -> None:
    bench = called(settings=replace(SETTINGS, services=SERVICES, ppp_service="ppp"))
    bench.ask()
    bench.take()
    bench.type(PLAIN)
    bench.type(b"more")
    assert bench.take() == ["s1: END (1)"]

    bench.admit()  # A verdict that comes too late is none of his.
    assert bench.admissions[0].user == ""
    assert bench.line.call is not None
    assert bench.line.call.service == "ppp"


@pytest.mark.parametrize("named", ["ppp", ""])
@pytest.mark.parametrize("pieces", [(b"xyzzy\r", ESCAPED), (b"xyzzy\r" + ESCAPED,)])
def test_frames_behind_an_answer_wait_for_the_service_of_who_is_admitted(
    pieces: tuple[bytes, ...], named: str
) -> None:
    """A caller's script ends with his password, and his pppd waits for no verdict."""
    bench = called(settings=replace(SETTINGS, services=SERVICES, ppp_service=named))
    bench.ask(prompt=b"Password: ", echo="off")
    bench.take()
    for piece in pieces:
        bench.type(piece)
    assert bench.take() == ["s1: RECEIVED (1)"]

    bench.admit()
    assert f"start console for ann {ESCAPED.decode('latin-1')!r}" in bench.take()


def test_who_speaks_ppp_before_anything_is_asked_is_at_the_prompt_in_every_call() -> None:
    bench = called()
    bench.ask()
    bench.type(b"ann\r")
    bench.hang_up()
    bench.end_reply()
    bench.wait(5)
    bench.call()
    bench.take()
    bench.type(ESCAPED)

    assert bench.take()[:2] == ["s1: END (1)", "hanging-up ppp-refused"]


def test_who_still_speaks_ppp_when_he_is_asked_again_is_at_the_prompt() -> None:
    bench = called()
    bench.ask()
    bench.type(b"ann\r" + ESCAPED)
    bench.ask(seq=2, prompt=b"Password: ")
    bench.take()
    bench.type(ESCAPED)

    assert bench.take()[:2] == ["s1: END (1)", "hanging-up ppp-refused"]


def test_a_caller_who_hangs_up_while_his_dialog_ends_gets_no_service() -> None:
    bench = called(settings=replace(SETTINGS, services=SERVICES, ppp_service="ppp"))
    bench.type(PLAIN)
    bench.hang_up()
    bench.end_reply()
    bench.wait(5)

    assert bench.admissions == []
    assert bench.take()[-1] == "idle"
