"""What well-known texts ask of a login, as defaults of a policy's keys.

docs/policy.md says for each number where it stands.  A key that the policy itself gives wins, and a
preset that a text is silent about leaves the key's own default.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

__all__ = ["PRESETS", "with_presets"]

PRESETS: Final[Mapping[str, Mapping[str, Any]]] = {
    "rfc2196": {
        "tries": 3,  # §4.5.4.2: disconnect after the third
        "retry_delay_s": 2.0,  # §4.5.4.2: about two seconds after a failed login
    },
    "nist": {
        "tries": 3,  # SP 800-53 AC-7 leaves the number to the organization
        "idle_timeout_s": 1800,  # SP 800-63B §4.2.3: 30 minutes of inactivity at AAL2
        "session_timeout_s": 43_200,  # SP 800-63B §4.2.3: once in 12 hours at AAL2
    },
    "pci": {
        "tries": 3,  # 8.3.4: a lock after at most 10 attempts, over all calls
        "idle_timeout_s": 900,  # 8.2.8: idle for more than 15 minutes
    },
    "nerc": {
        "tries": 3,  # CIP-007-6 R5.7 asks for a limit and gives no number
        "retry_delay_s": 2.0,
    },
}
"""Keys of `[[policies]]` by preset."""


def with_presets(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a parsed configuration whose policies have their preset's keys beneath their own."""
    policies = document.get("policies")
    if not isinstance(policies, list):
        return document
    return {**document, "policies": [_with_preset(policy) for policy in policies]}


def _with_preset(policy: Any) -> Any:
    """Return `policy` completed, or as it is where it is not fit to be."""
    if not isinstance(policy, dict) or not isinstance(policy.get("preset"), str):
        return policy
    return {**PRESETS.get(policy["preset"], {}), **policy}
