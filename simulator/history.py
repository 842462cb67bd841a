"""What everybody saw of the calls, and whether it is a history in which nobody got in by mistake.

Pure.  Witnesses write events: callers, authenticators, the service behind the gate, whoever looks
at the ports in the end.  They share nothing but the clock of one machine, or of one simulation.
`violations` judges the whole; it knows of no broker, dialog or session, and so holds for the
simulator and for real processes alike.

A history is a file of lines, in any order, each a JSON object with these keys (`read`, `write`):

    at      seconds on the witnesses' common monotonic clock
    event   one of the below
    port    HPORT, or what stands for it: the same for all witnesses
    call    what the caller names his call; empty where the witness can't know
    user    the name that was typed, checked or admitted
    answer  a name of what was typed: a digest that is different for each answer of each call, the
            same for all witnesses.  Never the answer itself.

    dialled  caller   he begins to call the port
    typed    caller   he sends this answer, as this user
    hung-up  caller   his call is over, whoever ended it
    charged  worker   the answer was charged as a try of this user
    checked  worker   the answer is compared with what is known of the user
    accepted worker   the comparison said yes
    opened   service  the port was handed over to the service, for this user
    closed   service  the service has ended
    free     port     at the end: the port would answer a call
    stuck    port     at the end: it would not

Invariant: a history that lacks a witness's events is never taken for a better one: what was opened
must be explained by what others have written.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from typing import Final, Literal

import msgspec

__all__ = ["Event", "Kind", "Violation", "read", "violations", "write"]

Kind = Literal[
    "dialled",
    "typed",
    "hung-up",
    "charged",
    "checked",
    "accepted",
    "opened",
    "closed",
    "free",
    "stuck",
]


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of a history."""

    at: float
    event: Kind
    port: str
    call: str = ""
    user: str = ""
    answer: str = ""


class Violation(msgspec.Struct, frozen=True):
    """Why a history must not have happened."""

    rule: str
    """Name of the invariant (docs/testing.md)."""
    text: str
    event: Event
    """The event that can't be explained."""

    def __str__(self) -> str:
        event = self.event
        return f"{self.rule}: {event.at:.3f} {event.event} {event.port} {event.user}: {self.text}"


class _Call(msgspec.Struct):
    """One call, as its caller tells of it."""

    dialled: Event
    typed: dict[str, Event]
    over_at: float


_decoder: Final = msgspec.json.Decoder(Event)


def write(event: Event) -> bytes:
    """Return an event as a line, its end included."""
    return msgspec.json.encode(event) + b"\n"


def read(lines: Iterable[bytes]) -> Iterator[Event]:
    """Yield the events of a file; a last line that a killed witness did not finish is left out.

    Raises:
        msgspec.MsgspecError: a line that was finished is no event.
    """
    for line in lines:
        if line.endswith(b"\n"):
            yield _decoder.decode(line)


def violations(
    events: Iterable[Event], *, tries_max: int = 3, slack_s: float = 0.0
) -> list[Violation]:
    """Return what speaks against a history, in the order of its rules.

    Args:
        events: of all witnesses.
        tries_max: answers of one call that may be checked.
        slack_s: how much later than it happened a witness may have written an event.
    """
    ordered = sorted(events, key=lambda event: event.at)
    calls = _calls(ordered)
    return [
        *_openings(ordered, calls, slack_s),
        *_answers(ordered, calls, tries_max),
        *(
            Violation("I3", "the port takes no call any more", event)
            for event in ordered
            if event.event == "stuck"
        ),
    ]


def _calls(ordered: list[Event]) -> dict[str, _Call]:
    calls: dict[str, _Call] = {}
    for event in ordered:
        if event.event == "dialled":
            calls[event.call] = _Call(event, {}, float("inf"))
        elif event.event == "typed" and event.call in calls:
            calls[event.call].typed[event.answer] = event
        elif event.event == "hung-up" and event.call in calls:
            calls[event.call].over_at = event.at
    return calls


def _openings(ordered: list[Event], calls: dict[str, _Call], slack_s: float) -> Iterator[Violation]:
    """I2: each opening has an accepted, charged answer of the caller who is on that port."""
    on_port: defaultdict[str, list[_Call]] = defaultdict(list)
    for call in calls.values():
        on_port[call.dialled.port].append(call)
    charged = {event.answer: event.at for event in ordered if event.event == "charged"}
    accepted = {event.answer: event for event in ordered if event.event == "accepted"}
    used: set[str] = set()
    open_ports: set[str] = set()
    for event in ordered:
        if event.event == "closed":
            open_ports.discard(event.port)
        if event.event != "opened":
            continue
        if event.port in open_ports:
            yield Violation("I1", "the port is open already", event)
        open_ports.add(event.port)
        good = [
            answer
            for call in on_port[event.port]
            if call.dialled.at <= event.at <= call.over_at + slack_s
            for answer, typed in call.typed.items()
            if answer in accepted
            and accepted[answer].user == typed.user == event.user
            and typed.at <= accepted[answer].at + slack_s
            and accepted[answer].at <= event.at + slack_s
            and answer not in used
        ]
        if not good:
            yield Violation("I2", "nobody who is on it gave an answer that was accepted", event)
            continue
        used.add(good[-1])
        if not any(charged.get(answer, float("inf")) <= accepted[answer].at for answer in good):
            yield Violation("I5", "the answer was accepted before it was charged", event)


def _answers(ordered: list[Event], calls: dict[str, _Call], tries_max: int) -> Iterator[Violation]:
    """I5: no answer is checked twice or before it is typed and charged; tries have an end."""
    call_of = {answer: name for name, call in calls.items() for answer in call.typed}
    typed_at = {answer: each.at for call in calls.values() for answer, each in call.typed.items()}
    charged: Counter[str] = Counter()
    checked: Counter[str] = Counter()
    tries: Counter[str] = Counter()
    for event in ordered:
        if event.event == "charged":
            charged[event.answer] += 1
            if charged[event.answer] > 1:
                yield Violation("I5", "an answer is charged twice", event)
        elif event.event == "checked":
            checked[event.answer] += 1
            if event.answer not in call_of or typed_at[event.answer] > event.at:
                yield Violation("I5", "what is checked was typed by nobody", event)
            elif checked[event.answer] > 1:
                yield Violation("I5", "an answer is checked twice", event)
            elif not charged[event.answer]:
                yield Violation("I5", "an answer is checked before it is charged", event)
            tries[call_of.get(event.answer, "")] += 1
            if tries[call_of.get(event.answer, "")] == tries_max + 1:
                yield Violation("I5", f"more than {tries_max} answers of a call", event)
