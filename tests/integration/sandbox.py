"""Run a program under the system call filter of a unit of deploy/, as systemd would.

    python -m tests.integration.sandbox 0,1,2,... COMMAND...

`numbers_of` says which system calls a unit's settings leave; what is not among them fails with
EPERM, in the program and in all that it starts.  It is for tests on machines that systemd did not
boot: it looks at no arguments, so of systemd's sandbox this is SystemCallFilter= and nothing else.
"""

from __future__ import annotations

import ctypes
import os
import re
import struct
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

__all__ = ["numbers_of"]

_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_SET_SECCOMP: Final = 22
_MODE_FILTER: Final = 2
# BPF, see linux/bpf_common.h and linux/seccomp.h.
_LOAD: Final = 0x20
_JUMP_IF_EQUAL: Final = 0x15
_RETURN: Final = 0x06
_ALLOW: Final = 0x7FFF_0000
_EPERM: Final = 0x0005_0001


def numbers_of(files: Sequence[Path]) -> list[int]:
    """Return the numbers of the system calls that SystemCallFilter= allows in a unit's files.

    The first line of the setting allows, as in systemd, and `@default` comes with it.
    """
    sets = _sets()
    allowed = set(_expanded(["@default"], sets))
    for file in files:
        for line in re.findall(r"^SystemCallFilter=(.*)$", file.read_text(), re.MULTILINE):
            names = set(_expanded(line.removeprefix("~").split(), sets))
            allowed = allowed - names if line.startswith("~") else allowed | names
    return _numbers(sorted(allowed))


def _sets() -> dict[str, list[str]]:
    """Return what is in each of systemd's sets of system calls, sets among them."""
    told = subprocess.run(
        ["systemd-analyze", "syscall-filter", "--no-pager"],
        capture_output=True,
        text=True,
        timeout=50,
        check=True,
    ).stdout
    sets: dict[str, list[str]] = {}
    members: list[str] = []
    # systemd 255 has colour sequences in it, for a pipe too.
    for line in re.sub(r"\x1b\[\d*m", "", told).splitlines():
        if re.fullmatch(r"@\S+", line):
            members = sets[line] = []
        elif re.fullmatch(r"\s+@?\w[\w-]*", line):
            members.append(line.strip())
    return sets


def _expanded(names: Iterable[str], sets: dict[str, list[str]]) -> Iterable[str]:
    for name in names:
        if name.startswith("@"):
            yield from _expanded(sets[name], sets)
        else:
            yield name


def _numbers(names: Iterable[str]) -> list[int]:
    """Return this machine's numbers of those of the system calls that it has, as its cc says."""
    source = "#include <sys/syscall.h>\n" + "".join(f"= SYS_{name}\n" for name in names)
    done = subprocess.run(
        ["cc", "-E", "-P", "-"],
        input=source,
        capture_output=True,
        text=True,
        timeout=50,
        check=True,
    )
    return [int(number) for number in re.findall(r"= (\d+)", done.stdout)]


def _confine(numbers: Sequence[int]) -> None:
    """Let this process and its children make these system calls only, from now on."""
    steps = [(_LOAD, 0, 0, 0)]
    for number in numbers:
        steps += [(_JUMP_IF_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ALLOW)]
    steps.append((_RETURN, 0, 0, _EPERM))
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in steps))
    program = ctypes.create_string_buffer(struct.pack("@HP", len(steps), ctypes.addressof(code)))
    libc = ctypes.CDLL(None, use_errno=True)
    for arguments in (
        (_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
        (_PR_SET_SECCOMP, _MODE_FILTER, ctypes.c_void_p(ctypes.addressof(program)), 0, 0),
    ):
        if libc.prctl(*arguments) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))


if __name__ == "__main__":
    _confine([int(number) for number in sys.argv[1].split(",")])
    os.execvp(sys.argv[2], sys.argv[2:])  # noqa: S606 - a program that the test names
