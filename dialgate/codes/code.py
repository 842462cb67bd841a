"""A result code together with the header that numbers it.

210 of the numbers 600-870 occur in `raserror.h` and `winerror.h` with different meanings, so a
bare integer is ambiguous.  A code therefore travels, is stored and is compared with its namespace.
"""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar, Final, NamedTuple

__all__ = ["NO_ERROR", "Code", "NumberedCode"]


class Code(NamedTuple):
    """One result: `namespace` "win", "ras" or "mpr", and the number in that header.

    The number need not be in our table: a peer's unknown code is carried unchanged.
    """

    namespace: str
    number: int

    @property
    def ok(self) -> bool:
        """Whether this is "no error".  From End it means: not terminated yet."""
        return self.number == 0


NO_ERROR: Final = Code("win", 0)
"""The one spelling of 0; `[namespace, 0]` on the wire equals it (protocol §4)."""


class NumberedCode(IntEnum):
    """Base of the enums that hold one header's numbers."""

    namespace: ClassVar[str]

    def __init_subclass__(cls, *, namespace: str) -> None:
        """Bind the enum to the namespace its codes carry on the wire."""
        super().__init_subclass__()
        cls.namespace = namespace

    @property
    def code(self) -> Code:
        """This member as it travels: with its namespace."""
        return Code(type(self).namespace, int(self)) if self else NO_ERROR
