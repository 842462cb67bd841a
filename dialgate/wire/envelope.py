"""Frames of DSP/1: messages back to back, their limits, and nothing of their bodies.

A frame is one ZeroMQ message: one or more MessagePack arrays `[verb, dialog, attempt, body]`
(docs/protocol.md §3).  The broker's loop lives on these two functions, so a message is a plain
tuple here and keeps the bytes it came as: forwarding it costs no encoding.

Invariant: whatever the bytes, decoding ends in bounded time and memory with the good messages
before the first fault and, if there is one, that fault.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgpack

from dialgate.wire.limits import (
    ATTEMPT_MAX,
    BODY_BYTES_MAX,
    FRAME_BYTES_MAX,
    FRAME_MESSAGES_MAX,
    ID_BYTES,
)
from dialgate.wire.verbs import DIALOG_VERBS, SESSION_VERBS, Verb

__all__ = ["Envelope", "decode_frame", "encode_message", "pack_frames"]

Envelope = tuple[int, bytes | None, int, bytes, bytes]
"""verb, dialog (16 bytes, or None in a session message), attempt (0 in a session message), body,
and the message's own bytes as they stood in the frame."""

_PACKER: Final = msgpack.Packer()
"""One for all: making one costs more than packing with it."""
_IDLE: Final[list[msgpack.Unpacker]] = []
"""Unpackers that have read their last frame to its end.  Making one clears 64 KiB, which costs more
than reading a message."""
_FIRST_DIALOG_VERB: Final = int(Verb.BEGIN)
_NEVER_NIL: Final = DIALOG_VERBS - {Verb.LOST}


def encode_message(verb: int, dialog: bytes | None, attempt: int, body: bytes) -> bytes:
    """Return one message.  `body` is at most `BODY_BYTES_MAX` bytes: see `bodies.encode_body`."""
    packed: bytes = _PACKER.pack((int(verb), dialog, attempt, body))
    return packed


def pack_frames(messages: Sequence[bytes]) -> list[bytes]:
    """Return `messages`, in order, in as few frames as the limits allow."""
    if len(messages) == 1:
        return [messages[0]]
    frames: list[bytes] = []
    pending: list[bytes] = []
    size = 0
    for message in messages:
        size += len(message)
        if size > FRAME_BYTES_MAX or len(pending) == FRAME_MESSAGES_MAX:
            frames.append(b"".join(pending))
            pending = []
            size = len(message)
        pending.append(message)
    if pending:
        frames.append(b"".join(pending))
    return frames


def decode_frame(frame: bytes) -> tuple[list[Envelope], str]:
    """Return the messages of `frame` up to its first fault, and that fault ("" if there is none).

    The fault is one of a closed set of reasons, fit for a metric's label: "frame too long",
    "too many messages", "not MessagePack", "truncated", "not a message", "body too long",
    "dialog and verb disagree".
    """
    if len(frame) > FRAME_BYTES_MAX:
        return [], "frame too long"
    alone = _decode_alone(frame)
    return _decode_all(frame) if alone is None else ([alone], "")


def _decode_all(frame: bytes) -> tuple[list[Envelope], str]:
    """Return what `decode_frame` does, of a frame that is not too long."""
    unpacker = _IDLE.pop() if _IDLE else _unpacker()
    tell = unpacker.tell
    origin = tell()
    unpacker.feed(frame)
    messages: list[Envelope] = []
    append = messages.append
    start = 0
    try:
        for message in unpacker:
            if len(messages) == FRAME_MESSAGES_MAX:
                return messages, "too many messages"
            # Nearly every message is a good one of a dialog: those pass by one condition.
            try:
                verb, dialog, attempt, body = message
                good = (
                    type(verb) is int
                    and type(dialog) is bytes
                    and type(attempt) is int
                    and type(body) is bytes
                    and verb >= _FIRST_DIALOG_VERB
                    and len(dialog) == ID_BYTES
                    and 0 < attempt <= ATTEMPT_MAX
                    and len(body) <= BODY_BYTES_MAX
                )
            except (TypeError, ValueError):
                return messages, "not a message"
            if not good and (fault := _fault(message)):
                return messages, fault
            end: int = tell() - origin
            append((verb, dialog, attempt, body, frame[start:end]))
            start = end
    except (ValueError, msgpack.UnpackException):
        # Over a limit, a type that no envelope has, or bytes that are no MessagePack at all.
        return messages, "not MessagePack"
    fault = "truncated" if start != len(frame) else ""
    if not fault:  # With anything left in it, it would read the next frame wrongly.
        _IDLE.append(unpacker)
    return messages, fault


def _decode_alone(frame: bytes) -> Envelope | None:
    """Return the message that is the whole of `frame`; None: there are more, or there is a fault.

    Most frames are like that where peers are not busy, and this neither copies them nor touches the
    buffer of an unpacker, which is larger than a processor's nearest cache.
    """
    try:
        message = msgpack.unpackb(
            frame,
            use_list=False,
            raw=False,
            max_array_len=4,
            max_str_len=0,
            max_map_len=0,
            max_ext_len=0,
        )
        verb, dialog, attempt, body = message
    except (TypeError, ValueError, msgpack.UnpackException):
        return None
    return None if _fault(message) else (verb, dialog, attempt, body, frame)


def _unpacker() -> msgpack.Unpacker:
    """Return what takes envelopes apart, and nothing that no envelope holds."""
    return msgpack.Unpacker(
        use_list=False,
        raw=False,
        max_buffer_size=FRAME_BYTES_MAX,
        max_array_len=4,
        max_bin_len=FRAME_BYTES_MAX,
        max_str_len=0,
        max_map_len=0,
        max_ext_len=0,
    )


def _fault(message: object) -> str:  # noqa: PLR0911 - one line a fault
    """Return why `message` is no envelope, or "" if it is one."""
    if type(message) is not tuple:
        return "not a message"
    verb, dialog, attempt, body = message
    # bool is an int to isinstance, but not to a peer that speaks this protocol.
    if type(verb) is not int or type(attempt) is not int or type(body) is not bytes or verb < 0:
        return "not a message"
    if len(body) > BODY_BYTES_MAX:
        return "body too long"
    if dialog is None:
        if attempt:
            return "dialog and verb disagree"
        return "dialog and verb disagree" if verb in _NEVER_NIL else ""
    if type(dialog) is not bytes or len(dialog) != ID_BYTES or not 0 < attempt <= ATTEMPT_MAX:
        return "not a message"
    return "dialog and verb disagree" if verb in SESSION_VERBS else ""
