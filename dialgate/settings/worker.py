"""`[worker]`: who decides."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from dialgate.settings.kinds import Choices, Name

__all__ = ["WorkerSettings"]


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
    log_unknown_users: bool = False
    """Put names that may be nobody's into logs and records, where people by mistake type passwords
    as well. Else `(unknown)` stands for each that no local user has and nobody got in by."""
    reattach_s: Annotated[int, Meta(ge=1, le=600)] = 30
    """How long a dialog whose session is over waits, silent, to be found again."""
    dialog_max_s: Annotated[int, Meta(ge=1, le=3600)] = 600
    """The longest that one dialog may take."""
