"""What RADIUS accounting says of a call (RFC 2866, RFC 2869).  Pure.

Calls are accounted that somebody was admitted in, from their records; an agent's start and end are
told as Accounting-On and -Off.  Invariant: each reason for which a call ends
has an Acct-Terminate-Cause of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Final

from auth_workers.radius.attributes import ASYNC, LOGIN, Pairs, class_values, number, texts
from auth_workers.radius.packets import Attribute
from dialgate.wire.record import CallRecord, DialogFacts

__all__ = [
    "ADMITTED_BY",
    "TERMINATE_CAUSES",
    "Status",
    "admission_of",
    "of_agent",
    "of_record",
]

ADMITTED_BY: Final = "radius"
"""Attribute of COMPLETE that names the table whose server admitted the caller."""
GIGAWORD: Final = 2**32
BY_RADIUS, LOCALLY = 1, 2
"""Acct-Authentic."""


class Status(IntEnum):
    """Acct-Status-Type."""

    START = 1
    STOP = 2
    INTERIM = 3
    ON = 7
    OFF = 8


_STATUS: Final = {"start": Status.START, "interim": Status.INTERIM, "stop": Status.STOP}

TERMINATE_CAUSES: Final[Mapping[str, int]] = {
    "service-ended": 1,  # User Request: he logged out
    "caller": 2,  # Lost Carrier
    "no-connection": 3,  # Lost Service
    "idle-timeout": 4,  # Idle Timeout
    "session-timeout": 5,  # Session Timeout
    "operator": 6,  # Admin Reset
    "agent-stopped": 7,  # Admin Reboot
    "port-fault": 8,  # Port Error
    "undecided": 9,  # NAS Error
    "agent-restart": 11,  # NAS Reboot
    "unanswered": 12,  # Port Unneeded
    "service-failed": 15,  # Service Unavailable
    "user-mismatch": 17,  # User Error
    # Nobody was admitted, so these are in no accounting: numbers that nobody else has.
    "refused": 13,
    "number-refused": 14,
    "ppp-refused": 16,
}
"""Disconnect reason of a record → Acct-Terminate-Cause (RFC 2866 §5.10)."""
NAS_REQUEST: Final = 10
"""Cause of a reason that this version doesn't know: an agent may be newer."""


def admission_of(record: CallRecord) -> DialogFacts | None:
    """Return the dialog that let the caller in, or None: then the call is not accounted."""
    dialogs = record.facts.dialogs
    return dialogs[-1] if dialogs and dialogs[-1].verdict == "success" else None


def of_record(record: CallRecord, admission: DialogFacts) -> Pairs:
    """Return what an Accounting-Request says of a call; Acct-Delay-Time is the sender's to add."""
    facts = record.facts
    attributes = admission.attributes
    by_radius = ADMITTED_BY in attributes
    pairs: Pairs = [
        (Attribute.ACCT_STATUS_TYPE, number(_STATUS[record.kind])),
        (Attribute.ACCT_AUTHENTIC, number(BY_RADIUS if by_radius else LOCALLY)),
        (Attribute.SERVICE_TYPE, number(LOGIN)),
        (Attribute.NAS_PORT_TYPE, number(ASYNC)),
        (Attribute.EVENT_TIMESTAMP, number(int(record.made_at))),
        *texts(
            {
                Attribute.ACCT_SESSION_ID: record.call.hex(),
                Attribute.USER_NAME: admission.user,
                Attribute.NAS_IDENTIFIER: facts.agent,
                Attribute.NAS_PORT_ID: facts.hport,
                Attribute.CALLING_STATION_ID: facts.caller,
                Attribute.CONNECT_INFO: facts.connect_text or str(facts.speed or ""),
            }
        ),
        # Only what a server said itself is a Class; others may write what they like.
        *((Attribute.CLASS, each) for each in class_values(attributes) if by_radius),
    ]
    return pairs if record.kind == "start" else pairs + _usage(record)


def of_agent(agent: str, status: Status, at: float) -> Pairs:
    """Return what Accounting-On or -Off says of an agent."""
    return [
        (Attribute.ACCT_STATUS_TYPE, number(status)),
        (Attribute.EVENT_TIMESTAMP, number(int(at))),
        *texts({Attribute.NAS_IDENTIFIER: agent, Attribute.ACCT_SESSION_ID: f"{agent}-{int(at)}"}),
    ]


def _usage(record: CallRecord) -> Pairs:
    """Return how long the caller stayed and what passed; of a stop, why it ended too."""
    facts = record.facts
    ended_at = facts.ended_at or record.made_at
    stayed_s = max(0, round(ended_at - (facts.handed_over_at or ended_at)))
    usage: Pairs = [(Attribute.ACCT_SESSION_TIME, number(stayed_s))]
    for octets, gigawords, count in (
        (Attribute.ACCT_INPUT_OCTETS, Attribute.ACCT_INPUT_GIGAWORDS, facts.bytes_in),
        (Attribute.ACCT_OUTPUT_OCTETS, Attribute.ACCT_OUTPUT_GIGAWORDS, facts.bytes_out),
    ):
        if count is not None:
            usage += [(octets, number(count % GIGAWORD)), (gigawords, number(count // GIGAWORD))]
    if record.kind == "stop":
        cause = TERMINATE_CAUSES.get(facts.disconnect, NAS_REQUEST)
        usage.append((Attribute.ACCT_TERMINATE_CAUSE, number(cause)))
    return usage
