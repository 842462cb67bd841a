"""Authenticators by the `kind` of their table: ours and third parties' are found the same way.

The entry point `KIND` in the group `dialgate.authenticators` names a `Kind`:

    [project.entry-points."dialgate.authenticators"]
    wordlist = "our_package.wordlist:KIND"
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from auth_workers.authenticators import Authenticator
from auth_workers.hashing import HashingPool
from dialgate.errors import UsageError
from dialgate.passwords import PasswordRules
from dialgate.sealing import Sealer
from dialgate.settings.authenticators import ENTRY_POINTS, AuthenticatorSettings

__all__ = ["Kind", "Resources", "open_authenticator"]


@dataclass(frozen=True, slots=True)
class Resources:
    """What a worker lends its authenticators."""

    state: AsyncEngine
    """The cluster's SQL state (`dialgate.state`)."""
    hashing: HashingPool
    """Where passwords are hashed, off the event loop."""
    codes: Sealer
    """Opens the secrets of users' tokens (`dialgate.one_time_codes`)."""
    passwords: PasswordRules
    """What new passwords must be like."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A sort of authenticator."""

    settings: type[AuthenticatorSettings]
    """The struct of its table: names, types and texts of the keys."""
    open: Callable[[str, Any, Resources], AbstractAsyncContextManager[Authenticator]]
    """Opens one, given its name and table; closed when the worker ends."""


def open_authenticator(
    name: str, settings: AuthenticatorSettings, resources: Resources
) -> AbstractAsyncContextManager[Authenticator]:
    """Return the authenticator of the table `[authenticators.NAME]`, to be entered.

    Raises:
        UsageError: no package brings its kind.
    """
    for entry in entry_points(group=ENTRY_POINTS, name=settings.kind):
        kind: Kind = entry.load()
        return kind.open(name, settings, resources)
    raise UsageError(f"authenticators.{name}: no package brings the kind {settings.kind!r}")
