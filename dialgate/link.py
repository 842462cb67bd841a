"""The socket under a `PeerSession`: one fresh DEALER a session, on the event loop.

It decides nothing: it connects when the session asks for it, sends what the session has packed,
and hands what comes, with the time, to the session; what that makes of it goes to `deliver`.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from typing import Final

import zmq

from dialgate.codes import Code
from dialgate.session import PeerSession, SessionEvent
from dialgate.sockets import BYE_LINGER_MS, NOBLOCK, ClientKeys, EdgeReader, connect_dealer

__all__ = ["Link"]

FRAMES_PER_TURN: Final = 64
"""Frames read before other work of the loop gets its turn."""
MESSAGES_PER_FLUSH: Final = 64
"""Messages that are sent without waiting for the turn's end: the broker can work on them while
this process works on the next."""


class Link:
    """One broker endpoint of a peer.

    Args:
        session: the pure core; this shell is its only driver.
        context: the process's ZeroMQ context.
        keys: CURVE keys, or None where the configuration says `insecure`.
        deliver: gets what happened, in order; it may call `send` and `start` of any link.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        session: PeerSession,
        context: zmq.Context[zmq.Socket[bytes]],
        keys: ClientKeys | None,
        deliver: Callable[[Sequence[SessionEvent], float], None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.session = session
        self._context = context
        self._keys = keys
        self._deliver = deliver
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._socket: zmq.Socket[bytes] | None = None
        self._reader: EdgeReader | None = None
        self._flush_handle: asyncio.Handle | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.frames_in = 0
        self.frames_out = 0

    def start(self) -> None:
        """Begin to open sessions."""
        self.session.start(self._clock())
        self._settle()

    def stop(self, code: Code, *, stops: bool = False) -> None:
        """Say BYE, that this process ends if it `stops`, and open no session any more."""
        self.session.stop(code, stops=stops)
        self._settle()
        if self._timer is not None:
            self._timer.cancel()

    def close_session(self, code: Code) -> None:
        """Say BYE; a new session is opened after the usual wait."""
        self.session.close_session(code, self._clock())
        self._settle()

    def send(self, message: bytes) -> None:
        """Queue `message`; what is queued in one turn of the loop goes out packed."""
        queued = self.session.send(message)
        if queued >= MESSAGES_PER_FLUSH:
            self._flush()
        elif queued and self._flush_handle is None:
            self._flush_handle = self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        if self._flush_handle is not None:
            self._flush_handle.cancel()
            self._flush_handle = None
        frames = self.session.take_frames(self._clock())
        if self._socket is None or not frames:
            return
        try:
            for frame in frames:
                self._socket.send(frame, NOBLOCK)
                self.frames_out += 1
        except zmq.ZMQError:
            # EAGAIN: the connection is gone (it is never made twice) or the broker reads no more.
            # Told in a turn of its own: whoever sends is in the middle of something.
            self._loop.call_soon(self._send_failed, self.session.session)
        if self._reader is not None:
            self._reader.look_again()

    def _send_failed(self, session: int) -> None:
        if session == self.session.session:
            now = self._clock()
            self._hand_over(self.session.send_failed(now), now)

    def _drain(self) -> bool:
        """Read what is there; return True if there may be more."""
        now = self._clock()
        for _ in range(FRAMES_PER_TURN):
            if self._socket is None:
                break
            try:
                part = self._socket.recv(NOBLOCK, copy=False)
                multipart = part.more
                while part.more:
                    part = self._socket.recv(NOBLOCK, copy=False)
            except zmq.Again:
                self._settle()
                return False
            self.frames_in += 1
            events = [] if multipart else self.session.receive(part.bytes, now)
            if events:
                self._deliver(events, now)
        self._settle()
        return True

    def _hand_over(self, events: Sequence[SessionEvent], now: float) -> None:
        if events:
            self._deliver(events, now)
        self._settle()

    def _settle(self) -> None:
        """Bring socket and timer in line with the session's state."""
        if self.session.connect_wanted:
            self.session.connect_wanted = False
            self._close_socket()
            self._socket = connect_dealer(self._context, self.session.link, self._keys)
            self._reader = EdgeReader(self._socket, self._drain)
        self._flush()
        if not self.session.connected():
            self._close_socket()
        self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline = self.session.deadline()
        if deadline != math.inf:
            self._timer = self._loop.call_later(max(0.0, deadline - self._clock()), self._tick)

    def _tick(self) -> None:
        now = self._clock()
        self._hand_over(self.session.tick(now), now)

    def _close_socket(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        if self._socket is not None:
            self._socket.close(linger=BYE_LINGER_MS)
            self._socket = None
