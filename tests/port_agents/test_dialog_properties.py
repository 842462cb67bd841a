"""The agent's dialog under any order of messages, answers, losses, offers and time.

Hypothesis plays two brokers with their workers, the caller and the clock.  The model is what the
caller could notice: which of his answers left, for which question, and whether he was let in by a
verdict that was accepted, on his dialog, while he was there.

Each mutant at the end lacks one guard; the machine must find it out.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from dialgate.codes import NO_ERROR, Code, Raserror, Winerror
from dialgate.session import Transmit
from dialgate.wire.bodies import (
    FAILURE,
    SUCCESS,
    Begin,
    Complete,
    End,
    EndReply,
    Lost,
    Receive,
    Received,
    Refused,
    Send,
)
from dialgate.wire.body_codec import decode_body, encode_body
from dialgate.wire.envelope import decode_frame
from dialgate.wire.verbs import Verb
from port_agents.counters import Again
from port_agents.dialog import PortDialog
from port_agents.dialog_actions import Action, CancelAsk, Closed, Decided, Phase, Route
from port_agents.exchange import Exchange, Exchanged
from port_agents.retries import ATTEMPTS_MAX, POISON_MAX
from port_agents.terminal import Ask
from tests.port_agents.dialog_bench import DISCONNECTED, GONE, OPENING, D, new_counters

SESSIONS: Final = st.integers(1, 3)
AIMS: Final = st.sampled_from([(0, 0)] * 9 + [(1, 0), (0, -1)])
"""How far a message is off its session and attempt; mostly it isn't."""
WORKERS: Final = st.sampled_from([b"v" * 16, b"w" * 16])
LONGEST_S: Final = 600.0
LEASE_S: Final = 13.0


