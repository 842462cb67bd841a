"""What each verb says: one frozen struct a body, with its types, ranges and defaults.

`docs/protocol.md` §4 specifies them and a test holds the two together.  Bodies are MessagePack maps
with string keys; senders write every field, unknown keys are ignored, a field without a default
must be there.  What a struct can't hold, such as ERROR with code 0, is refused here all the same.
Not here: sealed bodies (first byte 0xC1, protocol §7), which come later and are refused until then.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from dialgate.codes import NO_ERROR
from dialgate.wire.fields import (
    Body,
    Bytes,
    CodedBody,
    Hport,
    Id,
    Milliseconds,
    Name,
    Seconds,
    Seq,
    Text,
    WireCode,
)
from dialgate.wire.limits import (
    ATTEMPT_MAX,
    COOKIE_BYTES_MAX,
    DOMAIN_BYTES_MAX,
    HPORT_CHARS_MAX,
    ID_BYTES,
    PROTOCOL,
    USERNAME_BYTES_MAX,
)
from dialgate.wire.verbs import Verb

SUCCESS: Final = 1
"""SECURITYMSG_SUCCESS: the caller is who he says."""
FAILURE: Final = 2
"""SECURITYMSG_FAILURE: the user was refused."""
ERROR: Final = 3
"""SECURITYMSG_ERROR: no decision could be made.  Never counts against the user."""


class Hello(Body, frozen=True, kw_only=True):
    """A peer opens a session."""

    has_optional_fields = True
    protocol: int
    """DSP version; this is 1."""
    role: Literal["agent", "worker"]
    name: Name
    """The configured name; one process at a time may use it."""
    instance: Id
    """Random per process start."""
    session: Annotated[int, Meta(ge=1, le=2**63 - 1)]
    """Rises with each HELLO of the process."""
    version: Text
    """The program's version, for people."""
    site: Name | UnsetType = UNSET
    """Agents only: the site the ports are at."""
    capacity: Annotated[int, Meta(ge=0, le=10**6)] | UnsetType = UNSET
    """Workers only: dialogs it will hold at a time, over all brokers."""
    pools: Annotated[tuple[Name, ...], Meta(max_length=64)] = ("default",)
    """Workers only: pools it serves."""
    up_ms: Milliseconds | UnsetType = UNSET
    """Agents only: how long ago the process started."""

    def __post_init__(self) -> None:
        """Refuse a HELLO without what its role must say."""
        needed = {"agent": "site", "worker": "capacity"}[self.role]
        if self.protocol == PROTOCOL and getattr(self, needed) is UNSET:
            msg = f"the HELLO of this role needs the field `{needed}`"
            raise ValueError(msg)


class Welcome(Body, frozen=True, kw_only=True):
    """The broker accepts a session and states its numbers."""

    protocol: int
    """DSP version; this is 1."""
    name: Name
    """The broker's."""
    instance: Id
    """The broker's."""
    heartbeat_ms: Annotated[int, Meta(ge=1, le=3_600_000)] = 1000
    """After so long without sending, a side sends PING; three of them in silence are a loss."""
    end_lease_ms: Annotated[int, Meta(ge=1, le=3_600_000)] = 10_000
    """How long after END a dialog may still be held."""
    queue_timeout_ms: Annotated[int, Meta(ge=1, le=3_600_000)] = 10_000
    """How long a BEGIN waits for a worker."""
    frame_bytes_max: Annotated[int, Meta(ge=1)]
    """Largest frame the broker takes."""
    body_bytes_max: Annotated[int, Meta(ge=1)]
    """Largest body the broker takes."""


class Ready(Body, frozen=True, kw_only=True):
    """A worker's credit."""

    credit: Annotated[int, Meta(ge=0, le=2**63 - 1)]
    """BEGINs that this broker may have sent in this session: a running total, never falling."""


class Ping(Body, frozen=True, kw_only=True):
    """A sign of life that asks for one.  PONG has the same body."""

    sent_ms: int
    """Any integer; echoed unchanged, meaningless to the other side."""


class Drain(Body, frozen=True, kw_only=True):
    """The sender goes away, or (to a worker) an operator's order."""

    deadline_ms: Milliseconds
    """How long until the sender, or the worker, is gone."""


class Bye(CodedBody, frozen=True, kw_only=True):
    """The session is over."""

    code_fields = ("code",)
    has_optional_fields = True
    code: WireCode
    """Why; 0 = an orderly end."""
    stops: bool | UnsetType = UNSET
    """Agents only: the process ends with this session."""


class Error(CodedBody, frozen=True, kw_only=True):
    """What the broker refused and why."""

    code_fields = ("code",)
    code: WireCode
    """What kind of refusal."""
    text: Text
    """What was refused and why, for a person."""


