"""What everybody saw of the calls, and the one check of it: nobody let in by mistake, nothing lost.

A history is a pile of events, each written by the one who saw it: callers, auth workers, the
services behind the gate, the store of records, and whoever looks at the ports at the end.  No
writer is believed about another's business: an opening is what the service saw, an answer what the
caller typed.  Chaos runs and the simulator write the same events, and the check is the same.

Pure.  It is no log of the programs: nothing here is written in service.  Times are seconds on one
clock for all writers; an event's place in the pile says nothing.

Invariant: an answer is in a history as "right" or "wrong", never as it was typed.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from typing import Final, Literal, TypeVar

import msgspec
from msgspec import Struct

__all__ = [
    "Accepted",
    "Charged",
    "Dialled",
    "Event",
    "Found",
    "HungUp",
    "Opened",
    "Prompted",
    "Rule",
    "Saw",
    "Stored",
    "Typed",
    "Violation",
    "check",
    "decode_event",
    "encode_event",
]


HEARD_S: Final = 15.0
"""So long after he hung up an agent that was paused or busy may hear that a caller rings."""


class Rule(StrEnum):
    """What a history can break."""

    UNANSWERED = "an opening without the right answer of its caller in that call"
    UNACCEPTED = "an opening without an accepted answer in that call"
    UNCHARGED = "an accepted answer that was not charged before"
    OVERCHARGED = "more answers charged than the caller gave"
    OTHER_USER = "an opening as another user than the one accepted"
    DOUBLE = "two openings of one call, or two at a time on one port"
    OTHERS_SESSION = "a caller in the session of another call"
    LOST_RECORD = "a call without a stop record"
    DOUBLED_RECORD = "a record, start or stop stored twice"
    FALSE_RECORD = "a record of a call that nobody made"
    STUCK = "a port that is not free at the end"


class _Event(Struct, frozen=True, kw_only=True, tag_field="event", forbid_unknown_fields=True):
    at: float
    """When, in seconds on the history's clock."""


class Dialled(_Event, frozen=True, kw_only=True, tag=True):
    """Written by the caller: he dials."""

    caller: str
    """His number, which no other call of the history has."""
    hport: str


class Prompted(_Event, frozen=True, kw_only=True, tag=True):
    """Written by the caller: the gate has shown him its first words."""

    caller: str


class Typed(_Event, frozen=True, kw_only=True, tag=True):
    """Written by the caller before he sends it: a name, and an answer to the question after it."""

    caller: str
    user: str
    right: bool
    """Whether the answer is the one that lets `user` in."""


class Saw(_Event, frozen=True, kw_only=True, tag=True):
    """Written by the caller: a service has greeted him with the id of its call."""

    caller: str
    call: str


class HungUp(_Event, frozen=True, kw_only=True, tag=True):
    """Written by the caller: the line is down, whoever did it."""

    caller: str


class Charged(_Event, frozen=True, kw_only=True, tag=True):
    """Written by the worker, or found in the cluster's state: one answer is charged, unchecked."""

    call: str
    user: str = ""


class Accepted(_Event, frozen=True, kw_only=True, tag=True):
    """Written by the worker: it gave the verdict SUCCESS."""

    call: str
    user: str


class Opened(_Event, frozen=True, kw_only=True, tag=True):
    """Written by the service behind the gate: a caller was handed over to it."""

    call: str
    hport: str
    caller: str
    """As the exchange gave it; empty: it did not."""
    user: str
    alone: bool = True
    """Whether no other service was on the port at that moment."""


class Stored(_Event, frozen=True, kw_only=True, tag=True):
    """Found in the store at the end: one row.  `at` is when the call began to ring."""

    record: str
    call: str
    kind: Literal["start", "interim", "stop"]
    hport: str
    caller: str
    """As the exchange gave it; empty: it did not."""


class Found(_Event, frozen=True, kw_only=True, tag=True):
    """Written by whoever looks at a port when all faults are over."""

    hport: str
    state: str
    """As the port's agent tells it."""
    admits: bool
    """Whether a caller who then dialled it, with the right answer, was let in."""


