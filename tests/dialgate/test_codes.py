"""The enums hold exactly what docs/error-codes.tsv lists, and bare numbers decode by its rule."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from dialgate.codes import (
    NO_ERROR,
    Code,
    Mprerror,
    NumberedCode,
    Raserror,
    Winerror,
    decode,
    describe,
)

TABLE = Path(__file__).parents[2] / "docs" / "error-codes.tsv"
ENUMS = {"winerror.h": Winerror, "raserror.h": Raserror, "mprerror.h": Mprerror}


def rows() -> list[tuple[str, str, int]]:
    with TABLE.open(newline="") as stream:
        return [
            (row["header"], row["name"], int(row["number"]))
            for row in csv.DictReader(stream, delimiter="\t")
        ]


@pytest.mark.parametrize("header", ENUMS)
def test_an_enum_holds_every_row_of_its_header_and_no_other(header: str) -> None:
    expected = {name: number for h, name, number in rows() if h == header}

    assert {n: m.value for n, m in ENUMS[header].__members__.items()} == expected


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (0, Winerror.NO_ERROR),
        (170, Winerror.ERROR_BUSY),
        (600, Raserror.PENDING),
        (619, Raserror.ERROR_PORT_DISCONNECTED),
        (633, Raserror.ERROR_PORT_NOT_AVAILABLE),
        (1460, Winerror.ERROR_TIMEOUT),
        (900, Mprerror.ERROR_ROUTER_STOPPED),
    ],
)
def test_a_bare_number_is_raserror_first_from_600_to_870(
    number: int, expected: NumberedCode
) -> None:
    assert decode(number) is expected


def test_every_number_of_the_table_decodes() -> None:
    for _, _, number in rows():
        assert decode(number).value == number


def test_a_number_of_no_table_is_refused() -> None:
    with pytest.raises(ValueError, match="99999 is no code"):
        decode(99999)


def test_a_member_travels_with_its_namespace_and_zero_has_one_spelling() -> None:
    assert Raserror.ERROR_AUTH_INTERNAL.code == Code("ras", 645)
    assert Winerror.ERROR_SUCCESS.code == NO_ERROR
    assert Raserror.SUCCESS.code == NO_ERROR


def test_a_code_is_described_by_its_name_or_carried_as_it_came() -> None:
    assert describe(Code("ras", 691)) == "ERROR_AUTHENTICATION_FAILURE"
    assert describe(Code("win", 4_000_000)) == "win:4000000"
