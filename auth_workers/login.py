"""One login from the name's prompt to the verdict: tries, pauses and what the caller is told.

RFC 2196 §4.5.4: a pause after a failed try, hang-up after the last, and one text that never says
whether name or password was wrong.  Who judges a try is not decided here.

After a worker was lost the caller is asked for his name again; the tries that he used stay used.
Invariant: each turn uses a try up, whatever the authenticator asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

import structlog

from auth_workers.authenticators import (
    Accepted,
    Login,
    Rejected,
    Result,
    Terms,
    TryBarred,
    Unavailable,
)
from auth_workers.dialog import AnswerTooLong, Dialog
from auth_workers.verdict import Granted, Refused, Undecided, Verdict
from dialgate.codes import Winerror, describe
from dialgate.errors import UsageError
from dialgate.users import normalize_name
from dialgate.wire.limits import USERNAME_BYTES_MAX

__all__ = ["EMPTY_NAMES_MAX", "TIMED_OUT", "Judge", "Ledger", "log_in"]

EMPTY_NAMES_MAX: Final = 10
"""Times that a caller may answer the name's prompt with an empty line before he is hung up on."""
TIMED_OUT: Final = "Login timed out"
"""Said before the hang-up when an answer did not come in time."""

Judge = Callable[[Login], Awaitable[Result]]
"""Judges one try: an authenticator, or a policy's chain of them."""

log = structlog.get_logger()


class Ledger(Protocol):
    """Counts tries beyond this call; `auth_workers.charging` has the one in the cluster's state."""

    async def charge(self, login: Login) -> Rejected | Unavailable | None:
        """Charge the try; None: its guess may be checked."""
        ...

    async def settle(self, login: Login, result: Result) -> Result:
        """Take note of what a charged try came to; return that, or that it can't be noted."""
        ...


async def log_in(
    dialog: Dialog,
    terms: Terms,
    judge: Judge,
    *,
    ledger: Ledger | None = None,
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Verdict:
    """Ask for a name and have each try judged, until one is accepted or the tries are used up.

    A line that is longer than a name or password can be is nobody's typing: hang up.  A caller
    who says nothing has decided nothing: ERROR, and no refusal of the user he named.

    Raises:
        DialogEnded, DialogFault: of the dialog.
    """
    user, said = "", terms.refusal
    try:
        while dialog.progress.tries < terms.tries_max:
            typed = await _ask_name(dialog, terms)
            if typed is None:
                break
            name = _as_stored(typed)
            login = Login(dialog, name, terms, ledger.charge if ledger else None)
            user = login.shown_user
            dialog.note(user=user)
            result = await _judged(login, judge if name else _reject_unnamed, ledger)
            user = login.shown_user
            dialog.note(user=user)
            if not isinstance(result, Rejected):
                return _verdict(result, user)
            _take_note(result, login)
            said = result.message or terms.refusal
            await pause(terms.retry_delay_s)
            if result.final:
                break
            if dialog.progress.tries < terms.tries_max:
                await dialog.send(f"{said}\r\n".encode())
    except AnswerTooLong:
        pass
    except TimeoutError:
        return Undecided(Winerror.ERROR_TIMEOUT.code, user, {"message": TIMED_OUT})
    return Refused(user, attributes={"message": said})


async def _judged(login: Login, judge: Judge, ledger: Ledger | None) -> Result:
    """Return what a try has come to, with everything that had to be done about it."""
    try:
        result = await judge(login)
    except TryBarred:
        result = Unavailable("an authenticator said TryBarred of itself")
    result = login.barred or result  # Whatever somebody made of it: a guess that was not charged.
    if ledger is not None:
        result = await ledger.settle(login, result)
    if isinstance(result, Accepted):
        for work in login.afterwards:
            if (rejected := await work()) is not None:
                return rejected
    return result


def _verdict(result: Accepted | Unavailable, user: str) -> Verdict:
    if isinstance(result, Accepted):
        return Granted(result.user, result.domain, result.attributes)
    return Undecided(result.code, user)


def _take_note(rejected: Rejected, login: Login) -> None:
    """Log a failed try, and use it up if no question did."""
    dialog = login.dialog
    if not login.charged:
        dialog.charge()
    log.info(
        "try failed",
        hport=dialog.hport,
        caller=dialog.facts.caller,
        user=login.shown_user,
        code=describe(rejected.code),
    )


async def _ask_name(dialog: Dialog, terms: Terms) -> bytes | None:
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


async def _reject_unnamed(login: Login) -> Result:
    """Reject a name that nobody can have, as one that nobody has: after the password."""
    await login.password()
    return Rejected()


def _as_stored(name: bytes) -> str:
    """Return a typed name as it would be stored; empty if no user can be called that."""
    try:
        return normalize_name(name.decode())
    except (UnicodeDecodeError, UsageError):
        return ""
