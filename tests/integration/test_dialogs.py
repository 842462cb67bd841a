"""Dialogs as both ends of them see a broker process: docs/protocol.md §5 and §6.

The ports and workers are foreign (peers.py).  That nothing is sent is told by what comes instead:
inside a session nothing is reordered, so what was said before the answer to a PING has come, too.
"""

from __future__ import annotations

import time
from typing import Final, NamedTuple

import pytest

from tests.integration.peers import (
    BEGIN,
    COMPLETE,
    END,
    END_REPLY,
    ERROR,
    FAILURE,
    FAULT,
    LOST,
    NO_ERROR,
    PORT_DISCONNECTED,
    RECEIVE,
    RECEIVED,
    REFUSED,
    SEND,
    SUCCESS,
    Agent,
    Cast,
    Code,
    Message,
    Worker,
    pack,
    until,
    uuid7,
)

HEARTBEAT_S: Final = 0.2
LEASE_S: Final = 0.7
QUEUE_S: Final = 0.8
MAX_WAITING: Final = 3
BROKER_SETTINGS: Final = {
    "heartbeat_ms": int(HEARTBEAT_S * 1000),
    "end_lease_ms": int(LEASE_S * 1000),
    "queue_timeout_ms": int(QUEUE_S * 1000),
    "max_waiting": MAX_WAITING,
}
SLACK_S: Final = 1.0
"""How much later than its time something may come on a busy machine."""

DENIED: Final = ("win", 5)
BUSY: Final = ("win", 170)
ALREADY_EXISTS: Final = ("win", 183)
NO_LOGON_SERVERS: Final = ("win", 1311)
NOT_FOUND: Final = ("win", 1168)
TIMEOUT: Final = ("win", 1460)
HUNG_UP: Final = ("ras", 619)
WORKER_LOST: Final = ("ras", 645)


class Pair(NamedTuple):
    """An agent, a worker, and a dialog that is open between them."""

    agent: Agent
    worker: Worker
    dialog: bytes

    async def settle(self) -> tuple[list[Message], list[Message]]:
        """Return what both have been sent, once the broker has handled what both have said."""
        of_agent, of_worker = await self.agent.peer.settled(), await self.worker.peer.settled()
        return of_agent + await self.agent.peer.settled(), of_worker


async def begin(agent: Agent, worker: Worker, hport: str = "oslo/1", **changed: object) -> bytes:
    """Begin a dialog that `worker` is given."""
    dialog = await agent.begin(hport, **changed)  # type: ignore[arg-type]
    message = await worker.peer.expect(BEGIN)
    assert message.dialog == dialog
    return dialog


@pytest.fixture
async def pair(cast: Cast) -> Pair:
    agent, worker = await cast.open_agent(), await cast.open_worker()
    return Pair(agent, worker, await begin(agent, worker))


def says(message: Message, verb: int, dialog: bytes, code: Code, attempt: int = 1) -> bool:
    """Return whether `message` says `code` of a dialog."""
    field = "reason" if verb == END else "code"
    return message == (verb, dialog, attempt, {field: code})


# ---------------------------------------------------------------------------- a whole dialog


async def test_every_field_of_a_dialog_arrives_as_it_was_sent(pair: Pair) -> None:
    agent, worker, dialog = pair
    noise = bytes(range(256))

    await worker.show(dialog, 1, 1, noise)
    await worker.ask(dialog, 1, 2, noise, cookie=noise, echo="mask", mode="raw", limit=7)
    shown, asked = await agent.peer.expect(SEND), await agent.peer.expect(RECEIVE)
    await agent.received(asked, noise, ("win", 234))
    answered = await worker.peer.expect(RECEIVED)
    await worker.complete(dialog, attributes={"service": "console", "class": noise}, domain="n")
    verdict = await agent.peer.expect(COMPLETE)

    assert shown.body == {"worker": worker.instance, "seq": 1, "data": noise}
    assert asked.body["cookie"] == asked.body["prompt"] == noise
    assert (asked.body["mode"], asked.body["echo"], asked.body["limit"]) == ("raw", "mask", 7)
    assert answered.body == {"seq": 2, "status": ("win", 234), "data": noise}
    assert verdict.body["attributes"] == {"service": "console", "class": noise}


