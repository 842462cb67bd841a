"""`dialgate service`: what services say to the agent that has started them."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from dialgate.manual import new_parser
from dialgate.service_users import SOCKET_VARIABLE, TOKEN_VARIABLE, claim_user
from dialgate.text import printable

__all__ = ["run"]


def run(_command: str, arguments: Sequence[str]) -> int:
    """Name the caller's user; 1 when the security host named another.

    Raises:
        DialgateError: the agent can't be asked, or this is no service.
    """
    parser = new_parser(
        "service",
        """
        For services that authenticate their caller again, as PPP does: names the user that the
        service knows him as. The agent compares it with the user that the security host has
        admitted, and ends the call if they differ.

        An agent tells its services where to ask, in their environment; a program that clears its
        environment has to be given the two variables.
        """,
        examples=['dialgate service user "$PEERNAME" || exit 1     in pppd\'s auth-up'],
        files=[
            f"${SOCKET_VARIABLE}  the agent's socket",
            f"${TOKEN_VARIABLE}  what proves that this is the call's service",
        ],
        exit_status="0  the same user\n1  another, or the agent can't be asked\n2  wrong usage",
    )
    acts = parser.add_subparsers(dest="act", required=True, metavar="ACT")
    user = acts.add_parser(
        "user", help="name the caller's user", description="Name the caller's user."
    )
    user.add_argument("name", metavar="NAME", help="the user, also as DOMAIN\\NAME")
    name = parser.parse_args(arguments).name
    ruling = claim_user(os.environ, name)
    if ruling.same:
        return 0
    print(f"dialgate: {printable(ruling.text)}", file=sys.stderr)
    return 1
