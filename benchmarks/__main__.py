"""`./dev bench`: print all figures, and fail if one is below its bound."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Callable, Iterator, Mapping

from benchmarks import broker, lines, logins, system
from broker import core

BROKER_OF_PROXY_MIN = 0.4
SYSTEM_DIALOGS_PER_S_MIN = 6000
CANCEL_P99_S_MAX = 0.020
PROMPT_P99_S_MAX = 0.200
IDLE_CPU_MAX = 0.02
"""Of one core, for an agent whose 512 lines wait for calls."""
LONG_ROUNDS_MAX = 3
"""Of parts whose rounds take long."""


def main() -> int:
    """Run what is asked for; return the exit status."""
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="rounds a figure (default: 7)")
    parser.add_argument("--only", choices=list(_PARTS), help="one part only")
    parser.add_argument("--no-bounds", action="store_true", help="print, but judge nothing")
    arguments = parser.parse_args()
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"{'sources' if str(core.__file__).endswith('.py') else 'compiled wheel'}; "
        f"medians of {arguments.rounds} interleaved rounds\n"
    )
    faults: list[str] = []
    for name, part in _PARTS.items():
        if arguments.only in {None, name}:
            faults += part(arguments.rounds)
    for fault in faults:
        print(f"BELOW ITS BOUND: {fault}", file=sys.stderr)
    return 1 if faults and not arguments.no_bounds else 0


def _broker(rounds: int) -> Iterator[str]:
    text, ratios = broker.measure(rounds)
    print(text, flush=True)
    print("\nceiling: load.c with agent and worker face to face, no relay between them\n")
    if ratios["broker/256"] < BROKER_OF_PROXY_MIN:
        yield f"broker at 256 in flight is below {BROKER_OF_PROXY_MIN} of zmq_proxy"


def _system(rounds: int) -> Iterator[str]:
    text, figures = system.measure(rounds)
    print(text, flush=True)
    if figures["dialogs_per_s"] < SYSTEM_DIALOGS_PER_S_MIN:
        yield f"the whole system is below {SYSTEM_DIALOGS_PER_S_MIN} dialogs/s"
    if figures["cancel_p99_s"] > CANCEL_P99_S_MAX:
        yield f"cancel p99 is above {CANCEL_P99_S_MAX * 1000:.0f} ms"


def _logins(rounds: int) -> Iterator[str]:
    text, figures = logins.measure(min(rounds, LONG_ROUNDS_MAX))
    print(f"\n{text}", flush=True)
    if figures["prompt_p99_s"] > PROMPT_P99_S_MAX:
        yield f"prompt p99 beside hashing is above {PROMPT_P99_S_MAX * 1000:.0f} ms"


def _lines(rounds: int) -> Iterator[str]:
    text, figures = lines.measure(min(rounds, LONG_ROUNDS_MAX))
    print(f"\n{text}", flush=True)
    if figures["idle_cpu"] > IDLE_CPU_MAX:
        yield f"an idle agent takes more than {IDLE_CPU_MAX:.0%} of a core"


_PARTS: Mapping[str, Callable[[int], Iterator[str]]] = {
    "broker": _broker,
    "system": _system,
    "logins": _logins,
    "lines": _lines,
}


if __name__ == "__main__":
    sys.exit(main())
