"""One-time codes: which counter a code belongs to, and whether that one may still be used.

HOTP (RFC 4226) and TOTP (RFC 6238), whose counter is the number of its time step; pyotp does the
arithmetic.  What a token has used up is `dialgate.one_time_codes`' to keep.

A code is right within a small window around the counter where the token is expected.  A token that
has strayed further is found by two codes in a row (RFC 4226 §7.4): the first is refused and noted,
the second is accepted and says where the token stands.

Invariant: a code whose counter is not above the last one accepted is never right.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from hmac import compare_digest
from typing import Final, Literal

import pyotp

from dialgate.errors import UsageError

__all__ = ["DIGITS", "STEP_S", "Kind", "Match", "Token", "match", "parse_seed", "uri"]

Kind = Literal["totp", "hotp"]

STEP_S: Final = 30
"""Length of TOTP's time step, the one that every app uses."""
DIGITS: Final = (6, 8)
"""Lengths that a code may have."""
TOTP_WINDOW: Final = 1
"""Steps before and after the expected one: a slow typist and a clock that is half a minute off."""
HOTP_WINDOW: Final = 10
"""Codes that may have been made and not used."""
TOTP_STRAY: Final = 40
"""Steps within which a token is looked for by two codes: 20 minutes either way."""
HOTP_STRAY: Final = 100
"""Likewise, codes ahead."""
PAIR_GAP: Final = 2
"""The second code of a pair is the next one, or the one after it."""
SEED_BYTES: Final = range(14, 129)
"""Bytes of a secret: at least 112 bits (NIST SP 800-63B-4 §3.1.4.1); longer ones are no token's."""


@dataclass(frozen=True, slots=True)
class Token:
    """A user's token as the state has it."""

    user: str
    kind: Kind
    secret: str = field(repr=False)
    """In base32."""
    digits: int = 6
    last: int = -1
    """Counter of the last code accepted; -1: none was."""
    drift: int = 0
    """TOTP: steps by which the token's clock was ahead of ours at the last code."""
    stray: int = -1
    """Counter of a code that was too far off, the first of a pair; -1: there is none."""


@dataclass(frozen=True, slots=True)
class Match:
    """What a code was found to be."""

    counter: int
    accepted: bool
    """False: it is the first of a pair, so it is refused and to be noted."""
    drift: int = 0
    """TOTP: what the token's drift is to be from now on."""


def match(token: Token, code: str, now_s: float) -> Match | None:
    """Return what `code` is of `token` at `now_s` (since 1970); None: wrong, or used up.

    Every counter within reach is compared, whichever fits, so the time taken tells nothing.
    """
    if token.kind == "totp":
        clock = int(now_s) // STEP_S
        expected = clock + token.drift
        near = range(expected - TOTP_WINDOW, expected + TOTP_WINDOW + 1)
        reach = range(clock - TOTP_STRAY, clock + TOTP_STRAY + 1)
        reach = range(min(reach.start, near.start), max(reach.stop, near.stop))
    else:
        clock = 0
        near = range(token.last + 1, token.last + 1 + HOTP_WINDOW)
        reach = range(token.last + 1, token.last + 1 + HOTP_STRAY)
    generator = pyotp.HOTP(token.secret, digits=token.digits)
    given = code.encode()
    fitting = [
        counter
        for counter in reach
        if counter >= 0 and compare_digest(generator.at(counter).encode(), given)
    ]
    unused = [counter for counter in fitting if counter > token.last]
    pair = range(token.stray + 1, token.stray + 1 + PAIR_GAP) if token.stray >= 0 else range(0)
    for counter in unused:
        if counter in near or counter in pair:
            return Match(counter, accepted=True, drift=counter - clock if clock else 0)
    return Match(unused[0], accepted=False) if unused else None


def parse_seed(text: str) -> str:
    """Return the secret of a token that has one already, in base32 without padding.

    Raises:
        UsageError: it is no base32, too short or too long.
    """
    seed = "".join(text.split()).replace("-", "").rstrip("=").upper()
    try:
        secret = base64.b32decode(seed + "=" * (-len(seed) % 8))
    except (binascii.Error, ValueError):
        raise UsageError("the seed is no base32: letters A to Z and digits 2 to 7") from None
    if len(secret) not in SEED_BYTES:
        first, last = SEED_BYTES[0], SEED_BYTES[-1]
        raise UsageError(f"the seed has {len(secret)} bytes: a token has {first} to {last}")
    return seed


def uri(token: Token, issuer: str) -> str:
    """Return the otpauth URI by which apps take the token; it holds the secret."""
    if token.kind == "totp":
        totp = pyotp.TOTP(token.secret, digits=token.digits)
        return totp.provisioning_uri(name=token.user, issuer_name=issuer)
    hotp = pyotp.HOTP(token.secret, digits=token.digits, initial_count=token.last + 1)
    return hotp.provisioning_uri(name=token.user, issuer_name=issuer)
