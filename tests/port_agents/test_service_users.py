"""Services that name their users: over the real socket, judged by a fake line."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from dialgate.errors import DialgateError, ListenError, UsageError
from dialgate.service_users import SOCKET_VARIABLE, TOKEN_VARIABLE, Claim, Ruling, claim_user
from port_agents import service_users
from port_agents.service_users import ServiceUsers

OTHER = "the security host has admitted another user: the call ends"
UNKNOWN = "no service that runs here has this token"


class Lines:
    """The agent's lines: ann is at oslo/1, bob at oslo/2."""

    def __init__(self) -> None:
        self.users = {"oslo/1": "ann", "oslo/2": "bob"}
        self.ended: list[str] = []

    def judge(self, hport: str, name: str) -> bool:
        if self.users[hport] != name:
            self.ended.append(hport)
        return self.users[hport] == name


class Bench:
    def __init__(self, path: Path) -> None:
        self.lines = Lines()
        self.outcomes: Counter[str] = Counter()
        self.path = path
        self.users = ServiceUsers(path, self.lines.judge, self.outcomes)


@pytest_asyncio.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path / "s.sock")
    async with bench.users.serving():
        yield bench


async def closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


async def claim(environment: dict[str, str], user: str) -> Ruling:
    return await asyncio.to_thread(claim_user, environment, user)


async def test_the_user_who_was_admitted_is_the_same(bench: Bench) -> None:
    environment = bench.users.expect("oslo/1")

    assert await claim(environment, "ann") == Ruling(same=True)
    assert bench.lines.ended == []
    assert bench.outcomes == {"same": 1}


async def test_another_user_ends_the_call_of_this_port_alone(bench: Bench) -> None:
    environment = bench.users.expect("oslo/1")
    bench.users.expect("oslo/2")

    assert await claim(environment, "bob") == Ruling(same=False, text=OTHER)
    assert bench.lines.ended == ["oslo/1"]
    assert bench.outcomes == {"other": 1}


async def test_a_token_is_good_while_its_service_runs(bench: Bench) -> None:
    first = bench.users.expect("oslo/1")
    bench.users.forget("oslo/1")
    second = bench.users.expect("oslo/1")

    assert await claim(first, "ann") == Ruling(same=False, text=UNKNOWN)
    assert await claim(second, "ann") == Ruling(same=True)
    assert bench.lines.ended == []
    assert bench.outcomes == {"refused": 1, "same": 1}


async def test_two_services_never_have_the_same_token(bench: Bench) -> None:
    tokens = {bench.users.expect(hport)[TOKEN_VARIABLE] for hport in ("oslo/1", "oslo/2")}
    tokens.add(bench.users.expect("oslo/1")[TOKEN_VARIABLE])

    assert len(tokens) == 3
    assert min(map(len, tokens)) >= 32


@pytest.mark.parametrize("line", [b"\n", b"{}\n", b"[1]\n", b"\xff\xfe\n", b'{"token": 1}\n', b"x"])
async def test_what_is_no_claim_is_refused_and_counted(bench: Bench, line: bytes) -> None:
    reader, writer = await asyncio.open_unix_connection(bench.path)
    writer.write(line)
    writer.write_eof()

    assert b'"same":false' in await reader.readline()
    await closed(writer)
    assert bench.outcomes == {"refused": 1}


async def test_a_line_without_end_is_bounded(bench: Bench) -> None:
    reader, writer = await asyncio.open_unix_connection(bench.path)
    writer.write(b"x" * 65_536)

    assert await reader.read() == b""
    await closed(writer)
    assert bench.outcomes == {"refused": 1}


async def test_who_says_nothing_is_not_waited_for(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_users, "EXCHANGE_S", 0.01)
    reader, writer = await asyncio.open_unix_connection(bench.path)

    assert await reader.read() == b""
    await closed(writer)
    assert bench.outcomes == {"refused": 1}


async def test_services_beyond_the_limit_are_turned_away(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_users, "EXCHANGES_MAX", 1)
    environment = bench.users.expect("oslo/1")
    _, waiting = await asyncio.open_unix_connection(bench.path)
    async with asyncio.timeout(10):
        while not bench.users.exchanges:  # noqa: ASYNC110 - the shell sets no event of ours
            await asyncio.sleep(0)

    with pytest.raises(DialgateError, match=r"s\.sock: the agent "):
        await claim(environment, "ann")
    await closed(waiting)

    assert bench.outcomes["refused"] >= 1


async def test_a_socket_that_an_agent_left_behind_is_taken_over(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "s.sock"))
    bench = Bench(tmp_path / "s.sock")

    async with bench.users.serving():
        assert (await claim(bench.users.expect("oslo/1"), "ann")).same
    assert not bench.path.exists()


async def test_a_path_that_cannot_be_listened_on_is_one_line(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "none" / "s.sock")

    with pytest.raises(ListenError, match=r"can't be listened on: .*agent\.service_socket$"):
        async with bench.users.serving():
            pass


def test_outside_a_service_there_is_nobody_to_ask() -> None:
    with pytest.raises(UsageError, match=f"{SOCKET_VARIABLE} and {TOKEN_VARIABLE} are not set"):
        claim_user({}, "ann")


@pytest.mark.parametrize("user", ["", "x" * 257, "\udcff"])
def test_a_name_that_nobody_can_have_is_wrong_usage(user: str) -> None:
    with pytest.raises(UsageError):
        claim_user({SOCKET_VARIABLE: "/none", TOKEN_VARIABLE: "t"}, user)


def test_an_agent_that_is_gone_is_one_line_without_the_token() -> None:
    with pytest.raises(DialgateError) as caught:
        claim_user({SOCKET_VARIABLE: "/none.sock", TOKEN_VARIABLE: "t0ken"}, "ann")

    assert str(caught.value) == "/none.sock: the agent can't be asked: No such file or directory"


def test_a_token_is_in_no_representation() -> None:
    assert "t0ken" not in repr(Claim(token="t0ken", user="ann"))
