"""What the operator reads of an error."""

from __future__ import annotations

from dialgate.errors import BodyError, ConfigError, DialgateError, Fault, UsageError


def test_a_fault_is_place_key_reason_and_remedy() -> None:
    assert str(Fault("f.toml", 7, "a.b[0]", "is 5", "write 6")) == (
        "f.toml:7: a.b[0]: is 5: write 6"
    )
    assert str(Fault("f.toml", 0, "", "is empty", "")) == "f.toml: is empty"


def test_a_configuration_error_is_one_line_a_fault() -> None:
    error = ConfigError([Fault("f", 1, "a", "x", "y"), Fault("f", 2, "b", "x", "y")])

    assert error.report == "f:1: a: x: y\nf:2: b: x: y"


def test_any_other_error_says_who_speaks() -> None:
    assert DialgateError("no").report == "dialgate: no"


def test_wrong_usage_has_a_status_of_its_own() -> None:
    assert (DialgateError("no").exit_status, UsageError("no").exit_status) == (1, 2)


def test_a_body_error_names_the_field() -> None:
    error = BodyError("credit", "is missing")

    assert (error.field, str(error)) == ("credit", "credit: is missing")
