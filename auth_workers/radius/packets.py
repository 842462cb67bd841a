"""RADIUS packets, made and checked by pyrad behind an interface of ours.  No I/O.

Attributes are numbers and raw bytes: pyrad's dictionaries would read a value that begins with "0x"
as hex.  An Access-Request carries a Message-Authenticator as its first attribute, and a reply is
believed only if its identifier, its Response Authenticator and its Message-Authenticator are those
of this request (RFC 2865, RFC 3579 §3.2; CVE-2024-3596).

Invariant: nothing here shows a secret or a password in `repr`.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Final

from pyrad.packet import (
    AccessRequest,
    AccountingRequest,
    AcctPacket,
    AuthPacket,
    Packet,
    PacketError,
)

__all__ = [
    "PASSWORD_BYTES_MAX",
    "VALUE_BYTES_MAX",
    "Attribute",
    "Fault",
    "PacketCode",
    "Reply",
    "Request",
    "access_request",
    "accounting_request",
]

PASSWORD_BYTES_MAX: Final = 128
"""Longest User-Password (RFC 2865 §5.2); a longer one is nobody's."""
VALUE_BYTES_MAX: Final = 253
"""Longest value of an attribute."""
PACKET_BYTES_MAX: Final = 4096
"""Longest packet (RFC 2865 §3)."""
HEADER_BYTES: Final = 20
ATTRIBUTE_HEAD_BYTES: Final = 2
"""Number and length."""


class Attribute(IntEnum):
    """Attributes that are sent or read (RFC 2865, 2866, 2869)."""

    USER_NAME = 1
    USER_PASSWORD = 2
    SERVICE_TYPE = 6
    FRAMED_PROTOCOL = 7
    FRAMED_IP_ADDRESS = 8
    FRAMED_IP_NETMASK = 9
    FILTER_ID = 11
    LOGIN_IP_HOST = 14
    LOGIN_SERVICE = 15
    LOGIN_TCP_PORT = 16
    REPLY_MESSAGE = 18
    CALLBACK_NUMBER = 19
    CALLBACK_ID = 20
    STATE = 24
    CLASS = 25
    SESSION_TIMEOUT = 27
    IDLE_TIMEOUT = 28
    CALLED_STATION_ID = 30
    CALLING_STATION_ID = 31
    NAS_IDENTIFIER = 32
    ACCT_STATUS_TYPE = 40
    ACCT_DELAY_TIME = 41
    ACCT_INPUT_OCTETS = 42
    ACCT_OUTPUT_OCTETS = 43
    ACCT_SESSION_ID = 44
    ACCT_AUTHENTIC = 45
    ACCT_SESSION_TIME = 46
    ACCT_TERMINATE_CAUSE = 49
    ACCT_INPUT_GIGAWORDS = 52
    ACCT_OUTPUT_GIGAWORDS = 53
    EVENT_TIMESTAMP = 55
    NAS_PORT_TYPE = 61
    PORT_LIMIT = 62
    PROMPT = 76
    CONNECT_INFO = 77
    MESSAGE_AUTHENTICATOR = 80
    NAS_PORT_ID = 87


class PacketCode(IntEnum):
    """What a reply is."""

    ACCESS_ACCEPT = 2
    ACCESS_REJECT = 3
    ACCOUNTING_RESPONSE = 5
    ACCESS_CHALLENGE = 11


class Fault(Enum):
    """Why a datagram is not the reply that is waited for."""

    MALFORMED = "malformed"
    """No RADIUS packet, or of a kind that answers something else."""
    OTHER_REQUEST = "of another request"
    """Its identifier is not ours: an answer that comes too late."""
    FORGED = "with a wrong authenticator"
    """Its Response Authenticator is not made of this request and our secret."""
    FORGED_MESSAGE = "with a wrong Message-Authenticator"
    UNSIGNED = "without Message-Authenticator"


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer that is the server's."""

    code: PacketCode
    attributes: Mapping[int, Sequence[bytes]]
    """Values by number, each attribute's in their order."""

    def __repr__(self) -> str:
        return f"Reply({self.code.name}, {sorted(self.attributes)})"


