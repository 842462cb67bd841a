"""What `load` gives for a good file, and every line that it says about a bad one."""

from __future__ import annotations

from pathlib import Path

import pytest

from dialgate.errors import ConfigError
from dialgate.settings import PortSettings, Settings, inspect, load, require
from tests.dialgate.sample import SAMPLE, altered, write


def faults_of(file: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(file)
    return [str(fault).removeprefix(f"{file}:") for fault in caught.value.faults]


def test_the_sample_has_every_value_it_says(tmp_path: Path) -> None:
    settings = load(write(tmp_path))

    assert settings.cluster.name == "north"
    assert require(settings, "broker").agents == "tcp://127.0.0.1:7700"
    assert require(settings, "worker").brokers == ("tcp://127.0.0.1:7701",)
    assert [port.hport for port in require(settings, "agent").ports] == ["oslo/1", "oslo/2"]
    assert settings.services["console"].connect == "tcp://127.0.0.1:2001"
    assert settings.policies[0].authenticators == ("local",)
    assert settings.authenticators["local"].kind == "local"
    assert settings.programs == ("broker", "worker", "agent")


def test_what_is_not_said_has_the_documented_default(tmp_path: Path) -> None:
    settings = load(write(tmp_path))
    broker, worker = require(settings, "broker"), require(settings, "worker")
    port, policy = require(settings, "agent").ports[1], settings.policies[0]

    assert (broker.heartbeat_ms, broker.end_lease_ms) == (1000, 10_000)
    assert (broker.queue_timeout_ms, broker.max_waiting) == (10_000, 1000)
    assert (broker.errors_max, broker.penalty_s) == (20, 10)
    assert (worker.reattach_s, worker.dialog_max_s, worker.pools) == (30, 600, ("default",))
    assert (port.baud, port.rings, port.dcd, port.hangup) == (38_400, 1, "auto", "")
    assert (port.model, port.init) == ("", ())
    assert (policy.tries, policy.login_timeout_s, policy.retry_delay_s) == (3, 60, 2.0)
    assert (policy.login_prompt, policy.password_prompt) == ("login: ", "Password: ")
    assert policy.refusal == "Login incorrect"


def test_an_empty_file_names_no_program(tmp_path: Path) -> None:
    file = write(tmp_path, "")

    assert load(file) == Settings()
    faults, _ = inspect(file)
    assert [str(fault) for fault in faults] == [
        f"{file}: names no program: add a [broker], [worker] or [agent] table"
    ]


def test_a_program_without_its_table_is_told_so(tmp_path: Path) -> None:
    file = write(tmp_path, '[cluster]\nname = "north"\n')

    with pytest.raises(ConfigError, match=r"dialgate.toml: broker: is missing: add a \[broker\]"):
        load(file, "broker")
    with pytest.raises(ConfigError, match=r"agent: is missing: name a file that has a \[agent\]"):
        require(load(file), "agent")


# fmt: off
FAULTS = [
    # a key alone
    ("nam = 'x'\n" + SAMPLE, ("1: nam: is no key that is known here: remove it, or use one of: "
     f"{', '.join(Settings.__struct_fields__)}")),
    (altered(('name = "broker-1"', 'nmae = "broker-1"\nname = "b"')),
     "6: broker.nmae: is no key that is known here: did you mean name?"),
    (altered(('name = "broker-1"', "")),
     "5: broker.name: is missing: write 1 to 64 of A-Z a-z 0-9 . _ -"),
    (altered(('name = "worker-1"', 'name = "worker 1"')),
     "12: worker.name: is 'worker 1': write 1 to 64 of A-Z a-z 0-9 . _ -"),
    (altered(('name = "oslo-1"', f'name = "{"x" * 65}"')),
     f"18: agent.name: is '{'x' * 59}…: write 1 to 64 of A-Z a-z 0-9 . _ -"),
    (altered(("capacity = 1000", "capacity = 0")),
     "14: worker.capacity: is 0: write a whole number from 1 to 100000"),
    (altered(("capacity = 1000", "capacity = '9'")),
     "14: worker.capacity: is '9': write a whole number from 1 to 100000"),
    (altered(("capacity = 1000", "capacity = true")),
     "14: worker.capacity: is true: write a whole number from 1 to 100000"),
    (altered(("capacity = 1000", "capacity = 2026-11-22")),
     "14: worker.capacity: is 2026-11-22: write a whole number from 1 to 100000"),
    (altered(("insecure = true", "insecure = 1")),
     "10: broker.insecure: is 1: write true or false"),
    (altered(("baud = 38400", "heartbeat_ms = 38400")),
     ("27: agent.ports[0].heartbeat_ms: is no key that is known here: remove it, or use one of: "
     f"{', '.join(PortSettings.__struct_fields__)}")),
    (altered(("baud = 38400", 'dcd = "ignroe"')),
     """27: agent.ports[0].dcd: is 'ignroe': write "auto" or "ignore\""""),
    (altered(("baud = 38400", "stopbits = 3")), "27: agent.ports[0].stopbits: is 3: write 1 or 2"),
    (altered(("baud = 38400", 'init = [\n  "ATZ",\n  "AT\\u0007",\n]')),
     "29: agent.ports[0].init[1]: is 'AT\\x07': write a modem command of 1 to 80 ASCII characters"),
    (altered(('hport = "oslo/1"', 'hport = "oslo 1"')),
     ("25: agent.ports[0].hport: is 'oslo 1': "
     "write 1 to 128 printable ASCII characters, no space")),
    (altered(('hport = "oslo/1"', 'hport = "oslo/1\\n"')),
     ("25: agent.ports[0].hport: is 'oslo/1\\n': "
     "write 1 to 128 printable ASCII characters, no space")),
    (altered(("[[policies]]", '[services."my console"]\ncommand = ["/bin/sh"]\n[[policies]]')),
     "35: services.my console: is 'my console': write 1 to 64 of A-Z a-z 0-9 . _ -"),
    (altered(("tries = 3", "tries = 11")),
     "39: policies[0].tries: is 11: write a whole number from 1 to 10"),
    (altered(('kind = "local"', 'kind = "ldap"')),
     """41: authenticators.local.kind: is 'ldap': write "local" or "otp" or "radius\""""),
    # a table that is none
    (altered(("[cluster]", "worker = 5\n[cluster]"), ("[worker]", "[services.w]"),
             ('name = "worker-1"', ""), ('brokers = ["tcp://127.0.0.1:7701"]', 'command = ["/x"]'),
             ("capacity = 1000", ""), ('http = "127.0.0.1:7782"', ""), ("insecure = true", ""),
             ("insecure = true", "")),
     "1: worker: is 5: write a table here"),
    (altered(("[[policies]]", "[policies]")),
     "35: policies: is a table: write a list of tables"),
    # addresses
    (altered(('agents = "tcp://127.0.0.1:7700"', 'agents = "127.0.0.1:7700"')),
     ('7: broker.agents: "127.0.0.1:7700" is not tcp://HOST:PORT or ipc://PATH: '
     'write it as "tcp://127.0.0.1:7700"')),
    (altered(('agents = "tcp://127.0.0.1:7700"', 'agents = "tcp://127.0.0.1:77000"')),
     ('7: broker.agents: "tcp://127.0.0.1:77000" has a port outside 1 to 65535: '
     'write it as "tcp://127.0.0.1:7700"')),
    (altered(('agents = "tcp://127.0.0.1:7700"', 'agents = "tcp://192.0.2.1:7700"')),
     ('7: broker.agents: "tcp://192.0.2.1:7700" is not a loopback address, and broker.insecure is '
     "true: use 127.0.0.1, or remove insecure and make keys with `dialgate keys`")),
    (altered(('workers = "tcp://127.0.0.1:7701"', 'workers = "tcp://*:7701"')),
     ('8: broker.workers: "tcp://*:7701" is not a loopback address, and broker.insecure is '
     "true: use 127.0.0.1, or remove insecure and make keys with `dialgate keys`")),
    (altered(('brokers = ["tcp://127.0.0.1:7701"]',
              'brokers = [\n"tcp://127.0.0.1:7701", "tcp://north.example:7701"]')),
     ('14: worker.brokers[1]: "tcp://north.example:7701" is not a loopback address, and '
     "worker.insecure is true: use 127.0.0.1, or remove insecure and make keys with "
     "`dialgate keys`")),
    (altered(('brokers = ["tcp://127.0.0.1:7700"]',
              'brokers = ["tcp://127.0.0.1:7700", "tcp://127.0.0.1:7700"]')),
     '20: agent.brokers[1]: "tcp://127.0.0.1:7700" is agent.brokers[0] too: name each broker once'),
    (altered(('brokers = ["tcp://127.0.0.1:7700"]',
              'brokers = ["tcp://127.0.0.1:7700"]\nlocal_brokers = ["tcp://127.0.0.1:7700"]')),
     ('21: agent.local_brokers[0]: "tcp://127.0.0.1:7700" is agent.brokers[0] too: '
     "name each broker once")),
    (altered(('connect = "tcp://127.0.0.1:2001"', 'connect = "tcp://\\u001b[2J\\n"')),
     ('34: services.console.connect: "tcp://\\x1b[2J\\n" is not HOST:PORT: '
     'write it as "tcp://127.0.0.1:2001"')),
    (altered(('agents = "tcp://127.0.0.1:7700"', 'agents = "tcp://127.0.0.1:7700#b"')),
     "7: broker.agents: names a broker after #: only peers name the broker they expect"),
    (altered(('brokers = ["tcp://127.0.0.1:7700"]\nhttp = "127.0.0.1:7781"',
              'brokers = ["tcp://0.0.0.0:7700"]'), ("insecure = true\n[[", "[[")),
     ("""20: agent.brokers[0]: "tcp://0.0.0.0:7700" is nowhere to connect to: """
     "write the broker's host")),
    (altered(('brokers = ["tcp://127.0.0.1:7700"]', "brokers = []")),
     "20: agent.brokers: is a list of 0: write a list of 1 to 16 texts"),
    (altered(('http = "127.0.0.1:7780"', 'http = "7780"')),
     '9: broker.http: "7780" is not HOST:PORT: write it as "127.0.0.1:7780"'),
    (altered(('http = "127.0.0.1:7782"', 'http = "127.0.0.1:7701"')),
     "8: broker.workers: 127.0.0.1:7701 is taken by worker.http: give each its own port"),
    (altered(('http = "127.0.0.1:7781"', 'http = "0.0.0.0:7780"')),
     "21: agent.http: 0.0.0.0:7780 is taken by broker.http: give each its own port"),
    # names that must or must not be there
    (altered(('hport = "oslo/2"', 'hport = "oslo/1"')),
     ('30: agent.ports[1].hport: "oslo/1" is the name of agent.ports[0] too: '
     "give each port a name of its own")),
    (altered(('device = "/dev/ttyS1"', 'device = "/dev/ttyS0"')),
     ('31: agent.ports[1].device: "/dev/ttyS0" is the device of agent.ports[0] too: '
     "give each port a device of its own")),
    (altered(('service = "console"', 'service = "consol"')),
     ('28: agent.ports[0].service: "consol" is not defined: '
     "add [services.consol]; there are: console")),
    (altered(('authenticators = ["local"]', 'authenticators = ["local", "ldap"]')),
     ('38: policies[0].authenticators[1]: "ldap" is not defined: '
     "add [authenticators.ldap]; there are: local")),
    (altered(("tries = 3", 'service = "shell"')),
     '39: policies[0].service: "shell" is not defined: add [services.shell]; there are: console'),
    (altered(("baud = 38400", 'dcd = "ignore"\nhangup = "dtr"')),
     ("28: agent.ports[0].hangup: is dtr, but a device without modem lines has no DTR: "
     'write "escape" or "auto"')),
    # services
    (altered(('connect = "tcp://127.0.0.1:2001"', "")),
     "33: services.console: has nothing to start: write either connect or command"),
    (altered(('connect = "tcp://127.0.0.1:2001"',
              'connect = "tcp://127.0.0.1:2001"\ncommand = ["/bin/login"]')),
     "33: services.console: has both connect and command: write either connect or command"),
    (altered(('connect = "tcp://127.0.0.1:2001"', 'connect = "udp://127.0.0.1:2001"')),
     ('34: services.console.connect: "udp://127.0.0.1:2001" is not tcp://HOST:PORT: '
     'write it as "tcp://127.0.0.1:2001"')),
    (altered(('connect = "tcp://127.0.0.1:2001"', 'command = ["login", "-p"]')),
     '34: services.console.command[0]: "login" is not a whole path: write it as /bin/login'),
    (altered(('connect = "tcp://127.0.0.1:2001"',
              'connect = "tcp://127.0.0.1:2001"\ndirect = true')),
     ("35: services.console.direct: is true, but a TCP console can't be given the device: "
     "remove it, or write command")),
    (altered(('connect = "tcp://127.0.0.1:2001"', 'connect = "tcp://127.0.0.1:2001"\nraw = true')),
     ("35: services.console.raw: is true, but a TCP console has no terminal here: "
     "remove it, or write command")),
    (altered(('connect = "tcp://127.0.0.1:2001"',
              'command = ["/usr/sbin/pppd"]\ndirect = true\nidle_timeout_s = 60')),
     ("36: services.console.idle_timeout_s: is set, but what passes a direct service is not seen: "
     "remove it and let the command watch for it (pppd: idle)")),
    (altered(('connect = "tcp://127.0.0.1:2001"', 'command = ["/usr/sbin/pppd"]\ndirect = true'),
             ("baud = 38400", 'dcd = "ignore"')),
     ('28: agent.ports[0].service: "console" is direct: only modem lines show that its caller is '
     'gone: write dcd = "auto", or another service')),
    # the rest
    (altered(("sqlite:////var/lib/dialgate/state.db", "mysql://x")),
     ('3: cluster.state: is no URL of a known kind: write "sqlite:////var/lib/dialgate/state.db", '
     'with four slashes before a whole path, or "postgresql://dialgate@host/dialgate"')),
    (altered(('[[policies]]\nsites = ["*"]\nports = ["*"]\nauthenticators = ["local"]\ntries = 3\n',
              "")),
     (" policies: is missing, so every caller would be turned away: "
     "add a [[policies]] table")),
    (altered(("capacity = 1000", "capacity = ")), ("14: is not TOML (Invalid value): "
     "mend the line, or the one before it")),
    (altered(("capacity = 1000", 'name = "twice"')), ("14: is not TOML (Cannot overwrite a value): "
     "mend the line, or the one before it")),
]
# fmt: on


@pytest.mark.parametrize(("text", "line"), FAULTS, ids=[line for _, line in FAULTS])
def test_a_fault_is_named_with_place_key_reason_and_remedy(
    text: str, line: str, tmp_path: Path
) -> None:
    assert faults_of(write(tmp_path, text)) == [line]


def test_all_faults_are_told_at_once_in_the_order_of_their_lines(tmp_path: Path) -> None:
    text = altered(
        ("capacity = 1000", "capacity = -1"),
        ('hport = "oslo/1"', ""),
        ('name = "north"', 'nam = "north"'),
        ('service = "console"', 'service = "nowhere"'),
        ('agents = "tcp://127.0.0.1:7700"', 'agents = "tcp://10.1.1.1:7700"'),
        ('kind = "local"', "kind = 7"),
    )

    keys = [fault.split(": ")[1] for fault in faults_of(write(tmp_path, text))]

    assert keys == [
        "cluster.nam",
        "broker.agents",
        "worker.capacity",
        "agent.ports[0].hport",
        "agent.ports[0].service",
        "authenticators.local.kind",
    ]


def test_what_follows_from_a_fault_is_not_told_again(tmp_path: Path) -> None:
    """Two ports without a name don't have the same name."""
    text = altered(('hport = "oslo/1"', ""), ('hport = "oslo/2"', ""))

    faults = faults_of(write(tmp_path, text))

    assert [fault.split(": ")[2] for fault in faults] == ["is missing", "is missing"]


def test_more_than_512_ports_are_refused(tmp_path: Path) -> None:
    port = '[[agent.ports]]\nhport = "p{0}"\ndevice = "/dev/tty{0}"\nservice = "console"\n'
    head, tail = SAMPLE.split("[[agent.ports]]")[0], SAMPLE[SAMPLE.index("[services.console]") :]
    full = head + "".join(port.format(number) for number in range(512)) + tail
    over = head + "".join(port.format(number) for number in range(513)) + tail

    assert len(require(load(write(tmp_path, full)), "agent").ports) == 512
    assert faults_of(write(tmp_path, over)) == [
        "24: agent.ports: is a list of 513: write a list of 0 to 512 tables"
    ]


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "none.toml")

    assert str(caught.value) == (
        f"{tmp_path}/none.toml: can't be read (No such file or directory): "
        "name the configuration file with --config"
    )


