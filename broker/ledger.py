"""Stores records of calls in the cluster's state, in a thread and an event loop of its own.

It notes there, too, when agents start and stop.

The broker's loop only hands records over and hears which of them are on the disk.  What comes while
a transaction is under way goes into the next one, so batches grow with the load.  While the state
can't be used, records wait here up to a limit, and beyond it are dropped: their agents have them,
and offer them again.

Invariants: a record is told as stored only when its transaction was committed; at most
`WAITING_MAX` wait.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from broker.receipts import Receipt
from broker.sessions import Turn
from dialgate.agent_turns import AgentTurn, store_turns
from dialgate.calls import store_records
from dialgate.errors import StateError
from dialgate.state import open_state

__all__ = ["Ledger"]

WAITING_MAX: Final = 10_000
"""Records that wait for the state: about 20 MB."""
BATCH_MAX: Final = 500
"""Records in one transaction."""
TURNS_MAX: Final = 10_000
"""Starts and ends of agents that wait for the state."""
RETRY_S: Final = 1.0
"""Until a state that could not be used is tried again."""
CLOSE_S: Final = 5.0
"""How long the end of the broker waits for what is being stored."""

log = structlog.get_logger(__name__)


class Ledger:
    """The thread, and what waits for it.  Made and used in the broker's event loop.

    Args:
        url: of the cluster's state.
        tell: called in the broker's loop with the records of a transaction that was committed.
        retry_s: seconds until a failed transaction is tried again.
    """

    def __init__(
        self,
        url: str,
        tell: Callable[[Sequence[Receipt]], None],
        *,
        retry_s: float = RETRY_S,
    ) -> None:
        self.stored = 0
        """Records that were new."""
        self.doubled = 0
        """Records that were there already, or a second start or stop of a call."""
        self.dropped = 0
        """Records, and starts and ends of agents, for which there was no room."""
        self.errors = 0
        """Times that the state could not be opened or written."""
        self.failing = ""
        """Why the state can't be used now; empty: it can, as far as is known."""
        self._url = url
        self._tell = tell
        self._retry_s = retry_s
        self._owner = asyncio.get_running_loop()
        self._waiting: deque[Receipt] = deque()
        """Appended to by the owner, taken from the left by the thread."""
        self._turns: deque[AgentTurn] = deque()
        """Likewise."""
        self._loop = asyncio.new_event_loop()
        self._arrived = asyncio.Event()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="ledger", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """How many records are not stored yet."""
        return len(self._waiting)

    def store(self, receipts: Sequence[Receipt]) -> None:
        """Queue records for the state."""
        room = max(0, WAITING_MAX - len(self._waiting))
        self.dropped += max(0, len(receipts) - room)
        self._waiting.extend(receipts[:room])
        self._loop.call_soon_threadsafe(self._arrived.set)

    def note_turns(self, turns: Sequence[Turn]) -> None:
        """Queue starts and ends of agents for the state."""
        room = max(0, TURNS_MAX - len(self._turns))
        self.dropped += max(0, len(turns) - room)
        now = time.time()
        self._turns.extend(
            AgentTurn(agent.name, agent.instance, started, now - ago_s)
            for agent, started, ago_s in turns[:room]
        )
        self._loop.call_soon_threadsafe(self._arrived.set)

    async def aclose(self) -> None:
        """Store what waits if that can be done soon, and end the thread."""
        self._closing = True
        self._loop.call_soon_threadsafe(self._arrived.set)
        await asyncio.to_thread(self._thread.join, CLOSE_S)

    # ------------------------------------------------------------------ in the thread

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._work())

    async def _work(self) -> None:
        engine: AsyncEngine | None = None
        try:
            while True:
                try:
                    engine = engine or await open_state(self._url)
                    await self._store_waiting(engine)
                except StateError as error:
                    self._fail(str(error))
                    if self._closing:
                        return
                    await asyncio.sleep(self._retry_s)
                    continue
                if self._closing and not self._waiting and not self._turns:
                    return
                await self._arrived.wait()
                self._arrived.clear()
        finally:
            if engine is not None:
                await engine.dispose()

    async def _store_waiting(self, engine: AsyncEngine) -> None:
        while turns := list(itertools.islice(self._turns, BATCH_MAX)):
            await store_turns(engine, turns, time.time())
            for _ in turns:
                self._turns.popleft()
        while batch := list(itertools.islice(self._waiting, BATCH_MAX)):
            new = await store_records(engine, [each.record for each in batch])
            for _ in batch:
                self._waiting.popleft()
            self._owner.call_soon_threadsafe(self._committed, batch, new)
        if self.failing:
            self.failing = ""
            log.info("the state takes records again")

    def _fail(self, reason: str) -> None:
        self.errors += 1
        if not self.failing:
            log.error("records of calls can't be stored, and stay with their agents", reason=reason)
        self.failing = reason

    # ------------------------------------------------------------------ in the owner's loop

    def _committed(self, batch: Sequence[Receipt], new: int) -> None:
        self.stored += new
        self.doubled += len(batch) - new
        self._tell(batch)
