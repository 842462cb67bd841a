"""A real Prometheus, with deploy/'s own files, watches a running node.

The scrape file gets the node's addresses and shorter times, the alerts lose their patience, and
nothing else of them is changed.  The node's only modem is a terminal that is pulled out while the
node runs, so that there is something to raise an alert about.
"""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from tests.integration.processes import PROJECT, Program, free_port, running, wait_until

DEPLOY: Final = PROJECT / "deploy"
PROGRAMS: Final = ("broker", "agent", "worker")

PATIENCE_S: Final = 45.0
"""Far longer than Prometheus needs to start, to scrape and to raise an alert."""


class Part(Program):
    """One program of a node: the node's process, an address of its own."""

    def __init__(self, node: Program, http: str) -> None:
        self.name = node.name
        self.process = node.process
        self._stderr = node._stderr
        self.http = http


class Node:
    """A running node with one modem."""

    def __init__(self, parts: dict[str, Part], modem: int) -> None:
        self.parts = parts
        self._modem = modem

    def unplug(self) -> None:
        """Pull out the modem."""
        if self._modem >= 0:
            os.close(self._modem)
            self._modem = -1


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """Run deploy/'s example configuration on free ports."""
    directory = tmp_path_factory.mktemp("node")
    modem, line = pty.openpty()
    text = (DEPLOY / "dialgate.toml").read_text().replace("/var/lib/dialgate", str(directory))
    text = text.replace('device = "/dev/ttyS0"', f'device = "{os.ttyname(line)}"\ndcd = "ignore"')
    for port in sorted(set(re.findall(r"127\.0\.0\.1:(\d+)", text))):
        text = text.replace(f"127.0.0.1:{port}", f"127.0.0.1:{free_port()}")
    config = directory / "dialgate.toml"
    config.write_text(text)
    http = dict(zip(PROGRAMS, http_addresses(text), strict=True))
    with running("node", config, http["broker"]) as program:
        os.close(line)
        node = Node({name: Part(program, address) for name, address in http.items()}, modem)
        yield node
        node.unplug()


def http_addresses(config: str) -> list[str]:
    """Return the addresses of broker, agent and worker in a configuration's text."""
    tables = dict(re.findall(r"^\[(\w+)\]$(.*?)(?=^\[)", config, re.MULTILINE | re.DOTALL))
    return [re.findall(r'^http = "(.*)"', tables[name], re.MULTILINE)[0] for name in PROGRAMS]


class Prometheus:
    """A running Prometheus, asked by its HTTP API."""

    def __init__(self, address: str) -> None:
        self.address = address

    def ask(self, path: str) -> Any:
        with urllib.request.urlopen(f"http://{self.address}/api/v1/{path}", timeout=5) as answer:
            return json.load(answer)["data"]

    def is_up(self) -> bool:
        try:
            self.ask("status/buildinfo")
        except urllib.error.HTTPError as not_yet:
            not_yet.close()
            return False
        except OSError:
            return False
        return True

    def health(self) -> dict[str, str]:
        """Return the health of each job's target."""
        targets = self.ask("targets?state=active")["activeTargets"]
        return {target["labels"]["job"]: target["health"] for target in targets}

    def firing(self) -> dict[str, dict[str, str]]:
        """Return the labels of each alert that fires, by its name."""
        alerts = [alert for alert in self.ask("alerts")["alerts"] if alert["state"] == "firing"]
        return {alert["labels"]["alertname"]: alert["labels"] for alert in alerts}


@contextmanager
def running_prometheus(directory: Path, http: dict[str, str]) -> Iterator[Prometheus]:
    """Run a Prometheus with deploy/'s files that scrapes `http`'s addresses each second."""
    if shutil.which("prometheus") is None:
        pytest.skip("prometheus is not installed")
    scrape = (DEPLOY / "prometheus/scrape.yml").read_text().replace("15s", "1s")
    for name, port in (("broker", 7780), ("agent", 7781), ("worker", 7782)):
        scrape = scrape.replace(f"127.0.0.1:{port}", http[name])
    alerts = (DEPLOY / "prometheus/alerts.yml").read_text()
    (directory / "scrape.yml").write_text(scrape)
    (directory / "alerts.yml").write_text(re.sub(r"for: \d+m", "for: 1s", alerts))
    prometheus = Prometheus(f"127.0.0.1:{free_port()}")
    with (directory / "prometheus.stderr").open("wb") as stderr:
        process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={directory / 'scrape.yml'}",
                f"--storage.tsdb.path={directory / 'data'}",
                f"--web.listen-address={prometheus.address}",
            ],
            stdout=stderr,
            stderr=stderr,
        )
    try:
        wait_until(
            prometheus.is_up, (directory / "prometheus.stderr").read_text, patience_s=PATIENCE_S
        )
        yield prometheus
    finally:
        process.terminate()
        process.wait(20)


@pytest.mark.timeout(120)
def test_a_prometheus_scrapes_a_node_and_raises_an_alert(node: Node, tmp_path: Path) -> None:
    http = {name: program.http for name, program in node.parts.items()}
    with running_prometheus(tmp_path, http) as prometheus:
        up = {f"dialgate-{name}": "up" for name in PROGRAMS}
        wait_until(lambda: prometheus.health() == up, lambda: str(prometheus.health()), PATIENCE_S)
        node.unplug()
        wait_until(
            lambda: "DialgatePortFaulted" in prometheus.firing(),
            lambda: f"firing: {prometheus.firing()}",
            PATIENCE_S,
        )

        assert prometheus.firing() == {
            "DialgatePortFaulted": {
                "alertname": "DialgatePortFaulted",
                "site": "oslo",
                "severity": "warning",
            }
        }
        rules = [rule for group in prometheus.ask("rules")["groups"] for rule in group["rules"]]
        assert {rule["health"] for rule in rules} == {"ok"}


@pytest.mark.parametrize("name", PROGRAMS)
def test_promtool_finds_no_fault_in_what_a_program_shows(name: str, node: Node) -> None:
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed")
    node.parts[name].wait_for()

    done = subprocess.run(
        ["promtool", "check", "metrics"],
        input=node.parts[name].get("/metrics")[1],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_handbook_lists_what_a_program_shows(name: str, node: Node) -> None:
    node.parts[name].wait_for()
    shown = re.findall(r"^# TYPE (dialgate_\w+)", node.parts[name].get("/metrics")[1], re.MULTILINE)
    chapter = (PROJECT / "docs/metrics.md").read_text().split(f"\n## {name.title()}\n")[1]
    listed = re.findall(r"^\| `(dialgate_\w+)", chapter.split("\n## ")[0], re.MULTILINE)

    assert sorted(listed) == sorted(shown)


def test_each_metric_that_an_alert_asks_for_is_shown(node: Node) -> None:
    alerts = (DEPLOY / "prometheus/alerts.yml").read_text()
    expressions = re.findall(r"^        expr: (.*?)^        \w", alerts, re.MULTILINE | re.DOTALL)
    asked = re.findall(r"dialgate_\w+", "".join(expressions))
    shown = "".join(program.get("/metrics")[1] for program in node.parts.values())

    assert asked
    assert [name for name in asked if f"# TYPE {name.removesuffix('_bucket')} " not in shown] == []
