"""`dialgate port ACT HPORT`: an operator's order to one port, and whether it worked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from dialgate.cli.client import Client, connect, operator_name, refusal_of
from dialgate.errors import DialgateError
from dialgate.manual import add_config, new_parser
from dialgate.text import printable

__all__ = ["run"]

ANSWER_S: Final = 80.0
"""How long the broker may take, which waits for the agent, which waits for the modem."""

_DONE: Final = {
    "hangup": "hung up",
    "reset": "reset",
    "probe": "answers",
    "disable": "disabled",
    "enable": "enabled",
}
_FAILED: Final = {**_DONE, "probe": "probed"}
_WHY: Final[Mapping[str, str]] = {
    "ERROR_PORT_NOT_CONNECTED": "no call is on it",
    "ERROR_BUSY": "a call is on it",
    "ERROR_DEVICE_NOT_CONNECTED": "its device can't be had",
    "ERROR_GEN_FAILURE": "it does not do as told",
    "ERROR_TIMEOUT": "it has not come to it in order_timeout_s",
    "ERROR_PORT_NOT_FOUND": "its agent has it no more",
    "ERROR_NOT_SUPPORTED": "its agent knows no such order",
}
"""What the agents' codes mean for a port."""


def run(_command: str, arguments: Sequence[str]) -> int:
    """Send the order by way of the broker.

    Raises:
        DialgateError: it could not be carried out.
    """
    parser = new_parser(
        "port",
        """
        Gives an order to a port through the broker and waits until its agent says whether it
        worked.

        hangup ends the call that is on the port; reset does so too, then makes the modem ready
        anew, whatever state the port is in. probe asks an idle modem whether it is there: what it
        said is in `dialgate ports -o json`.

        disable lets no more calls in, and the one that is there go on; it outlives restarts of the
        agent until enable. Callers hear it ring, or with --busy a busy line, so that a hunt group
        rolls on to the next.
        """,
        examples=[
            "dialgate port hangup oslo/1",
            "dialgate port reset oslo/1 --reason 'no answer'",
            "dialgate port disable oslo/1 --busy --reason 'modem away for repair'",
        ],
    )
    parser.add_argument("act", choices=list(_DONE))
    parser.add_argument("hport", metavar="HPORT", help="the port, as `dialgate ports` shows it")
    add_config(parser)
    parser.add_argument("--agent", metavar="NAME", help="which agent's, when several have HPORT")
    tone = parser.add_mutually_exclusive_group()
    tone.add_argument("--busy", action="store_true", help="disable: callers hear busy")
    tone.add_argument("--ring", action="store_true", help="disable: callers hear it ring (default)")
    parser.add_argument("--reason", default="", metavar="TEXT", help="written to log and record")
    options = parser.parse_args(arguments)
    if (options.busy or options.ring) and options.act != "disable":
        parser.error("--busy and --ring go with disable")
    order = {
        "hport": options.hport,
        "act": options.act,
        "operator": operator_name(),
        "reason": options.reason,
    }
    if options.act == "disable":
        order["mode"] = "busy" if options.busy else "ring"
    if options.agent is not None:
        order["agent"] = options.agent
    client = connect(options.config)
    refusal = refusal_of(client.post("/api/v1/ports/command", order, ANSWER_S))
    if refusal:
        state = _state(client, options.hport)
        failed = _FAILED[options.act] + (" as busy" if options.busy else "")
        why = f"{_WHY[refusal]}, {refusal}" if refusal in _WHY else refusal
        raise DialgateError(f"{options.hport}: not {failed}: {why}{state}")
    print(f"{options.hport}: {_DONE[options.act]}")
    return 0


def _state(client: Client, hport: str) -> str:
    """Return what the port's agent last said of it, in brackets, or nothing."""
    for row in client.get("/api/v1/ports").get("ports", []):
        if row.get("hport") == hport:
            words = filter(None, (row.get("state"), row.get("reason")))
            return printable(f" ({', '.join(words)})")
    return ""