Event = Dialled | Prompted | Typed | Saw | HungUp | Charged | Accepted | Opened | Stored | Found

E = TypeVar("E")


class Violation(Struct, frozen=True):
    """One rule, broken once."""

    rule: Rule
    what: str

    def __str__(self) -> str:
        """Return one line for people."""
        return f"{self.rule}: {self.what}"


def encode_event(event: Event) -> bytes:
    """Return an event as one line of JSON, which several writers may append to one file."""
    return msgspec.json.encode(event) + b"\n"


def decode_event(line: bytes) -> Event:
    """Return the event of a line.

    Raises:
        msgspec.MsgspecError: it is none.
    """
    event: Event = _DECODER.decode(line)
    return event


_DECODER: Final = msgspec.json.Decoder(Event)


def check(events: Iterable[Event]) -> list[Violation]:
    """Return every violation in a whole history; none in a good one."""
    history = _History(events)
    return [violation for rule in _CHECKS for violation in rule(history)]


class _History:
    """A history by kinds, in the order of time, with what is looked up again and again."""

    def __init__(self, events: Iterable[Event]) -> None:
        self._kinds: defaultdict[type, list[Event]] = defaultdict(list)
        for event in sorted(events, key=lambda each: each.at):
            self._kinds[type(event)].append(event)
        self.dialled: Final = {each.caller: each for each in self.all(Dialled)}
        self.over: Final = {each.caller: each.at for each in self.all(HungUp)}
        self.typed: Final = _grouped(self.all(Typed), lambda each: each.caller)
        self.accepted: Final = _grouped(self.all(Accepted), lambda each: each.call)
        self.charged: Final = _grouped(self.all(Charged), lambda each: each.call)
        self.stored: Final = _grouped(self.all(Stored), lambda each: each.call)
        self.opened: Final = _grouped(self.all(Opened), lambda each: each.call)

    def all(self, kind: type[E]) -> list[E]:
        """Return the events of one kind, oldest first."""
        return [each for each in self._kinds[kind] if isinstance(each, kind)]

    def is_theirs(self, caller: str, call: Opened | Stored, late_s: float = 0.0) -> bool:
        """Return whether a call is `caller`'s; one without a number is whoever's was there.

        Or had been there, at most `late_s` before.
        """
        dialled = self.dialled.get(caller)
        if dialled is None or dialled.hport != call.hport:
            return False
        if call.caller:
            return call.caller == caller
        return dialled.at <= call.at <= self.over.get(caller, call.at) + late_s

    def callers_of(self, call: Opened | Stored, late_s: float = 0.0) -> list[str]:
        """Return who may have made a call; as `is_theirs`."""
        if call.caller:
            return [call.caller] if self.is_theirs(call.caller, call) else []
        return [caller for caller in self.dialled if self.is_theirs(caller, call, late_s)]


def _grouped(events: Iterable[E], key: Callable[[E], str]) -> dict[str, list[E]]:
    groups: dict[str, list[E]] = {}
    for event in events:
        groups.setdefault(key(event), []).append(event)
    return groups


def _openings_are_answered(history: _History) -> Iterator[Violation]:
    for opened in history.all(Opened):
        if not any(
            typed.right and typed.user == opened.user and typed.at <= opened.at
            for caller in history.callers_of(opened)
            for typed in history.typed.get(caller, ())
        ):
            yield Violation(Rule.UNANSWERED, _words(opened))


def _openings_are_accepted(history: _History) -> Iterator[Violation]:
    for opened in history.all(Opened):
        before = [each for each in history.accepted.get(opened.call, ()) if each.at <= opened.at]
        if not before:
            yield Violation(Rule.UNACCEPTED, _words(opened))
        elif opened.user not in {each.user for each in before}:
            yield Violation(Rule.OTHER_USER, f"{_words(opened)}; accepted: {before[0].user}")


