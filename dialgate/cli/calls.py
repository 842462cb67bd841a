"""`dialgate calls`: the calls that this machine's agent has in its spool."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from dialgate.cli.table import add_output, duration, print_answer
from dialgate.codes import describe
from dialgate.manual import add_config, new_parser
from dialgate.records import CallRecord, DialogFacts, read_calls
from dialgate.settings import load, require

__all__ = ["run"]

CALLS_MAX: Final = 100_000
HOUR_S: Final = 3600.0

_COLUMNS: Final = (
    "rang",
    "lasted",
    "hport",
    "caller",
    "user",
    "verdict",
    "service",
    "bytes_in",
    "bytes_out",
    "disconnect",
)


def run(command: str, arguments: Sequence[str]) -> int:
    """Print the calls, newest first.

    Raises:
        DialgateError: the spool can't be read.
    """
    parser = new_parser(
        command,
        """
        Shows the calls that the agent of this machine has had, newest first; one that goes on
        has no disconnect reason yet. They are read from the agent's spool, whether it runs or not.

        USER and VERDICT are of the call's last dialog; JSON has every dialog of every call.
        """,
        examples=["dialgate calls --hours 24", "dialgate calls -o json --limit 1 | jq .calls[0]"],
    )
    add_config(parser)
    add_output(parser)
    parser.add_argument(
        "--hours",
        type=_positive(float),
        metavar="N",
        help="only calls of which something was recorded in the last N hours",
    )
    parser.add_argument(
        "--limit",
        type=_positive(int),
        default=50,
        metavar="N",
        help="at most N calls (default: %(default)s)",
    )
    options = parser.parse_args(arguments)
    spool = require(load(options.config), "agent").spool
    since = time.time() - options.hours * HOUR_S if options.hours else 0.0
    calls = read_calls(spool, since, min(options.limit, CALLS_MAX))
    row = _full if options.output == "json" else _short
    print_answer(options.output, "calls", [row(call) for call in calls], _COLUMNS)
    return 0


def _positive(kind: type[Any]) -> Any:
    def convert(text: str) -> Any:
        number = kind(text)
        if not 0 < number < float("inf"):
            raise argparse.ArgumentTypeError(f"{text} is not above 0")
        return number

    return convert


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
        "rang": _local_time(facts.rang_at),
        "lasted": lasted,
        "hport": facts.hport,
        "caller": facts.caller,
        "user": dialog.user if dialog else "",
        "verdict": _verdict(dialog) if dialog else "",
        "service": facts.service,
        "bytes_in": facts.bytes_in,
        "bytes_out": facts.bytes_out,
        "disconnect": facts.disconnect,
    }


def _verdict(dialog: DialogFacts) -> str:
    if dialog.code.ok:
        return dialog.verdict
    return f"{dialog.verdict or 'ended'} ({describe(dialog.code)})"


def _local_time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")