def test_bytes_that_are_not_utf_8_are_named_with_their_line(tmp_path: Path) -> None:
    file = tmp_path / "dialgate.toml"
    file.write_bytes(b'[cluster]\nname = "\xe5s"\n')

    assert faults_of(file) == ["2: has the byte 0xe5, which is not UTF-8: save the file as UTF-8"]


def test_a_file_with_dos_line_ends_is_read_and_placed_alike(tmp_path: Path) -> None:
    text = altered(("capacity = 1000", "capacity = 0")).replace("\n", "\r\n")
    file = tmp_path / "dialgate.toml"
    file.write_bytes(text.encode())

    assert [fault.partition(":")[0] for fault in faults_of(file)] == ["14"]


WARNINGS = [
    pytest.param(
        altered(('ports = ["*"]', 'ports = ["oslo/2"]')),
        '24: agent.ports[0]: no policy matches site "oslo" and port "oslo/1": '
        "its callers are turned away: widen the sites or ports of a policy",
        id="port without a policy",
    ),
    pytest.param(
        altered(('http = "127.0.0.1:7780"', 'http = "0.0.0.0:7780"')),
        '9: broker.http: "0.0.0.0:7780" is not a loopback address, so operators\' commands are '
        "refused: set broker.operator_token_file, or listen on 127.0.0.1",
        id="commands without a token",
    ),
    pytest.param(
        altered(('http = "127.0.0.1:7782"\ninsecure = true', 'http = "127.0.0.1:7782"')),
        "13: worker.brokers[0]: carries answers that the broker could read, encrypted only on the "
        "way to it: keep brokers on trusted machines until bodies are sealed",
        id="bodies that are not sealed",
    ),
]


