"""What a program is told of the caller it is given: its whole environment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from port_agents.handover import service_environment
from port_agents.line_actions import Admission
from port_agents.service_contract import ServiceError


def admission(
    *,
    user: str = "kari",
    domain: str = "",
    caller: str = "+4722334455",
    attributes: Mapping[str, Any] | None = None,
) -> Admission:
    return Admission(
        user=user,
        domain=domain,
        attributes=attributes or {},
        hport="oslo/1",
        site="oslo",
        call=bytes(range(16)),
        caller=caller,
        connect_speed=33600,
        session_timeout_s=0,
        idle_timeout_s=0,
    )


def test_a_program_is_told_who_calls_and_nothing_of_the_agents_own_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LD_PRELOAD", "/tmp/evil.so")

    environment = service_environment(admission(domain="GRID"), "vt100")

    assert environment == {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "TERM": "vt100",
        "DIALGATE_USER": "kari",
        "DIALGATE_DOMAIN": "GRID",
        "DIALGATE_CALLER": "+4722334455",
        "DIALGATE_SPEED": "33600",
        "DIALGATE_HPORT": "oslo/1",
        "DIALGATE_SITE": "oslo",
        "DIALGATE_CALL_ID": "000102030405060708090a0b0c0d0e0f",
    }


def test_attributes_that_are_text_or_numbers_become_variables() -> None:
    attributes = {"class": "field", "session-timeout.s": 600, "blob": b"\x00", "list": [1]}

    environment = service_environment(admission(attributes=attributes), "vt100")

    added = {name: value for name, value in environment.items() if "_ATTR_" in name}
    assert added == {"DIALGATE_ATTR_CLASS": "field", "DIALGATE_ATTR_SESSION_TIMEOUT_S": "600"}


def test_of_attributes_with_one_name_the_first_stays() -> None:
    environment = service_environment(admission(attributes={"a-b": "1", "A_B": "2"}), "vt100")

    assert environment["DIALGATE_ATTR_A_B"] == "1"


def test_control_characters_are_stripped_from_values() -> None:
    environment = service_environment(
        admission(caller="47\x1b[2J\r\n11\x9b", attributes={"class": "a\0b\x7f"}), "vt100"
    )

    assert environment["DIALGATE_CALLER"] == "47[2J11"
    assert environment["DIALGATE_ATTR_CLASS"] == "ab"


@pytest.mark.parametrize(("user", "domain"), [("ro\x01ot", ""), ("root", "GR\nID"), ("\x9b", "")])
def test_a_name_with_control_characters_is_refused_for_without_them_it_is_anothers(
    user: str, domain: str
) -> None:
    with pytest.raises(ServiceError, match="control characters"):
        service_environment(admission(user=user, domain=domain), "vt100")
