"""Local users: a name and a password, checked against the cluster's state.

RFC 2196 §4.5.4: a pause after a failed try, hang-up after the last, and one text that never says
whether name or password was wrong.  Unknown and disabled users take as long as known ones: there is
one hash checked for each guess, whoever it is for.

After a worker was lost the caller is asked for his name again; the tries that he used stay used.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from auth_workers.authenticators import Terms
from auth_workers.dialog import AnswerTooLong, Dialog
from auth_workers.hashing import HashingPool
from auth_workers.verdict import Granted, Refused, Undecided, Verdict
from dialgate.codes import Winerror
from dialgate.errors import BackendUnavailable, StateError, UsageError
from dialgate.passwords import PASSWORD_BYTES_MAX
from dialgate.users import User, normalize_name
from dialgate.wire.limits import USERNAME_BYTES_MAX

__all__ = ["Local"]

EMPTY_NAMES_MAX: Final = 10
"""Times that a caller may answer the name's prompt with an empty line before he is hung up on."""
TIMED_OUT: Final = "Login timed out"
"""Said before the hang-up when an answer did not come in time."""

log = structlog.get_logger()


class Local:
    """The users that `dialgate users` keeps.

    Args:
        find: looks a user up by his exact name.
        rehash: stores the same password's hash at a new cost.
        hashing: where passwords are checked.
        pause: waits after a failed try, seconds.
    """

    def __init__(
        self,
        find: Callable[[str], Awaitable[User | None]],
        rehash: Callable[[User, str], Awaitable[None]],
        hashing: HashingPool,
        *,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._find = find
        self._rehash = rehash
        self._hashing = hashing
        self._pause = pause

    async def authenticate(self, dialog: Dialog, terms: Terms) -> Verdict:
        """Ask for name and password until they fit or the tries are used up.

        A line that is longer than a name or password can be is nobody's typing: hang up.  A caller
        who says nothing has decided nothing: ERROR, and no refusal of the user he named.
        """
        user = ""
        try:
            while dialog.progress.tries < terms.tries_max:
                name = await self._ask_name(dialog, terms)
                if name is None:
                    break
                user = _as_stored(name)
                dialog.note(user=user)
                password = await dialog.receive(
                    terms.password_prompt,
                    echo="off",
                    timeout_s=terms.answer_s,
                    limit=PASSWORD_BYTES_MAX,
                    charge=True,
                )
                if await self._is_right(user, password):
                    return Granted(user)
                await self._pause(terms.retry_delay_s)
                if dialog.progress.tries < terms.tries_max:
                    await dialog.send(f"{terms.refusal}\r\n".encode())
        except AnswerTooLong:
            pass
        except TimeoutError:
            return Undecided(
                Winerror.ERROR_TIMEOUT.code, user=user, attributes={"message": TIMED_OUT}
            )
        return Refused(user, attributes={"message": terms.refusal})

    async def _ask_name(self, dialog: Dialog, terms: Terms) -> bytes | None:
        """Return the name that the caller gives; None after too many empty lines.

        An empty line costs no try: many terminals send one to see whether somebody is there.
        """
        for _ in range(EMPTY_NAMES_MAX):
            name = await dialog.receive(
                terms.login_prompt, timeout_s=terms.answer_s, limit=USERNAME_BYTES_MAX
            )
            if name:
                return name
        return None

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


def _as_stored(name: bytes) -> str:
    """Return a typed name as it would be stored; empty if no user can be called that."""
    try:
        return normalize_name(name.decode())
    except (UnicodeDecodeError, UsageError):
        return ""
