"""What a program needs of the machine it runs on: devices, directories, key files.

Checked only for the programs that are about to run here, since one file may be shared by machines
that have different ones, and read by an operator who may not open their directories.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path as File

from dialgate.settings.document import Program, Settings
from dialgate.settings.findings import Findings
from dialgate.settings.locator import Path

__all__ = ["check_machine"]


def check_machine(settings: Settings, programs: Collection[Program], findings: Findings) -> None:
    """Add what `programs` miss on this machine."""
    if "worker" in programs:
        file = settings.cluster.state.removeprefix("sqlite:///")
        _check_writable(File(file), ("cluster", "state"), findings)
    if "agent" in programs and settings.agent is not None:
        _check_writable(File(settings.agent.spool), ("agent", "spool"), findings)


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
