"""A site at which everybody calls at once: an agent that begins 2,000 dialogs a second.

    python -m tests.integration.flood ENDPOINT SECONDS

None of them has a worker, as their pool has none.  At the end it prints, as JSON, how many were
sent, how many were refused as busy and how many waited, and how long the refusals took.
"""

from __future__ import annotations

import json
import os
import sys
import time

import msgpack
import zmq

from tests.integration.peers import BEGIN, BYE, HELLO, PING, PONG, REFUSED, pack, unpack, uuid7

TURN_S = 0.01
BEGINS_PER_TURN = 20
BUSY = ("win", 170)
PATIENCE_S = 5.0


class Flood:
    """The agent."""

    def __init__(self, endpoint: str) -> None:
        self._socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.DEALER)
        self._socket.connect(endpoint)
        self._sent_at: dict[bytes, float] = {}
        self.sent = 0
        self.busy_s: list[float] = []
        self.waited = 0

    def greet(self) -> None:
        """Open the session."""
        hello = {
            "protocol": 1,
            "role": "agent",
            "name": "flood",
            "instance": os.urandom(16),
            "session": 1,
            "version": "flood",
            "site": "oslo",
        }
        self._socket.send(pack(HELLO, body=hello))
        self._socket.recv()

    def begin(self) -> None:
        """Begin as many dialogs as fall to one turn."""
        frame = b""
        for _ in range(BEGINS_PER_TURN):
            dialog = uuid7()
            body = {
                "hport": f"flood/{self.sent}",
                "pool": "nobody's",
                "owner": b"",
                "seq": 0,
                "call": dialog,
                "cookie": b"",
                "facts": msgpack.packb({}),
            }
            frame += pack(BEGIN, dialog, 1, body)
            self._sent_at[dialog] = time.monotonic()
            self.sent += 1
        self._socket.send(frame)

    def listen(self, seconds: float) -> None:
        """Take what comes for so long."""
        until = time.monotonic() + seconds
        while self._socket.poll(int(max(0.0, until - time.monotonic()) * 1000)):
            now = time.monotonic()
            for message in unpack(self._socket.recv()):
                if message.verb == PING:
                    self._socket.send(pack(PONG, body=message.body))
                elif message.verb == REFUSED and message.dialog is not None:
                    took_s = now - self._sent_at.pop(message.dialog)
                    if message.body["code"] == BUSY:
                        self.busy_s.append(took_s)
                    else:
                        self.waited += 1

    def leave(self) -> None:
        """Wait for the last answers and say BYE."""
        until = time.monotonic() + PATIENCE_S
        while self._sent_at and time.monotonic() < until:
            self.listen(TURN_S)
        self._socket.send(pack(BYE, body={"code": 0}))
        self._socket.close(linger=500)


def main(endpoint: str, seconds: float) -> None:
    """Flood the broker at `endpoint` for so many seconds."""
    flood = Flood(endpoint)
    flood.greet()
    began_at = time.monotonic()
    while time.monotonic() < began_at + seconds:
        flood.begin()
        flood.listen(TURN_S)
    flood.leave()
    busy_s = sorted(flood.busy_s)
    told = {
        "sent": flood.sent,
        "busy": len(busy_s),
        "waited": flood.waited,
        "busy_p99_s": busy_s[int(len(busy_s) * 0.99)] if busy_s else 0.0,
    }
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
