"""The caller, as an authenticator sees him: Send, Receive and GetInfo of the contract.

A dialog is one asyncio task.  An abnormal End cancels it wherever it waits; what has to be put in
order then goes into `finally`.  Whoever must not be cut off in the middle of something puts that
into `with dialog.delayed_end():`, and what must be through before the port is released after the
verdict into `dialog.after_verdict`; both answer End with 0, for `end_lease_ms` at most.

This is the shell's side: numbers, repeats and leases are `auth_workers.session`'s.

Invariant: an answer is handed out once, to the Receive that asked for it.  A Receive that was given
up stays pending, and until its answer has come and gone the next is refused (616).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Final, Literal, Protocol

from msgspec.structs import replace

from auth_workers.cookie import Cookies
from auth_workers.session_actions import Info
from auth_workers.session_dialog import DISCONNECTED, PENDING, Question
from dialgate.codes import Code, Winerror, describe
from dialgate.wire.bodies import Begin, Facts

__all__ = ["AnswerTooLong", "Dialog", "DialogEnded", "DialogFault", "Port"]

ANSWER_BYTES_MAX: Final = 256
"""Limit of an answer unless the authenticator asks for another: the longest user name."""
ANSWER_S: Final = 60
"""Time limit of an answer unless the authenticator asks for another, in seconds."""

_MORE_DATA: Final = Winerror.ERROR_MORE_DATA.code
_TIMEOUT: Final = Winerror.ERROR_TIMEOUT.code


class DialogEnded(Exception):
    """Nobody waits for a verdict any more: the caller has hung up, or End was called."""


class DialogFault(Exception):
    """A Send or Receive failed; `code` says why.  Without a decision the verdict is ERROR."""

    def __init__(self, code: Code) -> None:
        super().__init__(describe(code))
        self.code = code


class AnswerTooLong(DialogFault):
    """The caller's line is longer than was asked for; its rest waits for the next Receive."""


class Port(Protocol):
    """What a dialog speaks through; `auth_workers.runner` has the real one, `testing` another."""

    def send(self, data: bytes) -> Code:
        """Start a Send; return 600, or why not."""
        ...

    def receive(self, question: Question) -> Code:
        """Start a Receive; return 600 (`Dialog.answer` follows), or why not."""
        ...

    def info(self) -> Info:
        """Return LastError, BytesReceived and DeviceName."""
        ...

    def delay_end(self, *, on: bool) -> None:
        """Let End be answered 0, or no longer."""
        ...