async def test_sealed_bodies_pass_unread(pair: Pair) -> None:
    """Protocol §7: a broker can't read SEND, RECEIVE, RECEIVED or COMPLETE, so it need not."""
    agent, worker, dialog = pair
    sealed = b"\xc1key!" + bytes(24) + b"not a map at all"
    await worker.peer.send_frame(pack(SEND, dialog, 1, sealed) + pack(RECEIVE, dialog, 1, sealed))
    await agent.peer.send_frame(pack(RECEIVED, dialog, 1, sealed))
    await worker.peer.send_frame(pack(COMPLETE, dialog, 1, sealed))

    arrived = [(await agent.peer.next())[::3] for _ in range(3)]

    assert arrived == [(verb, {"sealed": sealed}) for verb in (SEND, RECEIVE, COMPLETE)]
    assert await worker.peer.next() == (RECEIVED, dialog, 1, {"sealed": sealed})


async def test_a_code_that_is_in_no_table_is_carried_unchanged(pair: Pair) -> None:
    agent, worker, dialog = pair
    await agent.end(dialog, reason=("ras", 99_999))
    assert (await worker.peer.expect(END)).body == {"reason": ("ras", 99_999)}

    await worker.end_reply(dialog, code=("mpr", 77_777))
    assert (await agent.peer.expect(END_REPLY)).body == {"code": ("mpr", 77_777)}


async def test_refused_by_the_worker_ends_the_dialog(pair: Pair) -> None:
    agent, worker, dialog = pair
    await worker.peer.send(REFUSED, dialog, 1, code=("win", 13))

    assert says(await agent.peer.expect(REFUSED), REFUSED, dialog, ("win", 13))
    await agent.end(dialog)
    assert (await agent.peer.expect(LOST)).dialog == dialog


# ---------------------------------------------------------------------------- dispatch


async def test_a_begin_waits_for_credit_and_no_more_are_given_than_it_allows(cast: Cast) -> None:
    agent, worker = await cast.open_agent(), await cast.open_worker(credit=0)
    first, second = await agent.begin("oslo/1"), await agent.begin("oslo/2")
    await agent.peer.settled()
    assert await worker.peer.settled() == []

    await worker.ready(1)
    assert [message.dialog for message in await worker.peer.settled()] == [first]
    await worker.ready(2)
    assert [message.dialog for message in await worker.peer.settled()] == [second]


async def test_credit_never_falls(cast: Cast) -> None:
    agent, worker = await cast.open_agent(), await cast.open_worker(credit=2)
    await worker.ready(0)
    await worker.peer.settled()

    await begin(agent, worker, "oslo/1")
    await begin(agent, worker, "oslo/2")


async def test_higher_attempts_are_served_first(cast: Cast) -> None:
    agent, worker = await cast.open_agent(), await cast.open_worker(credit=0)
    await agent.begin("oslo/1")
    again = await agent.begin("oslo/2", attempt=3)
    await agent.peer.settled()

    await worker.ready(1)

    assert [message.dialog for message in await worker.peer.settled()] == [again]


async def test_the_worker_with_most_credit_left_is_asked(cast: Cast) -> None:
    agent = await cast.open_agent()
    poor, rich = await cast.open_worker(credit=1), await cast.open_worker(credit=3)

    for number in range(2):
        await begin(agent, rich, f"oslo/{number}")

    assert await poor.peer.settled() == []


async def test_of_workers_with_equal_credit_the_least_recently_used_is_asked(cast: Cast) -> None:
    agent = await cast.open_agent()
    one, other = await cast.open_worker(credit=5), await cast.open_worker(credit=5)
    for number in range(4):
        await agent.begin(f"oslo/{number}")
    await agent.peer.settled()

    assert len(await one.peer.settled()) == len(await other.peer.settled()) == 2


async def test_a_begin_goes_to_a_worker_of_its_pool_only(cast: Cast) -> None:
    agent = await cast.open_agent()
    await cast.open_worker(pools=("east",))
    west = await cast.open_worker(pools=("north", "west"))

    await begin(agent, west, pool="west")


async def test_the_owner_is_given_its_dialog_again_whatever_its_credit(cast: Cast) -> None:
    agent = await cast.open_agent()
    owner, other = await cast.open_worker(credit=0), await cast.open_worker(credit=5)

    await begin(agent, owner, attempt=2, owner=owner.instance, seq=4, cookie=b"step 4")
    assert await other.peer.settled() == []

    # That BEGIN counts: one of credit is spent before it was granted.
    await other.peer.leave()
    await owner.ready(1)
    await owner.peer.settled()
    waits = await agent.begin("oslo/2")
    assert await agent.peer.settled() == []
    assert await owner.peer.settled() == []
    await owner.ready(2)
    assert (await owner.peer.expect(BEGIN)).dialog == waits


