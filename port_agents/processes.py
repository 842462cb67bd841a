"""End every process of a session, background jobs of a shell included.

A service runs as the leader of a session of its own.  Its processes may move to other process
groups (job control does that all the time) and be orphaned, but stay in the session; only one that
starts a session of its own, as daemons do, leaves it and is nobody's service any more.

Whoever calls this keeps the leader unreaped until it returns, so that the session's number, which
is the leader's process id, can't be given to an innocent meanwhile.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Collection
from pathlib import Path
from typing import Final

__all__ = ["KILL_S", "end_session", "kill_left_over", "session_members"]

KILL_S: Final = 1.0
"""How long killed processes may take to be gone; longer only in uninterruptible sleep."""
POLL_S: Final = 0.02

_PROC: Final = Path("/proc")


def session_members(session: int) -> list[int]:
    """Return the ids of the live processes of a session; zombies are not alive."""
    return [
        int(entry.name)
        for entry in _PROC.iterdir()
        if entry.name.isdecimal() and _session_of(int(entry.name)) == session and _is_alive(entry)
    ]


async def end_session(session: int, grace_s: float) -> bool:
    """Hang up on a session's processes, kill after `grace_s`; return whether all are gone."""
    _signal(session_members(session), signal.SIGHUP, signal.SIGCONT)
    if await _gone(session, grace_s, kill=False):
        return True
    return await _gone(session, KILL_S, kill=True)


async def kill_left_over(calls: Collection[bytes]) -> int:
    """Kill what an earlier run started for `calls` and that is still there; return how many.

    A service has its call's id in its environment.  Killed are all processes that have one of these
    ids there, the sessions that they lead, and whatever descends from them, such as the shell of
    a login, whose environment is its own.
    """
    marks = [b"DIALGATE_CALL_ID=" + call.hex().encode() for call in calls]
    killed: set[int] = set()
    deadline = asyncio.get_running_loop().time() + KILL_S
    while marks and (left := await asyncio.to_thread(_left_over, marks)):
        killed |= left
        _signal(list(left), signal.SIGKILL)
        if asyncio.get_running_loop().time() >= deadline:
            break
        await asyncio.sleep(POLL_S)
    return len(killed)


def _left_over(marks: Collection[bytes]) -> set[int]:
    """Return the live processes that have a mark, lead or are led by one that has, or descend."""
    alive = [int(e.name) for e in _PROC.iterdir() if e.name.isdecimal() and _is_alive(e)]
    found = {process for process in alive if not set(marks).isdisjoint(_environment(process))}
    sessions = {_session_of(process) for process in found} - {0, os.getsid(0)}
    found |= {process for process in alive if _session_of(process) in sessions}
    parents = {process: _parent_of(process) for process in alive}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {os.getpid()}


def _environment(process: int) -> list[bytes]:
    try:
        return (_PROC / str(process) / "environ").read_bytes().split(b"\0")
    except OSError:
        return []


def _parent_of(process: int) -> int:
    try:
        _, _, fields = (_PROC / str(process) / "stat").read_bytes().rpartition(b") ")
    except OSError:
        return 0
    return int(fields.split()[1])


async def _gone(session: int, bound_s: float, *, kill: bool) -> bool:
    """Wait until a session is empty, at most `bound_s`; kill what is found meanwhile if told so."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + bound_s
    while members := session_members(session):
        if kill:
            # At every look: what forks faster than one look is killed by a later one.
            _signal(members, signal.SIGKILL)
        if loop.time() >= deadline:
            return False
        await asyncio.sleep(POLL_S)
    return True


def _signal(processes: list[int], *signals: signal.Signals) -> None:
    for process in processes:
        for number in signals:
            try:
                os.kill(process, number)
            except ProcessLookupError:
                break
            except PermissionError:
                # A set-user-id program that we may not signal: it is counted as not gone.
                break


def _session_of(process: int) -> int:
    try:
        return os.getsid(process)
    except ProcessLookupError:
        return 0


def _is_alive(entry: Path) -> bool:
    try:
        # "pid (name) state …", and the name may hold anything.
        _, _, fields = (entry / "stat").read_bytes().rpartition(b") ")
    except OSError:
        return False
    return not fields.startswith((b"Z", b"X"))
