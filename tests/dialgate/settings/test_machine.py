"""What programs need of the machine is checked for those that run there, and only for them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dialgate import keys
from dialgate.errors import ConfigError
from dialgate.manual import DEFAULT_CONFIG
from dialgate.settings import inspect, load
from dialgate.settings.findings import Findings
from tests.dialgate.sample import altered, write


@pytest.fixture
def terminal() -> str:
    """Return the name of a PTY, which stays while the test runs."""
    _, follower = os.openpty()
    return os.ttyname(follower)


def text(tmp_path: Path, terminal: str, *changes: tuple[str, str]) -> str:
    """Return a sample whose files are in `tmp_path`, with one port."""
    second = '[[agent.ports]]\nhport = "oslo/2"\ndevice = "/dev/ttyS1"\nservice = "console"\n'
    return altered(
        *changes,
        text=altered(
            ("/var/lib/dialgate/state.db", f"{tmp_path}/state.db"),
            ("/var/lib/dialgate/spool.db", f"{tmp_path}/spool.db"),
            ("/etc/dialgate/keys", f"{tmp_path}/keys"),
            ('"/dev/ttyS0"', f'"{terminal}"\ndcd = "ignore"'),
            (second, ""),
        ),
    )


def faults_of(file: Path, *programs: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(file, *programs)  # type: ignore[arg-type]
    return [str(fault).removeprefix(f"{file}:") for fault in caught.value.faults]


def secured(content: str) -> str:
    return content.replace("insecure = true\n", "")


def test_a_machine_with_everything_has_no_fault(tmp_path: Path, terminal: str) -> None:
    assert inspect(write(tmp_path, text(tmp_path, terminal))) == ([], [])


@pytest.mark.parametrize(
    ("command", "what"),
    [
        ("/no/such/program", "does not exist on this machine"),
        ("/etc/passwd", "may not be executed"),
    ],
)
def test_a_service_that_no_caller_could_reach_is_warned_of(
    tmp_path: Path, terminal: str, command: str, what: str
) -> None:
    change = ('connect = "tcp://127.0.0.1:2001"', f'command = ["{command}"]')

    faults, warnings = inspect(write(tmp_path, text(tmp_path, terminal, change)))

    assert faults == []
    assert [f"{each.key}: {each.what}" for each in warnings] == [
        f'services.console.command: "{command}" {what}, so no caller gets to this service'
    ]


def test_a_missing_directory_is_named_with_the_command_that_makes_it(
    tmp_path: Path, terminal: str
) -> None:
    change = (f"{tmp_path}/spool.db", f"{tmp_path}/no/spool.db")
    file = write(tmp_path, text(tmp_path, terminal, change))

    assert faults_of(file, "agent") == [
        (
            f'22: agent.spool: the directory of "{tmp_path}/no/spool.db" does not exist: '
            f"make it: install -d -m 0750 {tmp_path}/no"
        )
    ]


def test_a_directory_in_the_place_of_a_file_is_a_fault(tmp_path: Path, terminal: str) -> None:
    (tmp_path / "spool.db").mkdir()
    file = write(tmp_path, text(tmp_path, terminal))

    assert faults_of(file, "agent") == [
        f'22: agent.spool: "{tmp_path}/spool.db" is no file that may be written: name another file'
    ]


def test_a_device_that_is_no_serial_line_is_refused(tmp_path: Path, terminal: str) -> None:
    file = write(tmp_path, text(tmp_path, terminal, (terminal, "/dev/null")))

    (fault,) = faults_of(file, "agent")

    assert fault.startswith('26: agent.ports[0].device: "/dev/null" ')


def test_a_pty_has_no_modem_lines(tmp_path: Path, terminal: str) -> None:
    file = write(tmp_path, text(tmp_path, terminal, ('dcd = "ignore"\n', "")))

    assert faults_of(file, "agent") == [
        (
            f"24: agent.ports[0].dcd: needs modem lines, and {terminal} is a PTY, which has none: "
            'write dcd = "ignore"'
        )
    ]


def test_an_operator_and_other_programs_need_none_of_it(tmp_path: Path) -> None:
    """The file may be shared by machines, and read by who may not open their directories."""
    file = write(tmp_path)

    load(file)
    load(file, "broker")


def test_keys_that_are_missing_are_named_with_the_command_that_makes_them(
    tmp_path: Path, terminal: str
) -> None:
    file = write(tmp_path, secured(text(tmp_path, terminal)))

    assert faults_of(file, "broker", "worker", "agent") == [
        (
            f"4: cluster.keys: {tmp_path}/keys: can't be read (No such directory): "
            f"make it with: dialgate keys init --config {file}"
        ),
        (
            f"6: broker.name: {tmp_path}/keys/broker-broker-1.secret: "
            "can't be read (No such file or directory): "
            f"make it with: dialgate keys new broker broker-1 --config {file}"
        ),
        (
            f"11: worker.name: {tmp_path}/keys/worker-worker-1.secret: "
            "can't be read (No such file or directory): "
            f"make it with: dialgate keys new worker worker-1 --config {file}"
        ),
        (
            f"16: agent.name: {tmp_path}/keys/agent-oslo-1.secret: "
            "can't be read (No such file or directory): "
            f"make it with: dialgate keys new agent oslo-1 --config {file}"
        ),
    ]


def test_the_command_that_makes_keys_names_no_file_where_it_reads_that_one_anyway() -> None:
    assert Findings(DEFAULT_CONFIG, {}).command("dialgate x") == "dialgate x"
    assert Findings("a b.toml", {}).command("dialgate x") == "dialgate x --config 'a b.toml'"


def made_keys(directory: Path, *brokers: str) -> None:
    keys.create_directory(directory)
    for broker in brokers:
        keys.create_pair(directory, "broker", broker)
    keys.create_pair(directory, "worker", "worker-1")
    keys.create_pair(directory, "agent", "oslo-1", site="oslo", hports=["oslo/*"])


def test_a_machine_with_all_keys_has_no_fault(tmp_path: Path, terminal: str) -> None:
    made_keys(tmp_path / "keys", "broker-1")
    file = write(tmp_path, secured(text(tmp_path, terminal)))

    faults, warnings = inspect(file)

    assert faults == []
    assert [warning.key for warning in warnings] == ["worker.brokers[0]", "agent.brokers[0]"]


def test_a_peer_must_know_its_brokers_key(tmp_path: Path, terminal: str) -> None:
    made_keys(tmp_path / "keys")
    file = write(tmp_path, secured(text(tmp_path, terminal)))

    assert faults_of(file, "worker") == [
        "12: worker.brokers[0]: no file broker-NAME.key among the keys: copy it from the broker"
    ]


def test_with_several_brokers_keys_an_address_says_whose_it_is(
    tmp_path: Path, terminal: str
) -> None:
    made_keys(tmp_path / "keys", "broker-1", "broker-2")
    content = secured(text(tmp_path, terminal))

    assert faults_of(write(tmp_path, content), "worker") == [
        (
            "12: worker.brokers[0]: several brokers' keys (broker-1, broker-2): "
            "end the address in #NAME to say whose it is"
        )
    ]
    load(write(tmp_path, content.replace(':7701"]', ':7701#broker-2"]')), "worker")


def test_a_port_that_the_agents_key_may_not_speak_for_is_a_fault(
    tmp_path: Path, terminal: str
) -> None:
    made_keys(tmp_path / "keys", "broker-1")
    content = secured(text(tmp_path, terminal, ('"oslo/1"', '"bergen/1"'), ('"oslo"', '"bergen"')))
    file = write(tmp_path, content)

    assert faults_of(file, "agent") == [
        (
            '17: agent.site: "bergen" is not the site of agent-oslo-1.key: '
            "write oslo, or mend the key file's site"
        ),
        (
            '22: agent.ports[0].hport: agent-oslo-1.key may not speak for "bergen/1": '
            "add it to hports there and at the brokers"
        ),
    ]


@pytest.mark.parametrize(
    ("content", "mode", "what"),
    [
        (None, 0o600, "can't be read"),
        ("", 0o600, "is empty"),
        ("long-word", 0o644, "is open to others"),
    ],
)
def test_the_operators_token_is_read_at_the_start(
    content: str | None, mode: int, what: str, tmp_path: Path, terminal: str
) -> None:
    token = tmp_path / "token"
    if content is not None:
        token.write_text(content)
        token.chmod(mode)
    change = ("insecure = true", f'insecure = true\noperator_token_file = "{token}"')
    file = write(tmp_path, text(tmp_path, terminal, change))

    (fault,) = faults_of(file, "broker")

    assert fault.startswith(f"11: broker.operator_token_file: {token} {what}")
