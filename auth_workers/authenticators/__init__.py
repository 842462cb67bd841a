"""Sources of truth about users, one module each, and the interface that third parties write for.

An authenticator judges one try of a caller: `authenticate` asks what it needs to know and says
accepted, rejected or unavailable.  The name is asked, tries are counted and pauses are made before
and around it (`auth_workers.login`), and which authenticators a caller meets is the policy's.

It keeps nothing between calls: what it needs of other calls is in the cluster's state.  Invariant:
"unavailable" is neither "rejected" nor "accepted"; whatever an authenticator raises is an ERROR
for the caller and never counts against the user.  docs/authenticators.md has a worked example.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol, runtime_checkable

from msgspec import Struct
from prometheus_client.metrics_core import Metric

from auth_workers.dialog import Dialog
from dialgate.codes import Code, Raserror, Winerror
from dialgate.errors import BackendUnavailable
from dialgate.passwords import PASSWORD_BYTES_MAX

__all__ = [
    "UNKNOWN_USER",
    "Accepted",
    "Authenticator",
    "Charge",
    "Login",
    "Measured",
    "Rejected",
    "Result",
    "Terms",
    "TryBarred",
    "Unavailable",
    "ask",
]

UNKNOWN_USER: Final = "(unknown)"
"""Stands in logs and records for a name that is perhaps nobody's: people type passwords there."""


class Terms(Struct, frozen=True):
    """What the policy grants a caller and how he is spoken to; texts are as shown."""

    tries_max: int
    """Guesses in one call, over all its workers; `dialog.progress.tries` counts them."""
    answer_s: int
    """Time for each answer."""
    retry_delay_s: float
    """Pause after a failed try."""
    login_prompt: bytes
    password_prompt: bytes
    refusal: str
    """Said after every failed try, whatever was wrong."""
    break_glass: bool = False
    """Whether he is let in when the state that counts tries can't be asked, and when his tries from
    elsewhere have locked him."""
    log_unknown_users: bool = False
    """Whether logs and records have the names that callers give, be they anybody's or not."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The caller is whom he says he is."""

    user: str
    """Never empty; at most 256 bytes of UTF-8.  Mostly `login.user`."""
    domain: str = ""
    roles: tuple[str, ...] = ()
    """What the policy may choose a service by."""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    """Of COMPLETE: service, session_timeout_s, idle_timeout_s, callback_number, message, class …"""


@dataclass(frozen=True, slots=True)
class Rejected:
    """The caller is not whom he says he is, or may not."""

    code: Code = Winerror.ERROR_LOGON_FAILURE.code
    """Why, for the log; the caller isn't told."""
    message: str = ""
    """Said to the caller instead of the policy's one text.  Empty is best: it tells nothing."""
    final: bool = False
    """No further try in this call."""


@dataclass(frozen=True, slots=True)
class Unavailable:
    """Nobody could be asked, so nothing is decided; raising `BackendUnavailable` says the same."""

    reason: str
    """One line for the log: what, where, how to mend.  No answer of the caller."""
    code: Code = Raserror.ERROR_AUTH_INTERNAL.code
    """Of the verdict; never 0."""


Result = Accepted | Rejected | Unavailable


class TryBarred(Exception):
    """A guess must not be checked: `Login.barred` says what its try has come to.  Let it pass."""


