"""RADIUS end to end: nc dials a simulated modem, `dialgate node` answers, FreeRADIUS decides."""

from __future__ import annotations

import re
import select
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Self

import pytest

from dialgate.records import CallRecord, read_calls
from tests.integration.freeradius import SECRET, FreeRadius
from tests.integration.processes import (
    DIALGATE,
    PROJECT,
    START_S,
    Program,
    dialgate,
    free_port,
    wait_until,
)
from tests.matrices import Matrix

PAGE: Final = PROJECT / "docs" / "authenticators.md"
DIALLED: Final = "accept, dialled with nc through modem, agent and broker"
"""This module's row of the matrix."""
UNANSWERED: Final = "RADIUS accounting is not answered"
PATIENCE_S: Final = 15.0

CONFIG: Final = """\
[cluster]
state = "sqlite:///{directory}/state.db"
[broker]
name = "broker-1"
agents = "tcp://127.0.0.1:{agents}"
workers = "tcp://127.0.0.1:{workers}"
http = "127.0.0.1:{broker}"
insecure = true
[worker]
name = "worker-1"
brokers = ["tcp://127.0.0.1:{workers}"]
http = "127.0.0.1:{worker}"
insecure = true
[agent]
name = "oslo-1"
site = "oslo"
brokers = ["tcp://127.0.0.1:{agents}"]
http = "127.0.0.1:{agent}"
spool = "{directory}/spool.db"
interim_s = 1
insecure = true
[[agent.ports]]
hport = "oslo/1"
device = "{directory}/ttyM1"
dcd = "ignore"
init = ["ATZ", "ATE0Q0V1X4&C1&D2S0=0S12=2"]
escape_guard_ms = 80
service = "shell"
[services.shell]
command = ["/bin/sh", "-c", "env | grep DIALGATE_; echo END; exec cat"]
[[policies]]
authenticators = ["corp"]
retry_delay_s = 0
[authenticators.corp]
kind = "radius"
servers = ["{authentication}"]
accounting = ["{accounting}"]
secret_file = "{directory}/radius.secret"
timeout_s = 1
retries = 1
"""


