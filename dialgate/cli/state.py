"""`dialgate state`: the cluster's SQL state, which the configuration names."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from dialgate.errors import CopyError
from dialgate.keys import load_sync_key, load_sync_secret
from dialgate.manual import add_config, new_parser
from dialgate.settings import Settings, load
from dialgate.state import open_state, upgrade_state
from dialgate.user_copy import COPY_BYTES_MAX, open_copy, seal_copy
from dialgate.user_sync import Stored, store_copy, take_copy

__all__ = ["run"]

_STREAM: Final = "-"
"""Stands for standard input or output in the place of a file."""


def run(command: str, arguments: Sequence[str]) -> int:
    """Carry out one act on the state.

    Raises:
        DialgateError: it could not be done.
    """
    options = _parser(command).parse_args(arguments)
    settings = load(options.config)
    match options.act, getattr(options, "side", ""):
        case "upgrade", _:
            _upgrade(settings.cluster.state)
        case _, "sign":
            _sign(settings, options.file, options.users)
        case _:
            _apply(settings, options.file)
    return 0


def _parser(command: str) -> argparse.ArgumentParser:
    parser = new_parser(
        command,
        """
        upgrade gives the database the tables of this version of dialgate. A database that is
        empty, or a file that is not there, gets all of them. It is one transaction: done, or not
        begun. Save a copy first: there is no way back. Programs say so and don't start when the
        state is older than they are, or newer.

        sync brings a copy of the centre's users to the node of a site, for when it is cut off.
        At the centre, sync sign writes the copy, signed with state-sync.secret; at the site, sync
        apply checks it by state-sync.key and lets it take the place of the one before. Both keys
        are made by `dialgate keys sync`. A copy holds hashes of passwords, roles and dates of
        validity, and no second factor. Users that the site has added itself stay as they are.

        A copy counts for users_copy_max_age_s of the centre's [cluster]: then it is refused, and
        whom it has brought may not log in any more. Apply a new one every day.
        """,
        examples=[
            "dialgate state upgrade --config /etc/dialgate/dialgate.toml",
            "ssh centre dialgate state sync sign - --users 'noc-*' | dialgate state sync apply -",
        ],
    )
    acts = parser.add_subparsers(dest="act", required=True, metavar="ACT")
    add_config(_act(acts, "upgrade", "give the database this version's tables"))
    sync = _act(acts, "sync", "copy the centre's users to a site")
    sides = sync.add_subparsers(dest="side", required=True, metavar="SIDE")
    sign = _act(sides, "sign", "write a signed copy of the users, at the centre")
    sign.add_argument("file", metavar="FILE", help="where it goes; -: standard output")
    sign.add_argument(
        "--users",
        nargs="+",
        default=["*"],
        metavar="PATTERN",
        help="copy only users with such names (all)",
    )
    apply = _act(sides, "apply", "check a copy and take it over, at the site")
    apply.add_argument("file", metavar="FILE", help="where it is; -: standard input")
    for each in (sign, apply):
        add_config(each)
    return parser


def _act(
    acts: argparse._SubParsersAction[argparse.ArgumentParser], name: str, summary: str
) -> argparse.ArgumentParser:
    return acts.add_parser(name, help=summary, description=f"{summary.capitalize()}.")


def _upgrade(url: str) -> None:
    before, after = asyncio.run(upgrade_state(url))
    if before == after:
        print(f"the state has schema {after} already")
    else:
        print(f"the state has schema {after} now; it had {before or 'none'}")


def _sign(settings: Settings, file: str, patterns: Sequence[str]) -> None:
    key = load_sync_secret(settings.cluster.keys)

    async def take() -> tuple[bytes, int]:
        engine = await open_state(settings.cluster.state)
        try:
            max_age_s = settings.cluster.users_copy_max_age_s
            copy = await take_copy(engine, patterns, int(time.time()), max_age_s)
        finally:
            await engine.dispose()
        return seal_copy(copy, key), len(copy.users)

    data, users = asyncio.run(take())
    if file == _STREAM:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    try:
        _write(Path(file), data)
    except OSError as error:
        raise CopyError(f"{file}: can't be written ({error.strerror})") from None
    print(f"{file}: a copy of {users} users")


def _write(file: Path, data: bytes) -> None:
    """Write a file for its owner's eyes, whole or not at all."""
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(file)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def _apply(settings: Settings, file: str) -> None:
    key = load_sync_key(settings.cluster.keys)
    data = _read(file)
    try:
        copy = open_copy(data, key, time.time())

        async def store() -> Stored:
            engine = await open_state(settings.cluster.state)
            try:
                return await store_copy(engine, copy)
            finally:
                await engine.dispose()

        stored = asyncio.run(store())
    except CopyError as error:
        name = "standard input" if file == _STREAM else file
        raise CopyError(f"{name}: {error}; nothing was changed") from None
    print(f"{stored.users} users are here as copies")
    if stored.kept:
        print(f"users of the site's own stay as they are: {', '.join(stored.kept)}")


def _read(file: str) -> bytes:
    try:
        if file == _STREAM:
            return sys.stdin.buffer.read(COPY_BYTES_MAX + 1)
        with Path(file).open("rb") as stream:
            return stream.read(COPY_BYTES_MAX + 1)
    except OSError as error:
        raise CopyError(f"{file}: can't be read ({error.strerror})") from None
