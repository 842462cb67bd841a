"""The agent's side of one dialog, from its first Begin to the end of its End (protocol §5, §6).

Pure.  It decides which messages count, when to BEGIN again, and whether the line is handed over;
not its: the terminal (what the caller sees and types) and the line (modem, service, record).

```
            session and back-off over             COMPLETE: END(0)
  WAITING --------------------------> BEGUN ----------------------> CLEANING_UP --+
     ^                                 | |                               |        |
     +-- LOST, session over, REFUSED --+ | end: END(reason)              |0       | END_REPLY,
     |   1311 or 170                     v                     0         v        | REFUSED, LOST,
     |                                 ENDING ----------------------> DELAYED ----+ session over,
     |                                   |                               |        | lease
     |  end; no broker in time           |                               |        | (DELAYED: also
     +-----------------------------------+-------------------------------+--------+  COMPLETE)
                                         v
                                       CLOSED
```

Invariants: at most one BEGIN is out; a dialog is handed over at most once, only after an accepted
success and no END with a reason; an answer is sent at most once; all but CLOSED has a deadline.
"""

from __future__ import annotations

import math
from typing import Final

from dialgate.codes import NO_ERROR, Code, Raserror, Winerror
from dialgate.errors import BodyError
from dialgate.session import Transmit
from dialgate.wire.bodies import ERROR, SUCCESS, Begin, Complete, End, EndReply, Received, Refused
from dialgate.wire.body_codec import decode_body, encode, encode_body
from dialgate.wire.verbs import Verb
from port_agents.counters import Again, AgentCounters, Drop
from port_agents.dialog_actions import (
    DEFAULTS,
    Action,
    CancelAsk,
    Closed,
    Decided,
    Opening,
    Phase,
    Route,
    Unserved,
    Verdict,
)
from port_agents.exchange import Exchange, Exchanged, Misfit
from port_agents.retries import DIALOG_S_MAX, Retries

__all__ = ["PortDialog"]

_RECEIVE: Final = int(Verb.RECEIVE)
_COMPLETE: Final = int(Verb.COMPLETE)
_END_REPLY: Final = int(Verb.END_REPLY)
"""In every dialog.  Plain ints, since to look an enum's member up costs more than all else here."""
_BAD_BODY: Final = Winerror.ERROR_INVALID_DATA.code
_TIMEOUT: Final = Winerror.ERROR_TIMEOUT.code
_NO_WORKER: Final = Winerror.ERROR_NO_LOGON_SERVERS.code
_POISON: Final = Raserror.ERROR_AUTH_INTERNAL.code
_UNSENT: Final = (Phase.WAITING, Phase.CLOSED)  # No BEGIN is outstanding.
_UNDECIDED: Final = (Phase.WAITING, Phase.BEGUN)  # Before a verdict and before END.
_OFFERED: Final = frozenset({_NO_WORKER, Winerror.ERROR_BUSY.code})
"""Refusals that another broker may not share."""


