"""Callers as Debian ships them, at a modem that dials: chat, wvdial, minicom, picocom; and PPP.

What they know of a login is what their manuals tell; dialgate's prompts have to fit.  Each test
dials a line of its own, so that none waits until a port is ready again.
"""

from __future__ import annotations

import asyncio
import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest

from dialgate.records import CallFacts, read_calls
from tests.integration.cluster import Cluster, a_cluster
from tests.integration.places import Caller
from tests.integration.processes import PROJECT, wait_until
from tests.integration.recorded_bank import RING, RecordedLine, recorded_bank
from tests.integration.standin_pppd import STANDIN, Frames, configure_request, frame

CHAT, WVDIAL, MINICOM, PICOCOM, REFUSED, NAMED, NOT_NAMED, RECORDED = LINES = range(1, 9)
"""Who dials which line; PPP at the prompt is led to a service on NAMED."""
INIT: Final = ["ATZ", "ATE0Q0V1X4&C1&D2S0=0S12=2"]
"""The agent's own, with a short guard for the escape sequence."""
MAGIC: Final = b"\x05\x06\x01\x02\x03\x7e"
"""An LCP option with a flag in it."""
PATIENCE_S: Final = 20.0
"""For a whole call."""


@pytest.fixture(scope="module")
def recorded_lines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[RecordedLine]]:
    """Run two modems that somebody has left off-hook and set as nobody wants them."""
    with recorded_bank(tmp_path_factory.mktemp("recorded"), 2) as lines:
        for line in lines:
            line.modem.dte(b"ATV0X1&D0H1\r", 0.0)
            line.told.clear()
        yield lines


@pytest.fixture(scope="module")
def cluster(
    tmp_path_factory: pytest.TempPathFactory, recorded_lines: list[RecordedLine]
) -> Iterator[Cluster]:
    """Run a cluster in which ann's password is xyzzy."""
    with a_cluster(tmp_path_factory.mktemp("cluster")) as running:
        broker = running.broker("broker-1")
        running.worker("worker-1", [broker])
        standin = json.dumps([*STANDIN, str(running.directory / "told")])
        running.start_agent(
            [broker],
            lines=len(LINES),
            ports={
                WVDIAL: {"service": "ppp"},
                NAMED: {"ppp": "ppp"},
                RECORDED: {"device": str(recorded_lines[0].device), "init": INIT},
            },
            services=f"[services.ppp]\ncommand = {standin}\nraw = true\n",
        )
        running.ready()
        running.add_user("ann", "xyzzy", "worker-1")
        yield running


def recorded(cluster: Cluster, line: int, disconnect: str) -> CallFacts:
    """Return what is recorded of the line's call, once it is over."""

    def facts() -> list[CallFacts]:
        calls = read_calls(cluster.directory / "spool.db")
        return [x.facts for x in calls if x.kind == "stop" and x.facts.hport == f"oslo/{line}"]

    wait_until(lambda: len(facts()) == 1, lambda: "no record of the call", PATIENCE_S)
    (found,) = facts()
    assert found.disconnect == disconnect
    return found


def assert_was_at_the_console(cluster: Cluster, line: int) -> None:
    facts = recorded(cluster, line, "caller")
    assert facts.service == "console"
    assert [dialog.user for dialog in facts.dialogs] == ["ann"]


def chat(cluster: Cluster, line: int, password: str) -> subprocess.CompletedProcess[str]:
    """Run a script as pppd's `connect` does, on the modem as standard input and output."""
    script = [
        *("ABORT", "BUSY", "ABORT", "NO CARRIER", "ABORT", "Login incorrect"),
        *("", "ATZ", "OK", f"ATDT{cluster.dial + line}", "CONNECT", "\\c"),
        *("ogin:", "ann", "assword:", password, "the console", "q\\c", "<q>", "\\c"),
    ]
    with (cluster.directory / "ttyC1").open("r+b", buffering=0) as modem:
        return subprocess.run(
            ["/usr/sbin/chat", "-s", "-v", "-t", "15", *script],
            stdin=modem,
            stdout=modem,
            stderr=subprocess.PIPE,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )


def test_chat_dials_logs_in_and_reaches_the_service(cluster: Cluster) -> None:
    done = chat(cluster, CHAT, "xyzzy")

    assert done.returncode == 0, done.stderr
    assert_was_at_the_console(cluster, CHAT)