def _accepted_answers_are_charged(history: _History) -> Iterator[Violation]:
    for accepted in history.all(Accepted):
        charged = history.charged.get(accepted.call, ())
        if not any(each.at <= accepted.at for each in charged):
            yield Violation(Rule.UNCHARGED, f"call {accepted.call}, user {accepted.user}")


def _charges_are_of_answers(history: _History) -> Iterator[Violation]:
    for call, charged in history.charged.items():
        rows = [*history.opened.get(call, ()), *history.stored.get(call, ())]
        callers = {caller for row in rows for caller in history.callers_of(row)}
        if not callers:
            continue  # Nobody knows whose it was: that is another rule's business.
        given = sum(len(history.typed.get(caller, ())) for caller in callers)
        if len(charged) > given:
            yield Violation(Rule.OVERCHARGED, f"call {call}: {len(charged)} of {given} answers")


def _openings_are_single(history: _History) -> Iterator[Violation]:
    for call, openings in history.opened.items():
        if len(openings) > 1:
            yield Violation(Rule.DOUBLE, f"call {call} was handed over {len(openings)} times")
    for opened in history.all(Opened):
        if not opened.alone:
            yield Violation(Rule.DOUBLE, f"{_words(opened)}, while another was there")


def _sessions_are_their_callers(history: _History) -> Iterator[Violation]:
    for saw in history.all(Saw):
        openings = history.opened.get(saw.call, ())
        if not any(history.is_theirs(saw.caller, each) for each in openings):
            yield Violation(Rule.OTHERS_SESSION, f"caller {saw.caller} is in call {saw.call}")


def _calls_are_recorded(history: _History) -> Iterator[Violation]:
    stops = [each for each in history.all(Stored) if each.kind == "stop"]
    known = {*history.opened, *history.accepted, *history.charged, *history.stored}
    for call in sorted(known - {each.call for each in stops}):
        yield Violation(Rule.LOST_RECORD, f"call {call}")
    recorded = {caller for stop in stops for caller in history.callers_of(stop)}
    for prompted in history.all(Prompted):
        if prompted.caller not in recorded:
            hport = history.dialled[prompted.caller].hport
            yield Violation(Rule.LOST_RECORD, f"caller {prompted.caller} on {hport}")


def _records_are_single(history: _History) -> Iterator[Violation]:
    rows = history.all(Stored)
    for record, times in Counter(each.record for each in rows).items():
        if times > 1:
            yield Violation(Rule.DOUBLED_RECORD, f"record {record}: {times} times")
    once = Counter((each.call, each.kind) for each in rows if each.kind != "interim")
    for (call, kind), times in once.items():
        if times > 1:
            yield Violation(Rule.DOUBLED_RECORD, f"call {call}: {times} {kind} records")


def _records_are_of_calls(history: _History) -> Iterator[Violation]:
    for row in history.all(Stored):
        if not history.callers_of(row, HEARD_S):
            number = row.caller or "without a number"
            yield Violation(Rule.FALSE_RECORD, f"call {row.call} of {number} on {row.hport}")


def _ports_are_free(history: _History) -> Iterator[Violation]:
    for found in history.all(Found):
        if found.state != "idle" or not found.admits:
            said = "admits a caller" if found.admits else "admits nobody"
            yield Violation(Rule.STUCK, f"{found.hport} is {found.state} and {said}")
    missing = {each.hport for each in history.all(Dialled)}
    for hport in sorted(missing - {each.hport for each in history.all(Found)}):
        yield Violation(Rule.STUCK, f"nobody found {hport}")


_CHECKS: Final[tuple[Callable[[_History], Iterator[Violation]], ...]] = (
    _openings_are_answered,
    _openings_are_accepted,
    _accepted_answers_are_charged,
    _charges_are_of_answers,
    _openings_are_single,
    _sessions_are_their_callers,
    _calls_are_recorded,
    _records_are_single,
    _records_are_of_calls,
    _ports_are_free,
)


def _words(opened: Opened) -> str:
    number = opened.caller or "unknown"
    return f"call {opened.call} of {number} on {opened.hport} as {opened.user}"
