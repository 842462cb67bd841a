"""Credit over a worker's sessions (protocol §6.8)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from auth_workers.credit import Credit


def test_the_only_session_gets_the_whole_capacity() -> None:
    credit = Credit(capacity=10, links=1)
    credit.open(1)

    assert credit.grant(0, freed=True) == [(1, 10)]
    assert credit.unspent == 10


def test_a_broker_that_is_away_keeps_its_share() -> None:
    credit = Credit(capacity=9, links=2)
    credit.open(1)
    first = credit.grant(0, freed=True)
    credit.open(2)

    assert first == [(1, 5)]
    assert credit.grant(0, freed=True) == [(2, 4)]


def test_credit_is_a_running_total_that_never_falls() -> None:
    credit = Credit(capacity=4, links=1)
    credit.open(1)
    totals = [credit.grant(0, freed=True)[0][1]]

    for _ in range(3):
        credit.spend(1)
        credit.grant(1, freed=False)
        totals += [total for _, total in credit.grant(0, freed=True)]

    assert totals == [4, 5, 6, 7]


def test_credit_is_granted_anew_when_half_of_it_is_spent() -> None:
    credit = Credit(capacity=8, links=1)
    credit.open(1)
    credit.grant(0, freed=True)
    granted = []

    for _ in range(4):
        credit.spend(1)
        granted.append(credit.grant(0, freed=False))

    assert granted == [[], [], [], [(1, 12)]]


def test_begins_beyond_the_credit_are_no_debt() -> None:
    credit = Credit(capacity=2, links=1)
    credit.open(1)
    credit.grant(0, freed=True)
    for _ in range(5):
        credit.spend(1)

    assert credit.unspent == 0
    assert credit.grant(5, freed=True) == []
    assert credit.grant(0, freed=True) == [(1, 7)]


def test_with_less_room_than_sessions_credit_goes_round() -> None:
    credit = Credit(capacity=2, links=2)
    for session in (1, 2):
        credit.open(session)

    assert credit.grant(1, freed=True) == [(1, 1)]
    credit.spend(1)
    assert credit.grant(1, freed=True) == [(1, 2)]
    assert credit.grant(0, freed=True) == [(2, 1)]


def test_credit_of_a_session_that_is_over_goes_to_others() -> None:
    credit = Credit(capacity=4, links=1)
    for session in (1, 2):
        credit.open(session)
    credit.grant(0, freed=True)

    credit.close(1)
    credit.spend(1)

    assert credit.grant(0, freed=True) == [(2, 4)]


@given(
    capacity=st.integers(1, 50),
    links=st.integers(1, 4),
    steps=st.lists(
        st.tuples(st.integers(0, 3), st.integers(1, 4), st.integers(0, 60)), max_size=40
    ),
)
def test_unspent_credit_never_exceeds_free_capacity_nor_a_sessions_share(
    capacity: int, links: int, steps: list[tuple[int, int, int]]
) -> None:
    credit = Credit(capacity, links)
    open_sessions: dict[int, int] = {}
    spent: dict[int, int] = {}
    for step, session, busy in steps:
        if step == 0 and session not in open_sessions:
            credit.open(session)
            open_sessions[session] = spent[session] = 0
        elif step == 1:
            credit.close(session)
            open_sessions.pop(session, None)
        elif step == 2 and session in open_sessions:
            credit.spend(session)
            spent[session] += 1
        free = max(0, capacity - busy)
        before = credit.unspent
        for granted, total in credit.grant(busy, freed=step != 2):
            assert total > open_sessions[granted]
            open_sessions[granted] = total
            share = -(-free // max(links, len(open_sessions)))
            assert total - spent[granted] <= share
        assert credit.unspent <= max(free, before)
