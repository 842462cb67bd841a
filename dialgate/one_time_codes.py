"""Users' tokens and recovery codes in the cluster's state: each code gets one caller in, once.

What is used up is written by one statement that only succeeds for who comes first, so that of any
number of workers that check the same code at the same moment one accepts it.

Invariants: the counter of a token's last code never falls.  A token's secret is stored sealed with
the worker pool's key, a recovery code as a digest under it, and neither is in an exception's text.

Every function raises `StateError`, in one line, when the database can't be asked.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from typing import Any, Final

import pyotp
from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from dialgate.errors import StateError
from dialgate.otp import Match, Token, match
from dialgate.sealing import Sealer, context_of
from dialgate.state import reading, unbroken, writing
from dialgate.tables import RECOVERY_CODES, TOKENS
from dialgate.users import normalize_name

__all__ = [
    "RECOVERY_CODES_MADE",
    "enrol",
    "list_tokens",
    "new_secret",
    "renew_recovery_codes",
    "unenrol",
    "use_code",
]

RECOVERY_CODES_MADE: Final = 10
"""Recovery codes that a user is given at a time."""
_ALPHABET: Final = "23456789abcdefghjkmnpqrstuvwxyz"
"""Letters and digits that nobody mistakes for one another on paper."""
_GROUPS, _GROUP_CHARS = 3, 4
"""A recovery code: 12 characters of 31 are 59 bits, of which a line can try a few in a minute."""


def new_secret() -> str:
    """Return 160 random bits in base32, as RFC 4226 §4 recommends for a token."""
    return pyotp.random_base32()


async def enrol(engine: AsyncEngine, sealer: Sealer, token: Token) -> list[str]:
    """Store a user's token, in the place of one that he had; return his recovery codes.

    Args:
        engine: the state.
        sealer: of the purpose `ONE_TIME_CODES`.
        token: fresh; its user need be no local one.

    Raises:
        UsageError: nobody can be called so.
    """
    name = normalize_name(token.user)
    values = {
        "name": name,
        "kind": token.kind,
        "secret": sealer.seal({"secret": token.secret}, _context(name)),
        "digits": token.digits,
        "last": token.last,
        "drift": token.drift,
        "stray": token.stray,
        "created_s": int(time.time()),
    }
    codes, rows = _recovery_codes(sealer, name)
    async with writing(engine) as connection:
        await connection.execute(delete(TOKENS).where(TOKENS.c.name == name))
        await connection.execute(insert(TOKENS).values(values))
        await connection.execute(delete(RECOVERY_CODES).where(RECOVERY_CODES.c.name == name))
        await connection.execute(insert(RECOVERY_CODES), rows)
    return codes


async def renew_recovery_codes(engine: AsyncEngine, sealer: Sealer, user: str) -> list[str]:
    """Give a user new recovery codes; what is left of the old ones is void.

    Raises:
        UsageError: nobody can be called so.
        StateError: he has no token.
    """
    name = normalize_name(user)
    codes, rows = _recovery_codes(sealer, name)
    async with writing(engine) as connection:
        known = await connection.execute(select(TOKENS.c.name).where(TOKENS.c.name == name))
        _require(known.first(), name)
        await connection.execute(delete(RECOVERY_CODES).where(RECOVERY_CODES.c.name == name))
        await connection.execute(insert(RECOVERY_CODES), rows)
    return codes


async def unenrol(engine: AsyncEngine, user: str) -> None:
    """Forget a user's token and recovery codes.

    Raises:
        UsageError: nobody can be called so.
        StateError: he has no token.
    """
    name = normalize_name(user)
    async with writing(engine) as connection:
        await connection.execute(delete(RECOVERY_CODES).where(RECOVERY_CODES.c.name == name))
        gone = await connection.execute(delete(TOKENS).where(TOKENS.c.name == name))
        _require(gone.rowcount, name)


async def list_tokens(engine: AsyncEngine) -> Mapping[str, tuple[str, int]]:
    """Return kind of token and number of recovery codes left, of each user who has a token."""
    left = (
        select(RECOVERY_CODES.c.name, func.count().label("left"))
        .group_by(RECOVERY_CODES.c.name)
        .subquery()
    )
    statement = select(TOKENS.c.name, TOKENS.c.kind, left.c.left).outerjoin(
        left, left.c.name == TOKENS.c.name
    )
    async with reading(engine) as connection:
        rows = await connection.execute(statement)
        return {row.name: (row.kind, row.left or 0) for row in rows}


@unbroken
async def use_code(
    engine: AsyncEngine, sealer: Sealer, user: str, code: str, now_s: float | None = None
) -> bool:
    """Use up a user's code, his token's or a recovery code; return whether that gets him in.

    Args:
        engine: the state.
        sealer: of the purpose `ONE_TIME_CODES`.
        user: name as it was stored.
        code: as typed; spaces and hyphens in it don't count.
        now_s: seconds since 1970; None: now.

    Raises:
        StateError: also when his secret can't be unsealed, so nothing is decided.
    """
    plain = "".join(char for char in code if char not in " -").lower()
    async with reading(engine) as connection:
        row = (await connection.execute(select(TOKENS).where(TOKENS.c.name == user))).first()
    if row is None:
        return False
    if len(plain) == _GROUPS * _GROUP_CHARS:
        return await _use_recovery_code(engine, sealer, user, plain)
    found = match(_token(row, sealer), plain, time.time() if now_s is None else now_s)
    return found is not None and await _use_match(engine, user, row.secret, found)


async def _use_match(engine: AsyncEngine, user: str, sealed: bytes, found: Match) -> bool:
    """Note what was found, unless another worker has used that code or a later one meanwhile."""
    # The secret is compared so that a code of a token that was replaced meanwhile does nothing.
    mine = (TOKENS.c.name == user, TOKENS.c.secret == sealed, TOKENS.c.last < found.counter)
    values = (
        {"last": found.counter, "drift": found.drift, "stray": -1}
        if found.accepted
        else {"stray": found.counter}
    )
    async with writing(engine) as connection:
        changed = await connection.execute(update(TOKENS).where(*mine).values(**values))
    return found.accepted and changed.rowcount == 1


async def _use_recovery_code(engine: AsyncEngine, sealer: Sealer, user: str, plain: str) -> bool:
    digest = sealer.digest(plain.encode(), _context(user))
    statement = delete(RECOVERY_CODES).where(
        RECOVERY_CODES.c.name == user, RECOVERY_CODES.c.digest == digest
    )
    async with writing(engine) as connection:
        return (await connection.execute(statement)).rowcount == 1


def _recovery_codes(sealer: Sealer, name: str) -> tuple[list[str], list[dict[str, Any]]]:
    """Return new codes as the user writes them down, and the rows to store."""
    plain = [
        "".join(secrets.choice(_ALPHABET) for _ in range(_GROUPS * _GROUP_CHARS))
        for _ in range(RECOVERY_CODES_MADE)
    ]
    context = _context(name)
    rows = [{"name": name, "digest": sealer.digest(code.encode(), context)} for code in set(plain)]
    return ["-".join(_groups(code)) for code in plain], rows


def _groups(code: str) -> list[str]:
    return [code[start : start + _GROUP_CHARS] for start in range(0, len(code), _GROUP_CHARS)]


def _token(row: Any, sealer: Sealer) -> Token:
    content = sealer.open(row.secret, _context(row.name))
    if content is None:
        raise StateError(
            f"the token of {row.name!r} was sealed with another pool key: "
            f"give him a new one with `dialgate users otp`"
        )
    return Token(row.name, row.kind, content["secret"], row.digits, row.last, row.drift, row.stray)


def _context(name: str) -> bytes:
    """Return what binds a secret to its user."""
    return context_of({"token": name})


def _require(found: object, name: str) -> None:
    if not found:
        raise StateError(f"{name!r} has no token: `dialgate users otp` gives him one")
