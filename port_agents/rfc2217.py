"""The client's side of RFC 2217: a serial port behind a terminal server.

Pure: what the server sent and `now` (seconds, monotonic) go in, actions come out, to be performed
in their order.  `port_agents.network_port` has the connection.

```
 begin -> NEGOTIATING -DO or WILL COM-PORT-OPTION-> SETTING -NOTIFY-MODEMSTATE, or 2 s-> OPEN
               | refused, 5 s, 1 KiB of something else
               v
            REFUSED
```

Invariants: nothing waits for an acknowledgement, since servers in use (ser2net 4.3 for one) leave
some out and word others differently; a server that does not agree to COM-PORT-OPTION is refused
within a bound; bytes that come before that are never taken for the line's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, Literal

from port_agents.modem_actions import ModemLines
from port_agents.telnet import (
    DO,
    DONT,
    WILL,
    WONT,
    Data,
    Negotiation,
    Sub,
    TelnetParser,
    escaped,
    negotiation,
    sub,
)

__all__ = [
    "Action",
    "ComPort",
    "ComPortSettings",
    "Heard",
    "Hold",
    "LinesAre",
    "Opened",
    "Refused",
    "Send",
]

AGREE_S: Final = 5.0
"""By when a server must agree to COM-PORT-OPTION."""
LINES_S: Final = 2.0
"""By when it must have told the modem lines, to be taken for one that knows them."""
BANNER_BYTES_MAX: Final = 1024
"""What a server may say before it agrees."""
BANNER_CHARS_MAX: Final = 120
"""What of it stands in a reason."""

BINARY: Final = 0
SUPPRESS_GO_AHEAD: Final = 3
COM_PORT: Final = 44

_OURS: Final = frozenset({BINARY, SUPPRESS_GO_AHEAD, COM_PORT})
"""Options that we do."""
_THEIRS: Final = frozenset({BINARY, SUPPRESS_GO_AHEAD, COM_PORT})
"""Options that the server may do."""

_SET_BAUD: Final = 1
_SET_DATASIZE: Final = 2
_SET_PARITY: Final = 3
_SET_STOPSIZE: Final = 4
_SET_CONTROL: Final = 5
_SET_LINE_MASK: Final = 10
_SET_MODEM_MASK: Final = 11
_PURGE: Final = 12
_NOTIFY_MODEM: Final = 107
_SUSPEND: Final = 108
_RESUME: Final = 109

_PARITY: Final = {"none": 1, "odd": 2, "even": 3, "mark": 4, "space": 5}
_FLOW_NONE: Final = 1
_FLOW_XONXOFF: Final = 2
_FLOW_RTSCTS: Final = 3
_BREAK: Final = {True: 5, False: 6}
_DTR: Final = {True: 8, False: 9}
_RTS_ON: Final = 11
_PURGE_BOTH: Final = 3
_ALL_CHANGES: Final = 0xFF


@dataclass(frozen=True, slots=True)
class ComPortSettings:
    """How the server is to set the line."""

    baud: int = 38_400
    bytesize: int = 8
    parity: Literal["none", "even", "odd", "mark", "space"] = "none"
    stopbits: int = 1
    rtscts: bool = True
    xonxoff: bool = False


@dataclass(frozen=True, slots=True)
class Send:
    """Send these bytes to the server."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Heard:
    """Bytes of the line."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Opened:
    """The line can be used; `lines` None: the server does not tell of modem lines."""

    lines: ModemLines | None


@dataclass(frozen=True, slots=True)
class LinesAre:
    """The modem lines, after a change."""

    lines: ModemLines


@dataclass(frozen=True, slots=True)
class Hold:
    """Send no data (on), or send again: the server's FLOWCONTROL-SUSPEND and -RESUME."""

    on: bool


@dataclass(frozen=True, slots=True)
class Refused:
    """This is no port for us; the connection is to be closed."""

    reason: str


Action = Send | Heard | Opened | LinesAre | Hold | Refused


class _Stage(Enum):
    NEGOTIATING = auto()
    SETTING = auto()
    """Agreed; the modem lines are still to be told."""
    OPEN = auto()
    REFUSED = auto()


