"""Debian's pppd behind a modem and before it, as docs/services.md has it: `./dev prove pppd`.

Where the kernel has no PPP, all of it runs in one that has: User Mode Linux, with this machine's
files read-only.  That takes a minute, so the file's name keeps it from `./dev test`.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from tests.integration.pppd_site import CALLS, PROJECT

PATIENCE_S: Final = 300.0
SITE: Final = "/run/site"
"""A new directory in memory, where sockets and PTYs' names may be."""
RUN: Final = """
mount -t tmpfs ppp /etc/ppp
mkdir -p /run/lock {site}
ip link set lo up
cd {project}
PYTHONDONTWRITEBYTECODE=1 {python} -m tests.integration.pppd_site {site} 2>&1 | tee {told}/errors
cp {site}/*.log {site}/results.json {told}
"""
BOOT: Final = """#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs run /run
mkdir -p /dev/pts /run/told
mount -t devpts pts /dev/pts
mount -t hostfs told /run/told -o {told}
modules=/usr/lib/uml/modules/$(uname -r)/kernel
for module in net/slip/slhc net/ppp/ppp_generic net/ppp/ppp_async; do
  [ $module != net/ppp/ppp_async ] || insmod $modules/lib/crc-ccitt.ko
  insmod $modules/drivers/$module.ko
done
{run}
echo o >/proc/sysrq-trigger
sleep 60
"""


def has_ppp() -> bool:
    """Whether this kernel has PPP, for us."""
    try:
        os.close(os.open("/dev/ppp", os.O_RDWR))
    except OSError:
        return False
    return True


def command(told: Path) -> list[str]:
    """Return what runs the site and leaves what it has to tell in `told`."""
    values = {"project": shlex.quote(str(PROJECT)), "python": sys.executable, "site": SITE}
    if has_ppp():
        run = "mount -t tmpfs run /run\n" + RUN.format(told=told, **values)
        return ["/usr/bin/unshare", "--net", "--mount", "/bin/sh", "-c", run]
    boot = told / "boot"
    boot.write_text(BOOT.format(told=told, run=RUN.format(told="/run/told", **values)))
    boot.chmod(0o755)
    kernel = ("mem=512M", "quiet", "con=null", "con0=null,fd:1", "ro")
    return ["/usr/bin/linux.uml", *kernel, "rootfstype=hostfs", "rootflags=/", f"init={boot}"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Let all call; return what became of each."""
    told = tmp_path_factory.mktemp("told")
    done = subprocess.run(
        command(told),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=PATIENCE_S,
        check=False,
    )
    results = told / "results.json"
    assert results.exists(), done.stdout.decode(errors="replace")[-4000:]
    calls: dict[str, Any] = json.loads(results.read_text())
    assert calls.keys() == CALLS.keys()
    return calls


@pytest.mark.timeout(PATIENCE_S)
def test_pppd_authenticates_who_was_admitted_and_takes_him_to_the_network(
    made: dict[str, Any],
) -> None:
    call = made["same user"]

    assert "PAP authentication succeeded" in call["log"]
    assert "local  IP address 192.0.2.2\nremote IP address 192.0.2.1\n" in call["log"]
    assert call["heard"] == "welcome to the plant\n"
    assert (call["service"], call["user"]) == ("ppp", "ann")
    assert call["disconnect"] in {"caller", "service-ended"}  # Both ends hang up at once.


def test_r5_whom_pppd_knows_as_another_user_is_hung_up_on(made: dict[str, Any]) -> None:
    call = made["other user"]

    assert "PAP authentication succeeded" in call["log"]
    assert (call["service"], call["user"]) == ("ppp", "ann")
    assert call["disconnect"] == "user-mismatch"


def test_a_wrong_password_in_ppp_reaches_nothing(made: dict[str, Any]) -> None:
    call = made["wrong password"]

    assert "PAP authentication failed" in call["log"]
    assert "IP address" not in call["log"]
    assert call["disconnect"] in {"caller", "service-ended"}


def test_who_speaks_ppp_at_the_prompt_is_authenticated_by_pppd_alone(made: dict[str, Any]) -> None:
    call = made["at the prompt"]

    assert "PAP authentication succeeded" in call["log"]
    assert call["heard"] == "welcome to the plant\n"
    assert (call["service"], call["user"]) == ("ppp-at-once", "")
