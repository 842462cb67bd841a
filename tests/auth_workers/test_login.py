"""Tries, pauses and words of a login, with a scripted caller and an authenticator with one user."""

from __future__ import annotations

from contextlib import suppress
from typing import Final

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from auth_workers.authenticators import (
    UNKNOWN_USER,
    Accepted,
    Login,
    Rejected,
    Result,
    Unavailable,
)
from auth_workers.cookie import Progress
from auth_workers.dialog import DialogEnded
from auth_workers.login import EMPTY_NAMES_MAX
from auth_workers.testing import TERMS, Caller, Event
from auth_workers.verdict import Granted, Refused, Undecided, Verdict
from dialgate.codes import Mprerror, Winerror
from dialgate.errors import BackendUnavailable

REFUSED: Final = {"message": "Login incorrect"}


class Door:
    """Opens to ann's secret; notes whom it was asked about."""

    def __init__(self, otherwise: Result | None = None) -> None:
        self.asked: list[str] = []
        self._otherwise = otherwise or Rejected()

    async def authenticate(self, login: Login) -> Result:
        self.asked.append(login.user)
        password = await login.password()
        login.known |= login.user == "ann"
        if (login.user, password) == ("ann", b"secret"):
            return Accepted("ann", "north", attributes={"class": "a"})
        return self._otherwise


class Silent:
    """Rejects everybody and asks nothing."""

    async def authenticate(self, login: Login) -> Result:
        return Rejected()


class Thorough:
    """Asks for three things in one try."""

    async def authenticate(self, login: Login) -> Result:
        answers = [await login.password(), await login.password()]
        answers.append(await login.ask(b"Colour? ", echo="on", limit=8))
        return Accepted(b"-".join(answers).decode())


async def test_who_is_accepted_is_granted_at_once() -> None:
    caller = Caller(b"ann", b"secret")

    assert await caller.meets(Door()) == Granted("ann", "north", {"class": "a"})
    assert caller.screen == b"login: Password: "
    assert caller.pauses == []


async def test_the_password_is_not_echoed_and_the_name_is() -> None:
    caller = Caller(b"ann", b"secret")
    await caller.meets(Door())

    assert [question.echo for question in caller.questions] == ["on", "off"]
    assert [question.limit for question in caller.questions] == [256, 1024]
    assert [question.timeout_s for question in caller.questions] == [60, 60]


async def test_after_a_failed_try_there_is_a_pause_and_another_prompt() -> None:
    caller = Caller(b"ann", b"sesame", b"ann", b"secret")

    assert isinstance(await caller.meets(Door()), Granted)
    assert caller.pauses == [2.0]
    assert caller.screen == b"login: Password: Login incorrect\r\nlogin: Password: "


async def test_the_third_failed_try_is_the_last() -> None:
    caller = Caller(b"ann", b"a", b"eve", b"b", b"ann", b"c", b"ann", b"secret")

    verdict = await caller.meets(Door())

    assert verdict == Refused("ann", attributes=REFUSED)
    assert len(caller.questions) == 6
    assert caller.screen.count(b"Login incorrect") == 2  # The third is the last word.
    assert len(caller.pauses) == 3


async def test_a_final_refusal_leaves_no_try() -> None:
    caller = Caller(b"ann", b"a", b"ann", b"secret")

    verdict = await caller.meets(Door(Rejected(message="Account closed", final=True)))

    assert verdict == Refused("ann", attributes={"message": "Account closed"})
    assert caller.screen == b"login: Password: "
    assert caller.pauses == [2.0]


async def test_an_authenticator_may_have_words_of_its_own() -> None:
    caller = Caller(b"ann", b"a", b"ann", b"secret")

    await caller.meets(Door(Rejected(message="Try later")))

    assert caller.screen == b"login: Password: Try later\r\nlogin: Password: "


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(b"ann ", id="a space too many"),
        pytest.param(b"\xff\xfe", id="no UTF-8"),
        pytest.param(b"a\x07b", id="a control character"),
    ],
)
async def test_a_name_that_nobody_can_have_fails_like_one_that_nobody_has(name: bytes) -> None:
    door = Door()
    caller = Caller(name, b"secret")

    verdict = await caller.meets(door, replace(TERMS, tries_max=1))

    assert verdict == Refused("", attributes=REFUSED)
    assert caller.screen == b"login: Password: "
    assert caller.pauses == [2.0]
    assert door.asked == []


async def test_a_name_has_one_spelling() -> None:
    door = Door()
    await Caller("zoe\u0308".encode(), b"secret").meets(door, replace(TERMS, tries_max=1))

    assert door.asked == ["zo\u00eb"]


async def test_an_empty_name_is_asked_again_and_charges_nothing() -> None:
    caller = Caller(b"", b"", b"ann", b"secret")

    assert isinstance(await caller.meets(Door()), Granted)
    assert caller.dialog.progress.tries == 1


async def test_too_many_empty_names_are_refused() -> None:
    door = Door()
    caller = Caller(*[b""] * 20)

    assert await caller.meets(door) == Refused("", attributes=REFUSED)
    assert len(caller.questions) == EMPTY_NAMES_MAX
    assert door.asked == []


@pytest.mark.parametrize("script", [[Event.TYPE_ENDLESSLY], [b"ann", Event.TYPE_ENDLESSLY]])
async def test_an_endless_line_is_hung_up_on(script: list[bytes | Event]) -> None:
    assert isinstance(await Caller(*script).meets(Door()), Refused)


