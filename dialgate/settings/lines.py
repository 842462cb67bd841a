"""`[[agent.ports]]` and `[[agent.banks]]`: lines one by one, and by the row.

What a row's tables say of its ports is expanded here, once; everything behind this module knows
single ports only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from dialgate.settings.kinds import Hport, Label, Name, Timeout

__all__ = [
    "NUMBER",
    "PORTS_MAX",
    "BankSettings",
    "LineOptions",
    "ModemCommand",
    "PortSettings",
    "expand",
    "placed_in_bank",
]

PORTS_MAX: Final = 512
"""Most ports of one agent."""
NUMBER: Final = "{n}"
"""What stands in a bank's `hport` for the device's number."""

_RANGE: Final = re.compile(r"\{([0-9]{1,5})\.\.([0-9]{1,5})\}")

ModemCommand = Annotated[
    str,
    Meta(pattern=r"\A[ -~]{1,80}\Z", description="a modem command of 1 to 80 ASCII characters"),
]


class LineOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What may be said of a port, and of all ports of a bank at once."""

    service: Name
    """The service that an admitted caller gets when the verdict names none."""
    number: Annotated[
        str, Meta(pattern=r"\A[ -~]{0,64}\Z", description="at most 64 printable ASCII characters")
    ] = ""
    """The telephone number of the line: what policies compare with `called`."""
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
    dial_out: bool = False
    """Let programs that dial out (cu, minicom, pppd) have the line while no call is on it: it is
    locked during calls only, and let go when another program's lock appears."""
    modem: bool = True
    """false: a directly wired line, without a modem. Carrier detect or the first byte begins a
    call, the loss of carrier detect or DSR ends it, or silence."""
    silence_timeout_s: Timeout = 1800
    """The longest that a call may be silent in both directions where no modem line shows its end
    (`dcd = "ignore"`, or a cable without them); 0: no limit."""
    rings: Annotated[int, Meta(ge=1, le=30)] = 1
    """The ring at which the call is answered."""
    model: Label = ""
    """The kind of modem, a table below or `[models.NAME]`: its init commands, how it is told to
    give caller id, how it hangs up. Empty: `hayes`."""
    init: Annotated[tuple[ModemCommand, ...], Meta(max_length=32)] = ()
    """Commands that make the modem ready, sent in order, each answered OK. Empty: the model's."""
    caller_id: bool = False
    """Ask the modem for caller id, with the model's command behind the init commands. It comes
    after the first ring: set `rings` to 2, or `caller_id_wait_ms`."""
    answer: ModemCommand = "ATA"
    """The command that answers a call."""
    dcd: Literal["auto", "ignore"] = "auto"
    """`auto`: the carrier-detect line says whether the caller is there. `ignore`: the device has
    no modem lines (every PTY), so the modem's NO CARRIER says it."""
    dcd_debounce_ms: Annotated[int, Meta(ge=0, le=5000)] = 200
    """How long carrier detect must stay down for a call to be over; lines are looked at every
    50 ms."""
    hangup: Literal["", "auto", "dtr", "escape"] = ""
    """How to hang up: drop DTR, or `+++` and ATH. `auto`: DTR where there are modem lines. Empty:
    as the model does."""
    escape_guard_ms: Annotated[int, Meta(ge=0, le=10_000)] = 1000
    """Silence before and after `+++`: register S12 of the modem, plus a little."""
    answer_timeout_s: Annotated[int, Meta(ge=1, le=255)] = 60
    """How long answering may take until CONNECT."""
    caller_id_wait_ms: Annotated[int, Meta(ge=0, le=10_000)] = 0
    """How long to wait for caller id after the last ring before answering."""
    probe_interval_s: Annotated[int, Meta(ge=0, le=86_400)] = 300
    """How often an idle modem is asked whether it is there; 0: never."""
    hook: Annotated[tuple[str, ...], Meta(max_length=64)] = ()
    """A program and its arguments for a modem that nothing else brings back, for example to cycle
    its power. HPORT and DEVICE are in its environment."""
    hook_timeout_s: Annotated[int, Meta(ge=1, le=600)] = 60
    """How long the hook may take."""
    when_down: Literal["ring", "busy", "answer"] = "ring"
    """What callers get while no broker can be reached: ringing, busy (a modem that takes ATH1), or
    an answer and, after the queue time, a last word."""
    ppp: Label = ""
    """The service for callers whose programs send PPP frames at the prompt, without a login of
    ours: it must authenticate them itself (pppd's `auth`). Empty: they are hung up on."""
    parity_strip: bool = False
    """Clear the eighth bit of what callers type: for terminals set to 7 bits and parity."""


class PortSettings(LineOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One port on one serial line."""

    hport: Hport
    """The port's name in the whole cluster, as `oslo/1`."""
    device: str
    """The serial device: a tty or PTY, best by its name under `/dev/serial/by-path`; or a port of a
    terminal server, `rfc2217://HOST:PORT`."""


class BankSettings(LineOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A row of ports that differ in a number only.

    All keys of `[[agent.ports]]` but `hport` and `device` may stand here too, and are shared.
    """

    hport: Hport
    """The ports' names: `{n}` is the device's number, as in `oslo/{n}`."""
    devices: str
    """The devices: `{a..b}` counts from a to b, as in `/dev/ttyD{0..63}` or
    `rfc2217://ts1:{3001..3048}`; with `{00..63}` every number has two digits."""


def expand(devices: str) -> list[tuple[str, str]]:
    """Return number and device of each port of a row.

    Raises:
        ValueError: with the reason, fit for the operator.
    """
    ranges = _RANGE.findall(devices)
    if len(ranges) != 1:
        raise ValueError("has no range of numbers" if not ranges else "has more than one range")
    ((first, last),) = ranges
    size = int(last) - int(first) + 1
    if not 1 <= size <= PORTS_MAX:
        raise ValueError(f"counts {max(0, size)} devices, and an agent has 1 to {PORTS_MAX}")
    width = len(first) if first.startswith("0") and len(first) == len(last) else 0
    numbers = [str(number).zfill(width) for number in range(int(first), int(last) + 1)]
    return [(number, _RANGE.sub(number, devices)) for number in numbers]


def placed_in_bank(bank: BankSettings) -> Iterator[PortSettings]:
    """Yield a bank's ports; none where its `devices` are at fault."""
    shared = {name: getattr(bank, name) for name in LineOptions.__struct_fields__}
    try:
        devices = expand(bank.devices)
    except ValueError:
        return
    for number, device in devices:
        hport = bank.hport.replace(NUMBER, number)
        yield PortSettings(hport=hport, device=device, **shared)
