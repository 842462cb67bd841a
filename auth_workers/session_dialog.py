"""One dialog in a worker: what happens to it once it has a task (docs/protocol.md §5 "Worker", §6).

    RUNNING --verdict--> DECIDED --END--> OVER
       |                    |
       +-----END------------+--> ENDING  --task finished--> OVER     END_REPLY nonzero
       +-----END, delayed---+--> DELAYED --COMPLETE-------> OVER     END_REPLY 0 before

RUNNING and DECIDED may be silent besides: LOST, or the session over.  Sans-IO.  Which attempt and
which session a message must be of is checked by `auth_workers.session` before it gets here.

Invariants: the first verdict stands; after END nothing is said but END_REPLY and, if that was 0,
one COMPLETE.  What the agent isn't known to have is kept to be repeated under a new attempt: at
most 8 SENDs and the RECEIVE that is out.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, Literal

from msgspec import Struct
from msgspec.structs import replace

from auth_workers.session_actions import (
    Action,
    Answer,
    CancelTask,
    Concluded,
    Info,
    Outcome,
    Replied,
    Unplug,
)
from auth_workers.verdict import Undecided, Verdict, complete_of
from dialgate.codes import NO_ERROR, Code, Raserror, Winerror
from dialgate.enums import direct_members
from dialgate.errors import BodyError
from dialgate.session import Transmit
from dialgate.wire.bodies import (
    ERROR,
    FAILURE,
    SUCCESS,
    Complete,
    End,
    EndReply,
    Facts,
    Receive,
    Received,
    Send,
)
from dialgate.wire.body_codec import decode_body, encode
from dialgate.wire.fields import Body
from dialgate.wire.limits import SENDS_MAX
from dialgate.wire.verbs import Verb

__all__ = ["CLEAN_UP_S_MAX", "DISCONNECTED", "PENDING", "DialogSession", "Question", "State"]

CLEAN_UP_S_MAX: Final = 2.0
"""How long a cancelled task may clean up before END is answered without it."""

PENDING: Final = Raserror.PENDING.code
"""Send and Receive of the contract answer this when they have started."""
DISCONNECTED: Final = Raserror.ERROR_PORT_DISCONNECTED.code
"""What END_REPLY carries, and what a task hears that speaks after its end."""
_INTERNAL: Final = Raserror.ERROR_AUTH_INTERNAL.code
_INVALID: Final = Winerror.ERROR_INVALID_DATA.code
_RETRY: Final = Winerror.ERROR_RETRY.code
_TIMEOUT: Final = Winerror.ERROR_TIMEOUT.code


@direct_members
class State(Enum):
    """Where a dialog stands."""

    RUNNING = "running"
    """No verdict, no END."""
    DECIDED = "decided"
    """COMPLETE was given; END is awaited."""
    DELAYED = "delayed"
    """END came and was answered 0: one more COMPLETE is owed, within the lease."""
    ENDING = "ending"
    """END came and the task was cancelled: END_REPLY follows its clean-up."""
    OVER = "over"
    """Nothing is owed, and nothing more is said."""


# Tuples, since an enum's members are compared by identity there and hashed in Python elsewhere.
_UNDISTURBED: Final = (State.RUNNING, State.DECIDED)
_ENDED: Final = (State.DELAYED, State.ENDING)
_OUTCOMES: Final = {SUCCESS: Outcome.SUCCESS, FAILURE: Outcome.FAILURE, ERROR: Outcome.ERROR}


class Question(Struct, frozen=True, gc=False):
    """What an authenticator asks with a Receive; ranges as in RECEIVE (docs/protocol.md §4)."""

    prompt: bytes
    limit: int
    """Most bytes of the answer; the port's own bound holds as well."""
    timeout_s: int
    """0 = none."""
    cookie: bytes
    mode: Literal["line", "raw"] = "line"
    echo: Literal["on", "off", "mask"] = "on"

    def __repr__(self) -> str:
        """Leave the cookie out."""
        return f"Question({self.prompt!r}, {self.mode}, echo {self.echo})"


