"""`[agent]`, `[[agent.ports]]` and `[services.NAME]`: the modems and what is behind them."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from dialgate.settings.kinds import Hport, Name, Timeout

__all__ = ["PORTS_MAX", "AgentSettings", "PortSettings", "ServiceSettings"]

PORTS_MAX = 512

ModemCommand = Annotated[
    str,
    Meta(pattern=r"\A[ -~]{1,80}\Z", description="a modem command of 1 to 80 ASCII characters"),
]


class PortSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One modem on one serial line."""

    hport: Hport
    """The port's name in the whole cluster, as `oslo/1`."""
    device: str
    """The serial device: a tty or PTY, best by its name under `/dev/serial/by-path`."""
    service: Name
    """The service that an admitted caller gets when the verdict names none."""
    baud: Annotated[int, Meta(ge=50, le=4_000_000)] = 38_400
    """Speed between machine and modem, in bit/s."""
    bytesize: Literal[5, 6, 7, 8] = 8
    """Data bits."""
    parity: Literal["none", "even", "odd", "mark", "space"] = "none"
    """Parity between machine and modem."""
    stopbits: Literal[1, 2] = 1
    """Stop bits."""
    rtscts: bool = True
    """Hardware flow control."""
    xonxoff: bool = False
    """Software flow control; it takes two characters from the caller."""
    rings: Annotated[int, Meta(ge=1, le=30)] = 1
    """The ring at which the call is answered."""
    init: Annotated[tuple[ModemCommand, ...], Meta(max_length=32)] = (
        "ATZ",
        "ATE0Q0V1X4&C1&D2S0=0",
    )
    """Commands that make the modem ready, sent in order, each answered OK."""
    answer: ModemCommand = "ATA"
    """The command that answers a call."""
    dcd: Literal["auto", "ignore"] = "auto"
    """`auto`: the carrier-detect line says whether the caller is there. `ignore`: the device has
    no modem lines (every PTY), so the modem's NO CARRIER says it."""
    hangup: Literal["auto", "dtr", "escape"] = "auto"
    """How to hang up: drop DTR, or `+++` and ATH. `auto`: DTR where there are modem lines."""
    escape_guard_ms: Annotated[int, Meta(ge=0, le=10_000)] = 1000
    """Silence before and after `+++`: register S12 of the modem, plus a little."""
    answer_timeout_s: Annotated[int, Meta(ge=1, le=255)] = 60
    """How long answering may take until CONNECT."""
    caller_id_wait_ms: Annotated[int, Meta(ge=0, le=10_000)] = 0
    """How long to wait for caller id after the last ring before answering."""
    parity_strip: bool = False
    """Clear the eighth bit of what callers type: for terminals set to 7 bits and parity."""


class AgentSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One port agent: one process a machine with serial devices."""

    name: Name
    """Name of this agent; its key file is `agent-NAME.secret`."""
    site: Name
    """The site that its ports are at."""
    brokers: Annotated[tuple[str, ...], Meta(min_length=1, max_length=16)]
    """The brokers' agent addresses, as `tcp://127.0.0.1:7700`. With keys of several brokers, each
    says whose it is: `tcp://192.0.2.7:7700#broker-1`."""
    local_brokers: Annotated[tuple[str, ...], Meta(max_length=16)] = ()
    """Brokers on the site's own machine: used only while no other answers."""
    http: str = "127.0.0.1:7781"
    """Address of metrics and health."""
    spool: str = "/var/lib/dialgate/spool.db"
    """File that keeps the calls' records until a broker has stored them."""
    insecure: bool = False
    """Speak without CURVE. Allowed with brokers on loopback addresses only."""
    dialog_max_s: Annotated[int, Meta(ge=1, le=3600)] = 600
    """The longest that one caller's authentication may take."""
    ports: Annotated[tuple[PortSettings, ...], Meta(min_length=1, max_length=PORTS_MAX)]
    """The modems, each a `[[agent.ports]]` table."""


class ServiceSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an admitted caller is connected to: either `connect` or `command`."""

    connect: str = ""
    """A TCP console, as `tcp://127.0.0.1:2001`."""
    command: Annotated[tuple[str, ...], Meta(max_length=64)] = ()
    """A program and its arguments, run on a terminal of its own."""
    connect_timeout_s: Annotated[int, Meta(ge=1, le=300)] = 10
    """How long the TCP console may take to accept."""
    session_timeout_s: Timeout = 0
    """The longest that a caller may stay; 0: as long as he likes. A verdict may say less."""
    idle_timeout_s: Timeout = 0
    """The longest that the line may be silent in both directions; 0: no limit."""
    term: Annotated[
        str, Meta(pattern=r"\A[A-Za-z0-9._+-]{1,64}\Z", description="a terminal type, as vt100")
    ] = "vt100"
    """TERM in the command's environment."""
