"""Local users, with real argon2 at a low cost and a scripted caller."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from msgspec import structs

from auth_workers.authenticators import UNKNOWN_USER, Accepted, Login, Rejected, Result, Unavailable
from auth_workers.authenticators.local import Local
from auth_workers.hashing import HashingPool
from auth_workers.testing import TERMS, Caller
from auth_workers.verdict import Granted, Refused
from dialgate.codes import Winerror
from dialgate.errors import BackendUnavailable, StateError
from dialgate.passwords import Argon2, PasswordRules
from dialgate.users import User

CHEAP: Final = Argon2(memory_kib=8, passes=1)
DATE: Final = datetime(2026, 11, 22, tzinfo=UTC)
ANN: Final = User("ann", CHEAP.hash(b"secret"), disabled=False, created=DATE, changed=DATE)
BOB: Final = User("bob", CHEAP.hash(b"hunter2"), disabled=True, created=DATE, changed=DATE)
DAY: Final = timedelta(days=1)
RULES: Final = PasswordRules(length_min=8, classes_min=2, days_max=90)


class Hashing(HashingPool):
    """Counts what was checked against what."""

    def __init__(self) -> None:
        super().__init__(CHEAP, 1)
        self.checked: list[str] = []

    async def matches(self, password_hash: str, password: bytes) -> bool:
        self.checked.append(password_hash)
        return await super().matches(password_hash, password)


class Locked:
    """A ledger by which every user is locked."""

    async def charge(self, login: Login) -> Rejected:
        return Rejected(Winerror.ERROR_ACCOUNT_LOCKED_OUT.code)

    async def settle(self, login: Login, result: Result) -> Result:
        return result


class Site:
    """Local users on the bench."""

    def __init__(self, *users: User) -> None:
        self.users = {user.name: user for user in users}
        self.broken = False
        self.read_only = False
        self.rehashed: dict[str, str] = {}
        self.now = DATE
        self.hashing = Hashing()
        self.local = Local(self, self.hashing, RULES, clock=self.clock)

    def clock(self) -> float:
        return self.now.timestamp()

    async def find(self, name: str) -> User | None:
        if self.broken:
            raise StateError("/state.db: the state can't be used: disk I/O error")
        return self.users.get(name)

    async def replace_hash(self, user: User, password_hash: str) -> None:
        if self.read_only:
            raise StateError("read-only file system")
        self.rehashed[user.name] = password_hash

    async def change_password(self, user: User, password_hash: str) -> bool:
        if self.read_only:
            raise StateError("read-only file system")
        if self.users[user.name] != user:
            return False
        self.users[user.name] = replace(
            user, password_hash=password_hash, must_change=False, password_set=self.now
        )
        return True


@pytest.fixture
def site() -> Iterator[Site]:
    old = replace(ANN, name="old", valid_until=DATE)
    new = replace(ANN, name="new", valid_from=DATE + DAY)
    site = Site(ANN, BOB, old, new)
    yield site
    site.hashing.close()


async def test_the_right_password_is_accepted(site: Site) -> None:
    caller = Caller(b"secret")

    assert await caller.tries("ann", site.local) == Accepted("ann")
    assert caller.screen == b"Password: "


@pytest.mark.parametrize(
    ("name", "password"),
    [
        pytest.param("ann", b"sesame", id="wrong password"),
        pytest.param("eve", b"secret", id="unknown user"),
        pytest.param("bob", b"hunter2", id="disabled user, right password"),
        pytest.param("bob", b"sesame", id="disabled user, wrong password"),
        pytest.param("Ann", b"secret", id="another case"),
        pytest.param("ann", b"", id="empty password"),
    ],
)
async def test_nothing_tells_why_a_try_failed(site: Site, name: str, password: bytes) -> None:
    """One text, and one hash of the same cost for each guess."""
    caller = Caller(password)

    result = await caller.tries(name, site.local)

    assert isinstance(result, Rejected)
    assert (result.message, result.final) == ("", False)
    assert caller.screen == b"Password: "
    assert len(site.hashing.checked) == 1
    assert not CHEAP.is_outdated(site.hashing.checked[0])


async def test_a_state_that_does_not_answer_decides_nothing(site: Site) -> None:
    site.broken = True

    assert isinstance(await Caller(b"secret").tries("ann", site.local), Unavailable)


async def test_a_damaged_hash_decides_nothing(site: Site) -> None:
    site.users["ann"] = replace(ANN, password_hash="$argon2id$broken")

    assert isinstance(await Caller(b"secret").tries("ann", site.local), Unavailable)


async def test_an_outdated_hash_is_renewed_at_login(site: Site) -> None:
    dearer = Argon2(memory_kib=16, passes=1)
    site.users["ann"] = replace(ANN, password_hash=dearer.hash(b"secret"))

    assert await Caller(b"secret").tries("ann", site.local) == Accepted("ann")

    assert CHEAP.matches(site.rehashed["ann"], b"secret")
    assert not CHEAP.is_outdated(site.rehashed["ann"])


async def test_a_hash_that_cannot_be_renewed_does_not_keep_the_user_out() -> None:
    dearer = Argon2(memory_kib=16, passes=1)
    site = Site(replace(ANN, password_hash=dearer.hash(b"secret")))

    site.read_only = True

    assert await Caller(b"secret").tries("ann", site.local) == Accepted("ann")


async def test_no_hash_is_in_a_representation() -> None:
    assert ANN.password_hash not in repr(ANN)


# ------------------------------------------------------------------------- validity and roles


async def test_roles_are_the_policys_to_use(site: Site) -> None:
    site.users["ann"] = replace(ANN, roles=("field", "night"))

    assert await Caller(b"secret").tries("ann", site.local) == Accepted(
        "ann", roles=("field", "night")
    )


@pytest.mark.parametrize(("name", "shown"), [("ann", "ann"), ("bob", "bob"), ("eve", UNKNOWN_USER)])
async def test_a_locked_user_costs_the_same_work_as_a_wrong_password(
    site: Site, name: str, shown: str
) -> None:
    """Else the haste of a refusal would tell that the user is locked."""
    script = (name.encode(), b"sesame")
    one_try = structs.replace(TERMS, tries_max=1)
    refused = Refused(shown, attributes={"message": TERMS.refusal})

    assert await Caller(*script).meets(site.local, one_try) == refused
    assert await Caller(*script).meets(site.local, one_try, Locked()) == refused

    wrong, locked = site.hashing.checked
    assert wrong == locked


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"disabled": True}, Winerror.ERROR_ACCOUNT_DISABLED),
        ({"valid_until": DATE}, Winerror.ERROR_ACCOUNT_EXPIRED),
        ({"valid_from": DATE + DAY}, Winerror.ERROR_ACCOUNT_EXPIRED),
    ],
)
async def test_the_log_says_why_a_user_may_not_log_in(
    site: Site, change: dict[str, Any], code: Winerror
) -> None:
    site.users["ann"] = replace(ANN, **change)

    assert await Caller(b"secret").tries("ann", site.local) == Rejected(code.code)
    assert await Caller(b"sesame").tries("ann", site.local) == Rejected()


async def test_a_user_is_valid_from_the_first_moment_to_before_the_last(site: Site) -> None:
    site.users["ann"] = replace(ANN, valid_from=DATE, valid_until=DATE + DAY)

    for site.now, valid in (
        (DATE - DAY / 1000, False),
        (DATE, True),
        (DATE + DAY * 0.999, True),
        (DATE + DAY, False),
    ):
        result = await Caller(b"secret").tries("ann", site.local)
        assert isinstance(result, Accepted) is valid


# ------------------------------------------------------------------------------ new passwords

MUST: Final = replace(ANN, must_change=True)


async def test_who_must_change_his_password_is_asked_for_a_new_one_twice(site: Site) -> None:
    site.users["ann"] = MUST
    caller = Caller(b"ann", b"secret", b"battery 9", b"battery 9")

    assert await caller.meets(site.local) == Granted("ann")
    assert caller.screen == (
        b"login: Password: Your password must be changed\r\nNew password: Again: "
    )
    assert [question.echo for question in caller.questions[1:]] == ["off"] * 3
    assert not site.users["ann"].must_change
    assert await Caller(b"ann", b"battery 9").meets(site.local) == Granted("ann")
    assert await Caller(b"secret").tries("ann", site.local) == Rejected()


async def test_a_password_that_is_too_old_must_be_changed(site: Site) -> None:
    site.users["ann"] = replace(ANN, password_set=DATE)
    site.now = DATE + 90 * DAY - DAY / 1000
    assert await Caller(b"ann", b"secret").meets(site.local) == Granted("ann")

    site.now = DATE + 90 * DAY
    caller = Caller(b"ann", b"secret", b"battery 9", b"battery 9")
    assert await caller.meets(site.local) == Granted("ann")
    assert site.users["ann"].password_set == site.now


async def test_two_that_differ_are_asked_for_again(site: Site) -> None:
    site.users["ann"] = MUST
    caller = Caller(b"ann", b"secret", b"battery 9", b"batery 9", b"battery 9", b"battery 9")

    assert await caller.meets(site.local) == Granted("ann")
    assert b"The two passwords differ\r\nNew password: " in caller.screen


@pytest.mark.parametrize(
    ("unfit", "said"),
    [
        (b"secret", b"That is your old password"),
        (b"short 1", b"The password needs at least 8 characters"),
        (b"lowercase", b"The password needs 2 of: "),
        (b"I am Ann, 7", b"The password must not contain your name"),
        (b"", b"The password can't be typed at a prompt"),
        (b"tab\tulator", b"The password can't be typed at a prompt"),
    ],
)
async def test_an_unfit_password_is_not_taken(site: Site, unfit: bytes, said: bytes) -> None:
    site.users["ann"] = MUST
    caller = Caller(b"ann", b"secret", unfit, b"battery 9", b"battery 9")

    assert await caller.meets(site.local) == Granted("ann")
    assert said in caller.screen


async def test_who_chooses_no_fit_password_is_hung_up_on_and_keeps_the_old_one(
    site: Site,
) -> None:
    site.users["ann"] = MUST
    caller = Caller(b"ann", b"secret", b"1", b"2", b"3", b"ann", b"secret")

    verdict = await caller.meets(site.local)

    assert isinstance(verdict, Refused)
    assert verdict.attributes == {"message": "The password needs at least 8 characters"}
    assert len(caller.questions) == 5
    assert site.users["ann"] == MUST


async def test_nobody_changes_a_password_before_the_whole_chain_has_accepted(site: Site) -> None:
    """Who has stolen a password that must be changed doesn't get by the second factor with it."""
    site.users["ann"] = MUST
    caller = Caller(b"secret")

    assert isinstance(await caller.tries("ann", site.local), Accepted)
    assert caller.screen == b"Password: "


async def test_a_password_that_was_changed_meanwhile_stands(site: Site) -> None:
    site.users["ann"] = MUST
    caller = Caller(b"ann", b"secret", b"battery 9", b"battery 9")
    change = site.change_password

    async def too_late(user: User, password_hash: str) -> bool:
        site.users["ann"] = replace(MUST, password_hash="other")
        return await change(user, password_hash)

    site.change_password = too_late  # type: ignore[method-assign]

    assert isinstance(await caller.meets(site.local), Refused)
    assert site.users["ann"].password_hash == "other"


async def test_nobody_gets_in_with_a_password_that_could_not_be_stored(site: Site) -> None:
    site.users["ann"] = MUST
    site.read_only = True
    caller = Caller(b"ann", b"secret", b"battery 9", b"battery 9")

    with pytest.raises(BackendUnavailable):
        await caller.meets(site.local, TERMS)