class ComPort:
    """One connection to one port.  Each input returns the actions to perform, in order."""

    def __init__(self, settings: ComPortSettings) -> None:
        self.lines: ModemLines | None = None
        """As last told."""
        self._settings = settings
        self._parser = TelnetParser()
        self._stage = _Stage.NEGOTIATING
        self._deadline = math.inf
        self._ours: set[int] = set()
        """Options that we offered or agreed to."""
        self._theirs: set[int] = set()
        """Options that we asked for or agreed to."""
        self._is_binary = False
        """Whether what comes is: else CR NUL stands for CR (RFC 854)."""
        self._after_cr = False
        self._banner = bytearray()

    def deadline(self) -> float:
        """Return when `tick` is due, `math.inf` if it isn't."""
        return self._deadline

    def begin(self, now: float) -> list[Action]:
        """Begin to negotiate on a new connection."""
        self._deadline = now + AGREE_S
        self._ours |= _OURS
        self._theirs |= {BINARY, SUPPRESS_GO_AHEAD}
        return [
            Send(
                b"".join(negotiation(WILL, option) for option in sorted(self._ours, reverse=True))
                + b"".join(negotiation(DO, option) for option in sorted(self._theirs))
            )
        ]

    def receive(self, data: bytes, now: float) -> list[Action]:
        """Take what the server sent."""
        actions: list[Action] = []
        for event in self._parser.feed(data):
            if self._stage is _Stage.REFUSED:
                break
            match event:
                case Data(plain):
                    actions += self._data(plain)
                case Negotiation(verb, option):
                    actions += self._negotiated(verb, option, now)
                case Sub(option, payload) if option == COM_PORT and payload:
                    actions += self._told(payload[0], payload[1:])
                case Sub():
                    pass  # Of an option that we did not agree to.
        return actions

    def tick(self, now: float) -> list[Action]:
        """Do what time has made due."""
        if now < self._deadline:
            return []
        self._deadline = math.inf
        if self._stage is _Stage.SETTING:
            self._stage = _Stage.OPEN
            return [Opened(None)]
        return self._refuse(f"did not agree to RFC 2217 within {AGREE_S:g} s")

    def ended(self) -> str:
        """Return why a connection that the server has closed came to its end."""
        if self._stage in {_Stage.OPEN, _Stage.SETTING}:
            return "the terminal server closed the connection"
        return f"the terminal server closed the connection{self._said()}"

    # What the line wants.

    def set_dtr(self, *, on: bool) -> bytes:
        """Return what raises or drops DTR."""
        return _command(_SET_CONTROL, _DTR[on])

    def set_break(self, *, on: bool) -> bytes:
        """Return what begins or ends a break."""
        return _command(_SET_CONTROL, _BREAK[on])

    def purge(self) -> bytes:
        """Return what has the server discard what waits in both directions."""
        return _command(_PURGE, _PURGE_BOTH)

    def data(self, data: bytes) -> bytes:
        """Return bytes for the line as they are sent."""
        return escaped(data)

    # What the server says.

    def _data(self, plain: bytes) -> list[Action]:
        if self._stage is _Stage.NEGOTIATING:
            self._banner += plain[: BANNER_BYTES_MAX - len(self._banner)]
            if len(self._banner) == BANNER_BYTES_MAX:
                return self._refuse("is no RFC 2217 port")
            return []
        if not self._is_binary:
            plain = self._without_nul(plain)
        return [Heard(plain)] if plain else []

    def _without_nul(self, plain: bytes) -> bytes:
        if self._after_cr:
            plain = plain.removeprefix(b"\0") if plain else plain
        self._after_cr = plain.endswith(b"\r")
        return plain.replace(b"\r\0", b"\r")

    def _negotiated(self, verb: int, option: int, now: float) -> list[Action]:
        answers: list[Action] = []
        match verb:
            case _ if verb == DO and option not in self._ours:
                answers.append(Send(negotiation(WILL if option in _OURS else WONT, option)))
                self._ours |= {option} & _OURS
            case _ if verb == WILL and option not in self._theirs:
                answers.append(Send(negotiation(DO if option in _THEIRS else DONT, option)))
                self._theirs |= {option} & _THEIRS
            case _ if verb == DONT and option in self._ours:
                self._ours.discard(option)
            case _ if verb == WONT and option in self._theirs:
                self._theirs.discard(option)
        if option == BINARY and verb in {WILL, WONT}:
            self._is_binary = verb == WILL
        if option == COM_PORT:
            answers += self._agreed(now) if verb in {DO, WILL} else self._disagreed(verb)
        return answers

    def _agreed(self, now: float) -> list[Action]:
        if self._stage is not _Stage.NEGOTIATING:
            return []
        self._stage = _Stage.SETTING
        self._deadline = now + LINES_S
        line = self._settings
        flow = _FLOW_RTSCTS if line.rtscts else _FLOW_XONXOFF if line.xonxoff else _FLOW_NONE
        commands = [
            sub(COM_PORT, bytes([_SET_BAUD]) + line.baud.to_bytes(4)),
            _command(_SET_DATASIZE, line.bytesize),
            _command(_SET_PARITY, _PARITY[line.parity]),
            _command(_SET_STOPSIZE, line.stopbits),
            _command(_SET_CONTROL, flow),
            _command(_SET_LINE_MASK, 0),
            _command(_SET_MODEM_MASK, _ALL_CHANGES),
        ]
        if not line.rtscts:
            commands.append(_command(_SET_CONTROL, _RTS_ON))
        return [Send(b"".join(commands))]

    def _disagreed(self, verb: int) -> list[Action]:
        if verb == DONT and self._stage is _Stage.NEGOTIATING:
            return self._refuse("does not speak RFC 2217")
        return []

    def _told(self, command: int, value: bytes) -> list[Action]:
        if command == _NOTIFY_MODEM and len(value) == 1:
            return self._lines_told(_modem_lines(value[0]))
        if command in {_SUSPEND, _RESUME} and self._stage is not _Stage.NEGOTIATING:
            return [Hold(command == _SUSPEND)]
        return []  # An acknowledgement: what the line does is what counts.

    def _lines_told(self, lines: ModemLines) -> list[Action]:
        changed, self.lines = lines != self.lines, lines
        match self._stage:
            case _Stage.SETTING:
                self._stage = _Stage.OPEN
                self._deadline = math.inf
                return [Opened(lines)]
            case _Stage.OPEN if changed:
                return [LinesAre(lines)]
            case _:
                return []

    def _refuse(self, what: str) -> list[Action]:
        self._stage = _Stage.REFUSED
        self._deadline = math.inf
        return [Refused(f"{what}{self._said()}")]

    def _said(self) -> str:
        """Return the banner as the end of a reason: "Port already in use" says a lot."""
        words = " ".join(self._banner.decode("ascii", "replace").split())[:BANNER_CHARS_MAX]
        shown = "".join(char if char.isprintable() else "?" for char in words)
        return f', and said "{shown}"' if shown else ""


def _command(command: int, value: int) -> bytes:
    return sub(COM_PORT, bytes([command, value]))


def _modem_lines(bits: int) -> ModemLines:
    return ModemLines(
        dcd=bool(bits & 0x80), ri=bool(bits & 0x40), dsr=bool(bits & 0x20), cts=bool(bits & 0x10)
    )
