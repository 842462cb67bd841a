"""What can be told of one process by all that may ever be done with it, and its copies.

Two values of which the same is told decide alike: what is left out are counts, settings that never
change, times of what is over, and words for observers.  Times are told relative to the process's
`now`, so that it doesn't matter when something happened, only how long ago.

Invariant: a field is left out by its name (`UNTOLD`) or by its class and name (`UNTOLD_OF`), and by
nothing else; a field that is new is told.
"""

from __future__ import annotations

import copyreg
import hashlib
import io
import marshal
import math
import pickle
from collections import deque
from enum import Enum
from typing import Any, ClassVar, Final

from msgspec import Struct

from broker.counts import Counts
from broker.limits import BrokerLimits
from dialgate.histogram import ANSWER_BOUNDS_S, Histogram
from dialgate.wire.bodies import Welcome
from port_agents.counters import AgentCounters
from port_agents.line_actions import LineSettings, ServiceLimits
from port_agents.modem_actions import ModemSettings

__all__ = ["COUNTERS", "COUNTS", "LIMITS", "SETTINGS", "WELCOME", "Teller", "frozen", "thaw"]

LIMITS: Final = BrokerLimits()
WELCOME: Final = Welcome(
    protocol=1,
    name="",
    instance=bytes(16),
    heartbeat_ms=1000,
    end_lease_ms=10_000,
    queue_timeout_ms=10_000,
    frame_bytes_max=65536,
    body_bytes_max=16384,
)
SETTINGS: Final = LineSettings(
    hport="p",
    site="s",
    agent="a",
    device="simulated",
    service="console",
    services={"console": ServiceLimits()},
    modem=ModemSettings(init=("ATE0S0=0",), dtr_low_ms=0),
)
COUNTERS: Final = AgentCounters(Histogram(ANSWER_BOUNDS_S), Histogram(ANSWER_BOUNDS_S))
COUNTS: Final = Counts()

UNTOLD: Final = frozenset(
    # Counts.
    {"_drops", "bytes_in", "bytes_out", "counters", "drops", "faults", "forgotten_early"}
    | {"reattached"}
    # Settings, and what follows from them.
    | {"_facts", "_note", "_registers", "_settings", "capacity", "central", "facts", "order"}
    | {"pools", "right", "settings", "site", "version"}
    # When something was that bounds nothing; `began_at` is the broker's, the agent's `_begun_at`.
    | {"_since", "began_at", "connected_at", "handed_over_at", "heard_at", "opened_at", "rang_at"}
    | {"sent_at", "since", "started_at", "up_s"}
    # For records and observers.
    | {"_last_disconnect", "_reports", "answers", "began_by", "history", "hports", "listed"}
    | {"number", "reason", "records", "steps", "warned"}
    # A modem's last command, for A/; timers, each of which its owner tells, too.
    | {"_last_command", "_last_dte_at", "_timers"}
)
"""Fields that no decision depends on, in whatever class."""
UNTOLD_OF: Final = {
    "Ask": frozenset({"discard"}),
    "Call": frozenset({"code", "dialog", "ended_at"}),
    "Line": frozenset({"_active_at", "_attempt", "_ppp"}),
    "Modem": frozenset({"_asked_at", "_rings", "_said"}),
    "Stay": frozenset({"_active_at"}),
    "Terminal": frozenset({"_after_cr", "_has_answered"}),
    "Worker": frozenset({"_departure", "_leases"}),
}
"""In one class: what is done when it is read, and what counts only where silence is limited, lines
go busy, callers speak PPP or end a line with CR LF, and workers drain; here none does."""
NEVER: Final = frozenset({"now", "said"})
"""What all times are relative to, and what is handed on."""
PLAIN: Final = frozenset({int, str, bytes, bool, type(None)})
SHARED: Final = {type(each): each for each in (SETTINGS, COUNTERS, COUNTS, LIMITS, WELCOME)}
"""One of each is enough: nothing in them changes, or nothing that is decided by."""


class Teller:
    """Tells processes' states apart.

    Args:
        is_whole: tell everything, also what no decision depends on.
    """

    def __init__(self, *, is_whole: bool) -> None:
        self._untold = NEVER if is_whole else NEVER | UNTOLD
        self._untold_of = {} if is_whole else UNTOLD_OF
        self._fields: dict[type, tuple[str, ...]] = {}

    def told(self, part: Any, now: float) -> bytes:
        """Return 16 bytes that are the same for states that nothing can tell apart."""
        told = self._told(part, now, {})
        return hashlib.blake2b(marshal.dumps(told, 2), digest_size=16).digest()

    def _told(self, value: Any, now: float, seen: dict[int, int]) -> Any:
        kind = type(value)
        if kind in PLAIN:
            return value
        if kind is float:
            return value if math.isinf(value) else round(value - now, 6)
        if isinstance(value, Enum):
            return value.name
        if kind in SHARED or callable(value):
            return None
        if id(value) in seen:
            return seen[id(value)]
        if isinstance(value, tuple | list | deque):
            return tuple([self._told(each, now, seen) for each in value])
        seen[id(value)] = -len(seen) - 1
        if isinstance(value, bytearray):
            return bytes(value)
        if isinstance(value, dict):
            pairs = [(self._told(k, now, seen), self._told(v, now, seen)) for k, v in value.items()]
            return tuple(pairs)
        if isinstance(value, set | frozenset):
            return tuple(sorted([self._told(each, now, seen) for each in value], key=repr))
        names = self._fields_of(kind, getattr(value, "__dict__", {}))
        fields = [(name, getattr(value, name, None)) for name in names]
        # A field in seconds is a duration, and no moment.
        told = [(n, x if n.endswith("_s") else self._told(x, now, seen)) for n, x in fields]
        return kind.__name__, *told

    def _fields_of(self, kind: type, own: dict[str, Any]) -> tuple[str, ...]:
        """Return the names of the slots and the struct's fields of a class, and of `own` ones."""
        known = self._fields.get(kind)
        if known is None:
            names = [*kind.__struct_fields__] if issubclass(kind, Struct) else []
            for base in kind.__mro__:
                slots = base.__dict__.get("__slots__", ())
                names += [slots] if isinstance(slots, str) else [*slots]
            untold = self._untold | self._untold_of.get(kind.__name__, frozenset())
            known = self._fields[kind] = tuple(
                x for x in dict.fromkeys([*names, *own]) if x not in untold and x[:2] != "__"
            )
        return known


def shared(name: str) -> Any:
    """Return what all states have in common."""
    return next(each for kind, each in SHARED.items() if kind.__name__ == name)


class Freezer(pickle.Pickler):
    """Makes bytes of a process."""

    dispatch_table: ClassVar = {  # type: ignore[misc]
        **copyreg.dispatch_table,
        **{kind: lambda each: (shared, (type(each).__name__,)) for kind in SHARED},
    }


def frozen(part: Any) -> bytes:
    """Return a process as bytes."""
    out = io.BytesIO()
    Freezer(out, pickle.HIGHEST_PROTOCOL).dump(part)
    return out.getvalue()


def thaw(state: bytes) -> Any:
    """Return a copy of a process."""
    return pickle.loads(state)  # noqa: S301 - our own
