"""Bodies to bytes and back, with an error that names the field.

Reading takes two steps on purpose: msgpack builds the map under our limits and refuses a key given
twice and extension types, msgspec then holds it against the verb's struct.
"""

from __future__ import annotations

from typing import Any, Final, TypeVar

import msgpack
import msgspec

from dialgate.errors import BodyError
from dialgate.wire.envelope import encode_message
from dialgate.wire.fields import Body
from dialgate.wire.limits import BODY_BYTES_MAX
from dialgate.wire.verbs import Verb

__all__ = ["SEALED", "decode_body", "decode_map", "encode", "encode_body", "encode_map", "read_map"]

SEALED: Final = 0xC1
"""First byte of a sealed body (protocol §7): a byte that MessagePack never uses."""

FIXMAP: Final = 0x80
"""First byte of a map of n < 16 keys, to which n is added (MessagePack)."""


def _fields_of(struct: msgspec.Struct) -> dict[str, Any]:
    """Return the fields of a struct inside a body; those that are left out stay so."""
    fields = msgspec.structs.asdict(struct)
    return {name: value for name, value in fields.items() if value is not msgspec.UNSET}


_PACKER: Final = msgpack.Packer(default=_fields_of)
"""One for all: making one costs more than packing with it.  The event loop's own."""
_B = TypeVar("_B", bound=Body)


def encode(verb: Verb, body: Body, dialog: bytes | None = None, attempt: int = 0) -> bytes:
    """Return the whole message.

    Raises:
        BodyError: the body is longer than a message may carry.
    """
    return encode_message(verb, dialog, attempt, encode_body(body))


def encode_body(body: Body) -> bytes:
    """Return `body` as a map that holds every field.

    Raises:
        BodyError: it is longer than a message may carry.
    """
    fields = msgspec.structs.asdict(body)
    for name in body.code_fields:
        if fields[name][1] == 0:
            fields[name] = 0
    if body.has_optional_fields:
        fields = {name: value for name, value in fields.items() if value is not msgspec.UNSET}
    packed: bytes = _PACKER.pack(fields)
    if len(packed) > BODY_BYTES_MAX:
        raise BodyError("", f"longer than {BODY_BYTES_MAX} bytes")
    return packed


def encode_map(fields: dict[str, Any]) -> bytes:
    """Return `fields` as MessagePack; structs inside become maps."""
    packed: bytes = _PACKER.pack(fields)
    return packed


def decode_body(body: bytes, expected: type[_B]) -> _B:
    """Return `body` as the struct `expected`.

    Raises:
        BodyError: it is sealed, no map of string keys, or a field is missing or out of range.
    """
    try:
        return msgspec.convert(read_map(body, nested=expected.has_maps), expected)
    except msgspec.ValidationError as error:
        raise BodyError(*_name_field(str(error))) from None


def decode_map(body: bytes) -> dict[str, Any]:
    """Return `body` as a map; an empty bin is an empty map.

    Raises:
        BodyError: as for `decode_body`, but no field is looked at.
    """
    return read_map(body, nested=True)


def read_map(body: bytes, *, nested: bool) -> dict[str, Any]:
    """Return `body` as a map in which no key stood twice.

    Args:
        body: MessagePack.
        nested: whether maps inside must be held to that too, and all keys to be strings; if not,
            the caller looks at the keys, or at no others than those he wants.

    Raises:
        BodyError: it is sealed, or no such map.
    """
    if not body:
        return {}
    if body[0] == SEALED:
        raise BodyError("", "sealed, and this peer holds no key for it")
    try:
        look = _unique if nested else None
        fields = msgpack.unpackb(
            body, raw=False, max_ext_len=0, ext_hook=_refuse_extension, object_pairs_hook=look
        )
        if type(fields) is not dict:
            raise BodyError("", "not a map")
        # A map of up to 15 keys, as nearly every body is, says itself how many keys it was given;
        # another is read once more, key by key.
        if not nested and body[0] != FIXMAP | len(fields):
            msgpack.unpackb(body, raw=False, object_pairs_hook=_unique)
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        # msgpack's own texts can quote the bytes, which may be an answer: only ours pass.
        text = str(error) if isinstance(error, _BadMapError) else "no well-formed MessagePack"
        raise BodyError("", text) from None
    return fields


class _BadMapError(ValueError):
    """A fault in a map that msgpack itself lets pass."""


def _unique(pairs: list[tuple[Any, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        msg = "a key given twice"
        raise _BadMapError(msg)
    if fields and set(map(type, fields)) != {str}:
        msg = "a key that is no string"
        raise _BadMapError(msg)
    return fields


def _refuse_extension(_kind: int, _payload: bytes) -> object:
    msg = "an extension type"
    raise _BadMapError(msg)


def _name_field(text: str) -> tuple[str, str]:
    """Split msgspec's text into the field at fault and the fault."""
    what, _, path = text.partition(" - at `$.")
    if path:
        return path.rstrip("`"), what
    missing = text.partition("missing required field `")[2]
    return (missing.rstrip("`"), "missing") if missing else ("", text)
