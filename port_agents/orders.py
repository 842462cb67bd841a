"""Operators' COMMANDs, and the truth about what became of them (protocol §4, verbs 10 and 11).

Pure.  An answer is given when the port has really done what was ordered, or has not within a bound.

Invariant: each COMMAND accepted gets exactly one COMMANDED, on the session it came by.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from dialgate.codes import NO_ERROR, Code, Raserror, Winerror
from dialgate.session import Transmit
from dialgate.wire.bodies import Command, Commanded
from dialgate.wire.body_codec import encode
from dialgate.wire.verbs import Verb
from port_agents.call import Disconnect
from port_agents.line import Line
from port_agents.line_actions import Action, Closure
from port_agents.modem_actions import ModemState

__all__ = ["Orders"]

_NOT_SUPPORTED: Final = Winerror.ERROR_NOT_SUPPORTED.code
_GONE: Final = Winerror.ERROR_DEVICE_NOT_CONNECTED.code
_CUT: Final = Raserror.ERROR_USER_DISCONNECTION.code
_RESULTS: Final[Mapping[ModemState, Code]] = {
    ModemState.IDLE: NO_ERROR,
    ModemState.RINGING: NO_ERROR,
    ModemState.OFF_HOOK: NO_ERROR,
    ModemState.FAULTED: Winerror.ERROR_GEN_FAILURE.code,
    ModemState.QUARANTINED: Winerror.ERROR_GEN_FAILURE.code,
}
"""What a port has come to that is done with its order; in other states it is not."""

_ACTS: Final = frozenset({"hangup", "reset", "probe", "disable", "drain", "enable"})
_KEPT: Final = frozenset({"disable", "enable"})
"""Acts that are done when they are on the disk."""

Perform = Callable[[Line, list[Action], float], None]


@dataclass(slots=True)
class _Order:
    """A COMMAND whose ports have not all done it."""

    id: bytes
    session: int
    due: float
    waiting: set[str]
    """Ports that have not."""
    act: str
    kept: dict[str, Code] = field(default_factory=dict)
    """By HPORT: whether its closure is on the disk."""
    code: Code = NO_ERROR
    """The first failure of a port that has."""


class Orders:
    """The orders of operators that are under way.

    Args:
        lines: the ports by HPORT.
        perform: takes what a line wants done.
        transmit: takes COMMANDED messages.
        timeout_s: how long a port may take over an order.
    """

    def __init__(
        self,
        lines: Mapping[str, Line],
        perform: Perform,
        transmit: Callable[[Transmit], object],
        timeout_s: float,
    ) -> None:
        self._lines = lines
        self._perform = perform
        self._transmit = transmit
        self._timeout_s = timeout_s
        self._open: list[_Order] = []

    @property
    def are_open(self) -> bool:
        """Whether any is under way."""
        return bool(self._open)

    def order(self, session: int, command: Command, now: float) -> None:
        """Carry out an order for one port, or with hport "" for all."""
        lines = self._targets(command.hport)
        if not lines:
            self._answer(session, command.id, Raserror.ERROR_PORT_NOT_FOUND.code)
        elif command.act in _ACTS:
            self._begin(session, command, lines, now)
        else:
            self._answer(session, command.id, _NOT_SUPPORTED)

    def answer(self, session: int, command: Command, code: Code = NO_ERROR) -> None:
        """Answer an order that is none for ports."""
        self._answer(session, command.id, code)

    def line_settled(self, line: Line) -> None:
        """Look whether `line` has done what it was ordered."""
        if not self._open:
            return
        for order in [x for x in self._open if line.settings.hport in x.waiting]:
            if (code := _done(line, order)) is not None:
                self._did(order, line, code)

    def device_gone(self, line: Line) -> None:
        """Take note that a device is gone, or that opening it has failed once more."""
        for order in [x for x in self._open if line.settings.hport in x.waiting]:
            if order.act not in _KEPT:
                self._did(order, line, _GONE)

    def kept(self, line: Line, code: Code) -> None:
        """Take note that a port's closure is on the disk, or why it is not."""
        for order in self._open:
            order.kept[line.settings.hport] = code
        self.line_settled(line)

    def _did(self, order: _Order, line: Line, code: Code) -> None:
        order.waiting.discard(line.settings.hport)
        order.code = order.code if order.code != NO_ERROR else code
        if not order.waiting:
            self._finish(order, order.code)

    def session_over(self, session: int) -> None:
        """Forget orders whose answers nobody can take any more."""
        self._open = [x for x in self._open if x.session != session]

    def tick(self, now: float) -> None:
        """Answer what takes too long."""
        for order in [x for x in self._open if now >= x.due]:
            gone = any(
                self._lines[hport].modem.state is ModemState.CLOSED for hport in order.waiting
            )
            self._finish(order, _GONE if gone else Winerror.ERROR_TIMEOUT.code)

    def deadline(self) -> float:
        """Return when `tick` is due; `math.inf` if it isn't."""
        return min(x.due for x in self._open) if self._open else math.inf

    def _targets(self, hport: str) -> list[Line]:
        if not hport:
            return list(self._lines.values())
        return [self._lines[hport]] if hport in self._lines else []

    def _begin(self, session: int, command: Command, lines: Iterable[Line], now: float) -> None:
        if command.act == "hangup":
            lines = [line for line in lines if line.call is not None]
        waiting = {line.settings.hport for line in lines}
        order = _Order(command.id, session, now + self._timeout_s, waiting, command.act)
        if not order.waiting:
            self._answer(session, command.id, Raserror.ERROR_PORT_NOT_CONNECTED.code)
            return
        self._open.append(order)
        closure = Closure(_reason(command), is_busy=command.mode == "busy")
        for line in lines:
            match command.act:
                case "hangup":
                    actions = line.cut(Disconnect.OPERATOR, _CUT, now)
                case "reset":
                    actions = line.reset(now)
                case "probe":
                    actions = line.probe(now)
                case "enable":
                    actions = line.enable(now)
                case "drain":
                    actions = line.drain(closure.reason, now)
                case _:
                    actions = line.disable(closure, now)
            self._perform(line, actions, now)

    def _finish(self, order: _Order, code: Code) -> None:
        self._open.remove(order)
        self._answer(order.session, order.id, code)

    def _answer(self, session: int, command_id: bytes, code: Code) -> None:
        commanded = Commanded(id=command_id, code=code)
        self._transmit(Transmit(session, encode(Verb.COMMANDED, commanded)))


