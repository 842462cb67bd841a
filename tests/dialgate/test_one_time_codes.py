"""Tokens and recovery codes in a real state, SQLite and PostgreSQL: each code gets one in."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Final

import pyotp
import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from dialgate.errors import StateError, UsageError
from dialgate.one_time_codes import (
    RECOVERY_CODES_MADE,
    enrol,
    list_tokens,
    new_secret,
    renew_recovery_codes,
    unenrol,
    use_code,
)
from dialgate.otp import Token
from dialgate.sealing import ONE_TIME_CODES, Sealer
from dialgate.state import open_state, reading
from dialgate.tables import RECOVERY_CODES, TOKENS

SEALER: Final = Sealer(bytes(32), purpose=ONE_TIME_CODES)
NOW: Final = 1_800_000_000
SECRET: Final = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
WORKERS: Final = 3


@pytest.fixture
async def state(tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    engine = await open_state(f"sqlite:///{tmp_path}/state.db")
    yield engine
    await engine.dispose()


@pytest.fixture
async def each_state(state_url: str) -> AsyncIterator[AsyncEngine]:
    engine = await open_state(state_url)
    yield engine
    await engine.dispose()


def code(step: int = 0) -> str:
    return pyotp.TOTP(SECRET).at(NOW + 30 * step)


async def give(state: AsyncEngine, user: str = "ann") -> list[str]:
    return await enrol(state, SEALER, Token(user, "totp", SECRET))


def user_of(state: AsyncEngine) -> Callable[..., Awaitable[bool]]:
    async def use(given: str, user: str = "ann", now_s: float = NOW) -> bool:
        return await use_code(state, SEALER, user, given, now_s)

    return use


def test_a_new_secret_has_160_bits() -> None:
    assert len(base64.b32decode(new_secret())) == 20
    assert new_secret() != new_secret()


async def test_a_code_gets_its_user_in_once(each_state: AsyncEngine) -> None:
    await give(each_state)
    use = user_of(each_state)

    assert await use(code())
    assert not await use(code())
    assert not await use(code(), now_s=NOW + 30)
    assert await use(code(1), now_s=NOW + 30)


async def test_a_code_may_be_typed_in_groups(state: AsyncEngine) -> None:
    await give(state)

    assert await user_of(state)(f"{code()[:3]} {code()[3:]}")


async def test_a_code_is_nobody_elses(state: AsyncEngine) -> None:
    await give(state)
    use = user_of(state)

    assert not await use(code(), "bob")
    assert not await use(code(), "Ann")
    assert not await use("000000")
    assert not await use("")
    assert not await use("\u0661" * 6)


async def test_a_token_that_strayed_is_found_by_two_codes_in_a_row(each_state: AsyncEngine) -> None:
    await give(each_state)
    use = user_of(each_state)

    assert not await use(code(20))
    assert not await use(code(20))
    assert await use(code(21), now_s=NOW + 30)
    assert await use(code(24), now_s=NOW + 120)


async def test_a_hotp_code_is_used_up_with_all_before_it(state: AsyncEngine) -> None:
    await enrol(state, SEALER, Token("ann", "hotp", SECRET))
    use, hotp = user_of(state), pyotp.HOTP(SECRET)

    assert await use(hotp.at(4))
    assert not await use(hotp.at(3))
    assert not await use(hotp.at(4))
    assert await use(hotp.at(5))


async def test_each_recovery_code_gets_in_once(each_state: AsyncEngine) -> None:
    codes = await give(each_state)
    use = user_of(each_state)

    assert len(set(codes)) == RECOVERY_CODES_MADE
    assert await use(codes[0])
    assert not await use(codes[0])
    assert await use(codes[1].upper().replace("-", " "))
    assert not await use(codes[2], "bob")
    assert await list_tokens(each_state) == {"ann": ("totp", RECOVERY_CODES_MADE - 2)}


async def test_new_recovery_codes_make_the_old_ones_void(state: AsyncEngine) -> None:
    old = await give(state)
    new = await renew_recovery_codes(state, SEALER, "ann")
    use = user_of(state)

    assert not await use(old[0])
    assert await use(new[0])
    assert await use(code())


async def test_tokens_and_codes_of_others_stay_as_they_are(state: AsyncEngine) -> None:
    codes = await give(state)
    await enrol(state, SEALER, Token("bob", "totp", new_secret()))
    await renew_recovery_codes(state, SEALER, "bob")
    await unenrol(state, "bob")
    use = user_of(state)

    assert await list_tokens(state) == {"ann": ("totp", RECOVERY_CODES_MADE)}
    assert await use(codes[0])
    assert await use(code())


async def test_who_uses_a_code_uses_up_nobody_elses(state: AsyncEngine) -> None:
    mine, his = await give(state), await give(state, "bob")
    use = user_of(state)

    assert await use(code())
    assert await use(code(), "bob")
    assert await use(mine[0])
    assert not await use(his[1])
    assert await use(his[1], "bob")
    assert not await use("2222-2222-2222")
    assert await list_tokens(state) == {
        "ann": ("totp", RECOVERY_CODES_MADE - 1),
        "bob": ("totp", RECOVERY_CODES_MADE - 1),
    }


async def test_a_new_token_takes_the_place_of_the_old_one(state: AsyncEngine) -> None:
    await give(state)
    await enrol(state, SEALER, Token("ann", "totp", new_secret()))

    assert not await user_of(state)(code())


async def test_without_a_token_no_code_is_right(state: AsyncEngine) -> None:
    codes = await give(state)
    await unenrol(state, "ann")
    use = user_of(state)

    assert not await use(code())
    assert not await use(codes[0])
    assert await list_tokens(state) == {}


async def test_what_is_done_to_nobodys_token_is_an_error(state: AsyncEngine) -> None:
    await give(state)
    for work in (unenrol(state, "bob"), renew_recovery_codes(state, SEALER, "bob")):
        with pytest.raises(StateError, match="'bob' has no token"):
            await work
    with pytest.raises(UsageError):
        await give(state, "a\nb")


@pytest.mark.parametrize("recovery", [False, True], ids=["totp", "recovery code"])
async def test_of_fifty_ports_that_race_with_one_code_one_gets_in(
    state_url: str, recovery: bool
) -> None:
    """Three workers, each with connections of its own, and all fifty at the same moment."""
    workers = [await open_state(state_url) for _ in range(WORKERS)]
    codes = await give(workers[0])
    given = codes[0] if recovery else code()

    admitted = await asyncio.gather(
        *(user_of(workers[port % WORKERS])(given) for port in range(50))
    )

    assert sum(admitted) == 1
    for worker in workers:
        await worker.dispose()


async def test_no_secret_and_no_recovery_code_can_be_read_in_the_state(state: AsyncEngine) -> None:
    codes = await give(state)

    async with reading(state) as connection:
        rows = [
            *(await connection.execute(select(TOKENS))),
            *(await connection.execute(select(RECOVERY_CODES))),
        ]
    stored = repr([tuple(row) for row in rows])
    assert SECRET not in stored
    for each in codes:
        assert each not in stored
        assert each.replace("-", "") not in stored


async def test_another_pools_key_opens_nothing_and_decides_nothing(state: AsyncEngine) -> None:
    await give(state)
    other = Sealer(b"x" * 32, purpose=ONE_TIME_CODES)

    with pytest.raises(StateError, match="another pool key"):
        await use_code(state, other, "ann", code(), NOW)


async def test_a_sealed_secret_is_its_users_alone(state: AsyncEngine) -> None:
    """Who can write to the state can't give a user somebody else's token."""
    await give(state)
    await enrol(state, SEALER, Token("bob", "totp", new_secret()))
    async with state.begin() as connection:
        mine = select(TOKENS.c.secret).where(TOKENS.c.name == "bob").scalar_subquery()
        await connection.execute(TOKENS.update().where(TOKENS.c.name == "ann").values(secret=mine))

    with pytest.raises(StateError):
        await user_of(state)(code())
