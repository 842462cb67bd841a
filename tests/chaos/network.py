"""A network cable to a machine of its own: as root a network namespace, else there is none.

What lives behind the cable reaches this machine at `host` only, and the cable can be pulled: then
packets vanish both ways and nobody is told, which no proxy between sockets can do.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

NET: Final = "198.51.100"
"""Of TEST-NET-2 (RFC 5737): in no real network."""


class Cable:
    """One cable, and the namespace at its far end."""

    def __init__(self, number: int) -> None:
        self._name = f"dialgate-{os.getpid()}-{number}"
        self._near = f"dg{os.getpid() % 1_000_000}n"
        self._far = f"dg{os.getpid() % 1_000_000}f"
        at = 4 * (os.getpid() % 63)
        self.host: Final = f"{NET}.{at + 1}"
        """This machine's address, as seen from the far end."""
        self._guest = f"{NET}.{at + 2}"

    @property
    def prefix(self) -> tuple[str, ...]:
        """What starts a command at the far end."""
        return ("ip", "netns", "exec", self._name)

    @classmethod
    @contextmanager
    def laid(cls) -> Iterator[Cable | None]:
        """Give a cable while the context lasts; None where that is not allowed."""
        cable = cls(1)
        try:
            yield cable if cable._lay() else None
        finally:
            cable._remove()

    def pull(self) -> None:
        """Pull the plug."""
        _ip("link", "set", self._near, "down")

    def plug(self) -> None:
        """Put it in again."""
        _ip("link", "set", self._near, "up")

    def _lay(self) -> bool:
        if os.geteuid() != 0 or not _ip("netns", "add", self._name):
            return False
        inside = ("-n", self._name)
        return (
            _ip("link", "add", self._near, "type", "veth", "peer", "name", self._far)
            and _ip("link", "set", self._far, "netns", self._name)
            and _ip("addr", "add", f"{self.host}/30", "dev", self._near)
            and _ip("link", "set", self._near, "up")
            and _ip(*inside, "addr", "add", f"{self._guest}/30", "dev", self._far)
            and _ip(*inside, "link", "set", self._far, "up")
            and _ip(*inside, "link", "set", "lo", "up")
        )

    def _remove(self) -> None:
        _ip("netns", "del", self._name)
        _ip("link", "del", self._near)


def _ip(*arguments: str) -> bool:
    """Run ip(8); return whether it did what it was told."""
    try:
        done = subprocess.run(["ip", *arguments], capture_output=True, check=False)
    except FileNotFoundError:
        return False
    return done.returncode == 0
