"""Which ports operators have closed, kept on this machine's disk: `SPOOL.closed`.

The file is small and seldom written; it is replaced as a whole, and is on the disk before anybody
is told so.  A thread writes, as a slow disk must not hold up the lines.

Invariant: the file is always whole; what `keep` was told last is what the next run reads.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from dialgate.codes import NO_ERROR, Code, Winerror
from dialgate.errors import DialgateError
from port_agents.line_actions import Closure

__all__ = ["ClosureError", "Closures", "closures_file", "read_closures"]

FILE_BYTES_MAX: Final = 1024 * 1024

_DECODER: Final = msgspec.json.Decoder(dict[str, Closure])


class ClosureError(DialgateError):
    """The file of closed ports can't be used; the text names it and says how to mend that."""


def closures_file(spool: str) -> Path:
    """Return where the closures of the agent with this spool are."""
    return Path(f"{spool}.closed")


def read_closures(file: Path) -> dict[str, Closure]:
    """Return the ports that are closed, by HPORT.

    Raises:
        ClosureError: it is not known which ones are.
    """
    try:
        with file.open("rb") as stream:
            return _DECODER.decode(stream.read(FILE_BYTES_MAX))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ClosureError(f"{file}: can't be read: {error.strerror}") from error
    except msgspec.DecodeError as error:
        text = "says not which ports are disabled: move it away, and disable them anew"
        raise ClosureError(f"{file}: {text} ({error})") from error


class Closures:
    """The ports that are closed.

    Args:
        file: where they are kept.
        closures: as `read_closures` gave them.
        on_kept: told each port's HPORT when what was said of it is on the disk, with 0, or is not.
    """

    def __init__(
        self,
        file: Path,
        closures: Mapping[str, Closure],
        on_kept: Callable[[str, Code], None],
    ) -> None:
        self._file = file
        self._closures = dict(closures)
        self._on_kept = on_kept
        self._unkept: list[str] = []
        self._writing: asyncio.Task[None] | None = None

    def keep(self, hport: str, closure: Closure | None) -> None:
        """Keep that a port is closed, or with None that it is not."""
        if closure is None:
            self._closures.pop(hport, None)
        else:
            self._closures[hport] = closure
        self._unkept.append(hport)
        if self._writing is None:
            self._writing = asyncio.create_task(self._write())

    async def _write(self) -> None:
        while self._unkept:
            hports, self._unkept = self._unkept, []
            content = msgspec.json.format(msgspec.json.encode(self._closures))
            try:
                await asyncio.to_thread(_replace, self._file, content)
                code = NO_ERROR
            except OSError:
                code = Winerror.ERROR_GEN_FAILURE.code
            for hport in hports:
                self._on_kept(hport, code)
        self._writing = None


def _replace(file: Path, content: bytes) -> None:
    """Put `content` in the place of the file's, durably."""
    new = file.with_name(f"{file.name}.new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    new.replace(file)
    directory = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
