"""`[agent]` and `[services.NAME]`: the process that has the lines, and what is behind them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import Annotated, Literal

from msgspec import Meta, Struct

from dialgate.settings.kinds import Glob, Name, Timeout
from dialgate.settings.lines import PORTS_MAX, BankSettings, PortSettings, placed_in_bank
from dialgate.settings.locator import Path as Place

__all__ = ["AgentSettings", "ServiceSettings"]


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
    service_socket: str = ""
    """Unix socket at which services name their users (`dialgate service user`). Empty: beside the
    spool, as `/var/lib/dialgate/spool.sock`."""
    locks: str = "/var/lock"
    """Directory of UUCP lock files, which tell programs of one another's lines. Empty: none are
    made or looked at."""
    insecure: bool = False
    """Speak without CURVE. Allowed with brokers on loopback addresses only."""
    dialog_max_s: Annotated[int, Meta(ge=1, le=3600)] = 600
    """The longest that one caller's authentication may take."""
    last_word_timeout_s: Annotated[int, Meta(ge=1, le=60)] = 2
    """How long a hang-up waits for what the caller shall still read to leave. It is 512 bytes at
    most, which take 17 s at 300 bit/s."""
    service_stop_timeout_s: Annotated[int, Meta(ge=1, le=10)] = 1
    """How long a service may take to end by itself when its caller has gone; then it is killed,
    and with it all of its session. The port answers no call meanwhile."""
    order_timeout_s: Annotated[int, Meta(ge=5, le=60)] = 15
    """How long a port may take over an operator's order until it has failed: a hang-up with its
    guard times, and the init commands."""
    refused_callers: Annotated[tuple[Glob, ...], Meta(max_length=1024)] = ()
    """Patterns of numbers that are not answered: it just rings, and the call is recorded as
    `number-refused`. Needs caller id, which comes behind the first ring: with `rings = 1`, set
    `caller_id_wait_ms`."""
    interim_s: Annotated[int, Meta(ge=0, le=86_400)] = 900
    """How often a record tells how a caller's stay at his service goes on; 0: never."""
    spool_records_max: Annotated[int, Meta(ge=100, le=10_000_000)] = 100_000
    """Records that the spool holds, about 700 bytes each; a call has two,
    and one for each `interim_s` that it lasts."""
    when_unrecorded: Literal["answer-until-full", "answer", "ring"] = "answer-until-full"
    """What callers meet while records of calls can't be stored. `answer-until-full`: calls are
    answered as long as the spool has room, then they ring. `answer`: they are answered all the
    same, and records may be lost. `ring`: they ring once a record has waited half a minute."""
    ports: Annotated[tuple[PortSettings, ...], Meta(max_length=PORTS_MAX)] = ()
    """Single ports, each a `[[agent.ports]]` table."""
    banks: Annotated[tuple[BankSettings, ...], Meta(max_length=PORTS_MAX)] = ()
    """Ports by the row, each row a `[[agent.banks]]` table."""

    @property
    def service_socket_path(self) -> Path:
        """Where services name their users."""
        return Path(self.service_socket or PurePath(self.spool).with_suffix(".sock"))

    @property
    def lines(self) -> tuple[PortSettings, ...]:
        """All ports: the single ones, then those of the banks."""
        return tuple(port for _, port in self.placed_lines())

    def placed_lines(self) -> Iterator[tuple[Place, PortSettings]]:
        """Yield all ports, each with the table that it comes from."""
        for index, port in enumerate(self.ports):
            yield ("agent", "ports", index), port
        for index, bank in enumerate(self.banks):
            for port in placed_in_bank(bank):
                yield ("agent", "banks", index), port


class ServiceSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an admitted caller is connected to: either `connect` or `command`."""

    connect: str = ""
    """A TCP console, as `tcp://127.0.0.1:2001`."""
    command: Annotated[tuple[str, ...], Meta(max_length=64)] = ()
    """A program and its arguments, run on a terminal of its own."""
    direct: bool = False
    """Give the command the line's own device instead of a terminal that is relayed: for pppd.
    What passes is not seen: no `idle_timeout_s`, and the device must have modem lines."""
    raw: bool = False
    """Start the command's terminal without echo and line editing, for those who speak no text: for
    pppd, whose caller would get his own frames back until it has set the terminal itself."""
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
