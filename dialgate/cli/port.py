"""`dialgate port hangup|reset`: an operator's order to one port, and whether it worked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from dialgate.cli.client import Client, connect, operator_name, refusal_of
from dialgate.errors import DialgateError
from dialgate.manual import add_config, new_parser
from dialgate.text import printable

__all__ = ["run"]

ANSWER_S: Final = 30.0
"""How long an agent may take: hanging up waits for the modem."""

_DONE: Final = {"hangup": "hung up", "reset": "reset"}


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
        anew, whatever state the port is in.
        """,
        examples=["dialgate port hangup oslo/1", "dialgate port reset oslo/1 --reason 'no answer'"],
    )
    parser.add_argument("act", choices=list(_DONE))
    parser.add_argument("hport", metavar="HPORT", help="the port, as `dialgate ports` shows it")
    add_config(parser)
    parser.add_argument("--agent", metavar="NAME", help="which agent's, when several have HPORT")
    parser.add_argument("--reason", default="", metavar="TEXT", help="written to log and record")
    options = parser.parse_args(arguments)
    order = {
        "hport": options.hport,
        "act": options.act,
        "operator": operator_name(),
        "reason": options.reason,
    }
    if options.agent is not None:
        order["agent"] = options.agent
    client = connect(options.config)
    refusal = refusal_of(client.post("/api/v1/ports/command", order, ANSWER_S))
    if refusal:
        state = _state(client, options.hport)
        raise DialgateError(f"{options.hport}: not {_DONE[options.act]}: {refusal}{state}")
    print(f"{options.hport}: {_DONE[options.act]}")
    return 0


def _state(client: Client, hport: str) -> str:
    """Return what the port's agent last said of it, in brackets, or nothing."""
    for row in client.get("/api/v1/ports").get("ports", []):
        if row.get("hport") == hport:
            words = filter(None, (row.get("state"), row.get("reason")))
            return printable(f" ({', '.join(words)})")
    return ""
