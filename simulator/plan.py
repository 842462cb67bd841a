"""What a world is made of, and how it can break.

Invariant: plain values.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

__all__ = ["Broken", "Mode", "Plan"]

Mode = Literal["safety", "liveness"]


class Plan(Struct, frozen=True, kw_only=True):
    """What a world is made of, and for how long; a plan and a seed make a history."""

    seed: int
    mode: Mode = "safety"
    duration_s: float = 300.0
    """While calls come; the world is mended and looked over after that."""
    calls: float = 1.0
    """A port and minute, on average."""
    ports: int = 40
    agents: int = 4
    brokers: int = 2
    workers: int = 3


class Broken(Struct, frozen=True):
    """A rule that did not hold."""

    at: float
    rule: str
    text: str
    dialog: bytes | None = None

    def __str__(self) -> str:
        """Return one line for people."""
        return f"{self.rule} at {self.at:.3f} s: {self.text}"
