"""Properties of the broker under any sequence of events, and planted bugs that they catch.

Hypothesis plays two agents with two ports each, two workers, the clock and all that can end a
session; peers speak late, again, out of turn and of dialogs that aren't theirs.  The model is
smaller than the code.  It follows each BEGIN to the worker's session that gets it, and holds the
broker to this:

- P1 of a dialog an agent hears nothing but what the worker that has its last BEGIN says, under that
  BEGIN's attempt, and after its own END only the answer (after END_REPLY 0: a COMPLETE);
- P2 what an agent says of a dialog that worker alone hears, and after END nothing;
- P3 a BEGIN goes to one worker, and one whose BEGIN is not the dialog's last any more, or whose
  agent has gone, is told so at once;
- P4 a BEGIN reaches a worker or is refused, and an END is answered, in bounded time; when a worker
  goes, the agents of its dialogs are told at once; nobody waits while there is credit;
- P5 the broker serves the calls that are open, and when everybody has gone nothing is left.
"""

from __future__ import annotations

import random
import re
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import Path
from typing import Final, Protocol, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
)

import broker.core
import broker.switchboard
from dialgate.codes import NO_ERROR, Code
from dialgate.wire.bodies import Begin, End, EndReply, Refused
from dialgate.wire.body_codec import decode_body, encode
from dialgate.wire.envelope import decode_frame, encode_message
from dialgate.wire.verbs import Verb
from tests.broker.house import House, Peer, id16

SELDOM: Final = [False, False, False, True]
OWNERS: Final = ["", "", "W0", "W1"]
PORTS: Final = [(0, 0), (0, 1), (1, 0), (1, 1)]
"""Agent and port."""
LEASE_S: Final = 10.0
QUEUE_S: Final = 5.0
SLACK_S: Final = 0.01


T = TypeVar("T")


class Pick(Protocol):
    """Chooses."""

    def __call__(self, options: Sequence[T], /) -> T:
        """Return one of the options."""
        ...


@dataclass
class Call:
    """What the model knows of one dialog."""

    dialog: bytes
    agent: bytes
    """Connection by which its last BEGIN went."""
    port: tuple[int, int]
    attempt: int
    begin: bytes
    begun_at: float
    worker: bytes = b""
    """Connection that got that BEGIN; empty: none so far."""
    ended_at: float | None = None
    is_delayed: bool = False
    """END_REPLY 0 was heard."""
    is_closed: bool = False
    """The agent has its last answer, or has gone, or has another call on the port."""


@dataclass
class Task:
    """What a worker makes of one BEGIN."""

    dialog: bytes
    attempt: int
    worker: bytes
    is_told: bool = False
    """It has heard END or LOST, or has refused."""