class Dialog:
    """One caller on one port, from Begin to the verdict.

    Args:
        port: what to speak through.
        dialog: the dialog's id, 16 bytes.
        attempt: the BEGIN's number.
        begin: BEGIN's body.
        facts: what the agent knows of the call.
        cookies: seals and reads this dialog's cookies.
    """

    __slots__ = (
        "_after",
        "_answer",
        "_cookies",
        "_ended",
        "_port",
        "attempt",
        "call",
        "facts",
        "hport",
        "id",
        "progress",
        "resumed",
    )

    def __init__(
        self,
        port: Port,
        dialog: bytes,
        attempt: int,
        begin: Begin,
        facts: Facts,
        cookies: Cookies,
    ) -> None:
        self.id = dialog
        self.attempt = attempt
        self.hport = begin.hport
        """Handle of the port: used for call after call, so never an identity by itself."""
        self.call = begin.call
        self.facts = facts
        """Site, agent, caller's number, speed and the like."""
        self.progress = cookies.read(begin, attempt)
        """How far the dialog has come, over all its workers."""
        self.resumed = begin.seq > 0
        """Whether the caller was asked before, by this worker or another."""
        self._port = port
        self._cookies = cookies
        self._answer: asyncio.Future[tuple[Code, bytes]] | None = None
        self._after: list[Callable[[], Awaitable[None]]] = []
        self._ended: Code | None = None

    # For authenticators.

    async def send(self, data: bytes) -> None:
        """Show `data` to the caller, unchanged: lines end in CR LF.

        Longer data goes out in pieces; between two Receives there may be 8.

        Raises:
            DialogEnded: nobody is there any more.
            DialogFault: it can't be sent: too many pieces, or a Receive runs.
        """
        size = self.facts.send_size
        for start in range(0, len(data), size):
            self._require_started(self._port.send(data[start : start + size]))

    async def receive(
        self,
        prompt: bytes,
        *,
        echo: Literal["on", "off", "mask"] = "on",
        timeout_s: int = ANSWER_S,
        limit: int = ANSWER_BYTES_MAX,
        charge: bool = False,
    ) -> bytes:
        """Show `prompt`, wait for the caller's line and return it without its end.

        Args:
            prompt: shown first, unchanged.
            echo: what the caller sees of his answer.
            timeout_s: from the prompt's last byte on; 0: none but the dialog's.
            limit: most bytes of the answer.
            charge: the answer is a guess, so this question uses up a try, answered or not.

        Raises:
            TimeoutError: nothing complete came in time; what there was is discarded.
            AnswerTooLong: the line is longer than `limit`.
            DialogEnded: nobody is there any more.
            DialogFault: the Receive failed, or another one runs (616).
        """
        return await self._receive(prompt, "line", echo, timeout_s, limit, charge=charge)

    async def receive_raw(
        self, prompt: bytes = b"", *, timeout_s: int = ANSWER_S, limit: int = ANSWER_BYTES_MAX
    ) -> bytes:
        """Show `prompt` and return what comes next, 1 to `limit` bytes, unedited and not echoed.

        Raises:
            TimeoutError, DialogEnded, DialogFault: as for `receive`.
        """
        return await self._receive(prompt, "raw", "off", timeout_s, limit, charge=False)

    def info(self) -> Info:
        """Return GetInfo's LastError (600 while a Receive runs), BytesReceived and DeviceName."""
        return self._port.info()

    def note(self, *, step: str | None = None, user: str | None = None) -> None:
        """Have the next cookies say which authenticator is at work, and for whom."""
        progress = self.progress
        self.progress = replace(
            progress,
            step=progress.step if step is None else step,
            user=progress.user if user is None else user,
        )

    def charge(self) -> None:
        """Use a try up that no question used up; the next cookies say so."""
        self.progress = replace(self.progress, tries=self.progress.tries + 1)

    @contextmanager
    def delayed_end(self) -> Iterator[None]:
        """Delay an End that comes meanwhile: it is answered 0 and the task is not cancelled.

        Send and Receive fail from then on.  What follows must be short: after `end_lease_ms` the
        task is cancelled all the same.

        Raises:
            DialogEnded: at the end of the block, if End has come.
        """
        self._port.delay_end(on=True)
        try:
            yield
        finally:
            self._port.delay_end(on=False)
        if self._ended is not None:
            raise DialogEnded

    def after_verdict(self, work: Callable[[], Awaitable[None]]) -> None:
        """Have `work` done between the verdict and the release of the port."""
        self._after.append(work)

    # For whoever conducts the dialog.

    @property
    def work_after_verdict(self) -> list[Callable[[], Awaitable[None]]]:
        """What `after_verdict` was given, in order."""
        return self._after

    def answer(self, status: Code, data: bytes) -> None:
        """End the Receive that runs.  If it was given up, its answer is nobody's."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_result((status, data))

    def unplug(self, why: Code) -> None:
        """Take notice of an End that is delayed: nothing more comes from the caller."""
        self._ended = why
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(DialogEnded())

    async def _receive(
        self,
        prompt: bytes,
        mode: Literal["line", "raw"],
        echo: Literal["on", "off", "mask"],
        timeout_s: int,
        limit: int,
        *,
        charge: bool,
    ) -> bytes:
        progress = self.progress
        if charge:
            progress = replace(progress, tries=progress.tries + 1)
        question = Question(
            prompt=prompt,
            limit=limit,
            timeout_s=timeout_s,
            cookie=self._cookies.seal(progress),
            mode=mode,
            echo=echo,
        )
        self._require_started(self._port.receive(question))
        self.progress = progress
        self._answer = asyncio.get_running_loop().create_future()
        try:
            status, data = await self._answer
        finally:
            self._answer = None
        if status == _TIMEOUT:
            raise TimeoutError
        if status == _MORE_DATA:
            raise AnswerTooLong(status)
        if not status.ok:
            raise DialogFault(status)
        return data

    def _require_started(self, code: Code) -> None:
        if code == DISCONNECTED:
            raise DialogEnded
        if code != PENDING:
            raise DialogFault(code)
