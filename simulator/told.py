"""What callers, desks and services tell of a world, and what is kept of it.

Invariant: what is told is held against what others have told before it counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial
from random import Random
from typing import Final

from auth_workers.dialog import Dialog
from dialgate import history
from dialgate.records import CallRecord
from dialgate.sealing import Sealer, cookie_context
from port_agents.call import Call
from port_agents.call_records import facts_of
from port_agents.line_actions import Record, StartService
from simulator.agent_host import AgentHost
from simulator.desk import TRIES
from simulator.hosts import Host
from simulator.plan import Broken, Plan
from simulator.records import DISK_S, Spool, Table
from simulator.telephone import Caller, Habit, Telephone
from simulator.timeline import Timeline
from simulator.trace import Trace
from simulator.watch import Watch

__all__ = ["Told"]

HABITS: Final = {
    Habit.HONEST: 50,
    Habit.FORGETFUL: 12,
    Habit.HASTY: 10,
    Habit.GUESSER: 10,
    Habit.LEAVER: 10,
    Habit.SILENT: 3,
    Habit.SCRIBBLER: 4,
    Habit.POISON: 1,
}
"""How many of a hundred callers are of which kind."""


class Told:
    """Everything in a world but its processes."""

    def __init__(self, plan: Plan, trace: Trace | None) -> None:
        self.plan: Final = plan
        self.timeline: Final = Timeline()
        self.random: Final = Random(plan.seed)  # noqa: S311 - the seed is the point
        self.watch: Final = Watch(self.timeline, self.broken)
        self.trace: Final = trace
        self.history: Final[list[history.Event]] = []
        self.failure: Broken | None = None
        self.outcomes: Final[Counter[str]] = Counter()
        """Calls by what became of them."""
        self.calls = 0
        self.last_habit: Habit | None = None
        """What all who call from now on are like; None: as they come."""
        self.state_is_down = False
        self.redialling: Final[set[str]] = set()
        """Ports whose callers dial again at once."""
        self.callers: Final[dict[str, Caller]] = {}
        """By number."""
        self.hosts: Final[dict[str, Host]] = {}
        """Processes that live, by name."""
        self.agent_names: Final = [f"a{number}" for number in range(1, plan.agents + 1)]
        self.spools: Final = {name: Spool() for name in self.agent_names}
        self.table: Final = Table()
        self.telephones: Final = {
            f"p{number:02}": Telephone(
                self, f"p{number:02}", self.agent_names[number % plan.agents]
            )
            for number in range(plan.ports)
        }
        self.sealer: Final = Sealer(b"k" * 32, self._next_nonce)
        self._nonce = 0
        self._record = 0
        self._accepted: dict[str, tuple[str, str]] = {}
        """By call: user, and the caller who gave the answer."""
        self._checked: set[str] = set()
        self._charged: Counter[bytes] = Counter()
        """By call: tries charged in the shared state."""
        self._services: dict[str, int] = {}
        """By port: number of the service that is on it."""
        self._last_service = 0
        self._excused: set[bytes] = set()
        """Calls of which no record can be asked."""

    def broken(self, rule: str, text: str, dialog: bytes | None = None) -> None:
        """Take note that a rule does not hold; the first one stops the world."""
        if self.failure is None:
            self.failure = Broken(self.timeline.now, rule, text, dialog)
            self.note(f"BROKEN {rule}: {text}", dialog)
            self.timeline.stop()

    def note(self, text: str, dialog: bytes | None = None) -> None:
        """Write a line of the trace."""
        if self.trace is not None:
            self.trace.note(self.timeline.now, text, dialog)

    # What callers tell.

    def next_caller(self, telephone: Telephone) -> Caller:
        """Return somebody who was never here before."""
        self.calls += 1
        [habit] = self.random.choices(list(HABITS), list(HABITS.values()))
        if habit is Habit.POISON and self.plan.mode == "liveness":
            habit = Habit.HONEST  # He would be a second fault.
        habit = self.last_habit or habit
        user = f"user{self.random.randrange(20)}"
        caller = Caller(str(5_550_000_000 + self.calls), user, habit, telephone)
        self.callers[caller.number] = caller
        return caller

    def dialled(self, caller: Caller) -> None:
        """Hear that a caller begins to call."""
        now, hport = self.timeline.now, caller.telephone.hport
        self.history.append(history.Dialled(at=now, caller=caller.number, hport=hport))
        self.note(f"{caller.number} ({caller.habit.name.lower()}) dials {hport}")

    def prompted(self, caller: Caller) -> None:
        """Hear that a caller was asked for the first time."""

    def typed(self, caller: Caller, answer: str, *, right: bool) -> None:
        """Hear that a caller answers."""
        event = history.Typed(
            at=self.timeline.now, caller=caller.number, user=caller.user, right=right
        )
        self.history.append(event)
        self.note(f"{caller.number} types answer {answer.rpartition('-')[2]}, right: {right}")

    def saw(self, caller: Caller, call: str) -> None:
        """Hear that a caller was greeted."""
        self.history.append(history.Saw(at=self.timeline.now, caller=caller.number, call=call))

    def hung_up(self, caller: Caller) -> None:
        """Hear that a call is over, and let the next one come."""
        self.history.append(history.HungUp(at=self.timeline.now, caller=caller.number))
        self.note(f"{caller.number}: the line is down")
        self.outcomes["served" if caller.is_online else "unserved"] += 1
        telephone = caller.telephone
        gone_s = self.timeline.now - caller.dialled_at
        at_once = telephone.hport in self.redialling
        gap_s = self.random.expovariate(self.plan.calls / 60)
        telephone.dial_in(0.0 if at_once else max(0.5, gap_s - gone_s))

    # What desks tell.

    def state_fault(self) -> str:
        """Return why the shared state can't be asked."""
        return "the simulated state is down" if self.state_is_down else ""

    def charged(self, dialog: Dialog) -> None:
        """Hear that a try of a call is charged in the shared state."""
        self._charged[dialog.call] += 1

    def checked(self, dialog: Dialog, number: str, answer: str) -> None:
        """I5: an answer is compared."""
        caller = self.callers[number]
        caller.checks += 1
        self.note(f"answer {caller.checks} of {number} is checked", dialog.id)
        if answer in self._checked:
            self.broken("I5", f"an answer of {number} is checked twice", dialog.id)
        self._checked.add(answer)
        if caller.checks > caller.guesses or caller.checks > TRIES:
            self.broken("I5", f"{caller.checks} answers of {number} are checked", dialog.id)
        if caller.checks > self._charged[dialog.call]:
            self.broken("I5", f"an answer of {number} is checked uncharged", dialog.id)
        if dialog.hport != caller.telephone.hport or dialog.facts.caller not in {"", number}:
            self.broken("I5", f"an answer of {number} is checked for another", dialog.id)
        call = dialog.call.hex()
        self.history.append(history.Charged(at=self.timeline.now, call=call, user=caller.user))
        host = self.hosts.get(caller.telephone.agent)
        line = host.core.lines[dialog.hport] if isinstance(host, AgentHost) else None
        if line is None or line.dialog is None or line.dialog.dialog != dialog.id:
            return
        cookie = line.dialog._exchange.cookie  # noqa: SLF001 - what killing the worker leaves
        context = cookie_context(dialog.id, dialog.hport, dialog.facts.agent)
        charged = (self.sealer.open(cookie, context) or {}).get("tries", 0)
        if charged < caller.checks:
            self.broken("I5", f"{caller.checks} checked, {charged} charged", dialog.id)

    def accepted(self, dialog: Dialog, user: str, number: str) -> None:
        """Hear that a worker lets somebody in."""
        call = dialog.call.hex()
        self._accepted[call] = (user, number)
        self.history.append(history.Accepted(at=self.timeline.now, call=call, user=user))

    def poisoned(self, dialog: Dialog, number: str) -> None:
        """Hear that an answer kills its worker."""
        caller = self.callers[number]
        caller.poisoned += 1
        self.watch.killed(dialog.id, caller.poisoned)

    # What stands behind the gate.

    def opened(self, agent: AgentHost, hport: str, start: StartService) -> None:
        """I2: take a caller."""
        admission = start.admission
        call = admission.call.hex()
        self.note(f"{hport} is opened for {admission.user}")
        self.watch.opened(agent, hport)
        user, number = self._accepted.get(call, ("", ""))
        caller = self.telephones[hport].caller
        if user != admission.user:
            self.broken("I2", f"{hport} is opened for {admission.user}, accepted was {user!r}")
        # An agent that stood still may open to a call that ended meanwhile: nobody is there, and
        # who rings by then has no carrier.
        if caller and caller.answered_at <= self.timeline.now and caller.number != number:
            self.broken("I2", f"{hport} is opened to {caller.number} by the answer of {number}")
        self.history.append(
            history.Opened(
                at=self.timeline.now,
                call=call,
                hport=hport,
                caller=admission.caller,
                user=admission.user,
                alone=hport not in self._services,
            )
        )
        self._last_service += 1
        service = self._services[hport] = self._last_service
        greeting = b"welcome %s.\r\n" % call.encode()
        self.timeline.after(0.05, agent.turn, self._greet, agent, hport, service, greeting)
        if self.random.random() < 0.2:  # noqa: PLR2004
            stay_s = self.random.uniform(1, 20)
            self.timeline.after(stay_s, self._end_service, agent, hport, service)

    def _greet(self, agent: AgentHost, hport: str, service: int, greeting: bytes) -> None:
        if self._services.get(hport) == service:
            agent.service_said(hport, greeting)

    def _end_service(self, agent: AgentHost, hport: str, service: int) -> None:
        if self._services.get(hport) == service and agent.is_alive:
            del self._services[hport]
            agent.turn(agent.service_ended, hport)

    def written(self, agent: AgentHost, hport: str, data: bytes) -> None:
        """Take what a caller sends: nothing that he typed for the gate."""

    def stop(self, agent: AgentHost, hport: str) -> None:
        """Let a caller go."""
        service = self._services.get(hport, 0)
        self.timeline.after(0.02, self._end_service, agent, hport, service)

    # Records.

    def began(self, agent: AgentHost, hport: str, call: Call) -> None:
        """Note that a call is under way; on a full disk nobody can."""
        spool = self.spools[agent.name]
        if not spool.is_full:
            port = agent.site, agent.name, hport
            spool.under_way[call.id] = partial(facts_of, call, port, clock_offset_s=0.0)

    def keep(self, agent: AgentHost, hport: str, record: Record) -> None:
        """Keep a record."""
        made = CallRecord(
            record=self.next_record(),
            call=record.call.id,
            kind=record.kind,
            made_at=self.timeline.now,
            facts=facts_of(record.call, (agent.site, agent.name, hport), clock_offset_s=0.0),
        )
        self.watch.calls.setdefault(made.call, hport)
        spool = self.spools[agent.name]
        if spool.is_full:
            spool.unkept.append(made)
        else:
            self.write(agent.name, made)

    def make_room(self, agent: str) -> None:
        """Let an agent's disk have room again."""
        spool = self.spools[agent]
        spool.is_full = False
        unkept, spool.unkept = spool.unkept, []
        for record in unkept:
            self.write(agent, record)

    def write(self, agent: str, record: CallRecord) -> None:
        """Write a record to a disk that has room, and let its agent know."""
        self.watch.recorded(record, self.spools[agent].keep(record))
        host = self.hosts.get(agent)
        if isinstance(host, AgentHost):
            self.timeline.after(DISK_S, host.turn, host.records_kept)

    def load(self, agent: AgentHost, after: int, limit: int) -> None:
        """Read records of an agent's disk."""
        found = self.spools[agent.name].load(after, limit)
        self.timeline.after(DISK_S, agent.turn, agent.records_loaded, found)

    def stored(self, agent: AgentHost, records: Sequence[bytes]) -> None:
        """I6: an agent notes that records are stored; so they are."""
        if any(record not in self.table.rows for record in records):
            self.broken("I6", f"{agent.name} takes a record for stored that is not")
        self.spools[agent.name].mark_stored(records)

    def unstored(self) -> list[str]:
        """I6: return in whose spool a record is that is not in the table, or the reverse."""
        kept = {x.record: name for name, spool in self.spools.items() for x in spool.kept}
        return [f"{name}: not in the table" for x, name in kept.items() if x not in self.table.rows]

    def unrecorded(self) -> list[str]:
        """Return the ports of calls that left no stop record and should have."""
        return self.watch.unrecorded(self._excused)

    def whole_history(self) -> list[history.Event]:
        """Return what everybody saw, and what was stored of it."""
        rows = self.table.rows.values()
        stored = [
            history.Stored(
                at=record.facts.rang_at,
                record=record.record.hex(),
                call=record.call.hex(),
                kind=record.kind,
                hport=record.facts.hport,
                caller=record.facts.caller or self._rang(record.facts.hport, record.facts.rang_at),
            )
            for record in rows
        ]
        # Calls that nobody can ask a record of are left out, unless something was stored.
        kept = {each.call for each in stored}
        unasked = {call.hex() for call in self._excused} - kept
        return [*(x for x in self.history if getattr(x, "call", "") not in unasked), *stored]

    def _rang(self, hport: str, at: float) -> str:
        """Return whom the exchange has put through last; an agent may hear late of it."""
        callers = (x for x in self.callers.values() if x.telephone.hport == hport)
        return max((x for x in callers if x.dialled_at <= at), key=lambda x: x.dialled_at).number

    def next_record(self) -> bytes:
        """Return a record's id."""
        self._record += 1
        return self._record.to_bytes(16, "big")

    def _next_nonce(self) -> bytes:
        self._nonce += 1
        return self._nonce.to_bytes(24, "big")

    def agent_dies(self, host: AgentHost) -> None:
        """Take note of what an agent that is killed takes with it."""
        spool = self.spools[host.name]
        noted = set(spool.unfinished())
        lost = {record.call for record in spool.unkept}
        spool.unkept.clear()
        for hport, line in host.core.lines.items():
            # Its disk was full when it rang.
            if line.call is not None and line.call.id not in noted:
                self._excused.add(line.call.id)
            if self._services.pop(hport, 0):
                self.note(f"{hport}: its service ends with its agent")
        self._excused |= lost
        self.watch.agent_killed(host)