class Cluster:
    """The broker, its peers and the model."""

    def __init__(self) -> None:
        self.house = House(
            heartbeat_ms=3_600_000,
            end_lease_ms=int(LEASE_S * 1000),
            queue_timeout_ms=int(QUEUE_S * 1000),
            errors_max=1_000_000,
        )
        self.agents = [self.house.agent(name) for name in ("A", "B")]
        self.workers = [self.house.worker(name) for name in ("W0", "W1")]
        self.credit = [0, 0]
        self.calls: dict[bytes, Call] = {}
        self.tasks: list[Task] = []
        self.sayings: dict[bytes, bytes] = {}
        """Message → the connection that said it; no two are alike."""

    # ------------------------------------------------------------------ what peers do

    def call_begins(self, pick: Pick) -> None:
        """Begin a call; seldom though another of that port is open."""
        port = pick(PORTS)
        for call in self.calls.values():
            if call.port == port and not call.is_closed:
                if not pick(SELDOM):
                    return
                call.is_closed = True
        self._begin(id16(f"d{len(self.calls)}"), port, 1, pick(OWNERS))

    def credit_arrives(self, pick: Pick) -> None:
        worker = pick(range(2))
        self.credit[worker] += pick([1, 5])
        self.workers[worker].ready(self.credit[worker])
        self._listen()

    def worker_speaks(self, pick: Pick) -> None:
        call, attempt = self._call_and_attempt(pick)
        verb = pick([Verb.SEND, Verb.RECEIVE, Verb.COMPLETE])
        self._opaque(self._worker(call, pick), verb, call.dialog, attempt)

    def agent_answers(self, pick: Pick) -> None:
        call, attempt = self._call_and_attempt(pick)
        if not call.is_closed:
            self._opaque(self.agents[call.port[0]], Verb.RECEIVED, call.dialog, attempt)

    def agent_ends(self, pick: Pick) -> None:
        call, attempt = self._call_and_attempt(pick)
        if call.is_closed:
            return
        if attempt == call.attempt and call.ended_at is None:
            call.ended_at = self.house.now
        body = End(reason=self._code())
        self._say(self.agents[call.port[0]], encode(Verb.END, body, call.dialog, attempt))

    def worker_answers_end(self, pick: Pick) -> None:
        call, attempt = self._call_and_attempt(pick)
        body = EndReply(code=pick([NO_ERROR, self._code()]))
        raw = encode(Verb.END_REPLY, body, call.dialog, attempt)
        self._say(self._worker(call, pick), raw)

    def worker_refuses(self, pick: Pick) -> None:
        call, attempt = self._call_and_attempt(pick)
        worker = self._worker(call, pick)
        self._tell(call.dialog, attempt, worker.connection)
        raw = encode(Verb.REFUSED, Refused(code=self._code()), call.dialog, attempt)
        self._say(worker, raw)

    # ------------------------------------------------------------------ what goes wrong

    def call_begins_again(self, pick: Pick) -> None:
        """Begin again, or let a BEGIN come that is not higher."""
        call, attempt = self._call_and_attempt(pick)
        if call.is_closed or call.ended_at is not None:
            return
        if attempt > call.attempt or pick([True, False]):
            self._begin(call.dialog, call.port, call.attempt + 1, pick(OWNERS))
        else:
            agent, port = call.port
            self._say(self.agents[agent], self._begin_of(call, port, attempt))

    def another_agent_meddles(self, pick: Pick) -> None:
        call, attempt = self._call_and_attempt(pick)
        if call.is_closed:
            return
        agent, port = call.port
        meddler, verb = self.agents[1 - agent], pick([Verb.BEGIN, Verb.RECEIVED, Verb.END])
        if verb == Verb.BEGIN:
            self._say(meddler, self._begin_of(call, port, call.attempt + 1))
        elif verb == Verb.END:
            self._say(meddler, encode(verb, End(reason=self._code()), call.dialog, attempt))
        else:
            self._opaque(meddler, verb, call.dialog, attempt)

    def session_ends(self, pick: Pick) -> None:
        """End a session, and open the next at once."""
        peer = pick([*self.agents, *self.workers])
        for call in self.calls.values():
            if call.agent == peer.connection:
                call.is_closed = True
        self.tasks = [task for task in self.tasks if task.worker != peer.connection]
        if peer in self.workers:
            self.credit[self.workers.index(peer)] = 0
        how = pick(["a send fails", "BYE", "newer session"])
        if how == "a send fails":
            peer.fails()
        elif how == "BYE":
            peer.bye()
        peer.greet()
        self._listen()

    def time_passes(self, pick: Pick) -> None:
        self.house.wait(pick([0.5, QUEUE_S, LEASE_S]))
        self._listen()

    # ------------------------------------------------------------------ what must hold

    def check(self) -> None:
        """Hold the broker to what must be true after every move."""
        # P3
        for task in self.tasks:
            call = self.calls[task.dialog]
            has_it = (call.attempt, call.worker) == (task.attempt, task.worker)
            assert task.is_told or (has_it and not call.is_closed), "P3: a worker was not told"
        # P4
        connected = {peer.connection for peer in self.workers}
        opened = [call for call in self.calls.values() if not call.is_closed]
        for call in opened:
            assert not call.worker or call.worker in connected, "P4: an agent was not told"
            if call.ended_at is not None:
                assert self.house.now <= call.ended_at + LEASE_S + SLACK_S, "P4: END not answered"
            elif not call.worker:
                assert self.house.now <= call.begun_at + QUEUE_S + SLACK_S, "P4: BEGIN waits"
        switchboard = self.house.broker.switchboard
        rooms = [getattr(self.house.session_of(peer), "room", 0) for peer in self.workers]
        assert not any(rooms) or not len(switchboard.queue), "P4: waits though there is credit"
        # P5
        entries = switchboard.entries.by_dialog.values()
        served = {entry.dialog: entry.attempt for entry in entries if entry.agent is not None}
        assert served == {call.dialog: call.attempt for call in opened}, "P5: other calls served"

    def everybody_goes(self) -> None:
        """P5."""
        for peer in (*self.agents, *self.workers):
            peer.fails()
        self.house.wait(LEASE_S + SLACK_S)
        switchboard = self.house.broker.switchboard
        assert len(switchboard.entries) == 0
        assert len(switchboard.queue) == 0
        assert switchboard.deadline() == float("inf")

    # ------------------------------------------------------------------ the model

    def _agent_hears(self, connection: bytes, raw: bytes) -> None:
        [(verb, dialog, attempt, body, _)], _ = decode_frame(raw)
        if dialog is None:
            return
        call = self.calls[dialog]
        is_current = (connection, attempt) == (call.agent, call.attempt)
        if raw in self.sayings:
            assert self.sayings[raw] == call.worker, "P1: not from the worker that was asked"
            assert is_current, "P1: not to the agent and attempt that asked"
            assert not call.is_closed, "P1: after the last answer"
            if verb in {Verb.SEND, Verb.RECEIVE, Verb.REFUSED}:
                assert call.ended_at is None, "P1: after END"
            elif verb == Verb.COMPLETE:
                assert call.ended_at is None or call.is_delayed, "P1: a verdict after END"
                call.is_closed = call.is_delayed
            else:
                assert call.ended_at is not None, "P1: an answer without END"
                assert not call.is_delayed, "P1: a second answer to END"
        elif is_current:
            assert not call.is_closed, "P1: after the last answer"
        if is_current and verb == Verb.END_REPLY:
            call.is_delayed = decode_body(body, EndReply).code.ok
            call.is_closed = not call.is_delayed
        elif is_current and verb in {Verb.REFUSED, Verb.LOST}:
            call.is_closed = True

    def _worker_hears(self, connection: bytes, raw: bytes) -> None:
        [(verb, dialog, attempt, _, _)], _ = decode_frame(raw)
        if dialog is None:
            return
        call = self.calls[dialog]
        if verb == Verb.BEGIN:
            assert raw == call.begin, "P3: not the last BEGIN"
            assert not call.worker, "P3: one BEGIN, two workers"
            call.worker = connection
            self.tasks.append(Task(dialog, attempt, connection))
        elif verb in {Verb.RECEIVED, Verb.END} and raw in self.sayings:
            assert self.sayings[raw] == call.agent, "P2: not from the agent whose call it is"
            assert (connection, attempt) == (call.worker, call.attempt), "P2: to another worker"
            assert verb == Verb.END or call.ended_at is None, "P2: an answer after END"
        if verb in {Verb.END, Verb.LOST}:
            self._tell(dialog, attempt, connection)

    def _tell(self, dialog: bytes, attempt: int, worker: bytes) -> None:
        """Note that a worker knows that its task is over."""
        for task in self.tasks:
            if (task.dialog, task.attempt, task.worker) == (dialog, attempt, worker):
                task.is_told = True

    def _listen(self) -> None:
        for hear, outbox in (
            (self._worker_hears, self.house.broker.outbox_workers),
            (self._agent_hears, self.house.broker.outbox_agents),
        ):
            heard = [(connection, raw) for connection, said in outbox.items() for raw in said]
            outbox.clear()
            for connection, raw in heard:
                hear(connection, raw)

    def _begin(self, dialog: bytes, port: tuple[int, int], attempt: int, owner: str) -> None:
        agent = self.agents[port[0]]
        before = self.calls.get(dialog)
        call = Call(dialog, agent.connection, port, attempt, b"", self.house.now)
        call.begin = self._begin_of(call, port[1], attempt, owner)
        self.calls[dialog] = call
        self._say(agent, call.begin)
        if before is not None and before.worker == call.worker != b"":
            # The same session has the new BEGIN: that tells it.
            self._tell(dialog, before.attempt, before.worker)

    def _begin_of(self, call: Call, port: int, attempt: int, owner: str = "") -> bytes:
        begin = Begin(
            hport=f"p{port}",
            call=len(self.sayings).to_bytes(16, "big"),
            facts=b"\x80",
            owner=id16(owner) if owner else b"",
        )
        return encode(Verb.BEGIN, begin, call.dialog, attempt)

    def _opaque(self, peer: Peer, verb: Verb, dialog: bytes, attempt: int) -> None:
        """Say something whose body no broker reads."""
        self._say(peer, encode_message(verb, dialog, attempt, b"\xc1%d" % len(self.sayings)))

    def _say(self, peer: Peer, raw: bytes) -> None:
        self.sayings[raw] = peer.connection
        peer.send_raw(raw)
        self._listen()

    def _code(self) -> Code:
        return Code("win", 10_000 + len(self.sayings))

    def _worker(self, call: Call, pick: Pick) -> Peer:
        """Return the worker that has the call; seldom, or if nobody has it, another."""
        has_it = self.workers[1].connection == call.worker
        return self.workers[has_it != pick(SELDOM)]

    def _call_and_attempt(self, pick: Pick) -> tuple[Call, int]:
        """Return a call, mostly an open one, and an attempt of it, mostly the last."""
        opened = [call for call in self.calls.values() if not call.is_closed]
        if not opened:
            self.call_begins(pick)
        call = pick(opened or list(self.calls.values())[-4:])
        return call, max(1, call.attempt + pick([0, 0, 0, 0, -1, 1]))


