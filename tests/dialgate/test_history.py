"""The check of histories finds each fault that is planted in a good one, and none in a good one."""

from __future__ import annotations

import msgspec
import pytest

from dialgate.history import (
    Accepted,
    Charged,
    Dialled,
    Event,
    Found,
    HungUp,
    Opened,
    Prompted,
    Rule,
    Saw,
    Stored,
    Typed,
    check,
    decode_event,
    encode_event,
)

GOOD: list[Event] = [
    # Ann types a wrong answer, then the right one, and is let in.
    Dialled(at=1, caller="501", hport="oslo/1"),
    Prompted(at=2, caller="501"),
    Typed(at=3, caller="501", user="ann", right=False),
    Charged(at=3.1, call="c1", user="ann"),
    Typed(at=4, caller="501", user="ann", right=True),
    Charged(at=4.1, call="c1", user="ann"),
    Accepted(at=4.2, call="c1", user="ann"),
    Opened(at=5, call="c1", hport="oslo/1", caller="501", user="ann"),
    Saw(at=5.1, caller="501", call="c1"),
    HungUp(at=6, caller="501"),
    Stored(at=1, record="r1", call="c1", kind="start", hport="oslo/1", caller="501"),
    Stored(at=1, record="r2", call="c1", kind="stop", hport="oslo/1", caller="501"),
    # Bob types the right answer and hangs up before anybody says a word.
    Dialled(at=10, caller="502", hport="oslo/1"),
    Prompted(at=11, caller="502"),
    Typed(at=12, caller="502", user="bob", right=True),
    HungUp(at=12.1, caller="502"),
    Stored(at=10, record="r3", call="c2", kind="stop", hport="oslo/1", caller="502"),
    # Nobody answers this one, so nobody has to know of it.
    Dialled(at=20, caller="503", hport="oslo/1"),
    HungUp(at=21, caller="503"),
    # The exchange gave no number, and the agent died: its next start ended the record.
    Dialled(at=30, caller="504", hport="oslo/2"),
    Prompted(at=31, caller="504"),
    HungUp(at=33, caller="504"),
    Stored(at=30.5, record="r4", call="c4", kind="stop", hport="oslo/2", caller=""),
    # He hung up before the agent, which was busy, heard that he rang.
    Dialled(at=35, caller="505", hport="oslo/2"),
    HungUp(at=35.1, caller="505"),
    Stored(at=35.2, record="r5", call="c5", kind="stop", hport="oslo/2", caller=""),
    Found(at=60, hport="oslo/1", state="idle", admits=True),
    Found(at=60, hport="oslo/2", state="idle", admits=True),
]


def without(event: type, **fields: object) -> list[Event]:
    """Return the good history less the events of a kind with these fields."""
    kept = [
        each
        for each in GOOD
        if not isinstance(each, event)
        or any(getattr(each, name) != value for name, value in fields.items())
    ]
    assert len(kept) < len(GOOD)
    return kept


def test_a_good_history_breaks_no_rule() -> None:
    assert check(GOOD) == []


def test_the_order_in_which_events_were_written_down_does_not_matter() -> None:
    assert check(reversed(GOOD)) == []


OPENED = Opened(at=12.5, call="c2", hport="oslo/1", caller="502", user="bob")
STOP = Stored(at=10, record="r3", call="c2", kind="stop", hport="oslo/1", caller="502")


