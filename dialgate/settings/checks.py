"""Faults that only two values together show: names that don't exist, addresses that clash.

Everything here follows from the file alone; what depends on the machine is in `machine`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final, TypeVar

from dialgate.settings.document import PROGRAMS, Program, Settings
from dialgate.settings.endpoints import (
    Endpoint,
    HostPort,
    parse_console,
    parse_endpoint,
    parse_host_port,
)
from dialgate.settings.findings import Findings, spell
from dialgate.settings.line_checks import check_lines
from dialgate.settings.locator import Path
from dialgate.settings.policy_checks import check_policies

__all__ = ["check_document", "curve_endpoints"]

T = TypeVar("T")

STATE_URL: Final = re.compile(r"sqlite:///.|postgresql://[^/?]*/[^/?]")
"""A file's path, or a server (empty: PostgreSQL's own variables tell) and its database."""


def _endpoints(settings: Settings) -> Iterator[tuple[Path, str, bool]]:
    """Yield place, text and `insecure` of every DSP/1 endpoint in the file."""
    if (broker := settings.broker) is not None:
        yield ("broker", "agents"), broker.agents, broker.insecure
        yield ("broker", "workers"), broker.workers, broker.insecure
    if (worker := settings.worker) is not None:
        for index, text in enumerate(worker.brokers):
            yield ("worker", "brokers", index), text, worker.insecure
    if (agent := settings.agent) is not None:
        for index, text in enumerate(agent.brokers):
            yield ("agent", "brokers", index), text, agent.insecure
        for index, text in enumerate(agent.local_brokers):
            yield ("agent", "local_brokers", index), text, agent.insecure


def curve_endpoints(settings: Settings, program: Program) -> Iterator[tuple[Path, Endpoint]]:
    """Yield place and endpoint of everything at which `program` speaks CURVE."""
    for path, text, insecure in _endpoints(settings):
        endpoint = _sound(text)
        if path[0] == program and endpoint and endpoint.needs_curve(insecure=insecure):
            yield path, endpoint


def check_document(settings: Settings, findings: Findings) -> None:
    """Add every fault and warning that the values of `settings` show together."""
    _check_state(settings, findings)
    _check_endpoints(settings, findings)
    _check_listeners(settings, findings)
    check_lines(settings, findings)
    _check_services(settings, findings)
    check_policies(settings, findings)
    for name, authenticator in settings.authenticators.items():
        findings.add(("authenticators", name), authenticator.problems())
    _check_lockout(settings, findings)


def _parsed(
    parse: Callable[[str], T], text: str, path: Path, findings: Findings, example: str
) -> T | None:
    try:
        return parse(text)
    except ValueError as error:
        findings.fault(path, f'"{text}" {error}', f'write it as "{example}"')
        return None


def _check_state(settings: Settings, findings: Findings) -> None:
    if not STATE_URL.match(settings.cluster.state):
        findings.fault(
            ("cluster", "state"),
            "is no URL of a known kind",
            'write "sqlite:////var/lib/dialgate/state.db", with four slashes before a whole path, '
            'or "postgresql://dialgate@host/dialgate"',
        )


def _check_endpoints(settings: Settings, findings: Findings) -> None:
    seen: dict[Path, Path] = {}
    for path, text, insecure in _endpoints(settings):
        endpoint = _parsed(parse_endpoint, text, path, findings, "tcp://127.0.0.1:7700")
        if endpoint is None:
            continue
        if insecure and not endpoint.local:
            findings.fault(
                path,
                f'"{text}" is not a loopback address, and {path[0]}.insecure is true',
                "use 127.0.0.1, or remove insecure and make keys with `dialgate keys`",
            )
        # A broker has two endpoints; a peer's lists name each broker once.
        whose = path[:2] if path[0] == "broker" else path[:1]
        if (first := seen.setdefault((*whose, endpoint.address), path)) != path:
            findings.fault(path, f'"{text}" is {spell(first)} too', "name each broker once")
        if endpoint.broker and path[0] == "broker":
            findings.fault(path, "names a broker after #", "only peers name the broker they expect")
        if endpoint.tcp is not None and endpoint.tcp.wildcard and path[0] != "broker":
            findings.fault(path, f'"{text}" is nowhere to connect to', "write the broker's host")
        if path[1] == "local_brokers" and not endpoint.local:
            findings.warning(
                path,
                f'"{text}" is not on this machine: what cuts the site off may cut that off, too',
                "name a broker on a loopback address or an ipc:// path",
            )
        if endpoint.needs_curve(insecure=insecure) and path[0] != "broker":
            findings.warning(
                path,
                "carries answers that the broker could read, encrypted only on the way to it",
                "keep brokers on trusted machines until bodies are sealed",
            )


def _check_listeners(settings: Settings, findings: Findings) -> None:
    """Check the addresses that programs listen on, and that no two are the same."""
    listeners: dict[Path, HostPort] = {}
    for program in PROGRAMS:
        table = getattr(settings, program)
        if table is None:
            continue
        path: Path = (program, "http")
        http = _parsed(parse_host_port, table.http, path, findings, "127.0.0.1:7780")
        if http is not None:
            listeners[path] = http
    broker = settings.broker
    if broker is not None:
        for key, text in (("agents", broker.agents), ("workers", broker.workers)):
            endpoint = _sound(text)
            if endpoint is not None and endpoint.tcp is not None:
                listeners["broker", key] = endpoint.tcp
        http = listeners.get(("broker", "http"))
        if http is not None and not http.loopback and not broker.operator_token_file:
            findings.warning(
                ("broker", "http"),
                f'"{broker.http}" is not a loopback address, so operators\' commands are refused',
                "set broker.operator_token_file, or listen on 127.0.0.1",
            )
    _check_clashes(listeners, findings)


def _sound(text: str) -> Endpoint | None:
    """Return the endpoint in `text`, or None where it is a fault of its own."""
    try:
        return parse_endpoint(text)
    except ValueError:
        return None


def _check_clashes(listeners: dict[Path, HostPort], findings: Findings) -> None:
    seen: list[tuple[Path, HostPort]] = []
    for path, address in listeners.items():
        for other_path, other in seen:
            same_host = address.host == other.host or address.wildcard or other.wildcard
            if address.port == other.port and same_host:
                findings.fault(
                    path,
                    f"{address} is taken by {spell(other_path)}",
                    "give each its own port",
                )
        seen.append((path, address))


def _check_services(settings: Settings, findings: Findings) -> None:
    for name, service in settings.services.items():
        path: Path = ("services", name)
        if bool(service.connect) == bool(service.command):
            what = "has both connect and command" if service.command else "has nothing to start"
            findings.fault(path, what, "write either connect or command")
        elif service.connect:
            place = (*path, "connect")
            _parsed(parse_console, service.connect, place, findings, "tcp://127.0.0.1:2001")
        elif not service.command[0].startswith("/"):
            what = f'"{service.command[0]}" is not a whole path'
            findings.fault((*path, "command", 0), what, "write it as /bin/login")
        if service.direct and service.connect:
            what = "is true, but a TCP console can't be given the device"
            findings.fault((*path, "direct"), what, "remove it, or write command")
        if service.raw and service.connect:
            what = "is true, but a TCP console has no terminal here"
            findings.fault((*path, "raw"), what, "remove it, or write command")
        if service.direct and service.idle_timeout_s:
            what = "is set, but what passes a direct service is not seen"
            mend = "remove it and let the command watch for it (pppd: idle)"
            findings.fault((*path, "idle_timeout_s"), what, mend)


def _check_lockout(settings: Settings, findings: Findings) -> None:
    lockout = settings.lockout
    if lockout.user_tries <= lockout.place_tries:
        findings.fault(
            ("lockout", "user_tries"),
            f"is {lockout.user_tries}, so one caller could lock a user everywhere",
            f"write more than place_tries, which is {lockout.place_tries}",
        )
    if lockout.wait_max_s < lockout.wait_s:
        what = f"is {lockout.wait_max_s}, less than the first wait"
        findings.fault(("lockout", "wait_max_s"), what, f"write at least {lockout.wait_s}")
