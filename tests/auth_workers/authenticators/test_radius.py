"""A RADIUS conversation, with a scripted caller and scripted servers; no socket is opened."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest
from msgspec import structs

from auth_workers.authenticators import UNKNOWN_USER, Accepted, Rejected, Unavailable
from auth_workers.authenticators.radius import KIND, Radius
from auth_workers.dialog import DialogEnded
from auth_workers.radius.client import Silent
from auth_workers.radius.packets import Attribute, Fault, Reply, Request
from auth_workers.radius.servers import Servers
from auth_workers.testing import TERMS, Caller, Event
from auth_workers.verdict import Granted, Refused, Undecided
from dialgate.codes import Mprerror
from dialgate.settings import HostPort
from dialgate.settings.authenticators import RadiusSettings
from tests.auth_workers.radius.replies import (
    ACCEPT,
    CHALLENGE,
    REJECT,
    SECRET,
    attributes_of,
    reply_to,
)

ONE, TWO = HostPort("192.0.2.1", 1812), HostPort("192.0.2.2", 1812)
SILENCE: Final = Silent("192.0.2.1:1812: no answer", Mprerror.ERROR_AUTH_SERVER_TIMEOUT.code)
METRICS: Final = Path(__file__).parents[3] / "docs" / "metrics.md"
NOTHING: Final[Any] = object()
"""In place of resources that aren't used."""
STATE, MESSAGE, PROMPT, TIMEOUT = 24, 18, 76, 27

ANN: Final = Accepted("ann", attributes={"radius": "corp"})
Answer = tuple[int, Sequence[tuple[int, bytes]]] | Silent
YES: Final[Answer] = (ACCEPT, [])
NO: Final[Answer] = (REJECT, [])


class Network:
    """Servers that answer by a script, and what they were sent."""

    def __init__(self, *script: Answer) -> None:
        self.script = list(script)
        self.sent: list[tuple[HostPort, dict[int, bytes]]] = []
        self.hasty: list[bool] = []
        self.ignored: Counter[tuple[str, Fault]] = Counter()

    async def ask(self, server: HostPort, request: Request, *, hasty: bool = False) -> Reply:
        self.sent.append((server, dict(attributes_of(request.data))))
        self.hasty.append(hasty)
        answer = self.script.pop(0)
        if isinstance(answer, Silent):
            raise answer
        reply = request.read(reply_to(request.data, *answer))
        assert isinstance(reply, Reply)
        return reply

    @property
    def asked(self) -> list[HostPort]:
        return [server for server, _ in self.sent]


def corp(network: Network, *servers: HostPort) -> Radius:
    return Radius("corp", SECRET, Servers(servers or [ONE]), network, clock=lambda: 0.0)


async def test_a_good_password_is_accepted() -> None:
    network = Network(YES)

    assert await Caller(b"secret").tries("ann", corp(network)) == ANN
    assert network.sent[0][1][Attribute.USER_NAME] == b"ann"
    assert network.sent[0][1][Attribute.NAS_PORT_ID] == b"oslo/1"


async def test_a_bad_password_is_rejected_with_the_policys_words() -> None:
    assert await Caller(b"bad").tries("ann", corp(Network(NO))) == Rejected()


async def test_a_servers_words_do_not_tell_who_exists() -> None:
    """FreeRADIUS greets a known user whose password is wrong, and not an unknown one."""
    network = Network((REJECT, [(MESSAGE, b"Hello, ann")]))

    assert await Caller(b"bad").tries("ann", corp(network)) == Rejected()


async def test_who_was_asked_more_than_a_password_hears_why_he_is_rejected() -> None:
    network = Network((CHALLENGE, []), (REJECT, [(MESSAGE, b"Token \x1b[31mexpired")]))

    assert await Caller(b"secret", b"1").tries("ann", corp(network)) == Rejected(
        message="Token \\x1b[31mexpired"
    )


async def test_the_servers_welcome_is_shown() -> None:
    caller = Caller(b"secret")

    await caller.tries("ann", corp(Network((ACCEPT, [(MESSAGE, b"Hello\nann")]))))

    assert caller.screen == b"Password: Hello\r\nann\r\n"


async def test_the_stay_and_the_roles_are_the_servers() -> None:
    network = Network((ACCEPT, [(TIMEOUT, b"\0\0\0\x3c"), (11, b"field"), (11, b"night")]))

    assert await Caller(b"secret").tries("ann", corp(network)) == Accepted(
        "ann",
        roles=("field", "night"),
        attributes={"radius": "corp", "session_timeout_s": 60, "filter_id": "field,night"},
    )


