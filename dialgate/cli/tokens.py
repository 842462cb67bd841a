"""`dialgate users otp`: what an operator sees when he gives a user a token.

The secret and the recovery codes are shown here and never again.
"""

from __future__ import annotations

import argparse
import io
import sys

import segno
from sqlalchemy.ext.asyncio import AsyncEngine

from dialgate import one_time_codes
from dialgate.errors import StateError
from dialgate.otp import DIGITS, Token, parse_seed, uri
from dialgate.pool import pool_key
from dialgate.sealing import ONE_TIME_CODES, Sealer
from dialgate.settings import ClusterSettings
from dialgate.users import find_user, normalize_name

__all__ = ["add_token_options", "keep_token"]


def add_token_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `dialgate users otp`."""
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--replace", action="store_true", help="give a new token in the place of the one he has"
    )
    what.add_argument("--remove", action="store_true", help="take token and recovery codes away")
    what.add_argument(
        "--recovery-codes", action="store_true", help="give new recovery codes for the same token"
    )
    parser.add_argument(
        "--hotp", action="store_true", help="codes by a counter (RFC 4226), not by the time"
    )
    parser.add_argument(
        "--digits", type=int, choices=DIGITS, default=DIGITS[0], help="length of a code"
    )
    parser.add_argument(
        "--seed",
        action="store_true",
        help="read the secret of a token that has one already from standard input, in base32",
    )


async def keep_token(
    engine: AsyncEngine, cluster: ClusterSettings, options: argparse.Namespace
) -> None:
    """Give a user a token, or take it away, and print what he needs.

    Raises:
        DialgateError: it could not be done.
    """
    name = normalize_name(options.name)
    if options.remove:
        await one_time_codes.unenrol(engine, name)
        print(f"{name}: has no token any more")
        return
    sealer = Sealer(await pool_key(cluster, engine), purpose=ONE_TIME_CODES)
    if options.recovery_codes:
        codes = await one_time_codes.renew_recovery_codes(engine, sealer, name)
    else:
        if not options.replace and name in await one_time_codes.list_tokens(engine):
            raise StateError(f"{name!r} has a token already: --replace makes that one void")
        secret = parse_seed(sys.stdin.readline()) if options.seed else one_time_codes.new_secret()
        token = Token(name, "hotp" if options.hotp else "totp", secret, options.digits)
        codes = await one_time_codes.enrol(engine, sealer, token)
        if options.seed:
            print(f"{name}: has the token")
        else:
            _show(uri(token, cluster.name))
    if await find_user(engine, name) is None:
        # Not a fault: users of RADIUS have tokens as well.
        what = f"{name!r} is no local user: the token is for who logs in by that name otherwise"
        print(f"dialgate: warning: {what}", file=sys.stderr)
    print("\nRecovery codes, each good for one login without the token:\n")
    for code in codes:
        print(f"  {code}")
    print("\nNone of this is shown again.")


def _show(address: str) -> None:
    """Print a token's address, as a QR code too where a terminal can show it."""
    print(address)
    try:
        "\u2588\u2580\u2584".encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return
    picture = io.StringIO()
    segno.make_qr(address).terminal(picture, compact=True)
    print(f"\n{picture.getvalue()}", end="")
