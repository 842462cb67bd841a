"""The key files of a cluster: who a CURVE key belongs to, and what it may speak for.

    pool.key               0600  the worker pool's secret: 32 bytes as one line of base64
    ROLE-NAME.secret       0600  a process's CURVE secret key: one line of Z85
    ROLE-NAME.key          0644  its public key and its rights, as TOML:
                                 role, name, key (Z85); agents also site and hports (patterns)
    state-sync.secret      0600  what the centre signs copies of its users with (Ed25519): base64
    state-sync.key         0644  what sites check them by: base64

A process needs its own secret and the public files of those it speaks with; workers also need
pool.key.  To revoke a key, delete its public file.  Nothing here is ever overwritten, and a secret
that others can read is refused.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import secrets
import tomllib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final, Literal, get_args

import msgspec
import zmq
from nacl.signing import SigningKey, VerifyKey

from dialgate.errors import KeyFileError

__all__ = [
    "ROLES",
    "Directory",
    "KeyPair",
    "Right",
    "Role",
    "create_directory",
    "create_pair",
    "create_sync_pair",
    "load_directory",
    "load_pool_key",
    "load_secret",
    "load_sync_key",
    "load_sync_secret",
]

Role = Literal["broker", "agent", "worker"]
ROLES: Final[tuple[Role, ...]] = get_args(Role)

POOL_KEY_BYTES: Final = 32
KEY_BYTES: Final = 32
"""Of every key that is a line of base64."""
Z85_CHARS: Final = 40
FILE_BYTES_MAX: Final = 64 * 1024
_SYNC_SECRET: Final = "state-sync.secret"  # noqa: S105 - a file's name
_SYNC_KEY: Final = "state-sync.key"


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A process's CURVE keys, each 40 characters of Z85."""

    public: bytes
    secret: bytes = field(repr=False)


