"""Dialogs a second through the real broker process, beside libzmq's own zmq_proxy.

Both relay the same dialogs of eight messages for the same C program (load.c); the proxy one message
a ZeroMQ message, as it would for peers that don't pack.  Rounds are interleaved, so that a slow
minute of the machine slows all of them.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from msgspec import UNSET
from msgspec.structs import replace

from benchmarks.figures import median, spread, table
from benchmarks.sockets import free_ports
from dialgate.codes import NO_ERROR, Raserror
from dialgate.keys import create_directory, create_pair, load_directory, load_secret
from dialgate.wire import bodies
from dialgate.wire.body_codec import encode, encode_body
from dialgate.wire.limits import PROTOCOL
from dialgate.wire.verbs import Verb

__all__ = ["measure"]

ROUNDS: Final = 7
ROUND_S: Final = 1.0
IN_FLIGHT: Final = (64, 256)
MESSAGES: Final = 8
"""Messages of one dialog, each of which the broker relays."""
SOURCE: Final = Path(__file__).with_name("load.c")
WORKER: Final = b"benchmark-worker"
AGENT: Final = b"benchmark--agent"


@dataclass(frozen=True, slots=True)
class Round:
    """What one round of load.c counted."""

    dialogs_per_s: float
    packing: float
    """Messages a frame, both peers' receptions together."""


def measure(rounds: int = ROUNDS, round_s: float = ROUND_S) -> tuple[str, dict[str, float]]:
    """Run all modes; return the table for people and the ratios for the bounds."""
    with tempfile.TemporaryDirectory(prefix="dialgate-bench-") as name:
        place = Path(name)
        load = _build(place)
        modes = _Modes(place, load, round_s)
        results: dict[tuple[str, int], list[Round]] = {}
        with modes.running():
            for _ in range(rounds):
                for in_flight in IN_FLIGHT:
                    for mode in modes.NAMES:
                        results.setdefault((mode, in_flight), []).append(
                            modes.round(mode, in_flight)
                        )
    return _report(results)


def _report(results: dict[tuple[str, int], list[Round]]) -> tuple[str, dict[str, float]]:
    rows: list[Sequence[str]] = [
        ["relay", "in flight", "dialogs/s", "messages/s", "spread (k)", "msgs/frame", "vs proxy"]
    ]
    ratios: dict[str, float] = {}
    for (mode, in_flight), measured in sorted(results.items(), key=lambda item: item[0][1]):
        rates = [r.dialogs_per_s for r in measured]
        # Pair by pair, so that the machine's drift cancels out.
        proxy = [r.dialogs_per_s for r in results["zmq_proxy", in_flight]]
        ratio = median([a / b for a, b in zip(rates, proxy, strict=True)])
        ratios[f"{mode}/{in_flight}"] = ratio
        rows.append(
            [
                mode,
                str(in_flight),
                f"{median(rates):,.0f}",
                f"{median(rates) * MESSAGES:,.0f}",
                spread(rates),
                f"{median([r.packing for r in measured]):.1f}",
                f"{ratio:.2f}",
            ]
        )
    return table(rows), ratios


def _build(place: Path) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        sys.exit("bench: no C compiler: apt-get install gcc libc6-dev libzmq3-dev")
    binary = place / "load"
    built = subprocess.run(
        [compiler, "-O2", "-o", str(binary), str(SOURCE), "-lzmq"],
        capture_output=True,
        text=True,
        check=False,
    )
    if built.returncode:
        sys.exit(f"bench: {SOURCE.name} does not build (libzmq3-dev installed?):\n{built.stderr}")
    return binary


