"""What a Hayes modem says: result lines, verbose or numeric, and the end of a call in the data.

Pure, and without a state of the modem's own: `port_agents.modem` decides what a result means.

Invariant: no input makes anything here grow; a line is at most `LINE_BYTES_MAX`, and at most the
length of `NO CARRIER` is held back.
"""

from __future__ import annotations

import re
from typing import Final

from msgspec import Struct

from dialgate.codes import Code, Raserror

__all__ = [
    "LINE_BYTES_MAX",
    "CallerField",
    "CarrierWatch",
    "Connect",
    "Error",
    "NoCall",
    "Ok",
    "Result",
    "ResultLines",
    "Ring",
    "parse",
    "printable",
]

LINE_BYTES_MAX: Final = 256
"""Longest result line.  Real ones stay under 100; line noise has no end."""
TEXT_CHARS_MAX: Final = 128
"""Longest text taken from a result into facts, records and reasons."""

_ENDS: Final = b"\r\n"
_LINE_END: Final = re.compile(rb"[\r\n]")
_LINE: Final = re.compile(rb"[\r\n]*([^\r\n]+)[\r\n]")
"""A line with its end, behind such that are empty; a second end is the next line's."""


class Ok(Struct, frozen=True, gc=False):
    """The command was carried out."""

    numeric: bool = False


class Error(Struct, frozen=True, gc=False):
    """The command was refused."""


class Ring(Struct, frozen=True, gc=False):
    """The telephone rings."""


class NoCall(Struct, frozen=True, gc=False):
    """There is no call (any more)."""

    code: Code


class Connect(Struct, frozen=True, gc=False):
    """Data mode begins behind this line."""

    speed: int
    """Bit/s, 0 where the modem gave none."""
    text: str
    numeric: bool = False


class CallerField(Struct, frozen=True, gc=False):
    """One caller id line."""

    name: str
    """DATE, TIME, NMBR or NAME."""
    value: str


Result = Ok | Error | Ring | NoCall | Connect | CallerField

_CONNECT: Final = re.compile(r"CONNECT(?![A-Z])(?: *(\d{1,7}))?")
_CALLER: Final = re.compile(r"(DATE|TIME|NMBR|NAME)\s*=\s*(.*)")
_NO_CARRIER: Final = NoCall(Raserror.ERROR_NO_CARRIER.code)

_WORDS: Final[dict[str, Result]] = {
    "OK": Ok(),
    "ERROR": Error(),
    "RING": Ring(),
    "NO CARRIER": _NO_CARRIER,
    "NO ANSWER": NoCall(Raserror.ERROR_NO_ANSWER.code),
    "BUSY": NoCall(Raserror.ERROR_LINE_BUSY.code),
    "NO DIALTONE": NoCall(Raserror.ERROR_NO_DIALTONE.code),
    "NO DIAL TONE": NoCall(Raserror.ERROR_NO_DIALTONE.code),
}
_SPEEDS: Final = {
    1: 0,
    5: 1200,
    9: 600,
    10: 2400,
    11: 4800,
    12: 9600,
    13: 7200,
    14: 12000,
    15: 14400,
    16: 19200,
    17: 38400,
    18: 57600,
    19: 115200,
    59: 16800,
    61: 21600,
    62: 24000,
    63: 26400,
    64: 28800,
    84: 33600,
    91: 31200,
}
"""Numeric CONNECT results of the widespread chip sets; makers differ in the higher ones."""
_NUMBERS: Final[dict[str, Result]] = {
    **{
        str(number): Connect(speed, f"CONNECT {speed}" if speed else "CONNECT", numeric=True)
        for number, speed in _SPEEDS.items()
    },
    "0": Ok(numeric=True),
    "2": Ring(),
    "3": _NO_CARRIER,
    "4": Error(),
    "6": _WORDS["NO DIALTONE"],
    "7": _WORDS["BUSY"],
    "8": _WORDS["NO ANSWER"],
}
_AS_SAID: Final = {words.encode("ascii"): result for words, result in (_WORDS | _NUMBERS).items()}
"""What modems say almost always, as they say it."""


def printable(raw: bytes) -> str:
    """Return at most `TEXT_CHARS_MAX` characters of `raw`, all but printable ASCII escaped."""
    return raw.decode("latin-1").encode("unicode_escape").decode("ascii")[:TEXT_CHARS_MAX]


