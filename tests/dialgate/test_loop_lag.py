"""A loop that is held up shows it: real time, a twentieth of a second of it."""

from __future__ import annotations

import asyncio
import time

import pytest

from dialgate.histogram import Histogram
from dialgate.loop_lag import LAG_BOUNDS_S, watch_lag


class Lag(Histogram):
    """Lets a test wait for the next observation."""

    def __init__(self) -> None:
        super().__init__(LAG_BOUNDS_S)
        self.seen: asyncio.Queue[float] = asyncio.Queue()

    def observe(self, seconds: float) -> None:
        self.seen.put_nowait(seconds)


@pytest.mark.interpreted
async def test_a_loop_that_is_held_up_is_seen_to_be_late() -> None:
    lag = Lag()
    watch = asyncio.ensure_future(watch_lag(lag, interval_s=0.001))
    assert await lag.seen.get() >= 0

    time.sleep(0.05)  # noqa: ASYNC251 - what no task may do
    late_s = await lag.seen.get()
    watch.cancel()

    assert late_s >= 0.04
