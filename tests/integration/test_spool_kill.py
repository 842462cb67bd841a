"""The spool against kill -9: what was said to be on the disk is there.

Method: a process keeps records, prints the number of each flushed one, and is killed in the middle
of the next.  A reader looks at the file while the process runs, and after.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from dialgate.records import read_calls

KEEPER = """
import asyncio, sys
from dialgate.records import CallFacts, CallRecord
from port_agents.spool import Spool

async def main() -> None:
    spool = await Spool.open(sys.argv[1], print)
    facts = CallFacts(site="oslo", agent="oslo-1", hport="oslo/1", rang_at=0.0)
    number = 0
    while True:
        number += 1
        name = number.to_bytes(16)
        spool.keep(CallRecord(record=name, call=name, kind="stop", made_at=0.0, facts=facts))
        assert await spool.flush(bound_s=10)
        print(number, flush=True)

asyncio.run(main())
"""


def test_what_was_flushed_survives_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    keeper = subprocess.Popen(
        [sys.executable, "-c", KEEPER, str(path)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert keeper.stdout is not None

    with keeper:
        flushed = [int(keeper.stdout.readline()) for _ in range(50)]
        seen_meanwhile = len(read_calls(path))
        keeper.kill()
        flushed += [int(line) for line in keeper.stdout if line.endswith("\n")]

    numbers = {int.from_bytes(record.record) for record in read_calls(path, limit=1_000_000)}
    assert seen_meanwhile >= 50
    assert set(flushed) <= numbers
    assert len(numbers) <= len(flushed) + 1
