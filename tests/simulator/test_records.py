"""Records in the simulated cluster: at least once on the way, exactly once in the table."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from msgspec.structs import replace

from broker.receipts import Receipt, Receipts
from broker.sessions import AgentSession
from port_agents.record_sender import MarkStored, RecordAction, RecordSender, Spooled
from simulator.plan import Plan
from simulator.run import simulate

PLAN = Plan(seed=2, duration_s=60, ports=8, calls=4)


def test_records_are_offered_again_and_stored_once() -> None:
    outcomes = [simulate(replace(PLAN, seed=seed)) for seed in range(9, 12)]

    assert [each.failure for each in outcomes if each.failure] == []
    assert all(each.records > each.calls for each in outcomes)
    assert any(each.doubled for each in outcomes)


def told_before_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    take = Receipts.take

    def tell(receipts: Receipts, agent: AgentSession, body: bytes) -> None:
        take(receipts, agent, body)
        receipts.stored([Receipt(agent, receipts.taken[-1].record)])

    monkeypatch.setattr(Receipts, "take", tell)


def marked_when_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = RecordSender.loaded

    def mark(sender: RecordSender, records: Sequence[Spooled], now: float) -> list[RecordAction]:
        return [*loaded(sender, records, now), MarkStored(tuple(x.record for x in records))]

    monkeypatch.setattr(RecordSender, "loaded", mark)


def sent_once(monkeypatch: pytest.MonkeyPatch) -> None:
    begin = RecordSender._begin_anew

    def go_on(sender: RecordSender) -> list[RecordAction]:
        after = sender._after
        actions = begin(sender)
        sender._after = after
        return [] if actions and after else actions

    monkeypatch.setattr(RecordSender, "_begin_anew", go_on)


@pytest.mark.parametrize("plant", [told_before_stored, marked_when_sent, sent_once])
def test_a_planted_bug_is_found(
    plant: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch)

    outcome = simulate(PLAN)

    assert outcome.failure is not None
    assert outcome.failure.rule == "I6"
