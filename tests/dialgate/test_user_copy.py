"""A copy of users on its way: nothing of it is believed but what the centre signed, in time."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import SigningKey

from dialgate.errors import CopyError
from dialgate.user_copy import COPY_BYTES_MAX, UserCopy, open_copy, seal_copy

KEY = SigningKey(bytes(32))
NOW_S = 1_800_000_000
COPY = UserCopy(
    schema="0003",
    made_s=NOW_S,
    until_s=NOW_S + 3600,
    users=[{"name": "ann", "password_hash": "$argon2id$", "disabled": False, "created_s": 5}],
)
SEALED = seal_copy(COPY, KEY)


def test_what_the_centre_signed_is_read_as_it_was() -> None:
    assert open_copy(SEALED, KEY.verify_key, NOW_S + 3599.0) == COPY


@given(st.integers(0, len(SEALED) - 1), st.integers(1, 255))
def test_a_copy_with_one_byte_changed_is_refused(place: int, change: int) -> None:
    changed = bytearray(SEALED)
    changed[place] ^= change

    with pytest.raises(CopyError):
        open_copy(bytes(changed), KEY.verify_key, NOW_S)


@given(st.integers(0, len(SEALED) - 1))
def test_a_copy_that_is_cut_short_is_refused(length: int) -> None:
    with pytest.raises(CopyError):
        open_copy(SEALED[:length], KEY.verify_key, NOW_S)


def test_what_is_longer_than_any_copy_is_refused_unread() -> None:
    with pytest.raises(CopyError, match="bytes long"):
        open_copy(bytes(COPY_BYTES_MAX + 1), KEY.verify_key, NOW_S)


def test_another_signers_copy_is_refused() -> None:
    with pytest.raises(CopyError, match="is not signed by the key state-sync"):
        open_copy(SEALED, SigningKey(b"x" * 32).verify_key, NOW_S)


def test_a_copy_that_is_too_old_is_refused() -> None:
    with pytest.raises(CopyError, match="is 1 h old, and counts no more"):
        open_copy(SEALED, KEY.verify_key, NOW_S + 3600)


def test_a_copy_from_the_future_is_refused_but_for_clocks_that_differ() -> None:
    assert open_copy(SEALED, KEY.verify_key, NOW_S - 300) == COPY
    with pytest.raises(CopyError, match="was made 301 s in the future: set the clocks"):
        open_copy(SEALED, KEY.verify_key, NOW_S - 301)


def test_a_signature_over_something_else_is_refused() -> None:
    """The key signs copies, and what it may sign some day for another purpose is none."""
    content = msgspec.msgpack.encode(COPY)
    signature = KEY.sign(content).signature

    with pytest.raises(CopyError, match="is not signed"):
        open_copy(b"dialgate users 1\n" + signature + content, KEY.verify_key, NOW_S)


def test_nothing_of_the_users_is_in_repr() -> None:
    assert repr(COPY) == "UserCopy(schema='0003', until_s=1800003600, users=1)"
