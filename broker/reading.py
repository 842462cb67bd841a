"""What a broker reads of dialogs' bodies, and no more of them.

Of BEGIN three fields; the rest is the worker's to judge, who refuses what is malformed.  The others
are one code each, seen over and over, byte for byte, so what they say is remembered.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from dialgate.codes import Code
from dialgate.errors import BodyError
from dialgate.wire.bodies import Begin, End, EndReply, Refused
from dialgate.wire.body_codec import decode_body, read_map
from dialgate.wire.limits import HPORT_CHARS_MAX, ID_BYTES, NAME_CHARS_MAX

__all__ = ["BeginHead", "begin_head", "end_reason", "end_reply_code", "refused_code"]


class BeginHead(NamedTuple):
    """Where a BEGIN belongs."""

    hport: str
    pool: str
    owner: bytes
    """Instance of the worker to prefer; empty: none."""


def begin_head(body: bytes) -> BeginHead:
    """Return where a BEGIN belongs.

    Raises:
        BodyError: one of the three fields is missing or out of its range, or the body is no map.
    """
    fields = read_map(body, nested=False)
    hport, pool, owner = (
        fields.get("hport"),
        fields.get("pool", "default"),
        fields.get("owner", b""),
    )
    if (
        type(hport) is str
        and 0 < len(hport) <= HPORT_CHARS_MAX
        and hport.isprintable()
        and " " not in hport
        and type(pool) is str
        and 0 < len(pool) <= NAME_CHARS_MAX
        and type(owner) is bytes
        and len(owner) in {0, ID_BYTES}
    ):
        return BeginHead(hport, pool, owner)
    decode_body(body, Begin)  # Says what is wrong.
    raise BodyError("hport", "not printable")


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
