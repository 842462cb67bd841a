"""One try, judged by the policy that decides for whom the caller says he is.

Before each question the policies are looked at with all that is known by then: first the name that
the caller gave, and after the first authenticator that accepts him his roles.  What has been said
in a try stays said, so a policy that comes in late asks only whom it still misses.

Invariant: who is accepted is accepted by the chain of a policy of which every key matches him.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import structlog
from msgspec.structs import replace

from auth_workers.authenticators import (
    Accepted,
    Authenticator,
    Login,
    Rejected,
    Result,
    Unavailable,
    ask,
)
from dialgate.codes import Raserror
from dialgate.policy import Answer, Outcome, Rule, Situation, choose, next_step
from dialgate.settings import PolicySettings

__all__ = ["Judging"]

_NOT_FOR_HIM: Final = Rejected(Raserror.ERROR_NO_DIALIN_PERMISSION.code)

log = structlog.get_logger()


class Judging:
    """Judges the tries of one dialog.

    Args:
        policies: in the order of the configuration.
        rules: theirs.
        authenticators: by the names that policies use.
        door: the policy whose chain a caller meets for whom there is none, so that he notices
            nothing.
        situation: gives the facts of the call and the time.
        unavailable: counts, by name, who could not be asked.
    """

    def __init__(
        self,
        policies: Sequence[PolicySettings],
        rules: Sequence[Rule],
        authenticators: Mapping[str, Authenticator],
        door: PolicySettings,
        situation: Callable[[], Situation],
        unavailable: Counter[str],
    ) -> None:
        self.deciding = (0, door)
        """After a try was accepted: the policy by which, with its place in the file."""
        self.roles: frozenset[str] = frozenset()
        """After a try was accepted: the user's."""
        self._policies = policies
        self._rules = rules
        self._authenticators = authenticators
        self._door = door
        self._situation = situation
        self._unavailable = unavailable

    async def judge(self, login: Login) -> Result:
        """Return what a try comes to.

        Raises:
            TimeoutError, DialogEnded, DialogFault: of the dialog.
        """
        results: dict[str, Result] = {}
        while True:
            known = self._known(login)
            index = choose(self._rules, known)
            policy = self._door if index is None else self._policies[index]
            said = {name: _outcome(result) for name, result in results.items()}
            step = next_step(policy.chain, policy.authenticators, said)
            if not isinstance(step, str):
                break
            # Only where it is for him whatever becomes known: before his roles are, it may not be.
            sure = index is not None and self._rules[index].judge(known) is Answer.YES
            login.terms = replace(login.terms, break_glass=sure and policy.break_glass)
            results[step] = await self._ask(step, login)
        if step is not Outcome.ACCEPTED:
            last = [result for result in results.values() if _outcome(result) is step]
            return last[-1]
        if index is None:
            log.warning("no policy lets this user in", hport=login.dialog.hport, user=login.user)
            return _NOT_FOR_HIM
        self.deciding = (index, policy)
        return self._accepted(login)

    def _known(self, login: Login) -> Situation:
        """Return all that is known of the caller now."""
        if not login.accepted:
            return replace(self._situation(), user=login.user)
        roles = frozenset(role for accepted in login.accepted for role in accepted.roles)
        return replace(self._situation(), user=login.accepted[0].user, roles=roles)

    async def _ask(self, name: str, login: Login) -> Result:
        login.dialog.note(step=name)
        result = await ask(self._authenticators[name], login)
        match result:
            case Unavailable(reason):
                self._unavailable[name] += 1
                log.error("authenticator unavailable", authenticator=name, reason=reason)
            case Accepted() if login.accepted and result.user != login.accepted[0].user:
                log.error(
                    "authenticators name different users",
                    authenticator=name,
                    users=[login.accepted[0].user, result.user],
                )
                return Rejected()
            case Accepted():
                login.accepted.append(result)
            case Rejected():
                pass
        return result

    def _accepted(self, login: Login) -> Accepted:
        """Return what all who accepted the caller say of him; of two words the first stands."""
        self.roles = frozenset(role for accepted in login.accepted for role in accepted.roles)
        domains = [accepted.domain for accepted in login.accepted if accepted.domain]
        attributes = {
            name: value
            for accepted in reversed(login.accepted)
            for name, value in accepted.attributes.items()
        }
        return Accepted(
            user=login.accepted[0].user,
            domain=domains[0] if domains else "",
            roles=tuple(sorted(self.roles)),
            attributes=attributes,
        )


def _outcome(result: Result) -> Outcome:
    match result:
        case Accepted():
            return Outcome.ACCEPTED
        case Rejected():
            return Outcome.REFUSED
        case Unavailable():
            return Outcome.UNAVAILABLE
