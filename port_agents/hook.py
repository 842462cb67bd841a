"""The operator's command for a modem that nothing else brings back, run once and bounded.

A shell: when it is run and what its end means is the modem's decision.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Sequence
from typing import Final

from port_agents.handover import PATH

__all__ = ["run_hook"]

SAID_CHARS_MAX: Final = 120
"""What of its standard error stands in a reason."""


async def run_hook(argv: Sequence[str], hport: str, device: str, timeout_s: float) -> str:
    """Run a hook to its end; return why it did not work, or nothing.

    It leads a session of its own, all of which is killed when `timeout_s` is over or this task is
    cancelled.
    """
    environment = {"PATH": PATH, "HPORT": hport, "DEVICE": device}
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )
    except OSError as error:
        return f"{argv[0]}: {error.strerror}"
    try:
        async with asyncio.timeout(timeout_s):
            _, said = await process.communicate()
    except TimeoutError:
        return f"{argv[0]}: did not end within {timeout_s:g} s"
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    if process.returncode == 0:
        return ""
    words = " ".join(said.decode("ascii", "replace").split())[:SAID_CHARS_MAX]
    return f"{argv[0]}: status {process.returncode}" + (f": {words}" if words else "")
