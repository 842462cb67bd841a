"""How late an event loop is: what every other thing on it waits for, too."""

from __future__ import annotations

import asyncio
from typing import Final

from dialgate.histogram import Histogram

__all__ = ["LAG_BOUNDS_S", "watch_lag"]

LAG_BOUNDS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)
INTERVAL_S: Final = 0.25


async def watch_lag(lag: Histogram, interval_s: float = INTERVAL_S) -> None:
    """Observe, until cancelled, by how much later than asked for the running loop wakes this up."""
    clock = asyncio.get_running_loop().time
    while True:
        asked = clock() + interval_s
        await asyncio.sleep(interval_s)
        lag.observe(clock() - asked)
