"""A loop that is held up shows it: real time, a few hundredths of a second of it."""

from __future__ import annotations

import asyncio
import time

from dialgate.histogram import Histogram
from dialgate.loop_lag import watch_lag


async def test_a_loop_that_is_held_up_is_seen_to_be_late() -> None:
    lag = Histogram((0.02,))
    watch = asyncio.ensure_future(watch_lag(lag, interval_s=0.001))
    await asyncio.sleep(0)
    while not lag.counts[0]:
        await asyncio.sleep(0.001)

    time.sleep(0.05)  # noqa: ASYNC251 - what no task may do
    while not lag.counts[1]:
        await asyncio.sleep(0.001)
    watch.cancel()

    assert lag.counts[1] == 1
    assert lag.sum_s >= 0.02
