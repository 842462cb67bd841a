"""A peer's links with all of its brokers, made from the configuration.

A shell, the same for agents and workers: it names the peer in HELLO, finds the keys of each broker,
numbers the sessions over all links, leads what they tell to the core, and lets the operator know of
sessions and of what brokers refuse.  It decides nothing; which links are open is the core's choice.

Invariant: session numbers rise over all links of the process, and its instance is its own.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from importlib.metadata import version
from itertools import count
from typing import Any, Final, Literal, NoReturn, Protocol, TypeVar

import msgspec
import structlog
import zmq

from dialgate.codes import NO_ERROR, Code, describe
from dialgate.errors import BodyError
from dialgate.keys import load_directory, load_secret
from dialgate.link import Link
from dialgate.session import (
    CloseLink,
    CloseSession,
    OpenLink,
    PeerSession,
    SessionClosed,
    SessionEvent,
    SessionOpened,
    Transmit,
)
from dialgate.settings import parse_endpoint
from dialgate.sockets import ClientKeys, require_libzmq
from dialgate.wire.bodies import Error, Hello, Welcome
from dialgate.wire.body_codec import decode_body, encode
from dialgate.wire.limits import ID_BYTES, PROTOCOL
from dialgate.wire.verbs import Role, Verb

__all__ = ["Core", "Links", "link_name"]

REFUSAL_LOOK_S: Final = 1.0
"""How often links are asked why they are not welcome."""

_ERROR: Final = int(Verb.ERROR)

log = structlog.get_logger()

A_co = TypeVar("A_co", covariant=True)
A = TypeVar("A")


class Core(Protocol[A_co]):
    """What a core of dialogs is told of its sessions; it returns the actions to perform."""

    def session_opened(
        self, link: str, session: int, welcome: Welcome, now: float, /
    ) -> Sequence[A_co]:
        """Take note that the broker behind `link` has welcomed us."""
        ...

    def session_closed(self, session: int, code: Code, now: float, /) -> Sequence[A_co]:
        """Take note that a session is over, without our doing."""
        ...

    def message(
        self,
        session: int,
        verb: int,
        dialog: bytes | None,
        attempt: int,
        body: bytes,
        now: float,
        /,
    ) -> Sequence[A_co]:
        """Take a message; only verbs that a broker may send to this role."""
        ...


def link_name(endpoint: str) -> str:
    """Return the name of the link with a configured endpoint: its address without `#BROKER`."""
    return parse_endpoint(endpoint).address


class Links:
    """The links of this process, by name.

    Args:
        role: "agent" or "worker".
        name: the configured name, which the key file has, too.
        keys: directory of the key files, or None where the configuration says `insecure`.
        particulars: what HELLO says of this role: site, or capacity and pools.
    """

    def __init__(
        self, role: Literal["agent", "worker"], name: str, keys: str | None, **particulars: Any
    ) -> None:
        require_libzmq()
        self.instance: Final = os.urandom(ID_BYTES)
        """This process, as brokers and other peers tell it from the next of the same name."""
        self.links: Final[dict[str, Link]] = {}
        self._role = Role(role)
        self._keys = keys
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._numbers = count(1)
        self._started_at = time.monotonic()
        self._by_session: dict[int, Link] = {}
        self._hello = Hello(
            protocol=PROTOCOL,
            role=role,
            name=name,
            instance=self.instance,
            session=1,
            version=version("dialgate"),
            **particulars,
        )

    def connect(
        self, endpoints: Iterable[str], core: Core[A], perform: Callable[[Sequence[A]], None]
    ) -> None:
        """Make a link with each endpoint, none started; `perform` gets what `core` wants.

        Raises:
            KeyFileError: a key that CURVE needs is missing.
        """
        for endpoint in endpoints:
            name = link_name(endpoint)
            session = PeerSession(
                name,
                self._role,
                hello=self._greeting,
                next_session=self._numbers.__next__,
                jitter=random.random,
            )
            deliver = partial(self._deliver, name, core, perform)
            self.links[name] = Link(session, self._context, self._client_keys(endpoint), deliver)

    def do(self, action: Transmit | OpenLink | CloseLink | CloseSession) -> None:
        """Perform an action of a core; a message to a session that is over is dropped."""
        match action:
            case Transmit(session, message):
                self.transmit(session, message)
            case OpenLink(name):
                self.links[name].start()
            case CloseLink(name, stops):
                self._by_session.pop(self.links[name].session.session, None)
                self.links[name].stop(NO_ERROR, stops=stops)
            case CloseSession(session, code):
                if (link := self._by_session.pop(session, None)) is not None:
                    link.close_session(code)

    def transmit(self, session: int, message: bytes) -> None:
        """Send an encoded message; without effect if the session is over."""
        if (link := self._by_session.get(session)) is not None:
            link.send(message)

    async def tell_refusals(self) -> NoReturn:
        """Log, once each, why brokers don't welcome this peer, until cancelled."""
        told: dict[str, str] = {}
        while True:
            for name, link in self.links.items():
                refusal = link.session.refusal
                if refusal and told.get(name) != refusal:
                    log.warning("no session", link=name, reason=refusal)
                told[name] = refusal
            await asyncio.sleep(REFUSAL_LOOK_S)

    def close(self) -> None:
        """Close every link, saying BYE, and let go of the sockets."""
        for name in self.links:
            self.do(CloseLink(name))
        self._context.term()

    def _deliver(
        self,
        name: str,
        core: Core[A],
        perform: Callable[[Sequence[A]], None],
        events: Sequence[SessionEvent],
        now: float,
    ) -> None:
        link = self.links[name]
        for event in events:
            if isinstance(event, SessionOpened):
                log.info("session opened", link=name, broker=event.welcome.name)
                self._by_session[event.session] = link
                perform(core.session_opened(name, event.session, event.welcome, now))
            elif isinstance(event, SessionClosed):
                if self._by_session.pop(event.session, None) is not None:
                    log.warning("session over", link=name, code=describe(event.code))
                    perform(core.session_closed(event.session, event.code, now))
            else:
                verb, dialog, attempt, body, _ = event
                session = link.session.session
                if verb == _ERROR:
                    _log_error(name, body)
                # What came before it, in the same frames, may have closed the session.
                elif session in self._by_session:
                    perform(core.message(session, verb, dialog, attempt, body, now))

    def _client_keys(self, endpoint: str) -> ClientKeys | None:
        parsed = parse_endpoint(endpoint)
        if self._keys is None or not parsed.needs_curve(insecure=False):
            return None
        own = load_secret(self._keys, self._role.value, self._hello.name)
        server = load_directory(self._keys).broker_key(parsed.broker)
        return ClientKeys(own.public, own.secret, server)

    def _greeting(self, session: int) -> bytes:
        hello = msgspec.structs.replace(self._hello, session=session)
        if self._role is Role.AGENT:
            up_ms = int((time.monotonic() - self._started_at) * 1000)
            hello = msgspec.structs.replace(hello, up_ms=up_ms)
        return encode(Verb.HELLO, hello)


def _log_error(link: str, body: bytes) -> None:
    try:
        error = decode_body(body, Error)
    except BodyError:
        return
    log.warning("refused by broker", link=link, code=describe(error.code), text=error.text)
