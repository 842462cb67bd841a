"""How a dialog is conducted by the operator's policies, from the banner to the service.

A caller of whom nothing is known meets the words and tries of the policy at the door.  Whom he says
he is and what authenticators vouch for then lead to the policy that decides (`auth_workers.judging`
does that for each try), and that one says what he gets.  docs/policy.md tells it to operators, and
`dialgate policy explain` shows it for any call.

Invariants: without a policy that decides nobody gets in; a caller never gets more tries than the
policy at the door grants, over all workers; one who has used them up without a decision, because
workers died, is not refused for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import structlog
from msgspec.structs import replace

from auth_workers.authenticators import Authenticator, Measured, Terms
from auth_workers.dialog import AnswerTooLong, Dialog
from auth_workers.judging import Judging
from auth_workers.login import TIMED_OUT, Ledger, log_in
from auth_workers.verdict import Granted, Refused, Undecided, Verdict
from dialgate.codes import Mprerror, Raserror, Winerror
from dialgate.errors import BackendUnavailable, StateError
from dialgate.policy import (
    Answer,
    Situation,
    choose,
    choose_door,
    chosen_service,
    menu_text,
    offered_services,
)
from dialgate.settings import PolicySettings
from dialgate.user_sessions import UNBOUNDED_S, Session

__all__ = ["NO_POLICY", "NO_TRY_LEFT", "Policies"]

NO_POLICY: Final = Mprerror.ERROR_NO_AUTH_PROTOCOL_AVAILABLE.code
"""Verdict's code where no policy matches."""
NO_TRY_LEFT: Final = Raserror.ERROR_AUTH_INTERNAL.code
"""Verdict's code where workers died on every try."""
NO_SERVICE_CHOSEN: Final = Winerror.ERROR_CANCELLED.code
"""Verdict's code where the caller chose nothing that there is."""
TOO_MANY_SESSIONS: Final = "You have as many sessions as you may have"
MENU_TRIES: Final = 3
"""Answers to the menu before the line is hung up."""
MENU_ANSWER_BYTES_MAX: Final = 64
"""The longest name of a service."""

Claim = Callable[[Session, int, int], Awaitable[bool]]
"""Notes a session, given how many the user may have and the time: `claim_session` on a state."""

log = structlog.get_logger()


