"""Sessions as anybody meets them: docs/protocol.md §3 against a broker process.

Every sentence of that section that can be seen from outside is a test here.  Malformed frames are
in test_hostile_frames.py, what becomes of dialogs in test_dialogs.py, keys in test_curve.py.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any, Final

import pytest

from tests.integration import peers
from tests.integration.peers import (
    BEGIN,
    BYE,
    COMMAND,
    COMMANDED,
    COMPLETE,
    DRAIN,
    END,
    END_REPLY,
    ERROR,
    HELLO,
    LINES,
    LOST,
    NO_ERROR,
    PING,
    PONG,
    READY,
    RECEIVE,
    RECEIVED,
    RECORD,
    RECORDED,
    REFUSED,
    SEND,
    WELCOME,
    Cast,
    Player,
    pack,
    until,
    uuid7,
)
from tests.integration.processes import Broker, running_broker

HEARTBEAT_MS: Final = 200
HEARTBEAT_S: Final = HEARTBEAT_MS / 1000
BROKER_SETTINGS: Final = {
    "heartbeat_ms": HEARTBEAT_MS,
    "end_lease_ms": 700,
    "queue_timeout_ms": 800,
}
SLACK_S: Final = 1.0
"""How much later than its time something may come on a busy machine."""

DENIED: Final = ("win", 5)
INVALID_DATA: Final = ("win", 13)
NOT_SUPPORTED: Final = ("win", 50)
BUSY: Final = ("win", 170)
ALREADY_EXISTS: Final = ("win", 183)
NOT_FOUND: Final = ("win", 1168)
STOPPED: Final = ("win", 1226)

ROLES: Final = ("agent", "worker")


def player(cast: Cast, role: str, name: str = "") -> Player:
    return cast.agent(name) if role == "agent" else cast.worker(name)


async def refusal(player: Player, **changed: Any) -> peers.Code:
    """Say HELLO, with fields `changed`; return the code of the ERROR that answers it."""
    answer = await player.say_hello(**changed)
    assert (answer.verb, answer.dialog, answer.attempt) == (ERROR, None, 0), answer
    assert 0 < len(answer.body["text"]) <= 512
    code: peers.Code = answer.body["code"]
    return code


async def has_session(player: Player) -> bool:
    """Return whether the broker takes this connection for a session."""
    await player.peer.send(PING, sent_ms=77)
    answer = await player.peer.next()
    if answer[:2] == (LOST, None):
        return False
    assert answer == (PONG, None, 0, {"sent_ms": 77})
    return True


# ---------------------------------------------------------------------------- HELLO


@pytest.mark.parametrize("role", ROLES)
async def test_welcome_states_the_brokers_numbers(role: str, cast: Cast) -> None:
    welcome = await player(cast, role).open()

    assert welcome[1:3] == (None, 0)
    assert len(welcome.body.pop("instance")) == 16
    assert welcome.body == {
        "protocol": 1,
        "name": "broker-1",
        "frame_bytes_max": 64 * 1024,
        "body_bytes_max": 16 * 1024,
        **BROKER_SETTINGS,
    }


@pytest.mark.parametrize("role", ROLES)
async def test_all_brokers_sessions_carry_one_instance(role: str, cast: Cast) -> None:
    one, other = await cast.agent().open(), await player(cast, role).open()

    assert one.body["instance"] == other.body["instance"]


@pytest.mark.parametrize("role", ROLES)
async def test_another_protocol_is_refused_with_50(role: str, cast: Cast) -> None:
    one = player(cast, role)

    assert await refusal(one, protocol=2) == NOT_SUPPORTED
    assert not await has_session(one)


@pytest.mark.parametrize("role", ROLES)
async def test_another_protocol_is_refused_though_its_hello_has_other_fields(
    role: str, cast: Cast
) -> None:
    one = player(cast, role)
    await one.peer.send(HELLO, protocol=9, caller="me")

    assert (await one.peer.expect(ERROR)).body["code"] == NOT_SUPPORTED


@pytest.mark.parametrize("role", ROLES)
async def test_a_role_at_the_other_roles_socket_is_refused_with_5(role: str, cast: Cast) -> None:
    agent, worker = cast.agent(), cast.worker()
    one, other = (agent, worker) if role == "agent" else (worker, agent)

    assert await refusal(one, **other.hello()) == DENIED
    assert not await has_session(one)


@pytest.mark.parametrize(
    "changed",
    [
        {"name": ""},
        {"name": "n" * 65},
        {"name": "a\x1b[2J"},
        {"instance": b"short"},
        {"session": 0},
        {"session": 2**63},
        {"session": "1"},
        {"version": "v" * 513},
        {"protocol": "1"},
        {"role": "operator"},
    ],
)
@pytest.mark.parametrize("role", ROLES)
async def test_a_hello_with_a_field_out_of_its_range_opens_nothing(
    role: str, changed: dict[str, Any], cast: Cast
) -> None:
    one = player(cast, role)

    assert await refusal(one, **changed) == INVALID_DATA
    assert not await has_session(one)


async def test_an_agent_says_its_site_and_a_worker_its_capacity(cast: Cast) -> None:
    for one, field in ((cast.agent(), "site"), (cast.worker(), "capacity")):
        hello = one.hello()
        del hello[field]
        await one.peer.send(HELLO, **hello)

        assert (await one.peer.expect(ERROR)).body["code"] == INVALID_DATA


@pytest.mark.parametrize("role", ROLES)
async def test_a_refused_connection_may_say_a_better_hello(role: str, cast: Cast) -> None:
    one = player(cast, role)

    assert await refusal(one, protocol=2) == NOT_SUPPORTED
    assert (await one.open()).verb == WELCOME


@pytest.mark.parametrize("role", ROLES)
async def test_a_second_hello_on_a_connection_is_refused_with_183(role: str, cast: Cast) -> None:
    one = player(cast, role)
    await one.open()

    assert await refusal(one) == ALREADY_EXISTS
    assert await has_session(one), "the first session goes on"


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("session", [4, 5])
async def test_the_same_instance_must_come_with_a_higher_session(
    role: str, session: int, cast: Cast
) -> None:
    one = player(cast, role)
    one.session = 4
    await one.open()
    first = one.peer
    one.connect()

    assert await refusal(one, session=session) == ALREADY_EXISTS
    assert await first.settled() == [], "the older session goes on"


@pytest.mark.parametrize("role", ROLES)
async def test_a_higher_session_of_the_same_instance_ends_the_older(role: str, cast: Cast) -> None:
    one = player(cast, role)
    await one.open()
    older = one.peer
    one.connect()
    await one.open()

    await older.send(PING, sent_ms=1)
    assert (await older.next())[:3] == (LOST, None, 0)
    assert await has_session(one)


@pytest.mark.parametrize("role", ROLES)
async def test_a_session_number_is_used_up_though_its_session_is_over(
    role: str, cast: Cast
) -> None:
    one = player(cast, role)
    await one.open()
    await one.peer.leave()
    one.connect()

    assert await refusal(one, session=1) == ALREADY_EXISTS
    assert (await one.open()).verb == WELCOME


@pytest.mark.parametrize("role", ROLES)
async def test_another_process_under_a_name_in_use_is_refused_with_170(
    role: str, cast: Cast
) -> None:
    old = player(cast, role, "one-name")
    await old.open()
    new = player(cast, role, "one-name")

    assert await refusal(new) == BUSY
    assert old.peer.pings > 0, "whether the old lives was asked"
    assert await has_session(old)
    assert not await has_session(new)


@pytest.mark.parametrize("role", ROLES)
async def test_another_process_is_welcomed_within_a_heartbeat_when_the_old_is_dead(
    role: str, cast: Cast
) -> None:
    old = player(cast, role, "one-name")
    await old.open()
    old.peer.muted = True
    new = player(cast, role, "one-name")

    started_at = time.monotonic()
    await new.open()

    assert time.monotonic() - started_at < 2 * HEARTBEAT_S + SLACK_S
    assert not await has_session(old)
    assert await has_session(new)


@pytest.mark.parametrize("role", ROLES)
async def test_another_process_is_welcomed_when_the_old_one_was_killed(
    role: str, cast: Cast
) -> None:
    old = player(cast, role, "one-name")
    await old.open()
    old.close()

    await player(cast, role, "one-name").open()


@pytest.mark.parametrize("role", ROLES)
async def test_a_third_process_is_refused_while_a_name_is_contested(role: str, cast: Cast) -> None:
    old, new, third = (player(cast, role, "one-name") for _ in range(3))
    await old.open()
    old.peer.muted = True
    await new.peer.send(HELLO, **new.hello())
    await until(lambda: old.peer.pings > 0, "the question whether the old one lives")

    assert await refusal(third) == BUSY
    await new.peer.expect(WELCOME)


@pytest.mark.parametrize("role", ROLES)
async def test_an_instance_has_one_name(role: str, cast: Cast) -> None:
    one, other = player(cast, role, "north"), player(cast, role, "south")
    await one.open()

    assert await refusal(other, instance=one.instance, session=9) == ALREADY_EXISTS
    assert await has_session(one)


async def test_an_agent_and_a_worker_may_have_the_same_name(cast: Cast) -> None:
    await cast.agent("north").open()
    await cast.worker("north").open()


# ---------------------------------------------------------------------------- no session


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(
    "frame",
    [
        pytest.param(pack(PING, body={"sent_ms": 1}), id="PING"),
        pytest.param(pack(READY, body={"credit": 5}), id="READY"),
        pytest.param(pack(BYE, body={"code": 0}), id="BYE"),
        pytest.param(pack(END, uuid7(), 1, {"reason": 0}), id="END"),
        pytest.param(pack(200), id="unknown verb"),
        pytest.param(pack(PING, body={"sent_ms": 1}) + pack(200), id="two messages"),
    ],
)
async def test_a_frame_without_a_session_is_answered_lost_with_nil_dialog(
    frame: bytes, role: str, cast: Cast
) -> None:
    one = player(cast, role)
    await one.peer.send_frame(frame)

    lost = await one.peer.next()

    assert (lost.verb, lost.dialog, lost.attempt) == (LOST, None, 0)
    assert lost.body["code"] == NOT_FOUND


async def test_a_begin_without_a_session_reaches_no_worker(cast: Cast) -> None:
    worker = await cast.open_worker(pools=("quiet",))
    agent = cast.agent()
    await agent.begin("oslo/1", pool="quiet")

    assert (await agent.peer.next())[:2] == (LOST, None)
    assert await worker.peer.settled() == []


async def test_what_follows_hello_in_its_frame_belongs_to_the_session(cast: Cast) -> None:
    worker = cast.worker()
    hello, ready = pack(HELLO, body=worker.hello()), pack(READY, body={"credit": 1})
    await worker.peer.send_frame(hello + ready + pack(PING, body={"sent_ms": 5}))

    await worker.peer.expect(WELCOME)
    assert (await worker.peer.expect(PONG)).body == {"sent_ms": 5}


# ---------------------------------------------------------------------------- life and silence


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("sent_ms", [1, 0xFFFFFFFF, 2**64 - 1, -(2**63)])
async def test_pong_echoes_any_integer(role: str, sent_ms: int, cast: Cast) -> None:
    one = player(cast, role)
    await one.open()
    await one.peer.send(PING, sent_ms=sent_ms)

    assert await one.peer.next() == (PONG, None, 0, {"sent_ms": sent_ms})


@pytest.mark.parametrize("role", ROLES)
async def test_a_broker_that_has_sent_nothing_for_a_heartbeat_sends_ping(
    role: str, cast: Cast
) -> None:
    one = player(cast, role)
    await one.open()
    one.peer.muted = True

    await until(lambda: one.peer.pings > 0, "a PING", HEARTBEAT_S + SLACK_S)


@pytest.mark.parametrize("role", ROLES)
async def test_three_heartbeats_of_silence_end_a_session(
    role: str, cast: Cast, broker: Broker
) -> None:
    one = player(cast, role)
    await one.open()
    one.peer.muted = True
    before = broker.metric("dialgate_broker_session_losses_total", role=role, reason="silence")
    silent_since = time.monotonic()

    await until(
        lambda: (
            broker.metric("dialgate_broker_session_losses_total", role=role, reason="silence")
            > before
        ),
        "the session's loss",
        3 * HEARTBEAT_S + SLACK_S,
    )

    assert time.monotonic() - silent_since > 2.5 * HEARTBEAT_S
    assert not await has_session(one)


@pytest.mark.parametrize("role", ROLES)
async def test_any_frame_is_a_sign_of_life(role: str, cast: Cast) -> None:
    one = player(cast, role)
    await one.open()
    one.peer.muted = True

    # The broker's PINGs pace this: five of them take longer than three heartbeats.
    for pings in range(5):
        await until(lambda pings=pings: one.peer.pings > pings, "another PING")  # type: ignore[misc]
        await one.peer.send_frame(pack(200))

    assert await has_session(one)


@pytest.mark.parametrize("role", ROLES)
async def test_bye_ends_a_session(role: str, cast: Cast) -> None:
    one = player(cast, role)
    await one.open()
    await one.peer.send(BYE, code=("ras", 619))

    assert not await has_session(one)


@pytest.mark.parametrize("agents_move", [True, False])
async def test_a_broker_that_stops_sends_drain_to_agents_and_bye_to_all(
    agents_move: bool, tmp_path: Path
) -> None:
    with running_broker(tmp_path, heartbeat_ms=HEARTBEAT_MS) as broker:
        async with peers.stage(broker.agents, broker.workers) as guests:
            agent, worker = await guests.open_agent(), await guests.open_worker()

            broker.drain()
            drain = await agent.peer.expect(DRAIN)
            dialog = await agent.begin("oslo/1")
            assert (await worker.peer.expect(BEGIN)).dialog == dialog, "BEGINs are still served"
            if agents_move:
                await agent.peer.send(BYE, code=NO_ERROR)
                await worker.peer.expect(LOST)
            else:
                broker.send(signal.SIGINT)
                assert (await agent.peer.expect(BYE)).body["code"] == STOPPED
                assert (await worker.peer.expect(END)).dialog == dialog
            await worker.peer.expect(BYE)

            assert 0 <= drain.body["deadline_ms"] <= 60_000
            await until(lambda: not broker.is_running, "the end of the broker")
            assert (broker.stop() == 0) == agents_move


# ---------------------------------------------------------------------------- verbs

NOT_FOR_AGENTS: Final = {
    WELCOME: {},
    READY: {"credit": 5},
    DRAIN: {"deadline_ms": 1},
    ERROR: {"code": 0, "text": ""},
    COMMAND: {},
    RECORDED: {"records": []},
    REFUSED: {"code": DENIED},
    SEND: {},
    RECEIVE: {},
    COMPLETE: {},
    END_REPLY: {"code": DENIED},
    LOST: {"code": DENIED},
}
NOT_FOR_WORKERS: Final = {
    WELCOME: {},
    ERROR: {"code": 0, "text": ""},
    LINES: {"lines": [], "complete": True},
    COMMAND: {},
    COMMANDED: {"id": bytes(16), "code": 0},
    RECORD: {},
    RECORDED: {"records": []},
    BEGIN: {},
    RECEIVED: {"seq": 1, "status": 0, "data": b""},
    END: {"reason": 0},
    LOST: {"code": DENIED},
}


@pytest.mark.parametrize(
    ("role", "verb", "body"),
    [("agent", verb, body) for verb, body in NOT_FOR_AGENTS.items()]
    + [("worker", verb, body) for verb, body in NOT_FOR_WORKERS.items()],
)
async def test_a_verb_that_a_role_may_not_use_gets_error_5(
    role: str, verb: int, body: dict[str, Any], cast: Cast
) -> None:
    one = player(cast, role)
    await one.open()
    dialog, attempt = (uuid7(), 1) if verb >= BEGIN else (None, 0)
    await one.peer.send(verb, dialog, attempt, **body)

    (error,) = await one.peer.settled()

    assert (error.verb, error.dialog, error.attempt) == (ERROR, None, 0)
    assert error.body["code"] == DENIED


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("verb", [0, 14, 15, 25, 31, 32, 127, 128, 2**32, 2**64 - 1])
async def test_an_unknown_verb_is_ignored(role: str, verb: int, cast: Cast) -> None:
    one = player(cast, role)
    await one.open()
    await one.peer.send(verb, new=os.urandom(8))
    await one.peer.send(verb, uuid7(), 3)

    assert await one.peer.settled() == []


@pytest.mark.parametrize("role", ROLES)
async def test_unknown_keys_of_a_body_are_ignored(role: str, cast: Cast) -> None:
    one = player(cast, role)

    assert (await one.say_hello(colour="green")).verb == WELCOME
    await one.peer.send(PING, sent_ms=3, colour="green")
    assert (await one.peer.next()).body == {"sent_ms": 3}


async def test_lines_of_an_agent_are_shown_to_operators(cast: Cast, broker: Broker) -> None:
    agent = await cast.open_agent()
    line = {"hport": "oslo/7", "state": "quarantined", "reason": "no dial tone", "since_ms": 1500}
    await agent.peer.send(LINES, lines=[line], complete=True)

    assert await agent.peer.settled() == []
    status, ports = broker.get("/api/v1/ports")
    assert status == 200
    assert "quarantined" in ports
    assert "no dial tone" in ports
