"""Verdicts as COMPLETE carries them (rashost.md: rules 4 and 9, traps 8, 9 and 12)."""

from __future__ import annotations

from typing import Final

import pytest

from auth_workers.verdict import Granted, Refused, Undecided, Verdict, complete_of, with_tries
from dialgate.codes import NO_ERROR, Code, Raserror, Winerror
from dialgate.wire.bodies import ERROR, FAILURE, SUCCESS

WORKER: Final = b"w" * 16


def test_granted_is_success_with_the_user_and_no_code() -> None:
    complete = complete_of(Granted("ann", "north", {"service": "console"}), WORKER)

    assert (complete.msg_id, complete.error) == (SUCCESS, NO_ERROR)
    assert (complete.username, complete.domain) == ("ann", "north")
    assert complete.attributes == {"service": "console"}
    assert complete.worker == WORKER


def test_refused_is_failure_with_the_user_and_no_code() -> None:
    complete = complete_of(Refused("ann"), WORKER)

    assert (complete.msg_id, complete.error, complete.username) == (FAILURE, NO_ERROR, "ann")


def test_undecided_is_error_with_its_code() -> None:
    code = Raserror.ERROR_AUTH_INTERNAL.code

    complete = complete_of(Undecided(code), WORKER)

    assert (complete.msg_id, complete.error, complete.username) == (ERROR, code, "")


@pytest.mark.parametrize(
    "verdict",
    [
        pytest.param(Granted(""), id="success without a user"),
        pytest.param(Granted("u" * 257), id="a name too long"),
        pytest.param(Granted("ann", "d" * 256), id="a domain too long"),
        pytest.param(Granted("ä" * 129), id="a name too long in bytes"),
        pytest.param(Granted("\ud800"), id="a name that is no text"),
        pytest.param(Refused("u" * 257), id="a refused name too long"),
        pytest.param(Undecided(NO_ERROR), id="error with code 0"),
        pytest.param(Undecided(Code("nt", 5)), id="a code of no namespace"),
        pytest.param(Granted("ann", attributes={"message": "x" * 17_000}), id="too much to say"),
        pytest.param(Granted("ann", attributes={"message": object()}), id="no such type"),
        pytest.param(Granted("ann", attributes={1: "x"}), id="a key that is no string"),  # type: ignore[dict-item]
        pytest.param(Granted("ann", attributes={"x": {1: "x"}}), id="such a key further in"),
        pytest.param(Granted(b"ann"), id="a name that is bytes"),  # type: ignore[arg-type]
        pytest.param(None, id="nothing"),
        pytest.param(True, id="yes"),
    ],
)
def test_a_verdict_that_cannot_be_carried_is_an_error_and_admits_nobody(verdict: Verdict) -> None:
    complete = complete_of(verdict, WORKER)

    assert (complete.msg_id, complete.error) == (ERROR, Winerror.ERROR_INVALID_DATA.code)
    assert complete.username == ""


@pytest.mark.parametrize(
    "verdict",
    [
        Granted("ann", "", {"class": "a"}),
        Refused("ann", "", {"class": "a"}),
        Undecided(Raserror.ERROR_AUTH_INTERNAL.code),
    ],
)
def test_a_verdict_tells_the_tries_that_were_used(verdict: Verdict) -> None:
    told = complete_of(with_tries(verdict, 2), WORKER)

    assert told.attributes == {**verdict.attributes, "tries": 2}


def test_what_is_no_verdict_stays_none() -> None:
    assert with_tries("granted", 2) == "granted"  # type: ignore[arg-type]
