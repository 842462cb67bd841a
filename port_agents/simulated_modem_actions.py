"""What a simulated modem is set to, what is wrong with it, and what happens: the words of it.

Not the behaviour; that is `port_agents.simulated_modem`.

Invariant: actions and settings are plain values, compared by content.
"""

from __future__ import annotations

from dataclasses import dataclass

from msgspec import Struct

__all__ = [
    "CallAnswered",
    "CallDropped",
    "Dialled",
    "IncomingCall",
    "LinesChanged",
    "ModemFaults",
    "SimulatedAction",
    "SimulatedModemSettings",
    "ToCaller",
    "ToDte",
]


@dataclass(frozen=True, slots=True)
class IncomingCall:
    """What the exchange knows of a caller."""

    number: str = ""
    """Digits, `P` (withheld), `O` (out of area); empty: the exchange sends no caller id."""
    name: str = ""
    date: str = "0101"
    time: str = "0000"


@dataclass(slots=True)
class ModemFaults:
    """What is wrong with a modem; may be changed while it runs."""

    silent: bool = False
    """Neither does nor says anything at all."""
    refuses: str = ""
    """Commands (upper case) that contain this are answered ERROR."""
    splits_results: bool = False
    """Each result comes in three pieces."""
    echo_stuck: bool = False
    """Echoes in spite of E0."""
    loses_caller_id: bool = False
    dcd_stuck: bool = False
    """DCD never falls again once it was up."""


@dataclass(frozen=True, slots=True)
class SimulatedModemSettings:
    """How one simulated modem behaves."""

    ring_interval_s: float = 4.0
    connect_text: str = "CONNECT 38400"
    connect_number: int = 17
    """The same as a numeric (V0) result."""
    training_s: float = 0.0
    """Time between the answer and CONNECT."""


class ToDte(Struct, frozen=True, gc=False):
    """Bytes for the computer."""

    data: bytes


class ToCaller(Struct, frozen=True, gc=False):
    """Bytes for the far caller."""

    data: bytes


class CallAnswered(Struct, frozen=True, gc=False):
    """The carrier is up and CONNECT was said: the caller's bytes pass from now on."""


class CallDropped(Struct, frozen=True, gc=False):
    """The modem has hung up on the caller."""


class Dialled(Struct, frozen=True, gc=False):
    """The modem calls a number; `far_answered`, `far_busy` or `far_hang_up` says how it goes on."""

    number: str
    """Digits, `*` and `#`."""


class LinesChanged(Struct, frozen=True, gc=False):
    """The modem lines, whenever one changes."""

    dcd: bool
    ri: bool


SimulatedAction = ToDte | ToCaller | CallAnswered | CallDropped | Dialled | LinesChanged
