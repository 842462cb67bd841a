"""What an agent asks of its shell: the words of `agent`.

Not the behaviour; that is `port_agents.agent`.  `Transmit`, `OpenLink` and `CloseLink`
(dialgate.session), `LoadRecords` and `MarkStored` (record_sender) are its actions, too.

Invariant: plain values.
"""

from __future__ import annotations

from dataclasses import dataclass

from msgspec import Struct

from dialgate.session import CloseLink, OpenLink, Transmit
from port_agents.line_actions import Action as LineAction
from port_agents.record_sender import LoadRecords, MarkStored

__all__ = ["Action", "Finished", "OnPort"]


class OnPort(Struct, frozen=True, gc=False):
    """Perform `action` on the port `hport`."""

    hport: str
    action: LineAction


@dataclass(frozen=True, slots=True)
class Finished:
    """Nothing is left to do: the agent was drained or stopped, its links are closed."""


Action = OnPort | Transmit | OpenLink | CloseLink | LoadRecords | MarkStored | Finished