class DialogMachine(RuleBasedStateMachine):
    def __init__(self, kind: type[PortDialog] = PortDialog) -> None:
        super().__init__()
        self.now = 0.0
        self.dialog = kind(D, OPENING, new_counters(), dialog_max_s=LONGEST_S)
        self.begun: tuple[int, int] | None = None
        """Attempt and session of the BEGIN that is outstanding."""
        self.attempts: list[int] = []
        self.end: Code | None = None
        self.ended_at = math.inf
        self.first_begin_at = math.inf
        self.accepted: int | None = None
        """`msg_id` of the verdict that counts: the first, before any END."""
        self.is_caller_here = True
        self.asked: int | None = None
        """The question that the caller sees."""
        self.answered: set[int] = set()
        """Questions whose answer left."""
        self.askers: dict[int, bytes] = {}
        """Who asked each question first."""
        self.questions: set[tuple[int, int, bytes]] = set()
        """Attempt, seq and worker of each RECEIVE that counted."""
        self.closed: list[bool] = []
        self.poison = 0
        self.answer_is_out = False
        self.feed(self.dialog.begin(Route(1), self.now))

    def feed(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case Transmit(session, message):
                    self.transmitted(session, message)
                case Ask(seq):
                    assert self.begun, "asked by nobody"
                    self.asked = seq
                    self.askers[seq] = self.speaker
                    self.answer_is_out = False
                case CancelAsk():
                    self.asked = None
                case Closed(handed_over):
                    self.closed.append(handed_over)
                    self.check_hand_over(handed_over=handed_over)
                case Decided(verdict) if self.accepted is None:
                    assert verdict.msg_id != SUCCESS, "admitted by nobody's word"
                case _:
                    pass

    def transmitted(self, session: int, message: bytes) -> None:
        ((verb, dialog, attempt, body, _),), fault = decode_frame(message)
        assert (dialog, fault) == (D, "")
        assert not self.closed, "spoke after it was closed"
        match Verb(verb):
            case Verb.BEGIN:
                begin = decode_body(body, Begin)
                assert self.end is None, "BEGIN after END"
                assert self.accepted is None, "BEGIN after a verdict"
                assert attempt == len(self.attempts) + 1 <= ATTEMPTS_MAX
                assert begin.seq >= max(self.answered, default=0), "a question is asked again"
                self.attempts.append(attempt)
                self.begun = attempt, session
                self.answer_is_out = False
                self.first_begin_at = min(self.first_begin_at, self.now)
            case Verb.RECEIVED:
                received = decode_body(body, Received)
                assert self.begun == (attempt, session), "answered nobody's question"
                if received.status == NO_ERROR:
                    assert received.seq not in self.answered, "an answer used twice"
                    assert received.data == b"answer to %d" % received.seq, "another's answer"
                    asked = attempt, received.seq, self.askers[received.seq]
                    assert asked in self.questions, "an answer that nobody of this attempt asked"
                    self.answered.add(received.seq)
                    self.answer_is_out = True
                else:
                    assert not received.data
            case Verb.END:
                assert self.begun == (attempt, session), "END where nobody was"
                assert self.end is None, "a second END"
                self.end = decode_body(body, End).reason
                assert self.end.ok == (self.accepted is not None), "END(0) is the verdict's"
                self.ended_at = self.now
            case _:
                raise AssertionError("not an agent's message")

    def check_hand_over(self, *, handed_over: bool) -> None:
        admitted = self.accepted == SUCCESS and self.is_caller_here
        assert handed_over == (admitted and self.end == NO_ERROR)
        if self.end is None:
            assert self.begun is None, "closed without a word to its worker"
        else:
            assert self.may_close, "closed while its END was out"

    may_close = False
    speaker = b""

    # Messages.

    def say(self, session: int, attempt: int, verb: Verb, body: Any) -> None:
        counts = self.begun == (attempt, session) and not self.closed
        if counts and self.end is None and verb is Verb.COMPLETE:
            self.accepted = body.msg_id
        if counts and self.end is None and verb is Verb.LOST:
            self.poison += self.answer_is_out
        if counts and isinstance(body, Receive):
            self.speaker = body.worker
            self.questions.add((attempt, body.seq, body.worker))
        code = getattr(body, "code", NO_ERROR)
        is_delayed = self.dialog.phase is Phase.DELAYED
        self.may_close = counts and (
            verb in {Verb.LOST, Verb.REFUSED}
            or (verb is Verb.END_REPLY and not code.ok)
            or (verb is Verb.COMPLETE and is_delayed)
        )
        if counts and self.end is None and verb in {Verb.LOST, Verb.REFUSED}:
            self.begun = None
        actions = self.dialog.message(session, verb, attempt, encode_body(body), self.now)
        self.feed(actions)
        if not counts:
            assert all(isinstance(action, Transmit) for action in actions) or not actions
        if counts and verb in {Verb.SEND, Verb.RECEIVE} and not self.closed:
            self.answer_is_out &= self.dialog.phase is Phase.BEGUN and bool(
                self.dialog._exchange.answer_out
            )
        self.may_close = False
        assert self.poison < POISON_MAX or self.closed, "the answer kills one worker more"

    @property
    def attempt(self) -> int:
        return self.attempts[-1] if self.attempts else 1

    def aimed(self, aim: tuple[int, int], verb: Verb, body: Any) -> None:
        session = self.begun[1] if self.begun is not None else 1
        self.say(session + aim[0], self.attempt + aim[1], verb, body)

    @rule(aim=AIMS, worker=WORKERS, ahead=st.integers(0, 2))
    def send(self, aim: tuple[int, int], worker: bytes, ahead: int) -> None:
        seq = max(1, self.dialog._exchange.seq + ahead)
        self.aimed(aim, Verb.SEND, Send(worker=worker, seq=seq, data=b"x"))

    @rule(aim=AIMS, worker=WORKERS, ahead=st.integers(-1, 2))
    def receive(self, aim: tuple[int, int], worker: bytes, ahead: int) -> None:
        seq = max(1, self.dialog._exchange.seq + ahead)
        question = Receive(
            worker=worker,
            seq=seq,
            prompt=b"?",
            mode="line",
            echo="on",
            limit=60,
            timeout_s=0,
            cookie=b"c",
        )
        self.aimed(aim, Verb.RECEIVE, question)

    @rule(worker=WORKERS)
    def next_question(self, worker: bytes) -> None:
        """Ask as a sound worker does, so that the walk gets somewhere."""
        if self.begun is not None:
            self.receive((0, 0), worker, 1)

    @rule(aim=AIMS, msg_id=st.sampled_from([SUCCESS, FAILURE]))
    def complete(self, aim: tuple[int, int], msg_id: Any) -> None:
        verdict = Complete(
            worker=b"w" * 16,
            msg_id=msg_id,
            error=NO_ERROR,
            username="ann",
            domain="",
            attributes={},
        )
        self.aimed(aim, Verb.COMPLETE, verdict)

    @rule(aim=AIMS, code=st.sampled_from([NO_ERROR, DISCONNECTED]))
    def end_reply(self, aim: tuple[int, int], code: Code) -> None:
        self.aimed(aim, Verb.END_REPLY, EndReply(code=code))

    @rule(aim=AIMS, code=st.sampled_from(list(Winerror)[4:6]))
    def refuse(self, aim: tuple[int, int], code: Winerror) -> None:
        self.aimed(aim, Verb.REFUSED, Refused(code=code.code))

    @rule(aim=AIMS)
    def offer_elsewhere(self, aim: tuple[int, int]) -> None:
        no_worker = Winerror.ERROR_NO_LOGON_SERVERS.code
        self.aimed(aim, Verb.REFUSED, Refused(code=no_worker))

    @rule(aim=AIMS)
    def lose(self, aim: tuple[int, int]) -> None:
        self.aimed(aim, Verb.LOST, Lost(code=DISCONNECTED))

    # Sessions.

    @rule(is_ours=st.booleans())
    def session_over(self, is_ours: bool) -> None:
        session = self.begun[1] if self.begun is not None and is_ours else 9
        self.may_close = self.begun is not None and self.begun[1] == session
        if self.may_close and self.end is None:
            self.begun = None
        self.feed(self.dialog.session_over(session, self.now))
        self.may_close = False

    @rule(session=SESSIONS)
    def route(self, session: int) -> None:
        self.feed(self.dialog.route(Route(session), self.now))

    @rule(session=SESSIONS, cause=st.sampled_from([Again.MOVED, Again.OFFERED]))
    def move(self, session: int, cause: Again) -> None:
        self.feed(self.dialog.move(Route(session), cause, self.now))

    @rule()
    def find_session(self) -> None:
        self.route(2)

    @rule()
    def poison_a_worker(self) -> None:
        """Lose a worker that has just got an answer."""
        self.next_question(b"w" * 16)
        self.answer(False)
        self.lose((0, 0))

    @rule()
    def give_up(self) -> None:
        self.feed(self.dialog.give_up(self.now))

    # The caller.

    @rule(late=st.booleans())
    def answer(self, late: bool) -> None:
        """Answer what is asked; `late`: an answer to the question before."""
        seq = (self.asked or 1) - late
        self.feed(self.dialog.answered(seq, NO_ERROR, b"answer to %d" % seq))

    @rule(code=st.sampled_from([GONE, Raserror.ERROR_USER_DISCONNECTION.code]))
    def hang_up(self, code: Code) -> None:
        self.is_caller_here = False
        self.feed(self.dialog.end(code, self.now))

    # Time.

    @rule(seconds=st.sampled_from([0.1, 0.5, 2.0, LEASE_S, 60.0]))
    def wait(self, seconds: float) -> None:
        until = self.now + seconds
        while (due := self.dialog.deadline()) <= until:
            self.now = max(self.now, due)
            self.may_close = self.now >= self.ended_at + LEASE_S
            self.feed(self.dialog.tick(self.now))
            self.may_close = False
            assert self.dialog.deadline() > self.now, "a timer that does nothing"
        self.now = until

    @invariant()
    def it_closes_once(self) -> None:
        assert len(self.closed) == (self.dialog.phase is Phase.CLOSED)

    @invariant()
    def nothing_waits_for_ever(self) -> None:
        if not self.closed:
            assert self.dialog.deadline() < math.inf
            assert self.now < self.ended_at + LEASE_S
            assert self.end is not None or self.now < self.first_begin_at + LONGEST_S + LEASE_S

    @invariant()
    def a_question_that_is_asked_is_open(self) -> None:
        assert not (self.closed and self.asked and self.dialog._exchange.close())


TestDialog = DialogMachine.TestCase
TestDialog.settings = settings(
    max_examples=settings().max_examples // 2,
    stateful_step_count=30,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


# Planted bugs.


class ForgetsAttempt(PortDialog):
    def message(self, session: int, verb: int, attempt: int, body: bytes, now: float) -> Any:
        return super().message(session, verb, self.attempt, body, now)


class ForgetsSession(PortDialog):
    def message(self, session: int, verb: int, attempt: int, body: bytes, now: float) -> Any:
        return super().message(self.session or session, verb, attempt, body, now)


class AdmitsTheWithdrawn(PortDialog):
    def _close(self) -> list[Action]:
        self._withdrawn = False
        return super()._close()


class BeginsAfterAVerdict(PortDialog):
    def _lost(self, cause: Again, now: float) -> list[Action]:
        if self.phase is Phase.CLEANING_UP:
            self.phase = Phase.BEGUN
        return super()._lost(cause, now)


def believes_the_second_verdict(dialog: PortDialog, body: bytes, now: float) -> list[Action]:
    if dialog.phase is Phase.DELAYED and dialog.verdict is not None:
        dialog.verdict = dialog.verdict.given(decode_body(body, Complete))
    return PortDialog._on_complete(dialog, body, now)


def releases_without_delay(dialog: PortDialog, body: bytes, now: float) -> list[Action]:
    if dialog.phase in {Phase.CLEANING_UP, Phase.ENDING}:
        return dialog._close()
    return PortDialog._on_complete(dialog, body, now)


def heeds_early_end_replies(dialog: PortDialog, body: bytes, now: float) -> list[Action]:
    if dialog.phase is Phase.BEGUN:
        return dialog._close()
    return PortDialog._on_end_reply(dialog, body, now)


def extends_the_lease(dialog: PortDialog, body: bytes, now: float) -> list[Action]:
    done = PortDialog._on_end_reply(dialog, body, now)
    dialog._ended_at = now
    return done


def never_tires_of_losing(dialog: PortDialog, _body: bytes, now: float) -> list[Action]:
    return dialog._lost(Again.LOST, now)


class SendsAnswersAgain(Exchange):
    def _release(self) -> Received | None:
        held = self._held
        answer = super()._release()
        self._is_open, self._held = True, held
        return answer


class AnswersTheNextQuestion(Exchange):
    def answer(self, seq: int, status: Code, data: bytes) -> Received | None:
        return super().answer(self.asked_seq, status, data)


class AnswersBetweenAttempts(Exchange):
    def begin(self, attempt: int) -> None:
        super().begin(attempt)
        self._asked_attempt = attempt


class TakesAnyQuestionForARepetition(Exchange):
    def receive(self, body: bytes) -> Exchanged:
        self._asker = decode_body(body, Receive).worker
        return super().receive(body)


def handling(verb: Verb, handler: Callable[..., list[Action]]) -> type[PortDialog]:
    """Return a dialog that handles one verb wrongly."""
    return type(handler.__name__, (PortDialog,), {f"_on_{verb.name.lower()}": handler})


def exchanging(kind: type[Exchange]) -> type[PortDialog]:
    """Return a dialog whose questions are numbered wrongly."""

    def init(self: PortDialog, *arguments: Any, **options: Any) -> None:
        PortDialog.__init__(self, *arguments, **options)
        self._exchange = kind(OPENING.facts)

    return type(kind.__name__, (PortDialog,), {"__init__": init})


MUTANTS: Final = [
    ForgetsAttempt,
    ForgetsSession,
    AdmitsTheWithdrawn,
    BeginsAfterAVerdict,
    handling(Verb.COMPLETE, believes_the_second_verdict),
    handling(Verb.COMPLETE, releases_without_delay),
    handling(Verb.END_REPLY, heeds_early_end_replies),
    handling(Verb.END_REPLY, extends_the_lease),
    handling(Verb.LOST, never_tires_of_losing),
    exchanging(SendsAnswersAgain),
    exchanging(AnswersTheNextQuestion),
    exchanging(AnswersBetweenAttempts),
    exchanging(TakesAnyQuestionForARepetition),
]


def walk(machine: DialogMachine, chance: random.Random, steps: int) -> None:
    """Walk at random, more often on good terms than Hypothesis does, and look after each step."""

    def aim() -> tuple[int, int]:
        return chance.choice([(0, 0)] * 12 + [(1, 0), (0, -1)])

    def worker() -> bytes:
        return chance.choice([b"v" * 16, b"w" * 16])

    moves: list[Callable[[], object]] = [
        lambda: machine.next_question(worker()),
        lambda: machine.next_question(worker()),
        lambda: machine.answer(chance.random() < 0.1),
        lambda: machine.answer(False),
        lambda: machine.send(aim(), worker(), 1),
        lambda: machine.receive(aim(), worker(), chance.randint(-1, 1)),
        lambda: machine.complete(aim(), chance.choice([SUCCESS, FAILURE])),
        lambda: machine.end_reply(aim(), chance.choice([NO_ERROR, NO_ERROR, DISCONNECTED])),
        lambda: machine.lose(aim()),
        lambda: machine.session_over(True),
        machine.find_session,
        machine.poison_a_worker,
        lambda: machine.move(3, Again.MOVED),
        lambda: machine.wait(chance.choice([0.1, 0.5, 8.0, 8.0])),
    ]
    for _ in range(steps):
        if chance.random() < 0.03:
            machine.hang_up(GONE)
        chance.choice(moves)()
        machine.it_closes_once()
        machine.nothing_waits_for_ever()
        if machine.closed and chance.random() < 0.5:
            return


def walks(dialog: type[PortDialog], number: int) -> None:
    chance = random.Random(1)
    for _ in range(number):
        walk(DialogMachine(dialog), chance, 25)


def test_walks() -> None:
    walks(PortDialog, 10 * settings().max_examples)


@pytest.mark.interpreted
@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_planted_bug_is_found(mutant: type[PortDialog]) -> None:
    with pytest.raises(AssertionError):
        walks(mutant, 4000)
