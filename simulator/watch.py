"""The invariants I1 to I8, held against the running world after every turn of a process.

It listens to what agents are told and what they say, keeps its own account of each dialog, and
trusts no core's: a core is asked for nothing but what its tables hold.  `docs/testing.md` says what
each rule means; a rule that is broken stops the world.

Invariant: watching changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final, Protocol

from auth_workers.attempts import REMEMBERED_MAX
from auth_workers.session_dialog import State as TaskState
from broker.entries import State
from dialgate.errors import BodyError
from dialgate.records import CallRecord
from dialgate.wire.bodies import SUCCESS, Begin, Complete, End, EndReply
from dialgate.wire.body_codec import decode_body
from dialgate.wire.envelope import decode_frame
from dialgate.wire.verbs import Verb
from simulator.agent_host import AgentHost
from simulator.broker_host import BrokerHost
from simulator.hosts import Host
from simulator.telephone import SECRET
from simulator.timeline import Timeline
from simulator.worker_host import WorkerHost

__all__ = ["LEASE_S", "Watch"]

LEASE_S: Final = 10.0
HEARTBEAT_S: Final = 1.0
AGENTS_BOUND_S: Final = LEASE_S + 3 * HEARTBEAT_S
"""How long after END an agent waits at most (protocol §5)."""
SLACK_S: Final = 1.0
"""What a deadline may be late by (issue 4, §1)."""
WORKERS_MAX: Final = 3
"""Workers that one dialog may take with it."""
_BEGIN, _END, _COMPLETE = int(Verb.BEGIN), int(Verb.END), int(Verb.COMPLETE)
_END_REPLY, _LOST, _REFUSED = int(Verb.END_REPLY), int(Verb.LOST), int(Verb.REFUSED)
_SPOKEN: Final = frozenset({int(Verb.SEND), int(Verb.RECEIVE)})


class Breakage(Protocol):
    """Takes note that a rule is broken."""

    def __call__(self, rule: str, text: str, dialog: bytes | None = None) -> None:
        """Stop the world."""
        ...


class _Account:
    """What is known of one dialog from what passed at its port."""

    __slots__ = (
        "agent",
        "attempt",
        "began_at",
        "closed_at",
        "dialog",
        "end_at",
        "hport",
        "is_abnormal",
        "is_delayed",
        "is_released",
        "owners",
        "session",
        "speakers",
        "verdict",
    )

    def __init__(self, dialog: bytes, agent: str, hport: str, now: float) -> None:
        self.dialog = dialog
        self.agent = agent
        self.hport = hport
        self.began_at = now
        self.attempt = 0
        self.session = 0
        self.verdict = 0
        """First verdict that came for the current attempt before any END."""
        self.end_at = math.inf
        self.is_abnormal = False
        self.is_delayed = False
        self.is_released = False
        self.closed_at = math.inf
        self.owners: dict[int, bytes] = {}
        """By attempt: the worker process that was given its BEGIN."""
        self.speakers: dict[int, bytes] = {}
        """By attempt: the worker process whose words were taken."""


class Watch:
    """All accounts of one world."""

    def __init__(self, timeline: Timeline, broken: Breakage) -> None:
        self._timeline = timeline
        self._broken = broken
        self._accounts: dict[bytes, _Account] = {}
        self._open: dict[str, _Account] = {}
        """By port."""
        self.calls: dict[bytes, str] = {}
        """Every call that an agent has known, with its port."""
        self._records: dict[tuple[bytes, str], int] = {}
        self.dialogs = 0
        self.attempts = 0
        self.checks = 0

    # What passes at the ports.

    def sent(self, host: Host, session: int, message: bytes) -> None:
        """See what an agent sends."""
        verb = message[1]
        if verb == _BEGIN:
            [(_, dialog, attempt, body, _)], _ = decode_frame(message)
            assert dialog is not None, "BEGIN has a dialog"
            self._begun(host.name, session, dialog, attempt, body)
        elif verb == _END:
            [(_, dialog, attempt, body, _)], _ = decode_frame(message)
            assert dialog is not None, "END has a dialog"
            account = self._accounts.get(dialog)
            # An END for a dialog that isn't open any more answers somebody who thinks it is.
            if account is not None and account.closed_at == math.inf:
                self._ended(account, attempt, is_normal=decode_body(body, End).reason.ok)

    def _begun(self, agent: str, session: int, dialog: bytes, attempt: int, body: bytes) -> None:
        now = self._timeline.now
        hport = decode_body(body, Begin).hport
        account = self._accounts.get(dialog)
        other = self._open.get(hport)
        if other is not None and other.dialog != dialog:
            self._broken("I1", f"{hport}: a second dialog is begun", dialog)
        if account is None:
            self.dialogs += 1
            account = self._accounts[dialog] = _Account(dialog, agent, hport, now)
            self._open[hport] = account
        if attempt != account.attempt + 1:
            self._broken("I3", f"BEGIN {attempt} follows {account.attempt}", dialog)
        if account.end_at < math.inf or account.closed_at < math.inf or account.verdict:
            self._broken("I3", "BEGIN after the end or after a verdict", dialog)
        self.attempts += 1
        account.attempt, account.session = attempt, session

    def _ended(self, account: _Account, attempt: int, *, is_normal: bool) -> None:
        if account.end_at < math.inf:
            self._broken("I3", "a second END", account.dialog)
        if attempt != account.attempt:
            self._broken("I3", f"END of attempt {attempt}", account.dialog)
        if is_normal and not account.verdict:
            self._broken("I2", "END(0) without a verdict", account.dialog)
        account.end_at = self._timeline.now
        account.is_abnormal = not is_normal

    def heard(
        self,
        host: Host,
        session: int,
        verb: int,
        dialog: bytes | None,
        attempt: int,
        body: bytes,
    ) -> None:
        """See what a broker tells an agent or a worker, before it acts on it."""
        account = None if dialog is None else self._accounts.get(dialog)
        if account is None:
            return
        if isinstance(host, WorkerHost):
            if verb == _BEGIN:
                owner = account.owners.setdefault(attempt, host.instance)
                if owner != host.instance:
                    self._broken("I1", f"two workers have BEGIN {attempt}", dialog)
            return
        if (attempt, session) != (account.attempt, account.session):
            return
        is_ended = account.end_at < math.inf
        try:
            if verb == _COMPLETE and not is_ended and not account.verdict:
                account.verdict = decode_body(body, Complete).msg_id
            elif verb == _COMPLETE and account.is_delayed:
                account.is_released = True
            elif verb == _END_REPLY and is_ended:
                if decode_body(body, EndReply).code.ok:
                    account.is_delayed = True
                else:
                    account.is_released = True
            elif verb in {_LOST, _REFUSED} and is_ended:
                account.is_released = True
        except BodyError:
            self._broken("I8", "a core sends what is malformed", dialog)

    def session_over(self, host: Host, session: int) -> None:
        """See that a session of an agent has ended."""
        for account in self._open.values():
            if account.agent == host.name and account.session == session:
                account.is_released = account.end_at < math.inf

    def agent_killed(self, host: AgentHost) -> None:
        """Close the dialogs of an agent that is no more."""
        for hport in host.telephones:
            self._close(hport)

    def _close(self, hport: str) -> None:
        account = self._open.pop(hport, None)
        if account is not None:
            account.closed_at = self._timeline.now

    # After each turn.

    def port(self, host: AgentHost, hport: str) -> None:
        """Hold a port against the rules."""
        self.checks += 1
        line = host.core.lines[hport]
        if line.call is not None:
            self.calls.setdefault(line.call.id, hport)
        account = self._open.get(hport)
        dialog = line.dialog
        if account is None:
            return
        if dialog is None or dialog.dialog != account.dialog:
            self._close(hport)
            return
        exchange = dialog._exchange  # noqa: SLF001 - the account is held against it
        if exchange.worker and exchange.answer_out is False:
            self._heed(account, exchange.worker)

    def _heed(self, account: _Account, worker: bytes) -> None:
        """I1: what an attempt accepts comes from the one worker that has its BEGIN."""
        if worker in account.speakers.values():
            return
        account.speakers[account.attempt] = worker
        if account.owners.get(account.attempt) != worker:
            self._broken("I1", "a worker speaks that was not given this attempt", account.dialog)

    def broker(self, host: BrokerHost) -> None:
        """I8: a broker's tables are within its limits."""
        board, limits = host.core.switchboard, host.limits
        entries, waiting_max = len(board.entries.by_dialog), 2 * limits.max_waiting
        # Who waits has an entry.
        if entries > waiting_max and len(board.queue) > waiting_max:
            self._broken("I8", f"{host.name}: too many wait")
        if entries > limits.dialogs_max:
            self._broken("I8", f"{host.name}: too many dialogs")

    # What is opened, and what is recorded.

    def opened(self, host: AgentHost, hport: str) -> None:
        """I2: a port is handed over."""
        call = host.core.lines[hport].call
        outcome = None if call is None else call.dialog
        account = None if outcome is None else self._accounts.get(outcome.dialog)
        if account is None:
            self._broken("I2", f"{hport} is opened without a dialog")
            return
        now = self._timeline.now
        why = ""
        if account.hport != hport:
            why = "for a dialog of another port"
        elif account.verdict != SUCCESS:
            why = "without a success that came before END"
        elif account.is_abnormal:
            why = "after an abnormal END"
        elif account.end_at == math.inf:
            why = "before END"
        elif not account.is_released and now < account.end_at + AGENTS_BOUND_S:
            why = "before END was answered"
        if why:
            self._broken("I2", f"{hport} is opened {why}", account.dialog)

    def recorded(self, record: CallRecord, message: bytes) -> None:
        """I6 and I7: a record is kept, to be sent as `message`."""
        key = (record.call, record.kind)
        self._records[key] = self._records.get(key, 0) + 1
        if record.kind != "interim" and self._records[key] > 1:
            self._broken("I6", f"a second {record.kind} record of a call")
        if record.call not in self.calls:
            self._broken("I6", "a record of no call")
        if record.kind == "start" and (record.call, "stop") in self._records:
            self._broken("I6", "a start after the stop")
        if SECRET.encode() in message:
            self._broken("I7", "an answer is in a record")

    def unrecorded(self, but: Iterable[bytes]) -> list[str]:
        """Return the ports of calls that have no stop record, those of `but` left out."""
        excused = set(but)
        return [
            hport
            for call, hport in self.calls.items()
            if (call, "stop") not in self._records and call not in excused
        ]

    def logged(self, text: str) -> None:
        """I7: something is logged."""
        if SECRET in text:
            self._broken("I7", "an answer is in the log")

    def killed(self, dialog: bytes, workers: int) -> None:
        """I8: a dialog has killed so many workers."""
        if workers > WORKERS_MAX:
            self._broken("I8", f"a dialog has killed {workers} workers", dialog)

    # Every second: what nobody touches.

    def agent(self, host: AgentHost) -> None:
        """I3: no dialog outlives its bound."""
        now = self._timeline.now
        if now < host.resumed_at + SLACK_S:
            return
        for hport in host.telephones:
            account = self._open.get(hport)
            if account is None:
                continue
            if now > account.end_at + AGENTS_BOUND_S + SLACK_S:
                self._broken("I3", f"{hport}: END is waited on for too long", account.dialog)
            if now > account.began_at + host.dialog_max_s + AGENTS_BOUND_S + SLACK_S:
                self._broken("I3", f"{hport}: a dialog is open for too long", account.dialog)

    def entries(self, host: BrokerHost) -> None:
        """I1 and I3: a broker's entries are in time, and a port has one with an agent."""
        now = self._timeline.now
        if now < host.resumed_at + SLACK_S:
            return
        ports: set[tuple[str, str]] = set()
        for entry in host.core.switchboard.entries.by_dialog.values():
            if entry.state != State.OWNED and now > entry.due + SLACK_S:
                self._broken("I3", f"{host.name}: {entry.state} beyond its time", entry.dialog)
            if entry.agent is not None:
                if entry.port in ports:
                    self._broken("I1", f"{entry.hport} has two entries", entry.dialog)
                ports.add(entry.port)
                if entry.agent.is_over:
                    self._broken("I1", "an entry's agent has no session", entry.dialog)

    def tasks(self, host: WorkerHost) -> None:
        """I3, I4 and I8: a worker's tasks are in time, and gone after their dialog."""
        now = self._timeline.now
        bound_s = AGENTS_BOUND_S + host.reattach_s + SLACK_S
        if now < host.resumed_at + bound_s:
            return
        for dialog in host.core._dialogs.values():  # noqa: SLF001 - the tables are what is watched
            account = self._accounts.get(dialog.dialog)
            if now > dialog.started_at + host.dialog_max_s + SLACK_S:
                self._broken("I3", f"{host.name}: a task is too old", dialog.dialog)
            if dialog.state is TaskState.OVER:
                self._broken("I3", f"{host.name}: keeps what is over", dialog.dialog)
            if account is not None and now > account.closed_at + bound_s:
                self._broken("I4", f"{host.name}: a task outlives its call", dialog.dialog)
        if len(host.core.attempts) > REMEMBERED_MAX:
            self._broken("I8", f"{host.name}: too many attempts are remembered")
        if host.core.open_dialogs != len(host.core._tasks):  # noqa: SLF001
            self._broken("I4", f"{host.name}: tasks without a dialog")
