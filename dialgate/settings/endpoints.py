"""Addresses as they stand in the file: message endpoints, TCP consoles and HTTP.

Only syntax and what follows from it: no name is looked up here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final, Literal

__all__ = [
    "TERMINAL_SERVER",
    "Endpoint",
    "HostPort",
    "parse_console",
    "parse_endpoint",
    "parse_host_port",
    "parse_terminal_server",
]

TERMINAL_SERVER: Final = "rfc2217://"
"""What the device of a port behind a terminal server begins with."""

PORT_MAX: Final = 65_535
IPC_PATH_MAX: Final = 107
"""sockaddr_un's room for a path, without its closing NUL."""

_HOST_PORT = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+|\*):([0-9]{1,5})")


@dataclass(frozen=True, slots=True)
class HostPort:
    """A TCP address."""

    host: str
    """A name or an IP address, an IPv6 one without its brackets; `*` is every interface."""
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it.  Of names, only "localhost" counts."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def wildcard(self) -> bool:
        """Whether it stands for every interface of the machine."""
        return self.host in {"*", "0.0.0.0", "::"}  # noqa: S104 - compared with, not bound to


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where DSP/1 is spoken."""

    transport: Literal["tcp", "ipc", "inproc"]
    address: str
    """What libzmq connects or binds to."""
    tcp: HostPort | None
    """Host and port, of tcp endpoints only."""
    broker: str = ""
    """Name after `#`: whose public key is expected there; empty when the file doesn't say."""

    @property
    def local(self) -> bool:
        """Whether nobody outside this machine can reach it."""
        return self.tcp is None or self.tcp.loopback

    def needs_curve(self, *, insecure: bool) -> bool:
        """Return whether CURVE is spoken here (protocol §7)."""
        return self.tcp is not None and not insecure


def parse_host_port(text: str) -> HostPort:
    """Return the address in `text`, as `127.0.0.1:7780`, `[::1]:7780` or `name:7780`.

    Raises:
        ValueError: with the reason, fit for the operator.
    """
    match = _HOST_PORT.fullmatch(text)
    if match is None:
        raise ValueError("is not HOST:PORT")
    host, port = match[1].strip("[]"), int(match[2])
    if not 1 <= port <= PORT_MAX:
        raise ValueError(f"has a port outside 1 to {PORT_MAX}")
    return HostPort(host, port)


def parse_console(text: str) -> HostPort:
    """Return the address in `text`, as `tcp://127.0.0.1:2001`.

    Raises:
        ValueError: with the reason, fit for the operator.
    """
    if not text.startswith("tcp://"):
        raise ValueError("is not tcp://HOST:PORT")
    return parse_host_port(text.removeprefix("tcp://"))


def parse_terminal_server(text: str) -> HostPort:
    """Return the address in `text`, as `rfc2217://ts1.example.org:3001`.

    Raises:
        ValueError: with the reason, fit for the operator.
    """
    if not text.startswith(TERMINAL_SERVER):
        raise ValueError("is not rfc2217://HOST:PORT")
    return parse_host_port(text.removeprefix(TERMINAL_SERVER))


def parse_endpoint(text: str) -> Endpoint:
    """Return the endpoint in `text`: `tcp://HOST:PORT`, `ipc://PATH` or `inproc://NAME`.

    A peer's endpoint may end in `#BROKER`.

    Raises:
        ValueError: with the reason, fit for the operator.
    """
    address, _, broker = text.partition("#")
    transport, separator, rest = address.partition("://")
    match transport:
        case "tcp" if separator:
            return Endpoint("tcp", address, parse_host_port(rest), broker)
        case "ipc" | "inproc" if rest:
            if len(rest.encode()) > IPC_PATH_MAX:
                raise ValueError(f"has a path longer than {IPC_PATH_MAX} bytes")
            return Endpoint(transport, address, None, broker)
        case _:
            raise ValueError("is not tcp://HOST:PORT or ipc://PATH")