class PortDialog:
    """One dialog.

    Args:
        dialog: its id, never used twice.
        opening: what BEGIN says of the call.
        counters: where to count.
        dialog_max_s: the longest time from the first BEGIN to END.
    """

    def __init__(
        self,
        dialog: bytes,
        opening: Opening,
        counters: AgentCounters,
        *,
        dialog_max_s: float = DIALOG_S_MAX,
    ) -> None:
        self.dialog: Final = dialog
        self.phase = Phase.WAITING
        self.verdict: Verdict | None = None
        """The first verdict, a worker's or our own ERROR."""
        self.reason = NO_ERROR
        """Of END, or of the end without one; 0: normal, or not ended."""
        self._opening = opening
        self._facts = encode_body(opening.facts)
        self._counters = counters
        self._dialog_max_s = dialog_max_s
        self._route: Route | None = None
        """Where the next BEGIN goes."""
        self._used: Route | None = None
        """By which session the last BEGIN went."""
        self._refused: Code | None = None
        """The refusal while the dialog is offered to other brokers."""
        self._begun_at = self._ended_at = self._waiting_until = math.inf
        self._retries = Retries()
        self._withdrawn = False
        """Whether the dialog was ended with a reason, or its caller went after END(0)."""
        self._exchange = Exchange(opening.facts)

    @property
    def session(self) -> int | None:
        """The session that this dialog needs: messages of no other count."""
        return None if self._used is None or self.phase in _UNSENT else self._used.session

    @property
    def next_session(self) -> int | None:
        """The session that the next BEGIN goes by, while it is waited for."""
        is_next = self.phase is Phase.WAITING and self._refused is None
        return self._route.session if is_next and self._route is not None else None

    @property
    def attempt(self) -> int:
        """Number of the last BEGIN; 0 before the first."""
        return self._retries.attempt

    @property
    def is_local(self) -> bool:
        """Whether the last BEGIN went to a broker on the site's own machine."""
        return self._used is not None and self._used.is_local

    @property
    def answers(self) -> int:
        """How many answers of the caller went out."""
        return self._exchange.answers

    # Sessions.

    def begin(self, route: Route | None, now: float) -> list[Action]:
        """Start: BEGIN by `route`, or as soon as `route` tells of a session."""
        self._waiting_until = now + (route or DEFAULTS).queue_timeout_s
        return self.route(route, now)

    def route(self, route: Route | None, now: float) -> list[Action]:
        """Use this session from the next BEGIN on; None: there is none."""
        self._route = route
        return self._begin(now)

    def move(self, route: Route, cause: Again, now: float) -> list[Action]:
        """BEGIN again by `route` at once, unless there was a verdict or an END."""
        if self.phase not in _UNDECIDED:
            return []
        self._route = route
        self._refused = None
        self._retries.hurry()
        return self._begin_again(cause, now)

    def give_up(self, now: float) -> list[Action]:
        """End a dialog that no broker is left to be offered to."""
        return [] if self._refused is None else self._fail(self._refused, now)

    def session_over(self, session: int, now: float) -> list[Action]:
        """Take note that a session has ended; messages of it must not come any more."""
        if self._route is not None and self._route.session == session:
            self._route = None
        if self.session != session:
            return []
        return self._lost(Again.SESSION_OVER, now)

    # The line's side.

    def answered(self, seq: int, status: Code, data: bytes) -> list[Action]:
        """Take the caller's answer to the RECEIVE `seq`, or why there is none."""
        answer = self._exchange.answer(seq, status, data)
        return [] if answer is None else [self._transmit(Verb.RECEIVED, answer)]

    def end(self, reason: Code, now: float) -> list[Action]:
        """End with a nonzero reason: caller gone, port failed, an operator or a limit says so."""
        assert not reason.ok, "END(0) is the answer to COMPLETE, no choice of the line"
        self._withdrawn = True
        if self.phase not in _UNDECIDED:
            return []
        self.reason = reason
        if self.phase is Phase.WAITING:
            return self._close()
        return self._end(Phase.ENDING, reason, now)

    # Time.

    def tick(self, now: float) -> list[Action]:
        """Do what time has made due."""
        match self.phase:
            case Phase.WAITING | Phase.BEGUN if now >= self._begun_at + self._dialog_max_s:
                return self._fail(_TIMEOUT, now)
            case Phase.WAITING if now >= self._waiting_until:
                return self._fail(self._refused or _NO_WORKER, now)
            case Phase.WAITING:
                return self._begin(now)
            case Phase.BEGUN | Phase.CLOSED:
                return []
            case _:
                return self._close() if now >= self._lease_over_at() else []

    def deadline(self) -> float:
        """Return when `tick` is due; `math.inf` once closed."""
        match self.phase:
            case Phase.WAITING:
                retry_at = math.inf if self.next_session is None else self._retries.due
                return min(retry_at, self._waiting_until, self._begun_at + self._dialog_max_s)
            case Phase.BEGUN:
                return self._begun_at + self._dialog_max_s
            case Phase.CLOSED:
                return math.inf
            case _:
                return self._lease_over_at()

    # Messages.

    def message(
        self, session: int, verb: int, attempt: int, body: bytes, now: float
    ) -> list[Action]:
        """Take a message of this dialog that the broker of `session` forwarded or sent."""
        # Timers first: whether a lease is over must not depend on traffic.
        actions = self.tick(now)
        if self.phase in _UNSENT:
            return actions + self._drop(Drop.NO_BEGIN)
        if attempt != self.attempt:
            return actions + self._drop(Drop.OTHER_ATTEMPT)
        if session != self.session:
            return actions + self._drop(Drop.OTHER_SESSION)
        return actions + self._handle(verb, body, now)

    def _handle(self, verb: int, body: bytes, now: float) -> list[Action]:
        if verb == _RECEIVE:
            return self._on_receive(body, now)
        if verb == _COMPLETE:
            return self._on_complete(body, now)
        if verb == _END_REPLY:
            return self._on_end_reply(body, now)
        match verb:
            case Verb.SEND:
                return self._on_send(body, now)
            case Verb.REFUSED:
                return self._on_refused(body, now)
            case _:  # LOST: a broker sends no other verb of a dialog.
                return self._on_lost(body, now)

    def _on_send(self, body: bytes, now: float) -> list[Action]:
        if self.phase is not Phase.BEGUN:
            return self._drop(Drop.AFTER_END)
        return self._exchanged(self._exchange.send(body), now)

    def _on_receive(self, body: bytes, now: float) -> list[Action]:
        if self.phase is not Phase.BEGUN:
            return self._drop(Drop.AFTER_END)
        is_first = self._exchange.asked_seq == 0
        result = self._exchange.receive(body)
        if is_first and self._exchange.asked_seq:
            self._counters.begin_to_prompt.observe(now - self._begun_at)
        return self._exchanged(result, now)

    def _exchanged(self, result: Exchanged, now: float) -> list[Action]:
        if result is Misfit.BAD:
            return self._fail(_BAD_BODY, now)
        if result is Misfit.GAP:
            self._route = self._route or self._used
            return self._begin_again(Again.GAP, now)
        if result is Misfit.REPEATED:
            return self._drop(Drop.REPEATED_SEND)
        self._retries.heard()
        if isinstance(result, Received):
            return [self._transmit(Verb.RECEIVED, result)]
        return [] if result is None else [result]

    def _on_complete(self, body: bytes, now: float) -> list[Action]:
        if self.phase is Phase.DELAYED:
            return self._close()  # The first verdict stands; this one only releases the port.
        if self.phase is not Phase.BEGUN:
            return self._drop(Drop.SECOND_COMPLETE)
        try:
            complete = decode_body(body, Complete)
        except BodyError:
            self.verdict = Verdict(ERROR, _BAD_BODY)
        else:
            self.verdict = Verdict.given(complete)
        return [*self._end(Phase.CLEANING_UP, NO_ERROR, now), Decided(self.verdict)]

    def _on_end_reply(self, body: bytes, now: float) -> list[Action]:
        if self.phase is Phase.BEGUN:
            return self._drop(Drop.BEFORE_END)
        try:
            reply = decode_body(body, EndReply)
        except BodyError:
            return self._drop(Drop.BAD_BODY)
        if reply.code.ok and self.phase is Phase.DELAYED:
            return self._drop(Drop.SECOND_REPLY)
        if self.phase is not Phase.DELAYED:
            self._counters.end_to_reply.observe(now - self._ended_at)
        if reply.code.ok:
            self.phase = Phase.DELAYED
            return []
        return self._close()

    def _on_refused(self, body: bytes, now: float) -> list[Action]:
        if self.phase is not Phase.BEGUN:
            return self._close()
        try:
            code = decode_body(body, Refused).code
        except BodyError:
            code = _BAD_BODY
        self._wait(now)
        if code not in _OFFERED or self._used is None:
            return self._fail(_BAD_BODY if code.ok else code, now)
        self._refused = code
        return [Unserved(self._used.session, code)]

    def _on_lost(self, _body: bytes, now: float) -> list[Action]:
        has_answer = self.phase is Phase.BEGUN and self._exchange.answer_out
        if has_answer and self._retries.poisoned():
            self._wait(now)
            return self._fail(_POISON, now)
        return self._lost(Again.LOST, now)

    # Steps.

    def _begin(self, now: float) -> list[Action]:
        """Send BEGIN if nothing stands against it."""
        if self.next_session is None or now < self._retries.due:
            return []
        self._begun_at = min(self._begun_at, now)
        self._retries.attempt += 1
        self.phase = Phase.BEGUN
        self._used = self._route
        self._exchange.begin(self.attempt)
        self._counters.begins += 1
        begin = Begin(
            hport=self._opening.hport,
            pool=self._opening.pool,
            owner=self._exchange.worker,
            seq=self._exchange.seq,
            call=self._opening.call,
            cookie=self._exchange.cookie,
            facts=self._facts,
        )
        return [self._transmit(Verb.BEGIN, begin)]

    def _begin_again(self, cause: Again, now: float) -> list[Action]:
        """BEGIN with the next attempt, if one is left."""
        if self._retries.are_used_up:
            return self._fail(_POISON, now)
        if self.attempt:
            self._counters.begun_again[cause] += 1
        self._wait(now)
        return self._begin(now)

    def _lost(self, cause: Again, now: float) -> list[Action]:
        """Go on without the worker or the session that this attempt had."""
        if self.phase is not Phase.BEGUN:
            return self._close()
        self._wait(now)
        self._retries.lost(now)
        return self._begin_again(cause, now)

    def _wait(self, now: float) -> None:
        if self.phase is Phase.BEGUN:
            self._waiting_until = now + (self._used or DEFAULTS).queue_timeout_s
            self._exchange.suspend()
        self.phase = Phase.WAITING

    def _end(self, phase: Phase, reason: Code, now: float) -> list[Action]:
        self.phase = phase
        self._ended_at = now
        return [*self._cancel_ask(), self._transmit(Verb.END, End(reason=reason))]

    def _fail(self, code: Code, now: float) -> list[Action]:
        """End by our own judgement: nobody could decide, which is an ERROR and no refusal."""
        self.verdict = Verdict(ERROR, code)
        return [Decided(self.verdict), *self.end(code, now)]

    def _close(self) -> list[Action]:
        verdict = self.verdict
        self._counters.dialogs["ended" if verdict is None else verdict.outcome] += 1
        self.phase = Phase.CLOSED
        admitted = verdict is not None and verdict.msg_id == SUCCESS and not self._withdrawn
        return [*self._cancel_ask(), Closed(handed_over=admitted)]

    def _cancel_ask(self) -> list[Action]:
        return [CancelAsk()] if self._exchange.close() else []

    def _lease_over_at(self) -> float:
        assert self._used is not None, "END goes where a BEGIN went"
        return self._ended_at + self._used.lease_s

    def _transmit(self, verb: Verb, body: Begin | Received | End) -> Transmit:
        assert self._used is not None, "nothing is sent before BEGIN"
        return Transmit(self._used.session, encode(verb, body, self.dialog, self.attempt))

    def _drop(self, reason: Drop) -> list[Action]:
        self._counters.drops[reason] += 1
        return []
