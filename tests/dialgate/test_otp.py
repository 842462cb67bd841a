"""One-time codes: which are right when, by the vectors of the RFCs and by hand."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Final
from urllib.parse import parse_qs, urlsplit

import pyotp
import pytest

from dialgate.errors import UsageError
from dialgate.otp import Match, Token, match, parse_seed, uri

SECRET: Final = base64.b32encode(b"12345678901234567890").decode()
"""Of RFC 4226's and RFC 6238's test vectors."""
TOTP: Final = Token("ann", "totp", SECRET)
HOTP: Final = Token("ann", "hotp", SECRET)
NOW: Final = 1_800_000_000
STEP: Final = NOW // 30
RFC_4226: Final = ["755224", "287082", "359152", "969429", "338314", "254676", "287922"]


def code(counter: int) -> str:
    return pyotp.HOTP(SECRET).at(counter)


def accepted(token: Token, given: str, now_s: float = NOW) -> int | None:
    found = match(token, given, now_s)
    return found.counter if found and found.accepted else None


def test_hotp_gives_the_codes_of_rfc_4226() -> None:
    for counter, given in enumerate(RFC_4226):
        assert accepted(replace(HOTP, last=counter - 1), given) == counter


@pytest.mark.parametrize(
    ("now_s", "given"),
    [
        (59, "94287082"),
        (1111111109, "07081804"),
        (1234567890, "89005924"),
        (20000000000, "65353130"),
    ],
)
def test_totp_gives_the_codes_of_rfc_6238(now_s: int, given: str) -> None:
    assert accepted(replace(TOTP, digits=8), given, now_s) == now_s // 30


def test_a_code_is_right_one_step_early_and_one_late() -> None:
    assert [accepted(TOTP, code(STEP + step)) for step in (-2, -1, 0, 1, 2)] == [
        None,
        STEP - 1,
        STEP,
        STEP + 1,
        None,
    ]


@pytest.mark.parametrize("other", ["", "0" + code(STEP), code(STEP)[:-1], "\N{SNOWMAN}"])
def test_what_is_no_code_of_that_length_is_wrong(other: str) -> None:
    assert match(TOTP, other, NOW) is None


def test_digits_of_another_script_are_wrong() -> None:
    wide = "".join(chr(ord(digit) - ord("0") + 0xFF10) for digit in code(STEP))

    assert wide.isdigit()
    assert match(TOTP, wide, NOW) is None


def test_a_code_is_not_right_twice_nor_after_a_later_one() -> None:
    used = replace(TOTP, last=STEP)

    assert match(used, code(STEP), NOW) is None
    assert match(used, code(STEP - 1), NOW) is None
    assert accepted(used, code(STEP + 1)) == STEP + 1


def test_the_drift_of_a_clock_is_followed() -> None:
    first = match(TOTP, code(STEP + 1), NOW)
    assert first == Match(STEP + 1, accepted=True, drift=1)
    drifted = replace(TOTP, drift=1, last=STEP + 1)

    assert accepted(drifted, code(STEP + 12), NOW + 300) == STEP + 12
    assert accepted(TOTP, code(STEP + 12), NOW + 300) is None


@pytest.mark.parametrize("strayed", [-40, -7, 5, 38])
def test_a_token_that_strayed_is_found_by_two_codes_in_a_row(strayed: int) -> None:
    there = STEP + strayed
    assert match(TOTP, code(there), NOW) == Match(there, accepted=False, drift=0)
    noted = replace(TOTP, stray=there)

    assert match(noted, code(there), NOW) == Match(there, accepted=False, drift=0)
    found = match(noted, code(there + 1), NOW + 30)
    assert found == Match(there + 1, accepted=True, drift=strayed)


def test_two_codes_apart_are_no_pair() -> None:
    noted = replace(TOTP, stray=STEP + 10)

    assert accepted(noted, code(STEP + 12)) == STEP + 12
    assert accepted(noted, code(STEP + 13)) is None
    assert accepted(noted, code(STEP + 9)) is None


def test_beyond_reach_a_token_is_not_found() -> None:
    assert match(TOTP, code(STEP + 41), NOW) is None
    assert match(HOTP, code(100), NOW) is None


def test_hotp_looks_ahead_ten_codes_and_further_for_a_pair() -> None:
    assert accepted(HOTP, code(9)) == 9
    assert match(HOTP, code(10), NOW) == Match(10, accepted=False)
    assert accepted(replace(HOTP, stray=10), code(11)) == 11
    assert match(replace(HOTP, last=9), code(9), NOW) is None


@pytest.mark.parametrize("given", ["", "000000", "12345", "1234567", "abcdef"])
def test_what_is_no_code_of_the_token_is_not_right(given: str) -> None:
    assert match(TOTP, given, NOW) is None


def test_the_uri_is_what_apps_read() -> None:
    parts = urlsplit(uri(TOTP, "north"))
    fields = parse_qs(parts.query)

    assert (parts.scheme, parts.netloc, parts.path) == ("otpauth", "totp", "/north:ann")
    assert fields["secret"] == [SECRET]
    assert fields["issuer"] == ["north"]
    assert "counter=5" in uri(replace(HOTP, last=4), "north")


def test_a_seed_is_taken_with_spaces_and_without_padding() -> None:
    assert parse_seed("jbsw y3dp ehpk 3pxp jbsw y3dp\n") == "JBSWY3DPEHPK3PXPJBSWY3DP"


@pytest.mark.parametrize("text", ["", "JBSWY3DP", "JBSWY3DPEHPK3PX1JBSWY3DP", "A" * 400])
def test_an_unfit_seed_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_seed(text)


def test_no_secret_is_in_a_representation() -> None:
    assert SECRET not in repr(TOTP)
