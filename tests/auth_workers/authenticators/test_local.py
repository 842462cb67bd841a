"""Local users, with real argon2 at a low cost and a scripted caller."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

import pytest

from auth_workers.authenticators.local import EMPTY_NAMES_MAX, Local
from auth_workers.cookie import Progress
from auth_workers.dialog import DialogEnded
from auth_workers.hashing import HashingPool
from auth_workers.testing import TERMS, Caller, Event
from auth_workers.verdict import Granted, Refused, Undecided, Verdict
from dialgate.codes import Winerror
from dialgate.errors import BackendUnavailable, StateError
from dialgate.passwords import Argon2
from dialgate.users import User

CHEAP: Final = Argon2(memory_kib=8, passes=1)
DATE: Final = datetime(2026, 11, 22, tzinfo=UTC)
ANN: Final = User("ann", CHEAP.hash(b"secret"), disabled=False, created=DATE, changed=DATE)
BOB: Final = User("bob", CHEAP.hash(b"hunter2"), disabled=True, created=DATE, changed=DATE)
ZOE: Final = User("zo\u00eb", CHEAP.hash(b"secret"), disabled=False, created=DATE, changed=DATE)

REFUSED: Final = {"message": "Login incorrect"}


class Hashing(HashingPool):
    """Counts what was checked against what."""

    def __init__(self) -> None:
        super().__init__(CHEAP, 1)
        self.checked: list[str] = []

    async def matches(self, password_hash: str, password: bytes) -> bool:
        self.checked.append(password_hash)
        return await super().matches(password_hash, password)


class Site:
    """Local users on the bench."""

    def __init__(self, *users: User) -> None:
        self.users = {user.name: user for user in users}
        self.broken = False
        self.rehashed: dict[str, str] = {}
        self.pauses: list[float] = []
        self.hashing = Hashing()
        self.local = Local(self.find, self.rehash, self.hashing, pause=self.pause)

    async def find(self, name: str) -> User | None:
        if self.broken:
            raise StateError("/state.db: the state can't be used: disk I/O error")
        return self.users.get(name)

    async def rehash(self, user: User, password_hash: str) -> None:
        if self.broken:
            raise StateError("gone")
        self.rehashed[user.name] = password_hash

    async def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site(ANN, BOB, ZOE)
    yield site
    site.hashing.close()


async def test_the_right_password_is_granted_at_once(site: Site) -> None:
    caller = Caller(b"ann", b"secret")

    assert await caller.meets(site.local) == Granted("ann")
    assert caller.screen == b"login: Password: "
    assert site.pauses == []


async def test_the_password_is_not_echoed_and_the_name_is(site: Site) -> None:
    caller = Caller(b"ann", b"secret")
    await caller.meets(site.local)

    assert [question.echo for question in caller.questions] == ["on", "off"]
    assert [question.limit for question in caller.questions] == [256, 1024]
    assert [question.timeout_s for question in caller.questions] == [60, 60]


async def test_after_a_failed_try_there_is_a_pause_and_another_prompt(site: Site) -> None:
    caller = Caller(b"ann", b"sesame", b"ann", b"secret")

    verdict = await caller.meets(site.local, replace(TERMS, retry_delay_s=2.0))

    assert verdict == Granted("ann")
    assert site.pauses == [2.0]
    assert caller.screen == b"login: Password: Login incorrect\r\nlogin: Password: "


async def test_the_third_failed_try_is_the_last(site: Site) -> None:
    caller = Caller(b"ann", b"a", b"eve", b"b", b"ann", b"c", b"ann", b"secret")

    verdict = await caller.meets(site.local)

    assert verdict == Refused("ann", attributes=REFUSED)
    assert len(caller.questions) == 6
    assert caller.screen.count(b"Login incorrect") == 2  # The third is the last word.
    assert len(site.pauses) == 3


@pytest.mark.parametrize(
    ("name", "password"),
    [
        pytest.param(b"ann", b"sesame", id="wrong password"),
        pytest.param(b"eve", b"secret", id="unknown user"),
        pytest.param(b"bob", b"hunter2", id="disabled user, right password"),
        pytest.param(b"bob", b"sesame", id="disabled user, wrong password"),
        pytest.param(b"Ann", b"secret", id="another case"),
        pytest.param(b"ann ", b"secret", id="a space too many"),
        pytest.param(b"\xff\xfe", b"secret", id="no UTF-8"),
        pytest.param(b"a\x07b", b"secret", id="a control character"),
        pytest.param(b"ann", b"", id="empty password"),
    ],
)
async def test_nothing_tells_why_a_try_failed(site: Site, name: bytes, password: bytes) -> None:
    """One text, one pause, one hash of the same cost for each guess."""
    caller = Caller(name, password)

    verdict = await caller.meets(site.local, replace(TERMS, tries_max=1))

    assert isinstance(verdict, Refused)
    assert verdict.attributes == REFUSED
    assert caller.screen == b"login: Password: "
    assert len(site.pauses) == 1
    assert len(site.hashing.checked) == 1
    assert not CHEAP.is_outdated(site.hashing.checked[0])


async def test_a_name_is_found_in_whatever_spelling_it_is_typed(site: Site) -> None:
    assert await Caller("zoe\u0308".encode(), b"secret").meets(site.local) == Granted("zo\u00eb")


async def test_an_empty_name_is_asked_again_and_charges_nothing(site: Site) -> None:
    caller = Caller(b"", b"", b"ann", b"secret")

    assert await caller.meets(site.local) == Granted("ann")
    assert caller.dialog.progress.tries == 1


async def test_too_many_empty_names_are_refused(site: Site) -> None:
    caller = Caller(*[b""] * 20)

    assert await caller.meets(site.local) == Refused("", attributes=REFUSED)
    assert len(caller.questions) == EMPTY_NAMES_MAX
    assert site.hashing.checked == []


@pytest.mark.parametrize("script", [[Event.TYPE_ENDLESSLY], [b"ann", Event.TYPE_ENDLESSLY]])
async def test_an_endless_line_is_hung_up_on(site: Site, script: list[bytes | Event]) -> None:
    caller = Caller(*script)

    assert isinstance(await caller.meets(site.local), Refused)
    assert site.hashing.checked == []


async def test_a_name_of_257_bytes_is_not_cut_to_another_account(site: Site) -> None:
    """rashost.md, trap 9."""
    site.users["a" * 256] = replace(ANN, name="a" * 256)

    assert isinstance(await Caller(b"a" * 257, b"secret").meets(site.local), Refused)
    assert await Caller(b"a" * 256, b"secret").meets(site.local) == Granted("a" * 256)


@pytest.mark.parametrize(
    ("script", "user"), [([Event.SAY_NOTHING], ""), ([b"ann", Event.SAY_NOTHING], "ann")]
)
async def test_silence_is_an_error_and_no_refusal(
    site: Site, script: list[bytes | Event], user: str
) -> None:
    """rashost.md, trap 8."""
    timed_out: Verdict = Undecided(
        Winerror.ERROR_TIMEOUT.code, user, attributes={"message": "Login timed out"}
    )

    assert await Caller(*script).meets(site.local) == timed_out


async def test_a_state_that_does_not_answer_decides_nothing(site: Site) -> None:
    site.broken = True

    with pytest.raises(BackendUnavailable):
        await Caller(b"ann", b"secret").meets(site.local)


async def test_a_damaged_hash_decides_nothing(site: Site) -> None:
    site.users["ann"] = replace(ANN, password_hash="$argon2id$broken")

    with pytest.raises(BackendUnavailable):
        await Caller(b"ann", b"secret").meets(site.local)


@pytest.mark.parametrize("script", [[], [b"ann"], [b"ann", b"x"], [b"ann", b"x", b"ann"]])
async def test_a_caller_who_hangs_up_gets_no_verdict(site: Site, script: list[bytes]) -> None:
    with pytest.raises(DialogEnded):
        await Caller(*script).meets(site.local)


async def test_each_password_question_counts_its_answer_as_used(site: Site) -> None:
    """Protocol §6.6: the cookie of a RECEIVE counts that RECEIVE's answer."""
    caller = Caller(b"ann", b"x", b"ann", b"secret")
    await caller.meets(site.local)
    opened = [
        caller.cookies._sealer.open(question.cookie, caller.cookies._context)
        for question in caller.questions
    ]

    assert [content and content["tries"] for content in opened] == [0, 1, 1, 2]


