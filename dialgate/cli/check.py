"""`dialgate check`: every fault of a configuration file, before a program meets it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dialgate.manual import DEFAULT_CONFIG, new_parser
from dialgate.settings import inspect

__all__ = ["run"]


def run(_command: str, arguments: Sequence[str]) -> int:
    """Print faults and warnings; 1 when there is a fault."""
    parser = new_parser(
        "check",
        """
        Reads a configuration file and prints all its faults, each as FILE:LINE: KEY: what is
        wrong: how to mend it. Besides the file itself it looks at what the programs named in it
        need of this machine: devices, directories, key files.

        A warning is printed likewise, marked so, and stops no program.
        """,
        examples=["dialgate check /etc/dialgate/dialgate.toml && systemctl restart dialgate-node"],
        exit_status="0  no fault\n1  at least one fault\n2  wrong usage",
    )
    parser.add_argument(
        "file",
        nargs="?",
        default=DEFAULT_CONFIG,
        metavar="FILE",
        help="the configuration file (default: %(default)s)",
    )
    file = parser.parse_args(arguments).file
    faults, warnings = inspect(file)
    for fault in faults:
        print(fault)
    for warning in warnings:
        print(replace(warning, what=f"warning: {warning.what}"))
    if not faults:
        print(f"{file}: no fault")
    return 1 if faults else 0
