"""Which server is asked first."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from auth_workers.radius.servers import Servers
from dialgate.settings import HostPort

A, B, C = (HostPort(host, 1812) for host in "abc")


def test_servers_are_asked_in_the_operators_order() -> None:
    assert Servers([A, B, C]).in_order(0.0) == [A, B, C]


def test_one_that_was_silent_is_asked_last_for_a_while() -> None:
    servers = Servers([A, B, C], dead_s=60.0)

    servers.silent(A, 10.0)

    assert servers.in_order(69.9) == [B, C, A]
    assert servers.is_dead(A, 69.9)
    assert servers.in_order(70.0) == [A, B, C]


def test_one_that_answers_lives_again() -> None:
    servers = Servers([A, B])
    servers.silent(A, 10.0)

    servers.answered(A)

    assert servers.in_order(11.0) == [A, B]


def test_one_that_never_failed_lives() -> None:
    assert not Servers([A]).is_dead(A, 0.0)


@given(st.lists(st.tuples(st.sampled_from([A, B, C]), st.booleans(), st.floats(0, 1e6))))
def test_every_server_is_in_every_order_once(events: list[tuple[HostPort, bool, float]]) -> None:
    servers = Servers([A, B, C])
    for server, silent, now in events:
        if silent:
            servers.silent(server, now)
        else:
            servers.answered(server)

        assert sorted(servers.in_order(now), key=str) == [A, B, C]
