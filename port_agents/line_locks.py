"""UUCP lock files: who has a serial line, as cu, minicom, pppd and mgetty tell one another.

A lock is the file `LCK..ttyS0` in /var/lock with the holder's process id as ten characters and a
line feed (FHS 5.9).  It is made whole under another name and then linked, so that nobody finds half
a lock; one whose process is gone is removed.  Beside it stands the kernel's own exclusion
(`serial_port`), which programs that know no lock files meet.

Invariants: a lock whose holder lives is never removed; only a lock of this process is released.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import Final

from port_agents.device import PortError

__all__ = ["OURS", "LineLocks"]

PREFIX: Final = "LCK.."
BROKEN_S: Final = 60.0
"""A lock that names no process is being written, unless it is older than this."""
OURS: Final = "dialgate agent"
"""The name of a holder that is an agent."""
_BINARY_BYTES: Final = 4
"""Length of the process id in the locks of some old programs."""


class LineLocks:
    """The lock files of one directory."""

    def __init__(self, directory: str) -> None:
        self._directory = Path(directory)

    def path_of(self, device: str) -> Path:
        """Return where a device's lock is: symbolic links such as those of by-id are followed."""
        name = os.path.realpath(device).removeprefix("/dev/").replace("/", "_")
        return self._directory / f"{PREFIX}{name}"

    def holder(self, device: str) -> str:
        """Return who else has a device, as "minicom (process 123)"; empty if nobody has."""
        with contextlib.suppress(OSError):
            return self._holder_of(self.path_of(device))
        return ""

    def take(self, device: str) -> None:
        """Lock a device; a lock of this process already is as good.

        A directory that this process may not write, and a stale lock that it may not remove (say,
        root's), are no reason to serve nobody: the kernel's exclusion is left.

        Raises:
            PortError: another program has it.
        """
        lock = self.path_of(device)
        new = lock.with_name(f"LTMP.{os.getpid()}.{lock.name}")
        try:
            new.write_text(f"{os.getpid():10d}\n", encoding="ascii")
            try:
                new.chmod(0o644)  # Whatever the umask: others have to see whose it is.
                for _ in range(2):  # Once more, when the first try found a stale one.
                    with contextlib.suppress(FileExistsError):
                        os.link(new, lock)
                        return
                    if holder := self._holder_of(lock):
                        raise PortError(
                            f"{device}: in use by {holder}, says {lock}: end it, or wait for it"
                        )
                    if _process_in(lock) == os.getpid():
                        return
            finally:
                new.unlink(missing_ok=True)
        except OSError:
            return
        raise PortError(f"{device}: {lock} comes and goes: two programs want the line")

    def release(self, device: str) -> None:
        """Remove the lock of a device, if it is this process's."""
        lock = self.path_of(device)
        if _process_in(lock) == os.getpid():
            with contextlib.suppress(OSError):
                lock.unlink()

    def _holder_of(self, lock: Path) -> str:
        """Return who else holds `lock`; a stale one is removed.

        Raises:
            OSError: it is stale and can't be removed.
        """
        process = _process_in(lock)
        if process is None or process == os.getpid():
            return ""
        if process == 0:
            return "a program that says not which"
        if _is_alive(process):
            return f"{_name_of(process)} (process {process})"
        lock.unlink(missing_ok=True)
        return ""


def _process_in(lock: Path) -> int | None:
    """Return the process that a lock names, 0 if it names none yet, None if there is no lock."""
    try:
        content = lock.read_bytes()
        age_s = time.time() - lock.stat().st_mtime
    except OSError:
        return None
    if content.strip().isdigit():
        return int(content)
    if len(content) == _BINARY_BYTES:
        return int.from_bytes(content, "little")
    return 0 if age_s < BROKEN_S else 2**31  # No process has that number: it is stale.


def _is_alive(process: int) -> bool:
    # Not a look at /proc, where a sandbox hides other users' processes.
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _name_of(process: int) -> str:
    with contextlib.suppress(OSError):
        words = Path(f"/proc/{process}/cmdline").read_text(errors="replace").split("\0")
        if "agent" in words and any(Path(word).name == "dialgate" for word in words):
            return OURS  # Whose own name is that of its interpreter.
    try:
        return Path(f"/proc/{process}/comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return "a program"
