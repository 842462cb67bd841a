"""A site whose service is Debian's pppd, and pppds that call it: what prove_pppd.py runs.

It needs a kernel with PPP, an empty /etc/ppp and a network of its own, which whoever starts it
provides; as that kernel may be a slow one, the programs are forked from one Python that has read
all modules.  What became of each call goes into results.json beside the site's other files.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Final, NamedTuple

from dialgate.passwords import Argon2
from dialgate.records import read_calls
from dialgate.state import open_state
from dialgate.users import UserTerms, add_user

__all__ = ["CALLS", "Call"]

HERE: Final = "192.0.2.1"
"""The site's end of each link."""
DIAL: Final = 2300
PLANT: Final = 7000
"""TCP port of something on the site's network."""
PATIENCE_S: Final = 60.0
POLL_S: Final = 0.1
PROGRAMS: Final = {
    name: entry_points(group="dialgate.programs")[name].load()
    for name in ("bank", "broker", "worker", "agent")
}
"""Each is main(arguments) -> exit status."""
PROJECT: Final = Path(__file__).parents[2]


class Call(NamedTuple):
    """How a pppd calls; each from a modem and on a line of its own."""

    line: int
    logs_in: bool
    """Whether as ann at the prompt, before it speaks PPP."""
    user: str
    """Whom PPP authenticates."""
    password: str
    is_up: bool
    """Whether it gets through to the site's network."""


CALLS: Final = {
    "same user": Call(1, logs_in=True, user="ann", password="xyzzy", is_up=True),
    "other user": Call(2, logs_in=True, user="mallory", password="plugh", is_up=False),
    "wrong password": Call(3, logs_in=True, user="ann", password="wrong", is_up=False),
    "at the prompt": Call(4, logs_in=False, user="bea", password="grue", is_up=True),
}
SECRETS: Final = "ann * xyzzy 192.0.2.2\nbea * grue 192.0.2.3\nmallory * plugh 192.0.2.4\n"
CONFIG: Final = """
[cluster]
state = "sqlite:///{directory}/state.db"
[broker]
name = "broker-1"
agents = "tcp://127.0.0.1:7700"
workers = "tcp://127.0.0.1:7701"
http = "127.0.0.1:7780"
insecure = true
[worker]
name = "worker-1"
brokers = ["tcp://127.0.0.1:7701"]
http = "127.0.0.1:7782"
insecure = true
[agent]
name = "oslo-1"
site = "oslo"
brokers = ["tcp://127.0.0.1:7700"]
http = "127.0.0.1:7781"
spool = "{directory}/spool.db"
insecure = true
[[agent.banks]]
hport = "oslo/{{n}}"
devices = "{directory}/ttyM{{1..4}}"
dcd = "ignore"
init = ["ATE0Q0V1X4S0=0S12=2"]
escape_guard_ms = 80
service = "ppp"
ppp = "ppp-at-once"
[[policies]]
authenticators = ["local"]
[authenticators.local]
kind = "local"
"""


def recipes(kind: str) -> list[str]:
    """Return the blocks of a kind that docs/services.md has for pppd."""
    page = (PROJECT / "docs" / "services.md").read_text().partition("\n## pppd\n")[2]
    return re.findall(rf"```{kind}\n(.*?)```", page, re.DOTALL)


def write_files(directory: Path) -> Path:
    """Write what pppd reads, as the page says; return the site's configuration."""
    program = Path(sys.executable).with_name("dialgate")
    (script,) = recipes("sh")
    auth_up = Path("/etc/ppp/auth-up")
    auth_up.write_text(script.replace("dialgate service", f"{program} service"))
    auth_up.chmod(0o755)
    Path("/etc/ppp/options").touch()
    Path("/etc/ppp/pap-secrets").write_text(SECRETS)
    config = directory / "dialgate.toml"
    config.write_text(CONFIG.format(directory=directory) + "".join(recipes("toml")))
    return config


def fork(directory: Path, name: str, *arguments: str) -> int:
    """Run a program of dialgate's in a process of its own; return its id."""
    if pid := os.fork():
        return pid
    try:
        os.setsid()
        log = os.open(directory / f"{name}.log", os.O_WRONLY | os.O_CREAT, 0o644)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os._exit(PROGRAMS[name](arguments))
    finally:
        os._exit(1)


async def until(happened: Callable[[], bool], what: str) -> None:
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not happened():  # noqa: ASYNC110 - other processes set no event of ours
                await asyncio.sleep(POLL_S)
    except TimeoutError:
        raise TimeoutError(f"not in {PATIENCE_S:g} s: {what}") from None


