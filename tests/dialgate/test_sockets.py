"""Sockets on a real network: a peer's connection is made once (protocol §3)."""

from __future__ import annotations

import socket
from collections.abc import Callable

import zmq

from dialgate.sockets import connect_dealer

PATIENCE_MS = 20_000


def times_connected(listener: socket.socket) -> Callable[[], int]:
    """Cut off whoever connects to `listener`; return how to learn how often that was."""
    listener.setblocking(False)
    times = 0

    def look() -> int:
        nonlocal times
        try:
            connection, _ = listener.accept()
        except BlockingIOError:
            return times
        connection.close()
        times += 1
        return times

    return look


def test_a_connection_that_breaks_is_not_made_again_behind_the_sessions_back() -> None:
    """Else old messages would come to a broker under a new routing id.

    A plain socket beside ours shows that there was time enough to connect again.
    """
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    with (
        socket.create_server(("127.0.0.1", 0)) as for_ours,
        socket.create_server(("127.0.0.1", 0)) as for_plain,
    ):
        ours_connected, plain_connected = times_connected(for_ours), times_connected(for_plain)
        ours = connect_dealer(context, f"tcp://127.0.0.1:{for_ours.getsockname()[1]}", None)
        waiting = zmq.Poller()
        waiting.register(for_ours.fileno(), zmq.POLLIN)
        assert waiting.poll(PATIENCE_MS)
        assert ours_connected() == 1
        plain = context.socket(zmq.DEALER)
        plain.setsockopt(zmq.LINGER, 0)
        plain.connect(f"tcp://127.0.0.1:{for_plain.getsockname()[1]}")
        waiting = zmq.Poller()
        waiting.register(for_plain.fileno(), zmq.POLLIN)
        while plain_connected() < 4:
            assert waiting.poll(PATIENCE_MS)

        assert ours_connected() == 1
        ours.close()
        plain.close()
    context.term()
