"""RADIUS against the real FreeRADIUS: every row of the matrix in docs/authenticators.md.

Dialog, login and sockets are the real ones; the caller is in memory, and he has one try.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

import pytest
from msgspec import structs

from auth_workers.authenticators.radius import Radius
from auth_workers.radius.client import Client
from auth_workers.radius.packets import Fault
from auth_workers.radius.servers import Servers
from auth_workers.session_dialog import Question
from auth_workers.testing import TERMS, Caller
from auth_workers.verdict import Granted, Refused, Undecided, Verdict
from dialgate.codes import Code, describe
from dialgate.settings import parse_host_port
from tests.auth_workers.radius.replies import ACCEPT, SIGNATURE, attributes_of, reply_to
from tests.integration.freeradius import SECRET, FreeRadius
from tests.integration.processes import PROJECT
from tests.integration.test_radius_dial_in import DIALLED
from tests.integration.udp_proxy import Alter, proxy
from tests.matrices import Matrix

PAGE: Final = PROJECT / "docs" / "authenticators.md"
ONE_TRY: Final = structs.replace(TERMS, tries_max=1)
PATIENT_S, HASTY_S = 3.0, 0.2
"""Where an answer comes it is waited for; where none comes, not for long."""

REAL, PROXY = "FreeRADIUS", "FreeRADIUS behind a proxy"
UNSIGNED: Final = "FreeRADIUS 3.2.1, or a later one whose signature a proxy takes away"


class Seen(NamedTuple):
    """What a login came to."""

    verdict: str
    ignored: str
    screen: bytes = b""


async def login(
    caller: Caller, *servers: str, wait_s: float = PATIENT_S, signed: bool = True, retries: int = 1
) -> Seen:
    """Log `caller` in at `servers`."""
    ignored: Counter[tuple[str, Fault]] = Counter()
    client = Client(wait_s, retries, ignored)
    addresses = [parse_host_port(server) for server in servers]
    radius = Radius("corp", SECRET, Servers(addresses), client, signed=signed)
    verdict = spelled(await caller.meets(radius, ONE_TRY))
    why = ", ".join(sorted({fault.value for _, fault in ignored}))
    return Seen(verdict, why, caller.screen)


def spelled(verdict: Verdict) -> str:
    match verdict:
        case Granted(user):
            return f"SUCCESS {user}"
        case Refused():
            return "FAILURE"
        case Undecided(code):
            return f"ERROR {describe(code)}"


def ann(password: bytes = b"secret") -> Caller:
    return Caller(b"ann", password)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FreeRadius]:
    """Run a server that signs its replies, as docs/authenticators.md says."""
    with FreeRadius(tmp_path_factory.mktemp("radius")) as running:
        yield running


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FreeRadius]:
    """Run a second server."""
    with FreeRadius(tmp_path_factory.mktemp("radius")) as running:
        yield running


@pytest.fixture(scope="module")
def unsigned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FreeRadius]:
    """Run a server that is told nothing of signatures: from 3.2.5 on it gives them all the same."""
    with FreeRadius(tmp_path_factory.mktemp("radius"), signed=False) as running:
        yield running


class Lab:
    """The servers of a test."""

    def __init__(
        self, directory: Path, server: FreeRadius, other: FreeRadius, unsigned: FreeRadius
    ) -> None:
        self.directory = directory
        self.server = server
        self.other = other
        self.unsigned = unsigned

    async def through(self, caller: Caller, alter: Alter, **how: bool) -> Seen:
        """Log in at the server, whose replies pass a proxy."""
        async with proxy(self.server.authentication, alter) as address:
            return await login(caller, address, wait_s=HASTY_S, **how)

    async def without_signature(self, *, signed: bool) -> Seen:
        """Log in at a server whose replies have no Message-Authenticator."""
        async with proxy(self.unsigned.authentication, bare) as address:
            return await login(ann(), address, wait_s=HASTY_S, signed=signed)


@pytest.fixture
def lab(tmp_path: Path, server: FreeRadius, other: FreeRadius, unsigned: FreeRadius) -> Lab:
    return Lab(tmp_path, server, other, unsigned)


@pytest.fixture
def matrix(request: pytest.FixtureRequest) -> Matrix:
    return Matrix(PAGE, "radius", rewrite=request.config.getoption("--rewrite-matrices"))


async def challenged(lab: Lab, rounds: int) -> Seen:
    answers = [b"answer %d" % number for number in range(1, rounds + 1)]
    seen = await login(
        Caller(b"rounds-%d" % rounds, b"secret", *answers), lab.server.authentication
    )
    asked = b"".join(b"Question %d? " % number for number in range(1, rounds + 1))
    assert seen.screen == b"login: Password: " + asked
    return seen


async def frozen(lab: Lab) -> Seen:
    with FreeRadius(lab.directory) as silent:
        silent.freeze()
        return await login(ann(), silent.authentication, wait_s=HASTY_S)


async def nobody(lab: Lab) -> Seen:
    with FreeRadius(lab.directory) as gone:
        gone.kill()
        return await login(ann(), gone.authentication, wait_s=HASTY_S)


async def other_secret(lab: Lab) -> Seen:
    with FreeRadius(lab.directory, secret=b"another one") as stranger:
        return await login(ann(), stranger.authentication, wait_s=HASTY_S)


async def other_secrets_reply(lab: Lab) -> Seen:
    return await lab.through(ann(), lambda asked, _: [reply_to(asked, ACCEPT, secret=b"other")])


async def killed(lab: Lab, *more: FreeRadius) -> Seen:
    """Kill the server when its first question has been asked."""
    with FreeRadius(lab.directory) as dying:

        class Interrupted(Caller):
            def receive(self, question: Question) -> Code:
                if len(self.questions) == 2:
                    dying.kill()
                return super().receive(question)

        caller = Interrupted(b"rounds-2", b"secret", b"answer 1", b"answer 1", b"answer 2")
        servers = [dying.authentication, *(each.authentication for each in more)]
        return await login(caller, *servers, wait_s=HASTY_S if not more else PATIENT_S)


async def second_after_death(lab: Lab) -> Seen:
    seen = await killed(lab, lab.other)
    assert seen.screen == b"login: Password: Question 1? Question 1? Question 2? "
    return seen


async def back(lab: Lab) -> Seen:
    with FreeRadius(lab.directory) as returning:
        returning.kill()
        gone = await login(ann(), returning.authentication, wait_s=HASTY_S)
        assert gone.verdict.startswith("ERROR")
        returning.start()
        return await login(ann(), returning.authentication)


async def second(lab: Lab) -> Seen:
    with FreeRadius(lab.directory) as gone:
        gone.kill()
        return await login(ann(), gone.authentication, lab.server.authentication)


async def lost(lab: Lab) -> Seen:
    async with proxy(lab.server.authentication, drop=1) as address:
        return await login(ann(), address, wait_s=0.5)


def garbage(_asked: bytes, _reply: bytes) -> list[bytes]:
    return [os.urandom(40), b"", b"\x02", bytes(4096)]


def cut(_asked: bytes, reply: bytes) -> list[bytes]:
    return [reply[:30], reply[:-1]]


def accept_unsigned(asked: bytes, _reply: bytes) -> list[bytes]:
    """Make an Accept of a Reject, as CVE-2024-3596 does: with a right Response Authenticator."""
    return [reply_to(asked, ACCEPT, signature=None)]


def bare(asked: bytes, reply: bytes) -> list[bytes]:
    """Take the Message-Authenticator away, if there is one, as servers before 3.2.5 reply."""
    attributes = [each for each in attributes_of(reply) if each[0] != SIGNATURE]
    return [reply_to(asked, reply[0], attributes, signature=None)]


def forged(asked: bytes, _reply: bytes) -> list[bytes]:
    return [reply_to(asked, ACCEPT, signature=b"\1" * 16)]


def altered(_asked: bytes, reply: bytes) -> list[bytes]:
    """Make an Accept of a Reject and leave the rest as it is."""
    return [bytes([ACCEPT]) + reply[1:]]


def rubbish_first(_asked: bytes, reply: bytes) -> list[bytes]:
    return [b"rubbish", bytes([ACCEPT]) + reply[1:], reply, reply]


class Row(NamedTuple):
    """A case of the matrix."""

    name: str
    servers: str
    """What answers: a cell that no real server produces runs through a proxy."""
    expected: str
    seen: Callable[[Lab], Awaitable[Seen]]


TIMEOUT: Final = "ERROR ERROR_AUTH_SERVER_TIMEOUT"
NO_SIGNATURE: Final = "ERROR ERROR_NO_SIGNATURE"
INVALID_SIGNATURE: Final = "ERROR ERROR_INVALID_SIGNATURE"
BAD: Final = b"not the password"

ROWS: Final = [
    Row("accept", REAL, "SUCCESS ann", lambda lab: login(ann(), lab.server.authentication)),
    Row("refuse", REAL, "FAILURE", lambda lab: login(ann(BAD), lab.server.authentication)),
    Row("challenge of 2 rounds", REAL, "SUCCESS rounds-2", lambda lab: challenged(lab, 2)),
    Row("challenge of 5 rounds", REAL, "SUCCESS rounds-5", lambda lab: challenged(lab, 5)),
    Row(
        "challenge, wrong answer",
        REAL,
        "FAILURE",
        lambda lab: login(Caller(b"rounds-2", b"secret", b"x"), lab.server.authentication),
    ),
    Row("time-out: the server hangs", f"{REAL}, stopped", TIMEOUT, frozen),
    Row("time-out: nobody listens", f"{REAL}, killed", TIMEOUT, nobody),
    Row("first request lost", PROXY, "SUCCESS ann", lost),
    Row(
        "garbage",
        PROXY,
        "ERROR ERROR_INVALID_PACKET",
        lambda lab: lab.through(ann(), garbage),
    ),
    Row("cut replies", PROXY, "ERROR ERROR_INVALID_PACKET", lambda lab: lab.through(ann(), cut)),
    Row(
        "rubbish before the reply",
        PROXY,
        "SUCCESS ann",
        lambda lab: lab.through(ann(), rubbish_first),
    ),
    Row(
        "forged Message-Authenticator",
        PROXY,
        INVALID_SIGNATURE,
        lambda lab: lab.through(ann(BAD), forged),
    ),
    Row(
        "Reject altered to Accept",
        PROXY,
        INVALID_SIGNATURE,
        lambda lab: lab.through(ann(BAD), altered),
    ),
    Row(
        "missing Message-Authenticator",
        UNSIGNED,
        NO_SIGNATURE,
        lambda lab: lab.without_signature(signed=True),
    ),
    Row(
        "missing Message-Authenticator, not demanded",
        UNSIGNED,
        "SUCCESS ann",
        lambda lab: lab.without_signature(signed=False),
    ),
    Row(
        "Accept forged without Message-Authenticator",
        PROXY,
        NO_SIGNATURE,
        lambda lab: lab.through(ann(BAD), accept_unsigned),
    ),
    Row("wrong secret: the server is silent", REAL, TIMEOUT, other_secret),
    Row("wrong secret: the server replies", PROXY, INVALID_SIGNATURE, other_secrets_reply),
    Row("server killed in the middle", REAL, TIMEOUT, killed),
    Row(
        "server killed in the middle, second server",
        f"two {REAL}",
        "SUCCESS rounds-2",
        second_after_death,
    ),
    Row("server back", REAL, "SUCCESS ann", back),
    Row("second server", f"two {REAL}", "SUCCESS ann", second),
]


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
async def test_the_page_says_what_a_login_comes_to(row: Row, lab: Lab, matrix: Matrix) -> None:
    seen = await row.seen(lab)

    assert seen.verdict == row.expected
    matrix.check(row.name, row.servers, seen.verdict, seen.ignored)


def test_the_page_has_every_row_and_no_other(matrix: Matrix) -> None:
    matrix.check_rows([*(row.name for row in ROWS), DIALLED])


async def test_unavailable_is_never_refused_and_never_accepted(lab: Lab) -> None:
    """Whatever the password, a server that can't be asked decides nothing."""
    for password in (b"secret", BAD):
        for alter in (garbage, forged, accept_unsigned):
            seen = await lab.through(ann(password), alter)
            assert seen.verdict.startswith("ERROR")