async def test_a_worker_that_drains_is_given_nothing_new(cast: Cast) -> None:
    agent = await cast.open_agent()
    leaving, staying = await cast.open_worker(credit=9), await cast.open_worker(credit=1)
    await leaving.peer.send(6, deadline_ms=1000)
    await leaving.peer.settled()

    await begin(agent, staying)


async def test_without_a_worker_a_begin_is_refused_with_1311_when_its_time_is_over(
    cast: Cast,
) -> None:
    agent = await cast.open_agent()
    began_at = time.monotonic()
    dialog = await agent.begin("oslo/1")

    refused = await agent.peer.expect(REFUSED, QUEUE_S + SLACK_S)

    assert says(refused, REFUSED, dialog, NO_LOGON_SERVERS)
    assert time.monotonic() - began_at >= QUEUE_S * 0.9


async def test_admission_refuses_with_170_at_once(cast: Cast) -> None:
    agent = await cast.open_agent()
    for number in range(MAX_WAITING):
        await agent.begin(f"oslo/{number}")
    assert await agent.peer.settled() == []

    one_too_many = await agent.begin("oslo/99")
    assert [m for m in await agent.peer.settled() if says(m, REFUSED, one_too_many, BUSY)]

    for number in range(MAX_WAITING):
        await agent.begin(f"oslo/1{number}", attempt=2)
    assert await agent.peer.settled() == [], "begun again, up to twice as many wait"

    two_too_many = await agent.begin("oslo/98", attempt=2)
    (refused,) = await agent.peer.settled()
    assert says(refused, REFUSED, two_too_many, BUSY, attempt=2)


@pytest.mark.parametrize(
    "changed",
    [{"hport": ""}, {"hport": "p" * 129}, {"pool": ""}, {"owner": bytes(17)}],
    ids=str,
)
async def test_a_begin_that_the_broker_cannot_read_is_refused_with_13(
    changed: dict[str, object], cast: Cast
) -> None:
    agent, worker = await cast.open_agent(), await cast.open_worker()
    dialog = await agent.begin(**{"hport": "oslo/1", **changed})  # type: ignore[arg-type]

    (refused,) = await agent.peer.settled()

    assert says(refused, REFUSED, dialog, ("win", 13))
    assert await worker.peer.settled() == []


# ---------------------------------------------------------------------------- fencing


async def test_a_message_of_another_worker_gets_lost_and_goes_no_further(
    pair: Pair, cast: Cast
) -> None:
    thief = await cast.open_worker()
    await thief.show(pair.dialog, 1, 1, b"Card number: ")
    await thief.ask(pair.dialog)
    await thief.complete(pair.dialog)

    answers = await thief.peer.settled()

    assert [(m.verb, m.dialog, m.attempt) for m in answers] == [(LOST, pair.dialog, 1)] * 3
    assert await pair.agent.peer.settled() == []


@pytest.mark.parametrize("attempt", [1, 3])
async def test_a_message_of_another_attempt_gets_lost_and_goes_no_further(
    attempt: int, cast: Cast
) -> None:
    agent, worker = await cast.open_agent(), await cast.open_worker()
    dialog = await begin(agent, worker, attempt=2)
    await worker.complete(dialog, attempt)

    (lost,) = await worker.peer.settled()

    assert (lost.verb, lost.dialog, lost.attempt) == (LOST, dialog, attempt)
    assert await agent.peer.settled() == []


async def test_begun_again_the_former_owner_hears_end_with_the_old_attempt(
    pair: Pair, cast: Cast
) -> None:
    agent, former, dialog = pair
    heir = await cast.open_worker(credit=50)
    await agent.begin("oslo/1", dialog, 2, owner=b"", seq=1, cookie=b"step 1")

    assert (await heir.peer.expect(BEGIN))[:3] == (BEGIN, dialog, 2)
    assert says(await former.peer.expect(END), END, dialog, HUNG_UP, attempt=1)
    await former.complete(dialog, 1)
    assert [m.verb for m in await former.peer.settled()] == [LOST]
    assert await agent.peer.settled() == []


async def test_a_begin_of_an_attempt_that_was_here_is_dropped(pair: Pair) -> None:
    await pair.agent.begin("oslo/1", pair.dialog, 1)

    assert await pair.settle() == ([], [])


