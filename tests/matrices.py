"""Tables in docs/ that tests fill with what they have seen.

A table stands between `<!-- matrix NAME -->` and `<!-- end -->`.  Each test checks its own row, so
that a page that says something else fails; `pytest --rewrite-matrices` writes the rows instead, to
be reviewed as a diff.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

__all__ = ["Matrix"]


class Matrix:
    """One table of a page.

    Args:
        page: the file.
        name: the table's.
        rewrite: write what was seen instead of comparing it.
    """

    def __init__(self, page: Path, name: str, *, rewrite: bool) -> None:
        self._page = page
        self._rewrite = rewrite
        self._place = re.compile(rf"(?<=<!-- matrix {name} -->\n)(.*?)(?=<!-- end -->)", re.DOTALL)

    def check(self, row: str, *cells: str) -> None:
        """Hold what was seen in the case `row` against the page, or write it there."""
        line = f"| {' | '.join([row, *cells])} |"
        if self._rewrite:
            self._write(row, line)
        assert line in self._lines(), (
            f"{self._page.name} has no such row; review what pytest --rewrite-matrices makes of "
            f"it:\n{line}"
        )

    def check_rows(self, rows: Sequence[str]) -> None:
        """Hold the order of the page's rows against `rows`: none missing, none left over."""
        if self._rewrite:
            kept = {line.split(" | ")[0].removeprefix("| "): line for line in self._lines()[2:]}
            self._replace([*self._lines()[:2], *(kept[row] for row in rows if row in kept)])
        found = [line.split(" | ")[0].removeprefix("| ") for line in self._lines()[2:]]
        assert found == list(rows)

    def _lines(self) -> list[str]:
        place = self._place.search(self._page.read_text())
        assert place is not None, f"{self._page.name} has no table for this matrix"
        return place[0].splitlines()

    def _write(self, row: str, line: str) -> None:
        lines = self._lines()
        starts = [index for index, each in enumerate(lines) if each.startswith(f"| {row} |")]
        if starts:
            lines[starts[0]] = line
        else:
            lines.append(line)
        self._replace(lines)

    def _replace(self, lines: Sequence[str]) -> None:
        text = "".join(f"{line}\n" for line in lines)
        self._page.write_text(self._place.sub(lambda _: text, self._page.read_text(), count=1))
