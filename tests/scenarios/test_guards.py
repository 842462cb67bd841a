"""The guards that the traces are about: take one away, and its trace must show that it is missing.

Each bug is planted in a method of the real core, and the scenario played: something that `must` be
shown is not, or something is that `never` may be.
"""

from __future__ import annotations

import inspect
import sys
import textwrap
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from auth_workers.cookie import Cookies
from auth_workers.session import Worker
from auth_workers.session_dialog import DialogSession
from broker.core import Broker
from broker.registry import Registry
from broker.switchboard import Switchboard
from port_agents.agent import Agent
from port_agents.dialog import PortDialog
from port_agents.exchange import Exchange
from port_agents.retries import Retries
from tests.scenarios.test_scenarios import play

PLACE: Final = Path(__file__).parent


class Bug(NamedTuple):
    """`wrong` instead of `right` in a method."""

    of: type
    method: str
    right: str
    wrong: str


GUARDS: Final[dict[str, list[Bug]]] = {
    "T01": [Bug(Worker, "message", "(entry.attempt, entry.session) == (attempt, session)", "True")],
    "T02": [Bug(Worker, "_begin", "if attempt <= (older.attempt if older else", "if 0 > (0 or")],
    "T03": [Bug(Worker, "_begin", "else self.attempts.highest(dialog)", "else 0")],
    "T04": [Bug(DialogSession, "may_go_on", "owner == self.worker and accepted <= self.seq", "1")],
    "T05": [Bug(Exchange, "_ask_again", "if not self._is_open:", "if False:")],
    "T06": [Bug(Exchange, "receive", "if receive.seq != self.seq + 1:", "if False:")],
    "T07": [Bug(DialogSession, "may_go_on", "return undisturbed and", "return")],
    "T08": [
        Bug(Broker, "_opened", "self.switchboard.agent_left(session.name, now)", "pass"),
        Bug(Switchboard, "begin", "and entry.agent is not None:", ":"),
    ],
    "T09": [Bug(PortDialog, "_lost", "if self.phase is not Phase.BEGUN:", "if False:")],
    "T10": [Bug(Switchboard, "worker_over", "if entry.state == State.OWNED:", "if True:")],
    "T11": [Bug(Switchboard, "worker_over", "self._replies.end_reply", "(lambda *_: 0)")],
    "T12": [
        Bug(Switchboard, "end_reply", "entry.worker is not worker or entry.attempt != attempt", "0")
    ],
    "T13": [Bug(Switchboard, "_start_lease", "now + self._lease_s", "now + 600")],
    "T14": [Bug(PortDialog, "_close", "and not self._withdrawn", "")],
    "T15": [
        Bug(
            Agent,
            "_on_dialog",
            "self._dialogs.get(dialog)",
            "next(iter(self._dialogs.values()), None)",
        )
    ],
    "T16": [Bug(Broker, "_closed", "self.switchboard.worker_over(session, now)", "pass")],
    "T17": [Bug(Registry, "greet", "self.post.no_session(role, connection, NOBODY)", "pass")],
    "T18": [
        Bug(Broker, "_opened", "self.switchboard.agent_left(session.name, now)", "pass"),
        Bug(Broker, "_closed", "self.switchboard.agent_left(session.name, now)", "pass"),
    ],
    "T19": [Bug(Agent, "_offer", "in self.brokers.offers:", "in ():")],
    "T20": [Bug(Retries, "poisoned", "self._poisoned += 1", "pass")],
    "T21": [Bug(Worker, "message", "elif verb == Verb.END:", "elif False:")],
    "T22": [Bug(Agent, "_on_dialog", "if verb in _ANSWERED:", "if True:")],
    "T23": [Bug(Exchange, "_ask", "self._asked_attempt != self._attempt", "False")],
    "T24": [Bug(Cookies, "read", "lost=attempt > 1 and begin.seq > 0", "lost=False")],
    "T25": [
        Bug(
            Registry,
            "_hello",
            "current is not None and current.instance != hello.instance:",
            "False:",
        )
    ],
}


def plant(bug: Bug, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the bug into the class."""
    correct = getattr(bug.of, bug.method)
    source = textwrap.dedent(inspect.getsource(correct))
    assert bug.right in source, "the guard is written differently now: write its bug anew"
    names: dict[str, Any] = {}
    namespace = vars(sys.modules[bug.of.__module__])
    code = "from __future__ import annotations\n" + source.replace(bug.right, bug.wrong)
    exec(compile(code, bug.method, "exec"), namespace, names)  # noqa: S102
    monkeypatch.setattr(bug.of, bug.method, names[bug.method])


def broken_without(trace: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return what the trace's scenario finds broken when its guard is not there."""
    for bug in GUARDS[trace]:
        plant(bug, monkeypatch)
    [file] = PLACE.glob(f"{trace}_*.txt")
    _, broken = play(file.read_text())
    return broken


@pytest.mark.interpreted
@pytest.mark.parametrize("trace", GUARDS)
def test_the_trace_shows_that_its_guard_is_missing(
    trace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert broken_without(trace, monkeypatch) != []


def test_every_trace_has_a_guard() -> None:
    assert sorted(GUARDS) == [f"T{number:02}" for number in range(1, 26)]
