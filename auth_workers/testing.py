"""A scripted caller in memory, for tests of authenticators, ours and others'.

    caller = Caller(b"ann", b"secret")
    assert await caller.meets(authenticator) == Granted("ann")
    assert caller.screen == b"login: Password: "

    caller = Caller(b"secret")
    assert await caller.tries("ann", authenticator) == Accepted("ann")

Dialog and login are the real ones; only the port is played, and no pause is made.  The caller types
one line for each Receive, or does one of the things that `Event` names.  With `cookie`, he comes
back from an earlier worker.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine
from enum import Enum
from typing import Any, Final, TypeVar

from auth_workers.authenticators import Authenticator, Login, Result, Terms, ask
from auth_workers.cookie import Cookies
from auth_workers.dialog import Dialog, DialogEnded
from auth_workers.login import Ledger, log_in
from auth_workers.session_actions import Info
from auth_workers.session_dialog import DISCONNECTED, PENDING, Question
from auth_workers.verdict import Verdict
from dialgate.codes import NO_ERROR, Code, Raserror, Winerror
from dialgate.sealing import POOL_KEY_BYTES, Sealer
from dialgate.wire.bodies import Begin, Facts
from dialgate.wire.body_codec import encode_body

__all__ = ["FACTS", "TERMS", "Caller", "Event"]

_T = TypeVar("_T")

DIALOG: Final = b"dialog".ljust(16, b".")

FACTS: Final = Facts(
    site="oslo",
    agent="oslo-1",
    device="/dev/ttyS0",
    caller="5550100",
    send_size=1024,
    recv_size=1024,
)
"""What the agent says of the call, unless a test says otherwise."""

TERMS: Final = Terms(
    tries_max=3,
    answer_s=60,
    retry_delay_s=2.0,
    login_prompt=b"login: ",
    password_prompt=b"Password: ",
    refusal="Login incorrect",
)
"""The policy's defaults."""


class Event(Enum):
    """What a caller may do instead of typing a line."""

    HANG_UP = "hang up"
    """End comes, abnormal: the task is cancelled."""
    SAY_NOTHING = "say nothing"
    """The Receive times out."""
    TYPE_ENDLESSLY = "type endlessly"
    """The line is longer than the Receive allows."""


class Caller:
    """Somebody on the line.

    Args:
        script: what he does at each Receive, in order; after the last he hangs up.
        facts: what the agent says of the call.
        attempt: the BEGIN's number.
        seq: BEGIN's, the last SEND or RECEIVE that the port accepted.
        cookie: BEGIN's.
        pool_key: the worker pool's.
    """

    def __init__(
        self,
        *script: bytes | Event,
        facts: Facts = FACTS,
        attempt: int = 1,
        seq: int = 0,
        cookie: bytes = b"",
        pool_key: bytes = bytes(POOL_KEY_BYTES),
    ) -> None:
        self.screen = b""
        """What he was shown, his own typing apart."""
        self.questions: list[Question] = []
        """Every Receive, in order."""
        self.pauses: list[float] = []
        """How long he was let wait after each failed try, seconds."""
        self.end_delayed = False
        """Whether End would be answered 0 now."""
        self._script = deque(script)
        self._info = Info(NO_ERROR, 0, facts.device)
        self._task: asyncio.Task[Any] | None = None
        begin = Begin(
            hport="oslo/1", call=bytes(16), seq=seq, cookie=cookie, facts=encode_body(facts)
        )
        self.cookies = Cookies(Sealer(pool_key), DIALOG, begin, facts)
        """Seals and reads this dialog's cookies."""
        self.dialog = Dialog(self, DIALOG, attempt, begin, facts, self.cookies)
        """The dialog as an authenticator sees it."""

    async def meets(
        self, authenticator: Authenticator, terms: Terms = TERMS, ledger: Ledger | None = None
    ) -> Verdict:
        """Log in where `authenticator` judges each try, and `ledger` counts it; return the verdict.

        Raises:
            DialogEnded: the caller hung up before there was one.
        """
        login = log_in(
            self.dialog,
            terms,
            lambda login: ask(authenticator, login),
            ledger=ledger,
            pause=self._pause,
        )
        return await self.goes_through(login)

    async def tries(self, user: str, authenticator: Authenticator, terms: Terms = TERMS) -> Result:
        """Give `user` as the name, and return what `authenticator` says of this one try.

        Raises:
            DialogEnded: the caller hung up before it said anything.
        """
        login = Login(self.dialog, user, terms)
        return await self.goes_through(ask(authenticator, login))

    async def goes_through(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Run `work`, which speaks with him through `dialog`; his hang-up cancels it.

        Raises:
            DialogEnded: he hung up before the end.
        """
        self._task = task = asyncio.create_task(work)
        try:
            return await task
        except asyncio.CancelledError:
            if not task.cancelled():
                raise
            raise DialogEnded from None

    async def _pause(self, seconds: float) -> None:
        self.pauses.append(seconds)

    # What the dialog speaks through (`auth_workers.dialog.Port`).

    def send(self, data: bytes) -> Code:
        """Show `data`."""
        if self._info.last_error == DISCONNECTED:
            return DISCONNECTED
        self.screen += data
        return PENDING

    def receive(self, question: Question) -> Code:
        """Show the prompt and do what comes next in the script."""
        if self._info.last_error in {PENDING, DISCONNECTED}:
            running = self._info.last_error == PENDING
            return Raserror.ERROR_ASYNC_REQUEST_PENDING.code if running else DISCONNECTED
        self.screen += question.prompt
        self.questions.append(question)
        self._info = self._info._replace(last_error=PENDING)
        act = self._script.popleft() if self._script else Event.HANG_UP
        asyncio.get_running_loop().call_soon(self._act, act, question)
        return PENDING

    def info(self) -> Info:
        """Return what GetInfo tells."""
        return self._info

    def delay_end(self, *, on: bool) -> None:
        """Take note that End is to be delayed."""
        self.end_delayed = on

    def _act(self, act: bytes | Event, question: Question) -> None:
        match act:
            case Event.HANG_UP:
                self.hang_up()
            case Event.SAY_NOTHING:
                self._answer(Winerror.ERROR_TIMEOUT.code, b"")
            case Event.TYPE_ENDLESSLY:
                self._answer(Winerror.ERROR_MORE_DATA.code, b"x" * question.limit)
            case bytes() if len(act) > question.limit:
                self._answer(Winerror.ERROR_MORE_DATA.code, act[: question.limit])
            case bytes():
                self._answer(NO_ERROR, act)

    def hang_up(self) -> None:
        """Let End come: the task is cancelled, or told so if it delays that."""
        self._info = self._info._replace(last_error=DISCONNECTED)
        if self.end_delayed:
            self.dialog.unplug(DISCONNECTED)
        elif self._task is not None:
            self._task.cancel()

    def _answer(self, status: Code, data: bytes) -> None:
        self._info = self._info._replace(last_error=status, bytes_received=len(data))
        self.dialog.answer(status, data)
