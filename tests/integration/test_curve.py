"""Who gets in where there are keys: docs/protocol.md §7 against broker processes with CURVE.

The keys are those that `dialgate keys` makes; the clients are foreign (peers.py).
"""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import zmq
import zmq.asyncio
from zmq.utils.monitor import recv_monitor_message

from tests.integration import peers
from tests.integration.peers import (
    BEGIN,
    BYE,
    COMPLETE,
    END,
    ERROR,
    HELLO,
    LOST,
    PATIENCE_S,
    REFUSED,
    SEND,
    SUCCESS,
    Agent,
    Cast,
    Keys,
    NobodyThereError,
    Player,
    Worker,
)
from tests.integration.processes import (
    Broker,
    dialgate,
    running_broker,
    running_worker,
    write_broker_config,
)

DENIED: Final = ("win", 5)
OVER: Final = {
    zmq.EVENT_HANDSHAKE_FAILED_AUTH,
    zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL,
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL,
    zmq.EVENT_DISCONNECTED,
}
SHUT_OUT_S: Final = 0.4
"""How long nobody answers until that counts as being shut out."""


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with the `keys` of a small cluster, made as operators make them."""
    directory = tmp_path_factory.mktemp("curve")
    rights = ["--site", "oslo", "--hports", "oslo/*"]
    for words in (
        ["init"],
        ["new", "broker", "broker-1"],
        ["new", "worker", "worker-1"],
        ["new", "agent", "oslo-1", *rights],
        ["new", "agent", "oslo-2", *rights],
    ):
        done = dialgate("keys", *words, "--directory", directory / "keys")
        assert done.returncode == 0, done.stderr
    return directory


@pytest.fixture(scope="module")
def broker(house: Path) -> Iterator[Broker]:
    with running_broker(house, insecure=False, heartbeat_ms=300) as running:
        yield running


def key_pair(house: Path, owner: str) -> Keys:
    """Read the secret file of ROLE-NAME: one line of Z85, from which its public key follows."""
    secrets = [
        (house / "keys" / f"{name}.secret").read_text().strip().encode()
        for name in ("broker-broker-1", owner)
    ]
    of_broker, own = (zmq.curve_public(secret) for secret in secrets)
    return Keys(of_broker, own, secrets[1])


def stranger(house: Path) -> Keys:
    """Return keys that nobody has heard of."""
    public, secret = zmq.curve_keypair()
    return key_pair(house, "agent-oslo-1")._replace(public=public, secret=secret)


def agent(cast: Cast, house: Path, name: str = "oslo-1", **particulars: Any) -> Agent:
    return cast.agent(name, keys=key_pair(house, f"agent-{name}"), **particulars)


def worker(cast: Cast, house: Path) -> Worker:
    return cast.worker("worker-1", keys=key_pair(house, "worker-worker-1"))


async def is_shut_out(player: Player) -> bool:
    """Return whether nobody answers HELLO."""
    try:
        async with asyncio.timeout(SHUT_OUT_S):
            await player.say_hello()
    except (TimeoutError, NobodyThereError):
        return True
    return False


async def shakes_hands(address: str, keys: Keys | None) -> bool:
    """Return whether libzmq's own handshake succeeds, before any frame."""
    context = zmq.asyncio.Context()
    socket = context.socket(zmq.DEALER)
    socket.setsockopt(zmq.RECONNECT_IVL, -1)
    if keys is not None:
        socket.setsockopt(zmq.CURVE_SERVERKEY, keys.broker)
        socket.setsockopt(zmq.CURVE_PUBLICKEY, keys.public)
        socket.setsockopt(zmq.CURVE_SECRETKEY, keys.secret)
    monitor = socket.get_monitor_socket()
    try:
        socket.connect(address)
        async with asyncio.timeout(PATIENCE_S):
            while True:
                event = (await recv_monitor_message(monitor))["event"]
                if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                    return True
                if event in OVER:
                    return False
    finally:
        socket.disable_monitor()
        context.destroy(linger=0)


async def test_with_the_right_keys_a_dialog_is_played_to_its_end(cast: Cast, house: Path) -> None:
    caller, asker = agent(cast, house), worker(cast, house)
    await caller.open()
    await asker.open()
    await asker.ready(1)

    serving = asyncio.create_task(asker.serve({b"ann": b"xyzzy"}))
    verdict = await caller.call("oslo/1", {b"login: ": [b"ann"], b"Password: ": [b"xyzzy"]})
    await serving

    assert verdict.complete.verb == COMPLETE
    assert verdict.complete.body["msg_id"] == SUCCESS


