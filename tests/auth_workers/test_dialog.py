"""The dialog as authenticators see it, with a scripted caller."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from auth_workers.cookie import Progress
from auth_workers.dialog import AnswerTooLong, Dialog, DialogEnded, DialogFault
from auth_workers.session_actions import Info
from auth_workers.testing import FACTS, Caller, Event
from dialgate.codes import NO_ERROR, Raserror, Winerror


async def meet(caller: Caller, work: Callable[[Dialog], Coroutine[Any, Any, None]]) -> None:
    await caller.goes_through(work(caller.dialog))


async def test_an_answer_comes_back_to_whom_asked_for_it() -> None:
    answers = []

    async def work(dialog: Dialog) -> None:
        answers.append(await dialog.receive(b"one? "))
        answers.append(await dialog.receive(b"two? ", echo="mask", limit=8, timeout_s=5))

    caller = Caller(b"1", b"2")
    await meet(caller, work)

    assert answers == [b"1", b"2"]
    assert caller.screen == b"one? two? "
    assert (caller.questions[1].echo, caller.questions[1].limit) == ("mask", 8)
    assert caller.questions[1].timeout_s == 5


async def test_raw_receives_are_neither_edited_nor_echoed() -> None:
    async def work(dialog: Dialog) -> None:
        assert await dialog.receive_raw(limit=10) == b"\x01\x02"

    caller = Caller(b"\x01\x02")
    await meet(caller, work)

    assert (caller.questions[0].mode, caller.questions[0].echo) == ("raw", "off")


async def test_a_text_longer_than_the_port_takes_goes_out_in_pieces() -> None:
    async def work(dialog: Dialog) -> None:
        await dialog.send(b"x" * 2500)

    caller = Caller()
    await meet(caller, work)

    assert caller.screen == b"x" * 2500


async def test_silence_is_a_timeout() -> None:
    async def work(dialog: Dialog) -> None:
        with pytest.raises(TimeoutError):
            await dialog.receive(b"? ")
        assert dialog.info().last_error == Winerror.ERROR_TIMEOUT.code

    await meet(Caller(Event.SAY_NOTHING), work)


async def test_a_line_that_is_too_long_is_no_answer() -> None:
    async def work(dialog: Dialog) -> None:
        with pytest.raises(AnswerTooLong):
            await dialog.receive(b"? ", limit=4)

    await meet(Caller(b"12345"), work)


async def test_a_receive_that_failed_otherwise_is_no_answer() -> None:
    async def work(dialog: Dialog) -> None:
        asking = asyncio.ensure_future(dialog.receive(b"? "))
        await asyncio.sleep(0)
        dialog.answer(Winerror.ERROR_INVALID_DATA.code, b"half of it")
        with pytest.raises(DialogFault):
            await asking

    await meet(Caller(b"12345"), work)


async def test_getinfo_tells_that_a_receive_runs_and_then_its_status() -> None:
    told = []

    async def work(dialog: Dialog) -> None:
        told.append(dialog.info())
        asking = asyncio.ensure_future(dialog.receive(b"? "))
        await asyncio.sleep(0)
        told.append(dialog.info())
        await asking
        told.append(dialog.info())

    await meet(Caller(b"12345"), work)

    assert told == [
        Info(NO_ERROR, 0, FACTS.device),
        Info(Raserror.PENDING.code, 0, FACTS.device),
        Info(NO_ERROR, 5, FACTS.device),
    ]


async def test_a_second_receive_while_one_runs_is_refused_with_616() -> None:
    async def work(dialog: Dialog) -> None:
        first = asyncio.ensure_future(dialog.receive(b"? "))
        await asyncio.sleep(0)
        with pytest.raises(DialogFault) as caught:
            await dialog.receive(b"! ")
        assert caught.value.code == Raserror.ERROR_ASYNC_REQUEST_PENDING.code
        assert await first == b"1"

    await meet(Caller(b"1"), work)


async def test_the_answer_of_a_receive_that_was_given_up_is_nobodys() -> None:
    """rashost.md, trap 5."""

    async def work(dialog: Dialog) -> None:
        given_up = asyncio.ensure_future(dialog.receive(b"code? "))
        await asyncio.sleep(0)
        given_up.cancel()
        with pytest.raises(DialogFault):
            await dialog.receive(b"name? ")
        await asyncio.sleep(0)
        assert await dialog.receive(b"name? ") == b"ann"

    await meet(Caller(b"123456", b"ann"), work)


async def test_a_hang_up_cancels_whoever_waits_and_his_clean_up_runs() -> None:
    cleaned = []

    async def work(dialog: Dialog) -> None:
        try:
            await dialog.receive(b"? ")
        finally:
            cleaned.append(True)

    with pytest.raises(DialogEnded):
        await meet(Caller(Event.HANG_UP), work)
    assert cleaned == [True]


async def test_a_hang_up_waits_for_the_end_of_a_block_that_delays_it() -> None:
    done = []

    async def work(dialog: Dialog) -> None:
        with dialog.delayed_end():
            with pytest.raises(DialogEnded):
                await dialog.receive(b"? ")
            with pytest.raises(DialogEnded):
                await dialog.send(b"still there?")
            done.append("written down")
        raise AssertionError("not reached")

    caller = Caller(Event.HANG_UP)
    with pytest.raises(DialogEnded):
        await meet(caller, work)

    assert done == ["written down"]
    assert not caller.end_delayed


async def test_without_a_hang_up_the_block_ends_quietly() -> None:
    async def work(dialog: Dialog) -> None:
        with dialog.delayed_end():
            await dialog.receive(b"? ")

    await meet(Caller(b"1"), work)


async def test_a_guess_is_charged_when_it_is_asked_for() -> None:
    seen = []

    async def work(dialog: Dialog) -> None:
        dialog.note(step="local")
        await dialog.receive(b"name? ")
        dialog.note(user="ann")
        seen.append(dialog.progress)
        with pytest.raises(TimeoutError):
            await dialog.receive(b"password? ", charge=True)
        seen.append(dialog.progress)

    await meet(Caller(b"ann", Event.SAY_NOTHING), work)

    assert seen == [
        Progress(step="local", user="ann", tries=0),
        Progress(step="local", user="ann", tries=1),
    ]


async def test_what_cannot_be_started_charges_nothing() -> None:
    async def work(dialog: Dialog) -> None:
        first = asyncio.ensure_future(dialog.receive(b"? "))
        await asyncio.sleep(0)
        with pytest.raises(DialogFault):
            await dialog.receive(b"! ", charge=True)
        await first
        assert dialog.progress.tries == 0

    await meet(Caller(b"1"), work)


def test_a_dialog_knows_whether_the_caller_was_asked_before() -> None:
    assert not Caller().dialog.resumed
    assert Caller(attempt=2, seq=3).dialog.resumed
