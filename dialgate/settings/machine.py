"""What a program needs of the machine it runs on: devices, directories, key files.

Checked only for the programs that are about to run here, since one file may be shared by machines
that have different ones, and read by an operator who may not open their directories.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path as File
from typing import TypeVar

from dialgate.errors import KeyFileError
from dialgate.keys import Directory, load_directory, load_pool_key, load_secret
from dialgate.settings.agent import AgentSettings
from dialgate.settings.checks import curve_endpoints
from dialgate.settings.devices import serial_device_fault
from dialgate.settings.document import Program, Settings
from dialgate.settings.endpoints import IPC_PATH_MAX
from dialgate.settings.findings import Findings
from dialgate.settings.locator import Path

__all__ = ["check_machine"]

T = TypeVar("T")


def check_machine(settings: Settings, programs: Collection[Program], findings: Findings) -> None:
    """Add what `programs` miss on this machine."""
    if "worker" in programs:
        if (file := settings.cluster.state_file) is not None:
            _check_writable(file, ("cluster", "state"), findings)
        if settings.cluster.pool_key:
            pool_key = settings.cluster.pool_key_file
            _key(lambda: load_pool_key(pool_key), ("cluster", "pool_key"), findings)
        for name, authenticator in settings.authenticators.items():
            findings.add(("authenticators", name), authenticator.machine_problems())
    if "agent" in programs and settings.agent is not None:
        _check_writable(File(settings.agent.spool), ("agent", "spool"), findings)
        _check_service_socket(settings.agent, findings)
        _check_devices(settings, findings)
        _check_commands(settings, findings)
    if "broker" in programs and settings.broker and settings.broker.operator_token_file:
        token = File(settings.broker.operator_token_file)
        _check_token(token, ("broker", "operator_token_file"), findings)
    for program in programs:
        _check_keys(settings, program, findings)


def _check_writable(file: File, path: Path, findings: Findings) -> None:
    """Add a fault unless `file` can be written, or made."""
    directory = file.parent
    if not directory.is_dir():
        what = f'the directory of "{file}" does not exist'
        findings.fault(path, what, f"make it: install -d -m 0750 {directory}")
    elif not os.access(directory, os.W_OK | os.X_OK):
        what = f'the directory of "{file}" may not be written'
        findings.fault(path, what, f"give this program's user the directory {directory}")
    elif file.is_dir() or (file.exists() and not os.access(file, os.W_OK)):
        findings.fault(path, f'"{file}" is no file that may be written', "name another file")


def _check_token(file: File, path: Path, findings: Findings) -> None:
    try:
        if file.stat().st_mode & 0o077:
            findings.fault(path, f"{file} is open to others", f"chmod 600 {file}")
        elif not file.read_text().strip():
            findings.fault(path, f"{file} is empty", "write a long random word into it")
    except (OSError, UnicodeDecodeError) as error:
        findings.fault(path, f"{file} can't be read ({error})", "write a long random word into it")


def _check_service_socket(agent: AgentSettings, findings: Findings) -> None:
    path: Path = ("agent", "service_socket")
    socket = agent.service_socket_path
    if agent.service_socket:
        _check_writable(socket, path, findings)
    if len(os.fsencode(socket)) > IPC_PATH_MAX:
        what = f"{socket} is longer than the {IPC_PATH_MAX} bytes that a socket's path may have"
        findings.fault(path, what, "name a shorter path")


def _check_devices(settings: Settings, findings: Findings) -> None:
    assert settings.agent is not None
    for path, port in settings.agent.placed_lines():
        what = serial_device_fault(port.device)
        if what is not None:
            key = "device" if path[1] == "ports" else "devices"
            findings.fault((*path, key), what, "name a tty or PTY")
        elif port.modem and port.dcd == "auto" and _is_pty(port.device):
            what = f"needs modem lines, and {port.device} is a PTY, which has none"
            findings.fault((*path, "dcd"), what, 'write dcd = "ignore"')


def _is_pty(device: str) -> bool:
    return os.path.realpath(device).startswith("/dev/pts/")


def _check_commands(settings: Settings, findings: Findings) -> None:
    """Add a warning for each command that callers would find missing.

    It stops no program: what is mounted or installed later serves the next caller.
    """
    for name, service in settings.services.items():
        if not service.command or findings.has_fault(("services", name, "command", 0)):
            continue
        command = File(service.command[0])
        if not command.is_file():
            what = f'"{command}" does not exist on this machine, so no caller gets to this service'
        elif not os.access(command, os.X_OK):
            what = f'"{command}" may not be executed, so no caller gets to this service'
        else:
            continue
        findings.warning(("services", name, "command"), what, "name a program that is there")


def _check_keys(settings: Settings, program: Program, findings: Findings) -> None:
    """Add a fault for each key file that `program` needs for CURVE and hasn't."""
    curve = list(curve_endpoints(settings, program))
    if not curve or findings.has_fault((program, "insecure")):
        return
    keys = settings.cluster.keys
    name = getattr(settings, program).name
    _key(lambda: load_secret(keys, program, name), (program, "name"), findings)
    directory = _key(lambda: load_directory(keys), ("cluster", "keys"), findings)
    if directory is None or program == "broker":
        return
    for path, endpoint in curve:
        _key(partial(directory.broker_key, endpoint.broker), path, findings)
    if program == "agent":
        _check_rights(settings, directory, findings)


def _check_rights(settings: Settings, directory: Directory, findings: Findings) -> None:
    """Add a fault for what the agent's own public file, where it is here, doesn't allow."""
    agent = settings.agent
    assert agent is not None
    rights = [right for right in directory.rights if right.role == "agent"]
    right = next((right for right in rights if right.name == agent.name), None)
    if right is None:
        return
    file = f"agent-{agent.name}.key"
    if not right.may_be_at(agent.site):
        what = f'"{agent.site}" is not the site of {file}'
        findings.fault(("agent", "site"), what, f"write {right.site}, or mend the key file's site")
    for path, port in agent.placed_lines():
        if not right.may_speak_for(port.hport):
            what = f'{file} may not speak for "{port.hport}"'
            findings.fault((*path, "hport"), what, "add it to hports there and at the brokers")


def _key(load: Callable[[], T], path: Path, findings: Findings) -> T | None:
    try:
        return load()
    except KeyFileError as error:
        command = findings.command(f"dialgate keys {error.act}")
        findings.fault(path, error.what, f"make it with: {command}" if error.act else "")
        return None
