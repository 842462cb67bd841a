"""docs/protocol.md §4 and the code say the same: verbs, fields, types, defaults, example bytes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import inspect

from dialgate.errors import BodyError
from dialgate.wire.bodies import BODIES, Facts, LineState
from dialgate.wire.body_codec import decode_body, encode_body
from dialgate.wire.envelope import decode_frame
from dialgate.wire.verbs import DIALOG_VERBS, FROM_AGENT, FROM_WORKER, Role, Verb

PAGE = (Path(__file__).parents[3] / "docs" / "protocol.md").read_text()
SECTIONS: dict[str, str] = dict(
    re.findall(
        r"^### (\d+ [A-Z_]+)$(.*?)(?=^### |^## |^A broker never)", PAGE, re.MULTILINE | re.DOTALL
    )
)
POWERS = {2**32 - 1: "2^32-1", 2**53: "2^53", 2**63 - 1: "2^63-1"}


def section(verb: Verb) -> str:
    return SECTIONS[f"{verb.value} {verb.name}"]


def tables(text: str) -> list[list[list[str]]]:
    """Return the page's field tables as lists of rows of cells."""
    found: list[list[list[str]]] = []
    for line in text.splitlines():
        if line.startswith("| field"):
            found.append([])
        elif line.startswith("| `"):
            found[-1].append([cell.strip() for cell in line.strip("|").split("|")])
    return found


def spell_type(kind: inspect.Type) -> str:
    match kind:
        case inspect.IntType(ge=None, le=None):
            return "int"
        case inspect.IntType(ge=low, le=high):
            top = "" if high is None else str(POWERS.get(int(high), int(high)))
            return f"int {low}..{top}"
        case inspect.BytesType(min_length=low, max_length=high) if low and low == high:
            return f"bin {high}"
        case inspect.BytesType(max_length=high):
            return "bin" if high is None else f"bin ≤ {high}"
        case inspect.StrType(min_length=low, max_length=high):
            return "str" if high is None else f"str {'1..' if low else '≤ '}{high}"
        case inspect.BoolType():
            return "bool"
        case inspect.LiteralType(values=values):
            return ", ".join(json.dumps(value) for value in values)
        case inspect.VarTupleType(item_type=item, max_length=high):
            return f"array of {spell_type(item)}, ≤ {high}"
        case inspect.StructType(cls=cls):
            return cls.__name__
        case inspect.DictType():
            return "map"
        case inspect.UnionType(types=types):
            if any(isinstance(one, inspect.NamedTupleType) for one in types):
                return "code"
            return "/".join(
                spell_type(one) for one in types if not isinstance(one, inspect.CustomType)
            )
        case _:
            raise AssertionError(kind)


def spell_default(field: inspect.Field) -> str:
    if field.required:
        return ""
    if field.default in (msgspec.UNSET, msgspec.NODEFAULT):
        return "absent"
    if field.default == b"":
        return "empty"
    value: Any = list(field.default) if isinstance(field.default, tuple) else field.default
    return str(json.dumps(value))


def spell(struct: type[msgspec.Struct]) -> list[list[str]]:
    info = inspect.type_info(struct)
    assert isinstance(info, inspect.StructType)
    return [[f"`{f.name}`", spell_type(f.type), spell_default(f)] for f in info.fields]


def test_every_verb_has_its_section_and_there_is_no_other() -> None:
    assert list(SECTIONS) == [f"{verb.value} {verb.name}" for verb in Verb]


@pytest.mark.parametrize("verb", BODIES, ids=lambda verb: verb.name)
def test_the_page_lists_each_field_with_type_and_default(verb: Verb) -> None:
    inner: dict[Verb, type[msgspec.Struct]] = {Verb.LINES: LineState, Verb.BEGIN: Facts}

    documented = [[row[:3] for row in rows] for rows in tables(section(verb))]

    assert documented == [
        spell(struct) for struct in (BODIES[verb], inner.get(verb)) if struct is not None
    ]


@pytest.mark.parametrize("verb", Verb, ids=lambda verb: verb.name)
def test_the_page_says_who_sends_it(verb: Verb) -> None:
    direction = next(line for line in section(verb).splitlines() if line)

    named = {
        Role.AGENT: bool(re.search(r"both|peer →|agent →", direction)),
        Role.WORKER: bool(re.search(r"both|peer →|worker →|worker or", direction)),
    }
    assert named == {Role.AGENT: verb in FROM_AGENT, Role.WORKER: verb in FROM_WORKER}


@pytest.mark.parametrize("verb", Verb, ids=lambda verb: verb.name)
def test_the_example_is_one_whole_message_of_that_verb(verb: Verb) -> None:
    block = re.search(r"```hex\n(.*?)```", section(verb), re.DOTALL)
    assert block is not None
    example = bytes.fromhex(block[1])

    messages, fault = decode_frame(example)

    assert (len(messages), fault) == (1, "")
    assert messages[0][0] == verb
    assert (messages[0][1] is not None) == (verb in DIALOG_VERBS)
    if verb in BODIES:
        body = decode_body(messages[0][3], BODIES[verb])
        assert encode_body(body) == messages[0][3]


@pytest.mark.parametrize("verb", BODIES, ids=lambda verb: verb.name)
def test_a_field_without_a_default_must_be_there(verb: Verb) -> None:
    """Protocol §3: a missing field is malformed, and the error names it."""
    struct = BODIES[verb]
    required = [row[0].strip("`") for row in spell(struct) if not row[2]]

    with pytest.raises(BodyError) as caught:
        decode_body(b"", struct)

    assert caught.value.field == required[0]
