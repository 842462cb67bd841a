"""Every state of small clusters: none breaks a rule, and from each there is a way to rest."""

from __future__ import annotations

from typing import Any, Final

import pytest

from auth_workers.session_dialog import DialogSession
from broker.switchboard import Switchboard
from port_agents.dialog import PortDialog
from port_agents.modem import Modem
from tests.simulator.search import Bounds, Broken, compare, search
from tests.simulator.small_world import told

BOUNDS: Final = [
    Bounds(calls=2),
    Bounds(calls=1, delays_end=True),
    Bounds(calls=1, agent_crashes=1),
    Bounds(calls=1, worker_crashes=1),
]
"""What is seen whole in a second each; ./dev prove goes on."""


@pytest.mark.parametrize("bounds", BOUNDS, ids=str)
def test_no_state_within_the_bounds_breaks_a_rule(bounds: Bounds) -> None:
    found = search(bounds)

    print(f"{bounds}: {found}")  # noqa: T201 - the count is the result
    assert found.is_whole
    assert found.states > 50


def test_to_take_states_for_one_hides_nothing_that_can_happen() -> None:
    bounds = Bounds(calls=1)

    assert compare(bounds).states > 5 * search(bounds).states


def test_states_that_are_taken_for_one_and_are_not_are_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(told, "UNTOLD", told.UNTOLD | {"_dialogs", "_tasks"})

    with pytest.raises(Broken, match="taken for one"):
        compare(Bounds(calls=1))


def nothing(*_: object) -> list[Any]:
    return []


def close_unread(dialog: PortDialog, *, real: Any = PortDialog._close) -> Any:
    dialog._withdrawn = False
    return real(dialog)


@pytest.mark.parametrize(
    ("bounds", "owner", "method", "planted", "rule"),
    [
        (Bounds(calls=1), PortDialog, "_close", close_unread, "I2"),
        (Bounds(calls=1, agent_crashes=1), Switchboard, "agent_left", nothing, "I3"),
        (Bounds(calls=1, agent_crashes=1), Switchboard, "agent_lost", nothing, "I3"),
        (Bounds(calls=1, worker_crashes=1), Switchboard, "worker_over", nothing, "I3"),
        (Bounds(calls=1, broker_crashes=1), PortDialog, "session_over", nothing, "I3"),
        (Bounds(calls=1, broker_crashes=1), DialogSession, "lose", nothing, "I4"),
    ],
    ids=lambda x: x if isinstance(x, str) else "",
)
def test_a_planted_bug_is_found_with_the_shortest_way_there(
    bounds: Bounds,
    owner: type,
    method: str,
    planted: Any,
    rule: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(owner, method, planted)

    with pytest.raises(Broken, match=rule) as broken:
        search(bounds)
    assert "the caller dials" in str(broken.value)


def test_a_state_without_a_way_to_rest_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Modem, "tick", nothing)

    with pytest.raises(Broken, match="I3: from here nothing comes to rest"):
        search(Bounds(calls=1))


def test_a_search_that_is_ended_early_says_how_far_it_saw_all() -> None:
    found = search(Bounds(calls=1, worker_crashes=1, states_max=500))

    assert not found.is_whole
    assert 3 < found.deepest < 26
