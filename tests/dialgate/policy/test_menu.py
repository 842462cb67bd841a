"""Services by role, and what the caller's answer to the menu chooses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialgate.policy import chosen_service, menu_text, offered_services

OFFERED = ("console", "shell", "rtu-7")


def test_a_role_adds_its_services_behind_everybodys() -> None:
    by_role = {"admin": ("shell", "console"), "field": ("rtu-7",)}

    assert offered_services(("console",), by_role, ()) == ("console",)
    assert offered_services(("console",), by_role, {"admin"}) == ("console", "shell")
    assert offered_services((), by_role, {"field", "admin"}) == ("shell", "console", "rtu-7")
    assert offered_services((), by_role, {"guest"}) == ()


def test_the_menu_numbers_the_services() -> None:
    assert menu_text(OFFERED) == "  1  console\n  2  shell\n  3  rtu-7\n"


@pytest.mark.parametrize(
    ("answer", "service"),
    [
        ("1", "console"),
        ("3", "rtu-7"),
        (" 02 ", "shell"),
        ("shell", "shell"),
        ("0", None),
        ("4", None),
        ("-1", None),
        ("", None),
        ("SHELL", None),
        ("\u0661", None),
        ("9" * 5000, None),
    ],
)
def test_a_number_or_a_name_chooses(answer: str, service: str | None) -> None:
    assert chosen_service(OFFERED, answer) == service


@given(st.text())
def test_whatever_is_typed_only_what_is_offered_is_chosen(answer: str) -> None:
    assert chosen_service(OFFERED, answer) in {*OFFERED, None}


def test_a_service_that_is_called_by_a_number_is_chosen_by_its_name() -> None:
    assert chosen_service(("2", "1"), "2") == "2"
