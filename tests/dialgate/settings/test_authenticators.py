"""`[authenticators.NAME]` by kind: the issue's RADIUS table, faults, and third parties' kinds."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import pytest

from dialgate.errors import ConfigError
from dialgate.settings import inspect, load
from dialgate.settings.authenticators import LocalSettings, RadiusSettings, kind_names
from tests.dialgate.sample import altered, write

RADIUS: Final = """\
[authenticators.corp]
kind = "radius"
servers = ["127.0.0.1:1812", "127.0.0.2:1812"]
accounting = ["127.0.0.1:1813"]
secret_file = "/etc/dialgate/radius.secret"
timeout_s = 3
retries = 2
require_message_authenticator = true
"""

WORDLIST: Final = """
from typing import Literal
from auth_workers.kinds import Kind
from dialgate.settings.authenticators import AuthenticatorSettings

class WordListSettings(
    AuthenticatorSettings, frozen=True, kw_only=True, forbid_unknown_fields=True
):
    kind: Literal["wordlist"]
    file: str

KIND = Kind(WordListSettings, None)
"""


def faults(directory: Path, text: str) -> list[str]:
    return [str(fault).partition(": ")[2] for fault in inspect(write(directory, text))[0]]


def radius(*changes: tuple[str, str]) -> str:
    return altered(*changes, text=altered() + RADIUS)


def secret_file(directory: Path, content: bytes = b"secret\n", mode: int = 0o600) -> Path:
    file = directory / "radius.secret"
    file.write_bytes(content)
    file.chmod(mode)
    return file


def test_a_kind_brings_its_keys(tmp_path: Path) -> None:
    settings = load(write(tmp_path, radius()))

    assert settings.authenticators == {
        "local": LocalSettings(kind="local"),
        "corp": RadiusSettings(
            kind="radius",
            servers=("127.0.0.1:1812", "127.0.0.2:1812"),
            accounting=("127.0.0.1:1813",),
            secret_file="/etc/dialgate/radius.secret",
        ),
    }


def test_the_message_authenticator_is_demanded_by_default() -> None:
    settings = RadiusSettings(kind="radius", servers=("a:1",), secret_file="s")

    assert settings.require_message_authenticator
    assert (settings.timeout_s, settings.retries) == (3, 2)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('kind = "radius"\n', "", 'authenticators.corp.kind: is missing: write "local" or '),
        ('"radius"', '"radios"', "authenticators.corp.kind: is 'radios': write \"local\" or "),
        ("timeout_s", "timeout", "authenticators.corp.timeout: is no key that is known here: "),
        ("timeout_s = 3", "timeout_s = 0", "authenticators.corp.timeout_s: is 0: write a whole"),
        ("127.0.0.2:1812", "127.0.0.2", 'authenticators.corp.servers: "127.0.0.2" is not HOST:'),
        ("127.0.0.2", "127.0.0.1", 'authenticators.corp.servers: "127.0.0.1:1812" stands twice'),
        ("127.0.0.2", "0.0.0.0", 'authenticators.corp.servers: "0.0.0.0:1812" is nobody to ask'),
        ("127.0.0.1:1813", ":1", 'authenticators.corp.accounting: ":1" is not HOST:PORT'),
    ],
)
def test_each_fault_is_told_with_its_key(tmp_path: Path, old: str, new: str, told: str) -> None:
    text = radius((old, new), ("/etc/dialgate/radius.secret", str(secret_file(tmp_path))))
    (found,) = [each for each in faults(tmp_path, text) if "corp" in each]

    assert found.startswith(told)


@pytest.mark.parametrize(
    ("content", "mode", "told"),
    [
        (b"secret\n", 0o640, "is open to others"),
        (b" \n", 0o600, "is empty"),
        (b"x" * 1025, 0o600, "has more than one line of 1024 bytes"),
        (b"two\nlines\n", 0o600, "has more than one line of 1024 bytes"),
    ],
)
def test_a_secret_that_cannot_be_used_is_told_and_not_shown(
    tmp_path: Path, content: bytes, mode: int, told: str
) -> None:
    file = secret_file(tmp_path, content, mode)
    (fault,) = [
        each
        for each in faults(tmp_path, radius(("/etc/dialgate/radius.secret", str(file))))
        if "secret_file" in each
    ]

    assert f"authenticators.corp.secret_file: {file} {told}: " in fault
    assert "lines" not in fault.replace("one line", "")


def test_the_secret_is_the_files_line(tmp_path: Path) -> None:
    file = secret_file(tmp_path, b" pass phrase \r\n")

    assert (
        RadiusSettings(kind="radius", servers=("a:1",), secret_file=str(file)).secret()
        == b" pass phrase "
    )


def test_replies_without_signature_are_warned_of(tmp_path: Path) -> None:
    _, warnings = inspect(
        write(tmp_path, radius(("_authenticator = true", "_authenticator = false")))
    )

    assert any("corp.require_message_authenticator: is false" in str(each) for each in warnings)


@pytest.fixture
def wordlist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Install a package that brings the kind "wordlist"."""
    package = tmp_path / "site"
    entry_points = package / "wordlist-1.0.dist-info" / "entry_points.txt"
    entry_points.parent.mkdir(parents=True)
    entry_points.write_text("[dialgate.authenticators]\nwordlist = their_words:KIND\n")
    (package / "their_words.py").write_text(WORDLIST)
    monkeypatch.syspath_prepend(package)
    return package


@pytest.mark.usefixtures("wordlist")
def test_a_third_partys_kind_is_checked_like_ours(tmp_path: Path) -> None:
    table = '[authenticators.words]\nkind = "wordlist"\n'

    assert "wordlist" in kind_names()
    assert faults(tmp_path, altered() + table + 'file = "/words"\n') == faults(tmp_path, altered())
    (fault,) = [each for each in faults(tmp_path, altered() + table) if "words" in each]
    assert fault == "authenticators.words.file: is missing: write text"


def test_a_third_partys_package_that_breaks_is_told(
    tmp_path: Path, wordlist: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "their_words", raising=False)
    (wordlist / "their_words.py").write_text("import no_such_module\n")
    table = '[authenticators.words]\nkind = "wordlist"\n'

    (fault,) = [each for each in faults(tmp_path, altered() + table) if "words" in each]

    assert "can't be loaded (ModuleNotFoundError: No module named 'no_such_module')" in fault


def test_all_faults_stop_a_program(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        load(write(tmp_path, radius(('"radius"', '"radios"'))))
