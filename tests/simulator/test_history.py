"""The checker of histories: it must find fault with each of the histories that may not happen."""

from __future__ import annotations

import pytest

from simulator.history import Event, Kind, read, violations, write


def event(at: float, kind: Kind, *, call: str = "c1", user: str = "ann", answer: str = "") -> Event:
    return Event(at=at, event=kind, port="p1", call=call, user=user, answer=answer)


GOOD = [
    event(1, "dialled"),
    event(2, "typed", answer="x"),
    event(3, "charged", answer="x"),
    event(4, "checked", answer="x"),
    event(5, "accepted", answer="x"),
    event(6, "opened", call=""),
    event(8, "closed", call=""),
    event(9, "hung-up"),
    event(20, "free", call="", user=""),
]


def without(kind: Kind) -> list[Event]:
    return [each for each in GOOD if each.event != kind]


def test_a_call_that_is_answered_and_opened_is_a_good_history() -> None:
    assert violations(GOOD) == []


def test_the_order_of_the_lines_does_not_matter() -> None:
    assert violations(reversed(GOOD)) == []


@pytest.mark.parametrize("kind", ["dialled", "typed", "charged", "accepted"])
def test_an_opening_that_lacks_its_reason_is_found(kind: Kind) -> None:
    assert violations(without(kind)) != []


@pytest.mark.parametrize(
    ("rule", "more"),
    [
        pytest.param("I2", [event(10, "opened", call="")], id="one answer opens twice"),
        pytest.param("I1", [event(7, "opened", call="")], id="opened while it is open"),
        pytest.param("I2", [event(10, "opened", user="eve")], id="another user"),
        pytest.param("I5", [event(6, "checked", answer="x")], id="checked twice"),
        pytest.param("I5", [event(6, "charged", answer="x")], id="charged twice"),
        pytest.param("I5", [event(6, "checked", answer="y")], id="typed by nobody"),
        pytest.param("I3", [event(30, "stuck", call="")], id="a stuck port"),
    ],
)
def test_a_bad_history_is_told_by_its_rule(rule: str, more: list[Event]) -> None:
    assert rule in [each.rule for each in violations([*GOOD, *more])]


def test_the_answer_of_the_last_caller_does_not_let_the_next_one_in() -> None:
    late = [event(10, "dialled", call="c2"), event(11, "opened", call="")]

    [only] = violations([*(each for each in GOOD if each.event != "opened"), *late])

    assert only.rule == "I2"


def test_an_answer_that_is_checked_before_it_is_charged_is_found() -> None:
    early = [
        event(3.5, "charged", answer="x") if each.event == "charged" else each for each in GOOD
    ]
    early = [
        event(3.2, "checked", answer="x") if each.event == "checked" else each for each in early
    ]

    assert [each.rule for each in violations(early)] == ["I5"]


def test_a_fourth_answer_of_a_call_is_one_too_many() -> None:
    tries = [
        event(1 + number / 10, kind, answer=str(number))
        for number in range(4)
        for kind in ("typed", "charged", "checked")
    ]

    [only] = violations([event(0, "dialled"), *tries])

    assert "more than 3" in only.text


def test_a_line_that_a_killed_witness_did_not_finish_is_left_out() -> None:
    lines = [write(each) for each in GOOD]

    assert list(read([*lines, lines[0][:-5]])) == GOOD
