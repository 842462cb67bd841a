"""Turn a parsed TOML document into structs, reporting every misfit instead of the first.

`msgspec.convert` stops at the first error; this walks the structs and asks it about single values
only.  Where a value doesn't fit, its default or an empty value stands in, so that the cross checks
can still look at everything else; `Findings` then keeps silent about the stand-in.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec.structs import FieldInfo

from dialgate.settings.authenticators import (
    AuthenticatorSettings,
    LocalSettings,
    kind_names,
    settings_of_kind,
)
from dialgate.settings.findings import Findings
from dialgate.settings.locator import Path

__all__ = ["describe", "fields_of", "is_struct", "struct_from", "unwrap"]

QUOTED_MAX: Final = 60
"""Characters of a wrong value that a fault quotes."""


def unwrap(kind: Any) -> tuple[Any, msgspec.Meta | None]:
    """Return `kind` without Annotated and without None, and its constraints."""
    meta = None
    if get_origin(kind) is Annotated:
        kind, meta = get_args(kind)[:2]
    if get_origin(kind) in {Union, UnionType}:
        (kind,) = (member for member in get_args(kind) if member is not NoneType)
    return kind, meta


def is_struct(kind: Any) -> bool:
    """Return whether `kind` is a table with known keys."""
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def describe(kind: Any) -> str:
    """Return what a value of `kind` is, in words: "a whole number from 1 to 10"."""
    kind, meta = unwrap(kind)
    if meta is not None and meta.description:
        return meta.description
    origin = get_origin(kind)
    if is_struct(kind) or origin is dict:
        return "a table"
    if origin is tuple:
        return _describe_list(kind, meta)
    if origin is Literal:
        words = [
            _word(choice) if isinstance(choice, str) else str(choice) for choice in get_args(kind)
        ]
        return " or ".join(words)
    noun = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}[kind]
    return f"{noun} from {meta.ge} to {meta.le}" if meta is not None and meta.le else noun


def _describe_list(kind: Any, meta: msgspec.Meta | None) -> str:
    item = get_args(kind)[0]
    text = "a list of "
    if meta is not None and meta.max_length is not None:
        text += f"{meta.min_length or 0} to {meta.max_length} "
    if is_struct(unwrap(item)[0]):
        return f"{text}tables"
    each = describe(item)
    return f"{text}texts" if each == "text" else f"{text}texts, each {each}"


@cache
def fields_of(kind: type[msgspec.Struct]) -> Mapping[str, tuple[FieldInfo, Any]]:
    """Return the fields of `kind` by name, each with its type and the constraints on it."""
    hints = get_type_hints(kind, include_extras=True)
    return {field.name: (field, hints[field.name]) for field in msgspec.structs.fields(kind)}


def struct_from(kind: Any, table: Any, path: Path, findings: Findings) -> Any:
    """Return a `kind` made of `table`, the value at `path`; every misfit goes to `findings`."""
    if not isinstance(table, Mapping):
        findings.fault(path, f"is {_quote(table)}", "write a table here")
        table = {}
    fields = fields_of(kind)
    for key in table:
        if key not in fields:
            findings.fault((*path, key), "is no key that is known here", _nearest(key, fields))
    return kind(
        **{
            name: _field(field, hint, table, path, findings)
            for name, (field, hint) in fields.items()
            if name in table or field.required
        }
    )


def _field(
    field: FieldInfo, kind: Any, table: Mapping[str, Any], path: Path, findings: Findings
) -> Any:
    place = (*path, field.name)
    if field.name in table:
        return _value(kind, table[field.name], place, findings, _stand_in(field, kind))
    findings.fault(place, "is missing", f"write {describe(kind)}")
    return _stand_in(field, kind)


def _value(kind: Any, value: Any, path: Path, findings: Findings, stand_in: Any) -> Any:
    inner, meta = unwrap(kind)
    origin = get_origin(inner)
    if inner is AuthenticatorSettings and isinstance(value, Mapping):
        inner = _kind_of(value, path, findings)
        if inner is None:
            return LocalSettings(kind="local")
    if is_struct(inner):
        return struct_from(inner, value, path, findings)
    if origin is dict and isinstance(value, Mapping):
        return _tables(get_args(inner), value, path, findings)
    if origin is tuple and isinstance(value, list):
        items = [
            _value(get_args(inner)[0], item, (*path, index), findings, "")
            for index, item in enumerate(value)
        ]
        if meta is None or _within(len(items), meta):
            return tuple(items)
    else:
        try:
            return msgspec.convert(value, kind)
        except msgspec.ValidationError:
            pass
    findings.fault(path, f"is {_quote(value)}", f"write {describe(kind)}")
    return stand_in


def _kind_of(
    table: Mapping[str, Any], path: Path, findings: Findings
) -> type[AuthenticatorSettings] | None:
    """Return the struct for the `kind` that an authenticator's table names; None if that fails."""
    place = (*path, "kind")
    kind = table.get("kind")
    if isinstance(kind, str):
        try:
            settings = settings_of_kind(kind)
        except Exception as error:  # noqa: BLE001 - other people's code
            why = f"{type(error).__name__}: {error}"
            what = f"is {_quote(kind)}, whose package can't be loaded ({why})"
            findings.fault(place, what, "mend the package, or remove it")
            return None
        if settings is not None:
            return settings
    what = f"is {_quote(kind)}" if "kind" in table else "is missing"
    findings.fault(place, what, f"write {' or '.join(map(_word, kind_names()))}")
    return None


def _word(text: str) -> str:
    return f'"{text}"'


def _tables(
    kinds: tuple[Any, ...], value: Mapping[str, Any], path: Path, findings: Findings
) -> Any:
    """Return the tables of `value` by name; `kinds` are the name's and the table's."""
    name_kind, table_kind = kinds
    for name in value:
        _value(name_kind, name, (*path, name), findings, "")
    return {
        name: _value(table_kind, table, (*path, name), findings, ())
        for name, table in value.items()
    }


def _within(length: int, meta: msgspec.Meta) -> bool:
    return (meta.min_length or 0) <= length and (
        meta.max_length is None or length <= meta.max_length
    )


def _stand_in(field: FieldInfo, kind: Any) -> Any:
    """Return what stands in for a missing or unfit value: the default, else an empty one."""
    if field.default is not msgspec.NODEFAULT:
        return field.default
    if field.default_factory is not msgspec.NODEFAULT:
        return field.default_factory()
    inner, _ = unwrap(kind)
    return () if get_origin(inner) is tuple else ""


def _nearest(key: str, known: Mapping[str, Any]) -> str:
    guesses = difflib.get_close_matches(key, known, n=1)
    if guesses:
        return f"did you mean {guesses[0]}?"
    return f"remove it, or use one of: {', '.join(known)}"


def _quote(value: Any) -> str:
    match value:
        case dict():
            return "a table"
        case list():
            return f"a list of {len(value)}"
        case bool():
            return "true" if value else "false"
        case str():
            text = repr(value)
        case _:
            text = str(value)
    return text if len(text) <= QUOTED_MAX else f"{text[:QUOTED_MAX]}…"