@pytest.mark.parametrize(("named", "user"), [(b"ann@corp", "ann@corp"), (b"\xff", "ann")])
async def test_the_server_may_give_the_user_another_name(named: bytes, user: str) -> None:
    """RFC 2865 §5.1; a name that nobody can have is not taken."""
    network = Network((ACCEPT, [(1, named)]))

    assert await Caller(b"secret").tries("ann", corp(network)) == replace(ANN, user=user)


@pytest.mark.parametrize("rounds", [1, 2, 5, 20])
async def test_challenges_go_on_for_as_long_as_the_server_asks(rounds: int) -> None:
    asks: list[Answer] = [
        (CHALLENGE, [(STATE, b"state %d" % n), (MESSAGE, b"Question %d?" % n)])
        for n in range(rounds)
    ]
    network = Network(*asks, YES)
    caller = Caller(b"secret", *[b"answer"] * rounds)

    assert await caller.tries("ann", corp(network)) == ANN
    assert [sent.get(STATE) for _, sent in network.sent] == [
        None,
        *[b"state %d" % n for n in range(rounds)],
    ]
    assert caller.screen == b"Password: " + b"".join(b"Question %d? " % n for n in range(rounds))
    assert caller.dialog.progress.tries == 1


@pytest.mark.parametrize(
    ("prompt", "echo"),
    [([], "off"), ([(PROMPT, b"\0\0\0\0")], "off"), ([(PROMPT, b"\0\0\0\1")], "on")],
)
async def test_an_answer_is_echoed_only_where_the_server_says_so(
    prompt: list[tuple[int, bytes]], echo: str
) -> None:
    caller = Caller(b"secret", b"1234")

    await caller.tries("ann", corp(Network((CHALLENGE, prompt), YES)))

    assert caller.questions[1].echo == echo
    assert caller.questions[1].prompt == b"Response: "


async def test_a_challenge_may_leave_less_time_for_its_answer_but_not_more() -> None:
    caller = Caller(b"secret", b"1", b"2")
    short: Answer = (CHALLENGE, [(TIMEOUT, b"\0\0\0\x0a")])
    long: Answer = (CHALLENGE, [(TIMEOUT, b"\0\0\x0f\xff")])

    await caller.tries("ann", corp(Network(short, long, YES)))

    assert [question.timeout_s for question in caller.questions] == [60, 10, 60]


async def test_a_challenges_text_cannot_steer_the_terminal() -> None:
    caller = Caller(b"secret", b"1")

    await caller.tries("ann", corp(Network((CHALLENGE, [(MESSAGE, b"\x1b]0;x\x07Code:")]), YES)))

    assert caller.questions[1].prompt == b"\\x1b]0;x\\x07Code: "


async def test_an_empty_answer_to_a_challenge_is_an_answer() -> None:
    """Press return to have the code sent to your telephone."""
    network = Network((CHALLENGE, [(STATE, b"s")]), YES)

    assert await Caller(b"secret", b"").tries("ann", corp(network)) == ANN


@pytest.mark.parametrize(
    ("user", "password"), [("ann", b""), ("ann", b"x" * 129), ("a" * 254, b"secret")]
)
async def test_what_fits_no_attribute_or_binds_anonymously_is_rejected_unsent(
    user: str, password: bytes
) -> None:
    network = Network()

    assert await Caller(password).tries(user, corp(network)) == Rejected()
    assert network.sent == []


async def test_too_long_an_answer_to_a_challenge_is_rejected() -> None:
    network = Network((CHALLENGE, []))

    assert await Caller(b"secret", b"x" * 129).tries("ann", corp(network)) == Rejected()


async def test_silence_is_unavailable_and_its_reason_is_kept() -> None:
    result = await Caller(b"secret").tries("ann", corp(Network(SILENCE)))

    assert result == Unavailable(str(SILENCE), SILENCE.code)


async def test_the_second_server_is_asked_when_the_first_is_silent() -> None:
    network = Network(SILENCE, YES)

    assert await Caller(b"secret").tries("ann", corp(network, ONE, TWO)) == ANN
    assert network.asked == [ONE, TWO]
    assert network.hasty == [True, False]  # Nobody comes after the last: it gets all its time.


async def test_a_silent_server_is_asked_last_from_then_on() -> None:
    network = Network(SILENCE, YES, YES)
    radius = corp(network, ONE, TWO)

    await Caller(b"secret").tries("ann", radius)
    await Caller(b"secret").tries("ann", radius)

    assert network.asked == [ONE, TWO, TWO]


