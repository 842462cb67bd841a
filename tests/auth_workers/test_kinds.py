"""Authenticators are opened by the kind of their table."""

from __future__ import annotations

from collections.abc import AsyncIterator
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from auth_workers.authenticators.local import Local
from auth_workers.authenticators.radius import Radius
from auth_workers.hashing import HashingPool
from auth_workers.kinds import Kind, Resources, open_authenticator
from dialgate.errors import UsageError
from dialgate.passwords import Argon2, PasswordRules
from dialgate.sealing import ONE_TIME_CODES, Sealer
from dialgate.settings.authenticators import (
    ENTRY_POINTS,
    KINDS,
    AuthenticatorSettings,
    LocalSettings,
    RadiusSettings,
)
from dialgate.state import open_state


@pytest.fixture
async def resources(tmp_path: Path) -> AsyncIterator[Resources]:
    state = await open_state(f"sqlite:///{tmp_path}/state.db")
    hashing = HashingPool(Argon2(memory_kib=8, passes=1), 1)
    yield Resources(state, hashing, Sealer(bytes(32), purpose=ONE_TIME_CODES), PasswordRules())
    hashing.close()
    await state.dispose()


def radius(directory: Path, *, signed: bool = True) -> RadiusSettings:
    file = directory / "radius.secret"
    file.write_text("a secret\n")
    file.chmod(0o600)
    return RadiusSettings(
        kind="radius",
        servers=("127.0.0.1:1812",),
        secret_file=str(file),
        require_message_authenticator=signed,
    )


async def test_the_kind_says_what_is_opened(resources: Resources, tmp_path: Path) -> None:
    async with open_authenticator("local", LocalSettings(kind="local"), resources) as local:
        assert isinstance(local, Local)
    async with open_authenticator("corp", radius(tmp_path), resources) as corp:
        assert isinstance(corp, Radius)


async def test_a_kind_that_nobody_brings_is_told(resources: Resources) -> None:
    with pytest.raises(UsageError, match="words: no package brings the kind 'wordlist'"):
        open_authenticator("words", AuthenticatorSettings(kind="wordlist"), resources)


@pytest.mark.parametrize("kind", KINDS)
def test_our_kinds_are_found_as_others_are(kind: str) -> None:
    (entry,) = entry_points(group=ENTRY_POINTS, name=kind)
    found: Kind = entry.load()

    assert found.settings is KINDS[kind]


async def test_unsigned_replies_are_warned_of_at_each_start(
    resources: Resources, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = radius(tmp_path, signed=False)

    async with open_authenticator("corp", settings, resources):
        pass

    shown = capsys.readouterr().out
    assert "without Message-Authenticator" in shown
    assert "a secret" not in shown


async def test_a_secret_that_is_gone_stops_the_worker(resources: Resources, tmp_path: Path) -> None:
    settings = radius(tmp_path)
    Path(settings.secret_file).unlink()

    with pytest.raises(UsageError, match=r"corp\.secret_file: .* can't be read"):
        async with open_authenticator("corp", settings, resources):
            pass
