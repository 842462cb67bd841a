"""What the port keeps of a dialog between two workers (protocol §6.6)."""

from __future__ import annotations

from typing import Final

import pytest

from auth_workers.cookie import Cookies, Progress
from auth_workers.testing import DIALOG, FACTS
from dialgate.sealing import Sealer, cookie_context
from dialgate.wire.bodies import Begin
from dialgate.wire.body_codec import encode_body
from dialgate.wire.limits import COOKIE_BYTES_MAX

SEALER: Final = Sealer(bytes(32))
STANDING: Final = Progress(step="local", user="ann", tries=2)


def begin(cookie: bytes = b"", seq: int = 3, hport: str = "oslo/1") -> Begin:
    return Begin(hport=hport, call=bytes(16), seq=seq, cookie=cookie, facts=encode_body(FACTS))


def cookies(hport: str = "oslo/1", dialog: bytes = DIALOG) -> Cookies:
    return Cookies(SEALER, dialog, begin(hport=hport), FACTS)


def test_the_next_worker_reads_how_far_the_dialog_had_come() -> None:
    cookie = cookies().seal(STANDING)

    assert cookies().read(begin(cookie), attempt=2) == STANDING


@pytest.mark.parametrize(
    ("attempt", "seq", "lost"),
    [
        pytest.param(1, 0, False, id="a new dialog"),
        pytest.param(1, 3, False, id="a new dialog, whatever its number"),
        pytest.param(2, 0, False, id="the first worker died before it asked"),
        pytest.param(2, 3, True, id="something was asked, and the cookie is gone"),
        pytest.param(9, 1, True, id="T24"),
    ],
)
def test_without_a_cookie_one_try_is_left_where_there_must_have_been_one(
    attempt: int, seq: int, lost: bool
) -> None:
    assert cookies().read(begin(seq=seq), attempt) == Progress(lost=lost)


@pytest.mark.parametrize("attempt", [1, 2])
@pytest.mark.parametrize("seq", [0, 3])
def test_an_unreadable_cookie_leaves_one_try(attempt: int, seq: int) -> None:
    assert cookies().read(begin(b"x" * 60, seq), attempt) == Progress(lost=True)


def test_a_cookie_of_another_call_or_port_is_unreadable() -> None:
    for other in (cookies(hport="oslo/2"), cookies(dialog=b"e" * 16)):
        assert other.read(begin(cookies().seal(STANDING)), attempt=2) == Progress(lost=True)


@pytest.mark.parametrize("content", [{"tries": -1}, {"tries": "two"}, {"step": 1}, {}])
def test_a_cookie_that_says_nothing_sensible_leaves_one_try(content: dict[str, object]) -> None:
    cookie = SEALER.seal(content, cookie_context(DIALOG, "oslo/1", FACTS.agent))

    assert cookies().read(begin(cookie), attempt=2) == Progress(lost=True)


def test_the_longest_cookie_fits_a_receive() -> None:
    longest = Progress(step="a" * 64, user="u" * 256, tries=10)

    assert len(cookies().seal(longest)) < COOKIE_BYTES_MAX
