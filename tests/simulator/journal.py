"""What `./dev prove simulation` has come to so far: a line of JSON for each piece of work.

A proof takes hours.  Each piece is kept as soon as it is done, by part and commit, in `.prove/`:
who is killed loses the piece that he was at, and goes on behind it when he is started again.

Invariant: a line says what was run at the commit in the file's name, and nothing else.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import msgspec
from msgspec import Struct

from simulator.campaign import Total
from simulator.plan import Mode

__all__ = ["Journal", "Searched", "Seeds"]

ROOT: Final = Path(__file__).parent.parent.parent
FOLDER: Final = ROOT / ".prove"


class Seeds(Struct, frozen=True):
    """Some seeds in a row."""

    first: int
    last: int
    totals: dict[Mode, Total]
    elapsed_s: float = 0.0
    """What they took on all processors."""
    is_compiled: bool = False
    """Whether the cores and the simulator were those that `./dev wheel` compiles."""


class Searched(Struct, frozen=True):
    """One breadth-first search."""

    bounds: str
    states: int
    steps: int
    deepest: int
    end: str
    """Whether that was all."""
    took_s: float = 0.0


_R = TypeVar("_R", bound=Struct)


class Journal(Generic[_R]):
    """One part at one commit; without a commit, the one that was written to last.

    Args:
        part: its name.
        row: what a line is.
        commit: the short id.
        folder: where journals are.
    """

    def __init__(
        self, part: str, row: type[_R], commit: str = "", *, folder: Path = FOLDER
    ) -> None:
        self._row = row
        known = sorted(folder.glob(f"{part}-*.jsonl"), key=lambda path: path.stat().st_mtime)
        path = known[-1] if known and not commit else folder / f"{part}-{commit or 'none'}.jsonl"
        self._path: Final = path
        self.commit: Final = path.stem.partition("-")[2]

    def rows(self) -> list[_R]:
        """Return what is done; a line that was cut short is not."""
        if not self._path.exists():
            return []
        lines = self._path.read_bytes().split(b"\n")[:-1]
        return [msgspec.json.decode(line, type=self._row, dec_hook=_counter) for line in lines]

    def keep(self, row: _R) -> None:
        """Write a line."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        data = self._path.read_bytes() if self._path.exists() else b""
        whole = data[: data.rfind(b"\n") + 1]
        if whole != data:
            self._path.write_bytes(whole)
        with self._path.open("ab") as file:
            file.write(msgspec.json.encode(row) + b"\n")


def _counter(_kind: type, value: Any) -> Counter[str]:
    return Counter(value)
