"""`dialgate keys`: make and list the cluster's key files."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from dialgate import keys
from dialgate.cli.table import add_output, print_answer
from dialgate.errors import UsageError
from dialgate.manual import DEFAULT_CONFIG, new_parser
from dialgate.settings import ClusterSettings, Settings, load

__all__ = ["run"]

_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")


def run(_command: str, arguments: Sequence[str]) -> int:
    """Make or list keys.

    Raises:
        DialgateError: it could not be done.
    """
    options = _parser().parse_args(arguments)
    settings = _settings(options.config)
    directory = Path(options.directory or settings.cluster.keys)
    match options.act:
        case "init":
            _init(directory)
        case "new":
            _new(directory, options, settings)
        case "sync":
            keys.create_sync_pair(directory)
            print(f"{directory}/state-sync.secret: made; keep it where copies are signed")
            print(f"{directory}/state-sync.key: made; copy it to the sites' machines")
        case _:
            _list(directory, options.output)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = new_parser(
        "keys",
        """
        Keeps the keys with which the cluster's processes prove who they are (CURVE).

        init makes the directory and the worker pool's key. new makes a process's key pair: the
        secret file stays on the machine where the process runs, the public one is copied to the
        machines of those it speaks with: agents' and workers' to the brokers', brokers' to
        everyone's. pool.key is copied to every machine with a worker.

        A public file also says what its owner may do; an agent's site and port patterns there
        may be edited at the brokers. To revoke a key, delete its public file there. Nothing is
        ever overwritten.

        sync makes the pair with which the centre signs copies of its users for sites (`dialgate
        state sync`): the secret stays at the centre, the key is copied to the sites.
        """,
        examples=[
            "dialgate keys init",
            "dialgate keys new broker broker-1",
            "dialgate keys new worker worker-1",
            "dialgate keys new agent oslo-1 --site oslo --hports 'oslo/*'",
        ],
        files=[
            "ROLE-NAME.secret  secret key, one line of Z85; mode 0600",
            "ROLE-NAME.key     public key and rights, TOML",
            "state-sync.*      the pair that signs copies of users; the secret has mode 0600",
            "pool.key          the worker pool's secret, one line of base64; mode 0600",
        ],
    )
    acts = parser.add_subparsers(dest="act", required=True, metavar="ACT")
    init = acts.add_parser("init", help="make the directory and the worker pool's key")
    new = acts.add_parser("new", help="make the key pair of one process")
    new.add_argument("role", choices=keys.ROLES)
    new.add_argument("name", metavar="NAME", help="the process's name in its configuration")
    new.add_argument("--site", metavar="SITE", help="the only site that an agent may be at")
    new.add_argument(
        "--hports", nargs="+", metavar="PATTERN", help="the only ports that an agent may speak for"
    )
    listing = acts.add_parser("list", help="list the public keys and their rights")
    add_output(listing)
    sync = acts.add_parser("sync", help="make the pair that signs copies of users for sites")
    for each in (init, new, sync, listing):
        place = each.add_mutually_exclusive_group()
        place.add_argument(
            "--config",
            metavar="FILE",
            help=f"take the directory from this file (default: {DEFAULT_CONFIG}, if it is there)",
        )
        place.add_argument(
            "--directory",
            metavar="DIR",
            help=f"the directory of the keys (default: {ClusterSettings().keys})",
        )
    return parser


def _settings(config: str | None) -> Settings:
    """Return the settings in `config`; without it those of the usual file, if it is there."""
    if config is None and not Path(DEFAULT_CONFIG).exists():
        return Settings(cluster=ClusterSettings())
    return load(config or DEFAULT_CONFIG)


def _init(directory: Path) -> None:
    if keys.create_directory(directory):
        print(f"{directory}: made, with the worker pool's key")
    else:
        print(f"{directory}: is there, with the worker pool's key; nothing was changed")


def _new(directory: Path, options: argparse.Namespace, settings: Settings) -> None:
    role, name = options.role, options.name
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} is no name: write 1 to 64 of A-Z a-z 0-9 . _ -")
    if role != "agent" and (options.site or options.hports):
        raise UsageError(f"--site and --hports are of agents, and {name} is a {role}")
    site, hports = _agent_rights(options, settings) if role == "agent" else ("", [])
    keys.create_pair(directory, role, name, site=site, hports=hports)
    print(f"{directory}/{role}-{name}.secret: made; keep it on the machine of {role} {name}")
    print(f"{directory}/{role}-{name}.key: made; copy it to the machines {role} {name} speaks with")


def _agent_rights(options: argparse.Namespace, settings: Settings) -> tuple[str, list[str]]:
    """Return the site and the patterns of ports that an agent's key is made for.

    What isn't given comes from the agent's own table in the configuration; failing that it is not
    limited, which is said.
    """
    agent = settings.agent
    ours = agent if agent is not None and agent.name == options.name else None
    site = options.site or (ours.site if ours else "")
    if options.hports:
        return site, options.hports
    if ours:
        return site, [port.hport for port in ours.lines]
    if site:
        return site, [f"{site}/*"]
    print(
        f"dialgate: agent {options.name} may speak for every port: limit it with --site, --hports",
        file=sys.stderr,
    )
    return "", ["*"]


def _list(directory: Path, output: str) -> None:
    rows = [
        {
            "role": right.role,
            "name": right.name,
            "site": right.site or ("*" if right.role == "agent" else ""),
            "hports": list(right.hports),
            "key": right.key,
        }
        for right in keys.load_directory(directory).rights
    ]
    print_answer(output, "keys", rows, ("role", "name", "site", "hports", "key"))
