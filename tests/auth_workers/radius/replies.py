"""RADIUS replies byte by byte (RFC 2865, RFC 3579), owing nothing to the library under test."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from typing import Final

__all__ = [
    "ACCEPT",
    "ACCOUNTED",
    "CHALLENGE",
    "REJECT",
    "SECRET",
    "SIGNATURE",
    "attributes_of",
    "reply_to",
]

SECRET: Final = b"a shared secret"
ACCEPT, REJECT, ACCOUNTED, CHALLENGE = 2, 3, 5, 11
SIGNATURE: Final = 80
"""Message-Authenticator."""


def attributes_of(packet: bytes) -> list[tuple[int, bytes]]:
    """Return the attributes of a packet in their order."""
    found, at = [], 20
    while at < len(packet):
        found.append((packet[at], packet[at + 2 : at + packet[at + 1]]))
        at += packet[at + 1]
    return found


def reply_to(
    request: bytes,
    code: int,
    attributes: Sequence[tuple[int, bytes]] = (),
    *,
    secret: bytes = SECRET,
    signature: bytes | None = b"",
) -> bytes:
    """Return a reply with a right Response Authenticator.

    Args:
        request: the datagram that is answered.
        code: what the reply is.
        attributes: in their order.
        secret: the server's.
        signature: the Message-Authenticator, which comes first; empty: the right one; None: none.
    """

    def packed(each: Sequence[tuple[int, bytes]]) -> bytes:
        return b"".join(bytes([number, len(value) + 2]) + value for number, value in each)

    signed = [] if signature is None else [(SIGNATURE, signature or bytes(16))]
    length = 20 + len(packed([*signed, *attributes]))
    head = bytes([code, request[1]]) + length.to_bytes(2, "big")
    if signature == b"":
        blank = head + request[4:20] + packed([*signed, *attributes])
        signed = [(SIGNATURE, hmac.digest(secret, blank, "md5"))]
    body = packed([*signed, *attributes])
    authenticator = hashlib.md5(head + request[4:20] + body + secret).digest()  # noqa: S324 - RADIUS
    return head + authenticator + body
