"""Addresses: what is one, who can reach it, and where CURVE is spoken."""

from __future__ import annotations

import pytest

from dialgate.settings.endpoints import (
    Endpoint,
    HostPort,
    parse_console,
    parse_endpoint,
    parse_host_port,
)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:7780", "127.0.0.1", 7780),
        ("[::1]:1", "::1", 1),
        ("north.example:65535", "north.example", 65_535),
        ("*:7780", "*", 7780),
    ],
)
def test_host_and_port_are_read_and_written_alike(text: str, host: str, port: int) -> None:
    address = parse_host_port(text)

    assert address == HostPort(host, port)
    assert str(address) == text


@pytest.mark.parametrize("text", ["", "7780", "127.0.0.1", "a b:1", "::1:7780", "x:0", "x:65536"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not HOST:PORT|has a port outside 1 to 65535"):
        parse_host_port(text)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("*", False),
        ("::", False),
        ("192.0.2.1", False),
        ("localhost.example", False),
        ("127.0.0.1.example", False),
    ],
)
def test_only_this_machine_reaches_a_loopback_address(host: str, loopback: bool) -> None:
    assert HostPort(host, 1).loopback is loopback


def test_an_endpoint_may_name_the_broker_that_is_expected_there() -> None:
    endpoint = parse_endpoint("tcp://192.0.2.7:7700#broker-1")

    assert endpoint == Endpoint(
        "tcp", "tcp://192.0.2.7:7700", HostPort("192.0.2.7", 7700), "broker-1"
    )


@pytest.mark.parametrize("text", ["", "tcp://", "tcp:x", "udp://127.0.0.1:1", "ipc://", "pgm://x"])
def test_what_is_no_endpoint_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not"):
        parse_endpoint(text)


def test_a_path_too_long_for_a_socket_is_refused() -> None:
    assert parse_endpoint("ipc://" + "x" * 107).local
    with pytest.raises(ValueError, match="longer than 107 bytes"):
        parse_endpoint("ipc://" + "x" * 108)


@pytest.mark.parametrize(
    ("text", "insecure", "curve"),
    [
        ("tcp://127.0.0.1:7700", False, True),
        ("tcp://127.0.0.1:7700", True, False),
        ("tcp://192.0.2.1:7700", False, True),
        ("ipc:///run/dialgate/agents", False, False),
        ("inproc://agents", False, False),
    ],
)
def test_curve_is_spoken_on_tcp_unless_insecure(text: str, insecure: bool, curve: bool) -> None:
    """Protocol §7."""
    assert parse_endpoint(text).needs_curve(insecure=insecure) is curve


def test_a_console_is_a_tcp_address() -> None:
    assert parse_console("tcp://127.0.0.1:2001") == HostPort("127.0.0.1", 2001)
    with pytest.raises(ValueError, match="is not tcp://HOST:PORT"):
        parse_console("ipc://console")
