"""A real auth worker whose authenticator asks two questions and admits everybody.

Run as a process by benchmarks.system: `python -m benchmarks.stub_worker --config F`.  With
DIALGATE_BENCH_CANCELLED it writes, at its end, when each cancelled dialog's task was cancelled.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path

from auth_workers.dialog import Dialog
from auth_workers.service import run_worker
from auth_workers.verdict import Granted, Verdict
from dialgate import lifecycle
from dialgate.lifecycle import Life
from dialgate.sealing import Sealer
from dialgate.settings import Settings

CANCELLED: dict[str, float] = {}


async def conduct(dialog: Dialog) -> Verdict:
    """Ask name and password, then admit."""
    try:
        name = await dialog.receive(b"login: ")
        await dialog.receive(b"Password: ", echo="off", charge=True)
    except asyncio.CancelledError:
        CANCELLED[dialog.id.hex()] = time.monotonic()
        raise
    return Granted(user=name.decode(), attributes={"service": "console"})


async def serve(settings: Settings, life: Life) -> None:
    """Run the worker until told to stop."""
    await run_worker(settings, life, conduct=conduct, sealer=Sealer(bytes(32)))


if __name__ == "__main__":
    status = lifecycle.main("worker", serve, sys.argv[1:])
    target = os.environ.get("DIALGATE_BENCH_CANCELLED")
    if target:
        Path(target).write_text(json.dumps(CANCELLED))
    sys.exit(status)
