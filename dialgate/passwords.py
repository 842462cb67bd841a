"""Passwords: what a new one must be like, and argon2id hashes (RFC 9106) of them.

The cost is the set that OWASP's password storage cheat sheet names for argon2id: 19 MiB, two
passes, one lane; about 40 ms of one core.  Every call here blocks for that long, so it belongs in a
thread.  Invariant: no password is in an exception, a `repr` or a log.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError

from dialgate.errors import StateError, UsageError

__all__ = ["PASSWORD_BYTES_MAX", "Argon2", "PasswordRules", "check_password"]

PASSWORD_BYTES_MAX: Final = 1024
"""Longest password; far above what anyone types, far below what would make hashing slow."""
_SPACE: Final = 0x20
_DELETE: Final = 0x7F


def check_password(password: bytes) -> None:
    """Refuse a new password that no caller could type.

    Raises:
        UsageError: it is empty, too long, or has a control character.
    """
    if not password:
        raise UsageError("the password is empty: type at least one character")
    if len(password) > PASSWORD_BYTES_MAX:
        raise UsageError(f"the password is longer than {PASSWORD_BYTES_MAX} bytes: shorten it")
    if any(byte < _SPACE or byte == _DELETE for byte in password):
        raise UsageError("the password has a control character: a prompt would not take it")


@dataclass(frozen=True, slots=True, kw_only=True)
class PasswordRules:
    """What new passwords must be like, and for how long they serve."""

    length_min: int = 8
    """Characters, each a code point of Unicode."""
    classes_min: int = 1
    """Kinds among lower case, upper case, digits and all others."""
    days_max: int = 0
    """0: for ever."""

    def fault(self, password: bytes, user: str) -> str:
        """Return what `user` is to do better, for his eyes; empty if `password` is fit."""
        try:
            check_password(password)
        except UsageError:
            return "The password can't be typed at a prompt"
        text = password.decode(errors="replace")
        if len(text) < self.length_min:
            return f"The password needs at least {self.length_min} characters"
        if len({_class(char) for char in text}) < self.classes_min:
            return (
                f"The password needs {self.classes_min} of: "
                "small letters, capitals, digits, other characters"
            )
        if user.casefold() in text.casefold():
            return "The password must not contain your name"
        return ""


def _class(char: str) -> str:
    """Return the kind of a character: "Ll", "Lu", "Nd", or "" for all others."""
    kind = unicodedata.category(char)
    return kind if kind in {"Ll", "Lu", "Nd"} else ""


class Argon2:
    """Hashes and checks passwords at one cost."""

    def __init__(self, *, memory_kib: int = 19 * 1024, passes: int = 2, lanes: int = 1) -> None:
        self._hasher = PasswordHasher(
            time_cost=passes, memory_cost=memory_kib, parallelism=lanes, hash_len=32, salt_len=16
        )
        self.decoy = self._hasher.hash(bytes(PASSWORD_BYTES_MAX + 1))
        """Hash that no password matches, at the same cost: checked for users that don't exist."""

    def hash(self, password: bytes) -> str:
        """Return `password`'s hash with a fresh salt, in the PHC string format."""
        return self._hasher.hash(password)

    def matches(self, password_hash: str, password: bytes) -> bool:
        """Return whether `password` is the one that was hashed.

        Raises:
            StateError: `password_hash` is no argon2 hash, so nothing is decided.
        """
        try:
            return self._hasher.verify(password_hash, password)
        except VerifyMismatchError:
            return False
        except (InvalidHashError, VerificationError):
            raise StateError(
                "a stored password hash is damaged: set the password anew with "
                "`dialgate users passwd`"
            ) from None

    def is_outdated(self, password_hash: str) -> bool:
        """Return whether `password_hash` was made at another cost than this one."""
        return self._hasher.check_needs_rehash(password_hash)
