"""Find the line on which each key of a TOML document stands.

`tomllib` gives values without places.  This scanner reads a document that `tomllib` has already
accepted, so it checks nothing: it only has to know where keys and values begin and end.  It knows
all of TOML 1.0; a document that isn't valid gives lines without meaning, never an endless loop.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_left
from typing import Final

__all__ = ["Path", "locate"]

Path = tuple[str | int, ...]
"""Keys and list positions from the document's root: ("agent", "ports", 0, "hport")."""

_BLANK: Final = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SPACE: Final = re.compile(r"[ \t]*")
_KEY: Final = re.compile(r"""[A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*"|'[^']*'""")
_STRING: Final = re.compile(
    r'"{3}(?:[^\\]|\\.)*?"{3,5}'
    r"|'{3}.*?'{3,5}"
    r'|"(?:[^"\\]|\\.)*"'
    r"|'[^']*'",
    re.DOTALL,
)
_SCALAR: Final = re.compile(r"[^,\]}#\n]*")


def locate(text: str) -> dict[Path, int]:
    """Return the line, from 1, of every table, key and list element of the document `text`."""
    return _Scanner(text).run()


class _Scanner:
    """One pass over the text; `at` is the place of the next character to read."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.lines: dict[Path, int] = {}
        self.lengths: dict[Path, int] = {}
        """Elements so far of each array of tables."""
        self.breaks = [match.start() for match in re.finditer("\n", text)]

    def run(self) -> dict[Path, int]:
        table: Path = ()
        while self.skip(_BLANK) < len(self.text):
            before = self.at
            if self.text.startswith("[", self.at):
                table = self.header()
            else:
                self.pair(table)
            if self.at == before:  # not TOML
                break
        return self.lines

    def skip(self, pattern: re.Pattern[str]) -> int:
        match = pattern.match(self.text, self.at)
        if match is not None:
            self.at = match.end()
        return self.at

    def mark(self, path: Path) -> None:
        self.lines.setdefault(path, bisect_left(self.breaks, self.at) + 1)

    def header(self) -> Path:
        """Read `[a.b]` or `[[a.b]]`; return the path of the table that it opens."""
        array = self.text.startswith("[[", self.at)
        start = self.at
        self.at += 2 if array else 1
        *parents, last = self.keys()
        path: Path = ()
        for key in parents:
            path = self.newest((*path, key))
        path = (*path, last)
        end, self.at = self.at, start
        if array:
            self.mark(path)
            self.lengths[path] = self.lengths.get(path, 0) + 1
        path = self.newest(path)
        self.mark(path)
        self.at = end + (2 if array else 1)
        return path

    def newest(self, path: Path) -> Path:
        """Return the newest element when `path` is an array of tables, else `path`."""
        length = self.lengths.get(path)
        return path if length is None else (*path, length - 1)

    def keys(self) -> list[str]:
        """Read a dotted key and the space around it."""
        keys: list[str] = []
        while True:
            self.skip(_SPACE)
            start = self.at
            word = self.text[start : self.skip(_KEY)]
            keys.append(_unquoted(word))
            self.skip(_SPACE)
            if not self.text.startswith(".", self.at):
                return keys
            self.at += 1

    def pair(self, table: Path) -> None:
        """Read `key = value`."""
        start = self.at
        keys = self.keys()
        end, self.at = self.at, start
        for length in range(1, len(keys) + 1):
            self.mark((*table, *keys[:length]))
        self.at = end + 1
        self.value((*table, *keys))

    def value(self, path: Path) -> None:
        self.skip(_SPACE)
        match self.text[self.at : self.at + 1]:
            case "[":
                self.elements(path)
            case "{":
                self.inline_table(path)
            case '"' | "'":
                self.skip(_STRING)
            case _:
                self.skip(_SCALAR)

    def elements(self, path: Path) -> None:
        self.at += 1
        index = 0
        while self.skip(_BLANK) < len(self.text) and self.text[self.at] != "]":
            self.mark((*path, index))
            start = self.at
            self.value((*path, index))
            self.separator(start)
            index += 1
        self.at += 1

    def inline_table(self, path: Path) -> None:
        self.at += 1
        while self.skip(_BLANK) < len(self.text) and self.text[self.at] != "}":
            start = self.at
            self.pair(path)
            self.separator(start)
        self.at += 1

    def separator(self, start: int) -> None:
        """Read what follows an element that began at `start`; never stay there."""
        self.skip(_BLANK)
        if self.text.startswith(",", self.at) or self.at == start:
            self.at += 1


def _unquoted(word: str) -> str:
    if not word.startswith(('"', "'")):
        return word
    value: str = tomllib.loads(f"key = {word}")["key"]
    return value
