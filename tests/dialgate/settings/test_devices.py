"""Only serial devices are ports (rashost.md, rule 6); each refusal says why.

Method: names as an operator might write them, and files of every kind in a directory of the test.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from dialgate.settings import devices
from dialgate.settings.devices import serial_device_fault


@pytest.fixture
def pty() -> Iterator[str]:
    master, slave = os.openpty()
    yield os.ttyname(slave)
    os.close(slave)
    os.close(master)


@pytest.mark.parametrize(
    ("device", "reason"),
    [
        ("socket://192.0.2.1:4001", "plain socket"),
        ("tcp://192.0.2.1:4001", "plain socket"),
        ("192.0.2.1:4001", "plain socket"),
        ("[2001:db8::1]:4001", "plain socket"),
        ("modems.example:4001", "plain socket"),
        (":4001", "plain socket"),
        ("rfc2217://192.0.2.1", "is not HOST:PORT"),
        ("rfc2217://0.0.0.0:4001", "is nowhere to connect to"),
        ("loop://", "not a serial device"),
        ("isdn0", "is ISDN"),
        ("/dev/isdn0", "is ISDN"),
        ("ippp1", "is ISDN"),
        ("/dev/ttyI3", "is ISDN"),
        ("tun0", "VPN"),
        ("tap1", "VPN"),
        ("wg0", "VPN"),
        ("ppp0", "VPN or PPP"),
        ("/dev/net/tun", "VPN"),
        ("/dev/ppp", "VPN or PPP"),
        ("eth0", "Ethernet"),
        ("enp3s0", "Ethernet"),
        ("wlan0", "Ethernet"),
        ("ttyS0", "not a whole path"),
        ("", "not a whole path"),
        ("/dev/ttyNONE7", "does not exist"),
        ("/dev/\0", "can't be looked at"),
        ("/dev/null", "not a serial one"),
        ("/dev/ptmx", "not a serial one"),
        ("/dev/tty", "not a serial one"),
    ],
)
def test_what_is_no_serial_device_is_refused_with_the_reason(device: str, reason: str) -> None:
    fault = serial_device_fault(device)

    assert fault is not None
    assert fault.startswith(f'"{device}" ')
    assert reason in fault


def test_files_of_other_kinds_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(tmp_path / "socket"))

    faults = [serial_device_fault(str(tmp_path / name)) for name in ("file", "pipe", "socket", ".")]

    assert [fault and fault.split('" ')[1] for fault in faults] == [
        "is a file, not a serial device",
        "is a pipe, not a serial device",
        "is a socket, not a serial device",
        "is a directory, not a serial device",
    ]


def test_a_pty_is_a_serial_device(pty: str) -> None:
    assert serial_device_fault(pty) is None


def test_a_symbolic_link_to_a_pty_is_one_whatever_its_name(pty: str, tmp_path: Path) -> None:
    link = tmp_path / "eth0"
    link.symlink_to(pty)

    assert serial_device_fault(str(link)) is None


def test_a_link_to_nothing_is_refused(tmp_path: Path) -> None:
    link = tmp_path / "modem"
    link.symlink_to(tmp_path / "gone")

    assert serial_device_fault(str(link)) == f'"{link}" does not exist on this machine'


def test_where_drivers_are_not_listed_any_character_device_may_be_serial(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(devices, "_TTY_DRIVERS", tmp_path / "none")

    assert serial_device_fault("/dev/null") is None


def test_a_device_that_may_not_be_opened_names_the_group_that_may(
    monkeypatch: pytest.MonkeyPatch, pty: str
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)

    fault = serial_device_fault(pty)

    assert fault is not None
    assert "may not be opened by this user: add it to the group " in fault


def test_a_port_behind_a_terminal_server_is_a_serial_device() -> None:
    assert serial_device_fault("rfc2217://ts1.example.org:3001") is None
    assert serial_device_fault("rfc2217://[2001:db8::1]:3001") is None