def test_chats_abort_string_sees_that_the_login_is_refused(cluster: Cluster) -> None:
    done = chat(cluster, REFUSED, "plugh")

    assert done.returncode == 6, done.stderr  # 4 and the place of the ABORT string.
    assert "Failed (Login incorrect)" in done.stderr
    assert recorded(cluster, REFUSED, "caller").service == ""


def test_wvdial_logs_in_by_itself_and_gives_its_pppd_the_line(
    cluster: Cluster, tmp_path: Path
) -> None:
    pppd, config, told = tmp_path / "pppd", tmp_path / "wvdial.conf", tmp_path / "told"
    pppd.write_text(
        f"#!{sys.executable}\nimport pathlib, sys\nsys.path.insert(0, {str(PROJECT)!r})\n"
        "from tests.integration.standin_pppd import end_link\n"
        f"end_link(pathlib.Path({str(told)!r}))\n"
    )
    pppd.chmod(0o755)
    config.write_text(
        f"[Dialer Defaults]\nModem = {cluster.directory}/ttyC1\nBaud = 38400\n"
        f"Phone = {cluster.dial + WVDIAL}\nUsername = ann\nPassword = xyzzy\n"
        # A PTY shows no carrier.
        f"Carrier Check = no\nAuto Reconnect = off\nPPPD Path = {pppd}\n"
    )

    done = subprocess.run(
        ["/usr/bin/wvdial", "--config", config],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )

    if done.returncode == -signal.SIGSEGV:
        pytest.xfail("wvdial of Debian 13 and Ubuntu 26.04 crashes by itself before it dials")
    assert told.exists(), done.stderr
    assert "PPP negotiation detected" in done.stderr
    assert "38400" in told.read_text().split()
    facts = recorded(cluster, WVDIAL, "service-ended")
    assert (facts.service, facts.dialogs[0].user) == ("ppp", "ann")


def test_minicoms_runscript_logs_in(cluster: Cluster, tmp_path: Path) -> None:
    script = tmp_path / "login"
    steps = [("OK", f"ATDT{cluster.dial + MINICOM}"), ("ogin:", "ann"), ("assword:", "xyzzy")]
    answers = "".join(f'expect {{\n"{seen}"\n}}\nsend {said}\n' for seen, said in steps)
    last = 'expect {\n"the console"\n}\nsend q\nexpect {\n"<q"\n}\n'
    reached = tmp_path / "reached"
    script.write_text(f"timeout 15\nsend ATZ\n{answers}{last}! touch {reached}\n")
    with ExitStack() as stack:
        ours, theirs = pty.openpty()
        stack.callback(os.close, ours)
        try:
            minicom = subprocess.Popen(
                [
                    *("/usr/bin/minicom", "-D", cluster.directory / "ttyC1", "-b", "38400"),
                    *("-S", script),
                ],
                stdin=theirs,
                stdout=theirs,
                stderr=theirs,
                env={"HOME": str(tmp_path), "TERM": "vt100", "PATH": "/usr/bin:/bin"},
                start_new_session=True,
            )
        finally:
            os.close(theirs)
        stack.callback(minicom.wait, PATIENCE_S)
        stack.callback(minicom.send_signal, signal.SIGTERM)

        wait_until(reached.exists, lambda: str(os.read(ours, 4096)), PATIENCE_S)

    assert_was_at_the_console(cluster, MINICOM)


EXPECT: Final = r"""
set timeout 15
proc await {text then} {
  expect $text {send $then} timeout {exit 1} eof {exit 2} BUSY {exit 3} "NO CARRIER" {exit 4}
}
spawn picocom --baud 38400 [lindex $argv 0]
await "Terminal ready" "ATZ\r"
await "OK" "ATDT[lindex $argv 1]\r"
await "login: " "ann\r"
await "Password: " "xyzzy\r"
await "the console" "q"
await "<q>" "\x01\x18"
expect eof
"""
"""The last keys, C-a C-x, end picocom."""


