"""Every state of small clusters: none breaks a rule, none is stuck."""

from __future__ import annotations

import os
from typing import Final

import pytest

from port_agents.dialog import PortDialog
from tests.simulator.search import Bounds, Broken, search

IS_LONG: Final = os.environ.get("HYPOTHESIS_PROFILE") == "nightly"
"""Whether `./dev prove` asks."""
ALWAYS: Final = [Bounds(calls=1), Bounds(calls=1, delays_end=True)]
LONG: Final = [
    Bounds(calls=2),
    Bounds(calls=2, delays_end=True),
    Bounds(calls=1, worker_crashes=1),
    Bounds(calls=1, broker_crashes=1),
    Bounds(calls=1, agent_crashes=1),
    Bounds(calls=1, session_losses=1),
]
"""As much of each as `STATES_MAX` allows; the report says which were seen whole."""
STATES_MAX: Final = 100_000


@pytest.mark.parametrize("bounds", [*ALWAYS, *(LONG if IS_LONG else [])], ids=str)
@pytest.mark.timeout(7200)
def test_no_state_within_the_bounds_breaks_a_rule(bounds: Bounds) -> None:
    found = search(bounds._replace(states_max=STATES_MAX))

    print(f"{bounds}: {found}")  # noqa: T201 - the count is the result
    assert found.is_whole or bounds not in ALWAYS
    assert found.states > 100


def test_a_planted_bug_is_found_with_the_shortest_way_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = PortDialog._close

    def close(dialog: PortDialog) -> object:
        dialog._withdrawn = False
        return real(dialog)

    monkeypatch.setattr(PortDialog, "_close", close)

    with pytest.raises(Broken, match="I2") as broken:
        search(Bounds(calls=1))
    assert "the caller hangs up" in str(broken.value)
