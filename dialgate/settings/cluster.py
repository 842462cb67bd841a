"""`[cluster]` and `[broker]`: what all programs share, and the broker's own settings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct

from dialgate.settings.kinds import Milliseconds, Name, Seconds

__all__ = ["BrokerSettings", "ClusterSettings"]


class ClusterSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The same on every machine of the cluster."""

    name: Name = "dialgate"
    """Name of the cluster, for people."""
    state: str = "sqlite:////var/lib/dialgate/state.db"
    """URL of the cluster's SQL state: users, tries, used codes, calls. `sqlite:///` and a path for
    one machine; `postgresql://user@host/database` for several, with a password from `~/.pgpass`."""
    keys: str = "/etc/dialgate/keys"
    """Directory of the key files; `dialgate keys init` makes it."""
    pool_key: str = ""
    """File with the worker pool's secret key. Empty: `pool.key` in `keys`."""
    users_copy_max_age_s: Annotated[int, Meta(ge=60, le=31_536_000)] = 604_800
    """How long a copy of the users, made with `dialgate state sync sign`, counts at a site."""

    @property
    def state_file(self) -> Path | None:
        """The state's file; None when the state is a server's."""
        path = self.state.removeprefix("sqlite:///")
        return Path(path) if path != self.state else None

    @property
    def pool_key_file(self) -> Path:
        """Where the worker pool's secret key is read."""
        return Path(self.pool_key) if self.pool_key else Path(self.keys) / "pool.key"


class BrokerSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One broker process."""

    name: Name
    """Name of this broker; its key file is `broker-NAME.secret`."""
    agents: str
    """Address on which port agents are served, as `tcp://127.0.0.1:7700`."""
    workers: str
    """Address on which auth workers are served, as `tcp://127.0.0.1:7701`."""
    http: str = "127.0.0.1:7780"
    """Address of metrics, health, events and the operators' commands."""
    operator_token_file: str = ""
    """File with the token that operators' commands must carry. Without it they are served on a
    loopback address only."""
    insecure: bool = False
    """Speak without CURVE. Allowed on loopback addresses only."""
    heartbeat_ms: Annotated[int, Meta(ge=100, le=60_000)] = 1000
    """A peer that was silent for three of these is lost; told to peers in WELCOME."""
    end_lease_ms: Milliseconds = 10_000
    """How long the answer to an END, and a COMPLETE that it delays, may take."""
    queue_timeout_ms: Milliseconds = 10_000
    """How long a call waits for a worker before it is refused."""
    max_waiting: Annotated[int, Meta(ge=1, le=1_000_000)] = 1000
    """Calls that may wait for a worker; a new one beyond them is refused at once."""
    errors_max: Annotated[int, Meta(ge=1, le=10_000)] = 20
    """Errors in 10 s after which a peer is sent away."""
    penalty_s: Seconds = 10
    """How long the frames of a peer that was sent away are dropped unread."""
