"""A Hayes modem that exists in memory only: for tests, the demo and the simulated bank.

Pure: bytes of the computer (the DTE) and of the far caller, DTR and `now` (seconds, monotonic) go
in, actions come out, in order.  It answers calls; it can't dial.  `port_agents.bank` puts it on a
PTY and a TCP port.

What it has of a real one: concatenated AT commands, echo, verbose and numeric results, S registers
(S0 rings to answer, S1 ring count, S2 escape character, S3 to S5 line editing, S7 wait for carrier,
S12 escape guard), caller id, &C and &D, the escape sequence with its guard times.  `ModemFaults`
make it as bad as some real ones.

Invariant: the caller's bytes reach the computer only between CONNECT and the end of the call, and
the computer's reach the caller only then.
"""

from __future__ import annotations

import math
from enum import Enum, auto
from typing import Final

from port_agents.simulated_modem_actions import (
    CallAnswered,
    CallDropped,
    Dialled,
    IncomingCall,
    LinesChanged,
    ModemFaults,
    SimulatedAction,
    SimulatedModemSettings,
    ToCaller,
    ToDte,
)
from port_agents.simulated_modem_commands import FACTORY, NUMBERS, REGISTERS, Command, commands

__all__ = [
    "CallAnswered",
    "CallDropped",
    "Dialled",
    "IncomingCall",
    "LinesChanged",
    "ModemFaults",
    "SimulatedAction",
    "SimulatedModem",
    "SimulatedModemSettings",
    "ToCaller",
    "ToDte",
]

COMMAND_BYTES_MAX: Final = 256
"""Longest command line; a longer one is answered ERROR."""
_CONTROLS: Final = bytes(range(ord(" ")))
_REPEAT: Final = (bytearray(b"A/"), bytearray(b"a/"))
GUARD_UNIT_S: Final = 0.02
"""Unit of S12: a fiftieth of a second."""

_FACTORY: Final = SimulatedModemSettings()
_UNKNOWN: Final = IncomingCall()
_X_HEARS_BUSY: Final = 3
"""X from here on tells busy from other failures."""
_NO_ESCAPE_FROM: Final = 128
"""S2 from here on means that there is no escape character."""


class _Mode(Enum):
    """What the modem does with the computer's bytes."""

    COMMAND = auto()
    CONNECTING = auto()
    """Off-hook, no carrier yet; any byte aborts."""
    DATA = auto()


