"""The caller's terminal, as far as RECEIVE needs one: prompts, echo, line editing, time-outs.

Pure: bytes and `now` in, actions out. It knows nothing of dialogs, attempts or the modem; the line
decides which RECEIVE is asked, this module when it is answered (protocol §4 verb 19, §6.3-6.5).

```
             ask                       line end, limit, time-out
   IDLE ------------> ASKED ------------------------------------> IDLE
    |  bytes: kept      |  bytes: edited, echoed
    +- as type-ahead    +- cancel: what was typed stays as type-ahead
```

What it makes of bytes in line mode (raw mode hands them on as they are):

- CR, LF, CR LF and CR NUL end a line. The LF or NUL of a CR is swallowed whenever it comes.
- BS and DEL erase a byte, ^U and ^X the line. Other control characters and escape sequences (arrow
  keys) are counted and otherwise as if never typed: not echoed, and in no answer.
- Everything else is text, 8-bit bytes too unless parity bits are stripped. IAC sequences of a
  telnet client are noise like any other: this is a serial line, and nothing negotiates on it.

Invariant: at most one request is open; each gets at most one answer; no byte is in two answers; of
the caller's typing no more is kept than the open limit and `TYPE_AHEAD_BYTES_MAX` allow.
"""

import re
from dataclasses import dataclass, field
from typing import Final, Literal

from msgspec import Struct

from dialgate.codes import NO_ERROR, Code, Winerror

TYPE_AHEAD_BYTES_MAX: Final = 1024
"""Bytes kept while nothing is asked, and beyond the limit of a line. The excess is dropped."""

_CR_LF: Final = b"\r\n"
_RUBOUT: Final = b"\b \b"
_LINE_END: Final = re.compile(rb"[\r\n]")
_EDITING: Final = re.compile(rb"(?P<byte>[\b\x7f]+)|(?P<line>[\x15\x18]+)|[^\b\x7f\x15\x18]+")
_TEXT: Final = re.compile(rb"[^\x00-\x1f\x7f]+")
_NOISE: Final = re.compile(
    rb"\x1b[ -/]*(?:\[[ -?]*[@-~]?|O[ -~]?|[0-~])?|[\x00-\x07\t-\x14\x16\x17\x19-\x1a\x1c-\x1f]+"
)
"""Escape sequences (ECMA-48) as far as they go, and control characters that edit nothing."""
_UNFINISHED: Final = re.compile(rb"\x1b[ -/]*(?:(\[)[ -?]*|(O))?\Z")
_SEVEN_BITS: Final = bytes(byte & 0x7F for byte in range(256))


class Ask(Struct, frozen=True, gc=False):
    """A RECEIVE to put to the caller (protocol §4, verb 19)."""

    seq: int
    prompt: bytes
    """Written first, unchanged."""
    mode: Literal["line", "raw"]
    echo: Literal["on", "off", "mask"]
    """What the caller sees of his typing; `mask`: a `*` a byte. Raw mode echoes text only."""
    limit: int
    """Bytes an answer may have, at least 1."""
    timeout_s: int
    """Seconds from the prompt's last byte; 0: none."""
    discard: bool = False
    """Whether what was typed before is thrown away and CR LF written first (protocol §6.4)."""


@dataclass(frozen=True, slots=True)
class Write:
    """Write to the line. An echo may hold a caller's answer, so the bytes are not in `repr`."""

    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Answered:
    """The request `seq` is over: what RECEIVED will say."""

    seq: int
    status: Code
    """0, or Winerror 1460: time-out, no data, or Winerror 234: a longer line, its rest is kept."""
    data: bytes = field(repr=False)
    """The line without its end, or in raw mode what came."""


Action = Write | Answered


@dataclass(slots=True)
class Counters:
    """Running totals since the terminal was made."""

    answers: int = 0
    """Requests that got an answer, time-outs aside."""
    answers_too_long: int = 0
    """Of those, lines longer than their limit."""
    timeouts: int = 0
    controls_ignored: int = 0
    """Control characters and bytes of escape sequences in line mode."""
    bytes_dropped: int = 0
    """Bytes typed beyond what is kept."""