async def test_a_rejection_is_not_taken_to_another_server() -> None:
    network = Network(NO)

    assert await Caller(b"bad").tries("ann", corp(network, ONE, TWO)) == Rejected()


async def test_a_server_that_dies_in_a_challenge_takes_its_state_along() -> None:
    """The next one is asked from the password on; the answer to the dead one is not reused."""
    first: Answer = (CHALLENGE, [(STATE, b"one's"), (MESSAGE, b"Code?")])
    second: Answer = (CHALLENGE, [(STATE, b"two's"), (MESSAGE, b"PIN?")])
    network = Network(first, SILENCE, second, YES)
    caller = Caller(b"secret", b"111111", b"2222")

    assert await caller.tries("ann", corp(network, ONE, TWO)) == ANN
    assert network.asked == [ONE, ONE, TWO, TWO]
    assert [sent.get(STATE) for _, sent in network.sent] == [None, b"one's", None, b"two's"]
    assert caller.screen == b"Password: Code? PIN? "


async def test_after_a_lost_worker_the_conversation_starts_over_with_its_tries() -> None:
    challenge: Answer = (CHALLENGE, [(STATE, b"s"), (MESSAGE, b"Code?")])
    first = Caller(b"ann", b"bad", b"ann", b"secret")
    with pytest.raises(DialogEnded):  # The worker dies while the code is asked.
        await first.meets(corp(Network(NO, challenge)))
    network = Network(NO)
    second = Caller(b"ann", b"worse", attempt=2, seq=6, cookie=first.questions[-1].cookie)

    verdict = await second.meets(corp(network))

    assert STATE not in network.sent[0][1]
    assert second.dialog.progress.tries == 3
    assert isinstance(verdict, Refused)


async def test_a_login_ends_in_a_verdict_of_each_kind() -> None:
    terms = structs.replace(TERMS, tries_max=1)

    assert await Caller(b"ann", b"secret").meets(corp(Network(YES)), terms) == Granted(
        "ann", attributes=ANN.attributes
    )
    assert isinstance(await Caller(b"ann", b"bad").meets(corp(Network(NO)), terms), Refused)
    assert await Caller(b"ann", b"x").meets(corp(Network(SILENCE)), terms) == Undecided(
        SILENCE.code, UNKNOWN_USER
    )


async def test_who_says_nothing_to_a_challenge_is_not_refused() -> None:
    caller = Caller(b"ann", b"secret", Event.SAY_NOTHING)

    assert isinstance(await caller.meets(corp(Network((CHALLENGE, [])))), Undecided)


async def test_the_figures_tell_each_server() -> None:
    network = Network(SILENCE, (CHALLENGE, []), YES)
    radius = corp(network, ONE, TWO)
    network.ignored[str(ONE), Fault.UNSIGNED] += 3
    await Caller(b"secret", b"1").tries("ann", radius)

    samples = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in radius.collect()
        for sample in family.samples
    }

    assert samples["dialgate_worker_radius_replies_total", str(TWO), "access_accept", "corp"] == 1
    assert samples["dialgate_worker_radius_silences_total", str(ONE), "corp"] == 1
    assert samples["dialgate_worker_radius_dead", str(ONE), "corp"] == 1
    assert samples["dialgate_worker_radius_dead", str(TWO), "corp"] == 0
    ignored = ("dialgate_worker_radius_ignored_total", str(ONE), "corp", Fault.UNSIGNED.value)
    assert samples[ignored] == 3


def test_the_handbook_lists_the_figures() -> None:
    chapter = METRICS.read_text().split("\n## RADIUS\n")[1].split("\n## ")[0]
    shown = {family.samples[0].name for family in corp(Network()).collect() if family.samples}

    assert shown <= set(re.findall(r"^\| `(dialgate_\w+)", chapter, re.MULTILINE))
    assert len(shown) == 3  # Nothing was ignored yet.


async def test_without_accounting_servers_nobody_is_told_of_calls(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(SECRET)
    (tmp_path / "secret").chmod(0o600)
    settings = RadiusSettings(
        kind="radius", servers=(str(ONE),), secret_file=str(tmp_path / "secret")
    )

    async with KIND.open("corp", settings, NOTHING) as radius:
        assert isinstance(radius, Radius)
        told = {metric.name: metric.samples for metric in radius.collect()}

    assert told["dialgate_worker_radius_accounting"] == []
