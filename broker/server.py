"""The broker's one loop: receive, hand to the core, send what it has put out.  No policy here.

Two ROUTERs, drained on the event loop's readers.  A turn reads until EAGAIN or `FRAMES_PER_TURN`,
lets the core work on every frame, then sends what the core has grouped by peer, packed.  A failed
send is an event for the core, so a turn ends when the core has nothing more to say.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import structlog
import zmq

from broker.core import Broker
from broker.receipts import Receipt
from broker.sessions import Revoked, Right, Turn
from dialgate.codes import Code
from dialgate.errors import ListenError
from dialgate.sockets import NOBLOCK, SEND_MORE, EdgeReader, configure
from dialgate.wire.bodies import Command
from dialgate.wire.envelope import decode_frame, pack_frames
from dialgate.wire.limits import FRAME_BYTES_MAX, FRAME_MESSAGES_MAX
from dialgate.wire.verbs import Role

__all__ = ["Gate", "Server"]

log = structlog.get_logger(__name__)

FRAMES_PER_TURN: Final = 256
"""Frames read from one socket before the other has its turn."""
MESSAGES_PER_FLUSH: Final = 64
"""Messages worked on before what they led to is sent: enough to pack well, few enough that peers
work on the first while the broker works on the next."""
TICK_S_MAX: Final = 0.1
"""Upper bound on one wait of the timer: a wrong deadline costs this, not a hang."""
RELOAD_S: Final = 0.2
"""How often the gate looks for keys that were added or deleted."""


Judge = Callable[[zmq.Frame], Right | Revoked | None]
"""Returns what the sender of a frame may, at that moment; None where there are no keys."""


class Gate(Protocol):
    """What the loop needs of broker.gate."""

    def protect(self, socket: zmq.Socket[bytes], role: Role) -> Judge:
        """Lock `socket` before it is bound; return who judges the senders of its frames."""

    def reload(self) -> None:
        """Take notice of changed keys."""

    def is_alive(self) -> bool:
        """Return whether new peers can get in."""

    def close(self) -> None:
        """Stop."""


class _Side:
    """One ROUTER and what the core has for its peers."""

    def __init__(
        self,
        socket: zmq.Socket[bytes],
        role: Role,
        judge: Judge,
        outbox: dict[bytes, list[bytes]],
    ) -> None:
        self.socket = socket
        self.role = role
        self.judge = judge
        self.outbox = outbox
        self.reader: EdgeReader | None = None


class Server:
    """Drives a `Broker` core from two ROUTER sockets.

    Args:
        broker: the core.
        context: the process's ZeroMQ context, which holds the gate's ZAP handler too.
        gate: who may connect.
        agents: endpoint that port agents connect to.
        workers: endpoint that auth workers connect to.
        clock: monotonic seconds.

    Raises:
        ListenError: an endpoint can't be bound.
    """

    def __init__(
        self,
        broker: Broker,
        context: zmq.Context[zmq.Socket[bytes]],
        gate: Gate,
        *,
        agents: str,
        workers: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.broker = broker
        self.frames_in = 0
        self.frames_out = 0
        self.messages_out = {role: [0] * 256 for role in (Role.AGENT, Role.WORKER)}
        """Messages to each role by their second byte: the verb, as every encoder writes it."""
        self.store: Callable[[Sequence[Receipt]], None] | None = None
        """Takes records of calls; `recorded` is to be called for those that were stored."""
        self.note_turns: Callable[[Sequence[Turn]], None] | None = None
        """Takes starts and ends of agents."""
        self.multipart_drops = 0
        self.empty_drops = 0
        self._gate = gate
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._flush_handle: asyncio.Handle | None = None
        self._reload_at = clock() + RELOAD_S
        self._answers: dict[bytes, asyncio.Future[Code]] = {}
        """By id of the command."""
        self._sides: list[_Side] = []
        try:
            self._sides.append(self._bind(context, agents, Role.AGENT, broker.outbox_agents))
            self._sides.append(self._bind(context, workers, Role.WORKER, broker.outbox_workers))
        except ListenError:
            self.close()
            raise
        for side in self._sides:
            side.reader = EdgeReader(side.socket, lambda side=side: self._drain(side))  # type: ignore[misc]
        self._arm()

    def gate_is_alive(self) -> bool:
        """Return whether new peers can get in; if not, the process should be restarted."""
        return self._gate.is_alive()

    def perform(self) -> None:
        """Send what a call into the core from outside this loop has put out, in the next turn."""
        if self._flush_handle is None:
            self._flush_handle = self._loop.call_soon(self._flush_now)

    def command(self, agent: str, command: Command) -> asyncio.Future[Code] | None:
        """Send an operator's order to an agent.

        Returns:
            what will be its answer, or why there is none; None if the order could not be sent.
        """
        if not self.broker.command(agent, command, self._clock()):
            return None
        self.perform()
        answer: asyncio.Future[Code] = self._loop.create_future()
        self._answers[command.id] = answer
        return answer

    def drain_worker(self, name: str, deadline_ms: int) -> bool:
        """Tell a worker to finish and leave; return whether it is here to be told."""
        is_told = self.broker.drain_worker(name, deadline_ms, self._clock())
        self.perform()
        return is_told

    def recorded(self, receipts: Sequence[Receipt]) -> None:
        """Take notice that records which `store` was given are on the disk."""
        self.broker.recorded(receipts, self._clock())
        self.perform()

    def close(self) -> None:
        """Send what is pending, close the sockets, stop the gate."""
        if self._timer is not None:
            self._timer.cancel()
        for side in self._sides:
            if side.reader is not None:
                self._flush(self._clock())
                side.reader.close()
        for side in self._sides:
            side.socket.close(linger=250)
        self._sides.clear()
        self._gate.close()

    def _bind(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        address: str,
        role: Role,
        outbox: dict[bytes, list[bytes]],
    ) -> _Side:
        socket = context.socket(zmq.ROUTER)
        configure(socket)
        # A message to a peer that is gone or does not read must be an error, not a silent loss.
        socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        socket.setsockopt(zmq.HANDSHAKE_IVL, 3000)
        if "[" in address:
            socket.setsockopt(zmq.IPV6, 1)
        judge = self._gate.protect(socket, role)
        try:
            socket.bind(address)
        except zmq.ZMQError as error:
            socket.close(linger=0)
            msg = f"can't listen on {address} for {role}s: {zmq.strerror(error.errno or 0)}"
            raise ListenError(msg) from None
        return _Side(socket, role, judge, outbox)

    def _drain(self, side: _Side) -> bool:
        """Read what is there, let the core work, send; return True if there may be more."""
        now = self._clock()
        receive = side.socket.recv
        core = self.broker.receive
        right = side.judge
        role = side.role
        more = True
        unsent = 0
        for _ in range(FRAMES_PER_TURN):
            try:
                connection = receive(NOBLOCK)
            except zmq.Again:
                more = False
                break
            part = receive(NOBLOCK, copy=False)
            self.frames_in += 1
            if part.more:
                self._drop_rest(side)
                continue
            payload = part.bytes
            if not payload:
                self.empty_drops += 1
                continue
            messages, fault = decode_frame(payload)
            core(role, connection, messages, fault, right(part), now)
            unsent += len(messages)
            if unsent >= MESSAGES_PER_FLUSH:
                self._flush(now)
                unsent = 0
        self._flush(now)
        self._arm()
        return more

    def _drop_rest(self, side: _Side) -> None:
        """Read away a multipart message: its parts would be taken for routing ids."""
        self.multipart_drops += 1
        while side.socket.recv(NOBLOCK, copy=False).more:
            pass

    def _flush_now(self) -> None:
        self._flush_handle = None
        self._flush(self._clock())
        self._arm()

    def _flush(self, now: float) -> None:
        """Send until the core has nothing more to say."""
        sent = True
        while sent:
            sent = False
            for side in self._sides:
                if side.outbox:
                    sent = True
                    self._send(side, now)
        if self.broker.commands.answers:
            self._take_answers()
        if self.broker.receipts.taken:
            self._hand_on_records()
        if self.broker.turns:
            turns = self.broker.turns[:]
            self.broker.turns.clear()
            if self.note_turns is not None:
                self.note_turns(turns)

    def _take_answers(self) -> None:
        """Give the answers to commands to whoever waits for them, if he still does."""
        answers = self.broker.commands.answers
        for each in answers:
            future = self._answers.pop(each.id)
            if not future.done():
                future.set_result(each.code)
        answers.clear()

    def _hand_on_records(self) -> None:
        receipts = self.broker.receipts.taken[:]
        self.broker.receipts.taken.clear()
        if self.store is not None:
            self.store(receipts)

    def _send(self, side: _Side, now: float) -> None:
        pending = list(side.outbox.items())
        side.outbox.clear()
        send = side.socket.send
        sent = self.messages_out[side.role]
        for connection, messages in pending:
            for message in messages:
                sent[message[1]] += 1
            if len(messages) <= FRAME_MESSAGES_MAX and sum(map(len, messages)) <= FRAME_BYTES_MAX:
                frames = [b"".join(messages)]
            else:
                frames = pack_frames(messages)
            try:
                for frame in frames:
                    send(connection, SEND_MORE)
                    send(frame, NOBLOCK)
                    self.frames_out += 1
            except zmq.ZMQError:
                # EHOSTUNREACH: the connection is gone; EAGAIN: its queue is full.
                self.broker.send_failed(side.role, connection, now)
        if side.reader is not None:
            side.reader.look_again()

    def _arm(self) -> None:
        if self._timer is not None:
            return
        wait_s = min(self.broker.deadline() - self._clock(), TICK_S_MAX)
        self._timer = self._loop.call_later(max(wait_s, 0.0), self._tick)

    def _tick(self) -> None:
        self._timer = None
        now = self._clock()
        if now >= self._reload_at:
            self._reload_at = now + RELOAD_S
            self._gate.reload()
        self.broker.tick(now)
        self._flush(now)
        self._arm()
