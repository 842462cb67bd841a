"""The dialogs' tasks on a real event loop, the broker played by the test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

import pytest
from structlog.testing import capture_logs

from auth_workers.dialog import Dialog, DialogFault
from auth_workers.runner import CANCELLED_PER_TURN, Runner
from auth_workers.session import Worker
from auth_workers.session_actions import Outcome
from auth_workers.verdict import Granted, Refused, Verdict
from dialgate.codes import NO_ERROR, Code, Winerror
from dialgate.errors import BackendUnavailable
from dialgate.sealing import Sealer
from dialgate.wire.bodies import BODIES, End, Receive, Received
from dialgate.wire.body_codec import decode_body, encode_body
from dialgate.wire.envelope import decode_frame
from dialgate.wire.fields import Body
from dialgate.wire.verbs import Verb
from tests.auth_workers.core_bench import GONE, ME, WELCOME, D, begin_body, spell_body

ANN: Final = Granted("ann")


class Desk:
    """A runner between a broker that the test plays and what its tasks do."""

    def __init__(self, conduct: Callable[[Dialog], Awaitable[Verdict]]) -> None:
        self.now = 0.0
        self.said: list[tuple[Verb, Body]] = []
        self.worker = Worker(ME, capacity=5000, links=1)
        self.runner = Runner(
            self.worker,
            conduct,
            Sealer(bytes(32)),
            self.transmit,
            clock=lambda: self.now,
            clean_up_s=0.01,
        )
        self.runner.perform(self.worker.session_opened("A", 1, WELCOME, 0.0))

    def transmit(self, _session: int, message: bytes) -> None:
        [(number, dialog, _, raw, _)], _ = decode_frame(message)
        verb = Verb(number)
        if dialog is not None:
            self.said.append((verb, decode_body(raw, BODIES[verb])))

    async def hear(self, verb: Verb, body: Body, attempt: int = 1, dialog: bytes = D) -> list[str]:
        """Hand a message over and return what was said until all tasks wait."""
        self.said.clear()
        raw = encode_body(body)
        self.runner.perform(self.worker.message(1, verb, dialog, attempt, raw, self.now))
        return await self.settle()

    async def settle(self) -> list[str]:
        for _ in range(10):
            await asyncio.sleep(0)
        return [f"{verb.name} {spell_body(body)}" for verb, body in self.said]

    async def begin(self) -> list[str]:
        return await self.hear(Verb.BEGIN, begin_body())

    async def answer(self, seq: int, data: bytes, status: Code = NO_ERROR) -> list[str]:
        return await self.hear(Verb.RECEIVED, Received(seq=seq, status=status, data=data))

    async def end(self, reason: Code = GONE) -> list[str]:
        return await self.hear(Verb.END, End(reason=reason))


@pytest.fixture
async def open_desk() -> AsyncIterator[Callable[..., Desk]]:
    desks: list[Desk] = []

    def make(conduct: Callable[[Dialog], Awaitable[Verdict]]) -> Desk:
        desks.append(Desk(conduct))
        return desks[-1]

    yield make
    for desk in desks:
        await desk.runner.close()


OpenDesk = Callable[[Callable[[Dialog], Awaitable[Verdict]]], Desk]


async def test_a_dialog_is_conducted_from_begin_to_end(open_desk: OpenDesk) -> None:
    async def conduct(dialog: Dialog) -> Verdict:
        await dialog.send(b"hello\r\n")
        name = await dialog.receive(b"login: ")
        return Granted(name.decode())

    desk = open_desk(conduct)

    assert await desk.begin() == ["SEND seq=1 'hello\\r\\n'", "RECEIVE seq=2 'login: '"]
    assert await desk.answer(2, b"ann") == ["COMPLETE success ann"]
    assert await desk.end(NO_ERROR) == ["END_REPLY ras:619"]
    assert desk.worker.open_dialogs == 0
    assert desk.runner.counts.durations[Outcome.SUCCESS].counts[0] == 1


async def test_a_question_carries_a_cookie_that_only_the_pool_reads(open_desk: OpenDesk) -> None:
    async def conduct(dialog: Dialog) -> Verdict:
        await dialog.receive(b"login: ")
        return ANN

    desk = open_desk(conduct)
    await desk.begin()
    asked = desk.said[-1][1]

    assert isinstance(asked, Receive)
    assert len(asked.cookie) > 40


async def test_a_hang_up_cancels_the_task_and_its_clean_up_runs_before_the_reply(
    open_desk: OpenDesk,
) -> None:
    order: list[str] = []

    async def conduct(dialog: Dialog) -> Verdict:
        try:
            await dialog.receive(b"login: ")
        finally:
            await asyncio.sleep(0)
            order.append(f"cleaned up after {len(desk.said)} messages")
        return ANN

    desk = open_desk(conduct)
    await desk.begin()

    assert await desk.end() == ["END_REPLY ras:619"]
    assert order == ["cleaned up after 0 messages"]
    assert desk.runner.counts.cancelled == 1
    assert sum(desk.runner.counts.replies.counts) == 1


async def test_a_task_that_will_not_end_is_not_heard_any_more(open_desk: OpenDesk) -> None:
    done = asyncio.Event()

    async def conduct(dialog: Dialog) -> Verdict:
        try:
            await dialog.receive(b"login: ")
        except asyncio.CancelledError:
            await done.wait()
        return ANN

    desk = open_desk(conduct)
    await desk.begin()
    assert await desk.end() == []

    desk.now = 2.0
    desk.runner.perform(desk.worker.tick(desk.now))
    assert await desk.settle() == ["END_REPLY ras:619"]
    desk.said.clear()
    done.set()
    assert await desk.settle() == []


@pytest.mark.parametrize(
    ("error", "code"),
    [
        pytest.param(BackendUnavailable("no answer"), "ras:645", id="back end down"),
        pytest.param(ZeroDivisionError("x"), "ras:645", id="a bug"),
        pytest.param(TimeoutError(), "win:1460", id="time-out"),
        pytest.param(DialogFault(Winerror.ERROR_BUSY.code), "win:170", id="a failed Receive"),
    ],
)
async def test_whatever_is_raised_the_verdict_is_error_and_never_failure(
    open_desk: OpenDesk, error: Exception, code: str
) -> None:
    """rashost.md, trap 8."""

    async def conduct(_dialog: Dialog) -> Verdict:
        raise error

    with capture_logs():
        assert await open_desk(conduct).begin() == [f"COMPLETE error {code}"]


async def test_a_bug_is_logged_with_its_place_and_without_its_words(open_desk: OpenDesk) -> None:
    async def conduct(dialog: Dialog) -> Verdict:
        answer = await dialog.receive(b"Password: ")
        return Granted(str(int(answer)))

    desk = open_desk(conduct)
    await desk.begin()

    with capture_logs() as logs:
        assert await desk.answer(1, b"hunter2") == ["COMPLETE error ras:645"]

    [entry] = [entry for entry in logs if entry["event"] == "authenticator failed"]
    assert "ValueError" in entry["exception"]
    assert "test_runner.py" in entry["exception"]
    assert "hunter2" not in str(logs)
    assert desk.runner.counts.failures == 1


async def test_a_receive_that_fails_at_the_port_is_an_error_with_its_code(
    open_desk: OpenDesk,
) -> None:
    told = []

    async def conduct(dialog: Dialog) -> Verdict:
        try:
            await dialog.receive(b"login: ")
        finally:
            told.append(dialog.info().last_error)
        return ANN

    desk = open_desk(conduct)
    await desk.begin()

    with capture_logs():
        failed = Winerror.ERROR_CANCELLED.code
        assert await desk.answer(1, b"", status=failed) == ["COMPLETE error win:1223"]
    assert told == [failed]


async def test_a_verdict_that_is_none_is_an_error(open_desk: OpenDesk) -> None:
    async def conduct(_dialog: Dialog) -> Verdict:
        return Granted("")

    with capture_logs():
        assert await open_desk(conduct).begin() == ["COMPLETE error win:13"]


async def test_an_end_in_a_block_that_delays_it_is_answered_0(open_desk: OpenDesk) -> None:
    """The abnormal End with answer 0: a COMPLETE follows."""
    written = asyncio.Event()

    async def conduct(dialog: Dialog) -> Verdict:
        with dialog.delayed_end():
            await written.wait()
        return ANN

    desk = open_desk(conduct)
    await desk.begin()

    assert await desk.end() == ["END_REPLY win:0"]
    desk.said.clear()
    written.set()
    assert await desk.settle() == ["COMPLETE error ras:619"]
    assert desk.worker.open_dialogs == 0


async def test_work_after_the_verdict_delays_the_normal_end(open_desk: OpenDesk) -> None:
    """The normal End with answer 0: a second COMPLETE releases the port."""
    written = asyncio.Event()

    async def work() -> None:
        await written.wait()

    async def conduct(dialog: Dialog) -> Verdict:
        dialog.after_verdict(work)
        return ANN

    desk = open_desk(conduct)

    assert await desk.begin() == ["COMPLETE success ann"]
    assert await desk.end(NO_ERROR) == ["END_REPLY win:0"]
    desk.said.clear()
    written.set()
    assert await desk.settle() == ["COMPLETE success ann"]


async def test_work_after_the_verdict_that_fails_releases_the_port_with_an_error(
    open_desk: OpenDesk,
) -> None:
    written = asyncio.Event()

    async def work() -> None:
        await written.wait()
        raise OSError("disk full")

    async def conduct(dialog: Dialog) -> Verdict:
        dialog.after_verdict(work)
        return ANN

    desk = open_desk(conduct)
    await desk.begin()
    await desk.end(NO_ERROR)
    desk.said.clear()
    written.set()

    with capture_logs():
        assert await desk.settle() == ["COMPLETE error ras:645"]


async def test_work_after_the_verdict_that_is_through_before_end_delays_nothing(
    open_desk: OpenDesk,
) -> None:
    done = []

    async def work() -> None:
        done.append(True)

    async def conduct(dialog: Dialog) -> Verdict:
        dialog.after_verdict(work)
        return ANN

    desk = open_desk(conduct)
    await desk.begin()

    assert await desk.end(NO_ERROR) == ["END_REPLY ras:619"]
    assert done == [True]


async def test_the_outcome_is_logged_once_with_the_call_and_no_secret(open_desk: OpenDesk) -> None:
    async def conduct(dialog: Dialog) -> Verdict:
        await dialog.receive(b"Password: ", charge=True)
        return Refused("ann")

    desk = open_desk(conduct)
    await desk.begin()

    with capture_logs() as logs:
        await desk.answer(1, b"hunter2")
        await desk.end(NO_ERROR)

    [entry] = logs
    assert (entry["event"], entry["outcome"], entry["user"]) == ("dialog over", "failure", "ann")
    assert (entry["site"], entry["hport"], entry["tries"]) == ("oslo", "oslo/1", 1)
    assert "hunter2" not in str(entry)


async def test_thousands_of_tasks_are_cancelled_in_slices(open_desk: OpenDesk) -> None:
    async def conduct(dialog: Dialog) -> Verdict:
        await dialog.receive(b"login: ")
        return ANN

    desk = open_desk(conduct)
    for number in range(1, 301):
        await_begin = encode_body(begin_body())
        dialog = number.to_bytes(16, "big")
        desk.runner.perform(desk.worker.message(1, Verb.BEGIN, dialog, 1, await_begin, 0.0))
    await desk.settle()

    desk.now = 600.0
    with capture_logs():
        desk.runner.perform(desk.worker.tick(desk.now))
        await asyncio.sleep(0)
        left = sum(not task.cancelling() for task, _ in desk.runner._running.values())
        await desk.settle()

    assert left == 300 - CANCELLED_PER_TURN
    assert not desk.runner._running


@pytest.mark.interpreted
async def test_a_bug_outside_the_authenticator_is_logged_and_the_dialog_can_be_ended(
    open_desk: OpenDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def conduct(_dialog: Dialog) -> Verdict:
        return ANN

    def fail(*_arguments: object) -> None:
        raise RuntimeError("no log")

    desk = open_desk(conduct)
    monkeypatch.setattr(desk.runner, "_conclude", fail)

    with capture_logs() as logs:
        assert await desk.begin() == ["COMPLETE success ann"]
    assert [entry["event"] for entry in logs] == ["authenticator failed"]
    assert await desk.end(NO_ERROR) == ["END_REPLY ras:619"]


async def test_closing_ends_every_task(open_desk: OpenDesk) -> None:
    ended = []

    async def conduct(dialog: Dialog) -> Verdict:
        try:
            await dialog.receive(b"login: ")
        finally:
            ended.append(dialog.id)
        return ANN

    desk = open_desk(conduct)
    await desk.begin()

    await desk.runner.close()

    assert ended == [D]


async def test_closing_does_not_wait_for_a_task_that_will_not_end(open_desk: OpenDesk) -> None:
    done = asyncio.Event()

    async def conduct(dialog: Dialog) -> Verdict:
        try:
            await dialog.receive(b"login: ")
        finally:
            await done.wait()
        return ANN

    desk = open_desk(conduct)
    await desk.begin()

    await desk.runner.close()

    assert len(desk.runner._running) == 1
    done.set()
    await desk.settle()


async def test_a_leave_is_passed_on(open_desk: OpenDesk) -> None:
    async def conduct(_dialog: Dialog) -> Verdict:
        return ANN

    desk = open_desk(conduct)
    desk.runner.perform(desk.worker.drain(1.0, 0.0))
    assert not desk.runner.left.is_set()

    desk.runner.perform(desk.worker.tick(1.0))

    assert desk.runner.left.is_set()
