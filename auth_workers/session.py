"""A worker's dialogs over all its brokers: which attempt counts, what may begin, when to leave.

Sans-IO (docs/protocol.md §5 "Worker", §6): messages, what tasks ask, and `now` go in; actions come
out, to be done in their order.  What becomes of one dialog is `session_dialog`'s.

Invariants: a dialog is bound to the highest attempt seen and to the session of that BEGIN, and
nothing else that comes has an effect on it.  A task that was replaced is not heard any more.  Every
table is bounded: dialogs by credit and by `dialog_max_s`, old attempts by `Attempts`.
"""

from __future__ import annotations

from collections import Counter
from itertools import takewhile
from typing import Final

from auth_workers.attempts import Attempts
from auth_workers.credit import Credit
from auth_workers.departure import Departure
from auth_workers.session_actions import Action, Info, Leave, Outcome, StartTask
from auth_workers.session_dialog import DISCONNECTED, DialogSession, Question, State
from auth_workers.verdict import Verdict
from dialgate.codes import NO_ERROR, Code, Winerror
from dialgate.errors import BodyError
from dialgate.session import Transmit
from dialgate.wire.bodies import Begin, Drain, EndReply, Facts, Ready, Refused, Welcome
from dialgate.wire.body_codec import decode_body, encode
from dialgate.wire.verbs import Verb

__all__ = ["Worker"]

_BEGIN: Final = int(Verb.BEGIN)
_RECEIVED: Final = int(Verb.RECEIVED)
_END: Final = int(Verb.END)
"""Plain ints: to look a member of an enum up takes longer than what is left of a message's way."""
_INVALID: Final = Winerror.ERROR_INVALID_DATA.code


