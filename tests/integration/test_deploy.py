"""deploy/ is what operators install: systemd, promtool and `dialgate check` judge it themselves.

The units name /usr/bin/dialgate; a copy that names the tested program stands in for them, since
systemd-analyze wants to see the file.
"""

from __future__ import annotations

import os
import pty
import re
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

DEPLOY: Final = Path(__file__).parents[2] / "deploy"
UNITS: Final = sorted(path.name for path in (DEPLOY / "systemd").glob("*.service"))
ALERTS: Final = re.findall(r"- alert: (\w+)", (DEPLOY / "prometheus/alerts.yml").read_text())
DIALGATE: Final = Path(sys.executable).with_name("dialgate")

EXPOSURE_MAX: Final = 20
"""Tenths of the score of `systemd-analyze security`: 0 is the tightest sandbox, 100 is none."""


def run(*command: str | Path, cwd: Path | None = None) -> str:
    """Return what `command` prints; a command that isn't here skips the test, which CI forbids."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    done = subprocess.run(
        command,
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """Return a directory with the units as they would be installed, but for the program's path."""
    directory = tmp_path / "units"
    shutil.copytree(DEPLOY / "systemd", directory)
    for unit in directory.glob("*.service"):
        unit.write_text(unit.read_text().replace("/usr/bin/dialgate", str(DIALGATE)))
    return directory


def instance(unit: str) -> str:
    return unit.replace("@.", "@worker-2.")


def test_there_is_a_unit_for_each_program_and_for_the_node() -> None:
    assert UNITS == [
        "dialgate-agent.service",
        "dialgate-broker.service",
        "dialgate-node.service",
        "dialgate-worker.service",
        "dialgate-worker@.service",
    ]


def faults_of(unit: Path) -> list[str]:
    """Return what systemd finds wrong, but for units of other packages that are installed here."""
    lines = run("systemd-analyze", "verify", unit).splitlines()
    return [line for line in lines if not re.match(r"(/usr)?/lib/systemd/system/", line)]


@pytest.mark.parametrize("unit", UNITS)
def test_systemd_finds_no_fault_in_a_unit(unit: str, units: Path) -> None:
    assert faults_of(units / instance(unit)) == []


@pytest.mark.parametrize("unit", UNITS)
def test_a_unit_is_a_tight_sandbox(unit: str, units: Path) -> None:
    threshold = f"--threshold={EXPOSURE_MAX}"

    run("systemd-analyze", "security", "--offline=true", threshold, units / instance(unit))


@pytest.mark.parametrize("unit", ["dialgate-agent.service", "dialgate-node.service"])
def test_systemd_finds_no_fault_in_the_drop_in_for_login(unit: str, units: Path) -> None:
    example = units / "dialgate-agent.service.d/50-login.conf.example"
    drop_in = units / f"{unit}.d/50-login.conf"
    drop_in.parent.mkdir(exist_ok=True)
    drop_in.write_text(example.read_text())

    assert faults_of(units / unit) == []


def test_the_drop_in_for_login_leaves_the_states_directory_to_its_owner() -> None:
    """systemd.exec(5): a StateDirectory= is given to User=, with all that is in it."""
    example = DEPLOY / "systemd/dialgate-agent.service.d/50-login.conf.example"
    directories = re.findall(r"^StateDirectory=(.*)$", example.read_text(), re.MULTILINE)

    assert directories == [""]


@pytest.mark.parametrize("unit", UNITS)
def test_a_unit_starts_a_command_that_exists(unit: str, units: Path) -> None:
    line = re.search(r"^ExecStart=(.*)$", (units / unit).read_text(), re.MULTILINE)
    assert line is not None
    program, command, option, _file = line[1].split()

    assert option in run(program, command, "--help")


