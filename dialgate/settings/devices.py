"""What a port's `device` may be: a serial device, and nothing that only looks like a line.

A security host stands behind asynchronous modems only; ISDN, VPN and Ethernet have their own ways
to know a caller (rashost.md, rule 6).  This module looks at names and at what is on this machine;
it opens nothing, since opening a modem's device raises DTR.
"""

from __future__ import annotations

import grp
import os
import re
import stat
from pathlib import Path
from typing import Final

from dialgate.settings.endpoints import TERMINAL_SERVER, parse_terminal_server

__all__ = ["serial_device_fault"]

_TTY_DRIVERS: Final = Path("/proc/tty/drivers")
"""Lines of name, device, major, minor or range of minors, type (proc(5))."""
_SERIAL_TYPES: Final = frozenset({"serial", "pty:slave"})

_INTERFACES: Final = {
    "ISDN": re.compile(r"(isdn|ippp|ttyI|capi)[0-9]*"),
    "a VPN or PPP interface": re.compile(r"(tun|tap|wg|ppp|ipsec|vti|gre)[0-9]*"),
    "an Ethernet interface": re.compile(
        r"(eth|wlan|br|bond|vlan)[0-9]*|(en|wl)[opsx][0-9][0-9a-z]*"
    ),
}
_HOST_PORT: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^/:]*):[0-9]+")

_KINDS: Final = {
    stat.S_IFREG: "a file",
    stat.S_IFDIR: "a directory",
    stat.S_IFSOCK: "a socket",
    stat.S_IFIFO: "a pipe",
    stat.S_IFBLK: "a block device",
}


def serial_device_fault(device: str) -> str | None:
    """Return why `device` can't be a port's device on this machine, or None where it can.

    The text goes on after the key: `"eth0" is an Ethernet interface, …`.  Nothing is opened.
    """
    if device.startswith(TERMINAL_SERVER):
        return _address_fault(device)
    fault = _name_fault(device)
    if fault is None and device.startswith("/dev/serial/") and not Path(device).exists():
        return None  # A USB adapter that is not plugged in: the agent waits for it.
    fault = fault or _file_fault(Path(device))
    return None if fault is None else f'"{device}" {fault}'


def _address_fault(device: str) -> str | None:
    """Return what is wrong with the address of a terminal server's port; it is not asked."""
    try:
        place = parse_terminal_server(device)
    except ValueError as error:
        return f'"{device}" {error}'
    return f'"{device}" is nowhere to connect to' if place.wildcard else None


def _name_fault(device: str) -> str | None:
    """Return what the name alone shows."""
    scheme, separator, _ = device.partition("://")
    if separator:
        return f"is a {scheme} URL, not a serial device: there is no modem behind a plain socket"
    if _HOST_PORT.fullmatch(device):
        return "is a network address: there is no modem behind a plain socket"
    if "/" not in device or device.startswith("/dev/"):
        name = device.rpartition("/")[2]
        for kind, pattern in _INTERFACES.items():
            if pattern.fullmatch(name):
                return f"is {kind}: only modems on serial lines are guarded"
    if not device.startswith("/"):
        return "is not a whole path, as /dev/ttyS0 is"
    return None


def _file_fault(path: Path) -> str | None:
    """Return what is wrong with the file at `path`, symbolic links followed."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return "does not exist on this machine"
    except (OSError, ValueError) as error:
        return f"can't be looked at ({error})"
    if not stat.S_ISCHR(status.st_mode):
        kind = _KINDS.get(stat.S_IFMT(status.st_mode), "something else")
        return f"is {kind}, not a serial device"
    if not _is_serial(os.major(status.st_rdev), os.minor(status.st_rdev)):
        return "is a device, but not a serial one"
    if not os.access(path, os.R_OK | os.W_OK):
        return f"may not be opened by this user: add it to the group {_group(status.st_gid)}"
    return None


def _is_serial(major: int, minor: int) -> bool:
    """Return whether a driver of serial lines or PTYs serves this device, so far as is known."""
    try:
        drivers = _TTY_DRIVERS.read_text().splitlines()
    except OSError:
        return True
    for driver in drivers:
        *_, driver_major, minors, kind = driver.split()
        first, _, last = minors.partition("-")
        if int(driver_major) == major and int(first) <= minor <= int(last or first):
            return kind in _SERIAL_TYPES
    return False


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
