"""Which policy decides, and how it conducts a dialog."""

from __future__ import annotations

from typing import Any, Final

from auth_workers.authenticators import Accepted, Login, Rejected, Result, Terms, Unavailable
from auth_workers.cookie import Progress
from auth_workers.policy import NO_POLICY, NO_TRY_LEFT, Policies
from auth_workers.testing import Caller
from auth_workers.verdict import Granted, Refused, Undecided, Verdict
from dialgate.codes import Mprerror
from dialgate.settings import PolicySettings


class Stub:
    """An authenticator with a fixed answer; it notes the terms."""

    def __init__(self, result: Result | None = None) -> None:
        self.result = result or Unavailable("no answer from 192.0.2.1", SILENT)
        self.terms: Terms | None = None
        self.tries_used = -1

    async def authenticate(self, login: Login) -> Result:
        self.terms = login.terms
        self.tries_used = login.dialog.progress.tries
        await login.password()
        return self.result


SILENT: Final = Mprerror.ERROR_AUTH_SERVER_TIMEOUT.code
ANN: Final = Accepted("ann")


async def conducted(found: Policies, caller: Caller) -> Verdict:
    return await caller.goes_through(found.conduct(caller.dialog))


def ann(**fields: Any) -> Caller:
    """Return ann, who types what she is asked for."""
    return Caller(b"ann", b"secret", **fields)


def policies(*settings: PolicySettings, **stubs: Stub) -> Policies:
    return Policies(settings, stubs)


def policy(**fields: object) -> PolicySettings:
    return PolicySettings(**{"authenticators": ("local",), **fields})  # type: ignore[arg-type]


def test_the_first_policy_that_matches_decides() -> None:
    oslo = policy(sites=("oslo",), ports=("oslo/1*",))
    any_oslo = policy(sites=("oslo", "bergen"))
    rest = policy(sites=("*",), ports=("*/console",))
    found = policies(oslo, any_oslo, rest)

    assert found.find("oslo", "oslo/12") is oslo
    assert found.find("oslo", "oslo/2") is any_oslo
    assert found.find("bergen", "bergen/1") is any_oslo
    assert found.find("turku", "turku/console") is rest
    assert found.find("turku", "turku/1") is None


async def test_without_a_policy_nobody_gets_in_and_nobody_is_refused() -> None:
    local = Stub(ANN)
    found = policies(policy(sites=("bergen",)), local=local)

    assert await conducted(found, ann()) == Undecided(NO_POLICY)
    assert not NO_POLICY.ok
    assert found.misses == 1
    assert local.terms is None


async def test_prompts_tries_and_times_are_the_policys() -> None:
    local = Stub(ANN)
    set_up = policy(
        tries=2,
        login_timeout_s=30,
        retry_delay_s=1.5,
        login_prompt="user?\n",
        password_prompt="key? ",
        refusal="no",
    )

    await conducted(policies(set_up, local=local), ann())

    assert local.terms == Terms(
        tries_max=2,
        answer_s=30,
        retry_delay_s=1.5,
        login_prompt=b"user?\r\n",
        password_prompt=b"key? ",
        refusal="no",
    )


async def test_the_banner_is_shown_once_a_call() -> None:
    found = policies(policy(banner="Authorised\nuse only"), local=Stub(ANN))
    first, second = ann(), ann(attempt=2, seq=1)

    await conducted(found, first)
    await conducted(found, second)

    assert first.screen == b"Authorised\r\nuse only\r\nlogin: Password: "
    assert second.screen == b"login: Password: "


async def test_a_success_carries_what_the_policy_says_of_the_stay() -> None:
    set_up = policy(service="console", session_timeout_s=600, idle_timeout_s=60)
    local = Stub(Accepted("ann", "north", attributes={"idle_timeout_s": 5}))

    verdict = await conducted(policies(set_up, local=local), ann())

    assert verdict == Granted(
        "ann", "north", {"service": "console", "session_timeout_s": 600, "idle_timeout_s": 5}
    )


async def test_what_the_policy_leaves_open_is_left_to_the_port() -> None:
    assert await conducted(policies(policy(), local=Stub(ANN)), ann()) == Granted("ann")


async def test_a_refusal_is_final() -> None:
    chain = policy(authenticators=("local", "corp"), tries=1, retry_delay_s=0.0)
    corp = Stub(ANN)

    verdict = await conducted(policies(chain, local=Stub(Rejected()), corp=corp), ann())

    assert verdict == Refused("ann", attributes={"message": "Login incorrect"})
    assert corp.terms is None


async def test_the_next_authenticator_is_asked_when_one_cannot_be() -> None:
    found = policies(policy(authenticators=("corp", "local")), corp=Stub(), local=Stub(ANN))
    caller = ann()

    assert await conducted(found, caller) == Granted("ann")
    assert found.unavailable == {"corp": 1, "local": 0}
    assert caller.dialog.progress.step == "local"
    assert caller.screen == b"login: Password: "  # What was typed serves both.


async def test_when_none_can_be_asked_nothing_is_decided() -> None:
    found = policies(policy(authenticators=("corp", "local")), corp=Stub(), local=Stub())

    assert await conducted(found, ann()) == Undecided(SILENT, "ann")


async def test_a_lost_cookie_leaves_one_try() -> None:
    """T24: a broker sends attempt 9 with an empty cookie."""
    local = Stub(ANN)

    await conducted(policies(policy(tries=3), local=local), ann(attempt=9, seq=5))

    assert local.tries_used == 2


async def test_a_cookie_keeps_the_tries_used() -> None:
    local = Stub(ANN)
    cookie = Caller().cookies.seal(Progress(step="local", user="ann", tries=1))

    await conducted(policies(policy(), local=local), ann(attempt=2, seq=3, cookie=cookie))

    assert local.tries_used == 1


async def test_tries_that_lost_workers_used_up_are_an_error_and_no_refusal() -> None:
    local = Stub(ANN)
    cookie = Caller().cookies.seal(Progress(tries=3))
    caller = Caller(attempt=4, seq=9, cookie=cookie)

    assert await conducted(policies(policy(), local=local), caller) == Undecided(NO_TRY_LEFT)
    assert local.terms is None
