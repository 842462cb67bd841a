"""What chaos sabotages is still there to be sabotaged."""

from __future__ import annotations

import pytest

from tests.chaos.sabotage import SABOTAGE, patched


@pytest.mark.parametrize("program", SABOTAGE)
def test_each_sabotage_finds_its_lines_and_leaves_python(program: str) -> None:
    texts = patched(SABOTAGE[program])

    for name, text in texts.items():
        compile(text, name, "exec")
