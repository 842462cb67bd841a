"""Telephone lines: on one end a simulated modem, on the other callers, one after another.

Callers read what they see and answer the prompts that they know; most of them know their password,
and some do what callers do: mistype, say nothing, type ahead, talk rubbish, hang up, dial again at
once.  Each answer is unlike any other, so that whoever uses it can be asked where he has it from.

Invariant: a caller types nothing but what his history says, and never what another has typed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import Enum
from random import Random
from typing import Final, Protocol

from port_agents.simulated_modem import (
    CallAnswered,
    CallDropped,
    Dialled,
    IncomingCall,
    LinesChanged,
    SimulatedAction,
    SimulatedModem,
    SimulatedModemSettings,
    ToCaller,
    ToDte,
)
from simulator.timeline import Timeline

__all__ = ["SECRET", "Caller", "Exchange", "FromModem", "Habit", "Telephone", "Terminal"]

SECRET: Final = "s3cr3t"  # noqa: S105 - of callers who are not
"""Every answer begins with it, and nothing else that anyone says has it."""
LOGIN: Final = b"login: "
PASSWORD: Final = b"Password: "
PATIENCE_S: Final = 40.0
"""How long a caller waits for whatever comes next."""
SCREEN_BYTES: Final = 80

MODEM: Final = SimulatedModemSettings(ring_interval_s=3.0, training_s=0.5)

FromModem = list[bytes | LinesChanged]
"""What a modem does at once, for the computer."""


class Terminal(Protocol):
    """The process that has opened the modem's device."""

    def turn(self, work: Callable[..., object], *args: object) -> None:
        """Take a turn."""
        ...

    def from_modem(self, hport: str, said: FromModem) -> None:
        """Take what the modem did."""
        ...


class Exchange(Protocol):
    """What callers need of their world."""

    @property
    def timeline(self) -> Timeline:
        """Its clock."""
        ...

    @property
    def random(self) -> Random:
        """Its one source of chance."""
        ...

    def dialled(self, caller: Caller) -> None:
        """Hear that a caller begins to call."""
        ...

    def prompted(self, caller: Caller) -> None:
        """Hear that a caller was asked something for the first time."""
        ...

    def typed(self, caller: Caller, answer: str, *, right: bool) -> None:
        """Hear that a caller sends an answer now."""
        ...

    def saw(self, caller: Caller, call: str) -> None:
        """Hear that a caller is greeted by a service."""
        ...

    def hung_up(self, caller: Caller) -> None:
        """Hear that a call is over."""
        ...

    def next_caller(self, telephone: Telephone) -> Caller:
        """Return who calls next."""
        ...


class Habit(Enum):
    """What kind of caller somebody is."""

    HONEST = "knows his password"
    FORGETFUL = "mistypes it once"
    GUESSER = "guesses until he is hung up on"
    LEAVER = "hangs up at any moment"
    SILENT = "says nothing"
    HASTY = "types ahead"
    SCRIBBLER = "types rubbish"
    POISON = "types what kills a worker"


