"""Passwords: hashed with argon2id, checked without telling more than yes or no."""

from __future__ import annotations

from typing import Final

import pytest

from dialgate.errors import StateError, UsageError
from dialgate.passwords import Argon2, PasswordRules, check_password

CHEAP: Final = Argon2(memory_kib=8, passes=1)


def test_the_cost_is_owasps_set() -> None:
    assert Argon2().hash(b"secret").startswith("$argon2id$v=19$m=19456,t=2,p=1$")


def test_a_hash_matches_its_password_only() -> None:
    hashed = CHEAP.hash(b"secret")

    assert CHEAP.matches(hashed, b"secret")
    assert not CHEAP.matches(hashed, b"Secret")
    assert not CHEAP.matches(hashed, b"")


def test_the_decoy_has_the_same_cost_and_matches_nothing() -> None:
    assert not CHEAP.is_outdated(CHEAP.decoy)
    assert not CHEAP.matches(CHEAP.decoy, b"")
    assert not CHEAP.matches(CHEAP.decoy, bytes(1024))


def test_a_hash_of_another_cost_is_outdated_and_still_matches() -> None:
    hashed = CHEAP.hash(b"secret")
    dearer = Argon2(memory_kib=16, passes=1)

    assert dearer.is_outdated(hashed)
    assert dearer.matches(hashed, b"secret")


@pytest.mark.parametrize("damaged", ["", "x", "$argon2id$v=19$m=8,t=1,p=1$broken", "\x00"])
def test_a_damaged_hash_decides_nothing(damaged: str) -> None:
    with pytest.raises(StateError, match="damaged"):
        CHEAP.matches(damaged, b"secret")


@pytest.mark.parametrize("password", [b"x", b"p\xc3\xa4ss", bytes([0x20]), b"a" * 1024])
def test_what_can_be_typed_is_a_password(password: bytes) -> None:
    check_password(password)


@pytest.mark.parametrize("password", [b"", b"a" * 1025, b"a\rb", b"a\x00", b"\x7f"])
def test_what_cannot_be_typed_is_none(password: bytes) -> None:
    with pytest.raises(UsageError) as caught:
        check_password(password)

    assert repr(password) not in str(caught.value)


@pytest.mark.parametrize(
    ("password", "fault"),
    [
        ("correct horse", ""),
        ("Pass-12", "8 characters"),
        ("\u00e5\u00e5\u00e5\u00e5\u00e5\u00e5\u00e5\u00e5", "2 of: "),
        ("\u00c5\u00e5\u00e5\u00e5\u00e5\u00e5\u00e5\u00e5", ""),
        ("i am ANNa", "your name"),
        ("bell\x07bell", "can't be typed"),
        ("x" * 2000, "can't be typed"),
    ],
)
def test_rules_say_what_is_to_be_done_better(password: str, fault: str) -> None:
    rules = PasswordRules(length_min=8, classes_min=2)

    said = rules.fault(password.encode(), "ann")

    assert (fault in said) if fault else said == ""
    assert password not in said
