"""ZeroMQ sockets as the programs use them: bounded, non-blocking, on the event loop's own reader.

The only module beside the ZAP handler that sets socket options.  No `zmq.asyncio`: a reader on the
socket's file descriptor that drains costs a fraction of it (docs/adr).  The descriptor is
edge-triggered: after each receive *and* each send EVENTS must be looked at again, or messages lie
there unseen, which `EdgeReader` takes care of.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import zmq

from dialgate.errors import DialgateError
from dialgate.wire.limits import ZMQ_BYTES_MAX

__all__ = [
    "NOBLOCK",
    "SEND_MORE",
    "ClientKeys",
    "EdgeReader",
    "configure",
    "connect_dealer",
    "require_libzmq",
]

NOBLOCK: Final = int(zmq.NOBLOCK)
"""As a plain int: arithmetic on pyzmq's flag enums costs more than a send."""
SEND_MORE: Final = int(zmq.SNDMORE | zmq.NOBLOCK)
HIGH_WATER_MARK: Final = 10_000
"""Frames that may wait in one direction of one connection before a send fails."""
BYE_LINGER_MS: Final = 250
"""How long a closed socket may still deliver its BYE."""
_EVENTS: Final = int(zmq.EVENTS)
_POLLIN: Final = int(zmq.POLLIN)


@dataclass(frozen=True, slots=True, repr=False)
class ClientKeys:
    """What a peer needs to speak CURVE with one broker; all three are Z85, 40 characters."""

    public: bytes
    secret: bytes
    server: bytes
    """The broker's public key."""


def require_libzmq() -> None:
    """Refuse a libzmq with known holes (CVE-2019-13132, CVE-2020-15166).

    Raises:
        DialgateError: it is older than 4.3.5.
    """
    if zmq.zmq_version_info() < (4, 3, 5):
        msg = (
            f"libzmq {zmq.zmq_version()} is older than 4.3.5 and has known security holes: "
            "install pyzmq 25 or newer from its wheels"
        )
        raise DialgateError(msg)


def configure(socket: zmq.Socket[bytes]) -> None:
    """Set the limits that every socket of ours has."""
    socket.setsockopt(zmq.MAXMSGSIZE, ZMQ_BYTES_MAX)
    socket.setsockopt(zmq.SNDHWM, HIGH_WATER_MARK)
    socket.setsockopt(zmq.RCVHWM, HIGH_WATER_MARK)
    socket.setsockopt(zmq.LINGER, 0)


def connect_dealer(
    context: zmq.Context[zmq.Socket[bytes]], address: str, keys: ClientKeys | None
) -> zmq.Socket[bytes]:
    """Return a fresh DEALER for one session.

    It never connects a second time: libzmq's own reconnection would deliver old messages under a
    new routing id with no HELLO.
    """
    socket = context.socket(zmq.DEALER)
    configure(socket)
    socket.setsockopt(zmq.RECONNECT_IVL, -1)
    socket.setsockopt(zmq.HANDSHAKE_IVL, 3000)
    if keys is not None:
        socket.setsockopt(zmq.CURVE_SERVERKEY, keys.server)
        socket.setsockopt(zmq.CURVE_PUBLICKEY, keys.public)
        socket.setsockopt(zmq.CURVE_SECRETKEY, keys.secret)
    if "[" in address:
        socket.setsockopt(zmq.IPV6, 1)
    socket.connect(address)
    return socket


class EdgeReader:
    """Calls `drain` on the event loop whenever `socket` may have input.

    `drain` reads until EAGAIN or until its own bound, and returns True if it stopped at the bound.
    """

    def __init__(self, socket: zmq.Socket[bytes], drain: Callable[[], bool]) -> None:
        self._socket = socket
        self._drain = drain
        self._loop = asyncio.get_running_loop()
        descriptor = socket.getsockopt(zmq.FD)
        assert isinstance(descriptor, int)
        self._descriptor = descriptor
        self._again: asyncio.Handle | None = None
        self._closed = False
        self._loop.add_reader(self._descriptor, self._ready)
        self.look_again()

    def look_again(self) -> None:
        """Make sure that input which is there gets drained.  Call it after every send."""
        if not self._closed and int(self._socket.getsockopt(_EVENTS)) & _POLLIN:
            self._schedule()

    def close(self) -> None:
        """Stop reading; the socket stays the caller's to close."""
        if not self._closed:
            self._closed = True
            self._loop.remove_reader(self._descriptor)
            if self._again is not None:
                self._again.cancel()

    def _ready(self) -> None:
        if self._again is not None:
            self._again.cancel()
            self._again = None
        if self._closed:
            return
        if self._drain():
            self._schedule()
        else:
            self.look_again()

    def _schedule(self) -> None:
        if not self._closed and self._again is None:
            self._again = self._loop.call_soon(self._ready)