def _done(line: Line, order: _Order) -> Code | None:
    """Return what became of an order on a port; None: it is not done with it."""
    if order.act in _KEPT:
        return _closed(line, order.kept.get(line.settings.hport))
    if order.act == "drain":
        return NO_ERROR  # From now on no call is answered, which is all that was ordered.
    if order.act == "probe":
        if line.call is not None:
            return Winerror.ERROR_BUSY.code
        return _asked(line)
    return _RESULTS.get(line.modem.state) if line.call is None else None


def _asked(line: Line) -> Code | None:
    """Return what became of asking a modem; one that is not there is not waited for."""
    if line.modem.state is ModemState.CLOSED:
        return _GONE
    return None if line.modem.is_asking else _RESULTS.get(line.modem.state)


def _closed(line: Line, kept: Code | None) -> Code | None:
    """Return what became of closing or opening a port, once it is on the disk."""
    if kept != NO_ERROR or line.closure is None or not line.closure.is_busy:
        return kept
    if line.call is not None:
        return NO_ERROR  # Off-hook it is, to callers; and stays so when this one has gone.
    if line.modem.state is ModemState.IDLE:
        return Winerror.ERROR_GEN_FAILURE.code
    return _asked(line)


def _reason(command: Command) -> str:
    by = f" by {command.operator}" if command.operator else ""
    return f"{command.act}{by}: {command.reason}" if command.reason else f"{command.act}{by}"
