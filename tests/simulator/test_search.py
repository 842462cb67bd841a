"""Every state of small clusters: none breaks a rule, none is stuck."""

from __future__ import annotations

from typing import Final

import pytest

from port_agents.dialog import PortDialog
from tests.simulator.search import Bounds, Broken, search

BOUNDS: Final = [Bounds(calls=1), Bounds(calls=1, delays_end=True)]
"""What is seen whole in some seconds; ./dev prove goes on."""


@pytest.mark.parametrize("bounds", BOUNDS, ids=str)
def test_no_state_within_the_bounds_breaks_a_rule(bounds: Bounds) -> None:
    found = search(bounds)

    print(f"{bounds}: {found}")  # noqa: T201 - the count is the result
    assert found.is_whole
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