def test_a_service_for_ppp_that_echoes_is_a_warning(tmp_path: Path) -> None:
    def mends(service: str) -> list[str]:
        console = ('connect = "tcp://127.0.0.1:2001"', service)
        _, warnings = inspect(
            write(tmp_path, altered(("baud = 38400", 'ppp = "console"'), console))
        )
        return [warning.mend for warning in warnings]

    echoing = mends('command = ["/usr/sbin/pppd"]')
    raw = mends('command = ["/usr/sbin/pppd"]\nraw = true')

    assert echoing == [*raw, "write raw = true in [services.console]"]


@pytest.mark.parametrize(("text", "line"), WARNINGS)
def test_what_is_doubtful_is_a_warning_and_stops_no_program(
    text: str, line: str, tmp_path: Path
) -> None:
    file = write(tmp_path, text)

    load(file)
    _, warnings = inspect(file)

    assert [str(warning).removeprefix(f"{file}:") for warning in warnings] == [line]


def test_a_local_broker_on_another_machine_is_doubtful(tmp_path: Path) -> None:
    text = altered(
        (
            'brokers = ["tcp://127.0.0.1:7700"]',
            'brokers = ["tcp://127.0.0.1:7700"]\nlocal_brokers = ["tcp://192.0.2.7:7700"]',
        ),
        ("insecure = true\n[[", "[["),
    )

    _, warnings = inspect(write(tmp_path, text))

    assert any(
        warning.key == "agent.local_brokers[0]" and "is not on this machine" in warning.what
        for warning in warnings
    )


@pytest.mark.parametrize(
    ("lines", "key"),
    [
        ("[lockout]\nuser_tries = 5", "lockout.user_tries"),
        ("[lockout]\nwait_s = 7200", "lockout.wait_max_s"),
    ],
)
def test_a_lockout_that_turns_on_its_users_is_a_fault(lines: str, key: str, tmp_path: Path) -> None:
    (fault,) = faults_of(write(tmp_path, f"{SAMPLE}\n{lines}\n"))

    assert fault.split(": ")[1] == key
