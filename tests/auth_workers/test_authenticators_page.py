"""The worked example of docs/authenticators.md is run as it stands there."""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import pytest

from auth_workers.authenticators import Rejected
from auth_workers.kinds import Kind
from auth_workers.testing import Caller

NOTHING: Final[Any] = object()
"""In place of resources that this kind doesn't use."""
PAGE: Final = (Path(__file__).parents[2] / "docs" / "authenticators.md").read_text()
EXAMPLE: Final = "\n".join(
    PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    for title in ("A worked example", "Kinds by entry point")
)


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


async def test_the_pages_kind_opens_the_pages_authenticator(tmp_path: Path) -> None:
    (tmp_path / "words").write_text("heron\nswan\n")
    names = example()
    kind: Kind = names["KIND"]
    settings = names["WordListSettings"](kind="wordlist", file=str(tmp_path / "words"))

    async with kind.open("words", settings, NOTHING) as words:
        assert await Caller(b"robin").tries("ann", words) == Rejected()
