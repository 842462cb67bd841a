"""Make records of calls (protocol §8) from what a line noted.

Pure.  Which record is due when is the line's decision; keeping it is the spool's.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from dialgate.wire.limits import TEXT_CHARS_MAX
from dialgate.wire.record import ATTRIBUTES_MAX, CallFacts, CallRecord, DialogFacts, Step
from port_agents.call import Call, DialogOutcome, Disconnect

__all__ = ["facts_of", "stop_of_interrupted"]


def facts_of(call: Call, port: tuple[str, str, str], *, clock_offset_s: float) -> CallFacts:
    """Return what is known of `call` now.

    Args:
        call: what the line noted.
        port: names of site, agent and HPORT.
        clock_offset_s: wall clock less the agent's clock.
    """

    def wall(at: float | None) -> float | None:
        return None if at is None else at + clock_offset_s

    site, agent, hport = port
    return CallFacts(
        site=site,
        agent=agent,
        hport=hport,
        # What modems say can be longer than a record takes.
        caller=call.caller.number[:TEXT_CHARS_MAX],
        caller_name=call.caller.name[:TEXT_CHARS_MAX],
        speed=call.connect_speed,
        connect_text=call.connect_text[:TEXT_CHARS_MAX],
        rang_at=call.rang_at + clock_offset_s,
        connected_at=wall(call.connected_at),
        handed_over_at=wall(call.handed_over_at),
        ended_at=wall(call.ended_at),
        dialogs=() if call.dialog is None else (_dialog_facts(call.dialog),),
        service=call.service,
        bytes_in=call.bytes_in,
        bytes_out=call.bytes_out,
        disconnect="" if call.disconnect is None else call.disconnect.value,
        code=call.code,
        steps=tuple(
            Step(at=at + clock_offset_s, what=what.value, detail=detail[:TEXT_CHARS_MAX])
            for at, what, detail in call.steps
        ),
    )


def stop_of_interrupted(
    call: bytes, facts: CallFacts, *, record: bytes, made_at: float
) -> CallRecord:
    """Return the stop record of a call that its agent did not live to end.

    When the caller was cut off nobody knows, so `ended_at` stays empty.

    Args:
        call: its id.
        facts: what was known of it last.
        record: 16 bytes, never used before.
        made_at: the wall clock, seconds since 1970.
    """
    last = msgspec.structs.replace(facts, disconnect=Disconnect.AGENT_RESTART.value)
    return CallRecord(record=record, call=call, kind="stop", made_at=made_at, facts=last)


def _dialog_facts(outcome: DialogOutcome) -> DialogFacts:
    verdict = outcome.verdict
    facts = DialogFacts(
        dialog=outcome.dialog.hex(),
        attempts=outcome.attempts,
        answers=outcome.answers,
        code=outcome.reason,
        local=outcome.is_local,
    )
    if verdict is None:
        return facts
    return msgspec.structs.replace(
        facts,
        verdict=verdict.outcome,
        user=verdict.username,
        domain=verdict.domain,
        code=verdict.error,
        tries=_count(verdict.attributes.get("tries")),
        attributes=dict(itertools.islice(_plain(verdict.attributes), ATTRIBUTES_MAX)),
    )


def _count(value: object) -> int | None:
    """Return what a worker says is a number of tries; None: it says no such thing."""
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    return value if 0 <= value < 2**31 else None


def _plain(attributes: Mapping[str, Any]) -> Iterator[tuple[str, str | int]]:
    """Yield the attributes that are text, numbers or booleans; `tries` has a field of its own."""
    for name, value in attributes.items():
        if name != "tries" and isinstance(value, str | int):
            yield name, value
