"""`dialgate users`: the cluster's local users, and everybody's locks and tokens.

A password is never an argument: other users of the machine could read it there.
"""

from __future__ import annotations

import argparse
import asyncio
import getpass
import sys
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncEngine

from dialgate import one_time_codes, state, tries, users
from dialgate.cli.table import add_output, print_answer
from dialgate.cli.tokens import add_token_options, keep_token
from dialgate.errors import StateError, UsageError
from dialgate.manual import add_config, new_parser
from dialgate.passwords import PASSWORD_BYTES_MAX, PasswordRules
from dialgate.settings import Settings, load
from dialgate.users import UserTerms

__all__ = ["run"]

_ACTS: Final = {
    "add": ("add a user who may log in", "added"),
    "list": ("list all users", ""),
    "set": ("lay down what --role and the like say of a user", "changed"),
    "disable": ("let a user log in no more; what he has stays", "disabled"),
    "enable": ("let a disabled user log in again", "enabled"),
    "passwd": ("give a user a new password", "has a new password"),
    "unlock": ("let a user try again who failed too often", "may try again"),
    "otp": ("give a user a token for one-time codes, or take it away", ""),
    "remove": ("forget a user", "removed"),
}
_WITH_PASSWORD: Final = frozenset({"add", "passwd"})
_WITH_TERMS: Final = frozenset({"add", "set"})
_COLUMNS: Final = ("name", "disabled", "roles", "valid_until", "must_change", "otp", "locked")


def run(_command: str, arguments: Sequence[str]) -> int:
    """Carry out one act on the users.

    Raises:
        DialgateError: it could not be done.
    """
    options = _parser().parse_args(arguments)
    settings = load(options.config)
    password = _ask_password() if options.act in _WITH_PASSWORD else b""
    asyncio.run(_act(settings, options, password))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = new_parser(
        "users",
        """
        Keeps the users of the authenticator "local" in the cluster's state, which the
        configuration names. A change holds from the next login on; no program is restarted.

        add and passwd ask for the password twice on a terminal; otherwise they read one line
        from standard input.

        unlock and otp are for users of every authenticator: failed tries are counted and tokens
        are kept by name.
        """,
        examples=[
            "dialgate users add ann --role field --valid-until 2027-06-30 --must-change",
            "pass show ann | dialgate users passwd ann",
            "dialgate users otp ann",
        ],
    )
    acts = parser.add_subparsers(dest="act", required=True, metavar="ACT")
    for act, (summary, _) in _ACTS.items():
        each = acts.add_parser(act, help=summary, description=f"{summary.capitalize()}.")
        add_config(each)
        if act == "list":
            add_output(each)
            continue
        each.add_argument("name", metavar="NAME", help="the user's name")
        if act in _WITH_TERMS:
            _add_terms(each)
        if act in _WITH_PASSWORD:
            each.add_argument(
                "--must-change",
                action="store_true",
                help="have the user choose another password at his next login",
            )
        if act == "otp":
            add_token_options(each)
    return parser


def _add_terms(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--role",
        action="append",
        dest="roles",
        metavar="ROLE",
        help="a role that policies may name; to be repeated; these are all that he has then",
    )
    parser.add_argument(
        "--no-role", action="store_const", const=[], dest="roles", help="the user has no role"
    )
    for option, what, kind in (
        ("--valid-from", "first", _first_moment),
        ("--valid-until", "last", _last_moment),
    ):
        parser.add_argument(
            option,
            type=kind,
            metavar="DATE",
            help=f"{what} day of the user, as 2027-06-30 in UTC, or a moment as "
            '2027-06-30T18:00+02:00; "any": there is none',
        )
    if parser.prog.endswith(" set"):
        parser.add_argument(
            "--must-change",
            action=argparse.BooleanOptionalAction,
            help="whether the user has to choose another password at his next login",
        )


def _first_moment(text: str) -> int:
    return _moment(text, whole_day=False)


def _last_moment(text: str) -> int:
    return _moment(text, whole_day=True)


def _moment(text: str, *, whole_day: bool) -> int:
    """Return a date as seconds since 1970, of a day its beginning or its end; 0 for "any"."""
    if text == "any":
        return 0
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f'{text!r} is no date: write it as "2027-06-30"') from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    if whole_day and len(text) == len("2027-06-30"):
        moment += timedelta(days=1)
    return max(1, int(moment.timestamp()))


async def _act(settings: Settings, options: argparse.Namespace, password: bytes) -> None:
    engine = await state.open_state(settings.cluster.state)
    try:
        match options.act:
            case "list":
                await _list(engine, options.output)
                return
            case "otp":
                await keep_token(engine, settings.cluster, options)
                return
            case _:
                await _change(engine, options, password)
        if options.act in _WITH_PASSWORD:
            _warn_of(password, options.name, settings)
        print(f"{options.name}: {_ACTS[options.act][1]}")
    finally:
        await engine.dispose()


async def _change(engine: AsyncEngine, options: argparse.Namespace, password: bytes) -> None:
    name = options.name
    match options.act:
        case "add":
            await users.add_user(engine, name, password, terms=_terms(options))
        case "set":
            await users.set_terms(engine, name, _terms(options))
        case "passwd":
            await users.set_password(engine, name, password, must_change=options.must_change)
        case "unlock":
            if not await tries.unlock(engine, name):
                raise StateError(f"{name!r} has no failed tries: nothing kept him out")
        case "remove":
            await users.remove_user(engine, name)
        case _:
            await users.set_disabled(engine, name, options.act == "disable")


def _terms(options: argparse.Namespace) -> UserTerms:
    return UserTerms(
        roles=options.roles,
        valid_from_s=options.valid_from,
        valid_until_s=options.valid_until,
        must_change=options.must_change,
    )


def _warn_of(password: bytes, name: str, settings: Settings) -> None:
    """Say what the rules have against a password that an operator has set all the same."""
    rules = PasswordRules(
        length_min=settings.passwords.length_min, classes_min=settings.passwords.classes_min
    )
    if fault := rules.fault(password, name):
        print(f"dialgate: warning: {fault}; it is set all the same", file=sys.stderr)


async def _list(engine: AsyncEngine, output: str) -> None:
    tokens = await one_time_codes.list_tokens(engine)
    locks = await tries.list_locks(engine, int(time.time()))
    as_a_whole = {lock.user for lock in locks if not lock.place}
    places = Counter(lock.user for lock in locks if lock.place)
    rows: list[dict[str, Any]] = []
    for user in await users.list_users(engine):
        key = tries.key_of(user.name)
        kind, recovery_codes = tokens.get(user.name, ("", 0))
        rows.append(
            {
                "name": user.name,
                "disabled": user.disabled,
                "roles": list(user.roles),
                "valid_from": _shown(user.valid_from),
                "valid_until": _shown(user.valid_until),
                "must_change": user.must_change,
                "password_set": _shown(user.password_set),
                "otp": kind,
                "recovery_codes": recovery_codes,
                "locked": _lock_of(places[key], whole=key in as_a_whole),
                "created": _shown(user.created),
                "changed": _shown(user.changed),
                "copied_until": _shown(user.copied_until),
            }
        )
    print_answer(output, "users", rows, _COLUMNS)


def _lock_of(places: int, *, whole: bool) -> str:
    """Return where a user is locked, in words; empty: nowhere."""
    if whole:
        return "everywhere"
    return f"at {places} place{'s' * (places > 1)}" if places else ""


def _shown(moment: datetime | None) -> str:
    return moment.isoformat(timespec="seconds") if moment else ""


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
