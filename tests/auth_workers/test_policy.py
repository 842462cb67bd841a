"""Which policy decides, and how it conducts a dialog."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec
import pytest

from auth_workers.authenticators import (
    UNKNOWN_USER,
    Accepted,
    Login,
    Rejected,
    Result,
    Terms,
    Unavailable,
)
from auth_workers.cookie import Progress
from auth_workers.policy import NO_POLICY, NO_TRY_LEFT, Policies
from auth_workers.testing import FACTS, Caller, Event
from auth_workers.verdict import Granted, Refused, Undecided, Verdict
from dialgate.codes import Mprerror, Winerror
from dialgate.errors import BackendUnavailable, StateError
from dialgate.settings import PolicySettings
from dialgate.user_sessions import UNBOUNDED_S, Session
from dialgate.wire.bodies import Facts


class Stub:
    """An authenticator with a fixed answer; it notes the terms."""

    def __init__(self, result: Result | None = None, prompt: bytes = b"") -> None:
        self.result = result or Unavailable("no answer from 192.0.2.1", SILENT)
        self.prompt = prompt
        self.asked = 0
        self.terms: Terms | None = None
        self.tries_used = -1

    async def authenticate(self, login: Login) -> Result:
        self.terms = login.terms
        self.tries_used = login.dialog.progress.tries
        self.asked += 1
        await (login.ask(self.prompt) if self.prompt else login.password())
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


async def test_the_first_policy_that_matches_decides() -> None:
    found = policies(
        policy(sites=("bergen",), service="bergen"),
        policy(sites=("oslo",), ports=("oslo/1",), service="first"),
        policy(service="rest"),
        local=Stub(ANN),
    )

    assert await conducted(found, ann()) == Granted("ann", "", {"service": "first"})


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

    assert verdict == Refused(UNKNOWN_USER, attributes={"message": "Login incorrect"})
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

    assert await conducted(found, ann()) == Undecided(SILENT, UNKNOWN_USER)


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


# ---------------------------------------------------------------- two stages


def facts(**changes: Any) -> Facts:
    return msgspec.structs.replace(FACTS, **changes)


async def test_the_name_that_a_caller_gives_leads_to_his_policy() -> None:
    glass, corp = Stub(Accepted("glass")), Stub(ANN)
    found = policies(
        policy(name="glass", users=("glass",), authenticators=("glass",)),
        policy(name="rest", authenticators=("corp",)),
        glass=glass,
        corp=corp,
    )

    first = await conducted(found, Caller(b"glass", b"secret"))
    second = await conducted(found, ann())

    assert (first, second) == (
        Granted("glass", "", {"policy": "glass"}),
        Granted("ann", "", {"policy": "rest"}),
    )
    assert (glass.asked, corp.asked) == (1, 1)


async def test_another_name_in_the_next_try_leads_to_another_policy() -> None:
    glass, corp = Stub(Rejected()), Stub(ANN)
    found = policies(
        policy(users=("glass",), authenticators=("glass",)),
        policy(authenticators=("corp",), retry_delay_s=0.0),
        glass=glass,
        corp=corp,
    )

    assert await conducted(found, Caller(b"glass", b"x", b"ann", b"y")) == Granted("ann")


async def test_roles_lead_to_the_policy_that_decides_and_what_it_misses_is_asked() -> None:
    local = Stub(Accepted("ann", roles=("admin",)))
    code = Stub(ANN, prompt=b"Code: ")
    found = policies(
        policy(roles=("admin",), chain="all", authenticators=("local", "code"), service="shell"),
        policy(service="console"),
        local=local,
        code=code,
    )
    admin = Caller(b"ann", b"secret", b"123456")

    assert await conducted(found, admin) == Granted(
        "ann", "", {"service": "shell", "roles": "admin"}
    )
    assert admin.screen == b"login: Password: Code: "

    local.result = Accepted("bob", roles=("guest",))
    guest = Caller(b"bob", b"secret")
    assert await conducted(found, guest) == Granted(
        "bob", "", {"service": "console", "roles": "guest"}
    )
    assert guest.screen == b"login: Password: "


async def test_words_and_tries_at_the_door_are_those_of_the_policy_for_everybody() -> None:
    found = policies(
        policy(users=("glass",), banner="emergencies", tries=1),
        policy(banner="welcome", tries=2, retry_delay_s=0.0, refusal="no"),
        local=Stub(Rejected()),
    )
    caller = Caller(b"glass", b"x", b"glass", b"y")

    assert await conducted(found, caller) == Refused(UNKNOWN_USER, attributes={"message": "no"})
    assert caller.screen == b"welcome\r\nlogin: Password: no\r\nlogin: Password: "


async def test_who_is_nobodys_notices_nothing_and_is_refused_after_his_password() -> None:
    local = Stub(ANN)
    found = policies(policy(users=("glass",), tries=1, retry_delay_s=0.0), local=local)
    caller = ann()

    assert await conducted(found, caller) == Refused(
        "ann", attributes={"message": "Login incorrect"}
    )
    assert caller.screen == b"login: Password: "


async def test_a_role_that_no_policy_wants_is_refused() -> None:
    found = policies(
        policy(roles=("admin",), tries=1, retry_delay_s=0.0),
        local=Stub(Accepted("ann", roles=("guest",))),
    )

    assert isinstance(await conducted(found, ann()), Refused)


async def test_the_hours_are_those_of_the_moment() -> None:
    clock = [datetime(2026, 11, 20, 21, 59, tzinfo=UTC)]
    found = Policies(
        [policy(hours=("22:00-06:00",), weekdays=("fri",))],
        {"local": Stub(ANN)},
        clock=lambda: clock[0],
    )

    assert await conducted(found, ann()) == Undecided(NO_POLICY)
    clock[0] += timedelta(minutes=1)
    assert await conducted(found, ann()) == Granted("ann")


async def test_a_policy_is_for_callers_and_called_numbers() -> None:
    found = policies(policy(callers=("5550*",), called=("800*",)), local=Stub(ANN))

    assert await conducted(found, ann(facts=facts(called="800100"))) == Granted("ann")
    assert await conducted(found, ann(facts=facts(called="900100"))) == Undecided(NO_POLICY)
    assert await conducted(found, ann(facts=facts(caller="", called="800100"))) == Undecided(
        NO_POLICY
    )


# ---------------------------------------------------------------- chains


async def test_first_admits_whom_any_of_them_accepts() -> None:
    chain = policy(chain="first", authenticators=("local", "corp"))

    assert await conducted(policies(chain, local=Stub(Rejected()), corp=Stub(ANN)), ann()) == (
        Granted("ann")
    )


async def test_first_decides_nothing_while_one_that_might_accept_is_away() -> None:
    chain = policy(chain="first", authenticators=("corp", "local"))

    assert await conducted(policies(chain, corp=Stub(), local=Stub(Rejected())), ann()) == (
        Undecided(SILENT, UNKNOWN_USER)
    )


async def test_all_must_accept() -> None:
    chain = policy(
        chain="all", authenticators=("local", "code"), tries=1, retry_delay_s=0.0, refusal="no"
    )
    code = Stub(Rejected(), prompt=b"Code: ")
    caller = Caller(b"ann", b"secret", b"000000")

    assert await conducted(policies(chain, local=Stub(ANN), code=code), caller) == Refused(
        "ann", attributes={"message": "no"}
    )
    assert caller.screen == b"login: Password: Code: "


async def test_a_second_factor_that_is_away_decides_nothing() -> None:
    chain = policy(chain="all", authenticators=("local", "code"))

    assert await conducted(policies(chain, local=Stub(ANN), code=Stub()), ann()) == (
        Undecided(SILENT, "ann")
    )


async def test_factors_of_two_users_admit_neither() -> None:
    chain = policy(chain="all", authenticators=("local", "code"), tries=1, retry_delay_s=0.0)
    found = policies(chain, local=Stub(ANN), code=Stub(Accepted("bob")))

    assert isinstance(await conducted(found, ann()), Refused)


async def test_of_two_factors_the_first_words_about_a_user_stand() -> None:
    chain = policy(chain="all", authenticators=("local", "corp"))
    local = Stub(Accepted("ann", "", ("a",), {"class": "1"}))
    corp = Stub(Accepted("ann", "NORTH", ("b",), {"class": "2", "filter": "x"}))

    assert await conducted(policies(chain, local=local, corp=corp), ann()) == Granted(
        "ann", "NORTH", {"class": "1", "filter": "x", "roles": "a b"}
    )


# ---------------------------------------------------------------- what a user gets


@pytest.mark.parametrize(
    ("caller", "admitted"), [("5550100", True), ("5550999", False), ("", False)]
)
async def test_a_number_that_is_required_is_looked_at_before_anything_is_asked(
    caller: str, admitted: bool
) -> None:
    found = policies(policy(required_callers=("55501*",), refusal="no"), local=Stub(ANN))
    dialog = ann(facts=facts(caller=caller))

    verdict = await conducted(found, dialog)

    assert isinstance(verdict, Granted) is admitted
    if not admitted:
        assert verdict == Refused("", attributes={"message": "no"})
        assert dialog.screen == b""
        assert found.unfit_numbers == 1


async def test_a_number_that_a_role_requires_is_looked_at_behind_the_login() -> None:
    found = policies(
        policy(roles=("admin",), required_callers=("1*",)),
        policy(),
        local=Stub(Accepted("ann", roles=("admin",))),
    )
    caller = ann()

    assert await conducted(found, caller) == Refused(
        "ann", attributes={"message": "Login incorrect"}
    )
    assert caller.screen == b"login: Password: "


def choice(**fields: Any) -> PolicySettings:
    return policy(services=("console",), role_services={"admin": ("shell", "rtu")}, **fields)


ADMIN: Final = Accepted("ann", roles=("admin",))


async def test_one_service_is_given_without_a_menu() -> None:
    assert await conducted(policies(choice(), local=Stub(ANN)), ann()) == Granted(
        "ann", "", {"service": "console"}
    )


@pytest.mark.parametrize("answer", [b"2", b"shell"])
async def test_of_several_services_the_caller_chooses_one(answer: bytes) -> None:
    caller = Caller(b"ann", b"secret", answer)

    assert await conducted(policies(choice(), local=Stub(ADMIN)), caller) == Granted(
        "ann", "", {"service": "shell", "roles": "admin"}
    )
    assert caller.screen.endswith(
        b"Password: \r\n  1  console\r\n  2  shell\r\n  3  rtu\r\nService: "
    )


async def test_a_wrong_choice_shows_the_menu_again_and_the_third_ends_the_call() -> None:
    undecided: Verdict = Undecided(
        Winerror.ERROR_CANCELLED.code, "ann", {"message": "No service was chosen"}
    )
    found = policies(choice(), local=Stub(ADMIN))
    hesitant = Caller(b"ann", b"secret", b"", b"9", b"3")

    assert await conducted(found, Caller(b"ann", b"secret", b"4", b"x", b"")) == undecided
    assert await conducted(found, Caller(b"ann", b"s", Event.TYPE_ENDLESSLY)) == undecided
    assert isinstance(await conducted(found, hesitant), Granted)
    assert hesitant.screen.count(b"Service: ") == 3


async def test_silence_at_the_menu_is_an_error_and_no_refusal() -> None:
    caller = Caller(b"ann", b"secret", Event.SAY_NOTHING)

    assert await conducted(policies(choice(), local=Stub(ADMIN)), caller) == Undecided(
        Winerror.ERROR_TIMEOUT.code, "ann", {"message": "Login timed out"}
    )


async def test_who_has_no_service_is_refused() -> None:
    found = policies(policy(role_services={"admin": ("shell",)}), local=Stub(ANN))

    assert await conducted(found, ann()) == Refused(
        "ann", attributes={"message": "There is no service for you"}
    )


async def test_a_service_that_the_authenticator_names_is_not_asked_for() -> None:
    local = Stub(Accepted("ann", roles=("admin",), attributes={"service": "ppp"}))

    assert await conducted(policies(choice(), local=local), ann()) == Granted(
        "ann", "", {"service": "ppp", "roles": "admin"}
    )


@pytest.mark.parametrize(("policys", "users", "holds"), [(60, 600, 60), (600, 60, 60), (0, 5, 5)])
async def test_of_two_limits_the_shorter_one_holds(policys: int, users: int, holds: int) -> None:
    local = Stub(Accepted("ann", attributes={"session_timeout_s": users}))

    assert await conducted(policies(policy(session_timeout_s=policys), local=local), ann()) == (
        Granted("ann", "", {"session_timeout_s": holds})
    )


class House:
    """Notes sessions, and has room for so many."""

    def __init__(self, room: int = 1) -> None:
        self.room = room
        self.sessions: list[tuple[Session, int]] = []

    async def claim(self, session: Session, sessions_max: int, now_s: int) -> bool:
        if self.room < 0:
            raise StateError("/state.db: the state can't be used: disk I/O error")
        self.sessions.append((session, sessions_max))
        self.room -= 1
        return self.room >= 0


def limited(house: House, **fields: Any) -> Policies:
    return Policies(
        [policy(sessions_max=2, **fields)],
        {"local": Stub(ANN)},
        claim=house.claim,
        clock=lambda: datetime.fromtimestamp(1000, UTC),
    )


async def test_a_user_has_as_many_sessions_as_his_policy_says() -> None:
    house = House(room=1)
    found = limited(house, session_timeout_s=600)

    assert isinstance(await conducted(found, ann()), Granted)
    assert house.sessions == [(Session("ann", "oslo-1", "oslo/1", bytes(16), 1600), 2)]
    assert await conducted(found, ann()) == Refused(
        "ann", attributes={"message": "You have as many sessions as you may have"}
    )
    assert found.sessions_refused == 1


async def test_a_session_without_a_limit_counts_for_a_week_at_most() -> None:
    house = House()
    await conducted(limited(house), ann())

    assert house.sessions[0][0].until_s == 1000 + UNBOUNDED_S


async def test_who_is_not_let_in_takes_no_session() -> None:
    house = House()
    found = limited(house, services=("a", "b"))

    await conducted(found, Caller(b"ann", b"secret", b"", b"", b""))

    assert house.sessions == []


async def test_sessions_that_cannot_be_counted_are_an_error_and_no_refusal() -> None:
    with pytest.raises(BackendUnavailable):
        await conducted(limited(House(room=-1)), ann())


async def test_where_no_policy_limits_sessions_none_is_noted() -> None:
    house = House()
    found = Policies([policy()], {"local": Stub(ANN)}, claim=house.claim)

    assert isinstance(await conducted(found, ann()), Granted)
    assert house.sessions == []


async def test_an_account_for_emergencies_is_known_before_its_try_is_checked_and_alarmed() -> None:
    local = Stub(Accepted("glass"))
    found = policies(
        policy(name="glass", users=("glass",), break_glass=True), policy(), local=local
    )

    verdict = await conducted(found, Caller(b"glass", b"secret"))

    assert verdict == Granted("glass", "", {"policy": "glass", "break_glass": True})
    assert local.terms is not None
    assert local.terms.break_glass
    local.result = ANN
    await conducted(found, ann())
    assert not local.terms.break_glass
    assert found.break_glass_logins == 1


async def test_nobody_is_checked_as_for_an_emergency_before_it_is_sure_that_he_is_for_it() -> None:
    local = Stub(Accepted("glass", roles=("glass",)))
    found = policies(
        policy(name="glass", roles=("glass",), break_glass=True), policy(), local=local
    )

    await conducted(found, Caller(b"glass", b"secret"))

    assert found.break_glass_logins == 1
    assert local.terms is not None
    assert not local.terms.break_glass