AGENTS: Final = "agents"
WORKERS: Final = "workers"
INTRUDERS: Final[dict[str, tuple[str, Callable[[Path], Keys | None]]]] = {
    "no key among agents": (AGENTS, lambda _: None),
    "no key among workers": (WORKERS, lambda _: None),
    "an unknown key among agents": (AGENTS, stranger),
    "an unknown key among workers": (WORKERS, stranger),
    "an agent's key among workers": (WORKERS, lambda house: key_pair(house, "agent-oslo-1")),
    "a worker's key among agents": (AGENTS, lambda house: key_pair(house, "worker-worker-1")),
    "the broker's own key": (AGENTS, lambda house: key_pair(house, "broker-broker-1")),
    "another broker's address": (
        AGENTS,
        lambda house: key_pair(house, "agent-oslo-1")._replace(broker=stranger(house).public),
    ),
}


@pytest.mark.parametrize(("endpoint", "keys"), INTRUDERS.values(), ids=INTRUDERS)
async def test_a_client_without_the_right_key_is_not_let_in(
    endpoint: str, keys: Callable[[Path], Keys | None], broker: Broker, house: Path
) -> None:
    assert not await shakes_hands(getattr(broker, endpoint), keys(house))
    assert await shakes_hands(broker.agents, key_pair(house, "agent-oslo-1"))


@pytest.mark.parametrize(
    "changed",
    [{"name": "oslo-2"}, {"name": "oslo-9"}, {"site": "bergen"}, {"role": "worker", "capacity": 1}],
    ids=str,
)
async def test_a_hello_must_say_what_its_key_stands_for(
    changed: dict[str, Any], cast: Cast, house: Path
) -> None:
    one = agent(cast, house)
    answer = await one.say_hello(**changed)

    assert (answer.verb, answer.body["code"]) == (ERROR, DENIED)


async def test_a_begin_for_a_port_that_the_key_may_not_have_gets_error_5(
    cast: Cast, house: Path
) -> None:
    one, asker = agent(cast, house), worker(cast, house)
    await one.open()
    await asker.open()
    await asker.ready(9)
    await asker.peer.settled()
    for hport in ("bergen/1", "oslo", "OSLO/1", "oslo\\1", "x/oslo/1"):
        await one.begin(hport)

    answers = await one.peer.settled()

    assert [m.verb for m in answers] == [REFUSED, ERROR] * 5
    assert {m.body["code"] for m in answers} == {DENIED}
    assert await asker.peer.settled() == []


async def test_a_key_whose_file_is_deleted_is_refused_at_once(cast: Cast, house: Path) -> None:
    file = house / "keys" / "agent-oslo-2.key"
    aside = house / "aside"
    one, asker = agent(cast, house, "oslo-2"), worker(cast, house)
    await one.open()
    await asker.open()
    await asker.ready(1)
    dialog = await one.begin("oslo/2")
    assert (await asker.peer.expect(BEGIN)).dialog == dialog

    shutil.move(file, aside)
    try:
        # Its own keep-alive is what the broker refuses, without waiting for anything else.
        bye = await one.peer.expect(BYE)
        assert bye.body["code"] == DENIED
        assert (await asker.peer.expect(END)).dialog == dialog
        await one.peer.send(HELLO, **one.hello())
        while (answer := await one.peer.next()).verb == LOST:
            pass  # its PINGs without a session
        assert (answer.verb, answer.body["code"]) == (ERROR, DENIED)
        one.connect()
        assert await is_shut_out(one), "nor is it let in again"
        one.close()
    finally:
        shutil.move(aside, file)


async def test_a_key_that_is_added_is_let_in_without_a_restart(cast: Cast, house: Path) -> None:
    done = dialgate(
        "keys", "new", "agent", "oslo-3", "--hports", "*", "--directory", house / "keys"
    )
    assert done.returncode == 0

    for _ in range(20):
        one = agent(cast, house, "oslo-3")
        if not await is_shut_out(one):
            return
        one.close()
    raise AssertionError("not let in")


async def test_rights_that_are_edited_hold_from_then_on(cast: Cast, house: Path) -> None:
    file = house / "keys" / "agent-oslo-1.key"
    before = file.read_text()
    one = agent(cast, house)
    await one.open()
    await one.begin("oslo/1")
    assert await one.peer.settled() == []

    file.write_text(before.replace("oslo/*", "oslo/7"))
    try:
        refused: list[peers.Message] = []
        while not refused:
            await one.begin("oslo/1")
            refused = await one.peer.settled()
        assert [(m.verb, m.body["code"]) for m in refused] == [(REFUSED, DENIED), (ERROR, DENIED)]
        await one.begin("oslo/7")
        assert await one.peer.settled() == []
    finally:
        file.write_text(before)


HEADLESS: Final = """
import sys
from broker.gate import CurveGate
from broker.service import main
make = CurveGate.__init__
def make_and_kill(self, *arguments):
    make(self, *arguments)
    self._authenticator.stop()
CurveGate.__init__ = make_and_kill
sys.exit(main(sys.argv[1:]))
"""
"""A broker whose ZAP handler has died."""


