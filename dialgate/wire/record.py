"""RECORD's body: one record of a call, as agents send it and brokers store it (protocol §8).

A record stands alone: it holds all that was known of the call when it was made.  Invariant: no
field has room for a caller's answer.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

from dialgate.codes import NO_ERROR
from dialgate.errors import BodyError
from dialgate.wire.body_codec import encode_map, read_map
from dialgate.wire.envelope import encode_message
from dialgate.wire.fields import CodedBody, Hport, Id, Name, Text, WireCode
from dialgate.wire.limits import BODY_BYTES_MAX, USERNAME_BYTES_MAX
from dialgate.wire.verbs import Verb

__all__ = [
    "ATTRIBUTES_MAX",
    "STEPS_MAX",
    "CallFacts",
    "CallRecord",
    "DialogFacts",
    "Kind",
    "Step",
    "decode_record",
    "encode_record",
]

Kind = Literal["start", "interim", "stop"]
Count = Annotated[int, Meta(ge=0, le=2**53)]
Time = Annotated[float, Meta(ge=0, le=1e12)]
"""The agent's wall clock, in seconds since 1970."""
Word = Annotated[str, Meta(max_length=64)]

STEPS_MAX: Final = 64
"""Most steps of a call that a record tells."""
DIALOGS_MAX: Final = 16
ATTRIBUTES_MAX: Final = 64
"""Most attributes of a dialog that a record tells."""


class DialogFacts(CodedBody, frozen=True, kw_only=True):
    """How a call's dialog went."""

    code_fields = ("code",)
    dialog: Annotated[str, Meta(max_length=32)]
    """Its id, in hex."""
    attempts: Count
    """BEGINs that were sent."""
    answers: Count = 0
    """Answers of the caller that went out, to whatever question."""
    tries: Count | None = None
    """Tries that the worker charged; null: it ended without telling."""
    verdict: Literal["", "success", "failure", "error"] = ""
    """Empty: the dialog was ended before there was one."""
    user: Annotated[str, Meta(max_length=USERNAME_BYTES_MAX)] = ""
    domain: Annotated[str, Meta(max_length=USERNAME_BYTES_MAX)] = ""
    code: WireCode = NO_ERROR
    """Of an error verdict; without a verdict, why the dialog was ended."""
    attributes: Annotated[dict[str, str | int | bool], Meta(max_length=ATTRIBUTES_MAX)] = {}  # noqa: RUF012 - msgspec copies it
    """Those of the verdict that are text, numbers or booleans."""
    local: bool = False
    """Whether a broker on the site's own machine had it, as no other answered."""


class Step(Struct, frozen=True, kw_only=True, gc=False):
    """Something that happened in a call."""

    at: Time
    what: Word
    """One of a closed set of words (`port_agents.call.Happening`)."""
    detail: Text = ""


class CallFacts(CodedBody, frozen=True, kw_only=True):
    """What is known of a call at the time of the record; a time is null when it did not come."""

    code_fields = ("code",)
    site: Name
    agent: Name
    """Not sent: it is the session's."""
    hport: Hport
    caller: Text = ""
    """Number as the exchange gave it, unverified; empty: none."""
    caller_name: Text = ""
    speed: Count = 0
    """Of the connection, in bit/s; 0: unknown."""
    connect_text: Text = ""
    rang_at: Time
    connected_at: Time | None = None
    handed_over_at: Time | None = None
    ended_at: Time | None = None
    dialogs: Annotated[tuple[DialogFacts, ...], Meta(max_length=DIALOGS_MAX)] = ()
    service: Text = ""
    """What the caller was handed over to; empty: to nothing."""
    bytes_in: Count | None = 0
    """From the caller; null: a direct service had the line, and nobody counted."""
    bytes_out: Count | None = 0
    disconnect: Word = ""
    """Why the call ended; empty while it goes on."""
    code: WireCode = NO_ERROR
    """Behind the disconnect reason, where there is one."""
    steps: Annotated[tuple[Step, ...], Meta(max_length=STEPS_MAX)] = ()
    """What happened, in order; the first and the last of more."""


class CallRecord(Struct, frozen=True, kw_only=True):
    """One record of a call."""

    record: bytes
    """16 bytes, its own."""
    call: bytes
    """16 bytes, the same in all records of the call."""
    kind: Kind
    made_at: float
    """Wall clock, seconds since 1970."""
    facts: CallFacts


class _Head(Struct, frozen=True, kw_only=True, gc=False):
    record: Id
    call: Id
    kind: Kind
    made_at: Time = 0.0


def encode_record(record: CallRecord) -> bytes:
    """Return the whole message RECORD.

    One that would be too long goes without steps and attributes.
    """
    body = _encode(record)
    if len(body) > BODY_BYTES_MAX:
        bare = tuple(msgspec.structs.replace(each, attributes={}) for each in record.facts.dialogs)
        facts = msgspec.structs.replace(record.facts, dialogs=bare, steps=())
        body = _encode(msgspec.structs.replace(record, facts=facts))
    return encode_message(Verb.RECORD, None, 0, body)


def decode_record(body: bytes, agent: str) -> CallRecord:
    """Return the record that `agent` has sent.

    Raises:
        BodyError: it is no map, or a field is missing or out of range.
    """
    fields = read_map(body, nested=True)
    try:
        head = msgspec.convert(fields, _Head)
        # A foreign agent may know no more of the times than when it made the record.
        facts = msgspec.convert(
            {"rang_at": head.made_at, **fields, "agent": agent}, CallFacts, strict=True
        )
    except msgspec.ValidationError as error:
        raise BodyError("record", _without_values(str(error))) from None
    return CallRecord(
        record=head.record, call=head.call, kind=head.kind, made_at=head.made_at, facts=facts
    )


def _encode(record: CallRecord) -> bytes:
    fields = {
        "record": record.record,
        "call": record.call,
        "kind": record.kind,
        "made_at": record.made_at,
        **msgspec.to_builtins(record.facts),
    }
    del fields["agent"]
    return encode_map(fields)


def _without_values(text: str) -> str:
    """Return msgspec's text, which names the place and the type but may quote an enum's value."""
    what, at, place = text.partition(" - at ")
    return f"{what.partition(' ')[0] if 'Invalid enum' in what else what}{at}{place}"
