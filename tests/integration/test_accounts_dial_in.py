"""Users, codes and locks end to end: nc dials a simulated modem, `dialgate node` answers."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import pyotp
import pytest

from tests.integration.processes import (
    DIALGATE,
    PROJECT,
    START_S,
    Program,
    dialgate,
    free_port,
    wait_until,
)
from tests.integration.test_radius_dial_in import CONFIG, PATIENCE_S, Dialled

ACCOUNTS: Final = """\
[[policies]]
authenticators = ["local", "code"]
chain = "all"
retry_delay_s = 0
services = ["shell", "diary"]
[services.diary]
command = ["/bin/sh", "-c", "echo dear diary; exec cat"]
[authenticators.local]
kind = "local"
[authenticators.code]
kind = "otp"
[lockout]
place_tries = 4
"""


class Site:
    """A node with one modem and the user ann, who has a token."""

    def __init__(self, directory: Path) -> None:
        self.dial = free_port()
        http = {name: free_port() for name in ("agents", "workers", "broker", "worker", "agent")}
        self.config = directory / "dialgate.toml"
        self.config.write_text(
            CONFIG.partition("[[policies]]")[0].format(directory=directory, **http) + ACCOUNTS
        )
        self.users("add", "ann", "--role", "field", "--must-change", stdin="for once\n")
        shown = self.users("otp", "ann")
        self.recovery_codes: list[str] = re.findall(r"^  (\S+-\S+-\S+)$", shown, re.MULTILINE)
        found = re.search(r"secret=(\w+)", shown)
        assert found is not None
        self._totp = pyotp.TOTP(found[1])
        self._http = f"127.0.0.1:{http['agent']}"

    def start(self) -> None:
        """Start the node; its device must be there."""
        self.node = Program("node", self.config, self._http)

    def users(self, *words: str, stdin: str = "") -> str:
        done = dialgate("users", *words, "--config", self.config, stdin=stdin)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def code(self) -> str:
        return self._totp.at(time.time())

    @contextmanager
    def call(self, password: str, code: str) -> Iterator[Dialled]:
        """Dial as ann and give password and code; hang up at the end."""
        with Dialled(self.dial) as caller:
            caller.sees(b"login: ")
            caller.types("ann")
            caller.sees(b"Password: ")
            caller.types(password)
            if code:
                caller.sees(b"Code: ")
                caller.types(code)
            yield caller
        wait_until(self.is_idle, lambda: "the port is not ready again", PATIENCE_S)

    def is_idle(self) -> bool:
        try:
            return self.node.metric("dialgate_ports", state="idle") == 1
        except OSError:
            return False


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    line = ("--ports", "1", "--dial", f"127.0.0.1:{site.dial - 1}", "--directory", tmp_path)
    bank = subprocess.Popen([*DIALGATE, "bank", *line], cwd=PROJECT, stdout=subprocess.DEVNULL)
    with ExitStack() as stack:
        stack.callback(bank.wait, 10)
        stack.callback(bank.terminate)
        wait_until((tmp_path / "ttyM1").exists, lambda: "the bank has no device", START_S)
        site.start()
        stack.callback(site.node.stop)
        wait_until(site.is_idle, lambda: site.node.stderr[-3000:], START_S)
        yield site


def test_first_password_code_menu_used_code_recovery_code_and_lock(site: Site) -> None:
    code = site.code()
    with site.call("for once", code) as caller:
        caller.sees(b"New password: ")
        caller.types("battery staple")
        caller.sees(b"Again: ")
        caller.types("battery staple")
        caller.sees(b"  1  shell\r\n  2  diary\r\nService: ")
        caller.types("1")
        assert b"DIALGATE_USER=ann" in caller.sees(b"END")
    with site.call("battery staple", code) as caller:
        caller.sees(b"Login incorrect")
    with site.call("battery staple", site.recovery_codes[0]) as caller:
        caller.sees(b"Service: ")
        caller.types("diary")
        caller.sees(b"dear diary")
    for _ in range(4):
        with site.call("wrong", "") as caller:
            caller.sees(b"Login incorrect")

    with site.call("battery staple", "") as caller:
        caller.sees(b"Login incorrect")

    site.users("unlock", "ann")
    with site.call("battery staple", site.recovery_codes[1]) as caller:
        caller.sees(b"Service: ")
