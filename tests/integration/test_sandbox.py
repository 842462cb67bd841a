"""The units' system call filter leaves what dialgate, libzmq and services need.

`systemd-analyze verify` and `security` read units and start nothing, so here a node serves a caller
under the filter that its unit sets.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.places import Place
from tests.integration.processes import (
    DIALGATE,
    PROJECT,
    START_S,
    Program,
    dialgate,
    free_port,
    free_ports,
    wait_until,
)
from tests.integration.sandbox import numbers_of

UNITS = PROJECT / "deploy/systemd"


@pytest.fixture
def filtered() -> list[str]:
    """Return the command that runs another one as dialgate-node.service would."""
    for needed in ("systemd-analyze", "cc"):
        if shutil.which(needed) is None:
            pytest.skip(f"{needed} is not installed")
    common = sorted((UNITS / "dialgate-.service.d").glob("*.conf"))
    numbers = numbers_of([UNITS / "dialgate-node.service", *common])
    return [sys.executable, "-m", "tests.integration.sandbox", ",".join(map(str, numbers))]


@pytest.fixture
def place(tmp_path: Path, filtered: list[str]) -> Iterator[Place]:
    """Yield a node under the filter, which answers a simulated modem."""
    first, dial = free_ports(5), free_port()
    device, config = tmp_path / "ttyM1", tmp_path / "dialgate.toml"
    config.write_text(f"""
        [cluster]
        state = "sqlite:///{tmp_path}/state.db"
        [broker]
        name = "broker-1"
        agents = "tcp://127.0.0.1:{first}"
        workers = "tcp://127.0.0.1:{first + 1}"
        http = "127.0.0.1:{first + 2}"
        insecure = true
        [worker]
        name = "worker-1"
        brokers = ["tcp://127.0.0.1:{first + 1}"]
        http = "127.0.0.1:{first + 3}"
        insecure = true
        [agent]
        name = "oslo-1"
        site = "oslo"
        brokers = ["tcp://127.0.0.1:{first}"]
        http = "127.0.0.1:{first + 4}"
        spool = "{tmp_path}/spool.db"
        insecure = true
        [[agent.ports]]
        hport = "oslo/1"
        device = "{device}"
        dcd = "ignore"
        service = "shell"
        [services.shell]
        command = ["/bin/sh", "-c", "test -t 0 && grep Seccomp: /proc/self/status; exec cat"]
        [[policies]]
        authenticators = ["local"]
        [authenticators.local]
        kind = "local"
    """)
    line = ("--ports", "1", "--dial", f"127.0.0.1:{dial - 1}", "--directory", tmp_path)
    bank = subprocess.Popen([*DIALGATE, "bank", *line], cwd=PROJECT, stdout=subprocess.DEVNULL)
    try:
        wait_until(device.exists, lambda: "the bank has no device", START_S)
        added = dialgate("users", "add", "ann", "--config", config, stdin="correct horse\n")
        assert added.returncode == 0, added.stderr
        node = Program(
            "node", config, f"127.0.0.1:{first + 4}", command=[*filtered, *DIALGATE, "node"]
        )
        try:
            node.wait_for("/livez")
            place = Place(node, dial)
            wait_until(place.is_idle, lambda: node.stderr[-4000:], START_S)
            yield place
        finally:
            node.stop()
    finally:
        bank.terminate()
        bank.wait(10)


async def test_a_node_under_its_units_filter_lets_a_caller_in_and_runs_his_service(
    place: Place,
) -> None:
    async with place.call() as caller:
        await caller.sees(b"login: ")
        await caller.types(b"ann\r")
        await caller.sees(b"Password: ")
        await caller.types(b"correct horse\r")
        # The filter is the service's, too: 2 is SECCOMP_MODE_FILTER (proc(5)).
        await caller.sees(b"Seccomp:\t2")
        await caller.types(b"hello\r")
        await caller.sees(b"hello\r\nhello")
