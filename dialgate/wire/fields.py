"""What bodies are made of: kinds of fields, each with its range, and the base of all structs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from msgspec import Meta, Struct
from msgspec.structs import force_setattr

from dialgate.codes import NO_ERROR, Code
from dialgate.wire.limits import (
    ATTEMPT_MAX,
    BODY_BYTES_MAX,
    HPORT_CHARS_MAX,
    ID_BYTES,
    NAME_CHARS_MAX,
    TEXT_CHARS_MAX,
)

__all__ = [
    "Body",
    "Bytes",
    "CodedBody",
    "Hport",
    "Id",
    "Milliseconds",
    "Name",
    "Seconds",
    "Seq",
    "Text",
    "WireCode",
]

Name = Annotated[str, Meta(min_length=1, max_length=NAME_CHARS_MAX, pattern=r"^[^\x00-\x20\x7f]+$")]
"""Name of a peer, a site or a pool: no spaces, no control characters."""
Hport = Annotated[
    str, Meta(min_length=1, max_length=HPORT_CHARS_MAX, pattern=r"^[^\x00-\x20\x7f]+$")
]
"""Handle of a port at its agent.  Used for call after call: never an identity by itself."""
Id = Annotated[bytes, Meta(min_length=ID_BYTES, max_length=ID_BYTES)]
"""16 bytes that name one process, call, record or command."""
Text = Annotated[str, Meta(max_length=TEXT_CHARS_MAX)]
Milliseconds = Annotated[int, Meta(ge=0, le=2**53)]
Seconds = Annotated[int, Meta(ge=0, le=86400)]
Seq = Annotated[int, Meta(ge=0, le=ATTEMPT_MAX)]
Bytes = Annotated[bytes, Meta(max_length=BODY_BYTES_MAX)]
if TYPE_CHECKING:
    WireCode = Code
else:
    WireCode = Code | Literal[0]
"""0 or `[namespace, number]`.  Decoding turns every spelling of 0 into `NO_ERROR`."""


class Body(Struct, frozen=True, kw_only=True, gc=False):
    """Base of every body.  A body's fields are only ever appended, with a default."""

    code_fields: ClassVar[tuple[str, ...]] = ()
    """Fields that hold a code, which travels as 0 or `[namespace, number]`."""
    has_maps: ClassVar[bool] = False
    """Whether a field holds maps, which must not have a key twice either."""
    has_optional_fields: ClassVar[bool] = False
    """Whether a field may be `UNSET`, and then does not travel."""


class CodedBody(Body, frozen=True, kw_only=True, gc=False):
    """Base of those bodies that have codes; the others are made without running Python."""

    def __post_init__(self) -> None:
        """Give every code its one spelling.

        Raises:
            ValueError: a code's namespace is unknown or its number negative.
        """
        for field in self.code_fields:
            value = getattr(self, field)
            if value == 0 or value[1] == 0:
                force_setattr(self, field, NO_ERROR)
            elif value[0] not in {"win", "ras", "mpr"} or value[1] < 0:
                msg = f"`{field}` is no code: 0 or [namespace, number], namespace win, ras or mpr"
                raise ValueError(msg)
