"""The worked example of docs/authenticators.md is run as it stands there."""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import pytest

PAGE: Final = (Path(__file__).parents[2] / "docs" / "authenticators.md").read_text()
EXAMPLE: Final = PAGE.partition("## A worked example")[2].partition("\n## ")[0]


def example() -> dict[str, Any]:
    """Return what the example's code defines."""
    names: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", EXAMPLE, flags=re.DOTALL):
        exec(compile(block, "docs/authenticators.md", "exec"), names)  # noqa: S102 - our own page
    return names


TESTS: Final = {
    name: value
    for name, value in example().items()
    if name.startswith("test_") and inspect.iscoroutinefunction(value)
}


@pytest.mark.parametrize("name", TESTS)
async def test_the_worked_example_does_what_the_page_says(name: str) -> None:
    test: Callable[[], Awaitable[None]] = TESTS[name]

    await test()


def test_the_page_has_an_example() -> None:
    assert len(TESTS) == 3
