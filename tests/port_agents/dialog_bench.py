"""An agent's dialog on the bench: messages in, actions out as short lines to compare.

    s1: BEGIN (2) seq=1 owner=w cookie=c1      sent on session 1 for attempt 2
    s1: RECEIVED (1) seq=1 0 'ann'
    s1: END (1) ras:629
    ask 2 'Password: ' / ask 2 'login: ' anew / cancel / show 'hello'
    decided success ann / decided error win:13 / unserved win:1311 / handed over / closed

"anew" is a question that discards what was typed.
"""

from __future__ import annotations

from typing import Any, Final

from dialgate.codes import NO_ERROR, Code, Raserror, Winerror
from dialgate.session import Transmit
from dialgate.wire.bodies import (
    BODIES,
    FAILURE,
    SUCCESS,
    Begin,
    Complete,
    End,
    EndReply,
    Facts,
    Lost,
    Receive,
    Received,
    Refused,
    Send,
)
from dialgate.wire.body_codec import decode_body, encode_body
from dialgate.wire.envelope import decode_frame
from dialgate.wire.verbs import Verb
from port_agents.counters import Again, AgentCounters
from port_agents.dialog import PortDialog
from port_agents.dialog_actions import (
    Action,
    CancelAsk,
    Closed,
    Decided,
    Opening,
    Route,
    Show,
    Unserved,
)
from port_agents.terminal import Ask

W: Final = b"w" * 16
"""Instance of the worker that speaks unless a test says otherwise."""
V: Final = b"v" * 16
D: Final = b"d" * 16
CALL: Final = b"c" * 16
GONE: Final = Raserror.ERROR_REMOTE_DISCONNECTION.code
"""Why a dialog is ended unless a test says otherwise."""
DISCONNECTED: Final = Raserror.ERROR_PORT_DISCONNECTED.code
NO_WORKER: Final = Winerror.ERROR_NO_LOGON_SERVERS.code

TICKS_MAX: Final = 1000
"""In one wait; the waits of tests are short."""
HOME: Final = Route(1)
NEXT: Final = Route(2)
FACTS: Final = Facts(site="oslo", agent="oslo-1", device="/dev/ttyS0", send_size=100, recv_size=80)
OPENING: Final = Opening("oslo/1", CALL, FACTS)


