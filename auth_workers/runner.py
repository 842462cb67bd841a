"""The tasks of a worker's dialogs: does what the core says, and tells it what they ask.

It decides nothing but one thing: what an exception means.  Whatever an authenticator raises, the
verdict is ERROR and never FAILURE.  Tasks are cancelled in slices, so that a broker that takes
thousands of dialogs with it doesn't stall the others.

Invariant: of each task the core hears `finished` exactly once, whatever it ended by.
"""

from __future__ import annotations

import asyncio
import logging
import time
import traceback
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

import structlog

from auth_workers.cookie import Cookies
from auth_workers.counts import Counts
from auth_workers.dialog import Dialog, DialogEnded, DialogFault
from auth_workers.session import Worker
from auth_workers.session_actions import (
    Action,
    Answer,
    CancelTask,
    Concluded,
    Info,
    Leave,
    Replied,
    StartTask,
    Unplug,
)
from auth_workers.session_dialog import CLEAN_UP_S_MAX, DISCONNECTED, Question
from auth_workers.verdict import Undecided, Verdict, with_tries
from dialgate.codes import Code, Raserror, Winerror, describe
from dialgate.errors import BackendUnavailable
from dialgate.sealing import Sealer
from dialgate.session import Transmit

__all__ = ["Conduct", "Runner"]

CANCELLED_PER_TURN: Final = 64
"""Tasks that are cancelled before other work of the loop gets its turn."""

_INTERNAL: Final = Undecided(Raserror.ERROR_AUTH_INTERNAL.code)
_TIMEOUT: Final = Undecided(Winerror.ERROR_TIMEOUT.code)

Conduct = Callable[[Dialog], Awaitable[Verdict]]
"""Conducts a dialog to its verdict: `Policies.conduct`, or a stand-in of tests and benchmarks."""

_Rare = StartTask | CancelTask | Unplug | Concluded | Replied | Leave

log = structlog.get_logger()


