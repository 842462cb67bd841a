"""Which records are sent when, and that none is lost or left for good, whatever becomes of brokers.

The property plays a spool, brokers that store or not, sessions that end and agents that are killed;
its model is the set of records that there are.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialgate.session import Transmit
from dialgate.wire.bodies import Recorded
from dialgate.wire.body_codec import encode_body
from port_agents.record_sender import (
    RESEND_S,
    WINDOW,
    LoadRecords,
    MarkStored,
    RecordSender,
    Spooled,
    hold_reason,
)


def spooled(*numbers: int) -> list[Spooled]:
    return [Spooled(n, n.to_bytes(16), str(n).encode()) for n in numbers]


def recorded(*numbers: int) -> bytes:
    return encode_body(Recorded(records=tuple(n.to_bytes(16) for n in numbers)))


def test_nothing_is_read_before_there_is_a_session() -> None:
    sender = RecordSender()

    assert sender.kept() == []
    assert sender.use(7) == [LoadRecords(0, WINDOW)]


def test_records_go_in_their_order_and_are_marked_when_they_are_stored() -> None:
    sender = RecordSender()
    sender.use(7)

    assert sender.loaded(spooled(3, 4), 0.0) == [Transmit(7, b"3"), Transmit(7, b"4")]
    assert sender.recorded(recorded(3)) == [MarkStored(((3).to_bytes(16),))]
    assert sender.unanswered == 1
    assert sender.kept() == [LoadRecords(4, WINDOW - 1)]


def test_no_more_than_a_window_goes_out_unanswered() -> None:
    sender = RecordSender()
    sender.use(7)

    assert len(sender.loaded(spooled(*range(1, WINDOW + 1)), 0.0)) == WINDOW
    assert sender.kept() == []
    assert sender.recorded(recorded(1, 2))[1:] == [LoadRecords(WINDOW, 2)]


def test_what_is_kept_while_others_are_loaded_is_looked_for() -> None:
    sender = RecordSender()
    sender.use(7)
    assert sender.kept() == []

    assert sender.loaded([], 0.0) == [LoadRecords(0, WINDOW)]
    assert sender.loaded([], 0.0) == []


def test_at_another_broker_all_that_is_unanswered_is_sent_again() -> None:
    sender = RecordSender()
    sender.use(7)
    sender.loaded(spooled(1, 2), 0.0)

    assert sender.use(8) == [LoadRecords(0, WINDOW)]
    assert sender.loaded(spooled(1, 2), 1.0) == [Transmit(8, b"1"), Transmit(8, b"2")]


def test_a_session_that_is_told_again_sends_nothing_again() -> None:
    sender = RecordSender()
    sender.use(7)
    sender.loaded(spooled(1), 0.0)

    assert sender.use(7) == []
    assert sender.recorded(recorded(1)) == [MarkStored(((1).to_bytes(16),))]


def test_what_was_read_for_a_session_that_is_over_is_read_again() -> None:
    sender = RecordSender()
    sender.use(7)
    assert sender.use(8) == []

    assert sender.loaded(spooled(1), 0.0) == [LoadRecords(0, WINDOW)]


def test_what_is_not_answered_in_time_is_sent_again_and_overdue() -> None:
    sender = RecordSender()
    sender.use(7)
    sender.loaded(spooled(1), 0.0)
    assert sender.deadline() == RESEND_S
    assert sender.tick(RESEND_S - 1) == []

    assert sender.tick(RESEND_S) == [LoadRecords(0, WINDOW)]
    assert sender.is_overdue
    assert sender.loaded(spooled(1), RESEND_S) == [Transmit(7, b"1")]

    assert sender.recorded(recorded(1)) == [MarkStored(((1).to_bytes(16),))]
    assert not sender.is_overdue


def test_a_record_that_no_broker_takes_does_not_keep_others_back() -> None:
    sender = RecordSender()
    sender.use(7)
    for now in (0.0, RESEND_S):
        sender.loaded(spooled(1, 2), now)
        sender.recorded(recorded(2))
        sender.kept()
        assert Transmit(7, b"3") in sender.loaded(spooled(3), now)
        sender.recorded(recorded(3))
        sender.tick(now + RESEND_S)


def test_a_recorded_that_cannot_be_read_changes_nothing() -> None:
    sender = RecordSender()
    sender.use(7)
    sender.loaded(spooled(1), 0.0)

    assert sender.recorded(b"\x80") == []
    assert (sender.bad_bodies, sender.unanswered) == (1, 1)


@pytest.mark.parametrize(
    ("policy", "full", "overdue", "held"),
    [
        ("answer-until-full", False, True, False),
        ("answer-until-full", True, False, True),
        ("answer", True, True, False),
        ("ring", False, False, False),
        ("ring", False, True, True),
        ("ring", True, False, True),
    ],
)
def test_calls_are_held_as_the_operator_says(
    policy: str, full: bool, overdue: bool, held: bool
) -> None:
    assert bool(hold_reason(policy, is_full=full, is_overdue=overdue)) == held


class World:
    """An agent's spool and what it sends, a broker's table, and a network that loses."""

    def __init__(self, seed: int, sender: Callable[[], RecordSender] = RecordSender) -> None:
        self.random = random.Random(seed)
        self.new_sender = sender
        self.now = 0.0
        self.made = 0
        self.unstored: set[int] = set()
        self.table: list[int] = []
        self.sessions = 0
        self.start()

    def start(self) -> None:
        """Start the agent, perhaps after it was killed."""
        self.sender = self.new_sender()
        self.load: LoadRecords | None = None
        self.found: list[int] | None = None
        self.wire: list[int] = []
        self.answers: list[int] = []
        self.connect()

    def connect(self) -> None:
        self.sessions += 1
        self.wire.clear()
        self.answers.clear()
        self.do(self.sender.use(self.sessions))

    def do(self, actions: Sequence[Any]) -> None:
        for action in actions:
            match action:
                case Transmit(session, message):
                    assert session == self.sessions
                    self.wire.append(int(message))
                case LoadRecords():
                    assert self.load is None, "one load at a time"
                    self.load = action
                case MarkStored(records):
                    for record in records:
                        number = int.from_bytes(record)
                        assert number in self.table, "marked, and not stored"
                        self.unstored.discard(number)
                case _:
                    raise AssertionError(action)

    def make(self) -> None:
        self.made += 1
        self.unstored.add(self.made)
        self.do(self.sender.kept())

    def look(self) -> None:
        """Read the spool; the core hears of it later."""
        if self.load is not None and self.found is None:
            behind = sorted(n for n in self.unstored if n > self.load.after)
            self.found = behind[: self.load.limit]

    def read(self) -> None:
        self.look()
        if self.found is not None:
            found, self.found, self.load = self.found, None, None
            self.do(self.sender.loaded(spooled(*found), self.now))

    def store(self) -> None:
        if self.wire:
            number = self.wire.pop(0)
            if number not in self.table:
                self.table.append(number)
            self.answers.append(number)

    def lose(self) -> None:
        if self.wire:
            self.wire.pop(0)

    def answer(self) -> None:
        if self.answers:
            self.random.shuffle(self.answers)
            self.do(self.sender.recorded(recorded(self.answers.pop())))

    def wait(self) -> None:
        self.now = max(self.now, min(self.sender.deadline(), self.now + RESEND_S))
        self.do(self.sender.tick(self.now))

    def calm_down(self) -> None:
        """Let nothing fail any more, for long enough."""
        for _ in range(4 * self.made + 8):
            for step in (self.read, self.store, self.answer, self.wait):
                step()


STEPS = ["make", "look", "read", "store", "lose", "answer", "wait", "connect", "start"]


@given(st.lists(st.sampled_from(STEPS), max_size=80), st.integers(0, 2**32))
def test_in_the_end_each_record_is_stored_once_and_marked(steps: list[str], seed: int) -> None:
    world = World(seed)
    for step in steps:
        getattr(world, step)()

    world.calm_down()

    assert sorted(world.table) == list(range(1, world.made + 1))
    assert world.unstored == set()


class ForgetsToResend(RecordSender):
    def tick(self, now: float) -> list[Any]:
        return []


class KeepsItsPlace(RecordSender):
    def use(self, session: int | None) -> list[Any]:
        after = self._after
        actions = super().use(session)
        self._after = after
        return [LoadRecords(after, x.limit) if isinstance(x, LoadRecords) else x for x in actions]


class MarksWhatItSends(RecordSender):
    def loaded(self, records: Sequence[Spooled], now: float) -> list[Any]:
        marks = [MarkStored(tuple(each.record for each in records))] if records else []
        return [*super().loaded(records, now), *marks]


class MissesNews(RecordSender):
    def kept(self) -> list[Any]:
        return super().kept() if self._loading is None else []


@pytest.mark.interpreted
@pytest.mark.parametrize("bug", [ForgetsToResend, KeepsItsPlace, MarksWhatItSends, MissesNews])
def test_a_planted_bug_is_found(bug: type[RecordSender]) -> None:
    def breaks(seed: int) -> bool:
        chance = random.Random(seed)
        world = World(seed, bug)
        try:
            for step in chance.choices(STEPS, k=chance.randrange(3, 60)):
                getattr(world, step)()
            world.calm_down()
        except AssertionError:
            return True
        return world.unstored != set() or len(world.table) != world.made

    assert any(breaks(seed) for seed in range(200))
