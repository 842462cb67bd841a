"""Which policy decides, and how it conducts a dialog."""

from __future__ import annotations

from typing import Final

import pytest

from auth_workers.authenticators import Terms
from auth_workers.cookie import Progress
from auth_workers.dialog import Dialog
from auth_workers.policy import NO_POLICY, NO_TRY_LEFT, Policies
from auth_workers.testing import Caller
from auth_workers.verdict import Granted, Refused, Undecided, Verdict
from dialgate.errors import BackendUnavailable
from dialgate.settings import PolicySettings


class Stub:
    """An authenticator with a fixed verdict; it notes the terms."""

    def __init__(self, verdict: Verdict | None = None) -> None:
        self.verdict = verdict
        self.terms: Terms | None = None
        self.tries_used = -1

    async def authenticate(self, dialog: Dialog, terms: Terms) -> Verdict:
        self.terms = terms
        self.tries_used = dialog.progress.tries
        if self.verdict is None:
            raise BackendUnavailable("no answer from 192.0.2.1")
        return self.verdict


ANN: Final = Granted("ann")


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
    caller = Caller()

    assert await found.conduct(caller.dialog) == Undecided(NO_POLICY)
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

    await policies(set_up, local=local).conduct(Caller().dialog)

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
    first, second = Caller(), Caller(attempt=2, seq=1)

    await found.conduct(first.dialog)
    await found.conduct(second.dialog)

    assert first.screen == b"Authorised\r\nuse only\r\n"
    assert second.screen == b""


async def test_a_success_carries_what_the_policy_says_of_the_stay() -> None:
    set_up = policy(service="console", session_timeout_s=600, idle_timeout_s=60)
    local = Stub(Granted("ann", "north", {"idle_timeout_s": 5}))

    verdict = await policies(set_up, local=local).conduct(Caller().dialog)

    assert verdict == Granted(
        "ann", "north", {"service": "console", "session_timeout_s": 600, "idle_timeout_s": 5}
    )


async def test_what_the_policy_leaves_open_is_left_to_the_port() -> None:
    assert await policies(policy(), local=Stub(ANN)).conduct(Caller().dialog) == ANN


async def test_a_refusal_is_final() -> None:
    chain = policy(authenticators=("local", "corp"))
    corp = Stub(ANN)

    verdict = await policies(chain, local=Stub(Refused("ann")), corp=corp).conduct(Caller().dialog)

    assert verdict == Refused("ann")
    assert corp.terms is None


async def test_the_next_authenticator_is_asked_when_one_cannot_be() -> None:
    found = policies(policy(authenticators=("corp", "local")), corp=Stub(), local=Stub(ANN))
    caller = Caller()

    assert await found.conduct(caller.dialog) == ANN
    assert found.unavailable == {"corp": 1, "local": 0}
    assert caller.dialog.progress.step == "local"


async def test_when_none_can_be_asked_nothing_is_decided() -> None:
    found = policies(policy(authenticators=("corp", "local")), corp=Stub(), local=Stub())

    with pytest.raises(BackendUnavailable):
        await found.conduct(Caller().dialog)


async def test_a_lost_cookie_leaves_one_try() -> None:
    """T24: a broker sends attempt 9 with an empty cookie."""
    local = Stub(ANN)

    await policies(policy(tries=3), local=local).conduct(Caller(attempt=9, seq=5).dialog)

    assert local.tries_used == 2


async def test_a_cookie_keeps_the_tries_used() -> None:
    local = Stub(ANN)
    cookie = Caller().cookies.seal(Progress(step="local", user="ann", tries=1))

    await policies(policy(), local=local).conduct(Caller(attempt=2, seq=3, cookie=cookie).dialog)

    assert local.tries_used == 1


async def test_tries_that_lost_workers_used_up_are_an_error_and_no_refusal() -> None:
    local = Stub(ANN)
    cookie = Caller().cookies.seal(Progress(tries=3))
    caller = Caller(attempt=4, seq=9, cookie=cookie)

    assert await policies(policy(), local=local).conduct(caller.dialog) == Undecided(NO_TRY_LEFT)
    assert local.terms is None
