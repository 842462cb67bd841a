"""Text from outside drives no terminal."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dialgate.text import counted, printable


@given(st.text())
def test_what_is_made_printable_has_no_control_character(text: str) -> None:
    assert not any(char < " " or "\x7f" <= char <= "\x9f" for char in printable(text))


@given(st.text(st.characters(categories=["L", "N", "P", "S"])))
def test_what_is_printable_stays_as_it_is(text: str) -> None:
    assert printable(text) == text


def test_text_that_turns_its_direction_is_escaped() -> None:
    assert printable("a\u202eb") == "a\\u202eb"


def test_one_is_told_from_many() -> None:
    assert [counted(n, "port") for n in (0, 1, 2)] == ["0 ports", "1 port", "2 ports"]
