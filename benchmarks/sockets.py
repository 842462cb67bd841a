"""Addresses for the processes under test."""

from __future__ import annotations

import random
import socket
from contextlib import ExitStack

__all__ = ["free_ports", "free_row"]


def free_ports(count: int) -> list[int]:
    """Return TCP ports of the loopback that nobody listens on."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def free_row(count: int) -> int:
    """Return the first of `count` TCP ports in a row, below those that clients are given."""
    while True:
        first = random.randrange(10_000, 32_000 - count)
        with ExitStack() as stack:
            try:
                for port in range(first, first + count):
                    stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
            except OSError:
                continue
        return first