class Worker:
    """The core.

    Args:
        instance: this process's, 16 bytes.
        capacity: dialogs to have open at a time; it bounds credit and refuses nothing.
        links: brokers configured.
        reattach_s: how long a dialog whose session is over waits to be begun again.
        dialog_max_s: the longest a task may live, and how long its attempt is remembered after.
    """

    def __init__(
        self,
        instance: bytes,
        *,
        capacity: int,
        links: int,
        reattach_s: float = 30.0,
        dialog_max_s: float = 600.0,
    ) -> None:
        self.drops: Counter[str] = Counter()
        """Messages without effect and bounds that were reached, by reason."""
        self.reattached = 0
        """Dialogs that went on after their session was over."""
        self.credit = Credit(capacity, links)
        self.attempts = Attempts(dialog_max_s)
        self._instance = instance
        self._reattach_s = reattach_s
        self._dialog_max_s = dialog_max_s
        self._departure = Departure()
        self._leases: dict[int, float] = {}
        self._dialogs: dict[bytes, DialogSession] = {}
        self._tasks: dict[int, DialogSession] = {}
        self._silent: dict[int, DialogSession] = {}
        self._ended: dict[int, DialogSession] = {}
        self._last_task = 0

    @property
    def sessions(self) -> int:
        """Brokers that this worker has a session with."""
        return len(self._leases)

    @property
    def open_dialogs(self) -> int:
        """Dialogs that take up capacity."""
        return len(self._dialogs)

    @property
    def draining(self) -> bool:
        """Whether it takes no new dialogs."""
        return self._departure.draining

    # What links tell.

    def session_opened(
        self, _link: str, session: int, welcome: Welcome, now: float
    ) -> list[Action]:
        """Take notice of a new session and offer it work."""
        out: list[Action] = []
        self._leases[session] = welcome.end_lease_ms / 1000
        self.credit.open(session)
        if self.draining:
            self._say_drain(session, now, out)
        self._grant(out, freed=True)
        return out

    def session_closed(self, session: int, _code: Code, now: float) -> list[Action]:
        """Take notice that a session is over: its dialogs wait, silent, to be begun again."""
        out: list[Action] = []
        self._leases.pop(session, None)
        self.credit.close(session)
        for dialog in [each for each in self._dialogs.values() if each.session == session]:
            dialog.lose(now, out)
            self._settle(dialog, now, out)
        self._grant(out, freed=True)
        return out

    def message(
        self, session: int, verb: int, dialog: bytes | None, attempt: int, body: bytes, now: float
    ) -> list[Action]:
        """Act on a broker's message."""
        out: list[Action] = []
        if session not in self._leases:
            self.drops["no session"] += 1
        elif dialog is None:
            if verb == Verb.DRAIN:
                self._obey_drain(body, now, out)
        elif verb == _BEGIN:
            self._begin(session, dialog, attempt, body, now, out)
        else:
            entry = self._dialogs.get(dialog)
            if entry is not None and (entry.attempt, entry.session) == (attempt, session):
                if verb == _RECEIVED:
                    entry.receive_answer(body, now, out)
                elif verb == _END:
                    entry.end(body, now, out)
                    self._settle(entry, now, out)
                elif verb == Verb.LOST:
                    entry.lose(now, out)
                    self._settle(entry, now, out)
            elif verb == Verb.END:
                # Also if it crossed our REFUSED: nobody waits a lease out for a dialog not here.
                reply = encode(Verb.END_REPLY, EndReply(code=DISCONNECTED), dialog, attempt)
                out.append(Transmit(session, reply))
            else:
                self.drops["not of an open attempt"] += 1
        return out

    def tick(self, now: float) -> list[Action]:
        """Do what time asks for."""
        out: list[Action] = []
        # Both tables stand in the order of their times, since the bound is the same for all.
        old = takewhile(
            lambda each: now >= each.started_at + self._dialog_max_s, self._tasks.values()
        )
        for dialog in list(old):
            dialog.expire(now, out)
            self._settle(dialog, now, out)
        lost = takewhile(lambda each: now >= each.lost_at + self._reattach_s, self._silent.values())
        for dialog in list(lost):
            dialog.close(Outcome.LOST, DISCONNECTED, now, out)
            self._settle(dialog, now, out)
        for dialog in list(self._ended.values()):
            dialog.bound_end(now, out)
            self._settle(dialog, now, out)
        self.attempts.forget(now)
        if now >= self._departure.due(len(self._dialogs)):
            self._leave(now, out)
        return out

    def deadline(self) -> float:
        """Return when `tick` is next of use; `math.inf` if never."""
        due = min(self.attempts.deadline(), self._departure.due(len(self._dialogs)))
        for dialog in self._tasks.values():
            due = min(due, dialog.started_at + self._dialog_max_s)
            break
        for dialog in self._silent.values():
            due = min(due, dialog.lost_at + self._reattach_s)
            break
        for dialog in self._ended.values():
            due = min(due, dialog.end_bound_at)
        return due

    def drain(self, deadline_s: float, now: float) -> list[Action]:
        """Take no new dialogs, finish those that are open, then leave.

        Args:
            deadline_s: what is open then is left to be begun again elsewhere.
            now: monotonic seconds.
        """
        out: list[Action] = []
        if self._departure.begin(deadline_s, now):
            for session in self._leases:
                self._say_drain(session, now, out)
        return out

    # What tasks ask.  One that is over is told so by code 619.

    def send(self, task: int, data: bytes) -> tuple[Code, list[Action]]:
        """Show `data` to the caller; return 600 (started) or why not, and what to do."""
        out: list[Action] = []
        dialog = self._tasks.get(task)
        return (dialog.send(data, out) if dialog else DISCONNECTED), out

    def receive(self, task: int, question: Question) -> tuple[Code, list[Action]]:
        """Ask the caller; return 600 (started: an `Answer` follows) or why not, and what to do."""
        out: list[Action] = []
        dialog = self._tasks.get(task)
        return (dialog.receive(question, out) if dialog else DISCONNECTED), out

    def complete(self, task: int, verdict: Verdict, now: float) -> list[Action]:
        """Give the verdict; the first stands.  After a delayed END this releases the port."""
        out: list[Action] = []
        dialog = self._tasks.get(task)
        if dialog is not None:
            dialog.complete(verdict, now, out)
            self._settle(dialog, now, out)
        return out

    def finished(self, task: int, now: float) -> list[Action]:
        """Take notice that a task has returned, failed or been cancelled, clean-up included."""
        out: list[Action] = []
        dialog = self._tasks.get(task)
        if dialog is not None:
            dialog.finish(now, out)
            self._settle(dialog, now, out)
        return out

    def delay_end(self, task: int, *, on: bool) -> None:
        """Let an END that comes be answered 0, or no longer."""
        dialog = self._tasks.get(task)
        if dialog is not None:
            dialog.delays_end = on

    def info(self, task: int) -> Info:
        """Return what GetInfo tells."""
        dialog = self._tasks.get(task)
        return dialog.info if dialog else Info(DISCONNECTED, 0, "")

    # Transitions.

    def _begin(
        self, session: int, dialog: bytes, attempt: int, body: bytes, now: float, out: list[Action]
    ) -> None:
        self.credit.spend(session)
        older = self._dialogs.get(dialog)
        if attempt <= (older.attempt if older else self.attempts.highest(dialog)):
            self.drops["BEGIN of an old attempt"] += 1
            self._grant(out, freed=False)
            return
        try:
            begin = decode_body(body, Begin)
            facts = decode_body(begin.facts, Facts)
        except BodyError:
            self._replace(older, now, out)
            self.attempts.remember(dialog, attempt, now)
            refused = encode(Verb.REFUSED, Refused(code=_INVALID), dialog, attempt)
            out.append(Transmit(session, refused))
            self._grant(out, freed=False)
            return
        if older and older.may_go_on(begin.owner, begin.seq):
            older.go_on(attempt, session, self._leases[session], begin.seq, out)
            self._silent.pop(older.task, None)
            self.reattached += 1
        else:
            self._replace(older, now, out)
            self._start(session, dialog, attempt, begin, facts, now, out)
        self._grant(out, freed=False)

    def _start(
        self,
        session: int,
        dialog: bytes,
        attempt: int,
        begin: Begin,
        facts: Facts,
        now: float,
        out: list[Action],
    ) -> None:
        self._last_task += 1
        new = DialogSession(
            worker=self._instance,
            drops=self.drops,
            task=self._last_task,
            dialog=dialog,
            attempt=attempt,
            session=session,
            lease_s=self._leases[session],
            started_at=now,
            seq=begin.seq,
            facts=facts,
        )
        self._dialogs[dialog] = self._tasks[new.task] = new
        out.append(StartTask(new.task, dialog, attempt, begin, facts))

    def _replace(self, older: DialogSession | None, now: float, out: list[Action]) -> None:
        """Have done with a dialog's older task, sending nothing of it."""
        if older is not None:
            older.close(Outcome.SUPERSEDED, DISCONNECTED, now, out)
            self._settle(older, now, out)

    def _settle(self, dialog: DialogSession, now: float, out: list[Action]) -> None:
        """Put a dialog that was touched into the tables it belongs in now."""
        if dialog.state is State.OVER:
            del self._dialogs[dialog.dialog], self._tasks[dialog.task]
            self._silent.pop(dialog.task, None)
            self._ended.pop(dialog.task, None)
            self.attempts.remember(dialog.dialog, dialog.attempt, now)
            self._grant(out, freed=True)
        elif dialog.state is State.DELAYED or dialog.state is State.ENDING:
            self._silent.pop(dialog.task, None)
            self._ended[dialog.task] = dialog
        elif dialog.silent:
            self._silent[dialog.task] = dialog

    def _obey_drain(self, body: bytes, now: float, out: list[Action]) -> None:
        """An operator's order to this worker."""
        try:
            deadline_ms = decode_body(body, Drain).deadline_ms
        except BodyError:
            self.drops["bad body"] += 1
            return
        out.extend(self.drain(deadline_ms / 1000, now))

    def _leave(self, now: float, out: list[Action]) -> None:
        for dialog in list(self._dialogs.values()):
            dialog.close(Outcome.LOST, DISCONNECTED, now, out)
            self._settle(dialog, now, out)
        out.append(Leave(NO_ERROR))

    def _say_drain(self, session: int, now: float, out: list[Action]) -> None:
        drain = Drain(deadline_ms=self._departure.remaining_ms(now))
        out.append(Transmit(session, encode(Verb.DRAIN, drain)))

    def _grant(self, out: list[Action], *, freed: bool) -> None:
        if not self.draining:
            for session, total in self.credit.grant(len(self._dialogs), freed=freed):
                out.append(Transmit(session, encode(Verb.READY, Ready(credit=total))))
