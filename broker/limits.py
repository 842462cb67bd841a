"""The numbers that bound a broker, with protocol §3, §4 and §6.7's defaults.

Each table of the broker has its limit here: at the limit there is an error and a count, not growth.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["SILENT_HEARTBEATS", "BrokerLimits"]

SILENT_HEARTBEATS: Final = 3
"""Heartbeats of silence after which a peer is lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerLimits:
    """What an operator may set, and what is as wide as a broker can need."""

    heartbeat_ms: int = 1000
    end_lease_ms: int = 10_000
    """How long after END its answer, and a COMPLETE that it delays, may take."""
    queue_timeout_ms: int = 10_000
    """How long a dialog waits for a worker before it is refused."""
    max_waiting: int = 1000
    """Waiting dialogs over which a first BEGIN is refused; over twice that, every BEGIN is."""
    errors_max: int = 20
    """Errors within `errors_window_s` that cost a peer its session."""
    errors_window_s: float = 10.0
    penalty_s: float = 10.0
    """How long the frames of such a peer are dropped unread."""
    command_timeout_s: float = 5.0
    """How long an agent may take over COMMANDED."""
    sessions_max: int = 10_000
    """Sessions of one role."""
    names_max: int = 20_000
    """Names of one role that are remembered; those without a session are forgotten first."""
    dialogs_max: int = 200_000
    ports_max: int = 4096
    """Ports that one agent may list."""
    offenders_max: int = 4096
    """Keys and connections whose errors are remembered."""
    commands_max: int = 1024
    """COMMANDs that wait for their COMMANDED."""
    changes_max: int = 8192
    """Changes kept for observers; who is further behind starts from a new snapshot."""
