"""What each verb says: one frozen struct a body, with its types, ranges and defaults.

`docs/protocol.md` §4 specifies them and a test holds the two together.  Bodies are MessagePack maps
with string keys; senders write every field, unknown keys are ignored, and a field without a default
here must be there.  What a struct cannot hold, such as ERROR with code 0, is refused here, so that
nothing behind this module meets it.

Not here: sealed bodies (first byte 0xC1, protocol §7), which come later and are refused until then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal

from msgspec import UNSET, Meta, Struct, UnsetType
from msgspec.structs import force_setattr

from dialgate.codes import NO_ERROR, Code
from dialgate.wire.limits import (
    ATTEMPT_MAX,
    BODY_BYTES_MAX,
    COOKIE_BYTES_MAX,
    DOMAIN_BYTES_MAX,
    HPORT_CHARS_MAX,
    ID_BYTES,
    NAME_CHARS_MAX,
    PROTOCOL,
    TEXT_CHARS_MAX,
    USERNAME_BYTES_MAX,
)
from dialgate.wire.verbs import Verb

Name = Annotated[str, Meta(min_length=1, max_length=NAME_CHARS_MAX, pattern=r"^[^\x00-\x20\x7f]+$")]
"""Name of a peer, a site or a pool: no spaces, no control characters."""
Hport = Annotated[
    str, Meta(min_length=1, max_length=HPORT_CHARS_MAX, pattern=r"^[^\x00-\x20\x7f]+$")
]
"""Handle of a port at its agent.  Used for call after call: never an identity by itself."""
Id = Annotated[bytes, Meta(min_length=ID_BYTES, max_length=ID_BYTES)]
"""16 bytes that name one process, call, record or command."""
Text = Annotated[str, Meta(max_length=TEXT_CHARS_MAX)]
Milliseconds = Annotated[int, Meta(ge=0, le=2**53)]
Seconds = Annotated[int, Meta(ge=0, le=86400)]
Seq = Annotated[int, Meta(ge=0, le=ATTEMPT_MAX)]
Bytes = Annotated[bytes, Meta(max_length=BODY_BYTES_MAX)]
if TYPE_CHECKING:
    WireCode = Code
else:
    WireCode = Code | Literal[0]
"""0 or `[namespace, number]`.  Decoding turns every spelling of 0 into `NO_ERROR`."""

SUCCESS: Final = 1
"""SECURITYMSG_SUCCESS: the caller is who he says."""
FAILURE: Final = 2
"""SECURITYMSG_FAILURE: the user was refused."""
ERROR: Final = 3
"""SECURITYMSG_ERROR: no decision could be made.  Never counts against the user."""


class Body(Struct, frozen=True, kw_only=True, gc=False):
    """Base of every body.  A body's fields are only ever appended, with a default."""

    code_fields: ClassVar[tuple[str, ...]] = ()
    """Fields that hold a code, which travels as 0 or `[namespace, number]`."""

    def __post_init__(self) -> None:
        """Give every code its one spelling.

        Raises:
            ValueError: a code's namespace is unknown or its number negative.
        """
        for field in self.code_fields:
            value = getattr(self, field)
            if value == 0 or value[1] == 0:
                force_setattr(self, field, NO_ERROR)
            elif value[0] not in {"win", "ras", "mpr"} or value[1] < 0:
                msg = f"`{field}` is no code: 0 or [namespace, number], namespace win, ras or mpr"
                raise ValueError(msg)


class Hello(Body, frozen=True, kw_only=True):
    """A peer opens a session."""

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

    def __post_init__(self) -> None:
        """Refuse a HELLO without what its role must say."""
        if self.protocol == PROTOCOL and self.role == "agent" and self.site is UNSET:
            msg = "an agent's HELLO needs the field `site`"
            raise ValueError(msg)
        if self.protocol == PROTOCOL and self.role == "worker" and self.capacity is UNSET:
            msg = "a worker's HELLO needs the field `capacity`"
            raise ValueError(msg)


class Welcome(Body, frozen=True, kw_only=True):
    """The broker accepts a session and states its numbers."""

    protocol: int
    name: Name
    """The broker's."""
    instance: Id
    """The broker's."""
    heartbeat_ms: Annotated[int, Meta(ge=1, le=3_600_000)] = 1000
    end_lease_ms: Annotated[int, Meta(ge=1, le=3_600_000)] = 10_000
    queue_timeout_ms: Annotated[int, Meta(ge=1, le=3_600_000)] = 10_000
    frame_bytes_max: Annotated[int, Meta(ge=1)]
    body_bytes_max: Annotated[int, Meta(ge=1)]


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


class Bye(Body, frozen=True, kw_only=True):
    """The session is over."""

    code_fields = ("code",)
    code: WireCode


class Error(Body, frozen=True, kw_only=True):
    """What the broker refused and why."""

    code_fields = ("code",)
    code: WireCode
    text: Text


class LineState(Struct, frozen=True, kw_only=True):
    """One port as its agent sees it, for observers."""

    hport: Hport
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
    reason: Text
    since_ms: Milliseconds
    """How long it has been in this state."""


class Lines(Body, frozen=True, kw_only=True):
    """The agent's ports: after WELCOME all of them, then changes."""

    lines: Annotated[tuple[LineState, ...], Meta(max_length=512)]
    complete: bool
    """With the last message of the whole list, and with every change after it."""


