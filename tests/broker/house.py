"""A broker core with its peers played by hand: what tests of the broker have in common.

Messages go in and come out as text that reads like the protocol's own: `END_REPLY d(2) ras:619`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from broker.core import Broker
from broker.limits import BrokerLimits
from broker.sessions import Revoked, Right, Session
from dialgate.codes import NO_ERROR, Code
from dialgate.wire.bodies import (
    BODIES,
    Begin,
    Bye,
    Complete,
    Drain,
    End,
    EndReply,
    Hello,
    Ping,
    Ready,
    Receive,
    Received,
    Refused,
    Send,
)
from dialgate.wire.body_codec import decode_body, encode
from dialgate.wire.envelope import decode_frame, encode_message
from dialgate.wire.fields import Body
from dialgate.wire.verbs import Role, Verb

DISCONNECTED: Final = Code("ras", 619)
UNKNOWN_VERB: Final = 99


def id16(name: str) -> bytes:
    """Return 16 bytes that `name` can be read from."""
    return name.encode().ljust(16, b".")


def name_of(id_: bytes) -> str:
    """Return what `id16` was given."""
    return id_.decode().rstrip(".")


class Peer:
    """An agent or a worker: one connection after the other, each with its own routing id."""

    def __init__(
        self, house: House, role: Role, name: str, *, key: Right | None = None, **hello: Any
    ) -> None:
        self.house = house
        self.role = role
        self.name = name
        self.instance = id16(name)
        self.session = 0
        self.connection = b""
        self.right: Right | Revoked | None = key
        self.is_silent = False
        """Doesn't answer to PING."""
        self._fields: dict[str, Any] = {"version": "test", **hello}
        if role is Role.AGENT:
            self._fields.setdefault("site", "oslo")
        else:
            self._fields.setdefault("capacity", 100)

    def hello(self, **fields: Any) -> list[str]:
        """Say HELLO on a fresh connection; return what the broker says to it."""
        self.greet(**fields)
        return self.hears()

    def greet(self, **fields: Any) -> None:
        """Say HELLO on a fresh connection."""
        self.connect()
        self.greet_again(**fields)

    def connect(self) -> None:
        """Take a fresh connection; the broker is told nothing."""
        self.house.connections += 1
        self.connection = f"{self.name}/{self.house.connections}".encode()

    def greet_again(self, **fields: Any) -> None:
        """Say HELLO on this connection."""
        self.session += 1
        self.send_raw(self.hello_message(**fields))

    def hello_message(self, **fields: Any) -> bytes:
        """Return a HELLO of the current session number."""
        hello = {
            "protocol": 1,
            "role": self.role.value,
            "name": self.name,
            "instance": self.instance,
            "session": self.session,
        }
        return encode(Verb.HELLO, Hello(**(hello | self._fields | fields)))

    def say(self, verb: Verb, body: Body, dialog: str | None = None, attempt: int = 0) -> None:
        """Send one message."""
        self.send_raw(encode(verb, body, None if dialog is None else id16(dialog), attempt))

    def send_raw(self, frame: bytes) -> None:
        """Send one frame."""
        messages, fault = decode_frame(frame)
        house = self.house
        house.broker.receive(self.role, self.connection, messages, fault, self.right, house.now)

    def hears(self) -> list[str]:
        """Return and forget what the broker has sent since the last call."""
        return [tell(raw) for raw in self.outbox.pop(self.connection, [])]

    @property
    def outbox(self) -> dict[bytes, list[bytes]]:
        """What the broker has for peers of this role."""
        broker = self.house.broker
        return broker.outbox_agents if self.role is Role.AGENT else broker.outbox_workers

    def fails(self) -> None:
        """Let the broker find that a message to this peer can't be sent."""
        self.house.broker.send_failed(self.role, self.connection, self.house.now)

    # What each side says of a dialog.

    def begin(self, dialog: str, attempt: int = 1, hport: str = "p1", **fields: Any) -> None:
        owner = id16(fields.pop("owner")) if "owner" in fields else b""
        body = Begin(hport=hport, call=id16("call"), facts=b"\x80", owner=owner, **fields)
        self.say(Verb.BEGIN, body, dialog, attempt)

    def received(self, dialog: str, attempt: int = 1) -> None:
        self.say(Verb.RECEIVED, Received(seq=1, status=NO_ERROR, data=b"ann"), dialog, attempt)

    def end(self, dialog: str, attempt: int = 1, reason: Code = DISCONNECTED) -> None:
        self.say(Verb.END, End(reason=reason), dialog, attempt)

    def ready(self, credit: int) -> None:
        self.say(Verb.READY, Ready(credit=credit))

    def send(self, dialog: str, attempt: int = 1) -> None:
        self.say(Verb.SEND, Send(worker=self.instance, seq=1, data=b"hello"), dialog, attempt)

    def ask(self, dialog: str, attempt: int = 1) -> None:
        body = Receive(
            worker=self.instance,
            seq=1,
            prompt=b"login: ",
            mode="line",
            echo="on",
            limit=64,
            timeout_s=60,
            cookie=b"",
        )
        self.say(Verb.RECEIVE, body, dialog, attempt)

    def complete(self, dialog: str, attempt: int = 1) -> None:
        body = Complete(
            worker=self.instance, msg_id=1, error=NO_ERROR, username="ann", domain="", attributes={}
        )
        self.say(Verb.COMPLETE, body, dialog, attempt)

    def refuse(self, dialog: str, attempt: int = 1) -> None:
        self.say(Verb.REFUSED, Refused(code=Code("win", 1311)), dialog, attempt)

    def end_reply(self, dialog: str, attempt: int = 1, code: Code = DISCONNECTED) -> None:
        self.say(Verb.END_REPLY, EndReply(code=code), dialog, attempt)

    def bye(self) -> None:
        self.say(Verb.BYE, Bye(code=NO_ERROR))

    def drain(self) -> None:
        self.say(Verb.DRAIN, Drain(deadline_ms=1000))

    def ping(self) -> None:
        self.say(Verb.PING, Ping(sent_ms=7))


