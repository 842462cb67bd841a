"""`dialgate keys sync`, `dialgate state sync sign|apply`: from one machine to another."""

from __future__ import annotations

import asyncio
import io
import json
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest

from dialgate.cli import main
from dialgate.passwords import Argon2
from dialgate.state import open_state
from dialgate.users import add_user

CHEAP = Argon2(memory_kib=8, passes=1)


class Machine(NamedTuple):
    """One with a state and keys of its own."""

    directory: Path

    def run(self, *words: str) -> int:
        return main([*words, "--config", str(self.directory / "dialgate.toml")])

    def add(self, user: str) -> None:
        async def add() -> None:
            engine = await open_state(f"sqlite:///{self.directory}/state.db")
            await add_user(engine, user, b"xyzzy", CHEAP)
            await engine.dispose()

        asyncio.run(add())


def machine(directory: Path, cluster: str = "") -> Machine:
    directory.mkdir()
    (directory / "keys").mkdir()
    (directory / "dialgate.toml").write_text(
        f'[cluster]\nstate = "sqlite:///{directory}/state.db"\nkeys = "{directory}/keys"\n{cluster}'
    )
    return Machine(directory)


@pytest.fixture
def centre(tmp_path: Path) -> Machine:
    made = machine(tmp_path / "centre")
    made.add("ann")
    made.add("noc-1")
    assert made.run("keys", "sync") == 0
    return made


@pytest.fixture
def site(tmp_path: Path, centre: Machine) -> Machine:
    made = machine(tmp_path / "site")
    key = (centre.directory / "keys" / "state-sync.key").read_bytes()
    (made.directory / "keys" / "state-sync.key").write_bytes(key)
    made.add("glass")
    return made


def test_a_copy_goes_by_file(
    centre: Machine, site: Machine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = str(tmp_path / "users.copy")
    capsys.readouterr()

    assert centre.run("state", "sync", "sign", file) == 0
    assert site.run("state", "sync", "apply", file) == 0

    assert capsys.readouterr().out.splitlines() == [
        f"{file}: a copy of 2 users",
        "2 users are here as copies",
    ]
    assert Path(file).stat().st_mode & 0o777 == 0o600
    assert site.run("users", "list", "-o", "json") == 0
    users = json.loads(capsys.readouterr().out)["users"]
    assert {user["name"]: bool(user["copied_until"]) for user in users} == {
        "ann": True,
        "glass": False,
        "noc-1": True,
    }


def test_a_copy_goes_by_a_pipe(
    centre: Machine,
    site: Machine,
    monkeypatch: pytest.MonkeyPatch,
    capsysbinary: pytest.CaptureFixture[bytes],
) -> None:
    site.add("noc-1")
    capsysbinary.readouterr()
    assert centre.run("state", "sync", "sign", "-", "--users", "noc-*") == 0
    copy = capsysbinary.readouterr().out
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(copy)))

    assert site.run("state", "sync", "apply", "-") == 0

    assert capsysbinary.readouterr().out.splitlines() == [
        b"0 users are here as copies",
        b"users of the site's own stay as they are: noc-1",
    ]


def test_what_is_no_copy_changes_nothing_and_is_named(
    site: Machine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "users.copy"
    file.write_text("hello")

    assert site.run("state", "sync", "apply", str(file)) == 1
    assert capsys.readouterr().err == (
        f"dialgate: {file}: is no copy of users: make one with `dialgate state sync sign`; "
        "nothing was changed\n"
    )
    assert site.run("state", "sync", "apply", str(tmp_path / "none")) == 1
    assert "can't be read (No such file or directory)" in capsys.readouterr().err


def test_a_copy_that_is_too_old_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    centre = machine(tmp_path / "centre", "users_copy_max_age_s = 60\n")
    assert centre.run("keys", "sync") == 0
    file = str(tmp_path / "users.copy")
    assert centre.run("state", "sync", "sign", file) == 0
    a_minute_later = time.time() + 61
    monkeypatch.setattr("dialgate.cli.state.time.time", lambda: a_minute_later)

    assert centre.run("state", "sync", "apply", file) == 1
    assert "and counts no more: sign a new one; nothing was changed" in capsys.readouterr().err


def test_without_its_key_neither_side_does_anything(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = machine(tmp_path / "alone")

    assert alone.run("state", "sync", "sign", str(tmp_path / "users.copy")) == 1
    assert "state-sync.secret: can't be read" in capsys.readouterr().err
    assert alone.run("state", "sync", "apply", str(tmp_path / "users.copy")) == 1
    assert "copy it from the centre, where `dialgate keys sync`" in capsys.readouterr().err
    assert not (tmp_path / "users.copy").exists()


def test_the_pair_is_made_once_and_its_secret_is_its_owners(
    centre: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = centre.directory / "keys"
    assert (keys / "state-sync.secret").stat().st_mode & 0o777 == 0o600

    assert centre.run("keys", "sync") == 1
    assert "state-sync.secret: exists" in capsys.readouterr().err
    (keys / "state-sync.secret").chmod(0o644)
    assert centre.run("state", "sync", "sign", "-") == 1
    assert "is open to others" in capsys.readouterr().err