MOVES: Final = [
    Cluster.call_begins,
    Cluster.call_begins,
    Cluster.credit_arrives,
    Cluster.worker_speaks,
    Cluster.agent_answers,
    Cluster.agent_ends,
    Cluster.worker_answers_end,
    Cluster.worker_refuses,
    Cluster.call_begins_again,
    Cluster.another_agent_meddles,
    Cluster.session_ends,
    Cluster.time_passes,
]


class Machine(RuleBasedStateMachine):
    """Lets hypothesis pick the moves."""

    def __init__(self) -> None:
        super().__init__()
        self.cluster = Cluster()

    @rule(move=st.sampled_from(MOVES), choices=st.data())
    def move(self, move: Callable[[Cluster, Pick], None], choices: st.DataObject) -> None:
        move(self.cluster, lambda options: choices.draw(st.sampled_from(options)))

    @invariant()
    def check(self) -> None:
        self.cluster.check()

    def teardown(self) -> None:
        self.cluster.everybody_goes()


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=settings().max_examples // 3, stateful_step_count=40)


def walk(seed: int, moves: int = 60) -> None:
    """Let a seed pick the moves: a hundred times as many a second."""
    picks = random.Random(seed)
    cluster = Cluster()
    for _ in range(moves):
        picks.choice(MOVES)(cluster, picks.choice)
        cluster.check()
    cluster.everybody_goes()