class Caller:
    """One call, from its caller's side."""

    def __init__(self, number: str, user: str, habit: Habit, telephone: Telephone) -> None:
        self.number: Final = number
        self.user: Final = user
        self.habit: Final = habit
        self.telephone: Final = telephone
        self.dialled_at = math.inf
        self.answered_at = math.inf
        self.is_over = False
        self.is_online = False
        """Whether a service has greeted him."""
        self.was_prompted = False
        self.guesses = 0
        """Answers that he has sent."""
        self.checks = 0
        """Answers of his that a worker has compared."""
        self.poisoned = 0
        """Workers that died of him."""
        self._screen = b""
        self._heard = 0
        self._heard_at = -math.inf
        self._is_timing = False
        self._is_replying = False

    def hear(self, data: bytes) -> None:
        """Read what comes."""
        self._screen = (self._screen + data)[-SCREEN_BYTES:]
        self._heard += 1
        exchange = self.telephone.exchange
        if b"welcome " in self._screen and not self.is_online:
            self.is_online = True
            call = self._screen.rpartition(b"welcome ")[2].split(b".")[0].decode()
            exchange.saw(self, call)
            exchange.timeline.after(exchange.random.uniform(1, 15), self.hang_up)
        if self._is_asked() and not self._is_replying:
            if not self.was_prompted:
                self.was_prompted = True
                exchange.prompted(self)
            if self.habit is not Habit.SILENT:
                self._is_replying = True
                think_s = 0.05 if self.habit is Habit.HASTY else exchange.random.uniform(0.3, 3)
                exchange.timeline.after(think_s, self._reply)
        self._heard_at = exchange.timeline.now
        if not self._is_timing:
            self._is_timing = True
            exchange.timeline.after(PATIENCE_S, self._give_up)

    def answered(self) -> None:
        """Take note that somebody has picked up."""
        self.answered_at = self.telephone.exchange.timeline.now

    def hang_up(self) -> None:
        """Have done with the call."""
        if not self.is_over:
            self.telephone.hang_up(self)

    def over(self) -> None:
        """Take note that the line is down."""
        if not self.is_over:
            self.is_over = True
            self.telephone.exchange.hung_up(self)

    def _is_asked(self) -> bool:
        return self._screen.endswith((LOGIN, PASSWORD))

    def _give_up(self) -> None:
        timeline = self.telephone.exchange.timeline
        if timeline.now >= self._heard_at + PATIENCE_S:
            self.hang_up()
        elif not self.is_over:
            timeline.at(self._heard_at + PATIENCE_S, self._give_up)

    def _reply(self) -> None:
        self._is_replying = False
        if self.is_over or not self._is_asked():
            return
        random = self.telephone.exchange.random
        asks_name = self._screen.endswith(LOGIN)
        self._screen = b""
        if self.habit is Habit.SCRIBBLER and random.random() < 0.6:  # noqa: PLR2004
            self._type(bytes(random.randrange(256) for _ in range(random.randrange(1, 40))) + b"\r")
        elif asks_name and self.habit is Habit.HASTY:
            self._type(f"{self.user}\r".encode() + self._password())
        elif asks_name:
            self._type(f"{self.user}\r".encode())
        elif random.random() < 0.1:  # noqa: PLR2004
            self._type_in_two(self._password())
        else:
            self._type(self._password())

    def _password(self) -> bytes:
        """Return the next answer, and say that it is being sent."""
        is_right = {
            Habit.GUESSER: False,
            Habit.FORGETFUL: self.guesses > 0,
            Habit.POISON: True,
        }.get(self.habit, True)
        kind = "poison" if self.habit is Habit.POISON else "right" if is_right else "wrong"
        self.guesses += 1
        answer = f"{SECRET}-{kind}-{self.user}-{self.number}-{self.guesses}"
        self.telephone.exchange.typed(self, answer, right=is_right)
        return f"{answer}\r".encode()

    def _type(self, data: bytes) -> None:
        if not self.is_over:
            self.telephone.type(self, data)

    def _type_in_two(self, data: bytes) -> None:
        """Be slow; who is asked something else meanwhile stops."""
        half = len(data) // 2
        heard = self._heard

        def rest() -> None:
            if heard == self._heard:
                self._type(data[half:])

        self._type(data[:half])
        self.telephone.exchange.timeline.after(1.0, rest)


