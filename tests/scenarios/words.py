"""How a scenario writes a message: `COMPLETE d1(1) success ann`, in commands as in traces.

A string in quotes is what is shown to the caller or what he typed; a code is `0` or `ras:619`.
"""

from __future__ import annotations

import json
import shlex
from typing import Any, Final

from dialgate.codes import NO_ERROR, Code
from dialgate.wire.bodies import (
    BODIES,
    Begin,
    Bye,
    Command,
    Complete,
    Drain,
    End,
    EndReply,
    Error,
    Facts,
    Lost,
    Ready,
    Receive,
    Received,
    Refused,
    Send,
)
from dialgate.wire.body_codec import decode_body, encode, encode_body
from dialgate.wire.envelope import Envelope
from dialgate.wire.fields import Body
from dialgate.wire.verbs import Verb

MSG_IDS: Final = {1: "success", 2: "failure", 3: "error"}
UNSHOWN: Final = frozenset({Verb.HELLO, Verb.WELCOME, Verb.PING, Verb.PONG, Verb.READY, Verb.LINES})
"""What would fill the trace and tell little: sessions have lines of their own."""


class Names:
    """Short names for what has 16 bytes on the wire: d1 for a dialog, w0 for an instance."""

    def __init__(self) -> None:
        self._names: dict[bytes, str] = {}
        self._ids: dict[str, bytes] = {}
        self._dialogs = 0

    def give(self, name: str) -> bytes:
        """Return the id of `name`, made for the occasion if it has none."""
        if name not in self._ids:
            self.learn(name.encode().ljust(16, b"."), name)
        return self._ids[name]

    def fresh(self, name: str) -> bytes:
        """Return a new id for a process that is started (again) as `name`: w0, then w0'."""
        while name in self._ids:
            name += "'"
        return self.give(name)

    def learn(self, id_: bytes, name: str) -> None:
        """Let `id_` be called `name`."""
        self._names[id_] = name
        self._ids[name] = id_

    def dialog(self, id_: bytes) -> str:
        """Return a dialog's name: the first that is seen is d1."""
        if id_ not in self._names:
            self._dialogs += 1
            self.learn(id_, f"d{self._dialogs}")
        return self._names[id_]

    def of(self, id_: bytes) -> str:
        """Return the name of an instance."""
        return self._names.get(id_, "?")


def tell(message: Envelope, names: Names) -> str:
    """Return a message as a line of a trace, or "" if it isn't shown."""
    number, dialog, attempt, body, _raw = message
    verb = Verb(number)
    if verb in UNSHOWN:
        return ""
    said = decode_body(body, BODIES[verb])
    to = "" if dialog is None else f" {names.dialog(dialog)}({attempt})"
    return f"{verb.name}{to} {_content(said, names)}".rstrip()


def _content(said: Body, names: Names) -> str:
    match said:
        case Begin():
            owner = f" owner={names.of(said.owner)}" if said.owner else ""
            seq = f" seq={said.seq}" if said.seq else ""
            return f"{said.hport}{owner}{seq}{' cookie' if said.cookie else ''}"
        case Send():
            return f"{said.seq} {quote(said.data)}"
        case Receive():
            echo = "" if said.echo == "on" else f" echo={said.echo}"
            return f"{said.seq} {quote(said.prompt)}{echo}"
        case Received():
            return f"{said.seq} {quote(said.data) if said.status.ok else code(said.status)}"
        case Complete():
            error = "" if said.error.ok else f" {code(said.error)}"
            return f"{MSG_IDS[said.msg_id]} {said.username}".rstrip() + error
        case End():
            return code(said.reason)
        case Error():
            return f"{code(said.code)} {said.text}"
        case Bye() | Refused() | EndReply() | Lost():
            return code(said.code)
        case Command():
            return f"{said.act} {said.hport}"
        case Drain():
            return f"{said.deadline_ms} ms"
        case _:
            return ""


def parse(text: str, names: Names, speaker: str) -> bytes:
    """Return the message that a command's words stand for; `speaker` is the worker that says it."""
    name, *words = shlex.split(text)
    verb = Verb[name]
    dialog, attempt = None, 0
    if verb >= Verb.BEGIN:
        of, _, number = words.pop(0).rstrip(")").partition("(")
        dialog, attempt = names.give(of), int(number)
    return encode(verb, _body(verb, words, names, speaker), dialog, attempt)


def _body(verb: Verb, words: list[str], names: Names, speaker: str) -> Body:
    options = dict(word.split("=") for word in words if "=" in word)
    words = [word for word in words if "=" not in word]
    match verb:
        case Verb.BEGIN:
            owner = names.give(options["owner"]) if "owner" in options else b""
            facts = encode_body(
                Facts(
                    site="oslo", agent=speaker, device="simulated", send_size=4096, recv_size=4096
                )
            )
            seq = int(options.get("seq", 0))
            return Begin(hport=words[0], owner=owner, seq=seq, call=b"c" * 16, facts=facts)
        case Verb.SEND:
            return Send(worker=names.give(speaker), seq=int(words[0]), data=words[1].encode())
        case Verb.RECEIVE:
            return Receive(
                worker=names.give(speaker),
                seq=int(words[0]),
                prompt=words[1].encode(),
                mode="line",
                echo="on",
                limit=64,
                timeout_s=60,
                cookie=b"",
            )
        case Verb.RECEIVED:
            return Received(seq=int(words[0]), status=NO_ERROR, data=words[1].encode())
        case Verb.COMPLETE:
            msg_id: Any = {said: number for number, said in MSG_IDS.items()}[words[0]]
            return Complete(
                worker=names.give(speaker),
                msg_id=msg_id,
                error=parse_code(words[1]) if words[0] == "error" else NO_ERROR,
                username="" if words[0] == "error" else words[1],
                domain="",
                attributes={},
            )
        case Verb.END:
            return End(reason=parse_code(words[0]))
        case Verb.REFUSED:
            return Refused(code=parse_code(words[0]))
        case Verb.END_REPLY:
            return EndReply(code=parse_code(words[0]))
        case Verb.LOST:
            return Lost(code=parse_code(words[0]))
        case Verb.READY:
            return Ready(credit=int(words[0]))
        case Verb.DRAIN:
            return Drain(deadline_ms=int(words[0]))
        case Verb.BYE:
            return Bye(code=NO_ERROR)
        case _:
            raise AssertionError(f"no scenario says {verb.name} by hand")


def code(value: Code) -> str:
    """Return a code as `0` or `ras:619`."""
    return "0" if value.ok else f"{value.namespace}:{value.number}"


def parse_code(text: str) -> Code:
    """Return what `code` was given."""
    namespace, _, number = text.partition(":")
    return Code(namespace, int(number)) if number else NO_ERROR


def quote(data: bytes) -> str:
    """Return bytes as a string of printable characters in quotes."""
    return json.dumps(data.decode("latin-1"))
