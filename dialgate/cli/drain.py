"""`dialgate drain worker|broker|agent NAME`: let a process finish, so that it can be replaced.

The order goes through the broker that the configuration names, and the command waits until it is
done: only then is there nobody left who would notice a restart.
"""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from dialgate.cli.client import Client, NoAnswer, connect, operator_name, refusal_of
from dialgate.errors import DialgateError
from dialgate.manual import add_config, new_parser

__all__ = ["parse_duration_s", "run"]

ANSWER_S: Final = 30.0
"""How long an agent may take to say that it has the order."""
POLL_S: Final = 0.25
GRACE_S: Final = 5.0
"""How much later than its deadline a process may be gone."""
DEADLINE_S_MAX: Final = 24 * 3600

_UNITS_S: Final = {"": 1, "s": 1, "m": 60, "h": 3600}
_WITH_CALLER: Final = frozenset({"answering", "authenticating", "online", "hanging-up"})
"""States of a port that somebody would notice a restart in."""

IsDone = Callable[[], bool]


def run(_command: str, arguments: Sequence[str]) -> int:
    """Give the order, and wait until it is done.

    Raises:
        DialgateError: it is not done, or not by the deadline.
    """
    options = _parser().parse_args(arguments)
    client = connect(options.config)
    watch = {"worker": _worker_is_gone, "broker": _broker_is_gone, "agent": _agent_is_free}
    is_done = watch[options.role](client, options.name)
    order = {
        "role": options.role,
        "name": options.name,
        "deadline_ms": int(options.deadline * 1000),
        "operator": operator_name(),
        "reason": options.reason,
    }
    who = f"{options.role} {options.name}"
    refusal = refusal_of(client.post("/api/v1/drain", order, ANSWER_S))
    if refusal:
        raise DialgateError(f"{who}: does not drain: {refusal}")
    if options.no_wait:
        print(f"{who}: draining")
        return 0
    began_at = time.monotonic()
    while not is_done():
        if time.monotonic() >= began_at + options.deadline + GRACE_S:
            raise DialgateError(f"{who}: {_leftover(client, options)}")
        time.sleep(POLL_S)
    print(f"{who}: drained in {time.monotonic() - began_at:.0f} s")
    return 0


def parse_duration_s(text: str) -> float:
    """Return the seconds that `text` means, as 90, 90s, 10m or 1h.

    Raises:
        argparse.ArgumentTypeError: it means none, or more than a day.
    """
    match = re.fullmatch(r"([0-9]{1,6})([smh]?)", text)
    seconds = int(match[1]) * _UNITS_S[match[2]] if match else -1
    if not 0 <= seconds <= DEADLINE_S_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} is no time up to a day, as 90s, 10m or 1h")
    return float(seconds)


def _parser() -> argparse.ArgumentParser:
    parser = new_parser(
        "drain",
        """
        Lets a process finish what it has, so that it can be replaced and no caller is hung up on,
        and waits until it has.

        A worker takes no new calls, finishes those it has and ends. A broker sends its agents to
        another broker and ends. What either has not finished at the deadline goes on elsewhere:
        the caller is asked again.

        An agent answers no new calls and lets those that are there end, however long they take:
        at the deadline this command fails and says which ports still have a caller, and nobody is
        hung up on. The agent's ports answer again once it is restarted, or by the order "enable".

        SIGTERM does the same, with a deadline of the program's own.
        """,
        examples=[
            "dialgate drain worker worker-1 && systemctl restart dialgate-worker",
            "dialgate drain agent oslo-1 --deadline 2h && systemctl restart dialgate-agent",
        ],
    )
    parser.add_argument("role", choices=["worker", "broker", "agent"])
    parser.add_argument("name", metavar="NAME", help="its name in its configuration")
    parser.add_argument(
        "--deadline",
        type=parse_duration_s,
        default=600.0,
        metavar="TIME",
        help="how long it may take, as 90s, 10m or 1h (10m)",
    )
    parser.add_argument("--no-wait", action="store_true", help="give the order and return")
    parser.add_argument("--reason", default="", metavar="TEXT", help="written to the log")
    add_config(parser)
    return parser


def _worker_is_gone(client: Client, name: str) -> IsDone:
    """Return what says whether the worker that is here now has left; its heir is another."""
    instances = {row.get("instance") for row in _rows(client, "workers") if row.get("name") == name}
    return lambda: not any(row.get("instance") in instances for row in _rows(client, "workers"))


def _broker_is_gone(client: Client, _name: str) -> IsDone:
    instance = client.get("/api/v1/status").get("instance")

    def is_gone() -> bool:
        try:
            return client.get("/api/v1/status").get("instance") != instance
        except NoAnswer:
            return True

    return is_gone


def _agent_is_free(client: Client, name: str) -> IsDone:
    return lambda: not _busy_ports(client, name)


def _busy_ports(client: Client, agent: str) -> list[str]:
    return sorted(
        str(row.get("hport"))
        for row in _rows(client, "ports")
        if row.get("agent") == agent and row.get("state") in _WITH_CALLER
    )


def _leftover(client: Client, options: argparse.Namespace) -> str:
    if options.role == "agent":
        ports = ", ".join(_busy_ports(client, options.name))
        return f"still has callers, whom nobody hangs up on: {ports}"
    return "is still there after its deadline: look at its log"


def _rows(client: Client, what: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = client.get(f"/api/v1/{what}").get(what, [])
    return rows
