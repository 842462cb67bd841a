"""Which broker an agent uses: one at a time, in an order of its own, the site's own ones last.

Pure.  It knows links and sessions and nothing of ports; `port_agents.agent` moves the dialogs.

The order is rendezvous hashing of the agent's name: agents spread over the brokers, and each finds
the same order after a restart.  `home` is the session that BEGINs and LINES go by.  While there is
none, or its broker drains, the next broker is tried every few seconds, and the first that answers
is the new home; while it is one of the site's own, the cluster's are tried all the time.

Invariant: after `release`, the links that are open are the home's, those that are sought, and those
that a dialog needs; no session is named here that has ended.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Final

from dialgate.session import CloseLink, OpenLink
from dialgate.wire.bodies import Welcome
from port_agents.dialog_actions import Route

__all__ = ["NEXT_S", "Brokers", "LinkAction", "rendezvous"]

NEXT_S: Final = 3.5
"""How long a broker has to answer before the next is tried, too: WELCOME's 3 s and a little."""

LinkAction = OpenLink | CloseLink


def rendezvous(agent: str, link: str) -> bytes:
    """Return the weight of a broker for an agent; the greatest comes first."""
    return hashlib.blake2b(f"{agent}\0{link}".encode(), digest_size=8).digest()


@dataclass(frozen=True, slots=True)
class _Session:
    link: str
    route: Route


class Brokers:
    """The agent's links, and its choice among them.

    Args:
        agent: the agent's name.
        brokers: links of the cluster's brokers, in any order.
        local_brokers: links of brokers on the site's own machine.
        weight: of a broker for an agent.
    """

    def __init__(
        self,
        agent: str,
        brokers: Sequence[str],
        local_brokers: Sequence[str] = (),
        *,
        weight: Callable[[str, str], bytes] = rendezvous,
    ) -> None:
        def ordered(links: Sequence[str]) -> tuple[str, ...]:
            return tuple(sorted(links, key=lambda link: weight(agent, link), reverse=True))

        self.central: Final = ordered(brokers)
        self.order: Final = self.central + ordered(local_brokers)
        """All links, the preferred first."""
        self.home: Route | None = None
        self.links: set[str] = set()
        """Links that are open or being opened."""
        self._sessions: dict[int, _Session] = {}
        self._draining: set[str] = set()
        self._rehoming = False
        """Whether an operator wants us back at the first of the order."""
        self._next_at = math.inf

    @property
    def offers(self) -> tuple[str, ...]:
        """Links that dialogs may be offered to: the site's own only while one of them is home."""
        return self.order if self._is_local(self._home_link) else self.central

    def link_of(self, session: int) -> str | None:
        """Return the link of an open session."""
        return None if session not in self._sessions else self._sessions[session].link

    def route_to(self, link: str) -> Route | None:
        """Return the open session of `link`."""
        return next((x.route for x in self._sessions.values() if x.link == link), None)

    @property
    def is_home_local(self) -> bool:
        """Whether calls go by a broker on the site's own machine, as no other answers."""
        return self.home is not None and self.home.is_local

    # Inputs.  `home` may change in each of them.

    def start(self, now: float) -> list[LinkAction]:
        """Begin to look for a home."""
        return self._try_next(now)

    def opened(self, link: str, session: int, welcome: Welcome, now: float) -> list[LinkAction]:
        """Take note of a session."""
        route = Route.welcomed(session, welcome, is_local=self._is_local(link))
        self._sessions[session] = _Session(link, route)
        self._draining.discard(link)
        if not self._is_better(link):
            return []
        self.home = route
        self._next_at = math.inf
        self._rehoming = self._rehoming and link != self.order[0]
        # At a local broker the search for the others goes on.
        return self._try_next(now) if self._is_local(link) else []

    def closed(self, session: int, now: float) -> list[LinkAction]:
        """Take note that a session is over.  Its link goes on to try."""
        ended = self._sessions.pop(session, None)
        if ended is None:
            return []
        self._draining.discard(ended.link)
        if self.home is None or self.home.session != session:
            return []
        self._rehoming = False
        self.home = self._best_open()
        if self.home is not None:
            return []
        if all(self._is_local(link) for link in self.order if link not in self.links):
            # A restart of the cluster's broker is no reason yet to use the site's own.
            self._next_at = now + NEXT_S
            return []
        return self._try_next(now)

    def drain(self, session: int, now: float) -> list[LinkAction]:
        """Take note that the broker of `session` goes away."""
        link = self.link_of(session)
        if link is None:
            return []
        self._draining.add(link)
        if link != self._home_link:
            return []
        self._rehoming = False
        self.home = self._best_open() or self.home
        return self._try_next(now) if link == self._home_link else []

    def adopt(self, session: int) -> None:
        """Make an open session the home."""
        self.home = self._sessions[session].route

    def rehome(self) -> list[LinkAction]:
        """Go back to the first of the order as soon as it answers."""
        self._rehoming = True
        return [x for link in sorted(self._sought()) for x in self.open(link)]

    def open(self, link: str) -> list[LinkAction]:
        """Open `link`, if it isn't; a dialog is offered there."""
        if link in self.links:
            return []
        self.links.add(link)
        return [OpenLink(link)]

    def release(self, needed: Collection[str | None]) -> list[LinkAction]:
        """Close the links that are neither the home's, nor sought, nor needed."""
        kept = {self._home_link, *needed, *self._sought()}
        return [self._close(link) for link in sorted(self.links) if link not in kept]

    def close(self) -> list[LinkAction]:
        """Close all links, for good: the process ends."""
        self.home = None
        self._next_at = math.inf
        return [replace(self._close(link), stops=True) for link in sorted(self.links)]

    def tick(self, now: float) -> list[LinkAction]:
        """Try the next broker when the last one has had its time."""
        return self._try_next(now) if now >= self._next_at else []

    def deadline(self) -> float:
        """Return when `tick` is due; `math.inf` if it isn't."""
        return self._next_at

    # Decisions.

    @property
    def _home_link(self) -> str | None:
        return None if self.home is None else self._sessions[self.home.session].link

    def _is_local(self, link: str | None) -> bool:
        return link is not None and link not in self.central

    def _sought(self) -> frozenset[str]:
        """Return the links whose session would be a better home than the one there is."""
        home = self._home_link
        if home is None:
            return frozenset(self.order)
        if home in self._draining or self._is_local(home):
            return frozenset(self.central) - {home}
        if self._rehoming:
            return frozenset(self.order[: self.order.index(home)])
        return frozenset()

    def _is_better(self, link: str) -> bool:
        return link in self._sought()

    def _best_open(self) -> Route | None:
        for link in self.order:
            if link not in self._draining and (route := self.route_to(link)) is not None:
                return route
        return None

    def _try_next(self, now: float) -> list[LinkAction]:
        """Open the first sought link that is not open yet, and come back for the next."""
        sought = self._sought()
        candidates = [x for x in self.order if x in sought and x not in self.links]
        self._next_at = now + NEXT_S if len(candidates) > 1 else math.inf
        return self.open(candidates[0]) if candidates else []

    def _close(self, link: str) -> CloseLink:
        self.links.discard(link)
        self._draining.discard(link)
        self._sessions = {s: x for s, x in self._sessions.items() if x.link != link}
        return CloseLink(link)
