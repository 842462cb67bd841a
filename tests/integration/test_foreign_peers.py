"""Somebody else's peers and dialgate's own programs understand each other.

What speaks here knows docs/protocol.md only (peers.py): an agent and a worker with each other
through a real broker, that agent with the real auth worker, that worker with the real port agent on
a simulated modem.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Final

import pytest

from tests.integration.peers import (
    BEGIN,
    COMPLETE,
    END,
    END_REPLY,
    FAILURE,
    FAULT,
    NO_ERROR,
    PORT_DISCONNECTED,
    RECEIVE,
    RECEIVED,
    REFUSED,
    SEND,
    SUCCESS,
    Agent,
    Cast,
    Message,
    Worker,
    pack,
)
from tests.integration.places import Place, running_place
from tests.integration.processes import (
    Broker,
    Program,
    dialgate,
    running_worker,
    wait_until,
)

REAL: Final = "real"
"""The pool of the real worker; the foreign ones serve the default pool."""
ANSWERS: Final = {b"login: ": [b"ann"], b"Password: ": [b"xyzzy"]}
INVALID_DATA: Final = ("win", 13)


# ---------------------------------------------------------------------------- with each other


async def test_two_foreign_peers_play_a_dialog_through_the_broker(cast: Cast) -> None:
    agent, worker = await cast.open_agent(), await cast.open_worker()
    serving = asyncio.create_task(worker.serve({b"ann": b"xyzzy"}))

    verdict = await agent.call("oslo/1", ANSWERS)
    begin = await serving

    assert begin.body["hport"] == "oslo/1"
    assert verdict.complete.body["msg_id"] == SUCCESS
    assert verdict.complete.body["username"] == "ann"
    assert verdict.complete.body["worker"] == worker.instance
    assert verdict.end_code == PORT_DISCONNECTED
    assert verdict.screen == b"Authorised use only\r\nlogin: Password: "


async def test_a_wrong_password_is_a_failure_and_not_an_error(cast: Cast) -> None:
    agent, worker = await cast.open_agent(), await cast.open_worker()
    serving = asyncio.create_task(worker.serve({b"ann": b"plugh"}))

    verdict = await agent.call("oslo/1", ANSWERS)
    await serving

    assert verdict.complete.body["msg_id"] == FAILURE
    assert verdict.complete.body["error"] == NO_ERROR


async def test_a_whole_dialog_may_come_in_packed_frames(cast: Cast) -> None:
    agent, worker = await cast.open_agent(), await cast.open_worker()
    dialog = await agent.begin("oslo/1")
    await worker.peer.expect(BEGIN)
    sender = {"worker": worker.instance}
    sends = [pack(SEND, dialog, 1, sender | {"seq": n, "data": b"line"}) for n in range(1, 9)]
    fields = {"msg_id": FAULT, "error": ("ras", 645), "username": "", "domain": ""}
    verdict = pack(COMPLETE, dialog, 1, sender | fields | {"attributes": {}})
    await worker.peer.send_frame(b"".join(sends) + verdict)

    arrived = [await agent.peer.next() for _ in range(9)]

    assert [message.verb for message in arrived] == [SEND] * 8 + [COMPLETE]
    assert [message.body["seq"] for message in arrived[:8]] == list(range(1, 9))


# ---------------------------------------------------------------------------- with the real worker


@pytest.fixture(scope="module")
def real_worker(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    directory = tmp_path_factory.mktemp("worker")
    with running_worker(
        directory, broker.workers, name="worker-real", insecure=True, pools=[REAL]
    ) as program:
        config = directory / "worker.toml"
        done = dialgate("users", "add", "ann", "--config", config, stdin="xyzzy\n")
        assert done.returncode == 0, done.stderr
        yield program


async def asked(agent: Agent) -> Message:
    """Return the next RECEIVE; what is shown before it is passed over."""
    while (message := await agent.peer.next()).verb == SEND:
        pass
    assert message.verb == RECEIVE, message
    return message


async def guess(agent: Agent, *words: bytes) -> list[Message]:
    """Answer the next prompts with `words`; return the RECEIVEs."""
    receives = []
    for word in words:
        receive = await asked(agent)
        await agent.received(receive, word)
        receives.append(receive)
    return receives


async def begin_elsewhere(agent: Agent, dialog: bytes, waiting: Message) -> None:
    """Begin again as if the worker that asked `waiting` were lost: with another owner."""
    await agent.begin(
        "oslo/1",
        dialog,
        2,
        pool=REAL,
        owner=bytes(16),
        seq=waiting.body["seq"],
        cookie=waiting.body["cookie"],
    )


async def test_the_real_worker_admits_who_knows_the_password(
    cast: Cast, real_worker: Program
) -> None:
    agent = await cast.open_agent()

    verdict = await agent.call("oslo/1", ANSWERS, pool=REAL)

    assert verdict.complete.body["msg_id"] == SUCCESS
    assert verdict.complete.body["error"] == NO_ERROR
    assert verdict.complete.body["username"] == "ann"
    assert verdict.end_code == PORT_DISCONNECTED
    assert verdict.screen.startswith(b"Authorised use only")


async def test_the_real_worker_echoes_names_and_hides_passwords(
    cast: Cast, real_worker: Program
) -> None:
    agent = await cast.open_agent()
    await agent.begin("oslo/1", pool=REAL)

    login, password = await guess(agent, b"ann", b"xyzzy")

    assert (login.body["prompt"], login.body["echo"]) == (b"login: ", "on")
    assert (password.body["prompt"], password.body["echo"]) == (b"Password: ", "off")
    assert login.body["worker"] == password.body["worker"]
    assert b"ann" not in password.body["cookie"], "the cookie is sealed"


async def test_the_real_worker_refuses_after_three_wrong_tries(
    cast: Cast, real_worker: Program
) -> None:
    agent = await cast.open_agent()
    wrong = {b"login: ": [b"ann", b"bob", b"ann"], b"Password: ": [b"x", b"xyzzy", b"xyzz"]}

    verdict = await agent.call("oslo/1", wrong, pool=REAL)

    assert verdict.complete.body["msg_id"] == FAILURE
    assert verdict.screen.count(b"Login incorrect") == 2
    assert verdict.complete.body["attributes"]["message"] == "Login incorrect", "the last words"


@pytest.mark.parametrize("reason", [("ras", 619), ("win", 1236)])
async def test_the_real_worker_answers_an_abnormal_end(
    reason: tuple[str, int], cast: Cast, real_worker: Program
) -> None:
    agent = await cast.open_agent()
    dialog = await agent.begin("oslo/1", pool=REAL)
    await asked(agent)

    await agent.end(dialog, reason=reason)

    reply = await agent.peer.expect(END_REPLY)
    assert (reply.dialog, reply.body["code"]) == (dialog, PORT_DISCONNECTED)


async def test_the_real_worker_goes_on_from_the_cookie_and_counts_the_tries_in_it(
    cast: Cast, real_worker: Program
) -> None:
    agent = await cast.open_agent()
    dialog = await agent.begin("oslo/1", pool=REAL)
    await guess(agent, b"ann", b"wrong", b"ann")
    await begin_elsewhere(agent, dialog, await asked(agent))

    login, password = await guess(agent, b"ann", b"wrong")

    assert (login.attempt, login.body["prompt"]) == (2, b"login: ")
    assert password.body["prompt"] == b"Password: "
    verdict = await agent.peer.expect(COMPLETE)
    assert verdict.body["msg_id"] == FAILURE, "the prompt left standing counts: it was the third"


async def test_the_real_worker_gives_no_try_more_when_it_is_killed_at_the_last(
    cast: Cast, real_worker: Program
) -> None:
    agent = await cast.open_agent()
    dialog = await agent.begin("oslo/1", pool=REAL)
    await guess(agent, b"ann", b"wrong", b"ann", b"wrong", b"ann")
    await begin_elsewhere(agent, dialog, await asked(agent))

    verdict = await agent.peer.expect(COMPLETE)

    assert verdict.body["msg_id"] == FAULT, "a lost worker is never a refusal of the user"
    assert verdict.body["error"] != NO_ERROR


async def test_the_real_worker_reattaches_its_own_dialog(cast: Cast, real_worker: Program) -> None:
    agent = await cast.open_agent()
    dialog = await agent.begin("oslo/1", pool=REAL)
    await guess(agent, b"ann")
    waiting = await asked(agent)
    agent.connect()
    await agent.open()

    await agent.begin(
        "oslo/1",
        dialog,
        2,
        pool=REAL,
        owner=waiting.body["worker"],
        seq=waiting.body["seq"],
        cookie=waiting.body["cookie"],
    )

    repeated = await asked(agent)
    assert (repeated.attempt, repeated.body["seq"]) == (2, waiting.body["seq"])
    await agent.received(repeated, b"xyzzy")
    assert (await agent.peer.expect(COMPLETE)).body["msg_id"] == SUCCESS


async def test_the_real_worker_refuses_facts_that_are_none(
    cast: Cast, real_worker: Program
) -> None:
    agent = await cast.open_agent()
    dialog = await agent.begin("oslo/1", pool=REAL, facts=b"\x93\x01\x02\x03")

    refused = await agent.peer.expect(REFUSED)

    assert (refused.dialog, refused.body["code"]) == (dialog, INVALID_DATA)


async def test_the_real_worker_ends_a_dialog_whose_answer_is_malformed(
    cast: Cast, real_worker: Program
) -> None:
    agent = await cast.open_agent()
    dialog = await agent.begin("oslo/1", pool=REAL)
    await asked(agent)
    await agent.peer.send(RECEIVED, dialog, 1, seq="one", status=0, data=7)

    verdict = await agent.peer.expect(COMPLETE)

    assert (verdict.body["msg_id"], verdict.body["error"]) == (FAULT, INVALID_DATA)


async def test_the_real_worker_serves_many_callers_at_a_time(
    cast: Cast, real_worker: Program
) -> None:
    agents = [await cast.open_agent() for _ in range(20)]

    verdicts = await asyncio.gather(
        *(agent.call(f"{agent.name}/1", ANSWERS, pool=REAL, patience_s=20) for agent in agents)
    )

    assert {verdict.complete.body["msg_id"] for verdict in verdicts} == {SUCCESS}


# ---------------------------------------------------------------------------- with the real agent


@pytest.fixture(scope="module")
def place(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with running_place(tmp_path_factory.mktemp("agent"), broker.agents) as there:
        wait_until(lambda: there.agent.status("/readyz") == 200, lambda: "no broker", 20.0)
        yield there


async def begun(worker: Worker) -> bytes:
    begin = await worker.peer.expect(BEGIN, patience_s=10.0)
    assert begin.dialog is not None
    return begin.dialog


async def test_the_real_agent_lets_a_foreign_worker_admit_a_caller(
    place: Place, cast: Cast
) -> None:
    worker = await cast.open_worker()
    async with place.call() as caller:
        serving = asyncio.create_task(worker.serve({b"ann": b"xyzzy"}, patience_s=10.0))
        await caller.sees(b"Authorised use only\r\nlogin: ")
        await caller.types(b"anx\bn\r")
        await caller.sees(b"Password: ")
        await caller.types(b"xyzzy\r")
        await caller.sees(b"the console\r\n")
        begin = await serving

        await caller.types(b"show version")
        await caller.sees(b"show version")

        assert b"xyzzy" not in caller.screen
        assert (begin.body["hport"], begin.body["pool"], begin.attempt) == ("oslo/1", "default", 1)
        assert begin.dialog is not None
        assert begin.dialog[6] >> 4 == 7, "a dialog's id is a UUIDv7"


async def test_the_real_agent_hangs_up_on_a_failure(place: Place, cast: Cast) -> None:
    worker = await cast.open_worker()
    async with place.call() as caller:
        serving = asyncio.create_task(worker.serve({}, patience_s=10.0))
        await caller.sees(b"login: ")
        await caller.types(b"ann\rxyzzy\r")

        assert await caller.is_hung_up()
        assert b"the console" not in caller.screen
        await serving


async def test_the_real_agent_waits_for_the_complete_that_a_delayed_end_owes(
    place: Place, cast: Cast
) -> None:
    worker = await cast.open_worker()
    async with place.call() as caller:
        dialog = await begun(worker)
        await worker.complete(dialog)
        assert (await worker.peer.expect(END)).body["reason"] == NO_ERROR
        await worker.end_reply(dialog, code=NO_ERROR)
        await worker.peer.settled()
        assert not caller.screen, "not handed over yet"

        await worker.complete(dialog, msg_id=FAULT)
        await caller.sees(b"the console")


async def test_the_real_agent_ends_the_dialog_of_a_caller_who_hangs_up(
    place: Place, cast: Cast
) -> None:
    worker = await cast.open_worker()
    async with place.call() as caller:
        dialog = await begun(worker)
        await worker.ask(dialog)
        await caller.sees(b"login: ")
        caller.hang_up()

        end = await worker.peer.expect(END, patience_s=10.0)
        assert end.dialog == dialog
        assert end.body["reason"] != NO_ERROR
        await worker.complete(dialog)
        await worker.end_reply(dialog)


async def test_the_real_agent_asks_again_when_the_worker_is_killed(
    place: Place, cast: Cast
) -> None:
    first, second = await cast.open_worker(), await cast.open_worker(credit=0)
    async with place.call() as caller:
        dialog = await begun(first)
        await first.ask(dialog, cookie=b"step one")
        await caller.sees(b"login: ")
        await caller.types(b"half a na")
        await second.ready(5)
        await second.peer.settled()
        first.close()

        again = await second.peer.expect(BEGIN, patience_s=10.0)
        assert (again.dialog, again.attempt) == (dialog, 2)
        assert (again.body["seq"], again.body["cookie"]) == (1, b"step one")
        assert again.body["owner"] == first.instance
        await second.ask(dialog, 2, 2, b"login again: ")
        await caller.sees(b"\r\nlogin again: ")
        await caller.types(b"ann\r")
        assert (await second.peer.expect(RECEIVED)).body["data"] == b"ann"
        await second.complete(dialog, 2)
        await second.peer.expect(END)
        await second.end_reply(dialog, 2)
        await caller.sees(b"the console")


async def test_the_real_agent_admits_nobody_by_a_verdict_that_names_nobody(
    place: Place, cast: Cast
) -> None:
    worker = await cast.open_worker()
    async with place.call() as caller:
        dialog = await begun(worker)
        await worker.complete(dialog, username="")
        await worker.peer.expect(END)
        await worker.end_reply(dialog)

        assert await caller.is_hung_up()
        assert b"the console" not in caller.screen


async def test_the_real_agent_ends_a_dialog_whose_prompt_is_malformed(
    place: Place, cast: Cast
) -> None:
    worker = await cast.open_worker()
    async with place.call() as caller:
        dialog = await begun(worker)
        await worker.ask(dialog, limit=0)

        end = await worker.peer.expect(END)
        assert end[1:] == (dialog, 1, {"reason": INVALID_DATA})
        await worker.end_reply(dialog)
        assert await caller.is_hung_up()
