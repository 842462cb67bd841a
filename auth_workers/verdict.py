"""What an authenticator can come to, as values; and the one place that turns them into COMPLETE.

Refusing a user is a decision like granting; an `Undecided` says that there is none, and never
counts against the user (docs/protocol.md, `rashost` rule 4: FAILURE against ERROR).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, assert_never

from msgspec import Struct, field
from msgspec.structs import replace

from dialgate.codes import NO_ERROR, Code, Winerror
from dialgate.errors import BodyError
from dialgate.wire.bodies import ERROR, FAILURE, SUCCESS, Complete
from dialgate.wire.body_codec import decode_map, encode_map

__all__ = ["Granted", "Refused", "Undecided", "Verdict", "complete_of", "with_tries"]


ATTRIBUTES_BYTES_MAX: Final = 12 * 1024
"""Most that a verdict's attributes may take of a message's 16 KiB."""


class Granted(Struct, frozen=True):
    """The caller is `user`: SECURITYMSG_SUCCESS."""

    user: str
    """Never empty; at most 256 bytes of UTF-8."""
    domain: str = ""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    """What the port should do for him: service, session_timeout_s, idle_timeout_s, message …"""


class Refused(Struct, frozen=True):
    """The caller is not who he says, or may not: SECURITYMSG_FAILURE."""

    user: str = ""
    """Whom the caller named last; empty if nobody."""
    domain: str = ""
    attributes: Mapping[str, Any] = field(default_factory=dict)


class Undecided(Struct, frozen=True):
    """No decision could be made: SECURITYMSG_ERROR."""

    code: Code
    """Why; never 0."""
    user: str = ""
    attributes: Mapping[str, Any] = field(default_factory=dict)


Verdict = Granted | Refused | Undecided

_PLAIN: Final = frozenset({str, int, bool})
_MALFORMED: Final = Undecided(Winerror.ERROR_INVALID_DATA.code)


def complete_of(verdict: Verdict, worker: bytes) -> Complete:
    """Return COMPLETE's body; a verdict that DSP/1 can't carry becomes ERROR ["win",13].

    So do SUCCESS without a user, ERROR with code 0 and a name that is too long: it is never cut,
    since a cut name can be another account.  So does what is no verdict at all: authenticators are
    other people's too.
    """
    try:
        complete = _spell(verdict, worker)
        if complete.attributes:  # All else has a bound of its own.
            packed = encode_map(complete.attributes)
            if not all(map(_is_plain, complete.attributes.items())):
                decode_map(packed)
            if len(packed) > ATTRIBUTES_BYTES_MAX:
                return _spell(_MALFORMED, worker)
    except (AssertionError, AttributeError, BodyError, TypeError, ValueError):
        return _spell(_MALFORMED, worker)
    return complete


def with_tries(verdict: Verdict, tries: int) -> Verdict:
    """Return `verdict` with the attribute `tries`: how many the caller used, for his call's record.

    What is no verdict is returned as it is, and refused by `complete_of`.
    """
    try:
        return replace(verdict, attributes={**verdict.attributes, "tries": tries})
    except (AttributeError, TypeError):
        return verdict


def _is_plain(item: tuple[object, object]) -> bool:
    """Return whether an attribute surely reads back as it is: text, a number, yes or no."""
    return item[0].__class__ is str and item[1].__class__ in _PLAIN


def _spell(verdict: Verdict, worker: bytes) -> Complete:
    msg_id: Literal[1, 2, 3]
    match verdict:
        case Granted(user, domain, attributes):
            msg_id, error = SUCCESS, NO_ERROR
        case Refused(user, domain, attributes):
            msg_id, error = FAILURE, NO_ERROR
        case Undecided(error, user, attributes):
            msg_id, domain = ERROR, ""
        case _:
            assert_never(verdict)
    return Complete(
        worker=worker,
        msg_id=msg_id,
        error=error,
        username=user,
        domain=domain,
        attributes=dict(attributes),
    )