class Runner:
    """Runs one asyncio task a dialog.

    Args:
        worker: the core; this is the only one to drive it.
        conduct: what the tasks do.
        sealer: seals the dialogs' cookies.
        transmit: sends an encoded message on a session; without effect if that is over.
        clock: monotonic seconds.
        clean_up_s: how long tasks may take to end when the worker closes.
    """

    def __init__(
        self,
        worker: Worker,
        conduct: Conduct,
        sealer: Sealer,
        transmit: Callable[[int, bytes], None],
        *,
        clock: Callable[[], float] = time.monotonic,
        clean_up_s: float = CLEAN_UP_S_MAX,
    ) -> None:
        self.worker = worker
        self.counts = Counts()
        self.left = asyncio.Event()
        """The core has nothing left to do: say BYE to all."""
        self._conduct = conduct
        self._sealer = sealer
        self._transmit = transmit
        self.clock = clock
        self._clean_up_s = clean_up_s
        self._loop = asyncio.get_running_loop()
        self._log = log.bind()  # Once: binding anew costs more than what is left of the line.
        self._running: dict[int, tuple[asyncio.Task[None], Dialog]] = {}
        self._doomed: deque[int] = deque()
        self._cancelling: asyncio.Handle | None = None

    def perform(self, actions: Iterable[Action]) -> None:
        """Do what the core says, in its order."""
        for action in actions:
            # Three of four are of these: a fourth of what `match` takes for them.
            if isinstance(action, Transmit):
                self._transmit(action.session, action.message)
            elif isinstance(action, Answer):
                self._running[action.task][1].answer(action.status, action.data)
            else:
                self._act(action)

    def _act(self, action: _Rare) -> None:
        match action:
            case StartTask():
                self._start(action)
            case Concluded():
                self._conclude(action)
            case CancelTask(task):
                self._doom(task)
            case Unplug(task, why):
                self._running[task][1].unplug(why)
            case Replied(after_s):
                self.counts.replies.observe(after_s)
            case Leave():
                self.left.set()

    async def close(self) -> None:
        """Cancel every task, and wait for their clean-up, but no longer than it may take."""
        tasks = [task for task, _ in self._running.values()]
        for start in range(0, len(tasks), CANCELLED_PER_TURN):
            for task in tasks[start : start + CANCELLED_PER_TURN]:
                task.cancel()
            await asyncio.sleep(0)
        if tasks:
            await asyncio.wait(tasks, timeout=self._clean_up_s)

    def _start(self, start: StartTask) -> None:
        cookies = Cookies(self._sealer, start.dialog, start.begin, start.facts)
        port = _TaskPort(self, start.task)
        dialog = Dialog(port, start.dialog, start.attempt, start.begin, start.facts, cookies)
        task = self._loop.create_task(self._run(start.task, dialog))
        self._running[start.task] = (task, dialog)
        self.counts.started += 1
        task.add_done_callback(lambda done: self._finish(start.task, done))

    async def _run(self, task: int, dialog: Dialog) -> None:
        verdict = with_tries(await self._decide(dialog), dialog.progress.tries)
        work = dialog.work_after_verdict
        if work:
            self.worker.delay_end(task, on=True)
        self.perform(self.worker.complete(task, verdict, self.clock()))
        for each in work:
            try:
                await each()
            except Exception as error:  # noqa: BLE001 - whatever it is, the port is released
                self._report(dialog, error)
                self.perform(self.worker.complete(task, _INTERNAL, self.clock()))

    async def _decide(self, dialog: Dialog) -> Verdict:
        """Return the authenticator's verdict, or ERROR for what it raised."""
        try:
            return await self._conduct(dialog)
        except DialogEnded:
            return Undecided(DISCONNECTED)
        except TimeoutError:
            return _TIMEOUT
        except DialogFault as fault:
            log.warning("dialog failed", hport=dialog.hport, code=describe(fault.code))
            return Undecided(fault.code)
        except BackendUnavailable as error:
            log.warning("no decision", hport=dialog.hport, reason=str(error))
            return _INTERNAL
        except Exception as error:  # noqa: BLE001 - the top of a task: fail closed
            self._report(dialog, error)
            return _INTERNAL

    def _report(self, dialog: Dialog, error: Exception) -> None:
        """Log where an authenticator broke, and not its words, which may hold an answer."""
        self.counts.failures += 1
        trace = "".join(traceback.format_tb(error.__traceback__))
        log.error(
            "authenticator failed",
            hport=dialog.hport,
            authenticator=dialog.progress.step,
            exception=f"{type(error).__name__} at\n{trace}",
        )

    def _doom(self, task: int) -> None:
        self.counts.cancelled += 1
        self._doomed.append(task)
        if self._cancelling is None:
            self._cancelling = self._loop.call_soon(self._cancel_some)

    def _cancel_some(self) -> None:
        self._cancelling = None
        for _ in range(min(CANCELLED_PER_TURN, len(self._doomed))):
            running = self._running.get(self._doomed.popleft())
            if running is not None:
                running[0].cancel()
        if self._doomed:
            self._cancelling = self._loop.call_soon(self._cancel_some)

    def _finish(self, task: int, done: asyncio.Task[None]) -> None:
        error = None if done.cancelled() else done.exception()
        if isinstance(error, Exception):
            self._report(self._running[task][1], error)
        self.perform(self.worker.finished(task, self.clock()))
        del self._running[task]

    def _conclude(self, concluded: Concluded) -> None:
        self.counts.durations[concluded.outcome].observe(concluded.duration_s)
        running = self._running.get(concluded.task)
        if running is None or not self._log.is_enabled_for(logging.INFO):
            return  # Before the line is put together, which takes as long as a question.
        dialog = running[1]
        self._log.info(
            "dialog over",
            outcome=concluded.outcome.value,
            code=describe(concluded.code),
            site=dialog.facts.site,
            hport=dialog.hport,
            caller=dialog.facts.caller,
            user=concluded.user or dialog.progress.user,
            tries=dialog.progress.tries,
            call=dialog.call.hex(),
            dialog=dialog.id.hex(),
            attempt=dialog.attempt,
        )


class _TaskPort:
    """What one task speaks through (`auth_workers.dialog.Port`)."""

    __slots__ = ("_runner", "_task")

    def __init__(self, runner: Runner, task: int) -> None:
        self._runner = runner
        self._task = task

    def send(self, data: bytes) -> Code:
        code, actions = self._runner.worker.send(self._task, data)
        self._runner.perform(actions)
        return code

    def receive(self, question: Question) -> Code:
        code, actions = self._runner.worker.receive(self._task, question)
        self._runner.perform(actions)
        return code

    def info(self) -> Info:
        return self._runner.worker.info(self._task)

    def delay_end(self, *, on: bool) -> None:
        self._runner.worker.delay_end(self._task, on=on)