async def test_a_late_answer_is_not_forwarded_to_a_new_attempt(pair: Pair) -> None:
    agent, worker, dialog = pair
    await worker.ask(dialog)
    asked = await agent.peer.expect(RECEIVE)
    await agent.begin("oslo/1", dialog, 2, owner=worker.instance)
    await worker.peer.expect(BEGIN)

    await agent.received(asked, b"ann")

    assert await pair.settle() == ([], [])


async def test_another_agents_dialog_can_be_neither_ended_nor_answered_nor_begun(
    pair: Pair, cast: Cast
) -> None:
    thief = await cast.open_agent()
    await pair.worker.ask(pair.dialog)
    asked = await pair.agent.peer.expect(RECEIVE)
    await thief.end(pair.dialog)
    await thief.received(asked, b"ann")
    await thief.begin("oslo/1", pair.dialog, 2)

    answers = await thief.peer.settled()

    assert [(m.verb, m.body["code"]) for m in answers] == [(ERROR, DENIED)] * 3
    assert await pair.settle() == ([], [])


async def test_a_dialog_stays_with_its_hport(pair: Pair) -> None:
    await pair.agent.begin("oslo/2", pair.dialog, 2)

    of_agent, of_worker = await pair.settle()

    assert [(m.verb, m.body["code"]) for m in of_agent] == [(ERROR, DENIED)]
    assert of_worker == []


async def test_a_second_agent_with_a_known_hport_is_served_and_told_once(
    pair: Pair, cast: Cast
) -> None:
    later = await cast.open_agent()
    for _ in range(2):
        dialog = await later.begin("oslo/1")
        assert (await pair.worker.peer.expect(BEGIN)).dialog == dialog
        await later.end(dialog, reason=HUNG_UP)
        await pair.worker.peer.expect(END)
        await pair.worker.end_reply(dialog)
        await pair.worker.peer.settled()

    told = [m.body["code"] for m in await later.peer.settled() if m.verb == ERROR]
    assert told == [ALREADY_EXISTS]
    assert await pair.agent.peer.settled() == [], "the first agent's dialog goes on"


# ---------------------------------------------------------------------------- HPORT reuse


async def test_a_late_verdict_and_a_late_prompt_never_reach_the_next_call(pair: Pair) -> None:
    agent, worker, old = pair
    await agent.end(old, reason=HUNG_UP)
    await worker.peer.expect(END)
    await worker.end_reply(old)
    await agent.peer.expect(END_REPLY)
    new = await begin(agent, worker)

    await worker.ask(old)
    await worker.complete(old)
    of_agent, of_worker = await pair.settle()

    assert of_agent == []
    assert [(m.verb, m.dialog) for m in of_worker] == [(LOST, old)] * 2
    await worker.complete(new)
    assert (await agent.peer.expect(COMPLETE)).dialog == new


async def test_the_next_call_on_a_port_ends_the_call_before_it(pair: Pair) -> None:
    """Nobody sent END for the old dialog: its owner must hear of it all the same."""
    agent, worker, old = pair
    new = await agent.begin("oslo/1")
    await agent.peer.settled()

    arrived = await worker.peer.settled()
    assert any(says(message, END, old, HUNG_UP) for message in arrived)
    assert (BEGIN, new) in [message[:2] for message in arrived]
    await worker.complete(old)
    await worker.end_reply(old)
    assert await agent.peer.settled() == []


# ---------------------------------------------------------------------------- END


@pytest.mark.parametrize("reason", [NO_ERROR, HUNG_UP], ids=["normal", "abnormal"])
async def test_end_answered_nonzero_terminates_and_owes_no_complete(
    reason: Code, pair: Pair
) -> None:
    agent, worker, dialog = pair
    if reason == NO_ERROR:
        await worker.complete(dialog)
        await agent.peer.expect(COMPLETE)
    await agent.end(dialog, reason=reason)
    assert says(await worker.peer.expect(END), END, dialog, reason)
    await worker.end_reply(dialog)
    assert says(await agent.peer.expect(END_REPLY), END_REPLY, dialog, PORT_DISCONNECTED)

    await worker.complete(dialog)

    of_agent, of_worker = await pair.settle()
    assert of_agent == []
    assert [(m.verb, m.dialog) for m in of_worker] == [(LOST, dialog)]