class Right(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the holder of a public key may be."""

    role: Role
    name: str
    key: str
    """The public key in Z85."""
    site: str = ""
    """An agent's site; empty: any."""
    hports: tuple[str, ...] = ()
    """Patterns of the ports that an agent may speak for."""

    def may_be_at(self, site: str) -> bool:
        """Return whether an agent with this key may call `site` its own."""
        return self.site in {"", site}

    def may_speak_for(self, hport: str) -> bool:
        """Return whether an agent with this key may have the port `hport`."""
        return any(fnmatchcase(hport, pattern) for pattern in self.hports)


class Directory:
    """The public keys that a process knows."""

    def __init__(self, rights: Iterable[Right]) -> None:
        self.rights = tuple(rights)
        self._by_key = {right.key: right for right in self.rights}

    def right_of(self, key: str) -> Right | None:
        """Return what the holder of the public key `key` (Z85) may be; None: nothing."""
        return self._by_key.get(key)

    def broker_key(self, name: str = "") -> bytes:
        """Return the public key (Z85) of the broker `name`; empty: of the only one.

        Raises:
            KeyFileError: there is none, or without a name several.
        """
        brokers = [r for r in self.rights if r.role == "broker" and name in {"", r.name}]
        match brokers:
            case [broker]:
                return broker.key.encode()
            case []:
                which = f"broker-{name}.key" if name else "broker-NAME.key"
                raise KeyFileError(f"no file {which} among the keys: copy it from the broker")
            case _:
                names = ", ".join(sorted(broker.name for broker in brokers))
                raise KeyFileError(
                    f"several brokers' keys ({names}): end the address in #NAME to say whose it is"
                )


def create_directory(directory: Path) -> bool:
    """Make `directory` and in it the pool's key; return whether the key is new.

    Raises:
        KeyFileError: it can't be written.
    """
    pool_key = directory / "pool.key"
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise KeyFileError(f"{directory}: can't be made ({error.strerror})") from None
    if pool_key.exists():
        load_pool_key(pool_key)
        return False
    _write_new(pool_key, _base64_line(secrets.token_bytes(POOL_KEY_BYTES)), 0o600)
    return True


def create_pair(
    directory: Path, role: Role, name: str, *, site: str = "", hports: Sequence[str] = ()
) -> Right:
    """Make the CURVE key pair of one process in `directory`; return its right.

    Raises:
        KeyFileError: it has one already, or the directory can't be written.
    """
    public, secret = zmq.curve_keypair()
    right = Right(role=role, name=name, key=public.decode(), site=site, hports=tuple(hports))
    secret_file, public_file = _files(directory, role, name)
    for file in (secret_file, public_file):
        if file.exists():
            raise KeyFileError(f"{file}: exists; to replace the key, delete both its files first")
    _write_new(secret_file, f"{secret.decode()}\n", 0o600)
    _write_new(public_file, _spell(right), 0o644)
    return right


def load_secret(directory: Path | str, role: Role, name: str) -> KeyPair:
    """Return the key pair of one process.

    Raises:
        KeyFileError: its file is missing, unfit, or open to others.
    """
    file, _ = _files(Path(directory), role, name)
    text = _read_private(file, f"new {role} {name}")
    secret = text.strip().encode()
    unfit = KeyFileError(f"{file}: is no CURVE secret key (40 characters of Z85)")
    if len(secret) != Z85_CHARS:
        raise unfit
    try:
        return KeyPair(zmq.curve_public(secret), secret)
    except zmq.ZMQError:
        raise unfit from None


def load_pool_key(file: Path | str) -> bytes:
    """Return the worker pool's secret key, 32 bytes.

    Raises:
        KeyFileError: the file is missing, unfit, or open to others.
    """
    text = _read_private(Path(file), "init")
    return _bytes_of(text, f"{file}: is no pool key")


def create_sync_pair(directory: Path) -> None:
    """Make the key pair by which copies of users are signed and checked.

    Raises:
        KeyFileError: there is one already, or the directory can't be written.
    """
    secret_file, public_file = directory / _SYNC_SECRET, directory / _SYNC_KEY
    for file in (secret_file, public_file):
        if file.exists():
            raise KeyFileError(f"{file}: exists; to replace the key, delete both its files first")
    key = SigningKey.generate()
    _write_new(secret_file, _base64_line(key.encode()), 0o600)
    _write_new(public_file, _base64_line(key.verify_key.encode()), 0o644)


def load_sync_secret(directory: Path | str) -> SigningKey:
    """Return what the centre signs copies of users with.

    Raises:
        KeyFileError: its file is missing, unfit, or open to others.
    """
    file = Path(directory) / _SYNC_SECRET
    return SigningKey(_bytes_of(_read_private(file, "sync"), f"{file}: is no signing key"))


def load_sync_key(directory: Path | str) -> VerifyKey:
    """Return what a site checks copies of users by.

    Raises:
        KeyFileError: its file is missing or unfit.
    """
    file = Path(directory) / _SYNC_KEY
    text = _read(file, "copy it from the centre, where `dialgate keys sync` makes it")
    return VerifyKey(_bytes_of(text, f"{file}: is no public key"))


def load_directory(
    directory: Path | str, *, leave_out: Callable[[KeyFileError], None] | None = None
) -> Directory:
    """Return the public keys in `directory`.

    Args:
        directory: of the keys.
        leave_out: hears of each file that is unfit and left out; None: such a file is an error.

    Raises:
        KeyFileError: the directory can't be read, or a file in it is unfit.
    """
    place = Path(directory)
    rights: dict[str, Right] = {}
    try:
        files = sorted(file for role in ROLES for file in place.glob(f"{role}-*.key"))
        if not place.is_dir():
            raise FileNotFoundError(2, "No such directory")
    except OSError as error:
        raise KeyFileError(f"{place}: can't be read ({error.strerror})", "init") from None
    for file in files:
        try:
            _add_right(rights, file)
        except KeyFileError as error:
            if leave_out is None:
                raise
            leave_out(error)
    return Directory(rights.values())


def _add_right(rights: dict[str, Right], file: Path) -> None:
    right = _load_right(file)
    twin = rights.setdefault(right.key, right)
    if twin is not right:
        raise KeyFileError(f"{file}: has the same key as {twin.role}-{twin.name}.key")


def _load_right(file: Path) -> Right:
    try:
        right = msgspec.convert(tomllib.loads(_read(file)), Right)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise KeyFileError(f"{file}: {error}") from None
    if file.name != f"{right.role}-{right.name}.key":
        raise KeyFileError(f"{file}: is the key of {right.role} {right.name}: name the file so")
    if len(right.key) != Z85_CHARS:
        raise KeyFileError(f"{file}: key is not 40 characters of Z85")
    return right


def _base64_line(content: bytes) -> str:
    return f"{base64.b64encode(content).decode()}\n"


def _bytes_of(text: str, unfit: str) -> bytes:
    """Return the 32 bytes that a line of base64 stands for."""
    try:
        content = base64.b64decode(text.strip(), validate=True)
    except binascii.Error:
        content = b""
    if len(content) != KEY_BYTES:
        raise KeyFileError(f"{unfit} (one line of base64, {KEY_BYTES} bytes)")
    return content


def _files(directory: Path, role: Role, name: str) -> tuple[Path, Path]:
    return directory / f"{role}-{name}.secret", directory / f"{role}-{name}.key"


def _spell(right: Right) -> str:
    """Return the public file's text.  JSON's strings are TOML's."""
    lines = [f"{key} = {json.dumps(getattr(right, key))}" for key in ("role", "name", "key")]
    if right.role == "agent":
        lines += [f"site = {json.dumps(right.site)}", f"hports = {json.dumps(right.hports)}"]
    return "\n".join(lines) + "\n"


def _write_new(file: Path, text: str, mode: int) -> None:
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "w") as stream:
            os.fchmod(stream.fileno(), mode)
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
    except FileNotFoundError:
        raise KeyFileError(f"{file.parent}: does not exist", "init") from None
    except OSError as error:
        raise KeyFileError(f"{file}: can't be written ({error.strerror})") from None


def _read(file: Path, mend: str = "", act: str = "") -> str:
    try:
        with file.open(encoding="ascii") as stream:
            return stream.read(FILE_BYTES_MAX)
    except OSError as error:
        reason = f"{file}: can't be read ({error.strerror})"
        raise KeyFileError(f"{reason}: {mend}" if mend else reason, act) from None
    except UnicodeDecodeError:
        raise KeyFileError(f"{file}: is no key file") from None


def _read_private(file: Path, act: str) -> str:
    text = _read(file, act=act)
    if file.stat().st_mode & 0o077:
        raise KeyFileError(f"{file}: is open to others: chmod 600 {file}")
    return text