class LineState(Struct, frozen=True, kw_only=True):
    """One port as its agent sees it, for observers."""

    hport: Hport
    """The port."""
    state: Literal[
        "idle",
        "ringing",
        "answering",
        "authenticating",
        "online",
        "hanging-up",
        "disabled",
        "faulted",
        "quarantined",
        "unknown",
    ]
    """Where it stands."""
    reason: Text
    """Why it is there, when that is not plain."""
    since_ms: Milliseconds
    """How long it has been in this state."""
    detail: dict[str, Any] | UnsetType = UNSET
    """What an agent tells people beyond that, under names of its own; section 10 says which."""


class Lines(Body, frozen=True, kw_only=True):
    """The agent's ports: after WELCOME all of them, then changes."""

    has_maps = True
    lines: Annotated[tuple[LineState, ...], Meta(max_length=512)]
    """Ports, each at most once."""
    complete: bool
    """With the last message of the whole list, and with every change after it."""


class Command(Body, frozen=True, kw_only=True):
    """An operator's order to an agent."""

    id: Id
    """Names the command; its COMMANDED repeats it."""
    hport: Annotated[str, Meta(max_length=HPORT_CHARS_MAX)]
    """"" is the whole agent."""
    act: Literal["hangup", "reset", "probe", "disable", "enable", "drain", "rehome"]
    """drain: let calls end, answer none; rehome: back to the first reachable broker."""
    mode: Literal["", "busy", "ring"]
    """For disable: what callers hear meanwhile."""
    operator: Text
    """Who orders it."""
    reason: Text
    """Why, for the record."""


class Commanded(CodedBody, frozen=True, kw_only=True):
    """What became of a COMMAND."""

    code_fields = ("code",)
    id: Id
    """The command's."""
    code: WireCode
    """0 = done, on the port itself."""


class Recorded(Body, frozen=True, kw_only=True):
    """Records that the broker has stored durably."""

    records: Annotated[tuple[Id, ...], Meta(max_length=512)]
    """Their ids."""


class Begin(Body, frozen=True, kw_only=True):
    """RasSecurityDialogBegin: authenticate the caller on this port."""

    hport: Hport
    """The port's handle at its agent."""
    pool: Name = "default"
    """Which workers may be given it."""
    owner: Annotated[bytes, Meta(max_length=ID_BYTES)] = b""
    """Instance of the worker last accepted in this dialog; empty if none was."""
    seq: Seq = 0
    """Last SEND or RECEIVE accepted, answered or not; 0 if none was."""
    call: Id
    """The call's id in its records."""
    cookie: Annotated[bytes, Meta(max_length=COOKIE_BYTES_MAX)] = b""
    """What the last RECEIVE accepted gave; empty before it."""
    facts: Bytes
    """A map of its own (`Facts`), in a bin so that brokers need not read it."""

    def __post_init__(self) -> None:
        """Refuse an owner that is no instance."""
        if len(self.owner) not in {0, ID_BYTES}:
            msg = f"`owner` is {len(self.owner)} bytes: it takes 0 or {ID_BYTES}"
            raise ValueError(msg)


class Facts(Body, frozen=True, kw_only=True):
    """What the agent knows of the call; inside BEGIN's `facts`."""

    site: Name
    """The agent's site."""
    agent: Name
    """The agent's name."""
    device: Text
    """The port's device: GetInfo's DeviceName."""
    caller: Text = ""
    """Number that called; empty if it is withheld, unavailable or not delivered."""
    called: Text = ""
    """Number that was called, where the line tells it."""
    connect_speed: Annotated[int, Meta(ge=0)] = 0
    """Bits per second of the CONNECT line; 0 if it told none."""
    connect_text: Text = ""
    """The CONNECT line's text behind the word."""
    send_size: Annotated[int, Meta(ge=1, le=65535)]
    """Most bytes of one SEND's data."""
    recv_size: Annotated[int, Meta(ge=1, le=65535)]
    """Most bytes of one RECEIVED's data."""
    callback: bool = False
    """Whether the port can dial back."""


class Refused(CodedBody, frozen=True, kw_only=True):
    """Begin's nonzero answer: this BEGIN is over and owes no Complete."""

    code_fields = ("code",)
    code: WireCode
    """Why; 1311 and 170 (win) leave the dialog open for another broker."""


class Send(Body, frozen=True, kw_only=True):
    """RasSecurityDialogSend: show `data` to the caller."""

    worker: Id
    """The sender's instance."""
    seq: Annotated[int, Meta(ge=1, le=ATTEMPT_MAX)]
    """Rises by one with each SEND or RECEIVE of the dialog."""
    data: Bytes
    """Written to the line unchanged."""


