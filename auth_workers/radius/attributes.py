"""What is told a RADIUS server about a call, and what its answer means to the port.  Pure.

Only what is written here goes in or out.  Invariant: no text of a server reaches a terminal with a
control character in it, nor longer than `MESSAGE_CHARS_MAX`; a value that does not fit an attribute
is left out, never cut.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from ipaddress import IPv4Address
from typing import Final

from auth_workers.radius.packets import VALUE_BYTES_MAX, Attribute, Reply
from dialgate.text import printable
from dialgate.wire.bodies import Facts

__all__ = [
    "ASYNC",
    "LOGIN",
    "class_values",
    "complete_attributes",
    "number",
    "of_call",
    "text_of",
    "texts",
]

MESSAGE_CHARS_MAX: Final = 512
"""Longest text of a server that a caller is shown."""
ASYNC: Final = 0
"""NAS-Port-Type: a modem (RFC 2865 §5.41)."""
LOGIN: Final = 1
"""Service-Type: the caller shall be connected to a host (RFC 2865 §5.6)."""

Pairs = list[tuple[Attribute, bytes]]


def number(value: int) -> bytes:
    """Return `value` as an attribute's 32 bits; beyond them the most they can say."""
    return min(value, 2**32 - 1).to_bytes(4, "big")


def texts(pairs: Mapping[Attribute, str]) -> Pairs:
    """Return those texts that are neither empty nor too long for an attribute."""
    encoded = ((key, text.encode()) for key, text in pairs.items())
    return [(key, value) for key, value in encoded if 0 < len(value) <= VALUE_BYTES_MAX]


def of_call(facts: Facts, hport: str, call: bytes) -> Pairs:
    """Return what every Access-Request of a call says of it."""
    speed = str(facts.connect_speed) if facts.connect_speed else ""
    return [
        (Attribute.SERVICE_TYPE, number(LOGIN)),
        (Attribute.NAS_PORT_TYPE, number(ASYNC)),
        *texts(
            {
                Attribute.NAS_IDENTIFIER: facts.agent,
                Attribute.NAS_PORT_ID: hport,
                Attribute.CALLING_STATION_ID: facts.caller,
                Attribute.CALLED_STATION_ID: facts.called,
                Attribute.CONNECT_INFO: facts.connect_text or speed,
                Attribute.ACCT_SESSION_ID: call.hex(),
            }
        ),
    ]


def text_of(values: Sequence[bytes]) -> str:
    """Return a server's text, fit for a caller's terminal: lines end in CR LF."""
    text = b"".join(values).decode(errors="replace")
    lines = printable(text.replace("\r\n", "\n").replace("\r", "\n"), newlines=True)
    return lines[:MESSAGE_CHARS_MAX].replace("\n", "\r\n")


def class_values(attributes: Mapping[str, object]) -> list[bytes]:
    """Return the Class attributes that `complete_attributes` wrote down, for accounting."""
    try:
        return [bytes.fromhex(each) for each in str(attributes.get("class", "")).split(",") if each]
    except ValueError:
        return []


def complete_attributes(reply: Reply) -> dict[str, str | int]:
    """Return what an Access-Accept says of the stay, as attributes of COMPLETE."""
    attributes: dict[str, str | int] = {}
    for key, (name, read) in _MEANINGS.items():
        value = read(reply.attributes.get(key, ()))
        if value:
            attributes[name] = value
    return attributes


def _text(values: Sequence[bytes]) -> str:
    return ",".join(printable(value.decode(errors="replace")) for value in values)


def _integer(values: Sequence[bytes]) -> int:
    return int.from_bytes(values[0], "big") if values and len(values[0]) == 4 else 0  # noqa: PLR2004 - 32 bits


def _address(values: Sequence[bytes]) -> str:
    return str(IPv4Address(values[0])) if values and len(values[0]) == 4 else ""  # noqa: PLR2004 - 32 bits


def _hex(values: Sequence[bytes]) -> str:
    return ",".join(value.hex() for value in values)


_MEANINGS: Final[Mapping[Attribute, tuple[str, Callable[[Sequence[bytes]], str | int]]]] = {
    Attribute.SESSION_TIMEOUT: ("session_timeout_s", _integer),
    Attribute.IDLE_TIMEOUT: ("idle_timeout_s", _integer),
    Attribute.CALLBACK_NUMBER: ("callback_number", _text),
    Attribute.CALLBACK_ID: ("callback_id", _text),
    Attribute.FILTER_ID: ("filter_id", _text),
    Attribute.CLASS: ("class", _hex),
    Attribute.SERVICE_TYPE: ("service_type", _integer),
    Attribute.FRAMED_PROTOCOL: ("framed_protocol", _integer),
    Attribute.FRAMED_IP_ADDRESS: ("framed_ip_address", _address),
    Attribute.FRAMED_IP_NETMASK: ("framed_ip_netmask", _address),
    Attribute.LOGIN_IP_HOST: ("login_ip_host", _address),
    Attribute.LOGIN_SERVICE: ("login_service", _integer),
    Attribute.LOGIN_TCP_PORT: ("login_tcp_port", _integer),
    Attribute.PORT_LIMIT: ("port_limit", _integer),
}
"""Attribute of Access-Accept → its name in COMPLETE and how it is read."""