class Durations:
    """A histogram that keeps everything."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def observe(self, seconds: float, /) -> None:
        self.seconds.append(seconds)


def new_counters() -> AgentCounters:
    return AgentCounters(Durations(), Durations())


class Bench:
    """A dialog, and the clock."""

    def __init__(self, kind: type[PortDialog] = PortDialog, dialog_max_s: float = 600.0) -> None:
        self.counters = new_counters()
        self.dialog = kind(D, OPENING, self.counters, dialog_max_s=dialog_max_s)
        self.now = 100.0
        self.asks: list[Ask] = []
        """Every question put to the caller."""

    # The agent's and the line's side.

    def begin(self, route: Route | None = HOME) -> list[str]:
        return self.read(self.dialog.begin(route, self.now))

    def route(self, route: Route | None = NEXT) -> list[str]:
        return self.read(self.dialog.route(route, self.now))

    def move(self, route: Route = NEXT, cause: Again = Again.MOVED) -> list[str]:
        return self.read(self.dialog.move(route, cause, self.now))

    def give_up(self) -> list[str]:
        return self.read(self.dialog.give_up(self.now))

    def session_over(self, session: int = 1) -> list[str]:
        return self.read(self.dialog.session_over(session, self.now))

    def answer(self, seq: int = 1, data: bytes = b"ann", status: Code = NO_ERROR) -> list[str]:
        return self.read(self.dialog.answered(seq, status, data))

    def end(self, reason: Code = GONE) -> list[str]:
        return self.read(self.dialog.end(reason, self.now))

    def wait(self, seconds: float) -> list[str]:
        """Let time pass, with a tick whenever one is due."""
        until = self.now + seconds
        seen: list[str] = []
        ticks = 0
        while self.dialog.deadline() <= until:
            ticks += 1
            assert ticks < TICKS_MAX, "what is always due would be asked for ever"
            self.now = max(self.now, self.dialog.deadline())
            seen += self.read(self.dialog.tick(self.now))
        self.now = until
        return seen

    # The broker's side: messages of the current attempt, on the session that it was begun on.

    def send(self, seq: int = 1, data: bytes = b"hello", worker: bytes = W) -> list[str]:
        return self.message(Verb.SEND, Send(worker=worker, seq=seq, data=data))

    def receive(
        self, seq: int = 1, prompt: bytes = b"login: ", worker: bytes = W, **fields: Any
    ) -> list[str]:
        question: dict[str, Any] = {
            "mode": "line",
            "echo": "on",
            "limit": 64,
            "timeout_s": 30,
            "cookie": b"c%d" % seq,
        } | fields
        return self.message(
            Verb.RECEIVE, Receive(worker=worker, seq=seq, prompt=prompt, **question)
        )

    def complete(self, msg_id: Any = SUCCESS, error: Code = NO_ERROR) -> list[str]:
        username = "ann" if msg_id == SUCCESS else ""
        return self.message(
            Verb.COMPLETE,
            Complete(
                worker=W,
                msg_id=msg_id,
                error=error,
                username=username,
                domain="",
                attributes={"service": "console"},
            ),
        )

    def fail(self) -> list[str]:
        return self.complete(FAILURE)

    def end_reply(self, code: Code = DISCONNECTED) -> list[str]:
        return self.message(Verb.END_REPLY, EndReply(code=code))

    def refuse(self, code: Code = NO_WORKER) -> list[str]:
        return self.message(Verb.REFUSED, Refused(code=code))

    def lose(self) -> list[str]:
        return self.message(Verb.LOST, Lost(code=DISCONNECTED))

    def message(
        self,
        verb: Verb,
        body: Any,
        *,
        attempt: int | None = None,
        session: int | None = None,
    ) -> list[str]:
        raw = body if isinstance(body, bytes) else encode_body(body)
        attempt = self.dialog.attempt if attempt is None else attempt
        session = (self.dialog.session or 1) if session is None else session
        return self.read(self.dialog.message(session, verb, attempt, raw, self.now))

    # What it did.

    def read(self, actions: list[Action]) -> list[str]:
        self.asks += [action for action in actions if isinstance(action, Ask)]
        return [describe(action) for action in actions]

    def drops(self) -> dict[str, int]:
        return {reason.value: number for reason, number in self.counters.drops.items()}


def code_text(code: Code) -> str:
    return "0" if code.ok else f"{code.namespace}:{code.number}"


def describe(action: Action) -> str:
    match action:
        case Transmit(session, message):
            return f"s{session}: {describe_message(message)}"
        case Ask(seq, prompt, _, _, _, _, discard):
            return f"ask {seq} {prompt.decode()!r}{' anew' if discard else ''}"
        case Show(data):
            return f"show {data.decode()!r}"
        case CancelAsk():
            return "cancel"
        case Decided(verdict):
            detail = verdict.username if verdict.error.ok else code_text(verdict.error)
            return f"decided {verdict.outcome} {detail}".rstrip()
        case Unserved(_, code):
            return f"unserved {code_text(code)}"
        case Closed(handed_over):
            return "handed over" if handed_over else "closed"


def describe_message(message: bytes) -> str:
    ((verb, dialog, attempt, body, _),), fault = decode_frame(message)
    assert not fault
    assert dialog == D
    decoded = decode_body(body, BODIES[Verb(verb)])
    head = f"{Verb(verb).name} ({attempt})"
    match decoded:
        case Begin():
            owner = decoded.owner[:1].decode() or "-"
            cookie = decoded.cookie.decode() or "-"
            return f"{head} seq={decoded.seq} owner={owner} cookie={cookie}"
        case Received():
            data = f" {decoded.data.decode()!r}" if decoded.data else ""
            return f"{head} seq={decoded.seq} {code_text(decoded.status)}{data}"
        case End():
            return f"{head} {code_text(decoded.reason)}"
        case _:
            raise AssertionError(f"an agent does not send {head}")
