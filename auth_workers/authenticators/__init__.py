"""Sources of truth about users, one module each.

An authenticator conducts a dialog and comes to a verdict.  It is stateless: what it needs of other
calls is in the cluster's state, and what it needs of this one in the dialog's cookie.  Refusing is
a verdict; an exception means that nothing was decided, and never counts against the user.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from auth_workers.dialog import Dialog
from auth_workers.verdict import Verdict

__all__ = ["Authenticator", "Terms"]


@dataclass(frozen=True, slots=True)
class Terms:
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


class Authenticator(Protocol):
    """Decides who a caller is."""

    async def authenticate(self, dialog: Dialog, terms: Terms) -> Verdict:
        """Ask the caller and return the verdict.

        A guess is asked for with `charge=True`, so that its try is used up before it is checked.

        Raises:
            BackendUnavailable: there is nobody to ask, so nothing is decided.
            TimeoutError, DialogEnded, DialogFault: of the dialog; let them pass.
        """
        ...