def test_expect_logs_in_through_picocom(cluster: Cluster, tmp_path: Path) -> None:
    script = tmp_path / "login.exp"
    script.write_text(EXPECT)

    done = subprocess.run(
        ["/usr/bin/expect", script, cluster.directory / "ttyC1", str(cluster.dial + PICOCOM)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )

    assert done.returncode == 0, done.stdout
    assert_was_at_the_console(cluster, PICOCOM)


# PPP at the prompt.


async def packets(caller: Caller, count: int) -> list[bytes]:
    """Return the packets that the caller gets next."""
    frames, got = Frames(), list[bytes]()
    while len(got) < count:
        heard = await caller.hears()
        assert heard, f"hung up after {got}"
        got += frames.feed(heard)
    return got


async def test_an_lcp_frame_at_the_prompt_reaches_the_service_that_is_named_for_it(
    cluster: Cluster,
) -> None:
    async with cluster.call(NAMED) as caller:
        await caller.sees(b"login: ")
        await caller.types(frame(configure_request(7, MAGIC)))

        assert await packets(caller, 2) == [
            b"\xc0\x21\x01\x01\x00\x04",  # Its own request.
            b"\xc0\x21\x02\x07\x00\x0a" + MAGIC,
        ]
        await caller.types(frame(b"\xc0\x21\x05\x08\x00\x04"))
        assert await caller.is_hung_up()

    facts = recorded(cluster, NAMED, "service-ended")
    assert facts.service == "ppp"
    assert [dialog.user for dialog in facts.dialogs] == [""]
    told = (cluster.directory / "told").read_text()
    assert told == f"{['', '', f'oslo/{NAMED}']}\n"


async def test_an_lcp_frame_at_the_prompt_ends_the_call_where_no_service_is_named(
    cluster: Cluster,
) -> None:
    async with cluster.call(NOT_NAMED) as caller:
        await caller.sees(b"login: ")
        await caller.types(frame(configure_request(7, MAGIC)))

        assert await caller.is_hung_up()

    assert recorded(cluster, NOT_NAMED, "ppp-refused").service == ""


# What a modem is told, with mgetty as the oracle.


async def call(line: RecordedLine) -> None:
    """Call, and hang up when somebody asks for a name."""
    reader, writer = await asyncio.open_connection(*line.dial)
    caller = Caller(reader, writer)
    await caller.sees(b"login: ", PATIENCE_S)
    caller.hang_up()
    await writer.wait_closed()


@pytest.fixture(scope="module")
def mgetty_told(recorded_lines: list[RecordedLine]) -> RecordedLine:
    """Let mgetty answer a call; return what its modem was told."""
    _, line = recorded_lines
    tty = line.device.relative_to("/dev")
    log = Path("/var/log/mgetty") / f"mg_{str(tty).replace('/', '-')}.log"
    log.unlink(missing_ok=True)
    with subprocess.Popen(["/sbin/mgetty", "-D", "-x", "4", "-s", "38400", tty]) as mgetty:
        try:
            wait_until(lambda: "AT" in line.told, lambda: str(line.told), PATIENCE_S)
            assert line.modem.is_idle
            asyncio.run(call(line))
        finally:
            mgetty.terminate()
            try:
                mgetty.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                mgetty.kill()  # What it does on SIGTERM can wait for a lock of its own for ever.
    said = log.read_text()
    log.unlink()
    # A PTY has no DTR, but it tried.
    assert said.index("lowering DTR") < said.index("send: ")
    return line


@pytest.fixture(scope="module")
def agent_told(cluster: Cluster, recorded_lines: list[RecordedLine]) -> RecordedLine:
    """Let the agent answer a call; return what its modem was told."""
    line, _ = recorded_lines
    assert line.modem.is_idle, "every line of the cluster is ready"
    asyncio.run(call(line))
    wait_until(lambda: line.told.count(INIT[-1]) > 1, lambda: str(line.told), PATIENCE_S)
    assert cluster.agent.is_running
    return line


def test_as_mgetty_an_agent_hangs_up_sets_waits_for_ring_and_answers(
    mgetty_told: RecordedLine, agent_told: RecordedLine
) -> None:
    hang_up = ["+++", "ATH"]

    # What mgetty wrote behind ATA was for the caller; some of it finds him gone.
    assert mgetty_told.told[:4] == ["ATQ0V1H0", "AT", RING, "ATA"]
    assert agent_told.told == [*hang_up, *INIT, RING, "ATA", *hang_up, *INIT]


def test_an_agent_leaves_less_to_a_modems_settings_than_mgetty(
    mgetty_told: RecordedLine, agent_told: RecordedLine
) -> None:
    both = mgetty_told.settings.items() & agent_told.settings.items()
    theirs = mgetty_told.settings.items() - both
    ours = agent_told.settings.items() - both

    assert dict(both) == {"Q": 0, "V": 1, "&C": 1, "S0": 0}
    assert dict(theirs) == {"E": 1, "X": 1, "&D": 0}, "as they were found"
    assert dict(ours) == {"E": 0, "X": 4, "&D": 2}
