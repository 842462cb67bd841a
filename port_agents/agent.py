"""One port agent: its lines, the brokers it speaks to, and which message is for whom.

Pure: sessions, messages, what devices and services did, and `now` in; actions out, in order.  Each
line judges its own dialog (`port_agents.dialog`), `port_agents.brokers` chooses the session; this
module leads one to the other (protocol §5, "Agent", and §4, verbs 9 to 11).

Invariants: a message reaches the one line whose open dialog it names, and no other; SEND, RECEIVE
and COMPLETE of a dialog that isn't open here are answered END 619; no input costs more with more
lines, but those that concern all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from dialgate.codes import Code, Raserror, Winerror
from dialgate.errors import BodyError
from dialgate.session import Transmit
from dialgate.wire.bodies import Command, End, Welcome
from dialgate.wire.body_codec import decode_body, encode
from dialgate.wire.verbs import Verb
from port_agents.agent_actions import Action, Finished, OnPort
from port_agents.agent_ports import PortInputs
from port_agents.brokers import NEXT_S, Brokers, LinkAction
from port_agents.call import Disconnect
from port_agents.counters import Again, AgentCounters, Drop
from port_agents.dialog_actions import Unserved
from port_agents.line import Line
from port_agents.line_actions import Action as LineAction
from port_agents.line_actions import LineChanged, LineSettings
from port_agents.orders import Orders
from port_agents.record_sender import RecordSender
from port_agents.reports import Reports
from port_agents.timers import Timers

__all__ = ["Agent"]

_ANSWERED: Final = frozenset({Verb.SEND, Verb.RECEIVE, Verb.COMPLETE})
"""What only a worker sends that takes the dialog for open."""
_STOPPED: Final = Winerror.ERROR_SHUTDOWN_IN_PROGRESS.code


class Agent(PortInputs):
    """An agent.  Each input returns the actions to perform, in order.

    Args:
        brokers: its choice of brokers, not started.
        lines: its ports.
        counters: where it and its lines count.
        new_id: gives 16 bytes that were never given before.
        order_timeout_s: how long a port may take over an operator's order.
    """

    def __init__(
        self,
        brokers: Brokers,
        lines: Sequence[LineSettings],
        counters: AgentCounters,
        new_id: Callable[[], bytes],
        *,
        order_timeout_s: float = 15.0,
    ) -> None:
        self.brokers: Final = brokers
        self.counters: Final = counters
        self.lines = {settings.hport: Line(settings, counters, new_id) for settings in lines}
        self._actions: list[Action] = []
        self._dialogs: dict[bytes, Line] = {}
        """Lines by their open dialogs."""
        self._open: dict[Line, bytes] = {}
        """The reverse."""
        self._offered: dict[bytes, set[str]] = {}
        """Links that refused a dialog, or were tried for it."""
        self._offers: dict[str, tuple[float, list[bytes]]] = {}
        """By link that is being opened: until when, and the dialogs that wait for it."""
        self._timers: Timers[Line] = Timers()
        self._busy: set[Line] = set()
        """Lines that a drained agent waits for."""
        self._orders = Orders(self.lines, self._perform, self._emit, order_timeout_s)
        self._reports = Reports()
        self.records: Final = RecordSender()
        self.is_draining = False
        """Whether no calls are answered any more, until the end."""
        self._finished = False

    # Life.

    def start(self, now: float) -> list[Action]:
        """Begin to look for a broker."""
        return self._done(now, self.brokers.start(now))

    def drain(self, now: float) -> list[Action]:
        """Answer no calls any more; `Finished` follows when those that are there have ended."""
        self.is_draining = True
        for line in self.lines.values():
            self._perform(line, line.close_to_calls("draining", now), now)
        return self._done(now)

    def hold(self, reason: str, now: float) -> list[Action]:
        """Answer no calls for the time being; empty reason: answer them again."""
        for line in self.lines.values():
            self._perform(line, line.hold(reason, now), now)
        return self._done(now)

    def stop(self, now: float) -> list[Action]:
        """End every call now; `Finished` follows when each END is answered, or its lease over."""
        self.is_draining = True
        for line in self.lines.values():
            self._perform(line, line.close_to_calls("stopping", now), now)
            self._perform(line, line.cut(Disconnect.AGENT_STOPPED, _STOPPED, now), now)
        return self._done(now)

    # Sessions.

    def session_opened(self, link: str, session: int, welcome: Welcome, now: float) -> list[Action]:
        """Take note that a broker has welcomed us."""
        before = self.brokers.home
        wanted = self.brokers.opened(link, session, welcome, now)
        _, offered = self._offers.pop(link, (now, []))
        if self.brokers.home != before:
            self._settle_in(now)
        route = self.brokers.route_to(link)
        for line in self._lines_of(offered):
            if route is not None and line.dialog is not None and line.dialog.session is None:
                self._perform(line, line.move(route, Again.OFFERED, now), now)
        return self._done(now, wanted)

    def session_closed(self, session: int, _code: Code, now: float) -> list[Action]:
        """Take note that a session has ended without our doing."""
        before = self.brokers.home
        wanted = self.brokers.closed(session, now)
        self._orders.session_over(session)
        for line in self.lines.values():
            self._perform(line, line.session_over(session, now), now)
        if self.brokers.home != before and self.brokers.home is not None:
            self._settle_in(now)
        return self._done(now, wanted)

    def message(
        self,
        session: int,
        verb: int,
        dialog: bytes | None,
        attempt: int,
        body: bytes,
        now: float,
    ) -> list[Action]:
        """Take a message of a broker; only verbs that a broker may send to an agent."""
        if dialog is not None:
            self._on_dialog(session, verb, dialog, attempt, body, now)
        elif verb == Verb.RECORDED:
            self._emit(*self.records.recorded(body))
        elif verb == Verb.COMMAND:
            return self._done(now, self._on_command(session, body, now))
        elif verb == Verb.DRAIN:
            return self._done(now, self._on_drain(session, now))
        return self._done(now)

    # Ports; the rest is inherited.

    def closed(self, hport: str, reason: str, now: float) -> list[Action]:
        """Take note that a port's device is gone, or did not open: orders to it have failed."""
        actions = super().closed(hport, reason, now)
        self._orders.device_gone(self.lines[hport])
        return actions + self._done(now)

    def closure_kept(self, hport: str, code: Code, now: float) -> list[Action]:
        """Take note that a closure is on the disk, or with an error code that it is not."""
        self._orders.kept(self.lines[hport], code)
        return self._done(now)

    # Time.

    def tick(self, now: float) -> list[Action]:
        """Do what time has made due."""
        for line in self._timers.take_due(now):
            self._perform(line, line.tick(now), now)
        self._orders.tick(now)
        self._emit(*self.records.tick(now))
        for link, (until, dialogs) in list(self._offers.items()):
            if now >= until:
                del self._offers[link]
                for line in self._lines_of(dialogs):
                    self._offer(line, now)
        return self._done(now, self.brokers.tick(now))

    def deadline(self) -> float:
        """Return when `tick` is due; `math.inf` if it isn't."""
        due = min(self._timers.next(), self.brokers.deadline(), self.records.deadline())
        for until, _ in self._offers.values():
            due = min(due, until)
        return min(due, self._orders.deadline()) if self._orders.are_open else due

    # Messages.

    def _on_dialog(
        self, session: int, verb: int, dialog: bytes, attempt: int, body: bytes, now: float
    ) -> None:
        line = self._dialogs.get(dialog)
        if line is None:
            self.counters.drops[Drop.NO_DIALOG] += 1
            if verb in _ANSWERED:
                end = End(reason=Raserror.ERROR_PORT_DISCONNECTED.code)
                self._actions.append(Transmit(session, encode(Verb.END, end, dialog, attempt)))
            return
        self._perform(line, line.message(session, verb, attempt, body, now), now)
        home = self.brokers.home
        is_ours = line.dialog is not None and line.dialog.session == session
        if verb in _ANSWERED and is_ours and (home is None or home.session != session):
            self._follow(session, now)

    def _on_command(self, session: int, body: bytes, now: float) -> Iterable[LinkAction]:
        try:
            command = decode_body(body, Command)
        except BodyError:
            self.counters.drops[Drop.BAD_BODY] += 1
            return ()
        if command.act == "rehome":
            self._orders.answer(session, command)
            return self.brokers.rehome()
        self._orders.order(session, command, now)
        return ()

    def _on_drain(self, session: int, now: float) -> Iterable[LinkAction]:
        before = self.brokers.home
        wanted = self.brokers.drain(session, now)
        if self.brokers.home != before:
            self._settle_in(now)
        return wanted

    # Brokers.

    def _settle_in(self, now: float) -> None:
        """Take the new home into use: all ports are told there, and dialogs begun there."""
        home = self.brokers.home
        assert home is not None, "there is a home to settle in"
        for line in self.lines.values():
            self._reports.changed(line)
            self._perform(line, line.route(home, now), now)
            if line.dialog is not None and line.dialog.session not in {None, home.session}:
                self._perform(line, line.move(home, Again.MOVED, now), now)

    def _follow(self, session: int, now: float) -> None:
        """Move to a broker that has workers where the home has none."""
        self.brokers.adopt(session)
        self._settle_in(now)

    def _offer(self, line: Line, now: float, refused_by: int | None = None) -> None:
        """Offer the dialog of `line` to the next broker that it was not offered to."""
        dialog = line.dialog
        if dialog is None:
            return
        tried = self._offered.setdefault(dialog.dialog, set())
        if refused_by is not None and (link := self.brokers.link_of(refused_by)) is not None:
            tried.add(link)
        for link in self.brokers.offers:
            if link in tried:
                continue
            tried.add(link)
            if (route := self.brokers.route_to(link)) is not None:
                self._perform(line, line.move(route, Again.OFFERED, now), now)
            else:
                until, dialogs = self._offers.get(link, (now + NEXT_S, []))
                self._offers[link] = until, [*dialogs, dialog.dialog]
                self._emit(*self.brokers.open(link))
            return
        self._perform(line, line.give_up(now), now)

    def _lines_of(self, dialogs: Iterable[bytes]) -> list[Line]:
        """Return the lines of those of `dialogs` that are still open."""
        return [self._dialogs[x] for x in dialogs if x in self._dialogs]

    # After every input.

    def _perform(self, line: Line, actions: Iterable[LineAction], now: float) -> None:
        """Pass on what `line` wants, and keep in step with it."""
        unserved: Unserved | None = None
        for action in actions:
            match action:
                case Transmit():
                    self._actions.append(action)
                case Unserved():
                    unserved = action
                case LineChanged():
                    self._actions.append(OnPort(line.settings.hport, action))
                    self._reports.changed(line)
                case _:
                    self._actions.append(OnPort(line.settings.hport, action))
        self._track(line)
        self._timers.set(line, line.deadline())
        self._orders.line_settled(line)
        if unserved is not None:
            self._offer(line, now, unserved.session)

    def _track(self, line: Line) -> None:
        if line.is_clear:
            self._busy.discard(line)
        else:
            self._busy.add(line)
        known = self._open.get(line)
        dialog = None if line.dialog is None else line.dialog.dialog
        if known == dialog:
            return
        if known is not None:
            del self._dialogs[known], self._open[line]
            self._offered.pop(known, None)
        if dialog is not None:
            self._dialogs[dialog] = line
            self._open[line] = dialog

    def _emit(self, *actions: Action) -> None:
        self._actions += actions

    def _done(self, now: float, wanted: Iterable[Action] = ()) -> list[Action]:
        """Return what this input leads to, behind it what became of sessions that nothing needs."""
        self._actions += wanted
        if len(self.brokers.links) > 1:
            dialogs = [line.dialog for line in self._open if line.dialog is not None]
            sessions = [y for x in dialogs for y in (x.session, x.next_session)]
            links = [self.brokers.link_of(x) for x in sessions if x is not None]
            self._emit(*self.brokers.release([*links, *self._offers]))
        home = self.brokers.home
        if self.is_draining and not self._busy and not self._finished:
            self._finished = True
            for line in self.lines.values():
                self._perform(line, line.cut(Disconnect.AGENT_STOPPED, _STOPPED, now), now)
            self._emit(*self.brokers.close(), Finished())
        if home is not None and self._reports.due:
            # Before all else: whose order is answered may look at once what has become of the port.
            told = [Transmit(home.session, each) for each in self._reports.take(home.session, now)]
            self._actions[:0] = told
        home = self.brokers.home
        # What a site's own broker stores is not in the cluster's state: the records wait for it.
        session = None if home is None or home.is_local else home.session
        self._actions += self.records.use(session)
        actions, self._actions = self._actions, []
        return actions
