"""The command `dialgate`: one module a group of commands, imported only when it is asked for.

What a command does is elsewhere; here are its words, its answer on standard output, and its exit
status: 0 done, 1 not done, 2 wrong usage.  An error is one line on standard error.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Final, NamedTuple

from dialgate.errors import DialgateError
from dialgate.manual import new_parser

__all__ = ["main"]


class Command(NamedTuple):
    """A word after `dialgate`."""

    module: str
    """Its module has `run(command, arguments) -> exit status`."""
    summary: str


COMMANDS: Final = {
    "broker": Command("programs", "run the broker, which gives calls to workers"),
    "worker": Command("programs", "run an auth worker, which asks callers who they are"),
    "agent": Command("programs", "run the port agent, which answers this machine's modems"),
    "node": Command("node", "run all programs that the configuration names"),
    "demo": Command("programs", "run a whole cluster with simulated modems, to try it"),
    "bank": Command("programs", "run simulated modems alone"),
    "simulate": Command("programs", "try the whole cluster in virtual time, with faults"),
    "doctor": Command("programs", "examine this machine's lines and modems"),
    "check": Command("check", "check a configuration file"),
    "keys": Command("keys", "make and list the cluster's keys"),
    "users": Command("users", "add, list, change and remove local users"),
    "state": Command("state", "upgrade the tables of the cluster's state"),
    "policy": Command("policy", "explain which policy a call falls under"),
    "service": Command("service", "say, as a service, who the caller is"),
    "status": Command("observe", "show the broker and the sums of what it knows"),
    "agents": Command("observe", "show the port agents"),
    "workers": Command("observe", "show the auth workers"),
    "ports": Command("observe", "show the ports and their calls"),
    "calls": Command("calls", "show the calls that the cluster has had, or explain one"),
    "drain": Command("drain", "let a worker, a broker or an agent finish and go"),
    "port": Command("port", "hang up, reset, probe, disable or enable a port"),
}

_DESCRIPTION: Final = """
    dialgate is a security host for modem banks: a caller reaches nothing behind a modem until
    auth workers have authenticated him.

    `dialgate COMMAND --help` is the manual of a command.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Carry out one command and return its exit status."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.version:
        from importlib.metadata import version  # noqa: PLC0415 - slow, and seldom asked

        print(f"dialgate {version('dialgate')}")
        return 0
    command = COMMANDS.get(arguments.command)
    if command is None:
        wrong = f"there is no command {arguments.command!r}" if arguments.command else "no command"
        parser.error(f"{wrong}: `dialgate --help` shows them")
    try:
        status: int = import_module(f"dialgate.cli.{command.module}").run(
            arguments.command, arguments.arguments
        )
        sys.stdout.flush()
    except DialgateError as error:
        print(error.report, file=sys.stderr)
        return error.exit_status
    except BrokenPipeError:
        # The reader, as `head`, has seen enough.  Nothing more must be flushed at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130
    return status


def _parser() -> argparse.ArgumentParser:
    width = max(map(len, COMMANDS))
    commands = [f"{name:<{width}}  {command.summary}" for name, command in COMMANDS.items()]
    parser = new_parser(
        "",
        _DESCRIPTION,
        examples=[
            "dialgate demo                                  try it, without a modem",
            "dialgate check /etc/dialgate/dialgate.toml     before every restart",
            "dialgate users add ann                         then she may log in",
            "dialgate port reset oslo/1                     a modem that hangs",
        ],
        files=["/etc/dialgate/dialgate.toml  the configuration", "/etc/dialgate/keys  the keys"],
    )
    parser.usage = "dialgate [--version] [--help] COMMAND [ARGUMENT...]"
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    group = parser.add_argument_group("commands", "\n".join(commands))
    group.add_argument("command", nargs="?", help=argparse.SUPPRESS)
    group.add_argument("arguments", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    return parser