def walks(number: int) -> None:
    for seed in range(number):
        walk(seed)


def test_walks() -> None:
    walks(2 * settings().max_examples)


# ---------------------------------------------------------------------------- planted bugs

OWNER: Final = "entry is None or entry.worker is not worker or entry.attempt != attempt"

BUGS: Final = {
    "worker not compared": (OWNER, "entry is None or entry.attempt != attempt"),
    "worker's attempt not compared": (OWNER, "entry is None or entry.worker is not worker"),
    "END_REPLY of others counts": (
        "elif entry.worker is not worker or entry.attempt != attempt:",
        "elif False:",
    ),
    "prompt forwarded after END": (
        "elif entry.state == State.OWNED and entry.agent is not None:",
        "elif entry.agent is not None:",
    ),
    "verdict forwarded after END": (
        "case State.OWNED:¶self._counts.completed",
        "case State.OWNED | State.ENDING:¶self._counts.completed",
    ),
    "answer forwarded after END": (
        "elif entry.state == State.OWNED and entry.worker is not None:",
        "elif entry.worker is not None:",
    ),
    "answer's attempt not compared": ("elif entry.attempt != attempt:", "elif False:"),
    "BEGIN not higher served": ("attempt <= entry.attempt", "attempt < entry.attempt"),
    "BEGIN lower served": ("attempt <= entry.attempt", "attempt == entry.attempt"),
    "former owner not told": ("entry.worker is not new.worker", "False"),
    "another call of the port left open": ("if other is not None:", "if False:"),
    "another agent's BEGIN served": (
        "(entry.agent_name, entry.hport) != (agent.name, begin.hport)",
        "entry.hport != begin.hport",
    ),
    "another agent's END served": ("if entry.agent_name != agent.name:", "if False:"),
    "another agent's answer served": ("elif entry.agent_name != agent.name:", "elif False:"),
    "END's attempt not compared": ("if attempt < entry.attempt:", "if False:"),
    "END_REPLY without END forwarded": ("elif entry.state != State.ENDING:", "elif False:"),
    "END_REPLY's answer inverted": ("elif code.ok:", "elif not code.ok:"),
    "lease never over": ("while self._lease_deadline() <= now:", "while False:"),
    "queue time never over": ("while self.queue.deadline() <= now:", "while False:"),
    "REFUSED after END not answered": (
        "self._replies.end_reply(entry.agent, dialog, attempt, replies.DISCONNECTED)",
        "pass",
    ),
    "open after its delayed COMPLETE": (
        "case State.PINNED:¶self._forward_to_agent(entry, raw)¶self._answered(entry, now)",
        "case State.PINNED:¶self._forward_to_agent(entry, raw)",
    ),
    "agent of a lost worker not told": (
        "self._replies.lost(agent, dialog, attempt, replies.WORKER_LOST)",
        "pass",
    ),
    "END to a lost worker not answered": (
        "self._replies.end_reply(agent, dialog, attempt, replies.WORKER_LOST)",
        "pass",
    ),
    "worker of a lost agent not told": (
        "self._replies.end_owner(entry)¶self._start_lease",
        "self._start_lease",
    ),
    "worker of a parted agent not told": (
        "self._replies.lost_to_owner(entry, replies.DISCONNECTED)",
        "pass",
    ),
    "lost agent still written to": ("entry.agent = None", "pass"),
    "credit not used": ("while worker.room:", "while False:"),
    "END while waiting not answered": (
        "self._forget(entry, now)¶self._replies.end_reply(agent,",
        "self._forget(entry, now)¶(lambda *_: None)(agent,",
    ),
}
"""What is right, and what is wrong in its place; ¶ is a new line."""


def plant(right: str, wrong: str) -> str:
    """Return the switchboard's source with a bug in it."""
    source = Path(broker.switchboard.__file__).read_text()
    pattern = r"(\n\s+)".join(map(re.escape, right.split("¶")))

    def spoil(found: re.Match[str]) -> str:
        lines = zip_longest(wrong.split("¶"), found.groups()[: wrong.count("¶")], fillvalue="")
        return "".join(chain.from_iterable(lines))

    mutant, planted = re.subn(pattern, spoil, source)
    assert planted, "this guard is written differently now: write its bug anew"
    return mutant


@pytest.mark.interpreted
@pytest.mark.parametrize("bug", BUGS)
def test_planted_bug_is_caught(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant = types.ModuleType("broker.mutant")
    exec(plant(*BUGS[bug]), mutant.__dict__)  # noqa: S102
    monkeypatch.setattr(broker.core, "Switchboard", mutant.Switchboard)

    with pytest.raises((AssertionError, KeyError)):
        walks(500)
