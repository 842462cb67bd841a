"""Scenarios: commands and the trace that they leave, in files that a person can read.

Each `*.txt` beside this file is a story.  A line that begins with `>` is a command (several, parted
by `;`, happen at once); the lines below it are what happened then, indented, with the time in
seconds.  `must` and `never` say what that trace has to show, or must not; `#` is a comment.

    pytest tests/scenarios --rewrite-scenarios

writes the traces anew, to be reviewed as a diff.  What `must` and `never` say is not rewritten.

Commands:

    broker B [LIMIT=NUMBER …]            start a broker, or start it again
    worker W at B … [capacity=N] [delays-end] [dies-of=ANSWER]
    agent A at B … [local B …] [ports=p1,p2]
    hand agent|worker NAME [as ALIAS] at B    a peer without a mind: it says what `say` tells it
    reconnect NAME B                     without a HELLO, as libzmq does unless told not to
    say FROM to TO: MESSAGE              as the trace writes it; also in the name of a real program
    call|hang-up PORT · type PORT TEXT (and Return) · keys PORT TEXT (and no Return)
    kill NAME                            the other ends notice when they next send
    cut|break NAME B                     nothing arrives any more, in silence | the next send fails
    hold|release FROM TO                 what is said on that way waits | arrives
    finish W DIALOG granted USER         the task that delays its end comes to its verdict
    drain B|W SECONDS · stop A · run SECONDS
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from auth_workers.verdict import Granted, Undecided
from dialgate.codes import Winerror
from dialgate.wire.verbs import Role
from tests.scenarios.cluster import (
    AgentProgram,
    BrokerProgram,
    HandProgram,
    PeerProgram,
    WorkerProgram,
)
from tests.scenarios.network import Connection, World
from tests.scenarios.words import parse

FILES: Final = sorted(Path(__file__).parent.glob("*.txt"))
DUST_S: Final = 0.05
"""Time that passes after a command, so that what it leads to stands below it."""


class Stage:
    """Carries out commands."""

    def __init__(self) -> None:
        self.world = World()
        self.brokers: dict[str, BrokerProgram] = {}
        self.peers: dict[str, PeerProgram] = {}

    def do(self, command: str) -> list[str]:
        """Carry out a line of commands and return the trace it leaves."""
        self.world.trace.clear()
        for each in command.split("; "):
            name, _, rest = each.partition(" ")
            getattr(self, f"do_{name.replace('-', '_')}")(rest)
        if not command.startswith("run "):
            self.world.run(DUST_S)
        return list(self.world.trace)

    # Who is there.

    def do_broker(self, rest: str) -> None:
        name, *limits = rest.split()
        numbers = {key: int(value) for key, value in (each.split("=") for each in limits)}
        self.brokers[name] = BrokerProgram(self.world, name, **numbers)

    def do_worker(self, rest: str) -> None:
        name, _, *words = rest.split()
        options = dict(word.split("=") for word in words if "=" in word)
        links = [word for word in words if "=" not in word and word != "delays-end"]
        capacity = int(options.get("capacity", 100))
        dies_of = options.get("dies-of", "")
        worker = WorkerProgram(self.world, name, self.brokers, links, capacity, dies_of)
        worker.delays_end = "delays-end" in words
        self.peers[name] = worker

    def do_agent(self, rest: str) -> None:
        name, _, *words = rest.split()
        options = dict(word.split("=") for word in words if "=" in word)
        links = [word for word in words if "=" not in word]
        local = links[links.index("local") + 1 :] if "local" in links else []
        central = links[: links.index("local")] if "local" in links else links
        ports = options.get("ports", "p1").split(",")
        self.peers[name] = AgentProgram(
            self.world, name, self.brokers, central, local=local, ports=ports
        )

    def do_hand(self, rest: str) -> None:
        role, name, *words = rest.split()
        options = dict(zip(words[::2], words[1::2], strict=True))
        hand = self.peers.get(name)
        if not isinstance(hand, HandProgram):
            alias = options.get("as", "")
            hand = HandProgram(self.world, name, self.brokers, Role(role), alias)
            self.peers[name] = hand
        hand.greet(options["at"])

    def do_reconnect(self, rest: str) -> None:
        name, broker = rest.split()
        hand = self.peers[name]
        assert isinstance(hand, HandProgram)
        hand.reconnect(broker)

    def do_kill(self, rest: str) -> None:
        if rest in self.brokers:
            self.brokers.pop(rest).kill()
        else:
            self.peers.pop(rest).kill()

    # What they do.

    def do_say(self, rest: str) -> None:
        who, _, message = rest.partition(": ")
        name, _, listener = who.split()
        connection = self._connection(name, listener)
        to = connection.peer if name in self.brokers else connection.broker
        connection.send(to, [parse(message, self.world.names, name)])

    def do_call(self, rest: str) -> None:
        self._agent(rest).ring(rest)

    def do_hang_up(self, rest: str) -> None:
        self._agent(rest).hang_up(rest)

    def do_type(self, rest: str) -> None:
        port, _, text = rest.partition(" ")
        self._agent(port).type(port, text.encode() + b"\r")

    def do_keys(self, rest: str) -> None:
        port, _, text = rest.partition(" ")
        self._agent(port).type(port, text.encode())

    def do_finish(self, rest: str) -> None:
        name, dialog, how, *user = rest.split()
        code = Winerror.ERROR_TIMEOUT.code
        verdict = Granted(user[0]) if how == "granted" else Undecided(code)
        self._worker(name).finish(dialog, verdict)

    def do_drain(self, rest: str) -> None:
        name, seconds = rest.split()
        if name in self.brokers:
            broker = self.brokers[name]
            broker.core.drain(int(float(seconds) * 1000), self.world.now)
            broker.flush()
        else:
            self._worker(name).drain(float(seconds))

    def do_stop(self, rest: str) -> None:
        agent = self.peers[rest]
        assert isinstance(agent, AgentProgram)
        agent.stop()

    def do_run(self, rest: str) -> None:
        self.world.run(float(rest))

    # The network.

    def do_cut(self, rest: str) -> None:
        self._connection(*rest.split()).is_cut = True

    def do_break(self, rest: str) -> None:
        self._connection(*rest.split()).is_gone = True

    def do_hold(self, rest: str) -> None:
        sender, receiver = rest.split()
        self._connection(sender, receiver).hold(receiver)

    def do_release(self, rest: str) -> None:
        sender, receiver = rest.split()
        self._connection(sender, receiver).release(receiver)

    def _connection(self, one: str, other: str) -> Connection:
        peer, broker = (one, other) if one in self.peers else (other, one)
        return self.peers[peer].connection(broker)

    def _agent(self, port: str) -> AgentProgram:
        for peer in self.peers.values():
            if isinstance(peer, AgentProgram) and port in peer.modems:
                return peer
        raise AssertionError(f"no agent has the port {port}")

    def _worker(self, name: str) -> WorkerProgram:
        worker = self.peers[name]
        assert isinstance(worker, WorkerProgram)
        return worker


def play(text: str) -> tuple[str, list[str]]:
    """Return the scenario with the trace it leaves now, and which of its demands that breaks."""
    stage = Stage()
    played: list[str] = []
    broken: list[str] = []
    trace: list[str] = []
    shown: list[str] = []

    def finish() -> None:
        played.extend(f"    {line}" for line in trace)
        trace.clear()

    for number, line in enumerate(text.splitlines(), start=1):
        if line.startswith("    "):
            continue
        word, _, rest = line.partition(" ")
        if word in {"must", "never"}:
            if any(rest.strip() in each for each in shown) != (word == "must"):
                broken.append(f"line {number}: {line}")
        else:
            finish()
        played.append(line)
        if word == ">":
            trace = stage.do(rest)
            shown = list(trace)
    finish()
    return "\n".join(played) + "\n", broken


@pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])
def test_scenario(file: Path, request: pytest.FixtureRequest) -> None:
    text = file.read_text()

    played, broken = play(text)

    if request.config.getoption("--rewrite-scenarios"):
        file.write_text(played)
    else:
        assert played.splitlines() == text.splitlines()
    assert broken == []
