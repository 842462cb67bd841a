"""Records of calls, as brokers store them."""

from __future__ import annotations

from typing import Any

from dialgate.wire.record import CallFacts, CallRecord, DialogFacts, Kind

__all__ = ["NOON", "record"]

NOON = 1_700_000_000.0
"""When the calls begin, in seconds since 1970."""


def record(
    number: int,
    kind: Kind = "stop",
    *,
    call: int = 1,
    made_at: float = NOON,
    verdict: Any = "success",
    attributes: dict[str, str | int] | None = None,
    **facts: Any,
) -> CallRecord:
    """Return a record of ann's call."""
    dialog = DialogFacts(
        dialog="d0", attempts=1, verdict=verdict, user="ann", attributes=attributes or {}
    )
    about = {
        "site": "oslo",
        "agent": "oslo-1",
        "hport": "oslo/1",
        "caller": "5550100",
        "speed": 33600,
        "rang_at": NOON - 20,
        "dialogs": (dialog,),
        **facts,
    }
    return CallRecord(
        record=number.to_bytes(16, "big"),
        call=call.to_bytes(16, "big"),
        kind=kind,
        made_at=made_at,
        facts=CallFacts(**about),
    )
