"""Every limit of DSP/1 that both ends of a connection must agree on (docs/protocol.md §3, §4).

Beyond a limit a message is malformed: it is refused, counted and answered, never cut.
"""

from __future__ import annotations

from typing import Final

PROTOCOL: Final = 1
"""DSP version that HELLO and WELCOME carry."""
FRAME_BYTES_MAX: Final = 64 * 1024
"""Largest frame: one ZeroMQ message after the routing id."""
FRAME_MESSAGES_MAX: Final = 512
"""Most messages in a frame."""
ZMQ_BYTES_MAX: Final = 1024 * 1024
"""ZeroMQ's MAXMSGSIZE: above it libzmq cuts the connection."""
BODY_BYTES_MAX: Final = 16 * 1024
"""Largest body of a message."""
COOKIE_BYTES_MAX: Final = 4 * 1024
"""Largest cookie of a RECEIVE."""
ID_BYTES: Final = 16
"""Length of a dialog, call, record, command id and of an instance."""
NAME_CHARS_MAX: Final = 64
"""Longest name of a peer, site or pool."""
HPORT_CHARS_MAX: Final = 128
"""Longest HPORT (RASSAPI_MAX_DEVICE_NAME of rasshost.h)."""
USERNAME_BYTES_MAX: Final = 256
"""UNLEN of lmcons.h: longest user name, in bytes of UTF-8.  Longer is refused: a cut name can be
another account."""
DOMAIN_BYTES_MAX: Final = 255
"""Longest domain, in bytes of UTF-8 (a DNS name; DNLEN's 15 would not hold one)."""
TEXT_CHARS_MAX: Final = 512
"""Longest text of an ERROR, reason of a line or of an operator."""
SENDS_MAX: Final = 8
"""Most SENDs between two RECEIVEs of a dialog."""
ATTEMPT_MAX: Final = 2**32 - 1
"""Largest attempt and seq: far beyond what any dialog reaches, and equal on every platform."""
