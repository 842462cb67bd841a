"""Names that one table gives and another must have."""

from __future__ import annotations

from collections.abc import Collection

from dialgate.settings.findings import Findings
from dialgate.settings.locator import Path

__all__ = ["check_name"]


def check_name(
    name: str, known: Collection[str], path: Path, table: str, findings: Findings
) -> None:
    """Add a fault unless `name` is one of the tables `known`, which are `[table.NAME]`."""
    if name not in known:
        others = f"; there are: {', '.join(sorted(known))}" if known else ""
        findings.fault(path, f'"{name}" is not defined', f"add [{table}.{name}]{others}")
