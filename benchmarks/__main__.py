"""`./dev bench`: print all figures, and fail if one is below its bound."""

from __future__ import annotations

import argparse
import os
import platform
import sys

from benchmarks import broker, logins, system

BROKER_OF_PROXY_MIN = 0.4
SYSTEM_DIALOGS_PER_S_MIN = 6000
CANCEL_P99_S_MAX = 0.020
PROMPT_P99_S_MAX = 0.200


def main() -> int:
    """Run what is asked for; return the exit status."""
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="rounds a figure (default: 7)")
    parser.add_argument("--only", choices=["broker", "system", "logins"], help="one part only")
    parser.add_argument("--no-bounds", action="store_true", help="print, but judge nothing")
    arguments = parser.parse_args()
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}; "
        f"medians of {arguments.rounds} interleaved rounds\n"
    )
    faults = []
    if arguments.only in {None, "broker"}:
        text, ratios = broker.measure(arguments.rounds)
        print(text, flush=True)
        print("\nceiling: load.c with agent and worker face to face, no relay between them\n")
        if ratios["broker/256"] < BROKER_OF_PROXY_MIN:
            faults.append(f"broker at 256 in flight is below {BROKER_OF_PROXY_MIN} of zmq_proxy")
    if arguments.only in {None, "system"}:
        text, figures = system.measure(arguments.rounds)
        print(text, flush=True)
        if figures["dialogs_per_s"] < SYSTEM_DIALOGS_PER_S_MIN:
            faults.append(f"the whole system is below {SYSTEM_DIALOGS_PER_S_MIN} dialogs/s")
        if figures["cancel_p99_s"] > CANCEL_P99_S_MAX:
            faults.append(f"cancel p99 is above {CANCEL_P99_S_MAX * 1000:.0f} ms")
    if arguments.only in {None, "logins"}:
        text, figures = logins.measure(min(arguments.rounds, 3))
        print(f"\n{text}", flush=True)
        if figures["prompt_p99_s"] > PROMPT_P99_S_MAX:
            faults.append(f"prompt p99 beside hashing is above {PROMPT_P99_S_MAX * 1000:.0f} ms")
    for fault in faults:
        print(f"BELOW ITS BOUND: {fault}", file=sys.stderr)
    return 1 if faults and not arguments.no_bounds else 0


if __name__ == "__main__":
    sys.exit(main())
