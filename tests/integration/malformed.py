"""Frames that break docs/protocol.md §3, for whoever has to survive them."""

from __future__ import annotations

from typing import Any, Final

import msgpack

from tests.integration.peers import END, LOST, PING, pack, uuid7

FRAME_BYTES_MAX: Final = 64 * 1024
FRAME_MESSAGES_MAX: Final = 512
BODY_BYTES_MAX: Final = 16 * 1024
ZMTP_BYTES_MAX: Final = 1024 * 1024

DIALOG: Final = uuid7()
PING_BODY: Final = msgpack.packb({"sent_ms": 1})
GOOD: Final = pack(PING, body={"sent_ms": 1})


def message(*elements: Any) -> bytes:
    """Return elements as an array, whatever they are."""
    packed: bytes = msgpack.packb(elements)
    return packed


MALFORMED: Final = {
    "text": b"GET / HTTP/1.1\r\n\r\n",
    "never used byte": b"\xc1",
    "all ones": b"\xff" * 100,
    "cut short": GOOD[:-1],
    "array cut short": b"\x94\x04",
    "array of four billion": b"\xdd\xff\xff\xff\xff",
    "bin of four billion": b"\x94\x04\xc0\x00\xc6\xff\xff\xff\xff",
    "map of four billion": b"\xdf\xff\xff\xff\xff",
    "arrays in arrays": b"\x91" * 5000,
    "maps in maps": b"\x81\xa1a" * 5000,
    "a number": b"\x04",
    "map": msgpack.packb({"verb": PING}),
    "no element": message(),
    "three elements": message(PING, None, 0),
    "five elements": message(PING, None, 0, PING_BODY, 0),
    "verb negative": message(-1, None, 0, b""),
    "verb a float": message(4.0, None, 0, PING_BODY),
    "verb a text": message("PING", None, 0, PING_BODY),
    "verb true": message(True, None, 0, PING_BODY),
    "verb nil": message(None, None, 0, PING_BODY),
    "verb of 80 bits": b"\x94\xc7\x0a\x01" + bytes(10) + b"\xc0\x00\xc4\x00",
    "dialog of 15 bytes": message(LOST, bytes(15), 1, b""),
    "dialog of 17 bytes": message(LOST, bytes(17), 1, b""),
    "dialog empty": message(LOST, b"", 1, b""),
    "dialog a text": message(LOST, "0123456789abcdef", 1, b""),
    "dialog a number": message(LOST, 7, 1, b""),
    "attempt negative": message(END, DIALOG, -1, b""),
    "attempt a text": message(END, DIALOG, "1", b""),
    "attempt nil": message(END, DIALOG, None, b""),
    "body a map": message(PING, None, 0, {"sent_ms": 1}),
    "body a text": message(PING, None, 0, "sent_ms"),
    "body nil": message(PING, None, 0, None),
    "body too long": message(PING, None, 0, bytes(BODY_BYTES_MAX + 1)),
    "extension type": b"\x94\x04\xc0\x00\xd4\x05\x00",
    "timestamp": b"\x94\x04\xc0\x00\xd6\xff\x00\x00\x00\x00",
    "too many messages": message(200, None, 0, b"") * (FRAME_MESSAGES_MAX + 1),
    "too long by one byte": bytes(FRAME_BYTES_MAX + 1),
    "a megabyte": b"\x94" * ZMTP_BYTES_MAX,
}