class Command(Body, frozen=True, kw_only=True):
    """An operator's order to an agent."""

    id: Id
    hport: Annotated[str, Meta(max_length=HPORT_CHARS_MAX)]
    """"" is the whole agent."""
    act: Literal["hangup", "reset", "probe", "disable", "enable", "drain", "rehome"]
    mode: Literal["", "busy", "ring"]
    operator: Text
    reason: Text


class Commanded(Body, frozen=True, kw_only=True):
    """What became of a COMMAND."""

    code_fields = ("code",)
    id: Id
    code: WireCode


class Recorded(Body, frozen=True, kw_only=True):
    """Records that the broker has stored durably."""

    records: Annotated[tuple[Id, ...], Meta(max_length=512)]


class Begin(Body, frozen=True, kw_only=True):
    """RasSecurityDialogBegin: authenticate the caller on this port."""

    hport: Hport
    pool: Name = "default"
    owner: Annotated[bytes, Meta(max_length=ID_BYTES)] = b""
    """Instance of the worker last accepted in this dialog; empty if none was."""
    seq: Seq = 0
    """Last SEND or RECEIVE accepted, answered or not; 0 if none was."""
    call: Id
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
    agent: Name
    device: Text
    caller: Text = ""
    """Number that called; empty if it is withheld, unavailable or not delivered."""
    called: Text = ""
    connect_speed: Annotated[int, Meta(ge=0)] = 0
    """Bits per second of the CONNECT line; 0 if it told none."""
    connect_text: Text = ""
    send_size: Annotated[int, Meta(ge=1, le=65535)]
    """Most bytes of one SEND's data."""
    recv_size: Annotated[int, Meta(ge=1, le=65535)]
    """Most bytes of one RECEIVED's data."""
    callback: bool = False
    """Whether the port can dial back."""


class Refused(Body, frozen=True, kw_only=True):
    """Begin's nonzero answer: this BEGIN is over and owes no Complete."""

    code_fields = ("code",)
    code: WireCode


class Send(Body, frozen=True, kw_only=True):
    """RasSecurityDialogSend: show `data` to the caller."""

    worker: Id
    """The sender's instance."""
    seq: Annotated[int, Meta(ge=1, le=ATTEMPT_MAX)]
    data: Bytes


class Receive(Body, frozen=True, kw_only=True):
    """RasSecurityDialogReceive: show `prompt`, then wait for the caller's answer."""

    worker: Id
    seq: Annotated[int, Meta(ge=1, le=ATTEMPT_MAX)]
    prompt: Bytes
    mode: Literal["line", "raw"]
    echo: Literal["on", "off", "mask"]
    limit: Annotated[int, Meta(ge=1, le=65535)]
    """Most bytes of the answer."""
    timeout_s: Seconds
    """0 = none; runs from the prompt's last byte."""
    cookie: Annotated[bytes, Meta(max_length=COOKIE_BYTES_MAX)]
    """What a worker needs to go on from here; counts this RECEIVE's answer as used."""


class Received(Body, frozen=True, kw_only=True):
    """The caller's answer, or why there is none."""

    code_fields = ("status",)
    seq: Annotated[int, Meta(ge=1, le=ATTEMPT_MAX)]
    status: WireCode
    data: Bytes

    def __repr__(self) -> str:
        """Name the answer's length only: it may be a password."""
        return f"Received(seq={self.seq}, status={self.status}, data=<{len(self.data)} bytes>)"


class Complete(Body, frozen=True, kw_only=True):
    """RasSecurityDialogComplete: the verdict, once."""

    code_fields = ("error",)
    worker: Id
    msg_id: Literal[1, 2, 3]
    error: WireCode
    username: str
    domain: str
    attributes: dict[str, Any]
    """service, session_timeout_s, idle_timeout_s, callback_number, message, class …"""

    def __post_init__(self) -> None:
        """Refuse half a verdict (rashost.md: rules 4 and 9, trap 12)."""
        super().__post_init__()
        if len(self.username.encode()) > USERNAME_BYTES_MAX:
            msg = f"`username` is longer than {USERNAME_BYTES_MAX} bytes"
            raise ValueError(msg)
        if len(self.domain.encode()) > DOMAIN_BYTES_MAX:
            msg = f"`domain` is longer than {DOMAIN_BYTES_MAX} bytes"
            raise ValueError(msg)
        if self.msg_id == SUCCESS and not self.username:
            msg = "`username` is empty in a SUCCESS"
            raise ValueError(msg)
        if (self.msg_id == ERROR) == (self.error == NO_ERROR):
            msg = "`error` must be nonzero in an ERROR and 0 in every other verdict"
            raise ValueError(msg)


class End(Body, frozen=True, kw_only=True):
    """RasSecurityDialogEnd: 0 is the clean-up after Complete, else why the dialog must stop."""

    code_fields = ("reason",)
    reason: WireCode


class EndReply(Body, frozen=True, kw_only=True):
    """End's answer: nonzero = terminated now; 0 = delayed, a Complete will follow."""

    code_fields = ("code",)
    code: WireCode


class Lost(Body, frozen=True, kw_only=True):
    """Nobody behind this broker has that dialog and attempt."""

    code_fields = ("code",)
    code: WireCode


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
