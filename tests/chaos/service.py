"""What is behind the gate: tells the history who came, on which port and when, and greets him.

Started by an agent as the command of a service: `service.py HISTORY LOCKS`.  It imports nothing of
dialgate: what it writes is its own word.  It says whether it has the port for itself by a lock that
the kernel lets go with the process.  A line typed ends it; so does the hang-up.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
import time


def main(history: str, locks: str) -> None:
    at = time.time()
    seen = os.environ
    port, call = seen["DIALGATE_HPORT"], seen["DIALGATE_CALL_ID"]
    lock = os.open(f"{locks}/{port.replace('/', '-')}.lock", os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        alone = True
    except BlockingIOError:
        alone = False
    event = {
        "event": "Opened",
        "at": at,
        "call": call,
        "hport": port,
        "caller": seen["DIALGATE_CALLER"],
        "user": seen["DIALGATE_USER"],
        "alone": alone,
    }
    file = os.open(history, os.O_WRONLY | os.O_APPEND)
    os.write(file, json.dumps(event).encode() + b"\n")
    os.write(1, f"welcome {call}.\r\n".encode())
    os.read(0, 1000)


if __name__ == "__main__":
    main(*sys.argv[1:])
