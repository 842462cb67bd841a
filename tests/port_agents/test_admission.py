"""What a verdict means for its caller: limits, last words, and how long he may stay."""

from __future__ import annotations

import math
from typing import Any

import pytest

from dialgate.codes import NO_ERROR, Winerror
from dialgate.wire.bodies import ERROR, FAILURE, SUCCESS
from port_agents.admission import LAST_WORD_BYTES_MAX, Stay, admit, is_same_user, last_word
from port_agents.call import Call, Disconnect
from port_agents.dialog_actions import Verdict
from tests.port_agents.line_bench import SETTINGS

NO_WORKER = Winerror.ERROR_NO_LOGON_SERVERS.code
TIMED_OUT = Winerror.ERROR_TIMEOUT.code
NOT_AVAILABLE = b"Authentication is not available, try again later\r\n"


def refused(**attributes: Any) -> Verdict:
    return Verdict(FAILURE, NO_ERROR, "ann", "", attributes)


@pytest.mark.parametrize(
    ("message", "word"),
    [
        ("no", b"no\r\n"),
        ("one\ntwo\r\nthree", b"one\r\ntwo\r\nthree\r\n"),
        ("", b""),
        (7, b""),
        ("x" * 9999, b"x" * LAST_WORD_BYTES_MAX + b"\r\n"),
    ],
)
def test_the_last_word_is_the_verdicts_message_in_lines_and_bounded(
    message: object, word: bytes
) -> None:
    assert last_word(refused(message=message)) == (Disconnect.REFUSED, word)


def test_a_refusal_without_a_message_says_nothing_more() -> None:
    assert last_word(refused()) == (Disconnect.REFUSED, b"")


def test_an_error_says_a_neutral_line_unless_the_verdict_has_one() -> None:
    assert last_word(Verdict(ERROR, NO_WORKER)) == (Disconnect.UNDECIDED, NOT_AVAILABLE)
    assert last_word(Verdict(ERROR, NO_WORKER, attributes={"message": "later"})) == (
        Disconnect.UNDECIDED,
        b"later\r\n",
    )


def test_who_took_too_long_is_told_so() -> None:
    assert last_word(Verdict(ERROR, TIMED_OUT)) == (
        Disconnect.UNDECIDED,
        b"Login timed out\r\n",
    )


def test_a_service_that_the_configuration_lacks_has_no_limits_of_its_own() -> None:
    verdict = Verdict(SUCCESS, NO_ERROR, "ann", "", {"service": "shell", "idle_timeout_s": 5})
    name, admission = admit(SETTINGS, Call(bytes(16), 0.0), verdict)

    assert name == "shell"
    assert (admission.session_timeout_s, admission.idle_timeout_s) == (0, 5)


def test_a_stay_without_limits_has_no_end() -> None:
    stay = Stay(0, 0, now=5.0)

    assert (stay.deadline(), stay.over(1e9)) == (math.inf, None)


def test_a_stay_ends_at_whichever_limit_comes_first() -> None:
    stay = Stay(session_timeout_s=100, idle_timeout_s=10, now=0.0)

    assert (stay.deadline(), stay.over(9.9), stay.over(10.0)) == (
        10.0,
        None,
        Disconnect.IDLE_TIMEOUT,
    )
    stay.active(95.0)
    assert (stay.deadline(), stay.over(100.0)) == (100.0, Disconnect.SESSION_TIMEOUT)


def test_what_a_worker_says_of_a_user_stays_out_of_reprs() -> None:
    verdict = Verdict(SUCCESS, NO_ERROR, "ann", "", {"secret": "xyzzy"})
    _, admission = admit(SETTINGS, Call(bytes(16), 0.0), verdict)

    assert "xyzzy" not in repr(verdict) + repr(admission)


@pytest.mark.parametrize(
    ("domain", "name", "same"),
    [
        ("", "zo\u00eb", True),
        ("", "zoe\u0308", True),
        ("", "Zo\u00eb", False),
        ("", "zo\u00eb ", False),
        ("", "\\zo\u00eb", False),
        ("NORTH", "zo\u00eb", True),
        ("NORTH", "NORTH\\zo\u00eb", True),
        ("NORTH", "SOUTH\\zo\u00eb", False),
        ("NORTH", "", False),
    ],
)
def test_a_services_user_is_the_admitted_one_by_name_or_by_domain_and_name(
    domain: str, name: str, same: bool
) -> None:
    assert is_same_user(Verdict(SUCCESS, NO_ERROR, "zo\u00eb", domain), name) is same
