"""The second factor, with a scripted caller and a real state."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pyotp
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_workers.authenticators import Accepted, Login, Rejected, Result, Unavailable, ask
from auth_workers.authenticators.one_time_code import OneTimeCode
from auth_workers.testing import TERMS, Caller
from dialgate.errors import StateError
from dialgate.one_time_codes import enrol, use_code
from dialgate.otp import Token
from dialgate.sealing import ONE_TIME_CODES, Sealer
from dialgate.state import open_state

SEALER: Final = Sealer(bytes(32), purpose=ONE_TIME_CODES)
NOW: Final = 1_800_000_000
SECRET: Final = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
WRONG: Final = "000000" if pyotp.TOTP(SECRET).at(NOW) != "000000" else "000001"


@pytest.fixture
async def state(tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    engine = await open_state(f"sqlite:///{tmp_path}/state.db")
    yield engine
    await engine.dispose()


def code(step: int = 0) -> bytes:
    return pyotp.TOTP(SECRET).at(NOW + 30 * step).encode()


def second_factor(state: AsyncEngine, now_s: float = NOW) -> OneTimeCode:
    async def use(user: str, given: str) -> bool:
        return await use_code(state, SEALER, user, given, now_s)

    return OneTimeCode(use, b"Code: ")


async def give(state: AsyncEngine) -> list[str]:
    return await enrol(state, SEALER, Token("ann", "totp", SECRET))


async def says(
    state: AsyncEngine, given: bytes, now_s: float = NOW, user: str = "ann"
) -> type[Result]:
    return type(await Caller(given).tries(user, second_factor(state, now_s)))


async def test_a_right_code_is_accepted(state: AsyncEngine) -> None:
    await give(state)
    caller = Caller(code())

    assert await caller.tries("ann", second_factor(state)) == Accepted("ann")
    assert caller.screen == b"Code: "


async def test_each_state_of_a_code(state: AsyncEngine) -> None:
    """Good, reused, drift, out of window, resync, recovery."""
    codes = await give(state)

    assert await says(state, code()) is Accepted
    assert await says(state, code()) is Rejected
    assert await says(state, code(2), NOW + 30) is Accepted
    assert await says(state, code(30), NOW + 30) is Rejected
    assert await says(state, code(31), NOW + 60) is Accepted
    assert await says(state, codes[0].encode()) is Accepted
    assert await says(state, codes[0].encode()) is Rejected


@pytest.mark.parametrize("given", [b"", WRONG.encode(), b"\xff\xfe", b"1" * 64])
async def test_what_is_no_code_is_rejected(state: AsyncEngine, given: bytes) -> None:
    await give(state)

    assert await says(state, given) is Rejected


async def test_who_has_no_token_is_asked_and_rejected_like_anybody(state: AsyncEngine) -> None:
    caller = Caller(code())

    assert await caller.tries("bob", second_factor(state)) == Rejected()
    assert caller.screen == b"Code: "


async def test_it_is_the_token_of_whom_the_first_factor_named(state: AsyncEngine) -> None:
    await give(state)
    caller = Caller(code())
    login = Login(caller.dialog, "ANN@north", TERMS)
    login.accepted.append(Accepted("ann", "north"))

    assert await caller.goes_through(ask(second_factor(state), login)) == Accepted("ann")


async def test_a_state_that_does_not_answer_decides_nothing_and_uses_nothing_up() -> None:
    async def gone(_user: str, _given: str) -> bool:
        raise StateError("/state.db: the state can't be used: disk I/O error")

    factor = OneTimeCode(gone, b"Code: ")

    assert isinstance(await Caller(code()).tries("ann", factor), Unavailable)
