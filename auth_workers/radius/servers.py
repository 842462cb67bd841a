"""In which order the servers of one authenticator are asked.  Sans-IO.

A server that did not answer is dead for a while: it is asked after those that live, and first again
when the time is over or it has answered.  Invariant: every server is in every order once, so that a
dead one that is the only one is asked all the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from dialgate.settings import HostPort

__all__ = ["DEAD_S", "Servers"]

DEAD_S: Final = 60.0
"""How long a server that did not answer is asked last."""


class Servers:
    """The servers, in the operator's order of preference.

    Args:
        servers: at least one.
        dead_s: how long one that did not answer is asked last.
    """

    def __init__(self, servers: Sequence[HostPort], dead_s: float = DEAD_S) -> None:
        self._servers = tuple(servers)
        self._dead_s = dead_s
        self._dead_until: dict[HostPort, float] = {}

    def in_order(self, now: float) -> list[HostPort]:
        """Return all servers, those that live first."""
        return sorted(self._servers, key=lambda server: self.is_dead(server, now))

    def is_dead(self, server: HostPort, now: float) -> bool:
        """Return whether `server` is asked last now."""
        return now < self._dead_until.get(server, now)

    def answered(self, server: HostPort) -> None:
        """Take note that `server` lives."""
        self._dead_until.pop(server, None)

    def silent(self, server: HostPort, now: float) -> None:
        """Take note that `server` did not answer."""
        self._dead_until[server] = now + self._dead_s
