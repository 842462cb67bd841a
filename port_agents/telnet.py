"""The telnet protocol (RFC 854, 855) as far as a serial line needs it: data and commands.

Pure, and without a memory of options: what is negotiated is `port_agents.rfc2217`'s business.

Invariant: no input makes anything here grow: a subnegotiation is kept up to `SUB_BYTES_MAX` and
counted as none beyond that.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

__all__ = [
    "DO",
    "DONT",
    "IAC",
    "SUB_BYTES_MAX",
    "WILL",
    "WONT",
    "Data",
    "Event",
    "Negotiation",
    "Sub",
    "TelnetParser",
    "escaped",
    "negotiation",
    "sub",
]

SUB_BYTES_MAX: Final = 256
"""Longest subnegotiation taken; RFC 2217's longest is a signature."""

IAC: Final = 255
DONT: Final = 254
DO: Final = 253
WONT: Final = 252
WILL: Final = 251
SB: Final = 250
SE: Final = 240

_NEGOTIATIONS: Final = frozenset({WILL, WONT, DO, DONT})


@dataclass(frozen=True, slots=True)
class Data:
    """Bytes of the line itself."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Negotiation:
    """WILL, WONT, DO or DONT of an option."""

    verb: int
    option: int


@dataclass(frozen=True, slots=True)
class Sub:
    """A subnegotiation of an option."""

    option: int
    payload: bytes


Event = Data | Negotiation | Sub


class _State(Enum):
    DATA = auto()
    COMMAND = auto()
    """Behind IAC."""
    OPTION = auto()
    """Behind WILL, WONT, DO or DONT."""
    SUB = auto()
    SUB_COMMAND = auto()
    """Behind IAC in a subnegotiation."""


class TelnetParser:
    """Cuts what a peer sends into data and commands, whatever pieces it comes in."""

    def __init__(self) -> None:
        self._state = _State.DATA
        self._verb = 0
        self._sub = bytearray()
        self.malformed = 0
        """Subnegotiations that were empty or over the limit, and commands that make no sense."""

    def feed(self, data: bytes) -> list[Event]:
        """Return what `data` completes, in order; neighbouring bytes of data are one event."""
        events: list[Event] = []
        plain = bytearray()
        start = 0
        while start < len(data):
            if self._state is _State.DATA:
                end = data.find(IAC, start)
                end = len(data) if end < 0 else end
                plain += data[start:end]
                start = end
                if start == len(data):
                    break
            command = self._step(data[start])
            start += 1
            if isinstance(command, bytes):
                plain += command
            elif command is not None:
                if plain:
                    events.append(Data(bytes(plain)))
                    plain.clear()
                events.append(command)
        if plain:
            events.append(Data(bytes(plain)))
        return events

    def _step(self, byte: int) -> Event | bytes | None:
        """Take one byte that may be of a command; return what it completes."""
        match self._state:
            case _State.DATA:
                self._state = _State.COMMAND
            case _State.COMMAND:
                return self._command(byte)
            case _State.OPTION:
                self._state = _State.DATA
                return Negotiation(self._verb, byte)
            case _State.SUB if byte == IAC:
                self._state = _State.SUB_COMMAND
            case _State.SUB:
                self._keep(byte)
            case _State.SUB_COMMAND if byte == IAC:
                self._state = _State.SUB
                self._keep(byte)
            case _State.SUB_COMMAND:
                self._state = _State.DATA
                return self._end_of_sub(byte)
        return None

    def _command(self, byte: int) -> bytes | None:
        self._state = _State.DATA
        if byte == IAC:
            return bytes([IAC])
        if byte in _NEGOTIATIONS:
            self._verb = byte
            self._state = _State.OPTION
        elif byte == SB:
            self._sub.clear()
            self._state = _State.SUB
        elif byte <= SE:
            self.malformed += byte != SE
        return None

    def _keep(self, byte: int) -> None:
        if len(self._sub) <= SUB_BYTES_MAX:
            self._sub.append(byte)

    def _end_of_sub(self, byte: int) -> Sub | None:
        if byte != SE or not 1 <= len(self._sub) <= SUB_BYTES_MAX:
            self.malformed += 1
            return None
        return Sub(self._sub[0], bytes(self._sub[1:]))


def escaped(data: bytes) -> bytes:
    """Return `data` as it goes over a telnet connection in binary mode."""
    return data.replace(b"\xff", b"\xff\xff")


def negotiation(verb: int, option: int) -> bytes:
    """Return WILL, WONT, DO or DONT `option`."""
    return bytes([IAC, verb, option])


def sub(option: int, payload: bytes) -> bytes:
    """Return a subnegotiation of `option`."""
    return bytes([IAC, SB, option]) + escaped(payload) + bytes([IAC, SE])