async def test_a_killed_worker_gives_no_free_guess(site: Site) -> None:
    first = Caller(b"ann", b"x", b"ann")  # The worker dies while the second password is asked.
    with pytest.raises(DialogEnded):
        await first.meets(site.local)
    second = Caller(
        b"ann", b"y", b"ann", b"secret", attempt=2, seq=5, cookie=first.questions[-1].cookie
    )

    verdict = await second.meets(site.local)

    assert second.questions[0].prompt == b"login: "
    assert verdict == Refused("ann", attributes=REFUSED)
    assert len(second.questions) == 2


async def test_an_outdated_hash_is_renewed_at_login(site: Site) -> None:
    dearer = Argon2(memory_kib=16, passes=1)
    site.users["ann"] = replace(ANN, password_hash=dearer.hash(b"secret"))

    assert await Caller(b"ann", b"secret").meets(site.local) == Granted("ann")

    assert CHEAP.matches(site.rehashed["ann"], b"secret")
    assert not CHEAP.is_outdated(site.rehashed["ann"])


async def test_a_hash_that_cannot_be_renewed_does_not_keep_the_user_out() -> None:
    dearer = Argon2(memory_kib=16, passes=1)
    site = Site(replace(ANN, password_hash=dearer.hash(b"secret")))

    async def fail(_user: User, _password_hash: str) -> None:
        raise StateError("read-only file system")

    local = Local(site.find, fail, site.hashing, pause=site.pause)

    assert await Caller(b"ann", b"secret").meets(local) == Granted("ann")


async def test_no_password_is_in_a_representation(site: Site) -> None:
    caller = Caller(b"ann", b"secret")
    verdict = await caller.meets(site.local)

    shown = repr([verdict, caller.questions, caller.dialog, caller.dialog.progress, ANN])

    assert "secret" not in shown
    assert ANN.password_hash not in shown


def test_progress_starts_with_no_tries_used() -> None:
    assert Caller().dialog.progress == Progress()
