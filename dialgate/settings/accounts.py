"""`[lockout]` and `[passwords]`: what holds for every user of the cluster."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from dialgate.settings.kinds import Seconds

__all__ = ["LockoutSettings", "PasswordSettings"]


class LockoutSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a user has to wait after failed tries; counted in the cluster's state."""

    place_tries: Annotated[int, Meta(ge=1, le=1000)] = 5
    """Failed tries in a row for one user from one caller's number, or from one port where no number
    is known; from then on he waits, there alone."""
    user_tries: Annotated[int, Meta(ge=2, le=100_000)] = 20
    """Failed tries in a row for one user from all numbers and ports; from then on he waits wherever
    he calls from, but for numbers from which he got in before. One number counts for at most
    `place_tries` of them."""
    wait_s: Seconds = 60
    """The first wait. It doubles with each further failed try."""
    wait_max_s: Seconds = 3600
    """The longest wait."""
    forget_s: Annotated[int, Meta(ge=60, le=31_536_000)] = 86_400
    """After so long without a failed try the count begins anew."""
    number_known_s: Annotated[int, Meta(ge=0, le=31_536_000)] = 7_776_000
    """For how long a number from which a user got in isn't shut by his lock-out as a whole; 0:
    never is."""


class PasswordSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What local users' new passwords must be like, and for how long they serve."""

    length_min: Annotated[int, Meta(ge=1, le=128)] = 8
    """Characters of a password that a user chooses at login. An operator may set a shorter one with
    `dialgate users`, and is told."""
    classes_min: Annotated[int, Meta(ge=1, le=4)] = 1
    """Kinds of characters in it, of lower case, upper case, digits and all others."""
    days_max: Annotated[int, Meta(ge=0, le=3650)] = 0
    """Days after which a password must be changed at login; 0: never."""
