"""One-time codes and recovery codes: the second factor after any first (RFC 4226, RFC 6238).

Whose token is asked for is what the authenticator before this one said, or the name that the caller
gave.  Who has no token is asked all the same and rejected, so that the question tells nothing.

Invariant: a code gets one caller in, whatever number of workers check it at once; the cluster's
state decides which (`dialgate.one_time_codes`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

from auth_workers.authenticators import Accepted, Login, Rejected, Result
from auth_workers.kinds import Kind, Resources
from dialgate.errors import BackendUnavailable, StateError
from dialgate.one_time_codes import use_code
from dialgate.settings.authenticators import OneTimeCodeSettings

__all__ = ["KIND", "OneTimeCode"]

CODE_BYTES_MAX: Final = 64
"""Longest line that is taken: a recovery code with spaces."""


class OneTimeCode:
    """The tokens that `dialgate users otp` hands out.

    Args:
        use: uses up a user's code, as typed; says whether that gets him in.
        prompt: asks for the code.
    """

    def __init__(self, use: Callable[[str, str], Awaitable[bool]], prompt: bytes) -> None:
        self._use = use
        self._prompt = prompt

    async def authenticate(self, login: Login) -> Result:
        """Ask for a code and use it up.

        Raises:
            BackendUnavailable: the state can't be asked, so the code is not used.
            TryBarred: of the login.
            TimeoutError, DialogEnded, DialogFault: of the dialog.
        """
        user = login.accepted[-1].user if login.accepted else login.user
        code = await login.ask(self._prompt, limit=CODE_BYTES_MAX)
        try:
            right = await self._use(user, code.decode(errors="replace"))
        except StateError as error:
            raise BackendUnavailable(str(error)) from error
        return Accepted(user) if right else Rejected()


@asynccontextmanager
async def _open(
    _name: str, settings: OneTimeCodeSettings, resources: Resources
) -> AsyncIterator[OneTimeCode]:
    use = partial(use_code, resources.state, resources.codes)
    yield OneTimeCode(use, settings.prompt.encode())


KIND: Final = Kind(OneTimeCodeSettings, _open)