@dataclass(slots=True, eq=False, kw_only=True)
class DialogSession:
    """A dialog that has a task, or a verdict whose END is awaited."""

    worker: bytes
    """This process's instance."""
    drops: Counter[str]
    """Where messages without effect are counted, by reason."""
    task: int
    dialog: bytes
    attempt: int
    """The highest this worker has seen."""
    session: int
    """The session of that attempt's BEGIN; nothing is sent on any other."""
    lease_s: float
    """How long END may be delayed, as that session's WELCOME said."""
    started_at: float
    seq: int
    """Of the last SEND or RECEIVE, this worker's or an earlier one's."""
    facts: Facts
    state: State = State.RUNNING
    alive: bool = True
    """The task hasn't finished."""
    delays_end: bool = False
    """The authenticator wants END answered 0."""
    silent: bool = False
    """Nobody is there to hear: the task is kept for a while and nothing is sent."""
    lost_at: float = 0.0
    """When it fell silent."""
    ended_at: float = 0.0
    """When its END came."""
    verdict: Complete | None = None
    _unaccepted: list[Send | Receive] = field(default_factory=list)
    """What the agent isn't known to have, oldest first."""
    _asked: Receive | None = None
    """The RECEIVE that is out, always the last of `_unaccepted`."""
    _last_error: Code = NO_ERROR
    _bytes_received: int = 0

    @property
    def info(self) -> Info:
        """What GetInfo tells."""
        return Info(self._last_error, self._bytes_received, self.facts.device)

    # What the task asks.

    def send(self, data: bytes, out: list[Action]) -> Code:
        """Show `data` to the caller: Send of the contract."""
        if refusal := self._refuse_to_speak():
            return refusal
        if len(data) > self.facts.send_size:
            return Raserror.ERROR_BUFFER_TOO_SMALL.code
        if len(self._unaccepted) >= SENDS_MAX:
            return Winerror.ERROR_BUSY.code
        send = Send(worker=self.worker, seq=self.seq + 1, data=data)
        try:
            self._say(Verb.SEND, send, out)
        except BodyError:
            return Raserror.ERROR_BUFFER_TOO_SMALL.code
        self.seq = send.seq
        self._unaccepted.append(send)
        return PENDING

    def receive(self, question: Question, out: list[Action]) -> Code:
        """Ask the caller: Receive of the contract."""
        if refusal := self._refuse_to_speak():
            return refusal
        receive = Receive(
            worker=self.worker,
            seq=self.seq + 1,
            prompt=question.prompt,
            mode=question.mode,
            echo=question.echo,
            limit=max(1, min(question.limit, self.facts.recv_size)),
            timeout_s=question.timeout_s,
            cookie=question.cookie,
        )
        try:
            self._ask(receive, out)
        except BodyError:
            return Raserror.ERROR_BUFFER_TOO_SMALL.code
        return PENDING

    def complete(self, verdict: Verdict, now: float, out: list[Action]) -> None:
        """Give the verdict.  The first stands; after a delayed END one releases the port."""
        if self.state is State.RUNNING:
            self._decide(verdict, now, out)
        elif self.state is State.DELAYED:
            self._say(Verb.COMPLETE, complete_of(verdict, self.worker), out)
            self.alive = False  # What it stayed for is done: there is nothing to cancel.
            self.close(Outcome.ENDED, DISCONNECTED, now, out)

    def finish(self, now: float, out: list[Action]) -> None:
        """Take notice that the task is through: it returned, failed or was cancelled."""
        self.alive = False
        if self.state is State.RUNNING:
            self._decide(Undecided(_INTERNAL), now, out)
        elif self.state is State.DELAYED:
            owed = self.verdict or complete_of(Undecided(_INTERNAL), self.worker)
            self._say(Verb.COMPLETE, owed, out)
            self.close(Outcome.ENDED, DISCONNECTED, now, out)
        elif self.state is State.ENDING:
            self._reply(now, out)
            self.close(Outcome.ENDED, DISCONNECTED, now, out)

    # What the broker tells, and time.

    def receive_answer(self, body: bytes, now: float, out: list[Action]) -> None:
        """RECEIVED."""
        if self.state is not State.RUNNING or self.silent:
            self.drops["answer after the end"] += 1
            return
        asked = self._asked
        received = _read_answer(body, asked)
        if received is None:
            self._decide(Undecided(_INVALID), now, out)
            out.append(CancelTask(self.task, _INVALID))
            return
        if asked is None or received.seq != asked.seq:
            self.drops["answer to no question"] += 1
            return
        # An answer proves that everything up to its question was accepted.
        self._unaccepted.clear()
        if received.status == _RETRY:
            # The first answer died with a session: ask anew, and charge nothing.
            self._ask(replace(asked, seq=asked.seq + 1), out)
            return
        self._asked = None
        self._last_error = received.status
        self._bytes_received = len(received.data)
        out.append(Answer(self.task, received.status, received.data))

    def end(self, body: bytes, now: float, out: list[Action]) -> None:
        """END, normal or abnormal: terminate now, or delay that if the authenticator asked to."""
        if self.state in _ENDED:
            self.drops["second END"] += 1
            return
        try:
            reason = decode_body(body, End).reason
        except BodyError:
            reason = _INVALID  # Unreadable as it is, it ends the dialog: that harms nobody.
        why = DISCONNECTED if reason.ok else reason
        self.silent = False  # Whoever says END has the dialog, whatever LOST said before.
        self._asked = None
        self.ended_at = now
        if not self.alive:
            self._reply(now, out)
            self.close(Outcome.ENDED, why, now, out)
        elif self.delays_end:
            self.state = State.DELAYED
            self._say(Verb.END_REPLY, EndReply(code=NO_ERROR), out)
            out.append(Unplug(self.task, why))
        else:
            self.state = State.ENDING
            out.append(CancelTask(self.task, why))

    def lose(self, now: float, out: list[Action]) -> None:
        """LOST, or the session over: fall silent, or after an END be done."""
        if self.state in _ENDED:
            self.close(Outcome.LOST, DISCONNECTED, now, out)
        elif not self.silent:
            self.silent = True
            self.lost_at = now

    def may_go_on(self, owner: bytes, accepted: int) -> bool:
        """Return whether the task goes on under a new attempt.

        It does if the agent accepted this worker last and the task had no END, of whatever origin:
        one that was ended and delayed it would open the port with its COMPLETE and no answer
        accepted.

        Args:
            owner: BEGIN's; the instance of the worker last accepted.
            accepted: BEGIN's seq; one that this task never sent was somebody else's.
        """
        undisturbed = self.state in _UNDISTURBED
        return undisturbed and owner == self.worker and accepted <= self.seq

    def go_on(
        self, attempt: int, session: int, lease_s: float, accepted: int, out: list[Action]
    ) -> None:
        """Re-attach: repeat what the agent lacks under the new attempt.

        The RECEIVE that is out is repeated in any case, since its answer may have died with the
        old session; last comes a verdict already given.
        """
        self.attempt, self.session, self.lease_s = attempt, session, lease_s
        self.silent = False
        for message in self._unaccepted:
            if message.seq > accepted or message is self._asked:
                self._say(Verb.SEND if isinstance(message, Send) else Verb.RECEIVE, message, out)
        if self.verdict is not None:
            self._say(Verb.COMPLETE, self.verdict, out)

    def bound_end(self, now: float, out: list[Action]) -> None:
        """Close a dialog whose END was delayed, or whose task cleans up, for too long."""
        if now < self.end_bound_at:
            return
        if self.state is State.DELAYED:
            self.drops["END delayed for longer than the lease"] += 1
        else:
            self.drops["clean-up took too long"] += 1
            self._reply(now, out)
        self.close(Outcome.ENDED, _TIMEOUT, now, out)

    def expire(self, now: float, out: list[Action]) -> None:
        """Close a dialog that is older than `dialog_max_s`, with the verdict it still owes."""
        if self.state in (State.RUNNING, State.DELAYED):
            self._say(Verb.COMPLETE, complete_of(Undecided(_TIMEOUT), self.worker), out)
        elif self.state is State.ENDING:
            self._reply(now, out)
        outcome = Outcome.ERROR if self.state is State.RUNNING else Outcome.ENDED
        self.close(outcome, _TIMEOUT, now, out)

    def close(self, outcome: Outcome, why: Code, now: float, out: list[Action]) -> None:
        """Have done with the dialog; the task, if it lives, is cancelled and heard no more."""
        if self.alive and self.state is not State.ENDING:
            out.append(CancelTask(self.task, why))
        if self.verdict is None:
            self._conclude(outcome, why, "", now, out)
        self.state = State.OVER

    @property
    def end_bound_at(self) -> float:
        """When `bound_end` closes it, if it has had its END."""
        if self.state is State.DELAYED:
            return self.ended_at + self.lease_s
        return self.ended_at + min(CLEAN_UP_S_MAX, self.lease_s / 2)

    def _refuse_to_speak(self) -> Code | None:
        """Return why neither Send nor Receive can start now, or None.

        A SEND waits as well while a RECEIVE is out: if the RECEIVE had to be repeated behind a
        later seq, the agent would take it for a gap (docs/protocol.md §6.1).
        """
        if self.state is not State.RUNNING:
            return DISCONNECTED
        return Raserror.ERROR_ASYNC_REQUEST_PENDING.code if self._asked else None

    def _ask(self, receive: Receive, out: list[Action]) -> None:
        self._say(Verb.RECEIVE, receive, out)
        self.seq = receive.seq
        self._unaccepted.append(receive)
        self._asked = receive
        self._last_error = PENDING

    def _decide(self, verdict: Verdict, now: float, out: list[Action]) -> None:
        self.state = State.DECIDED
        self._asked = None
        self.verdict = complete = complete_of(verdict, self.worker)
        self._say(Verb.COMPLETE, complete, out)
        self._conclude(_OUTCOMES[complete.msg_id], complete.error, complete.username, now, out)

    def _conclude(
        self, outcome: Outcome, code: Code, user: str, now: float, out: list[Action]
    ) -> None:
        out.append(Concluded(self.task, outcome, code, user, now - self.started_at))

    def _reply(self, now: float, out: list[Action]) -> None:
        self._say(Verb.END_REPLY, EndReply(code=DISCONNECTED), out)
        out.append(Replied(now - self.ended_at))

    def _say(self, verb: Verb, body: Body, out: list[Action]) -> None:
        """Send, unless the dialog is silent: what is owed then is repeated on re-attach.

        Raises:
            BodyError: no message can hold `body`.
        """
        message = encode(verb, body, self.dialog, self.attempt)
        if not self.silent:
            out.append(Transmit(self.session, message))


def _read_answer(body: bytes, asked: Receive | None) -> Received | None:
    """Return RECEIVED's body; None if it is malformed or longer than `asked` allows."""
    try:
        received = decode_body(body, Received)
    except BodyError:
        return None
    if asked and received.seq == asked.seq and len(received.data) > asked.limit:
        return None
    return received
