"""Faults of `[[policies]]` that only several values together show."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final
from zoneinfo import ZoneInfo

from dialgate.policy import parse_span
from dialgate.settings.document import Settings
from dialgate.settings.findings import Findings, spell
from dialgate.settings.locator import Path
from dialgate.settings.names import check_name
from dialgate.settings.policies import PolicySettings
from dialgate.settings.presets import SHARED, is_looser

__all__ = ["check_policies"]

_SECOND_FACTOR: Final = {
    "nist": "SP 800-63B §4.2 (AAL2)",
    "pci": "PCI DSS 8.4.3",
    "nerc": "CIP-005-7 R2.3",
}
"""Where the text of a preset asks for a second factor."""


def check_policies(settings: Settings, findings: Findings) -> None:
    """Add every fault and warning of the policies."""
    for index, policy in enumerate(settings.policies):
        path: Path = ("policies", index)
        for place, name in enumerate(policy.authenticators):
            key: Path = (*path, "authenticators", place)
            check_name(name, settings.authenticators, key, "authenticators", findings)
        _check_hours(policy, path, findings)
        _check_services(policy, settings, path, findings)
        if policy.break_glass and not policy.users:
            findings.fault((*path, "break_glass"), "is for no account", "name them in users")
        text = _SECOND_FACTOR.get(policy.preset)
        if text and (policy.chain != "all" or len(policy.authenticators) == 1):
            what = f'"{policy.preset}" asks for a second factor ({text}), and the chain has one'
            mend = 'add one and chain = "all", unless the authenticator asks for both'
            findings.warning((*path, "preset"), what, mend)
    _check_shared(settings, findings)
    _check_reach(settings, findings)
    if settings.worker is not None and not settings.policies:
        what = "is missing, so every caller would be turned away"
        findings.fault(("policies",), what, "add a [[policies]] table")


def _check_shared(settings: Settings, findings: Findings) -> None:
    """Warn of keys for every user that allow more than the preset of a policy asks."""
    for preset in dict.fromkeys(policy.preset for policy in settings.policies):
        for table, numbers in SHARED.get(preset, {}).items():
            for key, wanted in numbers.items():
                value = getattr(getattr(settings, table), key)
                if is_looser(key, value, wanted):
                    what = f'is {value}, and a policy\'s preset "{preset}" asks for {wanted}'
                    findings.warning((table, key), what, "remove the key, or the preset")


def _check_hours(policy: PolicySettings, path: Path, findings: Findings) -> None:
    for place, text in enumerate(policy.hours):
        # A text that is no span has its fault already, and stands in as an empty one.
        if text and (span := parse_span(text)).begin == span.end:
            key: Path = (*path, "hours", place)
            findings.fault(key, "ends when it begins", 'write "00:00-24:00" for the whole day')
    try:
        ZoneInfo(policy.time_zone)
    except (KeyError, ValueError, OSError):
        what = f'"{policy.time_zone}" is no time zone'
        findings.fault((*path, "time_zone"), what, "write it as Europe/Oslo or UTC")


def _check_services(
    policy: PolicySettings, settings: Settings, path: Path, findings: Findings
) -> None:
    if policy.service and policy.offers_a_service():
        findings.fault((*path, "service"), "stands beside a choice of services", "move it there")
    if settings.agent is None:
        return  # They are other machines'.
    for key, name in _services(policy):
        check_name(name, settings.services, (*path, *key), "services", findings)


def _services(policy: PolicySettings) -> Iterator[tuple[Path, str]]:
    """Yield place and name of each service that a policy names."""
    if policy.service:
        yield ("service",), policy.service
    for index, name in enumerate(policy.services):
        yield ("services", index), name
    for role, names in policy.role_services.items():
        for index, name in enumerate(names):
            yield ("role_services", role, index), name


def _check_reach(settings: Settings, findings: Findings) -> None:
    """Warn of policies that never decide, and of ports for which none does."""
    if any(findings.has_fault(("policies", index)) for index in range(len(settings.policies))):
        return
    everybody: int | None = None
    for index, policy in enumerate(settings.policies):
        if everybody is not None:
            findings.warning(
                ("policies", index),
                f"never decides: {spell(('policies', everybody))} matches every call",
                "move it up, or remove it",
            )
        elif not any(key for key in _excluding(policy)):
            everybody = index
    if settings.agent is None or not settings.policies:
        return
    for path, port in settings.agent.placed_lines():
        if not any(policy.matches(settings.agent.site, port.hport) for policy in settings.policies):
            findings.warning(
                path,
                f'no policy matches site "{settings.agent.site}" and port "{port.hport}"',
                "its callers are turned away: widen the sites or ports of a policy",
            )


def _excluding(policy: PolicySettings) -> Iterator[bool]:
    """Yield whether each key of `policy` may exclude somebody."""
    for patterns in (policy.sites, policy.ports, policy.callers, policy.called):
        yield "*" not in patterns
    for choices in (policy.hours, policy.weekdays, policy.users, policy.roles):
        yield bool(choices)
