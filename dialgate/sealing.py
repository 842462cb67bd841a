"""Sealing with the worker pool's key what only the pool may read again: cookies, tokens' secrets.

XSalsa20-Poly1305 (PyNaCl's secretbox) over the content and a digest of what it is bound to: a
quarter of the time that PyNaCl takes for an AEAD with the same promise.  A cookie lies at the port
between two workers, and brokers carry it; it is bound to dialog, hport and agent, so that it can't
be read, changed, or played back into another call (docs/protocol.md §7).  Each purpose has a
key of its own, derived from the pool's, so that nothing sealed for one opens as another's; bodies
sealed between agent and pool come later and will have theirs.

Invariant: what was not sealed by this pool for this purpose and very context opens as None.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from hashlib import blake2b
from hmac import compare_digest
from typing import Any, Final

from nacl.bindings import (
    crypto_secretbox,
    crypto_secretbox_NONCEBYTES,
    crypto_secretbox_open,
)
from nacl.exceptions import CryptoError

from dialgate.errors import BodyError
from dialgate.wire.body_codec import decode_map, encode_map

__all__ = [
    "COOKIES",
    "ONE_TIME_CODES",
    "POOL_KEY_BYTES",
    "Sealer",
    "context_of",
    "cookie_context",
]

POOL_KEY_BYTES: Final = 32
NONCE_BYTES: Final = crypto_secretbox_NONCEBYTES
"""Long enough that random nonces never meet."""
DIGEST_BYTES: Final = 16
COOKIES: Final = b"dialgate cookie"
ONE_TIME_CODES: Final = b"dialgate codes"
"""Purposes: each has its own key."""
_FORMAT: Final = b"\x01"
"""First byte of what is sealed: this module's format, should there ever be another."""


def cookie_context(dialog: bytes, hport: str, agent: str) -> bytes:
    """Return what binds a cookie to one dialog, on one port, of one agent."""
    return context_of({"dsp": 1, "dialog": dialog, "hport": hport, "agent": agent})


def context_of(binding: dict[str, Any]) -> bytes:
    """Return what binds content to `binding`: a digest, since a dialog seals more than once."""
    return blake2b(
        encode_map(binding), digest_size=DIGEST_BYTES, person=b"dialgate context"
    ).digest()


class Sealer:
    """Seals and opens under one pool key.

    Args:
        pool_key: 32 secret bytes, the same for all workers of the pool.
        nonce: gives `NONCE_BYTES` bytes that never repeat.
        purpose: what the key is derived for, at most 16 bytes.
    """

    def __init__(
        self,
        pool_key: bytes,
        nonce: Callable[[], bytes] = lambda: os.urandom(NONCE_BYTES),
        *,
        purpose: bytes = COOKIES,
    ) -> None:
        if len(pool_key) != POOL_KEY_BYTES:
            msg = f"a pool key has {POOL_KEY_BYTES} bytes"
            raise ValueError(msg)
        self._key = blake2b(key=pool_key, digest_size=32, person=purpose).digest()
        self._nonce = nonce

    def __repr__(self) -> str:
        """Show nothing of the key."""
        return "Sealer()"

    def seal(self, content: dict[str, Any], context: bytes) -> bytes:
        """Return `content`, sealed for `context_of` something; 57 bytes longer than MessagePack."""
        nonce = self._nonce()
        text = context + encode_map(content)
        return _FORMAT + nonce + crypto_secretbox(text, nonce, self._key)

    def open(self, sealed: bytes, context: bytes) -> dict[str, Any] | None:
        """Return what was sealed for `context`, or None."""
        nonce, box = sealed[1 : 1 + NONCE_BYTES], sealed[1 + NONCE_BYTES :]
        if sealed[:1] != _FORMAT:
            return None
        try:
            text = crypto_secretbox_open(box, nonce, self._key)
            bound_to_this = compare_digest(text[:DIGEST_BYTES], context)
            return decode_map(text[DIGEST_BYTES:]) if bound_to_this else None
        except (BodyError, CryptoError):
            return None

    def digest(self, content: bytes, context: bytes) -> bytes:
        """Return what `content` is recognised by, and by nobody without the key."""
        return blake2b(context + content, key=self._key, digest_size=32).digest()
