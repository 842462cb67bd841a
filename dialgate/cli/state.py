"""`dialgate state`: the cluster's SQL state, which the configuration names."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from dialgate.manual import add_config, new_parser
from dialgate.settings import load
from dialgate.state import upgrade_state

__all__ = ["run"]


def run(command: str, arguments: Sequence[str]) -> int:
    """Carry out one act on the state.

    Raises:
        DialgateError: it could not be done.
    """
    parser = new_parser(
        command,
        """
        upgrade gives the database the tables of this version of dialgate. A database that is
        empty, or a file that is not there, gets all of them. It is one transaction: done, or not
        begun. Save a copy first: there is no way back.

        Programs say so and don't start when the state is older than they are, or newer.
        """,
        examples=["dialgate state upgrade --config /etc/dialgate/dialgate.toml"],
    )
    acts = parser.add_subparsers(dest="act", required=True, metavar="ACT")
    summary = "give the database this version's tables"
    add_config(acts.add_parser("upgrade", help=summary, description=f"{summary.capitalize()}."))
    options = parser.parse_args(arguments)
    before, after = asyncio.run(upgrade_state(load(options.config).cluster.state))
    if before == after:
        print(f"the state has schema {after} already")
    else:
        print(f"the state has schema {after} now; it had {before or 'none'}")
    return 0
