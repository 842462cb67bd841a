"""How far a dialog has come, and the cookie in which the port keeps that from worker to worker.

The cookie of a RECEIVE counts that RECEIVE's answer as used, so that killing the worker gives no
free guess (docs/protocol.md §6.6).  Its content is the pool's own: nobody else reads it.

Invariant: the tries used never go down, whatever comes back in a BEGIN.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from dialgate.sealing import Sealer, cookie_context
from dialgate.wire.bodies import Begin, Facts

__all__ = ["Cookies", "Progress"]


class Progress(Struct, frozen=True, kw_only=True):
    """Where a dialog stands when a question is asked."""

    step: str = ""
    """Authenticator that asks; empty before the first question."""
    user: str = ""
    """Whom the caller says he is, as far as he has said it; for the record, no step is skipped."""
    tries: Annotated[int, Meta(ge=0)] = 0
    """Guesses used, the one that is being asked for included."""
    lost: bool = False
    """No readable cookie came where there must have been one: one try is left."""


class Cookies:
    """Writes and reads the cookies of one dialog."""

    __slots__ = ("_context", "_sealer")

    def __init__(self, sealer: Sealer, dialog: bytes, begin: Begin, facts: Facts) -> None:
        self._sealer = sealer
        self._context = cookie_context(dialog, begin.hport, facts.agent)

    def seal(self, progress: Progress) -> bytes:
        """Return the cookie for a RECEIVE."""
        return self._sealer.seal(msgspec.structs.asdict(progress), self._context)

    def read(self, begin: Begin, attempt: int) -> Progress:
        """Return how far the dialog had come when `begin` was sent."""
        if not begin.cookie:
            return Progress(lost=attempt > 1 and begin.seq > 0)
        content = self._sealer.open(begin.cookie, self._context)
        try:
            return msgspec.convert(content, Progress) if content else Progress(lost=True)
        except msgspec.ValidationError:
            return Progress(lost=True)
