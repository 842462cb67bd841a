"""The numbered questions and answers of one dialog (protocol §6.1-6.5), over all its attempts.

Pure.  `port_agents.dialog` decides which messages count at all; this decides whether a SEND or
RECEIVE that counts is the next one, what the caller is shown of it, and which answer may go out.

Invariant: each SEND and RECEIVE is accepted at most once, each answer leaves at most once and only
under the attempt that asks for it; what the caller typed for one question is no answer to another.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

from dialgate.codes import Code, Raserror, Winerror
from dialgate.enums import direct_members
from dialgate.errors import BodyError
from dialgate.wire.bodies import Facts, Receive, Received, Send
from dialgate.wire.body_codec import decode_body
from dialgate.wire.limits import SENDS_MAX
from port_agents.dialog_actions import Show
from port_agents.terminal import Ask

__all__ = ["Exchange", "Exchanged", "Misfit"]

_PENDING: Final = Raserror.ERROR_ASYNC_REQUEST_PENDING.code
_RETRY: Final = Winerror.ERROR_RETRY.code
_TIMEOUT: Final = Winerror.ERROR_TIMEOUT.code


@direct_members
class Misfit(Enum):
    """Why a SEND or RECEIVE was not accepted."""

    BAD = auto()
    """Its body, or more than the contract allows: END."""
    GAP = auto()
    """It is not the next one: something was lost, BEGIN again."""
    REPEATED = auto()
    """A SEND that was shown before."""


Exchanged = Show | Ask | Received | Misfit | None
"""What a message leads to; None: the question it repeats goes on waiting."""


class Exchange:
    """What was accepted and answered in one dialog; `facts` holds the sizes promised in BEGIN."""

    def __init__(self, facts: Facts) -> None:
        self.seq = 0
        """The last SEND or RECEIVE accepted, answered or not."""
        self.cookie = b""
        """Of the last RECEIVE accepted."""
        self.worker = b""
        """Instance of the worker last accepted."""
        self.asked_seq = 0
        """The last RECEIVE accepted; 0 if none was."""
        self.answer_out = False
        """Whether nothing newer than an answer has come from a worker of this attempt."""
        self.answers = 0
        """Answers of the caller that went out; time-outs are none."""
        self._facts = facts
        self._attempt = 0
        self._asker = b""
        """Instance of the worker that asked the last RECEIVE."""
        self._asked_attempt = 1
        """The attempt under which the last RECEIVE was last asked."""
        self._is_open = False
        """Whether the answer to the last RECEIVE is not out."""
        self._held: Received | None = None
        """That answer, when it came while nobody could take it."""
        self._sends = 0
        """SENDs since the last RECEIVE or BEGIN."""

    def begin(self, attempt: int) -> None:
        """Take note of a BEGIN: a question that is open belongs to an earlier attempt now."""
        self._attempt = attempt
        self._sends = 0
        self.answer_out = False

    def suspend(self) -> None:
        """Let answers wait: no BEGIN is outstanding, so nobody can take one."""
        self._attempt = 0

    def send(self, body: bytes) -> Exchanged:
        """Take a SEND."""
        try:
            send = decode_body(body, Send)
        except BodyError:
            return Misfit.BAD
        if send.seq != self.seq + 1:
            return Misfit.GAP if send.seq > self.seq else Misfit.REPEATED
        self._sends += 1
        if self._sends > SENDS_MAX or len(send.data) > self._facts.send_size:
            return Misfit.BAD
        self._accept(send)
        return Show(send.data)

    def receive(self, body: bytes) -> Exchanged:
        """Take a RECEIVE."""
        try:
            receive = decode_body(body, Receive)
        except BodyError:
            return Misfit.BAD
        # Another worker's question under the number of the last one is no repetition of it.
        if receive.seq == self.asked_seq and receive.worker == self._asker:
            return self._ask_again(receive)
        if receive.seq != self.seq + 1:
            return Misfit.GAP
        if len(receive.prompt) > self._facts.send_size:
            return Misfit.BAD
        if self._is_open and self._asked_attempt == self._attempt:
            self.seq = receive.seq
            return Received(seq=receive.seq, status=_PENDING, data=b"")
        return self._ask(receive)

    def answer(self, seq: int, status: Code, data: bytes) -> Received | None:
        """Take the caller's answer; return it if it goes out now.

        One that comes between two attempts waits for its question to be repeated.
        """
        if not self._is_open or self._held is not None or seq != self.asked_seq:
            return None
        self._held = Received(seq=seq, status=status, data=data)
        return self._release() if self._asked_attempt == self._attempt else None

    def close(self) -> bool:
        """Forget what is open; return whether the caller is still asked."""
        is_asked = self._is_open and self._held is None
        self._is_open = False
        self._held = None
        return is_asked

    def _ask(self, receive: Receive) -> Ask:
        # Half a password must not become a user name (protocol §6.4).
        discard = self._asked_attempt != self._attempt
        self._accept(receive)
        self.cookie = receive.cookie
        self.asked_seq = receive.seq
        self._asker = receive.worker
        self._asked_attempt = self._attempt
        self._is_open = True
        self._held = None
        self._sends = 0
        return Ask(
            seq=receive.seq,
            prompt=receive.prompt,
            mode=receive.mode,
            echo=receive.echo,
            limit=min(receive.limit, self._facts.recv_size),
            timeout_s=receive.timeout_s,
            discard=discard,
        )

    def _ask_again(self, receive: Receive) -> Received | None:
        """Let a repeated question wait on; one whose answer is out is never answered again."""
        if not self._is_open:
            return Received(seq=receive.seq, status=_RETRY, data=b"")
        self._asked_attempt = self._attempt
        self._sends = 0
        return None if self._held is None else self._release()

    def _accept(self, message: Send | Receive) -> None:
        self.seq = message.seq
        self.worker = message.worker
        self.answer_out = False

    def _release(self) -> Received | None:
        answer, self._held = self._held, None
        if answer is not None and answer.status != _TIMEOUT:
            self.answers += 1
        self._is_open = False
        self.answer_out = True
        return answer