@pytest.mark.parametrize("unit", ["dialgate-agent.service", "dialgate-node.service"])
def test_stopping_a_unit_asks_the_program_once_and_waits_for_its_end(unit: str) -> None:
    """The second SIGTERM is then systemd's, to a program that has not ended."""
    line = re.search(r"^ExecStop=(.*)$", (DEPLOY / "systemd" / unit).read_text(), re.MULTILINE)
    assert line is not None
    wait = "trap 'exit 7' TERM; echo; while :; do sleep 0.05; done"
    with subprocess.Popen(["sh", "-c", wait], stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        program.stdout.readline()
        command = shlex.split(line[1].replace("$$", "$"))
        reaped: list[int] = []
        reaper = threading.Thread(target=lambda: reaped.append(program.wait(20)))
        reaper.start()

        subprocess.run(command, env={**os.environ, "MAINPID": str(program.pid)}, check=True)
        reaper.join()

    assert reaped == [7]


@pytest.mark.skipif(os.geteuid() != 0, reason="users and owners are root's to make")
def test_the_user_owns_keys_and_state_and_nobody_else_reads_keys(tmp_path: Path) -> None:
    for kind in ("sysusers", "tmpfiles"):
        installed = tmp_path / f"usr/lib/{kind}.d/dialgate.conf"
        installed.parent.mkdir(parents=True)
        shutil.copy(DEPLOY / f"systemd/{kind}.conf", installed)
    (tmp_path / "etc").mkdir()

    run("systemd-sysusers", f"--root={tmp_path}")
    run("systemd-tmpfiles", f"--root={tmp_path}", "--create", "dialgate.conf")

    fields = (tmp_path / "etc/passwd").read_text().splitlines()[0].split(":")
    assert (fields[0], fields[5], fields[6]) == (
        "dialgate",
        "/var/lib/dialgate",
        "/usr/sbin/nologin",
    )
    keys, state = (tmp_path / "etc/dialgate/keys").stat(), (tmp_path / "var/lib/dialgate").stat()
    assert (keys.st_uid, keys.st_mode & 0o777) == (int(fields[2]), 0o700)
    assert (state.st_uid, state.st_mode & 0o777) == (int(fields[2]), 0o750)


def test_promtool_accepts_the_scrape_file_and_the_alerts_it_names() -> None:
    output = run("promtool", "check", "config", "scrape.yml", cwd=DEPLOY / "prometheus")

    assert "SUCCESS: 1 rule files found" in output
    assert f"SUCCESS: {len(ALERTS)} rules found" in output


def test_each_alert_fires_when_it_shall() -> None:
    run("promtool", "test", "rules", "alerts_test.yml", cwd=DEPLOY / "prometheus")


@pytest.mark.parametrize("alert", ALERTS)
def test_each_alert_is_tested_firing_and_not_firing(alert: str) -> None:
    text = (DEPLOY / "prometheus/alerts_test.yml").read_text()
    expected = re.findall(rf"alertname: {alert}\n +eval_time: .*\n +exp_alerts:(.*)", text)

    assert sorted(set(expected)) == ["", " []"]


@pytest.mark.parametrize("alert", ALERTS)
def test_each_alert_says_in_the_handbook_what_to_do(alert: str) -> None:
    handbook = (DEPLOY.parent / "docs/operations.md").read_text()

    assert f"### {alert}\n" in handbook


@pytest.fixture
def serial_device() -> Iterator[str]:
    """Yield the name of a terminal that is no machine's real one."""
    master, slave = pty.openpty()
    yield os.ttyname(slave)
    os.close(master)
    os.close(slave)


def test_dialgate_accepts_the_example_configuration(tmp_path: Path, serial_device: str) -> None:
    text = (DEPLOY / "dialgate.toml").read_text()
    file = tmp_path / "dialgate.toml"
    file.write_text(
        text.replace("/var/lib/dialgate", str(tmp_path)).replace(
            'device = "/dev/ttyS0"', f'device = "{serial_device}"\ndcd = "ignore"'
        )
    )

    assert run(DIALGATE, "check", file) == f"{file}: no fault\n"
