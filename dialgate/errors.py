"""What can go wrong, as one tree.

    DialgateError                  something that its text can tell the operator in full
    ├── UsageError                 the command line asks for what can't be done
    ├── ConfigError                the configuration file: every fault at once
    ├── KeyFileError               a key file is missing, unreadable or too open
    ├── StateError                 the cluster's SQL state
    │   └── StateMismatch          it is another program's, of another version, or no database
    ├── CopyError                  a copy of users that is not to be believed
    ├── ListenError                an address can't be listened on
    ├── BackendUnavailable         who should decide can't be asked: ERROR, never FAILURE
    └── ProtocolError              a peer broke DSP/1
        ├── EnvelopeError          frame or message (protocol §3)
        └── BodyError              one field of a message's body (protocol §4)

A program that ends with a `DialgateError` prints its text and no traceback, so the text says what,
where and how to mend it, and never holds a secret.  Any other exception is a bug.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

__all__ = [
    "BackendUnavailable",
    "BodyError",
    "ConfigError",
    "CopyError",
    "DialgateError",
    "EnvelopeError",
    "Fault",
    "KeyFileError",
    "ListenError",
    "ProtocolError",
    "StateError",
    "StateMismatch",
    "UsageError",
]


class DialgateError(Exception):
    """An error whose text is fit for the operator's eyes."""

    exit_status: ClassVar[int] = 1
    """What a program that ends with this error returns to its parent."""

    @property
    def report(self) -> str:
        """What the program prints on standard error."""
        return f"dialgate: {self}"


class UsageError(DialgateError):
    """A command that can't be carried out as it was typed."""

    exit_status = 2


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of a configuration file; `str` is the line that the operator reads."""

    file: str
    """The file as it was named on the command line."""
    line: int
    """Line number from 1, or 0 for the file as a whole."""
    key: str
    """Path of the key, as `agent.ports[0].hport`; empty for the file as a whole."""
    what: str
    """What is wrong."""
    mend: str
    """How to mend it."""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return ": ".join(part for part in (place, self.key, self.what, self.mend) if part)


class ConfigError(DialgateError):
    """A configuration that no program starts with; `faults` has at least one element."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("\n".join(map(str, faults)))
        self.faults = tuple(faults)

    @property
    def report(self) -> str:
        """One line a fault, beginning with file and line as editors expect it."""
        return str(self)


class KeyFileError(DialgateError):
    """A key file that can't be used: the text names the file and the command that mends it.

    Args:
        what: the file, and what is wrong with it.
        act: arguments of `dialgate keys` that make what is missing; empty: that mends nothing.
    """

    def __init__(self, what: str, act: str = "") -> None:
        super().__init__(f"{what}: make it with: dialgate keys {act}" if act else what)
        self.what = what
        self.act = act


class StateError(DialgateError):
    """The cluster's SQL state can't be opened, or holds something else than was asked for."""


class StateMismatch(StateError):
    """What is named as the state is not this version's, so that no wait mends it."""


class CopyError(DialgateError):
    """A copy of users that is none, too old, or not signed by the centre."""


class ListenError(DialgateError):
    """An address that can't be listened on, mostly because another program does."""

    exit_status = 69  # EX_UNAVAILABLE (sysexits.h): may pass, so systemd tries again


class BackendUnavailable(DialgateError):
    """The source of truth can't be asked, so there is no decision about the user."""


class ProtocolError(DialgateError):
    """A peer sent what DSP/1 doesn't allow."""


class EnvelopeError(ProtocolError):
    """A malformed frame or message; the text is one of a closed set of reasons, fit as a label."""


class BodyError(ProtocolError):
    """A body with a missing or unfit field.  The text never quotes the field's value."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}" if field else reason)
        self.field = field
