"""`dialgate calls explain`: what happened in a call, step by step, from its records.

Invariant: nothing that a caller answered is told; records have none of it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import msgspec

from dialgate.calls import records_of
from dialgate.cli.table import add_output
from dialgate.codes import describe
from dialgate.errors import StateError, UsageError
from dialgate.manual import add_config, new_parser
from dialgate.records import read_records_of
from dialgate.settings import load, require
from dialgate.state import open_state
from dialgate.text import printable
from dialgate.wire.record import CallFacts, CallRecord, Step

__all__ = ["explain", "local_time"]

_MOMENTS: Final = {
    "rang_at": "rang",
    "connected_at": "connected",
    "handed_over_at": "handed over",
    "ended_at": "ended",
}
"""What a record without steps tells of times."""


def explain(command: str, arguments: Sequence[str]) -> int:
    """Print each step of one call.

    Raises:
        DialgateError: the state or the spool can't be read, or there is no such call.
    """
    parser = new_parser(
        command,
        """
        Tells what happened in a call: each step with its time by the agent's clock, and the records
        that were made of it. What the caller answered nobody knows any more.
        """,
        examples=["dialgate calls explain 0193b0c2a4d17e5c9a3b112233445577"],
    )
    add_config(parser)
    add_output(parser)
    parser.add_argument(
        "--spool", action="store_true", help="read the spool of this machine's agent"
    )
    parser.add_argument("call", metavar="CALL", help="its id, as `dialgate calls` shows it")
    options = parser.parse_args(arguments)
    call = _id(options.call)
    settings = load(options.config)
    if options.spool:
        records = read_records_of(require(settings, "agent", options.config).spool, call)
    else:
        records = asyncio.run(_from_state(settings.cluster.state, call))
    if not records:
        raise StateError(f"there is no call {call}: `dialgate calls` shows them")
    if options.output == "json":
        print(json.dumps({"call": call, "records": [_full(each) for each in records]}, indent=2))
    else:
        for line in _story(records):
            print(printable(line))
    return 0


def local_time(seconds: float, *, fine: bool = False) -> str:
    """Return a time for people, in this machine's zone; `fine`: with milliseconds."""
    local = datetime.fromtimestamp(seconds, UTC).astimezone()
    return local.strftime("%Y-%m-%d %H:%M:%S") + (f".{local.microsecond // 1000:03}" * fine)


def _id(text: str) -> str:
    try:
        return UUID(text).hex
    except ValueError:
        raise UsageError(f"{text!r} is no call: an id has 32 hexadecimal digits") from None


async def _from_state(url: str, call: str) -> list[CallRecord]:
    engine = await open_state(url)
    try:
        return await records_of(engine, bytes.fromhex(call))
    finally:
        await engine.dispose()


def _full(record: CallRecord) -> dict[str, Any]:
    facts: dict[str, Any] = msgspec.to_builtins(record.facts)
    head = {"record": record.record.hex(), "kind": record.kind, "made_at": record.made_at}
    return {**head, **facts}


def _story(records: Sequence[CallRecord]) -> Iterator[str]:
    stops = [each for each in records if each.kind == "stop"]
    facts = (stops or list(records))[-1].facts
    yield f"call    {records[0].call.hex()}"
    yield f"port    {facts.hport} of {facts.agent} at {facts.site}"
    yield f"caller  {facts.caller or 'number not given'} {facts.caller_name}".rstrip()
    for dialog in facts.dialogs:
        code = "" if dialog.code.ok else f" ({describe(dialog.code)})"
        tries = "not told" if dialog.tries is None else dialog.tries
        yield f"dialog  {dialog.dialog}: {dialog.verdict or 'no verdict'}{code}"
        yield f"        user {dialog.user or '-'}, tries {tries}, attempts {dialog.attempts}"
    if facts.service:
        yield f"service {facts.service}: {_bytes(facts)}"
    yield f"ended   {_end(facts)}"
    yield ""
    steps = facts.steps or _moments(facts)
    for step in steps:
        after = f"+{step.at - steps[0].at:.3f}"
        yield f"{local_time(step.at, fine=True)} {after:>9}  {step.what} {step.detail}".rstrip()
    yield ""
    for each in records:
        yield f"{local_time(each.made_at, fine=True)}  record {each.record.hex()}  {each.kind}"


def _bytes(facts: CallFacts) -> str:
    if facts.bytes_in is None or facts.bytes_out is None:
        return "it had the line to itself, and nobody counted"
    return f"{facts.bytes_in} bytes from the caller, {facts.bytes_out} to him"


def _end(facts: CallFacts) -> str:
    if not facts.disconnect:
        return "not yet"
    return facts.disconnect if facts.code.ok else f"{facts.disconnect} ({describe(facts.code)})"


def _moments(facts: CallFacts) -> tuple[Step, ...]:
    """Return what a record without steps tells of the call's times."""
    times = ((getattr(facts, field), what) for field, what in _MOMENTS.items())
    return tuple(Step(at=at, what=what) for at, what in times if at is not None)