class Telephone:
    """One line with its modem."""

    def __init__(self, exchange: Exchange, hport: str, agent: str) -> None:
        self.exchange: Final = exchange
        self.hport: Final = hport
        self.agent: Final = agent
        """Name of the agent whose machine the modem hangs on."""
        self.modem: Final = SimulatedModem(MODEM)
        self.lines = LinesChanged(dcd=False, ri=False)
        self.caller: Caller | None = None
        self.is_closed = False
        """Whether nobody calls here any more."""
        self._terminal: Terminal | None = None
        self._armed_for = math.inf
        self._dials = 0

    # The computer's end.

    def attach(self, terminal: Terminal) -> None:
        """Let a process open the device, which raises DTR."""
        self._terminal = terminal
        self.set_dtr(True)

    def detach(self) -> None:
        """Let the process die, which drops DTR."""
        self._terminal = None
        self.set_dtr(False)

    def write(self, data: bytes) -> None:
        """Take what the computer writes."""
        self._perform(self.modem.dte(data, self.exchange.timeline.now))

    def set_dtr(self, on: bool) -> None:  # noqa: FBT001 - a line's level
        """Take the computer's DTR."""
        self._perform(self.modem.dtr(on, self.exchange.timeline.now))

    def lie(self, *, dcd: bool) -> None:
        """Let the computer see a DCD that is not so, until it changes again."""
        self._tell([LinesChanged(dcd=dcd, ri=self.lines.ri)])

    def refresh(self) -> None:
        """Let the computer see the lines as they are."""
        self._perform(self.modem._show_lines())  # noqa: SLF001 - the fault was outside, too

    # The callers' end.

    def dial_in(self, wait_s: float) -> None:
        """Let somebody call in a while, instead of whoever was to call before."""
        self._dials += 1
        self.exchange.timeline.after(wait_s, self._dial, self._dials)

    def _dial(self, number: int) -> None:
        if number != self._dials or self.is_closed:
            return
        timeline = self.exchange.timeline
        if not self.modem.is_idle or self.caller is not None:
            self.dial_in(0.5)
            return
        caller = self.caller = self.exchange.next_caller(self)
        caller.dialled_at = timeline.now
        self.exchange.dialled(caller)
        if caller.habit is Habit.LEAVER:
            timeline.after(self.exchange.random.uniform(0, 15), caller.hang_up)
        timeline.after(PATIENCE_S, self._unanswered, caller)
        self._perform(self.modem.ring(timeline.now, IncomingCall(caller.number)))

    def _unanswered(self, caller: Caller) -> None:
        if caller.answered_at == math.inf:
            caller.hang_up()

    def type(self, caller: Caller, data: bytes) -> None:
        """Let the caller send."""
        if caller is self.caller:
            self._perform(self.modem.line(data, self.exchange.timeline.now))

    def hang_up(self, caller: Caller) -> None:
        """Let the caller hang up."""
        if caller is self.caller:
            self.caller = None
            caller.over()
            self._perform(self.modem.far_hang_up(self.exchange.timeline.now))

    # The modem.

    def _tick(self, due: float) -> None:
        if due == self._armed_for:
            self._armed_for = math.inf
            self._perform(self.modem.tick(self.exchange.timeline.now))

    def _perform(self, actions: list[SimulatedAction]) -> None:
        said: FromModem = []
        for action in actions:
            match action:
                case ToDte():
                    if said and isinstance(said[-1], bytes):
                        said[-1] += action.data
                    else:
                        said.append(action.data)
                case LinesChanged():
                    self.lines = action
                    said.append(action)
                case ToCaller():
                    if self.caller is not None:
                        self.caller.hear(action.data)
                case CallAnswered():
                    if self.caller is not None:
                        self.caller.answered()
                case CallDropped():
                    if self.caller is not None:
                        caller, self.caller = self.caller, None
                        caller.over()
                case Dialled():
                    pass  # No agent dials.
        if said:
            self._tell(said)
        due = self.modem.deadline()
        if due < self._armed_for:
            self._armed_for = due
            self.exchange.timeline.at(due, self._tick, due)

    def _tell(self, said: FromModem) -> None:
        terminal = self._terminal
        if terminal is not None:
            self.exchange.timeline.after(0.0, terminal.turn, terminal.from_modem, self.hport, said)
