"""The whole configuration file as one struct, and the part that each program reads."""

from __future__ import annotations

from typing import Final, Literal, overload

from msgspec import Struct, field

from dialgate.errors import ConfigError, Fault
from dialgate.settings.accounts import LockoutSettings, PasswordSettings
from dialgate.settings.agent import AgentSettings, ServiceSettings
from dialgate.settings.authenticators import AuthenticatorSettings
from dialgate.settings.cluster import BrokerSettings, ClusterSettings
from dialgate.settings.kinds import Name
from dialgate.settings.models import ModelSettings
from dialgate.settings.policies import PolicySettings
from dialgate.settings.worker import WorkerSettings

__all__ = ["PROGRAMS", "Program", "Settings", "require"]

Program = Literal["broker", "agent", "worker"]
PROGRAMS: Final[tuple[Program, ...]] = ("broker", "worker", "agent")
"""The programs that a file can name, in the order in which they are best started."""


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A configuration file.  A program whose table is absent isn't run from this file."""

    cluster: ClusterSettings = field(default_factory=ClusterSettings)
    """What all programs share."""
    broker: BrokerSettings | None = None
    """The broker of this machine."""
    worker: WorkerSettings | None = None
    """The auth worker of this machine."""
    agent: AgentSettings | None = None
    """The port agent of this machine."""
    models: dict[Name, ModelSettings] = {}
    """Kinds of modems beside those that are known, by name."""
    services: dict[Name, ServiceSettings] = {}
    """What admitted callers are connected to, by name."""
    policies: tuple[PolicySettings, ...] = ()
    """How callers are authenticated; the first that matches decides, and without one a caller is
    turned away."""
    authenticators: dict[Name, AuthenticatorSettings] = {}
    """Sources of truth about users, by name."""
    lockout: LockoutSettings = field(default_factory=LockoutSettings)
    """When users have to wait after failed tries."""
    passwords: PasswordSettings = field(default_factory=PasswordSettings)
    """What local users' new passwords must be like."""

    @property
    def programs(self) -> tuple[Program, ...]:
        """The programs that the file names."""
        return tuple(program for program in PROGRAMS if getattr(self, program) is not None)


@overload
def require(settings: Settings, program: Literal["broker"], file: str = ...) -> BrokerSettings: ...
@overload
def require(settings: Settings, program: Literal["worker"], file: str = ...) -> WorkerSettings: ...
@overload
def require(settings: Settings, program: Literal["agent"], file: str = ...) -> AgentSettings: ...
def require(
    settings: Settings, program: Program, file: str = "the configuration"
) -> BrokerSettings | WorkerSettings | AgentSettings:
    """Return the table of `program`, which a command asks about that is not that program.

    Raises:
        ConfigError: `file`, from which the settings are, has no such table.
    """
    table: BrokerSettings | WorkerSettings | AgentSettings | None = getattr(settings, program)
    if table is None:
        mend = f"name a file that has a [{program}] table with --config"
        raise ConfigError([Fault(file, 0, program, "is missing", mend)])
    return table