class Receive(Body, frozen=True, kw_only=True):
    """RasSecurityDialogReceive: show `prompt`, then wait for the caller's answer."""

    worker: Id
    """The sender's instance."""
    seq: Annotated[int, Meta(ge=1, le=ATTEMPT_MAX)]
    """Rises by one with each SEND or RECEIVE of the dialog."""
    prompt: Bytes
    """Written to the line, unchanged, before the caller's answer is awaited."""
    mode: Literal["line", "raw"]
    """A line without its end, or whatever has come."""
    echo: Literal["on", "off", "mask"]
    """What the caller sees of his typing; mask shows `*`."""
    limit: Annotated[int, Meta(ge=1, le=65535)]
    """Most bytes of the answer."""
    timeout_s: Seconds
    """0 = none; runs from the prompt's last byte."""
    cookie: Annotated[bytes, Meta(max_length=COOKIE_BYTES_MAX)]
    """What a worker needs to go on from here; counts this RECEIVE's answer as used."""


class Received(CodedBody, frozen=True, kw_only=True):
    """The caller's answer, or why there is none."""

    code_fields = ("status",)
    seq: Annotated[int, Meta(ge=1, le=ATTEMPT_MAX)]
    """The RECEIVE's that it answers."""
    status: WireCode
    """0, or why `data` is empty or incomplete."""
    data: Bytes
    """The answer."""

    def __repr__(self) -> str:
        """Name the answer's length only: it may be a password."""
        return f"Received(seq={self.seq}, status={self.status}, data=<{len(self.data)} bytes>)"


class Complete(CodedBody, frozen=True, kw_only=True):
    """RasSecurityDialogComplete: the verdict, once."""

    code_fields = ("error",)
    has_maps = True
    worker: Id
    """The sender's instance."""
    msg_id: Literal[1, 2, 3]
    """SECURITYMSG_SUCCESS, FAILURE or ERROR."""
    error: WireCode
    """dwError: nonzero in an ERROR, 0 in every other verdict."""
    username: str
    """At most 256 bytes of UTF-8; not empty in a SUCCESS."""
    domain: str
    """At most 255 bytes of UTF-8."""
    attributes: dict[str, Any]
    """service, session_timeout_s, idle_timeout_s, callback_number, message, class …"""

    def __post_init__(self) -> None:
        """Refuse half a verdict (rashost.md: rules 4 and 9, trap 12)."""
        super().__post_init__()
        for name, most in (("username", USERNAME_BYTES_MAX), ("domain", DOMAIN_BYTES_MAX)):
            if len(getattr(self, name).encode()) > most:
                msg = f"`{name}` is longer than {most} bytes"
                raise ValueError(msg)
        if self.msg_id == SUCCESS and not self.username:
            msg = "`username` is empty in a SUCCESS"
            raise ValueError(msg)
        if (self.msg_id == ERROR) == (self.error == NO_ERROR):
            msg = "`error` must be nonzero in an ERROR and 0 in every other verdict"
            raise ValueError(msg)


class End(CodedBody, frozen=True, kw_only=True):
    """RasSecurityDialogEnd: 0 is the clean-up after Complete, else why the dialog must stop."""

    code_fields = ("reason",)
    reason: WireCode
    """0 = normal; else abnormal."""


class EndReply(CodedBody, frozen=True, kw_only=True):
    """End's answer: nonzero = terminated now; 0 = delayed, a Complete will follow."""

    code_fields = ("code",)
    code: WireCode
    """Usually ["ras", 619], port disconnected."""


class Lost(CodedBody, frozen=True, kw_only=True):
    """Nobody behind this broker has that dialog and attempt."""

    code_fields = ("code",)
    code: WireCode
    """Why.  With a nil dialog: there is no session on this connection; open a new one."""


BODIES: Final[dict[Verb, type[Body]]] = {
    Verb.HELLO: Hello,
    Verb.WELCOME: Welcome,
    Verb.READY: Ready,
    Verb.PING: Ping,
    Verb.PONG: Ping,
    Verb.DRAIN: Drain,
    Verb.BYE: Bye,
    Verb.ERROR: Error,
    Verb.LINES: Lines,
    Verb.COMMAND: Command,
    Verb.COMMANDED: Commanded,
    Verb.RECORDED: Recorded,
    Verb.BEGIN: Begin,
    Verb.REFUSED: Refused,
    Verb.SEND: Send,
    Verb.RECEIVE: Receive,
    Verb.RECEIVED: Received,
    Verb.COMPLETE: Complete,
    Verb.END: End,
    Verb.END_REPLY: EndReply,
    Verb.LOST: Lost,
}
"""Body of each verb.  RECORD's is a record (dialgate.records)."""
