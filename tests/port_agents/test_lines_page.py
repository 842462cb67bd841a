"""docs/lines.md shows the modem's table as the tests assert it.

`python -m tests.port_agents.test_lines_page` writes it anew.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from port_agents.modem_steps import Step
from tests.port_agents.test_modem_table import TABLE

PAGE: Final = Path(__file__).parents[2] / "docs" / "lines.md"
MARK: Final = "<!-- Made by tests/port_agents/test_lines_page.py"


def table() -> Iterator[str]:
    """Yield the table's lines: a row a step, a column an event; a cell is the step after it."""
    events = [event for event in TABLE if event != "too early"]
    shown = [event.encode("unicode_escape").decode() for event in events]
    yield f"| Step | {' | '.join(shown)} |"
    yield "|---" * (len(events) + 1) + "|"
    for step in Step:
        cells = (TABLE[event].get(step) for event in events)
        words = ["-" if cell is None else cell[0].name for cell in cells]
        yield f"| {step.name} | {' | '.join(words)} |"


def page(text: str) -> str:
    """Return the page with the table of now."""
    head, mark, rest = text.partition(MARK)
    comment, _, after = rest.partition("-->\n")
    _, _, tail = after.partition("\n## ")
    end = f"\n\n## {tail}" if tail else "\n"
    return f"{head}{mark}{comment}-->\n\n" + "\n".join(table()) + end


def test_the_page_shows_the_table_that_is_asserted() -> None:
    assert PAGE.read_text() == page(PAGE.read_text()), (
        "run: python -m tests.port_agents.test_lines_page"
    )


def test_the_page_names_every_step() -> None:
    text = PAGE.read_text().partition(MARK)[0]

    assert [step.name for step in Step if step.name not in text] == []


if __name__ == "__main__":
    sys.stdout.write(f"{PAGE}\n")
    PAGE.write_text(page(PAGE.read_text()))
