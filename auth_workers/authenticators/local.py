"""Local users: a name and a password, checked against the cluster's state.

Unknown and disabled users take as long as known ones: there is one hash checked for each guess,
whoever it is for.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

import structlog

from auth_workers.authenticators import Accepted, Login, Rejected, Result
from auth_workers.hashing import HashingPool
from auth_workers.kinds import Kind, Resources
from dialgate.errors import BackendUnavailable, StateError
from dialgate.settings.authenticators import LocalSettings
from dialgate.users import User, find_user, replace_hash

__all__ = ["KIND", "Local"]

log = structlog.get_logger()


class Local:
    """The users that `dialgate users` keeps.

    Args:
        find: looks a user up by his exact name.
        rehash: stores the same password's hash at a new cost.
        hashing: where passwords are checked.
    """

    def __init__(
        self,
        find: Callable[[str], Awaitable[User | None]],
        rehash: Callable[[User, str], Awaitable[None]],
        hashing: HashingPool,
    ) -> None:
        self._find = find
        self._rehash = rehash
        self._hashing = hashing

    async def authenticate(self, login: Login) -> Result:
        """Ask for the password and compare it.

        Raises:
            BackendUnavailable: the state can't be asked, or too many ask.
            TimeoutError, DialogEnded, DialogFault: of the dialog.
        """
        password = await login.password()
        if await self._is_right(login.user, password):
            return Accepted(login.user)
        return Rejected()

    async def _is_right(self, name: str, password: bytes) -> bool:
        """Return whether `name` is a user who may log in and `password` is his.

        Raises:
            BackendUnavailable: the state can't be asked, or too many ask.
        """
        try:
            user = await self._find(name)
            known = user.password_hash if user else self._hashing.argon2.decoy
            matches = await self._hashing.matches(known, password)
        except StateError as error:
            raise BackendUnavailable(str(error)) from error
        if user is None or user.disabled or not matches:
            return False
        if self._hashing.argon2.is_outdated(user.password_hash):
            await self._refresh(user, password)
        return True

    async def _refresh(self, user: User, password: bytes) -> None:
        """Hash the password at today's cost; if that fails, the next login does it."""
        try:
            await self._rehash(user, await self._hashing.hash(password))
        except (BackendUnavailable, StateError) as error:
            log.warning("password hash not renewed", user=user.name, reason=str(error))


@asynccontextmanager
async def _open(_name: str, _settings: LocalSettings, resources: Resources) -> AsyncIterator[Local]:
    state = resources.state
    yield Local(partial(find_user, state), partial(replace_hash, state), resources.hashing)


KIND: Final = Kind(LocalSettings, _open)
