"""`dialgate simulate` over all processors, as a process that somebody kills."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

from tests.integration.processes import DIALGATE, PROJECT, wait_until


def test_who_simulates_for_a_killed_process_goes_with_it() -> None:
    command = [*DIALGATE, "simulate", "--seeds", "1000", "--jobs", "2"]
    simulating = subprocess.Popen(command, cwd=PROJECT, start_new_session=True)
    try:
        wait_until(lambda: len(simulating_in(simulating.pid)) == 3, lambda: "both jobs begun", 20.0)
    finally:
        simulating.kill()
        simulating.wait()
    try:
        wait_until(lambda: not simulating_in(simulating.pid), lambda: "the jobs gone, too")
    finally:
        if simulating_in(simulating.pid):
            os.killpg(simulating.pid, signal.SIGKILL)


def simulating_in(session: int) -> list[int]:
    """Return the processes of a session that have loaded what simulates."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
            mapped = (stat.parent / "maps").read_text()
        except OSError:  # Gone, or not ours to look at.
            continue
        if int(fields[3]) == session and "msgspec" in mapped:
            found.append(int(stat.parent.name))
    return found