@pytest.mark.parametrize("reason", [NO_ERROR, HUNG_UP], ids=["normal", "abnormal"])
async def test_end_answered_zero_is_delayed_until_a_complete(reason: Code, pair: Pair) -> None:
    agent, worker, dialog = pair
    if reason == NO_ERROR:
        await worker.complete(dialog)
        await agent.peer.expect(COMPLETE)
    await agent.end(dialog, reason=reason)
    await worker.peer.expect(END)
    await worker.end_reply(dialog, code=NO_ERROR)
    assert says(await agent.peer.expect(END_REPLY), END_REPLY, dialog, NO_ERROR)

    await worker.complete(dialog, msg_id=FAULT)
    assert (await agent.peer.expect(COMPLETE)).body["msg_id"] == FAULT

    await worker.complete(dialog)
    of_agent, of_worker = await pair.settle()
    assert of_agent == [], "one Complete was owed"
    assert [m.verb for m in of_worker] == [LOST]


@pytest.mark.parametrize("delayed", [False, True], ids=["unanswered", "delayed"])
async def test_the_lease_bounds_an_end(delayed: bool, pair: Pair) -> None:
    agent, worker, dialog = pair
    ended_at = time.monotonic()
    await agent.end(dialog, reason=HUNG_UP)
    await worker.peer.expect(END)
    if delayed:
        await worker.end_reply(dialog, code=NO_ERROR)
        await agent.peer.expect(END_REPLY)

    over = await agent.peer.expect(END_REPLY, LEASE_S + SLACK_S)

    assert says(over, END_REPLY, dialog, TIMEOUT)
    assert time.monotonic() - ended_at >= LEASE_S * 0.9
    assert says(await worker.peer.expect(LOST), LOST, dialog, TIMEOUT)
    await worker.complete(dialog)
    assert await agent.peer.settled() == []


async def test_end_before_complete_lets_no_verdict_through(pair: Pair) -> None:
    agent, worker, dialog = pair
    await agent.end(dialog, reason=HUNG_UP)
    await agent.peer.settled()

    await worker.complete(dialog)
    assert [m.verb for m in await worker.peer.settled()] == [END]
    assert await agent.peer.settled() == []

    await worker.end_reply(dialog)
    await agent.peer.expect(END_REPLY)


async def test_complete_before_end_makes_the_end_a_clean_up(pair: Pair) -> None:
    agent, worker, dialog = pair
    await worker.complete(dialog, msg_id=FAILURE)
    await worker.peer.settled()
    await agent.end(dialog)

    assert (await agent.peer.expect(COMPLETE)).body["msg_id"] == FAILURE
    assert says(await worker.peer.expect(END), END, dialog, NO_ERROR)
    await worker.end_reply(dialog)
    await agent.peer.expect(END_REPLY)


async def test_an_abnormal_end_that_crosses_a_complete_is_forwarded_as_it_is(pair: Pair) -> None:
    agent, worker, dialog = pair
    await worker.complete(dialog, msg_id=SUCCESS)
    await worker.peer.settled()
    await agent.end(dialog, reason=HUNG_UP)

    assert says(await worker.peer.expect(END), END, dialog, HUNG_UP)
    await worker.end_reply(dialog)
    assert [m.verb for m in (await pair.settle())[0]] == [COMPLETE, END_REPLY]


async def test_only_the_first_end_counts(pair: Pair) -> None:
    agent, worker, dialog = pair
    await agent.end(dialog, reason=HUNG_UP)
    await agent.end(dialog)
    await agent.peer.settled()

    assert [m.body["reason"] for m in await worker.peer.settled()] == [HUNG_UP]


async def test_an_end_reply_before_an_end_is_dropped(pair: Pair) -> None:
    await pair.worker.end_reply(pair.dialog)

    assert await pair.settle() == ([], [])


async def test_end_of_a_dialog_that_waits_is_answered_by_the_broker(cast: Cast) -> None:
    agent = await cast.open_agent()
    dialog = await agent.begin("oslo/1")
    await agent.end(dialog, reason=HUNG_UP)

    (reply,) = await agent.peer.settled()

    assert says(reply, END_REPLY, dialog, PORT_DISCONNECTED)


async def test_end_of_an_unknown_dialog_gets_lost(cast: Cast) -> None:
    agent, dialog = await cast.open_agent(), uuid7()
    await agent.end(dialog, 4)

    (lost,) = await agent.peer.settled()

    assert says(lost, LOST, dialog, NOT_FOUND, attempt=4)


