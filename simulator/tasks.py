"""An asyncio loop in virtual time, for the tasks of one simulated worker.

It has what tasks, futures and timers need and nothing else: no socket, no thread, no clock of its
own.  What it does it does in a turn of its host, so a paused worker's tasks stand still, too.

Invariant: when a turn is over, no callback is left that could run.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context
from typing import Any, TypeVar

from simulator.timeline import Timeline

__all__ = ["TaskLoop"]

T = TypeVar("T")


class TaskLoop:
    """The loop of one host: what of asyncio.AbstractEventLoop tasks and futures call.

    Args:
        timeline: the world's.
        turn: lets the host take a turn.
        failed: hears of an exception that nobody took.
    """

    def __init__(
        self,
        timeline: Timeline,
        turn: Callable[..., None],
        failed: Callable[[dict[str, Any]], None],
    ) -> None:
        self._timeline = timeline
        self._turn = turn
        self._failed = failed
        self._ready: deque[asyncio.Handle] = deque()
        self._self: Any = self
        """This, where a whole event loop is expected."""

    def run_ready(self) -> None:
        """Run callbacks until none is left."""
        if not self._ready:
            return
        with_loop = asyncio.events._get_running_loop()  # noqa: SLF001 - as the loops of asyncio do
        asyncio._set_running_loop(self._self)  # noqa: SLF001
        try:
            while self._ready:
                handle = self._ready.popleft()
                if not handle.cancelled():
                    handle._run()  # noqa: SLF001
        finally:
            asyncio._set_running_loop(with_loop)  # noqa: SLF001

    def entered(self, work: Callable[[], T]) -> T:
        """Return what `work` does while this is the running loop."""
        asyncio._set_running_loop(self._self)  # noqa: SLF001
        try:
            return work()
        finally:
            asyncio._set_running_loop(None)  # noqa: SLF001

    # What asyncio asks of a loop.

    def time(self) -> float:
        """Return the world's time."""
        return self._timeline.now

    def get_debug(self) -> bool:
        """Return False: nothing here is slow in a way that asyncio could see."""
        return False

    def call_soon(
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """Run `callback` in this turn."""
        handle = asyncio.Handle(callback, args, self._self, context)
        self._ready.append(handle)
        return handle

    def call_later(
        self,
        delay: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Run `callback` in a turn `delay` seconds later."""
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Run `callback` in a turn at `when`."""
        handle = asyncio.TimerHandle(when, callback, args, self._self, context)
        self._timeline.at(when, self._turn, self._ready.append, handle)
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Leave it: a cancelled handle is not run."""

    def create_future(self) -> asyncio.Future[Any]:
        """Return a future of this loop."""
        return asyncio.Future(loop=self._self)

    def create_task(
        self,
        coro: Generator[Any, None, T] | Coroutine[Any, Any, T],
        *,
        name: str | None = None,
        context: Context | None = None,
    ) -> asyncio.Task[T]:
        """Start a task."""
        return asyncio.Task(coro, loop=self._self, name=name, context=context)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Tell of an exception that nobody took."""
        self._failed(context)

    def is_running(self) -> bool:
        """Return True: it runs whenever its host has a turn."""
        return True

    def is_closed(self) -> bool:
        """Return False."""
        return False
