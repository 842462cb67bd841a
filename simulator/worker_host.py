"""A worker's process in virtual time: core, runner, policies and dialogs as they are in service.

Replaced are the hashing of passwords, the users' table and the loop that the tasks run on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

from auth_workers.runner import Conduct, Runner
from auth_workers.session import Worker
from dialgate.sealing import Sealer
from dialgate.session import SessionClosed, SessionEvent, SessionOpened, Transmit
from dialgate.wire.verbs import Role
from simulator.hosts import Peer, Surroundings
from simulator.tasks import TaskLoop

__all__ = ["CAPACITY", "WorkerHost"]

CAPACITY: Final = 100
TICK_S: Final = 0.1
"""How often a worker looks at the time, which is what its core's deadlines are late by."""


class WorkerHost(Peer):
    """One auth worker."""

    def __init__(
        self,
        world: Surroundings,
        name: str,
        brokers: Sequence[str],
        conduct: Conduct,
        sealer: Sealer,
        *,
        reattach_s: float,
        dialog_max_s: float,
    ) -> None:
        super().__init__(world, name, Role.WORKER, capacity=CAPACITY)
        self.core: Final = Worker(
            self.instance,
            capacity=CAPACITY,
            links=len(brokers),
            reattach_s=reattach_s,
            dialog_max_s=dialog_max_s,
        )
        self.reattach_s: Final = reattach_s
        self.dialog_max_s: Final = dialog_max_s
        self._loop = TaskLoop(world.timeline, self.turn, self._task_failed)
        self.runner: Final = self._loop.entered(
            lambda: Runner(
                self.core,
                conduct,
                sealer,
                lambda session, message: self.transmit(Transmit(session, message)),
                clock=self._loop.time,
            )
        )
        self.has_left = False
        """Whether it has drained."""
        self._brokers = brokers

    def start(self) -> None:
        """Begin to open sessions with every broker."""
        for broker in self._brokers:
            self.open_link(broker)

    def drain(self, deadline_s: float) -> None:
        """Take SIGTERM."""
        self.runner.perform(self.core.drain(deadline_s, self.timeline.now))

    def on_event(self, link: str, session: int, event: SessionEvent) -> None:
        """Let the core work on one event of a link."""
        now = self.timeline.now
        match event:
            case SessionOpened():
                actions = self.core.session_opened(link, event.session, event.welcome, now)
            case SessionClosed():
                actions = self.core.session_closed(event.session, event.code, now)
            case _:
                verb, dialog, attempt, body, _ = event
                self.world.heard(self, session, verb, dialog, attempt, body)
                actions = self.core.message(session, verb, dialog, attempt, body, now)
        self.runner.perform(actions)

    def settle(self) -> None:
        """Let the tasks go on as far as they can, then send."""
        self._loop.run_ready()
        if self.runner.left.is_set():
            self.has_left = True
            for address in self.links:
                self.stop_link(address)
        super().settle()

    def deadline(self, *, anew: bool = False) -> float:
        """Return when a link or the core is due."""
        if self.has_left:
            return math.inf
        if anew or self._links_due == -math.inf:
            self.look_at_links()
        return min(self.core.deadline() + TICK_S, self._links_due)

    def tick(self) -> None:
        """Do what time asks for."""
        super().tick()
        now = self.timeline.now
        if now >= self.core.deadline() + TICK_S:
            self.runner.perform(self.core.tick(now))

    def look(self) -> None:
        """Let the world know when it has drained."""
        if self.has_left:
            self.world.turned(self)

    def kill(self) -> None:
        """Go, and the tasks with it, without any clean-up."""
        super().kill()
        for task, _ in self.runner._running.values():  # noqa: SLF001 - a killed process's
            vars_of: Any = task
            vars_of._log_destroy_pending = False  # noqa: SLF001

    def _task_failed(self, context: dict[str, Any]) -> None:
        if self.is_alive:
            self.world.broken("I8", f"{self.name}: {context.get('message')}")
