"""`dialgate calls`: the calls that the cluster's state knows, or this machine's spool."""

from __future__ import annotations

import argparse
import asyncio
import csv
import re
import sys
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from dialgate.calls import Wanted, find_calls
from dialgate.cli.call_story import explain, local_time
from dialgate.cli.table import add_output, cell, duration, print_answer
from dialgate.codes import describe
from dialgate.manual import add_config, new_parser
from dialgate.records import CallRecord, DialogFacts, read_calls
from dialgate.settings import load, require
from dialgate.state import open_state

__all__ = ["run"]

CALLS_MAX: Final = 100_000

_AGO: Final = re.compile(r"(\d+(?:\.\d+)?)([smhd])")
_UNITS_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_COLUMNS: Final = (
    "call",
    "rang",
    "lasted",
    "hport",
    "caller",
    "user",
    "verdict",
    "tries",
    "service",
    "bytes_in",
    "bytes_out",
    "disconnect",
)
_CSV_COLUMNS: Final = ("call", "rang_at", "ended_at", "site", "agent", *_COLUMNS[3:], "code")


def run(command: str, arguments: Sequence[str]) -> int:
    """Print calls, newest first, or explain one.

    Raises:
        DialgateError: the state or the spool can't be read, or there is no such call.
    """
    if arguments[:1] == ["explain"]:
        return explain(f"{command} explain", arguments[1:])
    options = _parser(command).parse_args(arguments)
    settings = load(options.config)
    wanted = Wanted(options.since, options.user, options.port, min(options.limit, CALLS_MAX))
    if options.spool:
        calls = _from_spool(require(settings, "agent", options.config).spool, wanted)
    else:
        calls = asyncio.run(_from_state(settings.cluster.state, wanted))
    if options.output == "csv":
        _print_csv(calls)
    else:
        row = _full if options.output == "json" else _short
        print_answer(options.output, "calls", [row(call) for call in calls], _COLUMNS)
    return 0


def _parser(command: str) -> argparse.ArgumentParser:
    parser = new_parser(
        command,
        """
        Shows the calls that the cluster has had, newest first; one that goes on has no disconnect
        reason yet. They are read from the cluster's state, where brokers store the records that
        agents send them. With --spool they are read from the spool of this machine's agent, which
        has them first, and keeps them while the state or the way to it is down.

        USER, VERDICT and TRIES are of the call's last dialog; JSON has every dialog and every step.
        `dialgate calls explain CALL` tells what happened in a call.
        """,
        examples=[
            "dialgate calls --since 24h",
            "dialgate calls --since 2026-11-22 --user ann -o csv",
            "dialgate calls explain 0193b0c2a4d17e5c9a3b112233445577",
        ],
    )
    add_config(parser)
    add_output(parser, "csv")
    parser.add_argument(
        "--since",
        type=_since,
        default=0.0,
        metavar="TIME",
        help="only calls of which something was recorded since then: 90m, 24h, 7d, or a local "
        "date or time as 2026-11-22 or 2026-11-22T08:30",
    )
    parser.add_argument("--user", default="", metavar="NAME", help="only this user's calls")
    parser.add_argument("--port", default="", metavar="HPORT", help="only calls on this port")
    parser.add_argument(
        "--limit",
        type=_positive,
        default=50,
        metavar="N",
        help="at most N calls (default: %(default)s)",
    )
    parser.add_argument(
        "--spool", action="store_true", help="read the spool of this machine's agent"
    )
    return parser


async def _from_state(url: str, wanted: Wanted) -> list[CallRecord]:
    engine = await open_state(url)
    try:
        return await find_calls(engine, wanted)
    finally:
        await engine.dispose()


def _from_spool(spool: str, wanted: Wanted) -> list[CallRecord]:
    calls = [
        call
        for call in read_calls(spool, wanted.since, CALLS_MAX)
        if wanted.hport in {"", call.facts.hport} and wanted.user in {"", _user(call)}
    ]
    return calls[: wanted.limit]


def _since(text: str) -> float:
    """Return a time in seconds since 1970."""
    if ago := _AGO.fullmatch(text):
        return time.time() - float(ago[1]) * _UNITS_S[ago[2]]
    try:
        return datetime.fromisoformat(text).astimezone().timestamp()
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no time: write 90m, 24h, 7d, 2026-11-22 or 2026-11-22T08:30"
        ) from None


def _positive(text: str) -> int:
    number = int(text)
    if number <= 0:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return number


def _full(call: CallRecord) -> dict[str, Any]:
    """Return everything that is known of `call`, for JSON."""
    facts: dict[str, Any] = msgspec.to_builtins(call.facts)
    return {"call": call.call.hex(), "kind": call.kind, "made_at": call.made_at, **facts}


def _short(call: CallRecord) -> dict[str, Any]:
    """Return what fits on a line."""
    facts = call.facts
    dialog = facts.dialogs[-1] if facts.dialogs else None
    lasted = "" if facts.ended_at is None else duration(max(0.0, facts.ended_at - facts.rang_at))
    return {
        "call": call.call.hex(),
        "rang": local_time(facts.rang_at),
        "lasted": lasted,
        "hport": facts.hport,
        "caller": facts.caller,
        "user": _user(call),
        "verdict": _verdict(dialog) if dialog else "",
        "tries": dialog.tries if dialog else None,
        "service": facts.service,
        "bytes_in": facts.bytes_in,
        "bytes_out": facts.bytes_out,
        "disconnect": facts.disconnect,
    }


def _print_csv(calls: Sequence[CallRecord]) -> None:
    """Print a heading and a line a call; times in ISO 8601, what is not known is empty."""
    lines = csv.writer(sys.stdout, lineterminator="\n")
    lines.writerow(_CSV_COLUMNS)
    for call in calls:
        facts = call.facts
        dialog = facts.dialogs[-1] if facts.dialogs else None
        code = dialog.code if dialog and not dialog.code.ok else facts.code
        row = {
            **_short(call),
            "rang_at": _iso(facts.rang_at),
            "ended_at": _iso(facts.ended_at),
            "site": facts.site,
            "agent": facts.agent,
            "verdict": dialog.verdict if dialog else "",
            "code": "" if code.ok else describe(code),
        }
        lines.writerow(_csv_cell(column, row[column]) for column in _CSV_COLUMNS)


def _csv_cell(column: str, value: object) -> str:
    """Return `value` printable, and as no spreadsheet takes it for a formula."""
    text = "" if value in {None, ""} else cell(column, value)
    return f"'{text}" if text[:1] in {"=", "@", "-"} else text


def _iso(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return datetime.fromtimestamp(seconds).astimezone().isoformat(timespec="seconds")


def _user(call: CallRecord) -> str:
    return call.facts.dialogs[-1].user if call.facts.dialogs else ""


def _verdict(dialog: DialogFacts) -> str:
    if dialog.code.ok:
        return dialog.verdict
    return f"{dialog.verdict or 'ended'} ({describe(dialog.code)})"
