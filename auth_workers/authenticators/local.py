"""Local users: a name and a password, checked against the cluster's state.

Unknown, disabled, expired and locked users take as long as others: there is one hash checked for
each guess, whoever it is for.  A password that must be changed is asked for anew, twice, when
everything else of the login is through.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Final, Protocol

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from auth_workers.authenticators import Accepted, Login, Rejected, Result, TryBarred
from auth_workers.hashing import HashingPool
from auth_workers.kinds import Kind, Resources
from dialgate.codes import Code, Winerror
from dialgate.errors import BackendUnavailable, StateError
from dialgate.passwords import PasswordRules
from dialgate.settings.authenticators import LocalSettings
from dialgate.users import User, change_password, find_user, replace_hash

__all__ = ["KIND", "Local", "StoredUsers", "Users"]

CHANGES_MAX: Final = 3
"""Goes that a user has at a new password before he is hung up on."""
NEW_PASSWORD: Final = b"New password: "
AGAIN: Final = b"Again: "

log = structlog.get_logger()


class Users(Protocol):
    """Where users are kept; `dialgate.users` has the cluster's."""

    async def find(self, name: str, /) -> User | None:
        """Return the user of exactly this name."""
        ...

    async def replace_hash(self, user: User, password_hash: str, /) -> None:
        """Store the same password's hash at a new cost."""
        ...

    async def change_password(self, user: User, password_hash: str, /) -> bool:
        """Store a new password; False: it was changed meanwhile."""
        ...


class StoredUsers:
    """The users in the cluster's state."""

    def __init__(self, state: AsyncEngine) -> None:
        self._state = state

    async def find(self, name: str) -> User | None:
        """Return the user of exactly this name."""
        return await find_user(self._state, name)

    async def replace_hash(self, user: User, password_hash: str) -> None:
        """Store the same password's hash at a new cost."""
        await replace_hash(self._state, user, password_hash)

    async def change_password(self, user: User, password_hash: str) -> bool:
        """Store a new password; False: it was changed meanwhile."""
        return await change_password(self._state, user, password_hash)


class Local:
    """The users that `dialgate users` keeps.

    Args:
        users: where they are kept.
        hashing: where passwords are checked.
        rules: what new passwords must be like.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        users: Users,
        hashing: HashingPool,
        rules: PasswordRules | None = None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._users = users
        self._hashing = hashing
        self._rules = rules or PasswordRules()
        self._clock = clock

    async def authenticate(self, login: Login) -> Result:
        """Ask for the password and compare it.

        Raises:
            BackendUnavailable: the state can't be asked, or too many ask.
            TryBarred: of the login.
            TimeoutError, DialogEnded, DialogFault: of the dialog.
        """
        try:
            password = await login.password()
        except TryBarred:
            if isinstance(login.barred, Rejected):
                await self._find(login, b"")  # A lock must not show by its haste.
            raise
        user = await self._find(login, password)
        now = datetime.fromtimestamp(self._clock(), UTC)
        if user is None:
            return Rejected()
        if not user.is_valid(now):
            return Rejected(_why_invalid(user))
        if user.needs_new_password(now, self._rules.days_max):
            login.afterwards.append(partial(self._change, login, user, password))
        elif self._hashing.argon2.is_outdated(user.password_hash):
            await self._refresh(user, password)
        return Accepted(user.name, roles=user.roles)

    async def _find(self, login: Login, password: bytes) -> User | None:
        """Return the user whose name and password these are; None: whichever of them is wrong.

        Raises:
            BackendUnavailable: the state can't be asked, or too many ask.
        """
        try:
            user = await self._users.find(login.user)
            login.known |= user is not None
            known = user.password_hash if user else self._hashing.argon2.decoy
            matches = await self._hashing.matches(known, password)
        except StateError as error:
            raise BackendUnavailable(str(error)) from error
        return user if matches else None

    async def _change(self, login: Login, user: User, old: bytes) -> Rejected | None:
        """Have the user choose a new password; rejected if he doesn't."""
        code = Winerror.ERROR_PASSWORD_MUST_CHANGE.code
        said = "Your password must be changed"
        for _ in range(CHANGES_MAX):
            await login.dialog.send(f"{said}\r\n".encode())
            new = await login.ask(NEW_PASSWORD)
            said = "That is your old password" if new == old else self._rules.fault(new, user.name)
            if said:
                continue
            if await login.ask(AGAIN) != new:
                said = "The two passwords differ"
                continue
            return await self._store(user, new)
        return Rejected(code, message=said, final=True)

    async def _store(self, user: User, new: bytes) -> Rejected | None:
        try:
            stored = await self._users.change_password(user, await self._hashing.hash(new))
        except StateError as error:
            raise BackendUnavailable(str(error)) from error
        if stored:
            log.info("password changed by its user", user=user.name)
            return None
        return Rejected(message="Your password was changed meanwhile", final=True)

    async def _refresh(self, user: User, password: bytes) -> None:
        """Hash the password at today's cost; if that fails, the next login does it."""
        try:
            await self._users.replace_hash(user, await self._hashing.hash(password))
        except (BackendUnavailable, StateError) as error:
            log.warning("password hash not renewed", user=user.name, reason=str(error))


def _why_invalid(user: User) -> Code:
    """Return why a user who knows his password may not log in; for the log, he isn't told."""
    if user.disabled:
        return Winerror.ERROR_ACCOUNT_DISABLED.code
    return Winerror.ERROR_ACCOUNT_EXPIRED.code


@asynccontextmanager
async def _open(_name: str, _settings: LocalSettings, resources: Resources) -> AsyncIterator[Local]:
    yield Local(StoredUsers(resources.state), resources.hashing, resources.passwords)


KIND: Final = Kind(LocalSettings, _open)