def parse(line: bytes) -> Result | None:
    """Return what the modem says with `line` (without its end), None if it is no result.

    Upper and lower case are the same.  A line that is a known number is a numeric (V0) result.
    """
    if (result := _AS_SAID.get(line)) is not None:
        return result
    text = printable(line.strip())
    words = text.upper()
    if (result := _WORDS.get(words) or _NUMBERS.get(words)) is not None:
        return result
    if words.startswith("RING "):
        return Ring()
    if (connect := _CONNECT.match(words)) is not None:
        return Connect(int(connect[1] or 0), text)
    if (caller := _CALLER.match(words)) is not None:
        return CallerField(caller[1], text[caller.start(2) :])
    return None


class ResultLines:
    """Cuts what a modem in command state sends into lines.

    CR and LF both end one; empty ones are none.
    """

    __slots__ = ("_buffer", "_overlong", "long_lines")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._overlong = False
        self.long_lines = 0
        """Lines over `LINE_BYTES_MAX`, discarded."""

    def feed(self, data: bytes) -> None:
        """Add what was read."""
        self._buffer += data

    def next_line(self) -> bytes | None:
        """Return the next whole line, None if there is none yet."""
        if self._overlong:
            self._skip_overlong()
        while (found := _LINE.match(self._buffer)) is not None:
            line: bytes = found[1]
            del self._buffer[: found.end()]
            if len(line) <= LINE_BYTES_MAX:
                return line
            self.long_lines += 1
        self._buffer = self._buffer.lstrip(_ENDS)
        if len(self._buffer) > LINE_BYTES_MAX:
            self._overlong = True
            self._buffer.clear()
        return None

    def take_rest(self) -> bytes:
        """Return, and forget, what follows the lines returned so far."""
        rest = bytes(self._buffer)
        self.clear()
        return rest

    @property
    def pending(self) -> bytes:
        """What came since the last whole line."""
        return bytes(self._buffer)

    def clear(self) -> None:
        """Forget what came."""
        self._buffer.clear()
        self._overlong = False

    def _skip_overlong(self) -> None:
        """Forget the rest of a line whose beginning was too long, if its end has come."""
        if (end := _LINE_END.search(self._buffer)) is not None:
            del self._buffer[: end.end()]
            self._overlong = False
            self.long_lines += 1


class CarrierWatch:
    """Finds the modem's `NO CARRIER`, a line of its own in a caller's data, where DCD can't tell.

    What may be the beginning of that line is held back, from two bytes on, so that it does not
    reach whoever reads the caller; `release` gives it up when it has been held long enough.  The
    search goes on behind what was released, so a line in several slow reads is found all the same.
    """

    __slots__ = ("_held", "_tail")

    _LINE: Final = b"\r\nNO CARRIER\r"
    _HOLD_FROM: Final = 2
    """A lone CR is a caller's Enter far more often than a modem's line: it is not held."""

    def __init__(self) -> None:
        self._tail = b""
        """The end of the stream that may be the beginning of the line."""
        self._held = 0
        """How many bytes of `_tail` have not been handed on."""

    @property
    def holds(self) -> bool:
        """Whether bytes wait for `release`."""
        return self._held > 0

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """Return the bytes that can be handed on, and whether the line was found behind them."""
        stream = self._tail + data
        handed_on = len(self._tail) - self._held
        if (found := stream.find(self._LINE)) >= 0:
            self.clear()
            return stream[handed_on : max(handed_on, found)], True
        self._tail = self._beginning(stream)
        hold = len(self._tail) if len(self._tail) >= self._HOLD_FROM else 0
        self._held = min(hold, len(stream) - handed_on)
        return stream[handed_on : len(stream) - self._held], False

    def clear(self) -> None:
        """Forget the stream: the next bytes are another call's."""
        self._tail = b""
        self._held = 0

    def release(self) -> bytes:
        """Return what is held, as the caller's after all."""
        released = self._tail[len(self._tail) - self._held :]
        self._held = 0
        return released

    def _beginning(self, stream: bytes) -> bytes:
        for length in range(min(len(self._LINE) - 1, len(stream)), 0, -1):
            if stream.endswith(self._LINE[:length]):
                return self._LINE[:length]
        return b""