async def test_without_a_living_zap_handler_nobody_gets_in(tmp_path: Path, house: Path) -> None:
    """Libzmq lets every CURVE key in when nobody answers ZAP, unless the domain is enforced."""
    shutil.copytree(house / "keys", tmp_path / "keys")
    with running_broker(
        tmp_path, command=[sys.executable, "-c", HEADLESS], insecure=False
    ) as headless:
        assert not await shakes_hands(headless.agents, key_pair(tmp_path, "agent-oslo-1"))
        assert not await shakes_hands(headless.workers, key_pair(tmp_path, "worker-worker-1"))
        assert not await shakes_hands(headless.agents, stranger(tmp_path))
        assert not await shakes_hands(headless.agents, None)
        assert headless.status("/livez") == 503, "a supervisor should start it again"


async def test_ipc_beside_tcp_needs_no_keys_and_tcp_does(tmp_path: Path, house: Path) -> None:
    """§7: CURVE on every TCP endpoint, NULL on ipc: a worker on the broker's own machine, say."""
    shutil.copytree(house / "keys", tmp_path / "keys")
    address = f"ipc://{tmp_path}/workers.sock"
    with running_broker(tmp_path, insecure=False, workers=address) as mixed:
        async with peers.stage(mixed.agents, mixed.workers) as cast:
            local = cast.worker("worker-1")
            await local.open()
            await local.ready(1)
            caller = agent(cast, tmp_path)
            await caller.open()
            await caller.begin("oslo/1")
            await local.peer.expect(BEGIN)
            keyless = cast.agent("oslo-2")
            assert await is_shut_out(keyless)
            keyless.close()


async def test_the_real_worker_needs_no_keys_on_ipc(tmp_path: Path, house: Path) -> None:
    shutil.copytree(house / "keys", tmp_path / "keys")
    address = f"ipc://{tmp_path}/workers.sock"
    with running_broker(tmp_path, insecure=False, workers=address) as mixed:
        (tmp_path / "keys" / "worker-worker-1.secret").unlink()
        with running_worker(tmp_path, address):
            async with peers.stage(mixed.agents, mixed.workers) as cast:
                caller = agent(cast, tmp_path)
                await caller.open()
                await caller.begin("oslo/1")

                assert (await caller.peer.expect(SEND)).body["data"] == b"Authorised use only\r\n"


async def test_the_real_worker_proves_who_it_is(cast: Cast, broker: Broker, house: Path) -> None:
    with running_worker(house, broker.workers):
        caller = agent(cast, house)
        await caller.open()
        await caller.begin("oslo/1")

        assert (await caller.peer.expect(SEND)).body["data"] == b"Authorised use only\r\n"


# ---------------------------------------------------------------------------- refused at the start


def refused_at_start(house: Path) -> str:
    """Return the one line with which both `check` and the broker itself refuse broker.toml."""
    config = house / "broker.toml"
    (line,) = faults(config)
    started = dialgate("broker", "--config", config)
    assert started.returncode == 1
    assert started.stderr.splitlines()[-1] == line
    return line


def faults(config: Path) -> list[str]:
    """Return what `dialgate check` finds; it finds something."""
    checked = dialgate("check", config)
    assert checked.returncode == 1, checked.stdout
    return checked.stdout.splitlines()


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.7", "*", "[::]"])
def test_insecure_on_an_address_that_others_reach_is_a_fault(host: str, tmp_path: Path) -> None:
    address = f"tcp://{host}:7799"
    write_broker_config(tmp_path, insecure=True, agents=address, workers=address)

    lines = [line for line in faults(tmp_path / "broker.toml") if "insecure" in line]

    assert lines
    assert all(line.startswith(f"{tmp_path}/broker.toml:") for line in lines)


def test_no_broker_starts_insecure_on_an_address_that_others_reach(tmp_path: Path) -> None:
    write_broker_config(tmp_path, insecure=True, workers="tcp://0.0.0.0:7799")

    assert "insecure" in refused_at_start(tmp_path)


def test_a_broker_without_its_secret_key_is_refused(tmp_path: Path, house: Path) -> None:
    shutil.copytree(house / "keys", tmp_path / "keys")
    (tmp_path / "keys" / "broker-broker-1.secret").unlink()
    write_broker_config(tmp_path)

    assert "dialgate keys new broker broker-1" in refused_at_start(tmp_path)


def test_a_secret_that_others_may_read_is_refused(tmp_path: Path, house: Path) -> None:
    shutil.copytree(house / "keys", tmp_path / "keys")
    secret = tmp_path / "keys" / "broker-broker-1.secret"
    secret.chmod(0o644)
    write_broker_config(tmp_path)

    assert f"chmod 600 {secret}" in refused_at_start(tmp_path)