class _Modes:
    """The relays under test, all running at once, and one load at a time."""

    NAMES = ("ceiling", "zmq_proxy", "broker", "broker+CURVE")

    def __init__(self, place: Path, load: Path, round_s: float) -> None:
        self._place = place
        self._load = load
        self._round_s = round_s
        self._keys = place / "keys"
        self._session = 0
        names = (
            "direct",
            "pf",
            "pb",
            "open-a",
            "open-w",
            "open-h",
            "curve-a",
            "curve-w",
            "curve-h",
        )
        self._ports = dict(zip(names, free_ports(len(names)), strict=True))

    @contextmanager
    def running(self) -> Iterator[None]:
        """Start both brokers and the proxy; stop them at the end."""
        create_directory(self._keys)
        create_pair(self._keys, "broker", "bench")
        create_pair(self._keys, "agent", "bench", site="bench", hports=["*"])
        create_pair(self._keys, "worker", "bench")
        commands = [
            [str(self._load), "proxy", self._end("pf"), self._end("pb"), "0", "0"],
            self._broker("open", insecure=True),
            self._broker("curve", insecure=False),
        ]
        processes = [subprocess.Popen(command) for command in commands]
        try:
            deadline = time.monotonic() + 20
            for name in ("pf", "pb", "open-a", "open-w", "curve-a", "curve-w"):
                while not _listens(self._ports[name]):
                    if time.monotonic() > deadline:
                        sys.exit("bench: a relay did not start")
                    time.sleep(0.05)
            yield
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                try:
                    process.wait(5)
                except subprocess.TimeoutExpired:
                    process.kill()

    def round(self, mode: str, in_flight: int) -> Round:
        """Run one load and return what it counted."""
        arguments = {
            "ceiling": ["direct", self._end("direct"), "-"],
            "zmq_proxy": ["single", self._end("pf"), self._end("pb")],
            "broker": ["relay", self._end("open-a"), self._end("open-w")],
            "broker+CURVE": ["relay", self._end("curve-a"), self._end("curve-w")],
        }[mode]
        command = [str(self._load), *arguments, str(in_flight), str(self._round_s)]
        done = subprocess.run(
            command,
            input=self._templates(curve=mode == "broker+CURVE"),
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
        if done.returncode:
            sys.exit(f"bench: {mode} failed: {done.stderr.strip()}")
        counted = json.loads(done.stdout)
        return Round(
            counted["dialogs"] / counted["seconds"], counted["messages"] / counted["frames"]
        )

    def _end(self, name: str) -> str:
        # TCP for all: on ipc no broker asks for keys.
        return f"tcp://127.0.0.1:{self._ports[name]}"

    def _broker(self, name: str, *, insecure: bool) -> list[str]:
        config = self._place / f"{name}.toml"
        config.write_text(
            f"""
[cluster]
name = "bench"
state = "sqlite:///{self._place}/state.db"
keys = "{self._keys}"
[broker]
name = "bench"
agents = "{self._end(name + "-a")}"
workers = "{self._end(name + "-w")}"
http = "127.0.0.1:{self._ports[name + "-h"]}"
insecure = {"true" if insecure else "false"}
"""
        )
        options = ["--config", str(config), "--log-level", "warning"]
        return [sys.executable, "-m", "dialgate", "broker", *options]

    def _templates(self, *, curve: bool) -> str:
        self._session += 1
        code = Raserror.ERROR_PORT_DISCONNECTED.code
        hello = bodies.Hello(
            protocol=PROTOCOL,
            role="agent",
            name="bench",
            instance=AGENT,
            session=self._session,
            version="bench",
            site="bench",
        )
        receive = bodies.Receive(
            worker=WORKER,
            seq=1,
            prompt=b"login: ",
            mode="line",
            echo="on",
            limit=256,
            timeout_s=60,
            cookie=bytes(96),
        )
        templates: dict[str, bytes] = {
            "hello_agent": encode(Verb.HELLO, hello),
            "hello_worker": encode(
                Verb.HELLO,
                replace(hello, role="worker", instance=WORKER, site=UNSET, capacity=1000),
            ),
            "ready": encode_body(bodies.Ready(credit=2**50)),
            "begin": encode_body(
                bodies.Begin(hport="bench/00000", call=bytes(16), facts=bytes(160))
            ),
            "receive1": encode_body(receive),
            "received1": encode_body(bodies.Received(seq=1, status=NO_ERROR, data=b"operator")),
            "receive2": encode_body(replace(receive, seq=2, prompt=b"Password: ", echo="off")),
            "received2": encode_body(bodies.Received(seq=2, status=NO_ERROR, data=b"correct h")),
            "complete": encode_body(
                bodies.Complete(
                    worker=WORKER,
                    msg_id=1,
                    error=NO_ERROR,
                    username="operator",
                    domain="",
                    attributes={"service": "console"},
                )
            ),
            "end": encode_body(bodies.End(reason=NO_ERROR)),
            "end_reply": encode_body(bodies.EndReply(code=code)),
        }
        lines = [f"{name} {value.hex()}" for name, value in templates.items()]
        if curve:
            directory = load_directory(self._keys)
            lines.append(f"curve_server {directory.broker_key().decode()}")
            for role in ("agent", "worker"):
                pair = load_secret(self._keys, role, "bench")
                lines.append(f"curve_{role}_public {pair.public.decode()}")
                lines.append(f"curve_{role}_secret {pair.secret.decode()}")
        return "\n".join(lines)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
