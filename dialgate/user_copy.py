r"""A copy of the cluster's users as it travels to a site: its form, its signature, its age.

    "dialgate users 1\n" | Ed25519 signature, 64 bytes | MessagePack map (`UserCopy`)

Pure: bytes and `now_s` in, a copy or a `CopyError` out.  What is copied, and what becomes of the
users that a site has, is `dialgate.user_sync`'s.

Invariant: nothing of a copy is believed, nor even read, before its signature was verified; the
signature is over the first line too, so it is good for nothing else.
"""

from __future__ import annotations

from typing import Final

import msgspec
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from dialgate.errors import CopyError

__all__ = ["COPY_BYTES_MAX", "UserCopy", "open_copy", "seal_copy"]

COPY_BYTES_MAX: Final = 64 * 1024 * 1024
"""A user takes about 300 bytes."""
CLOCK_SKEW_S: Final = 300
"""How far the clocks of centre and site may be apart."""

_FIRST_LINE: Final = b"dialgate users 1\n"
_SIGNATURE_BYTES: Final = 64


class UserCopy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Users, as they were at the centre."""

    schema: str
    """Of the centre's state."""
    made_s: int
    """The centre's clock, seconds since 1970."""
    until_s: int
    """Until when it counts, by the same clock."""
    users: list[dict[str, str | int | bool]]
    """Rows of the table of users, by column: hashes of passwords are among them."""

    def __repr__(self) -> str:
        """Show how many users there are, and nothing of them."""
        return f"UserCopy(schema={self.schema!r}, until_s={self.until_s}, users={len(self.users)})"


_DECODER: Final = msgspec.msgpack.Decoder(UserCopy)


def seal_copy(copy: UserCopy, key: SigningKey) -> bytes:
    """Return `copy`, signed, as it travels."""
    content = msgspec.msgpack.encode(copy)
    return _FIRST_LINE + key.sign(_FIRST_LINE + content).signature + content


def open_copy(data: bytes, key: VerifyKey, now_s: float) -> UserCopy:
    """Return the copy in `data`, if the centre has signed it and it still counts.

    Args:
        data: what `seal_copy` returned.
        key: the centre's.
        now_s: the wall clock, seconds since 1970.

    Raises:
        CopyError: it is none, another has signed it, it is too old, or from the future.
    """
    if len(data) > COPY_BYTES_MAX:
        raise CopyError(f"is over {COPY_BYTES_MAX} bytes long")
    if not data.startswith(_FIRST_LINE):
        raise CopyError("is no copy of users: make one with `dialgate state sync sign`")
    start = len(_FIRST_LINE)
    signature, content = data[start : start + _SIGNATURE_BYTES], data[start + _SIGNATURE_BYTES :]
    try:
        key.verify(_FIRST_LINE + content, signature)
    except (BadSignatureError, ValueError):
        raise CopyError("is not signed by the key state-sync.key, or was changed") from None
    try:
        copy = _DECODER.decode(content)
    except msgspec.DecodeError as error:
        raise CopyError(f"can't be read: {error}") from None
    if now_s >= copy.until_s:
        age_h = (now_s - copy.made_s) / 3600
        raise CopyError(f"is {age_h:.0f} h old, and counts no more: sign a new one")
    if now_s < copy.made_s - CLOCK_SKEW_S:
        raise CopyError(f"was made {copy.made_s - now_s:.0f} s in the future: set the clocks")
    return copy
