"""A `Modem` and a `SimulatedModem` joined by a serial line, in virtual time: a harness, no test.

The line is perfect unless told otherwise: `pieces` cuts what the modem says into several reads.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Final

from port_agents.modem import (
    Action,
    CallerBytes,
    Flush,
    Modem,
    ModemLines,
    ModemSettings,
    Reopen,
    SetDtr,
    Write,
)
from port_agents.simulated_modem import (
    CallAnswered,
    CallDropped,
    Dialled,
    LinesChanged,
    SimulatedAction,
    SimulatedModem,
    SimulatedModemSettings,
    ToCaller,
    ToDte,
)

LINES_DOWN: Final = ModemLines(dcd=False, dsr=True, ri=False, cts=True)


def in_one_piece(data: bytes) -> list[bytes]:
    return [data]


class WiredModem:
    """What an agent and a caller see of a modem."""

    def __init__(
        self,
        settings: ModemSettings,
        simulated: SimulatedModemSettings,
        modem: type[Modem] = Modem,
    ) -> None:
        self.modem = modem(settings)
        self.far = SimulatedModem(simulated)
        self.now = 0.0
        self.pieces: Callable[[bytes], Iterable[bytes]] = in_one_piece
        self.actions: list[Action] = []
        """What the modem told its owner and has not been taken."""
        self.screen = b""
        """What the caller saw."""
        self.answered = 0
        self.dropped = 0
        self._under_way: deque[Action | SimulatedAction] = deque()
        self._is_delivering = False
        self._has_lines = settings.dcd == "auto"

    # What happens.

    def plug_in(self) -> None:
        self._perform(self.modem.opened(LINES_DOWN if self._has_lines else None, self.now))

    def do(self, actions: Sequence[Action | SimulatedAction]) -> None:
        """Perform what an input of `modem` or `far`, called by the test, returned."""
        self._perform(actions)

    def write(self, data: bytes) -> None:
        """Write to the caller, as the owner of the line does."""
        self._perform(self.far.dte(data, self.now))

    def wait(self, duration_s: float) -> None:
        """Let time pass, with all that is due in it."""
        end = self.now + duration_s
        while (due := min(self.modem.deadline(), self.far.deadline())) <= end:
            self.now = max(self.now, due)
            self._perform(self.modem.tick(self.now))
            self._perform(self.far.tick(self.now))
        self.now = end

    def take(self) -> list[Action]:
        """Return what the modem told its owner since the last time."""
        taken, self.actions = self.actions, []
        return taken

    def heard(self) -> bytes:
        """Return the caller's bytes among the actions not taken yet."""
        return b"".join(action.data for action in self.actions if isinstance(action, CallerBytes))

    # The wires.  First in, first out: neither side answers before the other has finished speaking.

    def _perform(self, actions: Iterable[Action | SimulatedAction]) -> None:
        self._under_way.extend(actions)
        if self._is_delivering:
            return
        self._is_delivering = True
        try:
            while self._under_way:
                self._deliver(self._under_way.popleft())
        finally:
            self._is_delivering = False

    def _deliver(self, action: Action | SimulatedAction) -> None:
        match action:
            case Write(data):
                self._perform(self.far.dte(data, self.now))
            case SetDtr(on):
                self._perform(self.far.dtr(on, self.now))
            case Flush():
                pass  # Nothing is under way: delivery is at once.
            case Reopen(0.0):
                lines = replace(LINES_DOWN, dcd=self.far.is_online or self.far.faults.dcd_stuck)
                self._perform(self.modem.opened(lines if self._has_lines else None, self.now))
            case ToDte(data):
                for piece in self.pieces(data):
                    self._perform(self.modem.receive(piece, self.now))
            case ToCaller(data):
                self.screen += data
            case CallAnswered():
                self.answered += 1
            case CallDropped():
                self.dropped += 1
            case LinesChanged(dcd, ri):
                if self._has_lines:
                    lines = ModemLines(dcd=dcd, dsr=True, ri=ri, cts=True)
                    self._perform(self.modem.lines_changed(lines, self.now))
            case Dialled(number):
                raise AssertionError(f"an agent dialled {number}")
            case _:
                self.actions.append(action)
                self.told(action)

    def told(self, action: Action) -> None:
        """See what the owner is told at the moment it is told; for tests to override."""
