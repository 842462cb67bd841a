"""`[authenticators.NAME]`: one table a source of truth about users, its keys chosen by `kind`.

Kinds that come with dialgate are here; others are found by entry point (`auth_workers.kinds` says
what stands there), so that their tables are checked like ours.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Final, Literal, NamedTuple

from msgspec import Meta, Struct

from dialgate.settings.endpoints import HostPort, parse_host_port
from dialgate.settings.kinds import Label, Text

__all__ = [
    "ENTRY_POINTS",
    "KINDS",
    "AuthenticatorSettings",
    "LocalSettings",
    "OneTimeCodeSettings",
    "Problem",
    "RadiusSettings",
    "kind_names",
    "settings_of_kind",
]

ENTRY_POINTS: Final = "dialgate.authenticators"
"""Group of the entry points: the name is the kind."""
SECRET_BYTES_MAX: Final = 1024
"""Longest secret that is read from a file."""


class Problem(NamedTuple):
    """A fault or warning of one key."""

    key: str
    what: str
    mend: str
    warning: bool = False
    """No program refuses to start for it."""


class AuthenticatorSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One source of truth about users: the base of every kind's table.

    A subclass repeats the three options above, narrows `kind` to its own name and has a text under
    each field.
    """

    kind: Label
    """Which sort it is."""

    def problems(self) -> Iterator[Problem]:
        """Yield what the table's values show alone; nothing is looked up on the machine."""
        return iter(())

    def machine_problems(self) -> Iterator[Problem]:
        """Yield what a worker misses on this machine: files, mostly."""
        return iter(())


class LocalSettings(AuthenticatorSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The users in the cluster's state, kept with `dialgate users`."""

    kind: Literal["local"]
    """`local`."""


class OneTimeCodeSettings(
    AuthenticatorSettings, frozen=True, kw_only=True, forbid_unknown_fields=True
):
    """One-time codes of tokens: a second factor, behind another authenticator in a chain of `all`.

    `dialgate users otp` hands the tokens out.
    """

    kind: Literal["otp"]
    """`otp`."""
    prompt: Text = "Code: "
    """Asks for the code, which is not echoed."""


class RadiusSettings(AuthenticatorSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """RADIUS servers (RFC 2865): PAP with challenges, and accounting (RFC 2866)."""

    kind: Literal["radius"]
    """`radius`."""
    servers: Annotated[tuple[str, ...], Meta(min_length=1, max_length=16)]
    """Authentication servers as `HOST:PORT`, in order of preference. One that does not answer is
    asked last for a minute."""
    accounting: Annotated[tuple[str, ...], Meta(max_length=16)] = ()
    """Accounting servers as `HOST:PORT`, in order of preference. Empty: none."""
    secret_file: str
    """File with the secret that dialgate and the servers share: one line, mode 0600."""
    timeout_s: Annotated[int, Meta(ge=1, le=60)] = 3
    """How long an answer may take before the request is sent again."""
    retries: Annotated[int, Meta(ge=0, le=10)] = 2
    """How often a request is sent again before the next server is asked."""
    require_message_authenticator: bool = True
    """Refuse replies without Message-Authenticator, which anybody on the way can forge
    (CVE-2024-3596). false only with a warning at each start."""

    def problems(self) -> Iterator[Problem]:
        """Yield addresses that are none, or stand twice, and the warning of a weak setting."""
        for key in ("servers", "accounting"):
            seen: set[HostPort] = set()
            for text in getattr(self, key):
                try:
                    address = parse_host_port(text)
                except ValueError as error:
                    yield Problem(key, f'"{text}" {error}', 'write it as "192.0.2.7:1812"')
                    continue
                if address in seen:
                    yield Problem(key, f'"{text}" stands twice', "name each server once")
                if address.wildcard:
                    yield Problem(key, f'"{text}" is nobody to ask', "write the server's host")
                seen.add(address)
        if not self.require_message_authenticator:
            yield Problem(
                "require_message_authenticator",
                "is false, so who sits between here and the server can let anybody in",
                "have the server sign its replies (docs/authenticators.md) and remove the key",
                warning=True,
            )

    def machine_problems(self) -> Iterator[Problem]:
        """Yield what keeps the secret from being used."""
        try:
            self.secret()
        except ValueError as error:
            yield Problem(
                "secret_file",
                str(error),
                f"write the servers' secret, chmod 600 {self.secret_file}",
            )

    def secret(self) -> bytes:
        """Return the secret.

        Raises:
            ValueError: it can't be read, is empty or too long, or others may read it.
        """
        file = Path(self.secret_file)
        try:
            if file.stat().st_mode & 0o077:
                raise ValueError(f"{file} is open to others")
            with file.open("rb") as stream:
                secret = stream.read(SECRET_BYTES_MAX + 1).rstrip(b"\r\n")
        except OSError as error:
            raise ValueError(f"{file} can't be read ({error.strerror})") from None
        if not secret.strip():
            raise ValueError(f"{file} is empty")
        if len(secret) > SECRET_BYTES_MAX or b"\n" in secret:
            raise ValueError(f"{file} has more than one line of {SECRET_BYTES_MAX} bytes")
        return secret


KINDS: Final[dict[str, type[AuthenticatorSettings]]] = {
    "local": LocalSettings,
    "otp": OneTimeCodeSettings,
    "radius": RadiusSettings,
}
"""Those that come with dialgate."""


def kind_names() -> list[str]:
    """Return every kind that this installation knows."""
    return sorted({*KINDS, *entry_points(group=ENTRY_POINTS).names})


def settings_of_kind(kind: str) -> type[AuthenticatorSettings] | None:
    """Return the struct of the tables of `kind`, or None if no package brings it.

    Raises:
        ImportError: the package that brings it can't be loaded; likewise AttributeError.
    """
    if kind in KINDS:
        return KINDS[kind]
    for entry in entry_points(group=ENTRY_POINTS, name=kind):
        settings: type[AuthenticatorSettings] = entry.load().settings
        return settings
    return None
