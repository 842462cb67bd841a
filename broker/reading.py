"""The bodies of dialogs that a broker reads, beside BEGIN's: each is one code.

A few of them are seen over and over, byte for byte, so what they say is remembered.
"""

from __future__ import annotations

from functools import lru_cache

from dialgate.codes import Code
from dialgate.wire.bodies import End, EndReply, Refused
from dialgate.wire.body_codec import decode_body

__all__ = ["end_reason", "end_reply_code", "refused_code"]


@lru_cache(maxsize=256)
def end_reason(body: bytes) -> Code:
    """Return why an END ends.

    Raises:
        BodyError: it doesn't say.
    """
    return decode_body(body, End).reason


@lru_cache(maxsize=256)
def end_reply_code(body: bytes) -> Code:
    """Return what an END_REPLY answers.

    Raises:
        BodyError: it doesn't say.
    """
    return decode_body(body, EndReply).code


@lru_cache(maxsize=256)
def refused_code(body: bytes) -> Code:
    """Return why a worker's REFUSED refuses.

    Raises:
        BodyError: it doesn't say.
    """
    return decode_body(body, Refused).code