async def test_a_name_of_257_bytes_is_not_cut_to_another_account() -> None:
    """rashost.md, trap 9."""
    door = Door()

    assert isinstance(await Caller(b"a" * 257, b"secret").meets(door), Refused)
    assert door.asked == []

    await Caller(b"a" * 256, b"secret").meets(door, replace(TERMS, tries_max=1))
    assert door.asked == ["a" * 256]


@pytest.mark.parametrize(
    ("script", "user"),
    [([Event.SAY_NOTHING], ""), ([b"ann", Event.SAY_NOTHING], UNKNOWN_USER)],
)
async def test_silence_is_an_error_and_no_refusal(script: list[bytes | Event], user: str) -> None:
    """rashost.md, trap 8."""
    timed_out: Verdict = Undecided(
        Winerror.ERROR_TIMEOUT.code, user, attributes={"message": "Login timed out"}
    )

    assert await Caller(*script).meets(Door()) == timed_out


@pytest.mark.parametrize("script", [[], [b"ann"], [b"ann", b"x"], [b"ann", b"x", b"ann"]])
async def test_a_caller_who_hangs_up_gets_no_verdict(script: list[bytes]) -> None:
    with pytest.raises(DialogEnded):
        await Caller(*script).meets(Door())


async def test_unavailable_is_an_error_with_its_code_and_no_refusal() -> None:
    code = Mprerror.ERROR_AUTH_SERVER_TIMEOUT.code
    caller = Caller(b"ann", b"x", b"ann", b"secret")

    verdict = await caller.meets(Door(Unavailable("192.0.2.1 does not answer", code)))

    assert verdict == Undecided(code, "ann")
    assert len(caller.questions) == 2


async def test_an_authenticator_that_raises_unavailable_is_unavailable() -> None:
    class Broken:
        async def authenticate(self, login: Login) -> Result:
            raise BackendUnavailable("no route to 192.0.2.1")

    assert await Caller().tries("ann", Broken()) == Unavailable("no route to 192.0.2.1")


async def test_each_password_question_counts_its_answer_as_used() -> None:
    """Protocol §6.6: the cookie of a RECEIVE counts that RECEIVE's answer."""
    caller = Caller(b"ann", b"x", b"ann", b"secret")
    await caller.meets(Door())
    opened = [
        caller.cookies._sealer.open(question.cookie, caller.cookies._context)
        for question in caller.questions
    ]

    assert [content and content["tries"] for content in opened] == [0, 1, 1, 2]


async def test_a_try_of_several_questions_is_one_try() -> None:
    caller = Caller(b"secret", b"blue")

    assert await caller.tries("ann", Thorough()) == Accepted("secret-secret-blue")
    assert caller.screen == b"Password: Colour? "
    assert [(question.echo, question.limit) for question in caller.questions] == [
        ("off", 1024),
        ("on", 8),
    ]
    assert caller.dialog.progress.tries == 1


async def test_who_is_rejected_without_a_question_has_used_a_try() -> None:
    caller = Caller(*[b"ann"] * 10)

    assert isinstance(await caller.meets(Silent()), Refused)
    assert len(caller.questions) == 3
    assert caller.dialog.progress.tries == 3


@pytest.mark.parametrize(
    "script",
    [
        pytest.param([b"hunter2", b"ann", Event.SAY_NOTHING], id="typed too soon, noticed"),
        pytest.param([b"hunter2", b"x"] * 3, id="typed too soon, three times"),
        pytest.param([b"hunter2", Event.SAY_NOTHING], id="typed too soon, and nothing more"),
        pytest.param([b"hunter2"], id="typed too soon, and hung up"),
    ],
)
async def test_what_may_be_a_password_stands_in_no_log_and_no_verdict(
    script: list[bytes | Event],
) -> None:
    """Of a name that nobody has: people type ahead, and miss a prompt."""
    caller = Caller(*script)

    with capture_logs() as logs, suppress(DialogEnded):
        assert "hunter2" not in repr(await caller.meets(Door()))

    assert "hunter2" not in repr((logs, caller.dialog.progress))
    assert caller.dialog.progress.user == UNKNOWN_USER


async def test_names_of_users_and_those_that_an_operator_wants_to_see_are_shown() -> None:
    all_names = replace(TERMS, log_unknown_users=True)

    with capture_logs() as logs:
        known = await Caller(*[b"ann", b"x"] * 3).meets(Door())
        unknown = await Caller(*[b"eve", b"x"] * 3).meets(Door(), all_names)

    assert [known, unknown] == [Refused(name, attributes=REFUSED) for name in ("ann", "eve")]
    assert [entry["user"] for entry in logs] == ["ann"] * 3 + ["eve"] * 3


async def test_a_killed_worker_gives_no_free_guess() -> None:
    first = Caller(b"ann", b"x", b"ann")  # The worker dies while the second password is asked.
    with pytest.raises(DialogEnded):
        await first.meets(Door())
    second = Caller(
        b"ann", b"y", b"ann", b"secret", attempt=2, seq=5, cookie=first.questions[-1].cookie
    )

    verdict = await second.meets(Door())

    assert second.questions[0].prompt == b"login: "
    assert verdict == Refused("ann", attributes=REFUSED)
    assert len(second.questions) == 2


async def test_no_password_is_in_a_representation() -> None:
    caller = Caller(b"ann", b"secret")
    login = Login(caller.dialog, "ann", TERMS)
    verdict = await caller.meets(Door())

    shown = repr([verdict, caller.questions, caller.dialog, caller.dialog.progress, login])

    assert "secret" not in shown


def test_progress_starts_with_no_tries_used() -> None:
    assert Caller().dialog.progress == Progress()
