"""Operators' COMMANDs that wait for their COMMANDED, by id (protocol §4).

Invariant: each command that was sent gets exactly one answer: the agent's, or why there is none.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

from broker.counts import Counts, Drop
from broker.limits import BrokerLimits
from broker.sessions import AgentSession
from dialgate.codes import Code, Winerror
from dialgate.wire.bodies import Commanded

__all__ = ["Answer", "Commands"]

NO_ANSWER: Final = Winerror.ERROR_TIMEOUT.code
AGENT_GONE: Final = Winerror.ERROR_CONNECTION_ABORTED.code


class Answer(NamedTuple):
    """What became of a command."""

    id: bytes
    code: Code


class _Sent(NamedTuple):
    agent: AgentSession
    due: float


class Commands:
    """The commands under way, and the answers that nobody has fetched yet."""

    def __init__(self, limits: BrokerLimits, counts: Counts) -> None:
        self.answers: Final[list[Answer]] = []
        """For the shell to take and clear; never more than there were commands under way."""
        self._limits = limits
        self._counts = counts
        self._sent: dict[bytes, _Sent] = {}
        """In the order of their time-outs."""

    def sent(self, command_id: bytes, agent: AgentSession, now: float) -> bool:
        """Expect an answer; return False, expecting none, if too many are under way."""
        if len(self._sent) >= self._limits.commands_max or command_id in self._sent:
            return False
        self._sent[command_id] = _Sent(agent, now + self._limits.command_timeout_s)
        return True

    def answered(self, agent: AgentSession, commanded: Commanded) -> None:
        """Take an agent's answer, if it is to a command that went to this very session."""
        sent = self._sent.get(commanded.id)
        if sent is None or sent.agent is not agent:
            self._counts.drops[Drop.UNKNOWN_COMMAND] += 1
            return
        self._answer(commanded.id, commanded.code)

    def agent_over(self, agent: AgentSession) -> None:
        """Answer what this session was asked and can't answer any more."""
        for command_id, sent in list(self._sent.items()):
            if sent.agent is agent:
                self._answer(command_id, AGENT_GONE)

    def tick(self, now: float) -> None:
        """Answer what has waited too long."""
        while self.deadline() <= now:
            self._answer(next(iter(self._sent)), NO_ANSWER)

    def deadline(self) -> float:
        """Return when `tick` is next of use; `math.inf` if never."""
        return next(iter(self._sent.values())).due if self._sent else math.inf

    def _answer(self, command_id: bytes, code: Code) -> None:
        del self._sent[command_id]
        self.answers.append(Answer(command_id, code))
