"""What happened in a world, for whoever has to find out why: messages, faults, callers.

Invariant: an answer is in a trace by its length only.
"""

from __future__ import annotations

from collections import deque
from typing import Final

import msgspec

from dialgate.errors import BodyError
from dialgate.wire.bodies import BODIES
from dialgate.wire.body_codec import decode_body
from dialgate.wire.envelope import decode_frame
from dialgate.wire.verbs import Verb

__all__ = ["Trace"]

LINES_MAX: Final = 200_000
_UNSHOWN: Final = frozenset({Verb.PING, Verb.PONG, Verb.READY, Verb.LINES})
_HIDDEN: Final = frozenset({"data", "cookie", "facts", "call", "attributes"})


class Trace:
    """The last lines of a world, each of one dialog or of all."""

    def __init__(self) -> None:
        self._lines: deque[tuple[float, bytes | None, str]] = deque(maxlen=LINES_MAX)

    def note(self, now: float, text: str, dialog: bytes | None = None) -> None:
        """Write a line."""
        self._lines.append((now, dialog, text))

    def message(self, now: float, who: str, message: bytes) -> None:
        """Write a line for each message of a frame."""
        for verb, dialog, attempt, body, _ in decode_frame(message)[0]:
            self._tell(now, who, verb, dialog, attempt, body)

    def hears(
        self, now: float, who: str, verb: int, dialog: bytes | None, attempt: int, body: bytes
    ) -> None:
        """Write a line for a message that somebody takes."""
        self._tell(now, f"{who} hears", verb, dialog, attempt, body)

    def _tell(
        self, now: float, who: str, verb: int, dialog: bytes | None, attempt: int, body: bytes
    ) -> None:
        if verb in _UNSHOWN:
            return
        try:
            fields = msgspec.structs.asdict(decode_body(body, BODIES[Verb(verb)]))
        except (BodyError, KeyError, ValueError):
            fields = {}
        words = " ".join(f"{key}={_word(key, value)}" for key, value in fields.items())
        of = "" if dialog is None else f" {dialog.hex()[-6:]}({attempt})"
        self.note(now, f"{who} {Verb(verb).name}{of} {words}".rstrip(), dialog)

    def of(self, dialog: bytes | None) -> list[str]:
        """Return the lines of a dialog with those of none; of every dialog if None."""
        return [
            f"{at:9.3f}  {text}"
            for at, whose, text in self._lines
            if dialog is None or whose is None or whose == dialog
        ]


def _word(key: str, value: object) -> str:
    if isinstance(value, bytes):
        return f"<{len(value)} bytes>" if key in _HIDDEN else value.hex()[:6]
    return f"<{len(value)}>" if key in _HIDDEN and isinstance(value, dict) else str(value)
