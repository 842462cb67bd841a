"""A peer's fault, raised by whoever finds it and answered in one place.

Raising leaves the table as it was, which is what protocol §5 asks for with "ERROR, no change".
"""

from __future__ import annotations

from dialgate.codes import Code, Winerror
from dialgate.errors import ProtocolError
from dialgate.wire.verbs import Verb

__all__ = ["Breach", "as_breach"]


class Breach(ProtocolError):
    """A message that is answered ERROR; `str` is the ERROR's text."""

    def __init__(self, code: Code, reason: str, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.reason = reason
        """One of a closed set, fit for a metric's label."""


def as_breach(error: ProtocolError, verb: int) -> Breach:
    """Return what a peer is told of `error`, which its message `verb` has caused."""
    if isinstance(error, Breach):
        return error
    text = f"{Verb(verb).name}: {error}"
    return Breach(Winerror.ERROR_INVALID_DATA.code, "bad body", text)
