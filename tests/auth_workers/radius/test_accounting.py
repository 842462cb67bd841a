"""What accounting servers are told of a call."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from auth_workers.radius.accounting import (
    TERMINATE_CAUSES,
    Status,
    admission_of,
    of_agent,
    of_record,
)
from auth_workers.radius.packets import Attribute
from dialgate.wire.record import CallRecord
from port_agents.call import Disconnect
from tests.auth_workers.radius.calls import NOON, record

PAGE: Final = Path(__file__).parents[3] / "docs" / "authenticators.md"


def told(of: CallRecord) -> dict[Attribute, bytes]:
    admission = admission_of(of)
    assert admission is not None
    return dict(of_record(of, admission))


def integer(value: bytes) -> int:
    return int.from_bytes(value, "big")


def test_each_disconnect_reason_has_a_cause_of_its_own() -> None:
    assert TERMINATE_CAUSES.keys() == {reason.value for reason in Disconnect}
    assert len(set(TERMINATE_CAUSES.values())) == len(Disconnect)
    assert all(1 <= cause <= 18 for cause in TERMINATE_CAUSES.values())


def test_the_handbook_lists_the_causes() -> None:
    listed = re.findall(r"^\| ([a-z-]+) \| (\d+) [A-Z]", PAGE.read_text(), re.MULTILINE)
    never = {"refused", "number-refused", "ppp-refused"}  # Nobody was admitted.

    assert {reason: int(cause) for reason, cause in listed} == {
        reason: cause for reason, cause in TERMINATE_CAUSES.items() if reason not in never
    }


def test_a_start_says_who_is_where() -> None:
    start = record(1, "start", attributes={"radius": "corp", "class": "00ff,31"})
    admission = admission_of(start)
    assert admission is not None
    pairs = of_record(start, admission)

    assert dict(pairs) == {
        Attribute.ACCT_STATUS_TYPE: b"\0\0\0\1",
        Attribute.ACCT_AUTHENTIC: b"\0\0\0\1",  # RADIUS
        Attribute.SERVICE_TYPE: b"\0\0\0\1",
        Attribute.NAS_PORT_TYPE: b"\0\0\0\0",
        Attribute.EVENT_TIMESTAMP: int(NOON).to_bytes(4, "big"),
        Attribute.ACCT_SESSION_ID: b"0" * 31 + b"1",
        Attribute.USER_NAME: b"ann",
        Attribute.NAS_IDENTIFIER: b"oslo-1",
        Attribute.NAS_PORT_ID: b"oslo/1",
        Attribute.CALLING_STATION_ID: b"5550100",
        Attribute.CONNECT_INFO: b"33600",
        Attribute.CLASS: b"1",
    }
    assert [value for key, value in pairs if key is Attribute.CLASS] == [b"\x00\xff", b"1"]


def test_a_stop_says_how_long_how_much_and_why() -> None:
    stop = told(
        record(
            2,
            handed_over_at=NOON,
            ended_at=NOON + 61.4,
            bytes_in=5,
            bytes_out=3 * 2**32 + 7,
            disconnect="session-timeout",
        )
    )

    assert integer(stop[Attribute.ACCT_STATUS_TYPE]) == Status.STOP
    assert integer(stop[Attribute.ACCT_AUTHENTIC]) == 2  # Local: no server admitted her.
    assert integer(stop[Attribute.ACCT_SESSION_TIME]) == 61
    assert integer(stop[Attribute.ACCT_INPUT_OCTETS]) == 5
    assert integer(stop[Attribute.ACCT_OUTPUT_OCTETS]) == 7
    assert integer(stop[Attribute.ACCT_OUTPUT_GIGAWORDS]) == 3
    assert integer(stop[Attribute.ACCT_TERMINATE_CAUSE]) == 5


def test_an_interim_says_what_has_passed_and_no_cause() -> None:
    interim = told(record(2, "interim", handed_over_at=NOON - 30, bytes_in=9))

    assert integer(interim[Attribute.ACCT_STATUS_TYPE]) == Status.INTERIM
    assert integer(interim[Attribute.ACCT_SESSION_TIME]) == 30
    assert integer(interim[Attribute.ACCT_INPUT_OCTETS]) == 9
    assert Attribute.ACCT_TERMINATE_CAUSE not in interim


def test_a_call_that_was_never_handed_over_took_no_time() -> None:
    stop = told(record(2, disconnect="service-failed"))

    assert integer(stop[Attribute.ACCT_SESSION_TIME]) == 0
    assert integer(stop[Attribute.ACCT_TERMINATE_CAUSE]) == 15


def test_octets_that_nobody_counted_are_not_told() -> None:
    """Of a line that its service had for itself."""
    stop = told(record(2, bytes_in=None, bytes_out=None))

    assert Attribute.ACCT_INPUT_OCTETS not in stop
    assert Attribute.ACCT_OUTPUT_GIGAWORDS not in stop


def test_a_reason_of_a_newer_agent_is_the_nass_request() -> None:
    assert integer(told(record(2, disconnect="eclipse"))[Attribute.ACCT_TERMINATE_CAUSE]) == 10


def test_nobodys_class_but_a_servers_is_sent() -> None:
    assert Attribute.CLASS not in told(record(1, attributes={"class": "31"}))


def test_only_who_was_admitted_is_accounted() -> None:
    assert admission_of(record(1, verdict="failure")) is None
    assert admission_of(record(1, dialogs=())) is None


def test_what_is_told_of_an_agents_start_names_the_agent() -> None:
    on = dict(of_agent("oslo-1", Status.ON, NOON))

    assert integer(on[Attribute.ACCT_STATUS_TYPE]) == 7
    assert on[Attribute.NAS_IDENTIFIER] == b"oslo-1"
    assert Attribute.USER_NAME not in on
