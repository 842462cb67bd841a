"""Answers of commands as plain columns or JSON.

Whatever is printed as a column is made printable first: user names and modems' words come from
outside.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

from dialgate.text import printable

__all__ = ["add_output", "cell", "duration", "print_answer", "print_table"]

Row = Mapping[str, Any]

_UNITS: Final = ((86_400, "d"), (3600, "h"), (60, "m"), (1, "s"))


def add_output(parser: argparse.ArgumentParser, *more: str) -> None:
    """Add the option that chooses between columns, JSON and what else the command can print."""
    parser.add_argument(
        "-o",
        "--output",
        choices=["table", "json", *more],
        default="table",
        help="columns for people, or JSON with every field (default: %(default)s)",
    )


def print_answer(output: str, key: str, rows: Sequence[Row], columns: Sequence[str]) -> None:
    """Print `rows`: as `{key: [...]}`, or the fields `columns` of each in columns."""
    if output == "json":
        print(json.dumps({key: rows}, indent=2, default=str))
    else:
        print_table(rows, columns)


def print_table(rows: Sequence[Row], columns: Sequence[str]) -> None:
    """Print the fields `columns` of `rows` under each other, with a heading.

    A field whose name ends in `_ms` is shown as a duration, one that is absent as "-".
    """
    cells = [[column.removesuffix("_ms").upper() for column in columns]]
    cells += [[cell(column, row.get(column)) for column in columns] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for line in cells:
        padded = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        print("  ".join(padded).rstrip())


def duration(seconds: float) -> str:
    """Return `seconds` in its two largest units: "2h05m", "14s"."""
    whole = int(seconds)
    for (size, name), (smaller, smaller_name) in pairwise(_UNITS):
        if whole >= size:
            return f"{whole // size}{name}{whole % size // smaller:02}{smaller_name}"
    return f"{whole}s"


def cell(column: str, value: Any) -> str:
    """Return `value` as the column shows it."""
    match value:
        case None | "":
            return "-"
        case bool():
            return "yes" if value else "no"
        case int() | float() if column.endswith("_ms"):
            return duration(value / 1000)
        case list():
            return printable(",".join(map(str, value))) or "-"
        case _:
            return printable(str(value))