class SimulatedModem:
    """One modem.  Each input returns what happens, in order."""

    def __init__(self, settings: SimulatedModemSettings = _FACTORY) -> None:
        self.settings: Final = settings
        self.faults: Final = ModemFaults()
        self._mode = _Mode.COMMAND
        self._call: IncomingCall | None = None
        """Who rings, is rung up or is connected."""
        self._is_dialling = False
        """Whether the call is ours and has not been answered yet."""
        self._carrier = False
        self._off_hook = False
        """Whether ATH1 keeps the line busy."""
        self._dtr = True
        self._shown = LinesChanged(dcd=False, ri=False)
        self._command = bytearray()
        self._last_command = b""
        self._last_dte_at = -math.inf
        self._escapes = 0
        self._ring_at = math.inf
        self._connect_at = math.inf
        self._escape_at = math.inf
        self._restore()

    @property
    def is_idle(self) -> bool:
        """Whether a call would ring."""
        return self._call is None and self._mode is _Mode.COMMAND and not self._off_hook

    @property
    def is_online(self) -> bool:
        """Whether a call has been answered and its carrier is up."""
        return self._carrier

    def deadline(self) -> float:
        """Return when `tick` is due, `math.inf` if it isn't."""
        return min(self._ring_at, self._connect_at, self._escape_at)

    # Inputs.

    def dte(self, data: bytes, now: float) -> list[SimulatedAction]:
        """Take bytes that the computer wrote."""
        actions: list[SimulatedAction] = []
        if self.faults.silent:
            return actions
        while data:
            match self._mode:
                case _Mode.COMMAND:
                    typed = self._first_typed(data)
                    actions += self._typed(typed, now)
                    data = data[len(typed) :]
                case _Mode.DATA:
                    self._count_escapes(data, now)
                    return [*actions, ToCaller(data)]
                case _Mode.CONNECTING:
                    actions += self._on_hook("NO CARRIER")
                    data = data[1:]
        self._last_dte_at = now
        return actions

    def ring(self, now: float, call: IncomingCall = _UNKNOWN) -> list[SimulatedAction]:
        """Let a call arrive.

        Raises:
            ValueError: the line is busy (`is_idle` tells).
        """
        if not self.is_idle:
            raise ValueError("a call came to a modem that is not idle")
        self._call = call
        self._registers[1] = 0
        return self._ring(now)

    def line(self, data: bytes, now: float) -> list[SimulatedAction]:  # noqa: ARG002  # as all inputs
        """Take bytes from the far caller; without carrier, or in command state, they are lost."""
        return [ToDte(data)] if self._mode is _Mode.DATA and data else []

    def far_hang_up(self, now: float) -> list[SimulatedAction]:  # noqa: ARG002  # as all inputs
        """Let the caller hang up, or give up ringing."""
        was_answered = self._mode is not _Mode.COMMAND or self._carrier
        self._call = None
        if was_answered:
            return self._on_hook("NO CARRIER")
        self._ring_at = math.inf
        return self._show_lines()

    def far_answered(self, now: float) -> list[SimulatedAction]:  # noqa: ARG002  # as all inputs
        """Let whoever was dialled answer."""
        return self._connect() if self._is_dialling else []

    def far_busy(self, now: float) -> list[SimulatedAction]:  # noqa: ARG002  # as all inputs
        """Let the exchange tell that the number dialled is busy."""
        if not self._is_dialling:
            return []
        return self._on_hook("BUSY" if self._settings["X"] >= _X_HEARS_BUSY else "NO CARRIER")

    def dtr(self, on: bool, now: float) -> list[SimulatedAction]:  # noqa: ARG002, FBT001  # as all inputs
        """Let the computer raise or drop DTR."""
        dropped = self._dtr and not on
        self._dtr = on
        if not dropped or self._settings["&D"] == 0 or self.faults.silent:
            return []
        if self._settings["&D"] == 1:
            self._mode = _Mode.COMMAND
            return self._say("OK")
        was_up = self._carrier
        actions = self._on_hook()
        if self._settings["&D"] == 3:  # noqa: PLR2004  # the command's own number
            self._restore()
        return actions + self._say("NO CARRIER") if was_up else actions

    def tick(self, now: float) -> list[SimulatedAction]:
        """Do what time has made due."""
        actions: list[SimulatedAction] = []
        if now >= self._ring_at:
            actions += self._ring(now)
        if now >= self._connect_at:
            is_met = self._call and not self._is_dialling
            actions += self._connect() if is_met else self._on_hook("NO CARRIER")
        if now >= self._escape_at:
            self._escape_at = math.inf
            self._mode = _Mode.COMMAND
            actions += self._say("OK")
        return actions

    # Calls.

    def _ring(self, now: float) -> list[SimulatedAction]:
        self._ring_at = now + self.settings.ring_interval_s
        self._registers[1] += 1
        actions = self._show_lines() + self._say("RING")
        if self._registers[1] == 1:
            actions += self._caller_id()
        if 0 < self._registers[0] <= self._registers[1] and self._dtr and not self.faults.silent:
            actions += self._answer(now)
        return actions

    def _caller_id(self) -> list[SimulatedAction]:
        call = self._call
        if call is None or not call.number or not self._caller_ids or self.faults.loses_caller_id:
            return []
        fields = [("DATE", call.date), ("TIME", call.time), ("NMBR", call.number)]
        if call.name:
            fields.append(("NAME", call.name))
        return self._tell("".join(f"\r\n{name} = {value}\r\n" for name, value in fields))

    def _answer(self, now: float) -> list[SimulatedAction]:
        """Go off-hook; without a caller, wait for a carrier that does not come."""
        self._mode = _Mode.CONNECTING
        self._ring_at = math.inf
        self._connect_at = now + (self.settings.training_s if self._call else self._registers[7])
        actions = self._show_lines()
        return actions + self._connect() if now >= self._connect_at else actions

    def _dial(self, number: str, now: float) -> list[SimulatedAction] | None:
        """Go off-hook and call a number; None if a call is there already."""
        if self._call is not None:
            return None
        self._mode = _Mode.CONNECTING
        self._call = IncomingCall(number)
        self._is_dialling = True
        self._connect_at = now + self._registers[7]
        return [Dialled(number)]

    def _connect(self) -> list[SimulatedAction]:
        self._connect_at = math.inf
        self._is_dialling = False
        self._mode = _Mode.DATA
        self._carrier = True
        self._escapes = 0
        said = self._say("CONNECT")
        if self._settings["X"]:
            said = self._say(self.settings.connect_text, self.settings.connect_number)
        return [*self._show_lines(), *said, CallAnswered()]

    def _on_hook(self, result: str = "") -> list[SimulatedAction]:
        """Go on-hook, from whatever state."""
        dropped: list[SimulatedAction] = [CallDropped()] if self._call else []
        if self._mode is _Mode.COMMAND and not self._carrier:
            dropped = []  # It rings, and goes on ringing.
        else:
            self._call = None
            self._ring_at = math.inf
        self._mode = _Mode.COMMAND
        self._carrier = self._off_hook = self._is_dialling = False
        self._connect_at = self._escape_at = math.inf
        self._command.clear()
        return dropped + self._show_lines() + (self._say(result) if result else [])

    def _show_lines(self) -> list[SimulatedAction]:
        stuck = self.faults.dcd_stuck and self._shown.dcd
        dcd = self._carrier or self._settings["&C"] == 0 or stuck
        shown = LinesChanged(dcd=dcd, ri=self._ring_at < math.inf)
        if shown == self._shown:
            return []
        self._shown = shown
        return [shown]

    def _count_escapes(self, data: bytes, now: float) -> None:
        """Watch for silence, three escape characters, and silence (the Hayes escape)."""
        guard_s = self._registers[12] * GUARD_UNIT_S
        quiet_s = now - self._last_dte_at
        self._last_dte_at = now
        self._escape_at = math.inf
        begun = self._escapes if quiet_s < guard_s or not guard_s else 0
        may_begin = begun or quiet_s >= guard_s
        escape = self._registers[2]
        is_escape = escape < _NO_ESCAPE_FROM and data.count(escape) == len(data)
        self._escapes = begun + len(data) if may_begin and is_escape else 0
        if self._escapes == 3:  # noqa: PLR2004  # as the escape sequence has it
            self._escape_at = now + guard_s

    # Commands.

    def _first_typed(self, data: bytes) -> bytes:
        """Return the first line of `data`, or just a byte where there is more to it than text."""
        line = data[: data.find(self._registers[3]) + 1] or data
        return data[:1] if self._registers[5] in line or b"/" in line else line

    def _typed(self, typed: bytes, now: float) -> list[SimulatedAction]:
        """Take a line, with its end or still without, or one byte of whatever kind."""
        echoes = self._settings["E"] or self.faults.echo_stuck
        echo: list[SimulatedAction] = [ToDte(typed)] if echoes else []
        is_over = typed[-1] == self._registers[3]
        if typed[0] == self._registers[5] and not is_over:
            del self._command[-1:]
        else:
            text = (typed[:-1] if is_over else typed).translate(None, _CONTROLS)
            self._command += text[: COMMAND_BYTES_MAX + 1 - len(self._command)]
        if is_over:
            command, self._command = bytes(self._command), bytearray()
            return echo + self._line_typed(command, now)
        if self._command in _REPEAT:
            self._command.clear()
            return echo + self._line_typed(self._last_command, now)
        return echo

    def _line_typed(self, typed: bytes, now: float) -> list[SimulatedAction]:
        command = typed.decode("latin-1").upper().replace(" ", "")
        if not command.startswith("AT"):
            return []
        self._last_command = typed
        is_refused = self.faults.refuses and self.faults.refuses in command
        if is_refused or len(typed) > COMMAND_BYTES_MAX:
            return self._say("ERROR")
        actions: list[SimulatedAction] = []
        for part in commands(command):
            more = None if part is None else self._execute(part, now)
            if part is None or more is None:
                return actions + self._say("ERROR")
            actions += more
            if self._mode is not _Mode.COMMAND or part.name == "Z":
                break
        return actions + self._say("OK") if self._mode is _Mode.COMMAND else actions

    def _execute(self, command: Command, now: float) -> list[SimulatedAction] | None:
        """Carry out one command; None if it is refused."""
        name, number = command.name, command.number
        match name:
            case "caller id":
                self._caller_ids = number == 1
                return []
            case "S":
                return self._access(number, command.text)
            case "+FCLASS":
                # Data is the only service class; asked which there are or which is set, it says so.
                return [] if command.text == "0" else self._tell("\r\n0\r\n")
            case "A":
                return self._answer(now)
            case "D":
                return self._dial(command.text, now)
            case "H" if number == 0:
                was_up = self._carrier
                actions = self._on_hook()
                return actions + self._say("NO CARRIER") if was_up else actions
            case "H":
                self._off_hook = True
                return []
            case "O":
                if not self._carrier:
                    return None
                return self._connect()[:-1]
            case "I":
                return self._tell("\r\nSimulated Hayes modem\r\n")
            case "Z" | "&F":
                actions = self._on_hook() if name == "Z" else []
                self._restore()
                return actions + self._show_lines()
            case _:
                self._settings[name] = number
                return self._show_lines()

    def _access(self, register: int, value: str) -> list[SimulatedAction] | None:
        if register not in self._registers:
            return None
        if not value:
            return self._tell(f"\r\n{self._registers[register]:03}\r\n")
        if int(value) > 255:  # noqa: PLR2004  # a register is a byte
            return None
        self._registers[register] = int(value)
        return []

    def _restore(self) -> None:
        """Set everything as it left the factory."""
        self._registers = dict(REGISTERS)
        self._settings = dict(FACTORY)
        self._caller_ids = False

    # Results.

    def _say(self, result: str, number: int | None = None) -> list[SimulatedAction]:
        if self._settings["Q"]:
            return []
        if self._settings["V"]:
            return self._tell(f"\r\n{result}\r\n")
        return self._tell(f"{NUMBERS[result] if number is None else number}\r")

    def _tell(self, text: str) -> list[SimulatedAction]:
        said = text.encode("ascii")
        if self.faults.silent:
            return []
        if not self.faults.splits_results:
            return [ToDte(said)]
        third = len(said) // 3
        pieces = (said[:third], said[third : 2 * third], said[2 * third :])
        return [ToDte(piece) for piece in pieces if piece]