@pytest.mark.parametrize(
    ("history", "rule"),
    [
        pytest.param([*GOOD, OPENED], Rule.UNACCEPTED, id="nobody accepted Bob"),
        pytest.param(
            without(Typed, user="ann", right=True), Rule.UNANSWERED, id="she gave no right answer"
        ),
        pytest.param(
            [
                *without(Typed, user="ann", right=True),
                Typed(at=12, caller="502", user="ann", right=True),
            ],
            Rule.UNANSWERED,
            id="the next caller gave it",
        ),
        pytest.param(
            [
                *without(Typed, user="ann", right=True),
                Typed(at=5.5, caller="501", user="ann", right=True),
            ],
            Rule.UNANSWERED,
            id="she gave it afterwards",
        ),
        pytest.param(
            [*without(Accepted), Accepted(at=4.2, call="c2", user="ann")],
            Rule.UNACCEPTED,
            id="it was accepted in another call",
        ),
        pytest.param(
            [*without(Accepted), Accepted(at=5.2, call="c1", user="ann")],
            Rule.UNACCEPTED,
            id="it was accepted too late",
        ),
        pytest.param(
            [*without(Accepted), Accepted(at=4.2, call="c1", user="eve")],
            Rule.OTHER_USER,
            id="somebody else was accepted",
        ),
        pytest.param(without(Charged), Rule.UNCHARGED, id="nothing was charged"),
        pytest.param(
            [*without(Charged), Charged(at=4.3, call="c1", user="ann")],
            Rule.UNCHARGED,
            id="it was charged after the check",
        ),
        pytest.param(
            [*GOOD, Charged(at=4.15, call="c1", user="ann")],
            Rule.OVERCHARGED,
            id="an answer was charged twice",
        ),
        pytest.param(
            [*GOOD, Opened(at=5.5, call="c1", hport="oslo/1", caller="501", user="ann")],
            Rule.DOUBLE,
            id="one call was handed over twice",
        ),
        pytest.param(
            [
                *without(Opened),
                Opened(at=5, call="c1", hport="oslo/1", caller="501", user="ann", alone=False),
            ],
            Rule.DOUBLE,
            id="another service was on the port",
        ),
        pytest.param(
            [*GOOD, Saw(at=12.05, caller="502", call="c1")],
            Rule.OTHERS_SESSION,
            id="the next caller is in her session",
        ),
        pytest.param(
            [*GOOD, Saw(at=12.05, caller="502", call="c9")],
            Rule.OTHERS_SESSION,
            id="he is in a session that no service knows",
        ),
        pytest.param(
            without(Stored, call="c1", kind="stop"),
            Rule.LOST_RECORD,
            id="no stop of an opened call",
        ),
        pytest.param(without(Stored, call="c2"), Rule.LOST_RECORD, id="no record of a refused one"),
        pytest.param(without(Stored, call="c4"), Rule.LOST_RECORD, id="none of one without number"),
        pytest.param([*GOOD, STOP], Rule.DOUBLED_RECORD, id="one record twice"),
        pytest.param(
            [*GOOD, msgspec.structs.replace(STOP, record="r9")],
            Rule.DOUBLED_RECORD,
            id="two stops of one call",
        ),
        pytest.param(
            [*GOOD, msgspec.structs.replace(STOP, record="r9", call="c9", caller="999")],
            Rule.FALSE_RECORD,
            id="a record of nobody",
        ),
        pytest.param(
            [
                *GOOD,
                Stored(at=52, record="r9", call="c9", kind="stop", hport="oslo/2", caller=""),
            ],
            Rule.FALSE_RECORD,
            id="a record long after the last caller",
        ),
        pytest.param(
            [*GOOD, msgspec.structs.replace(STOP, record="r9", call="c9", hport="oslo/2")],
            Rule.FALSE_RECORD,
            id="a record on another port",
        ),
        pytest.param(
            [
                *without(Found, hport="oslo/2"),
                Found(at=40, hport="oslo/2", state="faulted", admits=True),
            ],
            Rule.STUCK,
            id="a port is stuck",
        ),
        pytest.param(
            [
                *without(Found, hport="oslo/2"),
                Found(at=40, hport="oslo/2", state="idle", admits=False),
            ],
            Rule.STUCK,
            id="a port says idle and answers nobody",
        ),
        pytest.param(without(Found, hport="oslo/2"), Rule.STUCK, id="nobody looked at a port"),
    ],
)
def test_a_planted_fault_is_found(history: list[Event], rule: Rule) -> None:
    assert rule in {violation.rule for violation in check(history)}


def test_every_rule_has_a_planted_fault() -> None:
    marks = test_a_planted_fault_is_found.pytestmark  # type: ignore[attr-defined]

    assert {case.values[1] for case in marks[0].args[1]} == set(Rule)


def test_an_event_is_one_line_and_comes_back_as_it_was() -> None:
    lines = [encode_event(each) for each in GOOD]

    assert [line.count(b"\n") for line in lines] == [1] * len(GOOD)
    assert [decode_event(line) for line in lines] == GOOD


def test_a_violation_says_what_where() -> None:
    (violation,) = check(without(Stored, call="c2"))

    assert str(violation) == "a call without a stop record: caller 502 on oslo/1"
