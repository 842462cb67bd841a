"""Columns for people."""

from __future__ import annotations

import pytest

from dialgate.cli.table import cell, duration, print_table


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (59.9, "59s"),
        (60, "1m00s"),
        (3599, "59m59s"),
        (3600, "1h00m"),
        (86_399, "23h59m"),
        (90_000, "1d01h"),
    ],
)
def test_a_duration_is_its_two_largest_units(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("column", "value", "text"),
    [
        ("name", None, "-"),
        ("name", "", "-"),
        ("name", "\x07", "\\x07"),
        ("drained", True, "yes"),
        ("drained", False, "no"),
        ("count", 0, "0"),
        ("since_ms", 61_000, "1m01s"),
        ("since_ms", None, "-"),
        ("pools", ["a", "b"], "a,b"),
        ("pools", [], "-"),
    ],
)
def test_a_value_is_shown_by_its_kind(column: str, value: object, text: str) -> None:
    assert cell(column, value) == text


def test_columns_are_as_wide_as_what_is_in_them(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([{"a": "long value", "b": 1}, {"b": "x", "c": "ignored"}], ("a", "b"))

    assert capsys.readouterr().out == "A           B\nlong value  1\n-           x\n"
