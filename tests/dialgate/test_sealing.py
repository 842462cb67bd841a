"""Sealing the cookie: nobody but the pool reads it, and only for the call it is of."""

from __future__ import annotations

from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialgate.sealing import Sealer, cookie_context

KEY: Final = bytes(range(32))
CONTEXT: Final = cookie_context(b"d" * 16, "oslo/1", "oslo-1")
CONTENT: Final = {"step": "local", "user": "ann", "tries": 2}
SEALER: Final = Sealer(KEY)


def test_what_was_sealed_opens_in_its_context() -> None:
    assert SEALER.open(SEALER.seal(CONTENT, CONTEXT), CONTEXT) == CONTENT


def test_every_worker_of_the_pool_opens_it() -> None:
    assert Sealer(KEY).open(SEALER.seal(CONTENT, CONTEXT), CONTEXT) == CONTENT


@pytest.mark.parametrize(
    "other",
    [
        cookie_context(b"e" * 16, "oslo/1", "oslo-1"),
        cookie_context(b"d" * 16, "oslo/2", "oslo-1"),
        cookie_context(b"d" * 16, "oslo/1", "oslo-2"),
        cookie_context(b"d" * 16, "oslo/", "1oslo-1"),
    ],
)
def test_it_does_not_open_for_another_dialog_port_or_agent(other: bytes) -> None:
    assert SEALER.open(SEALER.seal(CONTENT, CONTEXT), other) is None


def test_another_pools_key_does_not_open_it() -> None:
    assert Sealer(bytes(32)).open(SEALER.seal(CONTENT, CONTEXT), CONTEXT) is None


@given(st.data())
def test_a_changed_byte_anywhere_makes_it_unreadable(data: st.DataObject) -> None:
    sealed = bytearray(SEALER.seal(CONTENT, CONTEXT))
    place = data.draw(st.integers(0, len(sealed) - 1))
    sealed[place] ^= data.draw(st.integers(1, 255))

    assert SEALER.open(bytes(sealed), CONTEXT) is None


@given(st.binary(max_size=200))
def test_garbage_is_unreadable(garbage: bytes) -> None:
    assert SEALER.open(garbage, CONTEXT) is None


def test_what_was_cut_short_is_unreadable() -> None:
    sealed = SEALER.seal(CONTENT, CONTEXT)

    assert [SEALER.open(sealed[:n], CONTEXT) for n in range(len(sealed))] == [None] * len(sealed)


def test_nothing_of_the_content_can_be_seen() -> None:
    sealed = SEALER.seal(CONTENT, CONTEXT)

    assert b"ann" not in sealed
    assert sealed != SEALER.seal(CONTENT, CONTEXT)


def test_the_key_is_not_in_the_repr() -> None:
    assert repr(SEALER) == "Sealer()"


def test_a_key_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        Sealer(b"short")


def test_the_nonce_comes_from_its_source() -> None:
    fixed = Sealer(KEY, nonce=lambda: b"n" * 24)

    assert fixed.seal(CONTENT, CONTEXT)[1:25] == b"n" * 24
    assert fixed.seal(CONTENT, CONTEXT) == fixed.seal(CONTENT, CONTEXT)
