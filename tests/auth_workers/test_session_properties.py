"""Properties of a worker's core under any order of events.

Hypothesis plays the brokers, the agents, the tasks and the clock: sessions break with messages in
flight, BEGINs come late, other workers take over, tasks that were cancelled go on talking.  The
model is the agent's: what it accepted last, what it asks, whether it said END.  Every prompt names
the task that asks and every answer repeats its prompt, so an answer in the wrong hands shows.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from msgspec.structs import replace

from auth_workers import session_dialog
from auth_workers.attempts import Attempts
from auth_workers.session import Worker
from auth_workers.session_actions import Action, Answer, CancelTask, StartTask, Transmit
from auth_workers.session_dialog import PENDING, DialogSession, Question, State
from auth_workers.verdict import Granted, Verdict
from dialgate.codes import NO_ERROR, Code, Winerror
from dialgate.wire.bodies import BODIES, Complete, End, EndReply, Lost, Received
from dialgate.wire.body_codec import decode_body, encode_body
from dialgate.wire.envelope import decode_frame
from dialgate.wire.fields import Body
from dialgate.wire.verbs import Verb
from tests.auth_workers.core_bench import GONE, ME, OTHER, WELCOME, begin_body

CAPACITY: Final = 8
CLEAN_UP_S: Final = 2.0
CALLS_MAX: Final = 3
"""Few, so that much happens to each."""


AGES: Final = st.sampled_from([0, 0, 0, 1, 2])
"""How long ago a task was the dialog's: mostly it still is."""


@dataclass
class Call:
    """One dialog as its agent and the brokers know it."""

    id: bytes
    attempt: int = 0
    """The agent's."""
    heard: int = 0
    """The highest that this worker has heard of, and the session it came by."""
    session: int = 0
    task: int = 0
    """The worker's current task; 0: none."""
    seq: int = 0
    owner: bytes = b""
    question: bytes | None = None
    """Prompt of the question that is open at the agent."""
    ended_at: float | None = None
    """When END of the attempt `heard` was said."""
    reply: Code | None = None
    touched_at: float = 0.0
    """When it was begun last; for `dialog_max_s` its attempt is remembered."""
    completed: bytes | None = None
    """The verdict given under the attempt `heard`."""
    released: bool = False
    """The COMPLETE that a delayed END owes has come."""


@dataclass
class Asked:
    """What a task waits for."""

    prompt: bytes | None = None


@dataclass
class Link:
    """A session as its broker knows it."""

    number: int
    broken: bool = False
    """What the worker sends is lost, and it doesn't know yet."""
    credit: int = 0
    begun: int = 0


