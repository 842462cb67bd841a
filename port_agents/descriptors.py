"""How many files and sockets this process may have open: raised for its lines, or said.

Invariant: the limit is never lowered.
"""

from __future__ import annotations

import resource
from typing import Final

__all__ = ["DESCRIPTORS_PER_PORT", "raise_limit"]

DESCRIPTORS_PER_PORT: Final = 5
"""A device (two while it is opened anew), its service's terminal and process, and one to spare."""
OTHERS: Final = 128
"""Brokers, spool, HTTP, log."""


def raise_limit(ports: int) -> str:
    """Let this process open what `ports` lines need; return what is missing, or nothing.

    The text names the limit and says how to mend it.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = ports * DESCRIPTORS_PER_PORT + OTHERS
    if soft >= needed:
        return ""
    if hard >= needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
        return ""
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return (
        f"{ports} ports need {needed} file descriptors, and the limit is {hard}: "
        f"set LimitNOFILE={needed} in the unit, or ulimit -n {needed}"
    )