@dataclass(frozen=True)
class Key:
    """What a CURVE key may."""

    role: Role
    name: str
    site: str = "oslo"
    hports: tuple[str, ...] = ("p1",)
    key: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", self.key or f"key of {self.name}")

    def may_be_at(self, site: str) -> bool:
        return self.site == site

    def may_speak_for(self, hport: str) -> bool:
        return hport in self.hports


class House:
    """A broker, its clock, and who is connected to it."""

    def __init__(self, **limits: Any) -> None:
        self.now = 0.0
        self.connections = 0
        self.broker = Broker(BrokerLimits(**limits), name="b", instance=id16("b"))
        self.peers: list[Peer] = []

    def agent(self, name: str = "A", **hello: Any) -> Peer:
        """Return an agent that has been welcomed."""
        return self._welcomed(Peer(self, Role.AGENT, name, **hello))

    def worker(self, name: str = "W0", credit: int = 0, **hello: Any) -> Peer:
        """Return a worker that has been welcomed and has sent READY."""
        worker = self._welcomed(Peer(self, Role.WORKER, name, **hello))
        worker.ready(credit)
        return worker

    def peer(self, role: Role, name: str, **hello: Any) -> Peer:
        """Return a peer that has not said anything."""
        peer = Peer(self, role, name, **hello)
        self.peers.append(peer)
        return peer

    def wait(self, seconds: float) -> None:
        """Let time pass, while every peer that isn't silent answers to PING."""
        until = self.now + seconds
        while self.now < until:
            if any(self._pongs()):
                continue
            self.now = min(max(self.broker.deadline(), self.now + 0.001), until)
            self.broker.tick(self.now)

    def is_connected(self, peer: Peer) -> bool:
        """Return whether the peer's connection has a session."""
        return peer.connection in self.broker.registry.sessions[peer.role]

    def session_of(self, peer: Peer) -> Session:
        """Return the broker's record of the peer's session."""
        return self.broker.registry.sessions[peer.role][peer.connection]

    def drops(self) -> dict[str, int]:
        """Return what was dropped so far, by reason."""
        return {reason.value: n for reason, n in self.broker.counts.drops.items() if n}

    def state(self, dialog: str) -> str:
        """Return the state of a dialog's entry."""
        entry = self.broker.switchboard.entries.by_dialog.get(id16(dialog))
        if entry is None:
            return "none"
        alone = "" if entry.agent is not None else " alone"
        return f"{entry.state.upper()}({entry.attempt}){alone}"

    def _welcomed(self, peer: Peer) -> Peer:
        assert peer.hello() == ["WELCOME"]
        self.peers.append(peer)
        return peer

    def _pongs(self) -> Iterator[bool]:
        """Let each peer answer its PINGs, a millisecond later; yield whether there were any."""
        for peer in self.peers:
            waiting = peer.outbox.get(peer.connection, [])
            pings = [raw for raw in waiting if not peer.is_silent and tell(raw) == "PING"]
            for ping in pings:
                self.now += 0.001
                waiting.remove(ping)
                peer.send_raw(encode_message(Verb.PONG, None, 0, decode_frame(ping)[0][0][3]))
            yield bool(pings)


def tell(raw: bytes) -> str:
    """Return one message as text."""
    [(verb, dialog, attempt, body, _)], fault = decode_frame(raw)
    assert not fault
    words = [Verb(verb).name]
    if dialog is not None:
        words.append(f"{name_of(dialog)}({attempt})")
    said = decode_body(body, BODIES[Verb(verb)])
    for field in ("code", "reason"):
        code = getattr(said, field, None)
        if isinstance(code, Code):
            words.append("0" if code.ok else f"{code.namespace}:{code.number}")
    return " ".join(words)
