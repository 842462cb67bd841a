"""Holds docs/testing.md against the tests: what it names exists, and no rule is left out."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import Final

TESTS: Final = Path(__file__).parent
PAGE: Final = (TESTS.parent / "docs" / "testing.md").read_text()


def test_every_test_that_the_page_names_exists() -> None:
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", PAGE)

    assert named
    assert [f"{file}::{name}" for file, name in named if name not in names_in(file)] == []


def test_every_scenario_is_on_the_page() -> None:
    named = re.findall(r"`(scenarios/\w+\.txt)`", PAGE)

    assert sorted(named) == sorted(
        str(path.relative_to(TESTS)) for path in (TESTS / "scenarios").glob("*.txt")
    )


def test_every_rule_trap_and_trace_has_a_row_with_a_test() -> None:
    rows = {
        row
        for row, cells in re.findall(r"^\| ([^|]+) \|(.*)\|$", PAGE, re.MULTILINE)
        if "`" in cells
    }

    assert numbered("Rule ", 8) <= rows
    assert numbered("Trap ", 14) <= rows
    assert numbered("§6.", 9) <= rows
    assert numbered("T", 25) <= rows


def numbered(prefix: str, count: int) -> set[str]:
    return {f"{prefix}{number}" for number in range(1, count + 1)}


@cache
def names_in(file: str) -> set[str]:
    """Return the names of a module's test functions."""
    path = TESTS / file
    if not path.is_file():
        return set()
    return {
        node.name
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
    }
