"""`[worker]`, `[[policies]]` and `[authenticators.NAME]`: who decides, and by which rules."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Annotated, Literal

from msgspec import Meta, Struct

from dialgate.settings.kinds import Choices, Glob, Label, Name, Text, Timeout

__all__ = ["AuthenticatorSettings", "PolicySettings", "WorkerSettings"]


class WorkerSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One auth worker process."""

    name: Name
    """Name of this worker; its key file is `worker-NAME.secret`."""
    brokers: Annotated[tuple[str, ...], Meta(min_length=1, max_length=16)]
    """Every broker's worker address, as `tcp://127.0.0.1:7701`. With keys of several brokers, each
    says whose it is: `tcp://192.0.2.7:7701#broker-1`."""
    capacity: Annotated[int, Meta(ge=1, le=100_000)] = 1000
    """Dialogs that it has open at once at most."""
    http: str = "127.0.0.1:7782"
    """Address of metrics and health."""
    insecure: bool = False
    """Speak without CURVE. Allowed with brokers on loopback addresses only."""
    pools: Choices = ("default",)
    """The pools whose calls it takes."""
    hash_concurrency: Annotated[int, Meta(ge=1, le=64)] = 2
    """Passwords that are checked at once; each takes 19 MiB and about 40 ms of one core."""
    reattach_s: Annotated[int, Meta(ge=1, le=600)] = 30
    """How long a dialog whose session is over waits, silent, to be found again."""
    dialog_max_s: Annotated[int, Meta(ge=1, le=3600)] = 600
    """The longest that one dialog may take."""


class PolicySettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How callers of some ports are authenticated; the first policy that matches decides."""

    sites: Annotated[tuple[Glob, ...], Meta(min_length=1, max_length=256)] = ("*",)
    """Patterns of sites."""
    ports: Annotated[tuple[Glob, ...], Meta(min_length=1, max_length=256)] = ("*",)
    """Patterns of ports (HPORT)."""
    authenticators: Choices
    """Names of authenticators, asked in this order."""
    tries: Annotated[int, Meta(ge=1, le=10)] = 3
    """Tries in one call; after the last the line is hung up."""
    login_timeout_s: Annotated[int, Meta(ge=1, le=600)] = 60
    """How long a caller may take for each answer."""
    retry_delay_s: Annotated[float, Meta(ge=0, le=60)] = 2.0
    """Pause after a failed try."""
    banner: Text = ""
    """Shown before the first prompt."""
    login_prompt: Text = "login: "
    """Asks for the user's name."""
    password_prompt: Text = "Password: "  # noqa: S105 - a prompt
    """Asks for the password, which is not echoed."""
    refusal: Text = "Login incorrect"
    """Shown after a failed try: one text, whatever was wrong."""
    service: Label = ""
    """The service that these callers get. Empty: the port's own."""
    session_timeout_s: Timeout = 0
    """The longest that these callers may stay; 0: the service's own limit."""
    idle_timeout_s: Timeout = 0
    """The longest that their line may be silent; 0: the service's own limit."""

    def matches(self, site: str, hport: str) -> bool:
        """Return whether this policy is for the port `hport` at `site`."""
        return any(fnmatchcase(site, glob) for glob in self.sites) and any(
            fnmatchcase(hport, glob) for glob in self.ports
        )


class AuthenticatorSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One source of truth about users."""

    kind: Literal["local"]
    """`local`: the users in the cluster's state, kept with `dialgate users`."""