class Policies:
    """Conducts dialogs by the operator's policies.

    Args:
        policies: in the order of the configuration.
        authenticators: by the names that policies use.
        ledger: counts tries beyond the call.
        claim: notes sessions of users; None where nobody counts them.
        log_unknown_users: whether names that may be nobody's stand in logs and records.
        clock: the time of day, with a time zone.
    """

    def __init__(
        self,
        policies: Sequence[PolicySettings],
        authenticators: Mapping[str, Authenticator],
        ledger: Ledger | None = None,
        *,
        claim: Claim | None = None,
        log_unknown_users: bool = False,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.measured = [each for each in authenticators.values() if isinstance(each, Measured)]
        """Those that have figures of their own for /metrics."""
        self.misses = 0
        """Dialogs for which no policy matched."""
        self.unavailable: Counter[str] = Counter(dict.fromkeys(authenticators, 0))
        """Tries in which an authenticator could not be asked, by its name."""
        self.unfit_numbers = 0
        """Callers refused because of the number that they called from."""
        self.sessions_refused = 0
        """Users who had as many sessions as they may."""
        self.break_glass_logins = 0
        """Users admitted by a policy for emergencies."""
        self._policies = policies
        self._rules = [policy.rule() for policy in policies]
        self._authenticators = authenticators
        self._ledger = ledger
        self._clock = clock
        self._claim = claim
        self._log_unknown_users = log_unknown_users
        self._limits_sessions = any(policy.sessions_max for policy in policies)

    async def conduct(self, dialog: Dialog) -> Verdict:
        """Conduct `dialog` to its verdict.

        Raises:
            DialogEnded, DialogFault: of the dialog.
        """
        situation = self._situation(dialog)
        index = choose_door(self._rules, situation)
        if index is None:
            self.misses += 1
            log.warning("no policy matches", site=dialog.facts.site, hport=dialog.hport)
            return Undecided(NO_POLICY)
        door = self._policies[index]
        if self._is_unfit_whoever_calls(situation):
            return self._refuse_number(dialog, door)
        if dialog.progress.lost:
            # Without the cookie nobody knows how many are used: one try is left (protocol §6.6).
            used = max(dialog.progress.tries, door.tries - 1)
            dialog.progress = replace(dialog.progress, tries=used, lost=False)
        if dialog.progress.tries >= door.tries:
            return Undecided(NO_TRY_LEFT)
        if door.banner and not dialog.resumed:
            await dialog.send(_shown(f"{door.banner}\n"))
        judging = Judging(
            self._policies,
            self._rules,
            self._authenticators,
            door,
            lambda: self._situation(dialog),
            self.unavailable,
        )
        terms = _terms(door, log_unknown_users=self._log_unknown_users)
        verdict = await log_in(dialog, terms, judging.judge, ledger=self._ledger)
        if not isinstance(verdict, Granted):
            return verdict
        return await self._admit(dialog, verdict, judging)

    def _situation(self, dialog: Dialog) -> Situation:
        facts = dialog.facts
        return Situation(facts.site, dialog.hport, facts.caller, facts.called, self._clock())

    def _is_unfit_whoever_calls(self, situation: Situation) -> bool:
        """Return whether the number is wrong by a policy that decides for everybody."""
        index = choose(self._rules, situation)
        if index is None or self._rules[index].judge(situation) is not Answer.YES:
            return False
        return self._policies[index].requires_another_number(situation.caller)

    def _refuse_number(self, dialog: Dialog, policy: PolicySettings, user: str = "") -> Refused:
        self.unfit_numbers += 1
        log.warning("number not allowed", hport=dialog.hport, caller=dialog.facts.caller, user=user)
        return Refused(user, attributes={"message": policy.refusal})

    # Behind the login.

    async def _admit(self, dialog: Dialog, granted: Granted, judging: Judging) -> Verdict:
        """Give an authenticated user what the policy that decides has for him."""
        index, policy = judging.deciding
        if policy.requires_another_number(dialog.facts.caller):
            return self._refuse_number(dialog, policy, granted.user)
        service = granted.attributes.get("service")
        if not isinstance(service, str):
            service = await self._choose_service(dialog, granted.user, policy, judging.roles)
            if not isinstance(service, str):
                return service
        if not await self._has_room(dialog, granted, policy):
            return Refused(granted.user, attributes={"message": TOO_MANY_SESSIONS})
        name = policy.name or f"policies[{index}]"
        log.info("admitted", hport=dialog.hport, user=granted.user, policy=name, service=service)
        if policy.break_glass:
            self.break_glass_logins += 1
            log.critical(
                "break-glass account used", hport=dialog.hport, user=granted.user, policy=name
            )
        return _with_attributes(granted, policy, service, judging.roles)

    async def _has_room(self, dialog: Dialog, granted: Granted, policy: PolicySettings) -> bool:
        """Note the user's session; return whether he may have it.

        Raises:
            BackendUnavailable: the state can't be asked.
        """
        if self._claim is None or not self._limits_sessions:
            return True
        now_s = int(self._clock().timestamp())
        session = Session(
            user=granted.user,
            agent=dialog.facts.agent,
            hport=dialog.hport,
            call=dialog.call,
            until_s=now_s + (_limit(granted, policy, "session_timeout_s") or UNBOUNDED_S),
        )
        try:
            has_room = await self._claim(session, policy.sessions_max, now_s)
        except StateError as error:
            raise BackendUnavailable(str(error)) from error
        if not has_room:
            self.sessions_refused += 1
            log.warning("too many sessions", hport=dialog.hport, user=granted.user)
        return has_room

    async def _choose_service(
        self, dialog: Dialog, user: str, policy: PolicySettings, roles: frozenset[str]
    ) -> str | Verdict:
        """Return the user's service, empty for the port's own; a verdict if there is none."""
        if not policy.offers_a_service():
            return policy.service
        services = offered_services(policy.services, policy.role_services, roles)
        if not services:
            log.warning("no service for this user", hport=dialog.hport, user=user)
            return Refused(user, attributes={"message": "There is no service for you"})
        if len(services) == 1:
            return services[0]
        try:
            return await _ask_for_service(dialog, services, policy) or Undecided(
                NO_SERVICE_CHOSEN, user, {"message": "No service was chosen"}
            )
        except TimeoutError:
            return Undecided(Winerror.ERROR_TIMEOUT.code, user, {"message": TIMED_OUT})


async def _ask_for_service(
    dialog: Dialog, services: Sequence[str], policy: PolicySettings
) -> str | None:
    """Show the menu and return what the caller chooses; None after too many other answers."""
    menu = _shown("\n" + menu_text(services))
    for _ in range(MENU_TRIES):
        try:
            answer = await dialog.receive(
                menu + _shown(policy.service_prompt),
                timeout_s=policy.login_timeout_s,
                limit=MENU_ANSWER_BYTES_MAX,
            )
        except AnswerTooLong:
            return None
        if (service := chosen_service(services, answer.decode(errors="replace"))) is not None:
            return service
    return None


def _terms(policy: PolicySettings, *, log_unknown_users: bool) -> Terms:
    return Terms(
        tries_max=policy.tries,
        answer_s=policy.login_timeout_s,
        retry_delay_s=policy.retry_delay_s,
        login_prompt=_shown(policy.login_prompt),
        password_prompt=_shown(policy.password_prompt),
        refusal=policy.refusal,
        log_unknown_users=log_unknown_users,
    )


def _with_attributes(
    granted: Granted, policy: PolicySettings, service: str, roles: frozenset[str]
) -> Granted:
    """Add what the policy says of the stay; of two limits the shorter one holds."""
    attributes: dict[str, Any] = dict(granted.attributes)
    for name in ("session_timeout_s", "idle_timeout_s"):
        if limit := _limit(granted, policy, name):
            attributes[name] = limit
    given = {
        "service": service,
        "policy": policy.name,
        "roles": " ".join(sorted(roles)),
        "break_glass": policy.break_glass,
    }
    attributes.update((name, value) for name, value in given.items() if value)
    return Granted(granted.user, granted.domain, attributes)


def _limit(granted: Granted, policy: PolicySettings, name: str) -> int:
    """Return the shorter of what the policy and the authenticator say; 0: neither says anything."""
    limits = (getattr(policy, name), granted.attributes.get(name))
    return min((limit for limit in limits if isinstance(limit, int) and limit > 0), default=0)


def _shown(text: str) -> bytes:
    """Return `text` as the caller's terminal takes it."""
    return text.replace("\r\n", "\n").replace("\n", "\r\n").encode()
