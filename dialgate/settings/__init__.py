"""The configuration file: one TOML document, of which each program reads what concerns it.

`load` gives the whole as frozen structs or raises `ConfigError` with every fault at once; `require`
gives the table of one program.  Each field's meaning stands under it, and `docs/configuration.md`
is made from there (`reference`).
"""

from __future__ import annotations

from dialgate.settings.accounts import LockoutSettings, PasswordSettings
from dialgate.settings.agent import AgentSettings, ServiceSettings
from dialgate.settings.authenticators import AuthenticatorSettings
from dialgate.settings.cluster import BrokerSettings, ClusterSettings
from dialgate.settings.document import PROGRAMS, Program, Settings, require
from dialgate.settings.endpoints import (
    Endpoint,
    HostPort,
    parse_endpoint,
    parse_host_port,
    parse_terminal_server,
)
from dialgate.settings.lines import BankSettings, PortSettings
from dialgate.settings.loader import inspect, load
from dialgate.settings.models import ModelSettings, model_of
from dialgate.settings.policies import PolicySettings
from dialgate.settings.worker import WorkerSettings

__all__ = [
    "PROGRAMS",
    "AgentSettings",
    "AuthenticatorSettings",
    "BankSettings",
    "BrokerSettings",
    "ClusterSettings",
    "Endpoint",
    "HostPort",
    "LockoutSettings",
    "ModelSettings",
    "PasswordSettings",
    "PolicySettings",
    "PortSettings",
    "Program",
    "ServiceSettings",
    "Settings",
    "WorkerSettings",
    "inspect",
    "load",
    "model_of",
    "parse_endpoint",
    "parse_host_port",
    "parse_terminal_server",
    "require",
]
