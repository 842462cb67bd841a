"""`./dev chaos`: break a cluster of real processes for minutes or hours, and report."""

from __future__ import annotations

import argparse
import asyncio
import secrets
import signal
import sys
import tempfile
from pathlib import Path

from tests.chaos.faults import STEADY
from tests.chaos.report import report
from tests.chaos.run import Outcome, run


async def _run(directory: Path, seed: int, lasting_s: float) -> Outcome:
    """Run until the end or until SIGTERM; either way nothing is left running or mounted."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await run(directory, seed=seed, lasting_s=lasting_s, pace=STEADY)


def main() -> int:
    parser = argparse.ArgumentParser(prog="./dev chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=2.0, help="how long (2)")
    parser.add_argument("--seed", type=int, help="of faults and callers (any)")
    parser.add_argument("--directory", type=Path, help="keep logs and histories here")
    arguments = parser.parse_args()
    seed = secrets.randbelow(2**31) if arguments.seed is None else arguments.seed
    sys.stdout.write(f"chaos: seed {seed}, {arguments.minutes:g} min\n")
    sys.stdout.flush()
    with tempfile.TemporaryDirectory(prefix="dialgate-chaos-") as temporary:
        directory = arguments.directory or Path(temporary)
        directory.mkdir(parents=True, exist_ok=True)
        lasting_s = 60 * arguments.minutes
        try:
            outcome = asyncio.run(_run(directory, seed, lasting_s))
        except asyncio.CancelledError:
            sys.stdout.write("chaos: stopped, nothing is judged\n")
            return 128 + signal.SIGTERM
    sys.stdout.write(report(outcome) + "\n")
    return 1 if outcome.violations or outcome.crashes else 0


if __name__ == "__main__":
    sys.exit(main())
