"""Which policy is for which port."""

from __future__ import annotations

import pytest

from dialgate.settings import PolicySettings


@pytest.mark.parametrize(
    ("sites", "ports", "site", "hport", "matches"),
    [
        (("*",), ("*",), "oslo", "oslo/1", True),
        (("oslo",), ("oslo/*",), "oslo", "oslo/1/a", True),
        (("oslo", "bergen"), ("*/1",), "bergen", "x/1", True),
        (("oslo",), ("*",), "oslo2", "oslo/1", False),
        (("*",), ("oslo/[12]",), "oslo", "oslo/3", False),
        (("OSLO",), ("*",), "oslo", "oslo/1", False),
    ],
)
def test_a_policy_is_for_the_ports_that_both_patterns_match(
    sites: tuple[str, ...], ports: tuple[str, ...], site: str, hport: str, matches: bool
) -> None:
    policy = PolicySettings(sites=sites, ports=ports, authenticators=("local",))

    assert policy.matches(site, hport) is matches
