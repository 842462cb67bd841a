"""A configuration without a fault, and helpers to write and alter it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

__all__ = ["SAMPLE", "altered", "write"]

SAMPLE: Final = """\
[cluster]
name = "north"
state = "sqlite:////var/lib/dialgate/state.db"
keys = "/etc/dialgate/keys"
[broker]
name = "broker-1"
agents = "tcp://127.0.0.1:7700"
workers = "tcp://127.0.0.1:7701"
http = "127.0.0.1:7780"
insecure = true
[worker]
name = "worker-1"
brokers = ["tcp://127.0.0.1:7701"]
capacity = 1000
http = "127.0.0.1:7782"
insecure = true
[agent]
name = "oslo-1"
site = "oslo"
brokers = ["tcp://127.0.0.1:7700"]
http = "127.0.0.1:7781"
spool = "/var/lib/dialgate/spool.db"
insecure = true
[[agent.ports]]
hport = "oslo/1"
device = "/dev/ttyS0"
baud = 38400
service = "console"
[[agent.ports]]
hport = "oslo/2"
device = "/dev/ttyS1"
service = "console"
[services.console]
connect = "tcp://127.0.0.1:2001"
[[policies]]
sites = ["*"]
ports = ["*"]
authenticators = ["local"]
tries = 3
[authenticators.local]
kind = "local"
"""


def altered(*changes: tuple[str, str], text: str = SAMPLE) -> str:
    """Return `text` with the first place of each old line replaced; it must be there."""
    for old, new in changes:
        assert old in text, f"the sample has no {old!r}"
        text = text.replace(old, new, 1)
    return text


def write(directory: Path, text: str = SAMPLE) -> Path:
    """Return the new file `dialgate.toml` in `directory`."""
    file = directory / "dialgate.toml"
    file.write_text(text)
    return file
