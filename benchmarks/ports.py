"""Ports without modems: the agent's real link and dialog core under callers that answer at once."""

from __future__ import annotations

import asyncio
import itertools
import random
import secrets
import time
from collections.abc import Callable, Sequence
from functools import partial

import zmq
from uuid_utils import uuid7

from dialgate.codes import NO_ERROR, Raserror
from dialgate.histogram import ANSWER_BOUNDS_S, Histogram
from dialgate.link import Link
from dialgate.session import PeerSession, SessionEvent, SessionOpened, Transmit
from dialgate.wire.bodies import Facts, Hello
from dialgate.wire.body_codec import encode
from dialgate.wire.limits import PROTOCOL
from dialgate.wire.verbs import Role, Verb
from port_agents.counters import AgentCounters
from port_agents.dialog import PortDialog
from port_agents.dialog_actions import Action, Closed, Opening, Route
from port_agents.terminal import Ask

__all__ = ["Ports"]

ANSWERS = {1: b"operator", 2: b"correct horse"}


class Ports:
    """Any number of ports behind one session.

    Args:
        address: the broker's endpoint for agents.
        answering: whether callers type; if not, each stays at his first prompt.
        name: the agent's.
    """

    def __init__(self, address: str, *, answering: bool = True, name: str = "bench") -> None:
        self.finished = 0
        """Dialogs that ended in a hand-over."""
        self.failed = 0
        self.prompted = 0
        """Dialogs whose first prompt has come."""
        self.to_prompt_s: list[float] = []
        """Begin to first prompt."""
        self.ended_at: dict[str, float] = {}
        """When an abnormal END was sent, by dialog id in hexadecimal."""
        self.opened = asyncio.Event()
        self.prompts_wanted = 0
        self.all_prompted = asyncio.Event()
        """Set when `prompted` has come to `prompts_wanted`."""
        self.on_finished: Callable[[str], None] = lambda _hport: None
        self._answering = answering
        self._counters = AgentCounters(Histogram(ANSWER_BOUNDS_S), Histogram(ANSWER_BOUNDS_S))
        self._dialogs: dict[bytes, tuple[PortDialog, str, float]] = {}
        self._route: Route | None = None
        session = PeerSession(
            address,
            Role.AGENT,
            hello=partial(_hello, name, secrets.token_bytes(16)),
            next_session=partial(next, itertools.count(1)),
            jitter=random.random,
        )
        self._link = Link(session, zmq.Context.instance(), None, self._deliver)

    def start(self) -> None:
        """Open the session; `opened` is set once it is welcome."""
        self._link.start()

    def stop(self) -> None:
        """Say BYE."""
        self._link.stop(NO_ERROR)

    def begin(self, hport: str) -> None:
        """Let a caller come in on a port."""
        now = time.monotonic()
        facts = Facts(
            site="bench",
            agent="bench",
            device=hport,
            caller="5550123",
            send_size=4096,
            recv_size=1024,
        )
        opening = Opening(hport=hport, call=uuid7().bytes, facts=facts)
        dialog = PortDialog(uuid7().bytes, opening, self._counters)
        self._dialogs[dialog.dialog] = (dialog, hport, now)
        self._perform(dialog, dialog.begin(self._route, now))

    def hang_up(self) -> None:
        """Let the caller who has been there longest hang up."""
        key = next(iter(self._dialogs))
        dialog, hport, began = self._dialogs.pop(key)
        now = time.monotonic()
        self.ended_at[key.hex()] = now
        self._perform(dialog, dialog.end(Raserror.ERROR_REMOTE_DISCONNECTION.code, now))
        self._dialogs[key] = (dialog, hport, began)

    def _deliver(self, events: Sequence[SessionEvent], now: float) -> None:
        for event in events:
            if isinstance(event, SessionOpened):
                self._route = Route.welcomed(event.session, event.welcome)
                self.opened.set()
            elif isinstance(event, tuple) and self._route is not None:
                verb, key, attempt, body, _ = event
                known = self._dialogs.get(key) if key is not None else None
                if known is not None:
                    dialog = known[0]
                    actions = dialog.message(self._route.session, verb, attempt, body, now)
                    self._perform(dialog, actions)

    def _perform(self, dialog: PortDialog, actions: Sequence[Action]) -> None:
        for action in actions:
            if isinstance(action, Transmit):
                self._link.send(action.message)
            elif isinstance(action, Ask):
                self._asked(dialog, action.seq)
            elif isinstance(action, Closed):
                _, hport, _ = self._dialogs.pop(dialog.dialog)
                self.finished += action.handed_over
                self.failed += not action.handed_over
                self.on_finished(hport)

    def _asked(self, dialog: PortDialog, seq: int) -> None:
        if seq == 1:
            self.prompted += 1
            if self.prompted == self.prompts_wanted:
                self.all_prompted.set()
            self.to_prompt_s.append(time.monotonic() - self._dialogs[dialog.dialog][2])
        if self._answering:
            self._perform(dialog, dialog.answered(seq, NO_ERROR, ANSWERS[seq]))


def _hello(name: str, instance: bytes, session: int) -> bytes:
    hello = Hello(
        protocol=PROTOCOL,
        role="agent",
        name=name,
        instance=instance,
        session=session,
        version="bench",
        site="bench",
    )
    return encode(Verb.HELLO, hello)
