"""Local users and one-time codes: every row of the tables in docs/authenticators.md.

State, argon2 (at a low cost), charging, policies and dialog are the real ones; the caller is in
memory, and he has one try.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

import pyotp
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_workers.authenticators import Authenticator
from auth_workers.authenticators.local import Local, StoredUsers
from auth_workers.authenticators.one_time_code import OneTimeCode
from auth_workers.charging import Charging, rules_of
from auth_workers.hashing import HashingPool
from auth_workers.policy import Policies
from auth_workers.testing import Caller
from auth_workers.verdict import Granted, Refused, Undecided, Verdict
from dialgate.codes import describe
from dialgate.one_time_codes import enrol, use_code
from dialgate.otp import STEP_S, Kind, Token
from dialgate.passwords import Argon2
from dialgate.sealing import ONE_TIME_CODES, Sealer
from dialgate.settings import LockoutSettings, PolicySettings
from dialgate.state import open_state
from dialgate.users import UserTerms, add_user, set_disabled, set_password
from tests.matrices import Matrix

PAGE: Final = Path(__file__).parents[2] / "docs" / "authenticators.md"
CHEAP: Final = Argon2(memory_kib=8, passes=1)
SEALER: Final = Sealer(bytes(32), purpose=ONE_TIME_CODES)
SECRET: Final = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
NOW: Final = 1_800_000_000
BAD: Final = b"not the password"


class House:
    """A worker's parts around a state with one user, ann."""

    def __init__(self, state: AsyncEngine) -> None:
        self.state = state
        self.now = float(NOW)
        self.hashing = HashingPool(CHEAP, 1)
        self.recovery_codes: list[str] = []
        self._charging = Charging(state, rules_of(LockoutSettings()), clock=self.clock)
        self._authenticators: dict[str, Authenticator] = {
            "local": Local(StoredUsers(state), self.hashing, clock=self.clock),
            "code": OneTimeCode(self._use, b"Code: "),
        }

    def clock(self) -> float:
        return self.now

    async def _use(self, user: str, code: str) -> bool:
        return await use_code(self.state, SEALER, user, code, self.now)

    async def call(self, *script: bytes, chain: tuple[str, ...] = ("local",)) -> Caller:
        """Have somebody log in; what he saw is on his screen, the verdict in `verdict`."""
        caller = Caller(*script)
        policies = Policies(
            [PolicySettings(authenticators=chain, chain="all", tries=1, retry_delay_s=0)],
            self._authenticators,
            self._charging,
            clock=lambda: datetime.fromtimestamp(self.now, UTC),
        )
        verdict = await caller.goes_through(policies.conduct(caller.dialog))
        self.verdict = spelled(verdict)
        return caller

    async def code(self, code: str | None) -> str:
        """Give ann's password and `code`, and return what that came to."""
        assert code is not None
        await self.call(b"ann", b"secret", code.encode(), chain=("local", "code"))
        return self.verdict

    async def give(self, kind: Kind = "totp") -> None:
        """Give ann a token."""
        self.recovery_codes = await enrol(self.state, SEALER, Token("ann", kind, SECRET))

    def totp(self, step: int = 0) -> str:
        """Return the code of a token that is `step` steps ahead."""
        return pyotp.TOTP(SECRET).at(int(self.now) + STEP_S * step)


def spelled(verdict: Verdict) -> str:
    match verdict:
        case Granted(user):
            return f"SUCCESS {user}"
        case Refused():
            return "FAILURE"
        case Undecided(code):
            return f"ERROR {describe(code)}"


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    state = await open_state(f"sqlite:///{tmp_path}/state.db")
    house = House(state)
    yield house
    house.hashing.close()
    await state.dispose()


# -------------------------------------------------------------------------------------- local


class LocalRow(NamedTuple):
    """A case of the first table; `until` and `since` are ann's dates."""

    name: str
    expected: str
    script: tuple[bytes, ...] = (b"ann", b"secret")
    until_s: int = 0
    since_s: int = 0
    prepare: Callable[[House], Awaitable[object]] | None = None


async def lock(house: House) -> None:
    for _ in range(LockoutSettings().place_tries):
        await house.call(b"ann", BAD)


async def lock_and_wait(house: House) -> None:
    await lock(house)
    house.now += LockoutSettings().wait_s


LOCAL: Final = [
    LocalRow("good", "SUCCESS ann"),
    LocalRow("bad", "FAILURE", (b"ann", BAD)),
    LocalRow("unknown", "FAILURE", (b"eve", b"secret")),
    LocalRow(
        "disabled", "FAILURE", prepare=lambda house: set_disabled(house.state, "ann", disabled=True)
    ),
    LocalRow("expired", "FAILURE", until_s=NOW),
    LocalRow("not valid yet", "FAILURE", since_s=NOW + 1),
    LocalRow(
        "must change",
        "SUCCESS ann",
        (b"ann", b"secret", b"battery staple", b"battery staple"),
        prepare=lambda house: set_password(house.state, "ann", b"secret", CHEAP, must_change=True),
    ),
    LocalRow(
        "must change, and does not",
        "FAILURE",
        (b"ann", b"secret", b"secret", b"secret", b"secret"),
        prepare=lambda house: set_password(house.state, "ann", b"secret", CHEAP, must_change=True),
    ),
    LocalRow("locked", "FAILURE", prepare=lock),
    LocalRow("locked, after the wait", "SUCCESS ann", prepare=lock_and_wait),
]