def is_ready(http: str, wanted: str) -> bool:
    """Whether what a program serves over HTTP holds `wanted`."""
    try:
        with urllib.request.urlopen(f"http://{http}", timeout=5) as answer:
            return wanted in answer.read().decode()
    except OSError:
        return False


async def add_ann(directory: Path) -> None:
    """Add her as `dialgate users` does, at a cost that suits tests."""
    state = await open_state(f"sqlite:///{directory}/state.db")
    await add_user(state, "ann", b"xyzzy", Argon2(memory_kib=8, passes=1), UserTerms())
    await state.dispose()


def record_of(directory: Path, line: int) -> dict[str, str]:
    """Return what is recorded of the line's call; nothing until it is over."""
    for call in read_calls(directory / "spool.db"):
        if call.kind == "stop" and call.facts.hport == f"oslo/{line}":
            facts = call.facts
            user = facts.dialogs[-1].user
            return {"disconnect": facts.disconnect, "service": facts.service, "user": user}
    return {}


async def make(directory: Path, call: Call) -> dict[str, Any]:
    """Let a pppd call, from a network of its own; return what became of it."""
    script = ["", "ATZ", "OK", f"ATDT{DIAL + call.line}", "CONNECT", "\\c", "ogin:"]
    script += ["ann", "assword:", "xyzzy"] if call.logs_in else ["\\c"]
    log = directory / f"pppd-{call.line}.log"
    with log.open("wb") as output:
        pppd = subprocess.Popen(  # noqa: ASYNC220 - its end is polled for
            [
                *("/usr/bin/unshare", "--net", "/usr/sbin/pppd"),
                *(directory / f"ttyC{call.line}", "38400", "local", "nodetach", "noauth"),
                *("noipdefault", "nodefaultroute", "debug"),
                *("user", call.user, "password", call.password),
                *("connect", shlex.join(["/usr/sbin/chat", "-t", "45", *script])),
            ],
            stdout=output,
            stderr=output,
        )
    heard = ""
    try:
        if call.is_up:
            await until(lambda: "remote IP address" in log.read_text(), f"the link: {call}")
            heard = await visit(pppd.pid)
        else:
            await until(lambda: bool(record_of(directory, call.line)), f"the record: {call}")
    finally:
        pppd.terminate()
        await until(lambda: pppd.poll() is not None, "the caller's end")
    await until(lambda: bool(record_of(directory, call.line)), f"the record: {call}")
    return {"heard": heard, "log": log.read_text(), **record_of(directory, call.line)}


async def visit(caller: int) -> str:
    """Return what a caller gets from the site's network through his link."""
    visitor = await asyncio.create_subprocess_exec(
        *("/usr/bin/nsenter", "--net", "--target", str(caller)),
        *("/bin/bash", "-c", f"cat </dev/tcp/{HERE}/{PLANT}"),
        stdout=subprocess.PIPE,
    )
    async with asyncio.timeout(PATIENCE_S):
        heard, _ = await visitor.communicate()
    return heard.decode()


async def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Serve who comes through the link."""
    writer.write(b"welcome to the plant\n")
    await writer.drain()
    writer.close()


async def call_all(directory: Path) -> dict[str, dict[str, Any]]:
    """Let all call at once; return what became of each."""
    await until(lambda: is_ready("127.0.0.1:7782/readyz", ""), "the worker")
    idle = f'state="idle"}} {len(CALLS)}.0'
    await until(lambda: is_ready("127.0.0.1:7781/metrics", idle), "the lines")
    async with await asyncio.start_server(greet, "0.0.0.0", PLANT):
        made = await asyncio.gather(*(make(directory, call) for call in CALLS.values()))
    return dict(zip(CALLS, made, strict=True))


def main() -> None:
    """Run the site until all have called."""
    directory = Path(sys.argv[1])
    config = write_files(directory)
    asyncio.run(add_ann(directory))
    count = str(len(CALLS))
    modems = ("--ports", count, "--calling", count, "--directory", str(directory))
    running = [fork(directory, "bank", *modems)]
    asyncio.run(until((directory / f"ttyC{count}").exists, "the bank"))
    try:
        for name in ("broker", "worker", "agent"):
            running += [fork(directory, name, "--config", str(config))]
        results = asyncio.run(call_all(directory))
        (directory / "results.json").write_text(json.dumps(results))
    finally:
        for pid in running:
            os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    main()
