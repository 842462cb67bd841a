"""Keys of a TOML document are found on their lines, whatever the spelling."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialgate.settings.locator import Path, locate

CASES = [
    pytest.param("a = 1\nb = 2", {("a",): 1, ("b",): 2}, id="plain keys"),
    pytest.param("# c = 1\n\n  a = 1 # b = 2\n", {("a",): 3}, id="comments and blank lines"),
    pytest.param("[t]\na = 1", {("t",): 1, ("t", "a"): 2}, id="table"),
    pytest.param("[t . u]\na = 1", {("t", "u"): 1, ("t", "u", "a"): 2}, id="spaced header"),
    pytest.param(
        "[[p]]\na = 1\n[[p]]\na = 2",
        {("p",): 1, ("p", 0): 1, ("p", 0, "a"): 2, ("p", 1): 3, ("p", 1, "a"): 4},
        id="array of tables",
    ),
    pytest.param(
        "[[p]]\n[p.q]\na = 1\n[[p]]\n[p.q]\na = 2\n[[p.r]]\n[[p.r]]",
        {
            ("p",): 1,
            ("p", 0): 1,
            ("p", 0, "q"): 2,
            ("p", 0, "q", "a"): 3,
            ("p", 1): 4,
            ("p", 1, "q"): 5,
            ("p", 1, "q", "a"): 6,
            ("p", 1, "r"): 7,
            ("p", 1, "r", 0): 7,
            ("p", 1, "r", 1): 8,
        },
        id="tables inside an array of tables",
    ),
    pytest.param("a.b.c = 1", {("a",): 1, ("a", "b"): 1, ("a", "b", "c"): 1}, id="dotted key"),
    pytest.param(
        '"a b"."c\\"d" = 1\n\'e.f\' = 2\n"\\u0067" = 3',
        {("a b",): 1, ("a b", 'c"d'): 1, ("e.f",): 2, ("g",): 3},
        id="quoted keys",
    ),
    pytest.param(
        "a = [\n  1,\n  # 2,\n  3,\n]\nb = 4",
        {("a",): 1, ("a", 0): 2, ("a", 1): 4, ("b",): 6},
        id="list over several lines",
    ),
    pytest.param(
        "a = [[1, 2], [\n3]]",
        {
            ("a",): 1,
            ("a", 0): 1,
            ("a", 0, 0): 1,
            ("a", 0, 1): 1,
            ("a", 1): 1,
            ("a", 1, 0): 2,
        },
        id="list of lists",
    ),
    pytest.param(
        "a = {b = 1, c.d = [2], e = {}}\nf = 1",
        {
            ("a",): 1,
            ("a", "b"): 1,
            ("a", "c"): 1,
            ("a", "c", "d"): 1,
            ("a", "c", "d", 0): 1,
            ("a", "e"): 1,
            ("f",): 2,
        },
        id="inline table",
    ),
    pytest.param(
        'a = """\nb = 1\n\\"""\n[t]\n"""\nc = 1', {("a",): 1, ("c",): 6}, id="multi-line string"
    ),
    pytest.param(
        "a = '''\nb = 1\n\"\"\"\n'''\nc = 1", {("a",): 1, ("c",): 5}, id="multi-line literal"
    ),
    pytest.param(
        'a = """x"""""\nb = 1', {("a",): 1, ("b",): 2}, id="quotes at a multi-line string's end"
    ),
    pytest.param('a = "# ] } ,"\nb = 1', {("a",): 1, ("b",): 2}, id="signs inside a string"),
    pytest.param("a = 1979-05-27 07:32:00\nb = +1e3", {("a",): 1, ("b",): 2}, id="dates, numbers"),
]


@pytest.mark.parametrize(("text", "lines"), CASES)
def test_keys_are_found_on_their_lines(text: str, lines: dict[Path, int]) -> None:
    tomllib.loads(text)  # the case itself is TOML

    assert locate(text) == lines


def paths(value: Any, path: Path = ()) -> Iterator[Path]:
    """Yield the path of everything inside a parsed document."""
    match value:
        case dict():
            for key, inner in value.items():
                yield (*path, key)
                yield from paths(inner, (*path, key))
        case list():
            for index, inner in enumerate(value):
                yield (*path, index)
                yield from paths(inner, (*path, index))
        case _:
            pass


VALUES = st.recursive(
    st.sampled_from(
        ["1", "-0.5e3", "true", "1979-05-27", '"a]#\\"="', "'}'", '"""\n=[\n"""', '""']
    ),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: f"[\n{', '.join(items)}\n]")
        | st.dictionaries(st.sampled_from("abc"), inner, max_size=3).map(
            lambda pairs: "{" + ", ".join(f"{key} = {value}" for key, value in pairs.items()) + "}"
        )
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["a", "b-1", '"c d"', "'e'"]), VALUES, max_size=4))
def test_every_key_of_any_document_has_a_line_at_which_its_name_stands(
    pairs: dict[str, str],
) -> None:
    text = "[[t]]\n[[t]]\n" + "".join(f"{key} = {value}\n" for key, value in pairs.items())
    lines = locate(text)

    assert lines.keys() == set(paths(tomllib.loads(text)))
    for path, line in lines.items():
        if isinstance(path[-1], str):
            assert path[-1] in text.split("\n")[line - 1]


@given(st.text(alphabet="ab=.[]{}\"'#,\\ \n1", max_size=60))
def test_what_is_not_toml_ends_too(text: str) -> None:
    with suppress(tomllib.TOMLDecodeError):  # a quoted key that is none
        locate(text)