@pytest.fixture
def matrix(request: pytest.FixtureRequest) -> Callable[[str], Matrix]:
    rewrite = request.config.getoption("--rewrite-matrices")
    return lambda name: Matrix(PAGE, name, rewrite=rewrite)


@pytest.mark.parametrize("row", LOCAL, ids=[row.name for row in LOCAL])
async def test_the_page_says_what_a_local_user_gets(
    row: LocalRow, house: House, matrix: Callable[[str], Matrix]
) -> None:
    terms = UserTerms(valid_from_s=row.since_s, valid_until_s=row.until_s)
    await add_user(house.state, "ann", b"secret", CHEAP, terms)
    if row.prepare is not None:
        await row.prepare(house)

    caller = await house.call(*row.script)

    assert house.verdict == row.expected
    shown = caller.screen.removeprefix(b"login: Password: ").decode()
    matrix("local").check(row.name, house.verdict, shown.replace("\r\n", " / "))


def test_the_page_has_every_local_row_and_no_other(matrix: Callable[[str], Matrix]) -> None:
    matrix("local").check_rows([row.name for row in LOCAL])


# ------------------------------------------------------------------------------ one-time codes


class CodeRow(NamedTuple):
    """A case of the second table."""

    name: str
    expected: tuple[str, str]
    codes: Callable[[House], Awaitable[tuple[str, str]]]


async def both(house: House, first: str, second: str) -> tuple[str, str]:
    """Return what two codes come to, the second of which is a step later."""
    before = await house.code(first)
    house.now += STEP_S
    return before, await house.code(second)


async def totp(house: House, step: int, then: int) -> tuple[str, str]:
    """Return what the codes of a token come to that is `step`, then `then` steps ahead."""
    await house.give()
    first = await house.code(house.totp(step))
    house.now += STEP_S
    return first, await house.code(house.totp(then))


async def reused(house: House) -> tuple[str, str]:
    await house.give()
    code = house.totp()
    assert await house.code(code) == "SUCCESS ann"
    return await both(house, code, house.totp(1))


async def recovery(house: House) -> tuple[str, str]:
    await house.give()
    return await both(house, house.recovery_codes[0], house.recovery_codes[0])


async def hotp(house: House, counter: int, then: int) -> tuple[str, str]:
    await house.give("hotp")
    generator = pyotp.HOTP(SECRET)
    return await both(house, generator.at(counter), generator.at(then))


async def without_a_token(house: House) -> tuple[str, str]:
    return await both(house, house.totp(), house.totp(1))


async def bad_password(house: House) -> tuple[str, str]:
    await house.give()
    caller = await house.call(b"ann", BAD, house.totp().encode(), chain=("local", "code"))
    assert b"Code" not in caller.screen
    return house.verdict, await house.code(house.totp())


YES, NO = "SUCCESS ann", "FAILURE"

CODES: Final = [
    CodeRow("good", (YES, YES), lambda house: totp(house, 0, 0)),
    CodeRow("reused", (NO, YES), reused),
    CodeRow("drift of one step", (YES, YES), lambda house: totp(house, 1, 2)),
    CodeRow("out of window", (NO, NO), lambda house: totp(house, 60, 60)),
    CodeRow(
        "resync: strayed by 30 steps, two codes in a row",
        (NO, YES),
        lambda house: totp(house, 30, 30),
    ),
    CodeRow(
        "strayed by 30 steps, two codes far apart", (NO, NO), lambda house: totp(house, 30, 35)
    ),
    CodeRow("HOTP, 9 codes ahead", (YES, YES), lambda house: hotp(house, 9, 10)),
    CodeRow("HOTP, 50 codes ahead", (NO, YES), lambda house: hotp(house, 50, 51)),
    CodeRow("recovery, then the same again", (YES, NO), recovery),
    CodeRow("no token", (NO, NO), without_a_token),
    CodeRow("bad password, then the code that was not asked for", (NO, YES), bad_password),
]


@pytest.mark.parametrize("row", CODES, ids=[row.name for row in CODES])
async def test_the_page_says_what_a_code_gets(
    row: CodeRow, house: House, matrix: Callable[[str], Matrix]
) -> None:
    await add_user(house.state, "ann", b"secret", CHEAP)

    seen = await row.codes(house)

    assert seen == row.expected
    matrix("otp").check(row.name, *seen)


def test_the_page_has_every_code_row_and_no_other(matrix: Callable[[str], Matrix]) -> None:
    matrix("otp").check_rows([row.name for row in CODES])
