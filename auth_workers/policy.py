"""Which policy a call falls under, and how a dialog is conducted by it.

The first policy that matches site and port decides.  Without one nobody gets in: the verdict is
ERROR, since no user was refused.  Each try is judged by the first of a policy's authenticators, and
by the next only when that can't be asked.

Invariant: a caller never gets more tries than his policy grants, over all workers; and one who has
used them up without a decision, because workers died, is not refused for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

import structlog
from msgspec.structs import replace

from auth_workers.authenticators import (
    Authenticator,
    Login,
    Result,
    Terms,
    Unavailable,
    ask,
)
from auth_workers.dialog import Dialog
from auth_workers.login import log_in
from auth_workers.verdict import Granted, Undecided, Verdict
from dialgate.codes import Mprerror, Raserror
from dialgate.settings import PolicySettings

__all__ = ["Policies"]

NO_POLICY: Final = Mprerror.ERROR_NO_AUTH_PROTOCOL_AVAILABLE.code
"""Verdict's code where no policy matches."""
NO_TRY_LEFT: Final = Raserror.ERROR_AUTH_INTERNAL.code
"""Verdict's code where workers died on every try."""

log = structlog.get_logger()


class Policies:
    """Conducts dialogs by the operator's policies.

    Args:
        policies: in the order of the configuration.
        authenticators: by the names that policies use.
    """

    def __init__(
        self, policies: Sequence[PolicySettings], authenticators: Mapping[str, Authenticator]
    ) -> None:
        self._policies = policies
        self._authenticators = authenticators
        self.misses = 0
        """Dialogs for which no policy matched."""
        self.unavailable: Counter[str] = Counter(dict.fromkeys(authenticators, 0))
        """Tries in which an authenticator could not be asked, by its name."""

    def find(self, site: str, hport: str) -> PolicySettings | None:
        """Return the policy for a port; None: there is none, so nobody gets in."""
        for policy in self._policies:
            if policy.matches(site, hport):
                return policy
        return None

    async def conduct(self, dialog: Dialog) -> Verdict:
        """Conduct `dialog` to its verdict.

        Raises:
            DialogEnded, DialogFault: of the dialog.
        """
        policy = self.find(dialog.facts.site, dialog.hport)
        if policy is None:
            self.misses += 1
            log.warning("no policy matches", site=dialog.facts.site, hport=dialog.hport)
            return Undecided(NO_POLICY)
        if dialog.progress.lost:
            # Without the cookie nobody knows how many are used: one try is left (protocol §6.6).
            used = max(dialog.progress.tries, policy.tries - 1)
            dialog.progress = replace(dialog.progress, tries=used, lost=False)
        if dialog.progress.tries >= policy.tries:
            return Undecided(NO_TRY_LEFT)
        if policy.banner and not dialog.resumed:
            await dialog.send(_shown(f"{policy.banner}\n"))
        verdict = await log_in(dialog, _terms(policy), lambda login: self._judge(policy, login))
        return _with_attributes(verdict, policy) if isinstance(verdict, Granted) else verdict

    async def _judge(self, policy: PolicySettings, login: Login) -> Result:
        """Return what the first of the policy's authenticators that can be asked says of a try."""
        result: Result = Unavailable("the policy has no authenticator")
        for name in policy.authenticators:
            login.dialog.note(step=name)
            result = await ask(self._authenticators[name], login)
            if not isinstance(result, Unavailable):
                break
            self.unavailable[name] += 1
            log.error("authenticator unavailable", authenticator=name, reason=result.reason)
        return result


def _terms(policy: PolicySettings) -> Terms:
    return Terms(
        tries_max=policy.tries,
        answer_s=policy.login_timeout_s,
        retry_delay_s=policy.retry_delay_s,
        login_prompt=_shown(policy.login_prompt),
        password_prompt=_shown(policy.password_prompt),
        refusal=policy.refusal,
    )


def _with_attributes(granted: Granted, policy: PolicySettings) -> Granted:
    """Add what the policy says of the stay; what the authenticator knows of this user stands."""
    given: dict[str, Any] = {
        "service": policy.service,
        "session_timeout_s": policy.session_timeout_s,
        "idle_timeout_s": policy.idle_timeout_s,
    }
    attributes = {name: value for name, value in given.items() if value}
    return Granted(granted.user, granted.domain, {**attributes, **granted.attributes})


def _shown(text: str) -> bytes:
    """Return `text` as the caller's terminal takes it."""
    return text.replace("\r\n", "\n").replace("\n", "\r\n").encode()