class Dialled:
    """A caller's `nc`, from the number `number` if it isn't 0."""

    def __init__(self, port: int, number: int = 0) -> None:
        self._nc = subprocess.Popen(
            ["nc", *(("-p", str(number)) if number else ()), "127.0.0.1", str(port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )
        assert self._nc.stdout is not None
        self._screen = self._nc.stdout
        self.seen = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.hang_up()

    def sees(self, text: bytes) -> bytes:
        """Return what stands on the screen before `text`, waiting for it."""
        deadline = time.monotonic() + PATIENCE_S
        while text not in self.seen:
            assert time.monotonic() < deadline, f"the screen shows {self.seen!r}"
            data = self._screen.read(1000)
            assert data, f"hung up, and the screen shows {self.seen!r}"
            self.seen += data
        before, _, self.seen = self.seen.partition(text)
        return before

    def hears_nothing_for(self, seconds: float) -> bool:
        """Return whether nothing comes, not even a hang-up."""
        return not select.select([self._screen], [], [], seconds)[0]

    def types(self, line: str) -> None:
        assert self._nc.stdin is not None
        self._nc.stdin.write(f"{line}\r".encode())

    def is_hung_up(self) -> bytes:
        """Return the last words, when the line has gone dead."""
        assert self._nc.stdin is not None
        self._nc.stdin.close()  # nc ends when both sides have; this alone ends no call.
        while data := self._screen.read(1000):
            self.seen += data
        return self.seen

    def hang_up(self) -> None:
        self._nc.kill()
        self._nc.wait(5)
        for stream in (self._nc.stdin, self._nc.stdout):
            if stream is not None:
                stream.close()


class Site:
    """A node with one modem."""

    def __init__(self, directory: Path, radius: FreeRadius) -> None:
        self.directory = directory
        self.radius = radius
        self.dial = free_port()
        self.http = {
            name: free_port() for name in ("agents", "workers", "broker", "worker", "agent")
        }
        self.config = directory / "dialgate.toml"
        secret = directory / "radius.secret"
        secret.write_bytes(SECRET + b"\n")
        secret.chmod(0o600)
        self.config.write_text(
            CONFIG.format(
                directory=directory,
                authentication=radius.authentication,
                accounting=radius.accounting,
                **self.http,
            )
        )
        self.node: Program

    @contextmanager
    def call(self) -> Iterator[Dialled]:
        """Dial, and hang up at the end; the port is ready for the next call when it is over."""
        with Dialled(self.dial) as caller:
            yield caller
        wait_until(self.is_idle, lambda: "the port is not ready again", PATIENCE_S)

    def is_idle(self) -> bool:
        address = f"http://127.0.0.1:{self.http['agent']}/metrics"
        try:
            with urllib.request.urlopen(address, timeout=5) as metrics:
                text = metrics.read().decode()
        except OSError:
            return False
        return re.search(r'^dialgate_ports{.*state="idle".*} 1.0$', text, re.MULTILINE) is not None

    def account(self, session: str, status: str) -> dict[str, str]:
        """Return the accounting request of a call, waiting for it."""
        wait_until(
            lambda: bool(self.accounts(session, status)),
            lambda: self.node.stderr[-3000:],
            PATIENCE_S,
        )
        return self.accounts(session, status)[0]

    def accounts(self, session: str, status: str = "") -> list[dict[str, str]]:
        """Return the accounting requests of a call that have come, of one kind or of all."""
        return [
            each
            for each in self.radius.accounts()
            if each["Acct-Session-Id"] == session and status in {"", each["Acct-Status-Type"]}
        ]

    def last_call(self) -> CallRecord:
        return read_calls(self.directory / "spool.db")[0]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with FreeRadius(tmp_path_factory.mktemp("radius")) as radius:
        site = Site(tmp_path_factory.mktemp("site"), radius)
        line = ("--ports", "1", "--dial", f"127.0.0.1:{site.dial - 1}")
        bank = subprocess.Popen(
            [*DIALGATE, "bank", *line, "--directory", site.directory],
            cwd=PROJECT,
            stdout=subprocess.DEVNULL,
        )
        site.node = Program("node", site.config, f"127.0.0.1:{site.http['broker']}")
        try:
            wait_until(site.is_idle, lambda: site.node.stderr[-3000:], START_S)
            yield site
        finally:
            site.node.stop()
            bank.terminate()
            bank.wait(10)


def test_the_issues_configuration_is_without_fault(site: Site) -> None:
    checked = dialgate("check", site.config)

    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_a_caller_is_let_in_and_his_service_gets_the_servers_attributes(
    site: Site, request: pytest.FixtureRequest
) -> None:
    with site.call() as caller:
        caller.sees(b"login: ")
        caller.types("ann")
        caller.sees(b"Password: ")
        caller.types("secret")
        environment = caller.sees(b"END")
        caller.types("hello")
        caller.sees(b"hello")

    for variable in (
        b"USER=ann",
        b"ATTR_SESSION_TIMEOUT_S=1800",
        b"ATTR_CALLBACK_NUMBER=5550199",
        b"ATTR_FILTER_ID=field",
        b"ATTR_FRAMED_IP_ADDRESS=192.0.2.33",
        b"ATTR_CLASS=00ff2c31",
    ):
        assert b"DIALGATE_" + variable in environment
    stay = site.last_call().facts.dialogs[0]
    assert (stay.verdict, stay.user) == ("success", "ann")
    assert stay.attributes["session_timeout_s"] == 1800
    assert stay.attributes["class"] == "00ff2c31"
    matrix = Matrix(PAGE, "radius", rewrite=request.config.getoption("--rewrite-matrices"))
    matrix.check(DIALLED, "FreeRADIUS", f"{stay.verdict.upper()} {stay.user}", "")


def test_a_caller_answers_what_the_server_asks(site: Site) -> None:
    with site.call() as caller:
        caller.sees(b"login: ")
        caller.types("rounds-2")
        caller.sees(b"Password: ")
        caller.types("secret")
        caller.sees(b"Question 1? ")
        caller.types("answer 1")
        caller.sees(b"answer 1")  # Prompt = Echo
        caller.sees(b"Question 2? ")
        caller.types("answer 2")
        caller.sees(b"DIALGATE_USER=rounds-2")


def test_a_caller_is_refused_and_hung_up_on_after_his_tries(site: Site) -> None:
    with site.call() as caller:
        for name in ("ann", "ann", "typed-too-soon"):
            caller.sees(b"login: ")
            caller.types(name)
            caller.sees(b"Password: ")
            caller.types("guess")
        assert b"Login incorrect" in caller.is_hung_up()

    dialog = site.last_call().facts.dialogs[0]
    assert (dialog.verdict, dialog.user) == ("failure", "(unknown)")


def test_the_servers_session_limit_ends_the_call(site: Site) -> None:
    with site.call() as caller:
        caller.sees(b"login: ")
        caller.types("brief")
        caller.sees(b"Password: ")
        caller.types("secret")
        caller.sees(b"DIALGATE_USER=brief")
        caller.is_hung_up()

    assert site.last_call().facts.disconnect == "session-timeout"


def test_without_a_server_nobody_is_refused_and_nobody_gets_in(site: Site) -> None:
    site.radius.kill()
    try:
        with site.call() as caller:
            caller.sees(b"login: ")
            caller.types("ann")
            caller.sees(b"Password: ")
            caller.types("secret")
            assert b"not available" in caller.is_hung_up()
    finally:
        site.radius.start()

    assert site.last_call().facts.dialogs[0].verdict == "error"


def test_a_call_is_accounted_and_its_stop_sent_until_the_server_is_back(site: Site) -> None:
    with site.call() as caller:
        caller.sees(b"login: ")
        caller.types("ann")
        caller.sees(b"Password: ")
        caller.types("secret")
        session = caller.sees(b"END").partition(b"CALL_ID=")[2].split()[0].decode()
        start = site.account(session, "Start")
        site.radius.kill()
        silences = site.node.stderr.count(UNANSWERED)
        caller.types("hello")
        caller.sees(b"hello")
    wait_until(
        lambda: site.node.stderr.count(UNANSWERED) > silences,
        lambda: "nothing was sent while the server was dead",
        PATIENCE_S,
    )
    site.radius.start()
    stop = site.account(session, "Stop")

    for account in (start, stop):
        assert account["User-Name"] == "ann"
        assert account["NAS-Identifier"] == "oslo-1"
        assert account["NAS-Port-Id"] == "oslo/1"
        assert account["NAS-Port-Type"] == "Async"
        assert account["Class"] == "0x00ff2c31"
        assert account["Acct-Authentic"] == "RADIUS"
    assert stop["Acct-Terminate-Cause"] == "Lost-Carrier"
    assert int(stop["Acct-Delay-Time"]) >= 2  # As long as two time-outs.
    assert int(stop["Acct-Input-Octets"]) >= len("hello\r")
    kinds = [each["Acct-Status-Type"] for each in site.accounts(session)]
    assert (kinds[0], kinds[-1]) == ("Start", "Stop")
    assert set(kinds[1:-1]) <= {"Interim-Update"}


def test_how_a_stay_goes_on_is_told_every_interim(site: Site) -> None:
    with site.call() as caller:
        caller.sees(b"login: ")
        caller.types("ann")
        caller.sees(b"Password: ")
        caller.types("secret")
        session = caller.sees(b"END").partition(b"CALL_ID=")[2].split()[0].decode()
        caller.types("hello")
        wait_until(
            lambda: len(site.accounts(session, "Interim-Update")) >= 2,
            lambda: site.node.stderr[-3000:],
            PATIENCE_S,
        )
    stop = site.account(session, "Stop")

    first, second = site.accounts(session, "Interim-Update")[:2]
    times = [int(each["Acct-Session-Time"]) for each in (first, second, stop)]
    assert times == sorted(times)
    assert 1 <= times[0] < times[1]
    assert int(second["Acct-Input-Octets"]) >= len("hello\r")
    assert int(stop["Acct-Output-Octets"]) >= int(second["Acct-Output-Octets"]) > 0
    for interim in (first, second):
        assert interim["User-Name"] == "ann"
        assert interim["Class"] == "0x00ff2c31"
        assert "Acct-Terminate-Cause" not in interim


def test_no_password_or_secret_is_in_the_log(site: Site) -> None:
    log = site.node.stderr

    assert "try failed" in log
    for word in ("guess", "answer 1", "typed-too-soon", SECRET.decode()):
        assert word not in log