class Request:
    """A request as it is sent, again and again with the same bytes, and the judge of its answers.

    Args:
        packet: with all attributes.
        signed: whether a reply must have a Message-Authenticator.
    """

    __slots__ = ("_packet", "_signed", "data")

    def __init__(self, packet: AuthPacket | AcctPacket, *, signed: bool) -> None:
        self._packet = packet
        self._signed = signed
        self.data: bytes = packet.RequestPacket()
        """The datagram."""

    def read(self, data: bytes) -> Reply | Fault:
        """Return the answer that `data` is, or why it is none."""
        packet = _decode(data, self._packet.secret)
        if packet is None:
            return Fault.MALFORMED
        if (packet.code == PacketCode.ACCOUNTING_RESPONSE) != (
            self._packet.code == AccountingRequest
        ):
            return Fault.MALFORMED
        if packet.id != self._packet.id:
            return Fault.OTHER_REQUEST
        return self._judge(packet, data)

    def _judge(self, packet: Packet, data: bytes) -> Reply | Fault:
        """Return what a packet with our identifier says, if our server made it."""
        values: dict[int, Sequence[bytes]] = {
            key: list(each) for key, each in packet.items() if isinstance(key, int)
        }
        signatures = values.get(Attribute.MESSAGE_AUTHENTICATOR, [])
        if len(signatures) > 1 or (signatures and not self._is_signed(packet)):
            return Fault.FORGED_MESSAGE
        if not self._packet.VerifyReply(packet, data):
            return Fault.FORGED
        if self._signed and not signatures:
            return Fault.UNSIGNED
        return Reply(PacketCode(packet.code), values)

    def _is_signed(self, reply: Packet) -> bool:
        """Return whether the reply's Message-Authenticator is right; it must have one."""
        request = self._packet
        return bool(
            reply.verify_message_authenticator(
                original_authenticator=request.authenticator, original_code=request.code
            )
        )


def access_request(
    secret: bytes,
    attributes: Sequence[tuple[Attribute, bytes]],
    password: bytes,
    *,
    signed: bool = True,
) -> Request:
    """Return an Access-Request with a fresh identifier and authenticator.

    Args:
        secret: shared with the server.
        attributes: all but User-Password and Message-Authenticator, in order.
        password: or the answer to a challenge; at most 128 bytes.
        signed: whether replies must have a Message-Authenticator; the request has one always.
    """
    packet = AuthPacket(AccessRequest, secrets.randbelow(256), secret, authenticator=os.urandom(16))
    packet.add_message_authenticator()
    _add(packet, [*attributes, (Attribute.USER_PASSWORD, packet.PwCrypt(password))])
    return Request(packet, signed=signed)


def accounting_request(secret: bytes, attributes: Sequence[tuple[Attribute, bytes]]) -> Request:
    """Return an Accounting-Request with a fresh identifier (RFC 2866 §4.1)."""
    packet = AcctPacket(AccountingRequest, secrets.randbelow(256), secret)
    _add(packet, attributes)
    return Request(packet, signed=False)


def _add(packet: Packet, attributes: Sequence[tuple[Attribute, bytes]]) -> None:
    for number, value in attributes:
        packet.setdefault(int(number), []).append(value)


def _decode(data: bytes, secret: bytes) -> Packet | None:
    """Return the packet that `data` is, if it is of a known kind."""
    if not _adds_up(data):
        return None
    try:
        packet = Packet(packet=data, secret=secret)
        PacketCode(packet.code)
    except (PacketError, ValueError):
        return None
    return packet


def _adds_up(data: bytes) -> bool:
    """Return whether the lengths of a packet and its attributes fit (pyrad cuts the last one)."""
    if not HEADER_BYTES <= len(data) <= PACKET_BYTES_MAX:
        return False
    length = int.from_bytes(data[2:4], "big")
    if not HEADER_BYTES <= length <= len(data):
        return False
    at = HEADER_BYTES
    while at < length:
        size = data[at + 1] if at + ATTRIBUTE_HEAD_BYTES <= length else 0
        if size < ATTRIBUTE_HEAD_BYTES or at + size > length:
            return False
        at += size
    return True
