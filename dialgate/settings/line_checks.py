"""Faults of the ports: names and devices used twice, options that don't go together.

As in `checks`, everything here follows from the file alone.
"""

from __future__ import annotations

from typing import Final

from dialgate.settings.agent import AgentSettings
from dialgate.settings.document import Settings
from dialgate.settings.endpoints import TERMINAL_SERVER, parse_terminal_server
from dialgate.settings.findings import Findings, spell
from dialgate.settings.lines import NUMBER, PORTS_MAX, LineOptions, expand
from dialgate.settings.locator import Path
from dialgate.settings.models import MODELS, model_of
from dialgate.settings.names import check_name

__all__ = ["check_lines"]

_EXAMPLE: Final = 'write it as "/dev/ttyD{0..63}"'


def check_lines(settings: Settings, findings: Findings) -> None:
    """Add every fault of the agent's ports and banks."""
    agent = settings.agent
    if agent is None:
        return
    _check_banks(agent, findings)
    _check_number(agent, findings)
    _check_networks(agent, findings)
    _check_doubles(agent, findings)
    for index, port in enumerate(agent.ports):
        _check_options(port, ("agent", "ports", index), settings, findings)
    for index, bank in enumerate(agent.banks):
        _check_options(bank, ("agent", "banks", index), settings, findings)


def _check_banks(agent: AgentSettings, findings: Findings) -> None:
    for index, bank in enumerate(agent.banks):
        path: Path = ("agent", "banks", index)
        try:
            size = len(expand(bank.devices))
        except ValueError as error:
            findings.fault((*path, "devices"), f'"{bank.devices}" {error}', _EXAMPLE)
            continue
        if NUMBER not in bank.hport and size > 1:
            what = f'"{bank.hport}" is one name for {size} ports'
            findings.fault((*path, "hport"), what, f'write it as "{bank.hport}/{NUMBER}"')


def _check_networks(agent: AgentSettings, findings: Findings) -> None:
    """Warn, once a table, of lines whose bytes cross a network in the clear."""
    warned: set[Path] = set()
    for path, port in agent.placed_lines():
        if path in warned or not port.device.startswith(TERMINAL_SERVER):
            continue
        try:
            place = parse_terminal_server(port.device)
        except ValueError:
            continue  # A fault where devices are looked at.
        if not place.loopback:
            warned.add(path)
            findings.warning(
                path,
                f'"{port.device}" is plain telnet: what callers type can be read on the way',
                "keep terminal servers on a network of their own",
            )


def _check_number(agent: AgentSettings, findings: Findings) -> None:
    number = len(agent.lines)
    if number > PORTS_MAX:
        what = f"has {number} ports, and an agent has {PORTS_MAX} at most"
        findings.fault(("agent", "banks"), what, "let another agent have some of them")
    elif not number and not agent.banks:
        findings.fault(("agent", "ports"), "is missing", "add a [[agent.ports]] table")


def _check_doubles(agent: AgentSettings, findings: Findings) -> None:
    hports: dict[str, Path] = {}
    devices: dict[str, Path] = {}
    for path, port in agent.placed_lines():
        if port.hport in hports:
            what = f'"{port.hport}" is the name of {spell(hports[port.hport])} too'
            findings.fault((*path, "hport"), what, "give each port a name of its own")
        if port.device in devices:
            what = f'"{port.device}" is the device of {spell(devices[port.device])} too'
            key = "device" if path[1] == "ports" else "devices"
            findings.fault((*path, key), what, "give each port a device of its own")
        hports.setdefault(port.hport, path)
        devices.setdefault(port.device, path)


def _check_options(line: LineOptions, path: Path, settings: Settings, findings: Findings) -> None:
    if line.hangup == "dtr" and line.dcd == "ignore":
        what = "is dtr, but a device without modem lines has no DTR"
        findings.fault((*path, "hangup"), what, 'write "escape" or "auto"')
    if settings.agent and settings.agent.refused_callers and not _waits_for_caller_id(line):
        what = "answers before caller id is there, so agent.refused_callers refuse nobody here"
        findings.warning(path, what, "set rings = 2, or caller_id_wait_ms")
    check_name(line.service, settings.services, (*path, "service"), "services", findings)
    if not line.modem and line.when_down == "busy":
        what = 'is "busy", but a line without a modem has no tone'
        findings.fault((*path, "when_down"), what, 'write "ring" or "answer"')
    if not line.modem and line.dcd == "ignore" and not line.silence_timeout_s:
        what = "is 0, so nothing would ever end a call on this line"
        findings.fault((*path, "silence_timeout_s"), what, "write 1800, or what suits")
    _check_ppp(line.ppp, (*path, "ppp"), settings, findings)
    if line.hook and not line.hook[0].startswith("/"):
        what = f'"{line.hook[0]}" is not a whole path'
        findings.fault((*path, "hook", 0), what, "write it as /usr/local/sbin/cycle-power")
    service = settings.services.get(line.service)
    if service is not None and service.direct and line.dcd == "ignore":
        what = f'"{line.service}" is direct: only modem lines show that its caller is gone'
        findings.fault((*path, "service"), what, 'write dcd = "auto", or another service')
    model = model_of(line, settings.models)
    if model is None:
        known = ", ".join(sorted({*MODELS, *settings.models}))
        what = f'"{line.model}" is no model that is known here'
        findings.fault((*path, "model"), what, f"add [models.{line.model}]; there are: {known}")
    elif line.caller_id and not model.caller_id:
        what = f'is true, but the model "{line.model}" has no command for it'
        findings.fault((*path, "caller_id"), what, "remove it, or give [models] a caller_id")


def _check_ppp(name: str, path: Path, settings: Settings, findings: Findings) -> None:
    if not name:
        return
    check_name(name, settings.services, path, "services", findings)
    findings.warning(
        path,
        "lets callers who speak PPP past the login: their service alone asks who they are",
        "have pppd authenticate (auth), or remove it",
    )
    service = settings.services.get(name)
    if service is not None and service.command and not (service.raw or service.direct):
        what = f'"{name}" starts with echo, so callers get their own frames back at first'
        findings.warning(path, what, f"write raw = true in [services.{name}]")


def _waits_for_caller_id(line: LineOptions) -> bool:
    """Return whether caller id, which comes behind the first ring, is there before the answer."""
    return line.rings > 1 or line.caller_id_wait_ms > 0