class Dialogs(RuleBasedStateMachine):
    calls = Bundle("calls")

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.worker = Worker(ME, capacity=CAPACITY, links=2)
        self.links: list[Link] = []
        self.by_id: dict[bytes, Call] = {}
        self.tasks: dict[int, Asked] = {}
        self.decided: set[int] = set()
        self.finished: set[int] = set()
        self.cancelled: set[int] = set()
        self.prompts = 0
        self.sessions = 0
        for _ in range(2):
            self.open_session()

    # What the worker does.

    def perform(self, actions: list[Action]) -> list[Action]:
        for action in actions:
            if isinstance(action, Transmit):
                self.transmitted(action)
            elif isinstance(action, StartTask):
                call = self.by_id[action.dialog]
                assert action.attempt == call.heard
                call.task = action.task
                self.tasks[action.task] = Asked()
            elif isinstance(action, Answer):
                asked = self.tasks[action.task]
                assert action.task in {call.task for call in self.by_id.values()}, "a dead task"
                assert action.data == asked.prompt, "somebody else's answer"
                asked.prompt = None
            elif isinstance(action, CancelTask):
                self.cancelled.add(action.task)
        return actions

    def transmitted(self, action: Transmit) -> None:
        link = next((link for link in self.links if link.number == action.session), None)
        assert link is not None, "said on a session that is over"
        [(number, dialog, attempt, raw, _)], _ = decode_frame(action.message)
        body = decode_body(raw, BODIES[Verb(number)])
        if number == Verb.READY:
            assert body.credit > link.credit  # type: ignore[attr-defined]
            link.credit = body.credit  # type: ignore[attr-defined]
        elif dialog is not None:
            self.said(self.by_id[dialog], link, Verb(number), attempt, body)

    def said(self, call: Call, link: Link, verb: Verb, attempt: int, body: Body) -> None:
        if verb is Verb.END_REPLY and (attempt, link.number) != (call.heard, call.session):
            assert not decode_code(body).ok
            return
        assert attempt == call.heard, "said for another attempt"
        assert link.number == call.session, "said on another session than BEGIN's"
        if verb is Verb.END_REPLY:
            assert call.ended_at is not None or call.task == 0
            assert call.reply is None or not decode_code(body).ok
            call.reply = decode_code(body)
            return
        if call.ended_at is not None:
            assert verb is Verb.COMPLETE, "said after END"
            assert call.reply == NO_ERROR, "a verdict after END"
            assert not call.released, "two verdicts after END"
            call.released = True
            return
        if verb is Verb.COMPLETE:
            assert isinstance(body, Complete)
            verdict = encode_body(body)
            assert call.completed in {None, verdict}, "two verdicts"
            assert body.username in {"", str(call.task)}, "somebody else's verdict"
            call.completed = verdict
        elif not link.broken and call.attempt == call.heard:
            self.accepted(call, verb, body)

    def accepted(self, call: Call, verb: Verb, body: Any) -> None:
        """What an agent does with SEND and RECEIVE (protocol §6.1)."""
        if body.seq == call.seq + 1:
            call.seq, call.owner = body.seq, ME
            call.question = body.prompt if verb is Verb.RECEIVE else None
        else:
            assert verb is Verb.RECEIVE, "a SEND said twice"
            assert body.seq == call.seq, "a gap"

    # What brokers and agents do.

    def hear(self, call: Call, verb: Verb, body: Body, attempt: int, session: int) -> list[Action]:
        return self.worker.message(session, verb, call.id, attempt, encode_body(body), self.now)

    @precondition(lambda self: len(self.links) < 3)
    @rule()
    def open_session(self) -> None:
        self.sessions += 1
        self.links.append(Link(self.sessions))
        self.perform(self.worker.session_opened("A", self.sessions, WELCOME, self.now))

    @precondition(lambda self: self.links)
    @rule(which=st.integers(0, 2))
    def break_session(self, which: int) -> None:
        self.links[which % len(self.links)].broken = True

    @precondition(lambda self: self.links)
    @rule(which=st.integers(0, 2))
    def close_session(self, which: int) -> None:
        link = self.links.pop(which % len(self.links))
        self.perform(self.worker.session_closed(link.number, GONE, self.now))

    @initialize(target=calls)
    def first_call(self) -> Call:
        call = self.new_call(0)
        self.ask(call, 0)
        return call

    @initialize(target=calls)
    def second_call(self) -> Call:
        return self.new_call(1)

    @precondition(lambda self: self.links and len(self.by_id) < CALLS_MAX)
    @rule(target=calls, which=st.integers(0, 2))
    def begin(self, which: int) -> Call:
        return self.new_call(which)

    def new_call(self, which: int) -> Call:
        call = Call(len(self.by_id).to_bytes(16, "big"))
        self.by_id[call.id] = call
        self.begin_again(call, which)
        return call

    @precondition(lambda self: self.links)
    @rule(call=calls, which=st.integers(0, 2))
    def begin_again(self, call: Call, which: int) -> None:
        link = self.links[which % len(self.links)]
        call.attempt += 1
        call.heard, call.session, call.touched_at = call.attempt, link.number, self.now
        was_ended = call.ended_at is not None
        call.ended_at = call.reply = None
        call.released = False
        link.begun += 1
        before = call.task
        body = begin_body(call.owner, call.seq)
        actions = self.hear(call, Verb.BEGIN, body, call.attempt, link.number)
        if any(isinstance(action, StartTask) for action in actions):
            call.completed = None
        else:
            assert call.owner == ME, "went on though another worker was accepted last"
            assert before, "went on without a task"
            assert not was_ended, "went on after its END"
            if self.tasks[before].prompt and not call.completed:
                assert Verb.RECEIVE in map(verb_of, actions), "the question wasn't repeated"
        self.perform(actions)

    @precondition(lambda self: self.links)
    @rule(call=calls, back=st.integers(0, 3), which=st.integers(0, 2))
    def late_begin(self, call: Call, back: int, which: int) -> None:
        link = self.links[which % len(self.links)]
        attempt = call.heard - back
        if attempt > 0 and self.now < call.touched_at + 600.0:
            link.begun += 1
            actions = self.hear(call, Verb.BEGIN, begin_body(ME, call.seq), attempt, link.number)
            assert not [a for a in actions if isinstance(a, StartTask | CancelTask)], "a zombie"
            self.perform(actions)

    @rule(call=calls)
    def another_worker_takes_over(self, call: Call) -> None:
        """The agent begins again elsewhere, and that worker is accepted."""
        call.attempt += 1
        call.seq += 1
        call.owner, call.question = OTHER, b"asked by another"

    @rule(call=calls, off=st.sampled_from([0, 0, 1, -99]))
    def answer(self, call: Call, off: int) -> None:
        prompt = call.question
        if prompt is None:
            self.ask(call, 0)  # There will be something to answer next time.
            return
        if call.attempt != call.heard or not self.is_open(call.session):
            return
        body = Received(seq=call.seq - off, status=NO_ERROR, data=b"wrong" if off else prompt)
        if not off:
            call.question = None
        self.perform(self.hear(call, Verb.RECEIVED, body, call.heard, call.session))

    @rule(call=calls)
    def answer_is_out_already(self, call: Call) -> None:
        if call.question is None or call.attempt != call.heard or not self.is_open(call.session):
            return
        body = Received(seq=call.seq, status=Winerror.ERROR_RETRY.code, data=b"")
        actions = self.hear(call, Verb.RECEIVED, body, call.heard, call.session)
        assert not [action for action in actions if isinstance(action, Answer)]
        self.perform(actions)

    @rule(call=calls, normal=st.booleans())
    def end(self, call: Call, normal: bool) -> None:
        if call.ended_at is None and self.is_open(call.session):
            call.ended_at = self.now
            body = End(reason=NO_ERROR if normal else GONE)
            self.perform(self.hear(call, Verb.END, body, call.heard, call.session))

    @precondition(lambda self: self.links)
    @rule(call=calls, delayed=st.booleans(), which=st.integers(0, 2))
    def agent_is_given_up_and_comes_back(self, call: Call, delayed: bool, which: int) -> None:
        """T7, T8: the broker ends the dialog for its agent, which begins it again."""
        if delayed:
            self.delay_end(call, 0)
        self.end(call, normal=False)
        self.begin_again(call, which)

    @precondition(lambda self: len(self.links) > 1)
    @rule(call=calls, which=st.integers(0, 2))
    def agent_moves(self, call: Call, which: int) -> None:
        """T1, T18: what the worker says meanwhile is lost, and the old broker knows nothing yet."""
        for link in self.links:
            link.broken = link.broken or link.number == call.session
        self.ask(call, 0)
        self.begin_again(call, which)

    @rule(call=calls, back=st.integers(1, 3), which=st.integers(0, 2))
    def end_an_earlier_attempt(self, call: Call, back: int, which: int) -> None:
        if call.heard > back and self.links:
            number = self.links[which % len(self.links)].number
            actions = self.hear(call, Verb.END, End(reason=GONE), call.heard - back, number)
            assert len(actions) == 1, "an END of the past had an effect"
            self.perform(actions)

    @rule(call=calls, back=st.integers(0, 2))
    def lose(self, call: Call, back: int) -> None:
        if call.heard > back and self.is_open(call.session):
            body = Lost(code=GONE)
            self.perform(self.hear(call, Verb.LOST, body, call.heard - back, call.session))

    # What tasks do, those too that should be dead.

    @rule(call=calls, back=AGES)
    def send(self, call: Call, back: int) -> None:
        _, actions = self.worker.send(self.task_of(call, back), b"hello")
        self.perform(actions)

    @rule(call=calls, back=AGES)
    def ask(self, call: Call, back: int) -> None:
        task = self.task_of(call, back)
        self.prompts += 1
        prompt = b"%d asks for %d" % (task, self.prompts)
        question = Question(prompt=prompt, limit=256, timeout_s=60, cookie=b"")
        code, actions = self.worker.receive(task, question)
        if code == PENDING:
            assert task not in self.finished
            assert self.tasks[task].prompt is None
            self.tasks[task].prompt = prompt
        self.perform(actions)

    @rule(call=calls, back=AGES)
    def decide(self, call: Call, back: int) -> None:
        task = self.task_of(call, back)
        self.tasks[task].prompt = None
        self.decided.add(task)
        self.perform(self.worker.complete(task, Granted(str(task)), self.now))

    @rule(call=calls, back=AGES)
    def delay_end(self, call: Call, back: int) -> None:
        self.worker.delay_end(self.task_of(call, back), on=True)

    @rule(call=calls, back=AGES)
    def finish(self, call: Call, back: int) -> None:
        task = self.task_of(call, back)
        if task not in self.finished:
            self.finished.add(task)
            self.tasks[task].prompt = None
            self.perform(self.worker.finished(task, self.now))

    @rule(seconds=st.sampled_from([0.5, 2.0, 10.0, 30.0, 300.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.perform(self.worker.tick(self.now))
        for call in self.by_id.values():
            if call.ended_at is not None and self.now >= call.ended_at + CLEAN_UP_S:
                lost = not self.is_open(call.session) or call.attempt != call.heard
                assert call.reply is not None or lost or self.was_lost(call), "END unanswered"

    # What always holds.

    @invariant()
    def credit_is_no_more_than_there_is_room(self) -> None:
        for link in self.links:
            assert link.credit - link.begun <= CAPACITY

    @invariant()
    def a_task_that_is_kept_is_the_only_one_of_its_dialog(self) -> None:
        assert len(self.worker._tasks) == len(self.worker._dialogs) == self.worker.open_dialogs

    def teardown(self) -> None:
        self.now += 600.0
        self.perform(self.worker.tick(self.now))
        assert self.worker.open_dialogs == 0, "a dialog without an end"
        stopped = self.finished | self.cancelled | self.decided
        assert self.tasks.keys() <= stopped, "a task that nobody stops"
        assert not self.worker._silent
        assert not self.worker._ended

    def task_of(self, call: Call, back: int) -> int:
        """Return the task of `call`, or one that is older and may be anybody's."""
        return max(1, call.task - back)

    def is_open(self, session: int) -> bool:
        return any(link.number == session for link in self.links)

    def was_lost(self, call: Call) -> bool:
        """Whether LOST after its END made an answer needless."""
        return call.id not in self.worker._dialogs


def verb_of(action: Action) -> int:
    """Return the verb that `action` sends; 0: it sends nothing."""
    if not isinstance(action, Transmit):
        return 0
    [(verb, *_)], _ = decode_frame(action.message)
    return verb


def decode_code(body: Body) -> Code:
    assert isinstance(body, EndReply)
    return Code(*body.code)


TestDialogs = Dialogs.TestCase
TestDialogs.settings = settings(
    max_examples=settings().max_examples // 2, stateful_step_count=40, deadline=None
)


# Planted bugs: each must be found.

_go_on = DialogSession.go_on
_read_answer = session_dialog._read_answer
_complete = DialogSession.complete
_message = Worker.message


def answered_by_anybody(self: DialogSession, owner: bytes, accepted: int) -> bool:
    return self.state in {State.RUNNING, State.DECIDED} and accepted <= self.seq


def goes_on_after_end(self: DialogSession, owner: bytes, accepted: int) -> bool:
    return owner == self.worker and accepted <= self.seq


def keeps_its_session(self: DialogSession, *arguments: Any) -> None:
    before = self.session
    _go_on(self, *arguments)
    self.session = before


def repeats_everything(
    self: DialogSession, attempt: int, session: int, lease_s: float, _accepted: int, out: Any
) -> None:
    _go_on(self, attempt, session, lease_s, 0, out)


def repeats_nothing(
    self: DialogSession, attempt: int, session: int, lease_s: float, _accepted: int, _out: Any
) -> None:
    self._unaccepted.clear()
    _go_on(self, attempt, session, lease_s, 0, [])


def takes_any_answer(body: bytes, asked: Any) -> Any:
    received = _read_answer(body, asked)
    return replace(received, seq=asked.seq) if received and asked else received


def decides_after_end(self: DialogSession, verdict: Verdict, now: float, out: Any) -> None:
    if self.state is State.ENDING:
        self._decide(verdict, now, out)
    else:
        _complete(self, verdict, now, out)


def decides_twice(self: DialogSession, verdict: Verdict, now: float, out: Any) -> None:
    if self.state is State.DECIDED:
        self.state, self.verdict = State.RUNNING, None
        verdict = replace_user(verdict)
    _complete(self, verdict, now, out)


def replace_user(_verdict: Verdict) -> Verdict:
    return Granted("somebody else")


def ends_whatever_attempt(
    self: Worker, session: int, verb: int, dialog: bytes, attempt: int, body: bytes, now: float
) -> Any:
    known = self._dialogs.get(dialog)
    if known is not None and verb == Verb.END:
        attempt, session = known.attempt, known.session
    return _message(self, session, verb, dialog, attempt, body, now)


def nothing(*_arguments: Any) -> None:
    return None


MUTANTS: Final[dict[str, tuple[object, str, Callable[..., Any]]]] = {
    "an old attempt is forgotten (T3)": (Attempts, "highest", lambda _self, _dialog: 0),
    "the owner isn't looked at (T4)": (DialogSession, "may_go_on", answered_by_anybody),
    "goes on after an END (T7)": (DialogSession, "may_go_on", goes_on_after_end),
    "stays on its old session": (DialogSession, "go_on", keeps_its_session),
    "repeats what was accepted": (DialogSession, "go_on", repeats_everything),
    "forgets what was lost": (DialogSession, "go_on", repeats_nothing),
    "takes an answer to another question": (session_dialog, "_read_answer", takes_any_answer),
    "decides after END": (DialogSession, "complete", decides_after_end),
    "decides twice": (DialogSession, "complete", decides_twice),
    "an END of the past ends it (T1)": (Worker, "message", ends_whatever_attempt),
    "speaks on without a session": (DialogSession, "lose", nothing),
    "waits for a clean-up for ever": (DialogSession, "bound_end", nothing),
    "lives for ever": (DialogSession, "expire", nothing),
}


@pytest.fixture(params=MUTANTS)
def _mutant(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    owner, name, planted = MUTANTS[request.param]
    monkeypatch.setattr(owner, name, planted)


def walk(seed: int, steps: int = 40) -> None:
    """Let a seed pick the moves: the same ones at every run, and many more a second."""
    chance = random.Random(seed)
    machine = Dialogs()
    machine.first_call()
    machine.second_call()

    def call() -> Call:
        return chance.choice(list(machine.by_id.values()))

    def some(number: int) -> int:
        return chance.randrange(number)

    def age() -> int:
        return chance.choice([0, 0, 0, 1, 2])

    anytime: list[Callable[[], object]] = [
        lambda: machine.another_worker_takes_over(call()),
        lambda: machine.answer(call(), chance.choice([0, 0, 1, -99])),
        lambda: machine.answer_is_out_already(call()),
        lambda: machine.end(call(), chance.random() < 0.5),
        lambda: machine.end_an_earlier_attempt(call(), 1 + some(3), some(3)),
        lambda: machine.lose(call(), some(3)),
        lambda: machine.send(call(), age()),
        lambda: machine.ask(call(), age()),
        lambda: machine.decide(call(), age()),
        lambda: machine.delay_end(call(), age()),
        lambda: machine.finish(call(), age()),
        lambda: machine.wait(chance.choice([0.5, 0.5, 2.0, 2.0, 10.0, 30.0, 300.0])),
    ]
    with_a_link: list[Callable[[], object]] = [
        lambda: machine.break_session(some(3)),
        lambda: machine.close_session(some(3)),
        lambda: machine.begin_again(call(), some(3)),
        lambda: machine.late_begin(call(), some(4), some(3)),
        lambda: machine.agent_is_given_up_and_comes_back(call(), chance.random() < 0.5, some(3)),
    ]
    for _ in range(steps):
        moves = anytime + with_a_link if machine.links else list(anytime)
        if len(machine.links) < 3:
            moves.append(machine.open_session)
        if len(machine.links) > 1:
            moves.append(lambda: machine.agent_moves(call(), some(3)))
        if machine.links and len(machine.by_id) < CALLS_MAX:
            moves.append(lambda: machine.begin(some(3)))
        chance.choice(moves)()
        machine.credit_is_no_more_than_there_is_room()
        machine.a_task_that_is_kept_is_the_only_one_of_its_dialog()
    machine.teardown()


def walks(number: int) -> None:
    for seed in range(number):
        walk(seed)


def test_walks() -> None:
    walks(2 * settings().max_examples)


@pytest.mark.interpreted
@pytest.mark.usefixtures("_mutant")
def test_a_planted_bug_is_found() -> None:
    with pytest.raises((AssertionError, KeyError)):
        walks(2000)
