"""The limit of descriptors is raised, or it is said what is missing."""

from __future__ import annotations

import resource

import pytest

from port_agents import descriptors


class Limits:
    """A process with limits of its own."""

    def __init__(self, soft: int, hard: int) -> None:
        self.now = soft, hard

    def getrlimit(self, _which: int) -> tuple[int, int]:
        return self.now

    def setrlimit(self, _which: int, limits: tuple[int, int]) -> None:
        self.now = limits


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> Limits:
    fake = Limits(1024, 524_288)
    monkeypatch.setattr(resource, "getrlimit", fake.getrlimit)
    monkeypatch.setattr(resource, "setrlimit", fake.setrlimit)
    return fake


def test_the_limit_is_raised_to_what_512_ports_need(limits: Limits) -> None:
    assert not descriptors.raise_limit(512)
    assert limits.now == (2688, 524_288)


def test_a_limit_that_suffices_stays(limits: Limits) -> None:
    assert not descriptors.raise_limit(100)
    assert limits.now == (1024, 524_288)


def test_what_is_missing_is_said_with_the_line_that_mends_it(limits: Limits) -> None:
    limits.now = (1024, 2048)

    assert descriptors.raise_limit(512) == (
        "512 ports need 2688 file descriptors, and the limit is 2048: "
        "set LimitNOFILE=2688 in the unit, or ulimit -n 2688"
    )
    assert limits.now == (2048, 2048)
