"""PPP frames where a login is expected: a caller whose program speaks PPP at once (AutoPPP).

Pure.  What becomes of him is the line's decision; here he is only recognised.

Invariant: nothing is kept but the last few bytes, which may be the beginning of a frame.
"""

from __future__ import annotations

from typing import Final

__all__ = ["PppWatch"]

_LCP: Final = (b"\x7e\xff\x03\xc0\x21", b"\x7e\xff\x7d\x23\xc0\x21")
"""How an LCP frame begins, its control byte plain or escaped (RFC 1661, 1662)."""
_TAIL: Final = max(map(len, _LCP)) - 1


class PppWatch:
    """Finds the beginning of an LCP frame in what a caller sends, in whatever pieces it comes."""

    __slots__ = ("_tail",)

    def __init__(self) -> None:
        self._tail = b""

    def feed(self, data: bytes) -> bytes:
        """Return the stream from the frame's first byte on, or nothing while there is none."""
        stream = self._tail + data
        starts = [at for begin in _LCP if (at := stream.find(begin)) >= 0]
        self._tail = stream[-_TAIL:]
        return stream[min(starts) :] if starts else b""

    def clear(self) -> None:
        """Forget the stream: the next bytes are another call's."""
        self._tail = b""