class Terminal:
    """One caller's terminal. `reset` makes it the next caller's."""

    def __init__(self, *, parity_strip: bool = False) -> None:
        """Start with nothing asked. `parity_strip` clears the eighth bit of all that comes in."""
        self.counters = Counters()
        self._parity_strip = parity_strip
        self._request: Ask | None = None
        self._deadline: float | None = None
        self._has_answered = False
        # Typed text in three parts, in this order: the edited part of an unfinished line, the start
        # of an unfinished escape sequence after it, and bytes that nobody has looked at yet.
        self._line = bytearray()
        self._escape = b""
        self._ahead = bytearray()
        self._after_cr = False

    @property
    def is_answered(self) -> bool:
        """Whether the caller has answered and nothing is asked: what he types now is type-ahead."""
        return self._has_answered and self._request is None

    def receive(self, data: bytes, now: float) -> list[Action]:
        """Take bytes from the caller. Those that come at the deadline are too late for it."""
        actions = self.tick(now)
        if self._parity_strip:
            data = data.translate(_SEVEN_BITS)
        if self._request is None:
            self._keep(data)
            return actions
        return actions + self._take(self._request, data)

    def ask(self, request: Ask, now: float) -> list[Action]:
        """Put a request, in place of an open one; type-ahead is taken, and echoed, at once."""
        self.cancel()
        written = request.prompt
        if request.discard:
            self._discard()
            written = _CR_LF + written
        self._request = request
        if not written:
            self.prompt_written(now)
        typed, self._ahead = bytes(self._ahead), bytearray()
        if self._line and request.mode == "raw":
            typed = bytes(self._line) + typed
            self._line.clear()
        written += _echo(request, bytes(self._line))
        more = self._take(request, typed) if typed else []
        return _joined([Write(written), *more])

    @property
    def awaits_prompt(self) -> bool:
        """Whether a request's time-out begins when its prompt has left."""
        return self._request is not None and self._deadline is None

    def prompt_written(self, now: float) -> None:
        """Start the time-out of the open request: the last byte of its prompt has left."""
        if self._request is not None and self._request.timeout_s and self._deadline is None:
            self._deadline = now + self._request.timeout_s

    def cancel(self) -> None:
        """End the open request without an answer; what was typed is type-ahead again."""
        self._request = None
        self._deadline = None
        excess = len(self._line) - TYPE_AHEAD_BYTES_MAX
        if excess > 0:
            del self._line[-excess:]
            self.counters.bytes_dropped += excess

    def show(self, data: bytes) -> list[Action]:
        """Write the data of a SEND, unchanged."""
        return _joined([Write(data)])

    def tick(self, now: float) -> list[Action]:
        """End the open request when its time is over. The unfinished line is discarded."""
        if self._request is None or self._deadline is None or now < self._deadline:
            return []
        self.counters.timeouts += 1
        self._line.clear()
        return [self._answer(self._request, Winerror.ERROR_TIMEOUT.code, b"")]

    def deadline(self) -> float | None:
        """Return when `tick` has something to do, None while nothing is timed."""
        return self._deadline

    def take_type_ahead(self) -> bytes:
        """Remove and return what nobody asked for: the first input of the service that follows."""
        typed = bytes(self._line + self._ahead)
        if self._after_cr and typed[:1] in (b"\n", b"\0"):
            typed = typed[1:]
        self._discard()
        return typed

    def reset(self) -> None:
        """Forget all that was typed and asked: the next byte is another caller's."""
        self.cancel()
        self._discard()
        self._has_answered = False
        self._escape = b""
        self._after_cr = False

    def _take(self, request: Ask, typed: bytes) -> list[Action]:
        """Give typed bytes to the open request; those behind its answer stay as type-ahead."""
        if request.mode == "line":
            return self._edit(request, typed)
        if self._after_cr and typed[:1] in (b"\n", b"\0"):
            typed = typed[1:]
            self._after_cr = False
        if not typed:
            return []
        self._escape = b""
        self._after_cr = False
        answer = typed[: request.limit]
        self._keep(typed[request.limit :])
        self.counters.answers += 1
        shown = _echo(request, b"".join(_TEXT.findall(answer)))
        return _joined([Write(shown), self._answer(request, NO_ERROR, answer)])

    def _edit(self, request: Ask, typed: bytes) -> list[Action]:
        """Edit the line with typed bytes up to its end, if they hold one."""
        shown = b""
        start = 0
        for end in _LINE_END.finditer(typed):
            text = self._text(typed[start : end.start()])
            self._escape = b""
            shown += self._type(request, text)
            start = end.end()
            belongs_to_cr = self._after_cr and not text and end.group() == b"\n"
            self._after_cr = end.group() == b"\r"
            if not belongs_to_cr:
                finished = self._finish(request, end.group())
                self._keep(typed[start:])
                return [Write(shown + _CR_LF), finished]
        text = self._text(typed[start:])
        self._after_cr = self._after_cr and not text
        shown += self._type(request, text)
        return _joined([Write(shown)])

    def _text(self, typed: bytes) -> bytes:
        """Return text and editing characters, without noise; an escape sequence may go on later."""
        if not self._escape and _TEXT.fullmatch(typed):
            return typed
        started = self._escape + typed
        unfinished = _UNFINISHED.search(started)
        self._escape = b""
        if unfinished is not None:
            self._escape = b"\x1b" + (unfinished[1] or unfinished[2] or b"")
            started = started[: unfinished.start()]
        text = _NOISE.sub(b"", started)
        self.counters.controls_ignored += len(typed) - len(text)
        return text

    def _type(self, request: Ask, text: bytes) -> bytes:
        """Edit the line with text and editing characters; return their echo."""
        shown = bytearray()
        for part in _EDITING.finditer(text):
            if part.lastgroup is None:
                shown += self._append(request, part.group())
                continue
            kept = max(0, len(self._line) - len(part.group())) if part.lastgroup == "byte" else 0
            if request.echo != "off":
                shown += _RUBOUT * (len(self._line) - kept)
            del self._line[kept:]
        return bytes(shown)

    def _append(self, request: Ask, text: bytes) -> bytes:
        """Add text to the line as far as there is room; return its echo."""
        # One byte less, so that what goes beyond the limit fits the type-ahead with its line end.
        room = request.limit + TYPE_AHEAD_BYTES_MAX - 1 - len(self._line)
        self.counters.bytes_dropped += max(0, len(text) - room)
        self._line += text[:room]
        return _echo(request, text[:room])

    def _finish(self, request: Ask, end: bytes) -> Answered:
        """Answer with the finished line; what is beyond its limit is type-ahead, with its end."""
        line, rest = bytes(self._line[: request.limit]), bytes(self._line[request.limit :])
        self._line.clear()
        self.counters.answers += 1
        if not rest:
            return self._answer(request, NO_ERROR, line)
        self.counters.answers_too_long += 1
        self._ahead += rest + end
        return self._answer(request, Winerror.ERROR_MORE_DATA.code, line)

    def _answer(self, request: Ask, status: Code, data: bytes) -> Answered:
        self._request = None
        self._deadline = None
        self._has_answered = True
        return Answered(request.seq, status, data)

    def _keep(self, typed: bytes) -> None:
        """Keep bytes as type-ahead as far as there is room."""
        room = TYPE_AHEAD_BYTES_MAX - len(self._line) - len(self._ahead)
        self.counters.bytes_dropped += max(0, len(typed) - room)
        self._ahead += typed[:room]

    def _discard(self) -> None:
        """Throw away everything typed. The LF of a CR among it may still come."""
        if self._ahead:
            self._after_cr = self._ahead.endswith(b"\r")
            self._escape = b""
        self._ahead.clear()
        self._line.clear()


def _echo(request: Ask, text: bytes) -> bytes:
    """Return what the caller sees of text he typed."""
    match request.echo:
        case "on":
            return text
        case "mask":
            return b"*" * len(text)
        case "off":
            return b""


def _joined(actions: list[Action]) -> list[Action]:
    """Return the actions with leading writes in one, and none that is empty."""
    written = b""
    for index, action in enumerate(actions):
        if not isinstance(action, Write):
            rest = actions[index:]
            break
        written += action.data
    else:
        rest = []
    return [Write(written), *rest] if written else rest
