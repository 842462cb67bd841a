"""What well-known texts ask of a login, as defaults of the configuration's keys.

docs/policy.md says for each number where it stands.  A key that the file itself gives wins, and a
text that is silent about a key leaves its default.  What a text asks of every user (`SHARED`) comes
in with the first policy that has its preset, and never loosens a default.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from dialgate.settings.accounts import LockoutSettings, PasswordSettings

__all__ = ["PRESETS", "SHARED", "is_looser", "with_presets"]

PRESETS: Final[Mapping[str, Mapping[str, Any]]] = {
    "rfc2196": {
        "tries": 3,  # §4.5.4.2: disconnect after the third
        "retry_delay_s": 2.0,  # §4.5.4.2: about two seconds after a failed login
    },
    "nist": {
        "tries": 3,  # SP 800-53 AC-7 a leaves the number to the organization
        "idle_timeout_s": 1800,  # SP 800-63B §4.2.3: 30 minutes of inactivity at AAL2
        "session_timeout_s": 43_200,  # SP 800-63B §4.2.3: once in 12 hours at AAL2
    },
    "pci": {
        "tries": 3,  # 8.3.4 counts over all calls; ours for one
        "idle_timeout_s": 900,  # 8.2.8: idle for more than 15 minutes
    },
    "nerc": {
        "tries": 3,  # CIP-007-6 R5.7 asks for a limit and gives no number
        "retry_delay_s": 2.0,
    },
}
"""Keys of `[[policies]]` by preset."""

SHARED: Final[Mapping[str, Mapping[str, Mapping[str, int]]]] = {
    "nist": {
        "lockout": {"user_tries": 100},  # SP 800-63B §5.2.2
        "passwords": {"length_min": 8},  # SP 800-63B §5.1.1.2
    },
    "pci": {
        # 8.3.4: the user ID is locked after at most 10 attempts, for at least 30 minutes
        "lockout": {"user_tries": 10, "wait_s": 1800, "number_known_s": 0},
        # 8.3.6: letters and digits; of four kinds, only all four make sure of both
        "passwords": {"length_min": 12, "classes_min": 4},
    },
    "nerc": {
        "passwords": {"length_min": 8, "classes_min": 3},  # CIP-007-6 R5.5
    },
}
"""Keys of `[lockout]` and `[passwords]` by preset."""

_TABLES: Final = {"lockout": LockoutSettings, "passwords": PasswordSettings}
_LESS_IS_STRICTER: Final = frozenset({"user_tries", "number_known_s"})


def is_looser(key: str, value: int, wanted: int) -> bool:
    """Return whether `value` of a key of `SHARED` allows more than a text wants."""
    return value > wanted if key in _LESS_IS_STRICTER else value < wanted


def with_presets(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a parsed configuration with what its policies' presets ask beneath its own keys."""
    policies = document.get("policies")
    if not isinstance(policies, list):
        return document
    names = dict.fromkeys(name for each in policies if (name := _preset_of(each)) in PRESETS)
    return {
        **document,
        **_shared(document, list(names)),
        "policies": [_with_preset(each) for each in policies],
    }


def _with_preset(policy: Any) -> Any:
    """Return `policy` completed, or as it is where it is not fit to be."""
    preset = _preset_of(policy)
    return {**PRESETS.get(preset, {}), **policy} if preset else policy


def _preset_of(policy: Any) -> str:
    """Return the name of a policy's preset; empty where it has none or is not fit to."""
    preset = policy.get("preset") if isinstance(policy, dict) else None
    return preset if isinstance(preset, str) else ""


def _shared(document: Mapping[str, Any], presets: list[str]) -> dict[str, Any]:
    """Return the tables of every user with the strictest of defaults and presets beneath."""
    tables: dict[str, Any] = {}
    for preset in presets:
        for table, numbers in SHARED.get(preset, {}).items():
            own = document.get(table, {})
            if not isinstance(own, dict):
                continue
            beneath = tables.setdefault(table, {})
            for key, wanted in numbers.items():
                default = beneath.get(key, getattr(_TABLES[table](), key))
                beneath[key] = wanted if is_looser(key, default, wanted) else default
    return {table: {**beneath, **document.get(table, {})} for table, beneath in tables.items()}
