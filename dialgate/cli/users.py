"""`dialgate users`: the users of the authenticator "local", in the cluster's state.

A password is never an argument: other users of the machine could read it there.
"""

from __future__ import annotations

import argparse
import asyncio
import getpass
import sys
from collections.abc import Sequence
from typing import Final

from sqlalchemy.ext.asyncio import AsyncEngine

from dialgate import state, users
from dialgate.cli.table import add_output, print_answer
from dialgate.errors import UsageError
from dialgate.manual import add_config, new_parser
from dialgate.passwords import PASSWORD_BYTES_MAX
from dialgate.settings import load

__all__ = ["run"]

_ACTS: Final = {
    "add": ("add a user who may log in", "added"),
    "list": ("list all users", ""),
    "disable": ("let a user log in no more; what he has stays", "disabled"),
    "enable": ("let a disabled user log in again", "enabled"),
    "passwd": ("give a user a new password", "has a new password"),
    "remove": ("forget a user", "removed"),
}
_WITH_PASSWORD: Final = frozenset({"add", "passwd"})


def run(_command: str, arguments: Sequence[str]) -> int:
    """Carry out one act on the users.

    Raises:
        DialgateError: it could not be done.
    """
    options = _parser().parse_args(arguments)
    url = load(options.config).cluster.state
    password = _ask_password() if options.act in _WITH_PASSWORD else b""
    asyncio.run(_act(url, options, password))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = new_parser(
        "users",
        """
        Keeps the users of the authenticator "local" in the cluster's state, which the
        configuration names. A change holds from the next login on; no program is restarted.

        add and passwd ask for the password twice on a terminal; otherwise they read one line
        from standard input.
        """,
        examples=["dialgate users add ann", "pass show ann | dialgate users passwd ann"],
    )
    acts = parser.add_subparsers(dest="act", required=True, metavar="ACT")
    for act, (summary, _) in _ACTS.items():
        each = acts.add_parser(act, help=summary, description=f"{summary.capitalize()}.")
        add_config(each)
        if act == "list":
            add_output(each)
        else:
            each.add_argument("name", metavar="NAME", help="the user's name")
    return parser


async def _act(url: str, options: argparse.Namespace, password: bytes) -> None:
    engine = await state.open_state(url)
    try:
        if options.act == "list":
            await _list(engine, options.output)
            return
        await _change(engine, options.act, options.name, password)
        print(f"{options.name}: {_ACTS[options.act][1]}")
    finally:
        await engine.dispose()


async def _change(engine: AsyncEngine, act: str, name: str, password: bytes) -> None:
    match act:
        case "add":
            await users.add_user(engine, name, password)
        case "passwd":
            await users.set_password(engine, name, password)
        case "remove":
            await users.remove_user(engine, name)
        case _:
            await users.set_disabled(engine, name, act == "disable")


async def _list(engine: AsyncEngine, output: str) -> None:
    rows = [
        {
            "name": user.name,
            "disabled": user.disabled,
            "created": user.created.isoformat(timespec="seconds"),
            "changed": user.changed.isoformat(timespec="seconds"),
        }
        for user in await users.list_users(engine)
    ]
    print_answer(output, "users", rows, ("name", "disabled", "created", "changed"))


def _ask_password() -> bytes:
    """Return the password that is typed twice, or the first line of standard input.

    Raises:
        UsageError: the two differ, or there is none.
    """
    if not sys.stdin.isatty():
        line = sys.stdin.buffer.readline(PASSWORD_BYTES_MAX + 3)
        return line.removesuffix(b"\n").removesuffix(b"\r")
    try:
        password = getpass.getpass("Password: ")
        again = getpass.getpass("Again: ")
    except EOFError:
        raise UsageError("no password was typed") from None
    if password != again:
        raise UsageError("the two passwords differ: nothing was changed")
    return password.encode()
