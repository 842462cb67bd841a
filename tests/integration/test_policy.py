"""Policy through a real dial-in: a bank's modem, every program, and services as real processes.

Each caller is a TCP connection to the simulated bank; its source port is the number that the modem
gives as caller id, so a test chooses the number it calls from.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import pytest

from dialgate.codes import Raserror
from dialgate.passwords import Argon2
from dialgate.records import CallFacts, read_calls
from dialgate.state import open_state
from dialgate.users import UserTerms, add_user
from tests.integration.peers import until
from tests.integration.places import Caller
from tests.integration.processes import (
    DIALGATE,
    PROJECT,
    Program,
    dialgate,
    free_port,
    wait_until,
)
from tests.integration.test_radius_dial_in import Dialled

NAME_USER: Final = f"{sys.executable} -m dialgate service user"

CONFIG: Final = """
[cluster]
state = "sqlite:///{directory}/state.db"
[broker]
name = "broker-1"
agents = "tcp://127.0.0.1:{agents}"
workers = "tcp://127.0.0.1:{workers}"
http = "{broker}"
insecure = true
[worker]
name = "worker-1"
brokers = ["tcp://127.0.0.1:{workers}"]
http = "{worker}"
insecure = true
[agent]
name = "oslo-1"
site = "oslo"
brokers = ["tcp://127.0.0.1:{agents}"]
http = "{agent}"
spool = "{directory}/spool.db"
refused_callers = ["{refused}"]
insecure = true
[[agent.ports]]
hport = "oslo/1"
number = "800100"
device = "{directory}/ttyM1"
dcd = "ignore"
init = ["ATZ", "ATE0Q0V1X4&C1&D2S0=0S12=2"]
caller_id = true
rings = 2
escape_guard_ms = 80
service = "tail"
[services.tail]
command = ["/bin/cat"]
[services.honest]
command = ["/bin/sh", "-c", '{name_user} "$DIALGATE_USER"; echo "status $?"; env; exec cat']
[services.mistaken]
command = ["/bin/sh", "-c", '{name_user} "mallory"; echo "status $?"; exec cat']
[[policies]]
name = "glass"
users = ["glass"]
authenticators = ["local"]
break_glass = true
service = "tail"
[[policies]]
name = "everybody"
called = ["800*"]
authenticators = ["local"]
banner = "Authorised use only"
retry_delay_s = 0
services = ["honest"]
role_services = {{ field = ["mistaken"] }}
[authenticators.local]
kind = "local"
"""


class Site:
    """A machine that runs everything, with one modem."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.config = directory / "dialgate.toml"
        self.dial = free_port()
        self.refused = free_port()
        """The number that is not answered."""
        self.http = {name: f"127.0.0.1:{free_port()}" for name in ("broker", "worker", "agent")}
        self.programs: dict[str, Program] = {}
        self.config.write_text(
            CONFIG.format(
                directory=directory,
                agents=free_port(),
                workers=free_port(),
                refused=self.refused,
                name_user=NAME_USER,
                **self.http,
            )
        )

    @asynccontextmanager
    async def call(self, number: int = 0) -> AsyncIterator[Caller]:
        """Dial from `number` (0: any), and hang up at the end; wait until the port is ready."""
        here = ("127.0.0.1", number) if number else None
        reader, writer = await asyncio.open_connection("127.0.0.1", self.dial, local_addr=here)
        caller = Caller(reader, writer)
        try:
            yield caller
        finally:
            caller.hang_up()
            await until(self.is_idle, "the port's being ready again", 20.0)

    def is_idle(self) -> bool:
        return self.programs["agent"].metric("dialgate_ports", state="idle") == 1

    async def last_call(self, disconnect: str) -> CallFacts:
        """Return the facts of the last call, once it is recorded as ended for `disconnect`."""
        spool = self.directory / "spool.db"
        await until(
            lambda: read_calls(spool, limit=1)[0].facts.disconnect == disconnect, "the record"
        )
        return read_calls(spool, limit=1)[0].facts


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Run everything for the module; ann's password is xyzzy, glass's plugh."""
    site = Site(tmp_path_factory.mktemp("site"))
    with ExitStack() as stack:
        bank = subprocess.Popen(
            [
                *(*DIALGATE, "bank", "--ports", "1", "--dial", f"127.0.0.1:{site.dial - 1}"),
                *("--directory", site.directory),
            ],
            cwd=PROJECT,
            stdout=subprocess.DEVNULL,
        )
        stack.callback(bank.wait, 10)
        stack.callback(bank.terminate)
        wait_until((site.directory / "ttyM1").exists, lambda: "the bank has no device", 20.0)
        asyncio.run(add_users(site.directory))
        for name, http in site.http.items():
            site.programs[name] = program = Program(name, site.config, http)
            stack.callback(program.stop)
        for program in site.programs.values():
            program.wait_for("/livez")
        wait_until(site.is_idle, lambda: "the modem is not ready", 20.0)
        yield site


async def add_users(directory: Path) -> None:
    """Add them as `dialgate users` does, at a cost that suits tests."""
    state = await open_state(f"sqlite:///{directory}/state.db")
    cheap = Argon2(memory_kib=8, passes=1)
    await add_user(state, "ann", b"xyzzy", cheap, UserTerms(roles=["field"]))
    await add_user(state, "glass", b"plugh", cheap)
    await state.dispose()


async def log_in(caller: Caller, user: bytes, password: bytes) -> None:
    await caller.sees(b"login: ")
    await caller.types(user + b"\r")
    await caller.sees(b"Password: ")
    await caller.types(password + b"\r")


async def test_a_caller_chooses_from_the_menu_and_his_service_confirms_him(site: Site) -> None:
    async with site.call() as caller:
        await caller.sees(b"Authorised use only\r\n")
        await log_in(caller, b"ann", b"xyzzy")
        await caller.sees(b"\r\n  1  honest\r\n  2  mistaken\r\nService: ")
        await caller.types(b"7\r")
        await caller.sees(b"Service: ")
        await caller.types(b"1\r")
        await caller.sees(b"status 0\r\n")
        await caller.sees(b"DIALGATE_SERVICE_TOKEN=")
        await caller.types(b"still here\r")
        for _ in ("the echo", "what the service says"):  # Perhaps with the token's rest between.
            await caller.sees(b"still here\r\n")

    facts = await site.last_call("caller")
    assert facts.service == "honest"
    assert facts.dialogs[0].user == "ann"
    assert facts.dialogs[0].attributes["policy"] == "everybody"
    assert facts.dialogs[0].attributes["roles"] == "field"


async def test_r5_a_service_that_knows_its_caller_as_another_ends_the_call(site: Site) -> None:
    async with site.call() as caller:
        await log_in(caller, b"ann", b"xyzzy")
        await caller.sees(b"Service: ")
        await caller.types(b"mistaken\r")
        assert await caller.is_hung_up()

    facts = await site.last_call("user-mismatch")
    assert facts.service == "mistaken"
    assert facts.code == Raserror.ERROR_AUTHENTICATION_FAILURE.code
    assert site.programs["agent"].metric("dialgate_agent_service_users_total", outcome="other") == 1


async def test_an_account_for_emergencies_has_its_own_policy_and_is_counted(site: Site) -> None:
    async with site.call() as caller:
        await caller.sees(b"Authorised use only\r\n")  # Its own policy greets nobody.
        await log_in(caller, b"glass", b"plugh")
        await caller.types(b"echo\r")
        await caller.sees(b"echo\r\necho\r\n")

    facts = await site.last_call("caller")
    assert (facts.service, facts.dialogs[0].attributes["break_glass"]) == ("tail", True)
    worker = site.programs["worker"]
    assert worker.metric("dialgate_worker_break_glass_logins_total") == 1
    assert "break-glass account used" in worker.stderr


async def test_a_refused_number_hears_it_ring_and_is_recorded(site: Site) -> None:
    """Dialled with nc, from the port that the bank takes for the number."""
    started = site.programs["worker"].metric("dialgate_worker_dialogs_started_total")

    with Dialled(site.dial, site.refused) as caller:
        await until(lambda: not site.is_idle(), "the port's ringing")
        assert caller.hears_nothing_for(2.0)  # The bank's callers hear no ringing tone.
    await until(site.is_idle, "the port's being ready again", 20.0)

    facts = await site.last_call("number-refused")
    assert facts.caller == str(site.refused)
    assert facts.connected_at is None
    assert site.programs["worker"].metric("dialgate_worker_dialogs_started_total") == started


async def test_explain_says_of_this_machine_what_its_callers_meet(site: Site) -> None:
    done = dialgate(
        *("policy", "explain", "--config", site.config, "--port", "oslo/1", "--user", "ann")
    )

    assert done.returncode == 0, done.stderr
    assert "At the door:  everybody\n" in done.stdout
    assert 'users: glass, and it is "ann"' in done.stdout
    assert '"Service: " of the menu: honest, mistaken' in done.stdout