class Login:
    """One try of a caller: the name that he gave, and what he is asked about it.

    Several authenticators may judge the same try.  Invariants: a try's first question uses it up
    before its answer is known, and its answer is charged to the user before anybody sees it; the
    password is asked for once.

    Args:
        dialog: to ask him through.
        user: as typed, in the spelling in which names are stored (`dialgate.users`).
        terms: the policy's.
        charge: charges the try; None where nobody counts.
    """

    __slots__ = (
        "_charge",
        "_password",
        "accepted",
        "afterwards",
        "barred",
        "charged",
        "dialog",
        "known",
        "terms",
        "ticket",
        "user",
    )

    def __init__(
        self, dialog: Dialog, user: str, terms: Terms, charge: Charge | None = None
    ) -> None:
        self.dialog = dialog
        self.user = user
        self.terms = terms
        self.accepted: list[Accepted] = []
        """What authenticators that were asked before said, where all of a chain must accept."""
        self.charged = False
        """Whether this try is used up."""
        self.known = False
        """Whether there is a user of this name, as far as was found out; who finds out sets it."""
        self.ticket: object = None
        """What whoever charged the try knows it by."""
        self.barred: Rejected | Unavailable | None = None
        """What the try has come to without being checked."""
        self.afterwards: list[Callable[[], Awaitable[Rejected | None]]] = []
        """What is to be done once all of the chain have accepted, as choosing a new password; it
        may still reject."""
        self._charge = charge
        self._password: bytes | None = None

    @property
    def shown_user(self) -> str:
        """The name for logs and records; `UNKNOWN_USER` where it may be a misplaced password."""
        may_stand = self.known or self.accepted or self.terms.log_unknown_users or not self.user
        return self.user if may_stand else UNKNOWN_USER

    async def password(self) -> bytes:
        """Return the caller's password, which he is asked for once a try, with the policy's prompt.

        Raises:
            TimeoutError, DialogEnded, DialogFault: of the dialog; let them pass.
        """
        if self._password is None:
            self._password = await self.ask(self.terms.password_prompt)
        return self._password

    async def ask(
        self,
        prompt: bytes,
        *,
        echo: Literal["on", "off", "mask"] = "off",
        limit: int = PASSWORD_BYTES_MAX,
        timeout_s: int | None = None,
    ) -> bytes:
        """Ask for a password, a code, the answer to a challenge; the first uses the try up.

        Args:
            prompt: shown unchanged.
            echo: what the caller sees of his answer.
            limit: most bytes of the answer.
            timeout_s: for an answer that must come sooner than the policy asks.

        Raises:
            TryBarred: the answer must not be checked; let it pass.
            TimeoutError, DialogEnded, DialogFault: of the dialog; let them pass.
        """
        if self.barred is not None:
            raise TryBarred
        answer_s = min(timeout_s or self.terms.answer_s, self.terms.answer_s)
        first, self.charged = not self.charged, True
        answer = await self.dialog.receive(
            prompt, echo=echo, timeout_s=answer_s, limit=limit, charge=first
        )
        if first and self._charge is not None:
            self.barred = await self._charge(self)
            if self.barred is not None:
                raise TryBarred
        return answer


Charge = Callable[[Login], Awaitable[Rejected | Unavailable | None]]
"""Charges a try; None: its guess may be checked."""


class Authenticator(Protocol):
    """Decides whether a caller is whom he says he is."""

    async def authenticate(self, login: Login) -> Result:
        """Judge one try.

        Secrets are asked for with `login.password` and `login.ask`, so that the try is used up
        before the guess is checked; `login.dialog.send` shows what is no question.  An End cancels
        the task wherever it waits.

        Raises:
            BackendUnavailable: as `Unavailable`.
            TryBarred: of the login; let it pass.
            TimeoutError, DialogEnded, DialogFault: of the dialog; let them pass.
        """
        ...


@runtime_checkable
class Measured(Protocol):
    """An authenticator with figures of its own for /metrics."""

    def collect(self) -> Iterable[Metric]:
        """Yield them as prometheus_client's families; names begin with dialgate_worker_."""
        ...


async def ask(authenticator: Authenticator, login: Login) -> Result:
    """Return what `authenticator` says of a try, one that can't be asked included.

    Raises:
        TryBarred: of the login.
        TimeoutError, DialogEnded, DialogFault: of the dialog.
    """
    try:
        return await authenticator.authenticate(login)
    except BackendUnavailable as error:
        return Unavailable(str(error))
