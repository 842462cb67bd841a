"""A real auth worker with an authenticator that is a danger to it, for tests of fail-over.

It asks for a name and admits whoever says one.  "poison" kills the process, as a fault in a library
of the system might; "block" holds up its loop for good; "again" is asked again.

    python -m tests.integration.odd_worker --config worker.toml
"""

from __future__ import annotations

import os
import signal
import sys
import time

from auth_workers.dialog import Dialog
from auth_workers.service import run_worker
from auth_workers.verdict import Granted, Verdict
from dialgate import lifecycle
from dialgate.lifecycle import Life
from dialgate.sealing import POOL_KEY_BYTES, Sealer
from dialgate.settings import Settings

BLOCKED_S = 3600


async def conduct(dialog: Dialog) -> Verdict:
    """Ask for a name, and suffer for some."""
    while (name := await dialog.receive(b"login: ", timeout_s=60)) == b"again":
        pass
    if name == b"poison":
        os.kill(os.getpid(), signal.SIGKILL)
    if name == b"block":
        time.sleep(BLOCKED_S)  # noqa: ASYNC251 - what the test is about
    return Granted(name.decode())


async def serve(settings: Settings, life: Life) -> None:
    """Serve like any worker; of all odd workers the pool's key is the same."""
    await run_worker(settings, life, conduct=conduct, sealer=Sealer(bytes(POOL_KEY_BYTES)))


if __name__ == "__main__":
    sys.exit(lifecycle.main("worker", serve, sys.argv[1:]))
