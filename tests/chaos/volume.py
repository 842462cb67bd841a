"""A small disk that runs full: a tmpfs of 1 MiB as root, else a limit on the size of files.

The tmpfs is full for whoever writes; the limit (RLIMIT_FSIZE) is set on the processes that write
there, and lets nothing grow.  When the fault is over somebody has made room, and more than before
if the files have grown into it by themselves.
"""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

SIZE_BYTES: Final = 1024 * 1024
ROOM_BYTES: Final = 512 * 1024
"""What is free, at least, while the disk is not full."""


class Volume:
    """One small disk at `path`."""

    def __init__(self, path: Path) -> None:
        self.path: Final = path
        self._is_mounted = False
        self._limited: list[int] = []

    @property
    def how(self) -> str:
        """How it is filled, in words."""
        return "tmpfs" if self._is_mounted else "file size limit"

    @contextmanager
    def mounted(self) -> Iterator[None]:
        """Have the directory while the context lasts."""
        self.path.mkdir()
        self._is_mounted = os.geteuid() == 0 and self._mount(f"size={SIZE_BYTES}")
        try:
            yield
        finally:
            if self._is_mounted:
                subprocess.run(["umount", "--lazy", self.path], check=True)

    def fill(self, processes: Sequence[int]) -> None:
        """Leave no room; `processes` are those who write here."""
        if not self._is_mounted:
            self._limited = [each for each in processes if _limit(each, 0)]
            return
        with self._ballast.open("wb", buffering=0) as ballast, contextlib.suppress(OSError):
            while True:
                ballast.write(bytes(4096))

    def make_room(self) -> None:
        """Let it be written again."""
        for process in self._limited:
            _limit(process, resource.RLIM_INFINITY)
        self._limited.clear()
        self._ballast.unlink(missing_ok=True)
        self.keep_room()

    def keep_room(self) -> None:
        """Add to the disk when what is written has used it up, as its owner would."""
        if not self._is_mounted or self._ballast.exists():
            return
        room = os.statvfs(self.path)
        if room.f_bavail * room.f_frsize < ROOM_BYTES:
            used = (room.f_blocks - room.f_bavail) * room.f_frsize
            assert self._mount(f"remount,size={used + SIZE_BYTES}")

    @property
    def _ballast(self) -> Path:
        return self.path / "ballast"

    def _mount(self, options: str) -> bool:
        command = ["mount", "-t", "tmpfs", "-o", options, "dialgate-chaos", str(self.path)]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _limit(process: int, size: int) -> bool:
    """Set the soft limit of a process, which it could raise again itself; False: it is gone."""
    try:
        _, hard = resource.prlimit(process, resource.RLIMIT_FSIZE)
        resource.prlimit(process, resource.RLIMIT_FSIZE, (size, hard))
    except ProcessLookupError:
        return False
    return True
