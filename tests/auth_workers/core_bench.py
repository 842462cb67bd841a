"""A worker's core on the bench: brokers' messages in, actions out as short lines to compare.

    s1: RECEIVE (2) seq=3 'login: '     sent on session 1 for attempt 2 of the dialog
    start 1 (2) / cancel 1 ras:619 / unplug 1 ras:619 / answer 1 win:0 'ann' / error ras:645

READY is left out; `bench.ready` has the totals.
"""

from __future__ import annotations

from typing import Final

from auth_workers.session import Worker
from auth_workers.session_actions import (
    Action,
    Answer,
    CancelTask,
    Concluded,
    Leave,
    Replied,
    StartTask,
    Unplug,
)
from auth_workers.session_dialog import Question
from auth_workers.verdict import Verdict
from dialgate.codes import NO_ERROR, Code, Raserror
from dialgate.session import Transmit
from dialgate.wire.bodies import (
    BODIES,
    Begin,
    Complete,
    Drain,
    End,
    EndReply,
    Facts,
    Lost,
    Ready,
    Receive,
    Received,
    Refused,
    Send,
    Welcome,
)
from dialgate.wire.body_codec import decode_body, encode_body
from dialgate.wire.envelope import decode_frame
from dialgate.wire.fields import Body
from dialgate.wire.verbs import Verb

ME: Final = b"m" * 16
OTHER: Final = b"o" * 16
D: Final = b"d" * 16
E: Final = b"e" * 16
GONE: Final = Raserror.ERROR_PORT_DISCONNECTED.code

FACTS: Final = Facts(
    site="oslo", agent="oslo-1", device="/dev/ttyS0", caller="", send_size=1024, recv_size=512
)
WELCOME: Final = Welcome(
    protocol=1,
    name="broker-1",
    instance=b"b" * 16,
    end_lease_ms=10_000,
    frame_bytes_max=65_536,
    body_bytes_max=16_384,
)


def begin_body(owner: bytes = b"", seq: int = 0, cookie: bytes = b"") -> Begin:
    return Begin(
        hport="oslo/1",
        pool="default",
        owner=owner,
        seq=seq,
        call=b"c" * 16,
        cookie=cookie,
        facts=encode_body(FACTS),
    )


class Bench:
    """One worker with sessions 1 and 2, at brokers A and B."""

    def __init__(self, capacity: int = 100) -> None:
        self.worker = Worker(ME, capacity=capacity, links=2, reattach_s=30.0, dialog_max_s=600.0)
        self.now = 0.0
        self.ready: list[tuple[int, int]] = []
        self.sent: list[tuple[int, Verb, bytes | None, int, Body]] = []
        self.open(1, "A")
        self.open(2, "B")

    def open(self, session: int, link: str = "A") -> list[str]:
        return self.lines(self.worker.session_opened(link, session, WELCOME, self.now))

    def close(self, session: int = 1) -> list[str]:
        return self.lines(self.worker.session_closed(session, GONE, self.now))

    def hear(
        self, verb: Verb, body: Body | bytes, attempt: int, session: int = 1, dialog: bytes = D
    ) -> list[str]:
        raw = body if isinstance(body, bytes) else encode_body(body)
        return self.lines(self.worker.message(session, verb, dialog, attempt, raw, self.now))

    def begin(
        self,
        attempt: int,
        *,
        owner: bytes = b"",
        seq: int = 0,
        session: int = 1,
        dialog: bytes = D,
    ) -> list[str]:
        return self.hear(Verb.BEGIN, begin_body(owner, seq), attempt, session, dialog)

    def received(
        self,
        attempt: int,
        seq: int,
        data: bytes = b"",
        *,
        status: Code = NO_ERROR,
        session: int = 1,
    ) -> list[str]:
        body = Received(seq=seq, status=status, data=data)
        return self.hear(Verb.RECEIVED, body, attempt, session)

    def end(self, attempt: int, reason: Code = GONE, session: int = 1) -> list[str]:
        return self.hear(Verb.END, End(reason=reason), attempt, session)

    def lost(self, attempt: int, session: int = 1) -> list[str]:
        return self.hear(Verb.LOST, Lost(code=GONE), attempt, session)

    def order_drain(self, deadline_ms: int, session: int = 1) -> list[str]:
        body = encode_body(Drain(deadline_ms=deadline_ms))
        return self.lines(self.worker.message(session, Verb.DRAIN, None, 0, body, self.now))

    def send(self, data: bytes = b"hello", task: int = 1) -> list[str]:
        return self._asked(*self.worker.send(task, data))

    def receive(self, prompt: bytes = b"login: ", task: int = 1) -> list[str]:
        asked = Question(prompt=prompt, limit=256, timeout_s=60, cookie=b"cookie")
        return self._asked(*self.worker.receive(task, asked))

    def complete(self, verdict: Verdict, task: int = 1) -> list[str]:
        return self.lines(self.worker.complete(task, verdict, self.now))

    def finish(self, task: int = 1) -> list[str]:
        return self.lines(self.worker.finished(task, self.now))

    def delay_end(self, task: int = 1) -> None:
        self.worker.delay_end(task, on=True)

    def wait(self, seconds: float) -> list[str]:
        self.now += seconds
        return self.lines(self.worker.tick(self.now))

    def lines(self, actions: list[Action]) -> list[str]:
        """Return `actions` as lines."""
        return [line for action in actions if (line := self._line(action))]

    def _asked(self, code: Code, actions: list[Action]) -> list[str]:
        return ([] if code.number == 600 else [spell(code)]) + self.lines(actions)

    def _line(self, action: Action) -> str:
        match action:
            case Transmit(session, message):
                return self._sent(session, message)
            case StartTask(task, _, attempt):
                return f"start {task} ({attempt})"
            case CancelTask(task, why):
                return f"cancel {task} {spell(why)}"
            case Unplug(task, why):
                return f"unplug {task} {spell(why)}"
            case Answer(task, status, data):
                return f"answer {task} {spell(status)} {data.decode()!r}"
            case Concluded(_, outcome):
                return f"outcome {outcome.value}"
            case Replied():
                return ""
            case Leave(code):
                return f"leave {spell(code)}"

    def _sent(self, session: int, message: bytes) -> str:
        [(number, dialog, attempt, raw, _)], fault = decode_frame(message)
        assert not fault
        verb = Verb(number)
        body = decode_body(raw, BODIES[verb])
        self.sent.append((session, verb, dialog, attempt, body))
        if isinstance(body, Ready):
            self.ready.append((session, body.credit))
            return ""
        place = f"s{session}: {verb.name}" + (f" ({attempt})" if dialog else "")
        return f"{place} {spell_body(body)}"


def spell(code: Code) -> str:
    return f"{code.namespace}:{code.number}"


def spell_body(body: Body) -> str:
    match body:
        case Send():
            return f"seq={body.seq} {body.data.decode()!r}"
        case Receive():
            return f"seq={body.seq} {body.prompt.decode()!r}"
        case Complete():
            return {1: "success", 2: "failure", 3: "error"}[body.msg_id] + (
                f" {body.username}" if body.username else f" {spell(Code(*body.error))}"
            )
        case EndReply() | Refused():
            return spell(Code(*body.code))
        case Drain():
            return f"{body.deadline_ms} ms"
        case _:
            raise AssertionError(body)