async def test_end_of_a_lower_attempt_is_answered_and_changes_nothing(cast: Cast) -> None:
    agent, worker = await cast.open_agent(), await cast.open_worker()
    dialog = await begin(agent, worker, attempt=2)
    await agent.end(dialog, 1, HUNG_UP)

    (reply,) = await agent.peer.settled()

    assert says(reply, END_REPLY, dialog, PORT_DISCONNECTED, attempt=1)
    await worker.complete(dialog, 2)
    assert (await agent.peer.expect(COMPLETE)).attempt == 2


# ---------------------------------------------------------------------------- losses


@pytest.mark.parametrize("how", ["killed", "silent", "bye"])
async def test_of_a_lost_worker_the_agent_hears_lost_and_begins_again_elsewhere(
    how: str, pair: Pair, cast: Cast
) -> None:
    agent, worker, dialog = pair
    if how == "bye":
        await worker.peer.leave()
    elif how == "silent":
        worker.peer.muted = True
    else:
        worker.close()

    lost = await agent.peer.expect(LOST, 4 * HEARTBEAT_S + SLACK_S)
    assert says(lost, LOST, dialog, WORKER_LOST)

    heir = await cast.open_worker()
    await agent.begin("oslo/1", dialog, 2, owner=worker.instance, seq=3, cookie=b"step 3")
    begun = await heir.peer.expect(BEGIN)
    assert (begun.dialog, begun.attempt) == (dialog, 2)
    assert (begun.body["seq"], begun.body["cookie"]) == (3, b"step 3")


async def test_of_a_worker_lost_after_end_the_agent_hears_end_reply(pair: Pair) -> None:
    agent, worker, dialog = pair
    await agent.end(dialog)
    await worker.peer.expect(END)
    await worker.peer.leave()

    assert says(await agent.peer.expect(END_REPLY), END_REPLY, dialog, WORKER_LOST)


@pytest.mark.parametrize("how", ["killed", "silent"])
async def test_of_a_lost_agent_the_worker_hears_end(how: str, pair: Pair) -> None:
    agent, worker, dialog = pair
    if how == "silent":
        agent.peer.muted = True
    else:
        agent.close()

    end = await worker.peer.expect(END, 4 * HEARTBEAT_S + SLACK_S)

    assert says(end, END, dialog, HUNG_UP)


@pytest.mark.parametrize("how", ["bye", "hello"])
async def test_of_an_agent_that_left_or_came_again_the_worker_hears_lost(
    how: str, pair: Pair
) -> None:
    agent, worker, dialog = pair
    if how == "bye":
        await agent.peer.leave()
    else:
        agent.connect()
        await agent.open()

    assert says(await worker.peer.expect(LOST), LOST, dialog, HUNG_UP)


async def test_a_dialog_goes_on_at_an_agents_new_session_with_the_next_attempt(
    pair: Pair,
) -> None:
    agent, worker, dialog = pair
    agent.connect()
    await agent.open()
    await worker.peer.expect(LOST)

    await agent.begin("oslo/1", dialog, 2, owner=worker.instance, seq=2, cookie=b"step 2")

    assert (await worker.peer.expect(BEGIN))[:3] == (BEGIN, dialog, 2)
    await worker.ask(dialog, 2, 3)
    assert (await agent.peer.expect(RECEIVE)).body["seq"] == 3


async def test_a_begin_waits_for_its_owner_to_come_back(cast: Cast) -> None:
    """§5: when the instance in `owner` is welcomed, it is given what waits, without any credit."""
    agent, owner = await cast.open_agent(), cast.worker()
    dialog = await agent.begin("oslo/1", attempt=2, owner=owner.instance)
    await agent.peer.settled()

    await owner.open()

    assert (await owner.peer.expect(BEGIN)).dialog == dialog


async def test_a_broker_serves_many_dialogs_at_a_time(cast: Cast) -> None:
    agent, worker = await cast.open_agent(), await cast.open_worker(credit=300)
    dialogs = [await agent.begin(f"oslo/{number}") for number in range(300)]
    await until(lambda: worker.peer.inbox.qsize() == 300, "all dialogs at the worker")
    begun = [await worker.peer.expect(BEGIN) for _ in dialogs]
    for message in begun:
        assert message.dialog is not None
        await worker.complete(message.dialog)
    verdicts = [await agent.peer.expect(COMPLETE) for _ in dialogs]

    assert [message.dialog for message in begun] == dialogs
    assert [message.dialog for message in verdicts] == dialogs
