"""`dialgate status|agents|workers|ports`: what a broker knows at this moment."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from dialgate.cli.client import connect
from dialgate.cli.table import add_output, cell, print_answer
from dialgate.manual import add_config, new_parser

__all__ = ["run"]

_COLUMNS: Final[Mapping[str, Sequence[str]]] = {
    "agents": ("name", "site", "version", "ports", "session", "connected_ms"),
    "workers": ("name", "version", "credit", "owned", "draining", "connected_ms"),
    "ports": ("agent", "hport", "state", "since_ms", "worker", "dialog", "reason"),
}

_DESCRIPTIONS: Final = {
    "status": "Shows the broker itself: its version, and sums of agents, workers, ports, calls.",
    "agents": "Shows the port agents that have a session with the broker.",
    "workers": "Shows the auth workers that have a session with the broker: how many more calls "
    "each would take (credit) and how many it has (owned).",
    "ports": "Shows every port that agents have told of, its state and for how long, and who "
    "authenticates its caller. The state is the agent's word: idle, ringing, answering, "
    "authenticating, online, hanging-up, disabled, faulted, quarantined, unknown.",
}


def run(command: str, arguments: Sequence[str]) -> int:
    """Print what the broker says of `command`."""
    parser = new_parser(
        command,
        _DESCRIPTIONS[command],
        examples=[f"dialgate {command}", f"dialgate {command} -o json | jq ."],
    )
    add_config(parser)
    add_output(parser)
    options = parser.parse_args(arguments)
    answer = connect(options.config).get(f"/api/v1/{command}")
    if command == "status":
        _print_status(options.output, answer)
    else:
        rows = [row for row in answer.get(command, []) if isinstance(row, dict)]
        columns = _COLUMNS[command]
        rows.sort(key=lambda row: [str(row.get(column, "")) for column in columns[:2]])
        print_answer(options.output, command, rows, columns)
    return 0


def _print_status(output: str, status: Mapping[str, Any]) -> None:
    if output == "json":
        print(json.dumps(status, indent=2))
    else:
        flat = dict(_flat(status))
        width = max(map(len, flat), default=0)
        for key, value in flat.items():
            print(f"{key.removesuffix('_ms'):<{width}}  {cell(key, value)}")


def _flat(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the leaves of nested objects, named `outer.inner`."""
    for key, inner in value.items():
        if isinstance(inner, dict):
            yield from _flat(inner, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", inner
