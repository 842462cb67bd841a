"""The real FreeRADIUS, with a configuration of its own in a directory of its own.

ann's password is "secret"; so is brief's, who may stay for 2 s, and rounds-N's, who is then asked N
questions: the answer to the third is "answer 3".  Accounting requests go to the file `detail`.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
from pathlib import Path
from typing import Final, Self

import pytest

from tests.integration.processes import wait_until

SECRET: Final = b"a shared secret"
SIGNED: Final = "update reply {\n&Message-Authenticator := 0x00\n}"
"""What docs/authenticators.md tells operators of FreeRADIUS 3.2.1 to write."""

_CONFIG: Final = """
prefix = /usr
libdir = /usr/lib/freeradius
raddbdir = DIRECTORY
logdir = DIRECTORY
db_dir = DIRECTORY
run_dir = DIRECTORY
pidfile = DIRECTORY/radiusd.pid
max_request_time = 10
cleanup_delay = 1
proxy_requests = no
log {
  destination = files
  file = DIRECTORY/radius.log
  auth = yes
}
security {
  reject_delay = 0
  status_server = no
}
thread pool {
  start_servers = 2
  max_servers = 4
  min_spare_servers = 1
  max_spare_servers = 4
}
modules {
  always reject {
    rcode = reject
  }
  always ok {
    rcode = ok
  }
  always handled {
    rcode = handled
  }
  pap {
  }
  expr {
  }
  detail {
    filename = DIRECTORY/detail
  }
}
policy {
  challenge {
    update control {
      &Response-Packet-Type := Access-Challenge
    }
    handled
  }
}
server gate {
  listen {
    type = auth
    ipaddr = 127.0.0.1
    port = AUTHENTICATION
  }
  listen {
    type = acct
    ipaddr = 127.0.0.1
    port = ACCOUNTING
  }
  client loopback {
    ipaddr = 127.0.0.1
    secret = "SECRET"
  }
  authorize {
    SIGNED
    if (&User-Name =~ /^rounds-([0-9]+)$/) {
      update control {
        &Auth-Type := Rounds
        &Tmp-Integer-1 := "%{1}"
      }
    }
    elsif (&User-Name == "ann") {
      update control {
        &Cleartext-Password := "secret"
      }
      update reply {
        &Session-Timeout := 1800
        &Idle-Timeout := 300
        &Callback-Number := "5550199"
        &Filter-Id := "field"
        &Framed-IP-Address := 192.0.2.33
        &Class := 0x00ff2c31
      }
    }
    elsif (&User-Name == "brief") {
      update control {
        &Cleartext-Password := "secret"
      }
      update reply {
        &Session-Timeout := 2
      }
    }
    pap
  }
  authenticate {
    Auth-Type PAP {
      pap
    }
    Auth-Type Rounds {
      if (!&State) {
        if (&User-Password != "secret") {
          reject
        }
        update session-state {
          &Tmp-Integer-0 := 1
        }
      }
      elsif (&User-Password == "answer %{session-state:Tmp-Integer-0}") {
        update session-state {
          &Tmp-Integer-0 := "%{expr:%{session-state:Tmp-Integer-0} + 1}"
        }
      }
      else {
        reject
      }
      if (&session-state:Tmp-Integer-0 <= &control:Tmp-Integer-1) {
        update reply {
          &Reply-Message := "Question %{session-state:Tmp-Integer-0}?"
          &Prompt := Echo
        }
        challenge
      }
      else {
        ok
      }
    }
  }
  preacct {
    ok
  }
  accounting {
    detail
    ok
  }
}
"""


def require_freeradius() -> None:
    """Skip the test where Debian's package is missing (in CI that is a failure)."""
    if shutil.which("freeradius") is None:
        pytest.skip("freeradius is not installed")


def free_udp_port() -> int:
    """Return a UDP port of 127.0.0.1 that nobody has at the moment."""
    with socket.socket(type=socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class FreeRadius:
    """A server that can be killed and started again, at the same address.

    Args:
        directory: for its configuration, log and accounting.
        signed: whether its replies have a Message-Authenticator.
        secret: shared with its clients.
    """

    def __init__(self, directory: Path, *, signed: bool = True, secret: bytes = SECRET) -> None:
        require_freeradius()
        self.directory = directory
        self.authentication = f"127.0.0.1:{free_udp_port()}"
        self.accounting = f"127.0.0.1:{free_udp_port()}"
        self._process: subprocess.Popen[bytes] | None = None
        directory.mkdir(parents=True, exist_ok=True)
        values = {
            "DIRECTORY": str(directory),
            "AUTHENTICATION": self.authentication.rpartition(":")[2],
            "ACCOUNTING": self.accounting.rpartition(":")[2],
            "SECRET": secret.decode(),
            "SIGNED": SIGNED if signed else "",
        }
        text = re.sub("|".join(values), lambda match: values[match[0]], _CONFIG)
        (directory / "radiusd.conf").write_text(text)
        (directory / "dictionary").write_text("")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Start it, and wait until it serves."""
        log = self.directory / "radius.log"
        log.write_text("")
        with (self.directory / "stderr").open("ab") as output:
            self._process = subprocess.Popen(
                ["freeradius", "-f", "-d", self.directory, "-n", "radiusd"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        process = self._process

        def is_serving() -> bool:
            assert process.poll() is None, self._last_words()
            return "Ready to process requests" in log.read_text(errors="replace")

        wait_until(is_serving, self._last_words, 20.0)

    def kill(self) -> None:
        """End it with no time to say anything."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None

    def freeze(self) -> None:
        """Stop it so that its port stays open and nobody answers."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def accounts(self) -> list[dict[str, str]]:
        """Return the accounting requests that it has taken, in order, attribute by attribute."""
        file = self.directory / "detail"
        text = file.read_text() if file.exists() else ""
        return [
            dict(re.findall(r"^\t(\S+) = \"?(.*?)\"?$", block, re.MULTILINE))
            for block in text.split("\n\n")
            if block.strip()
        ]

    def _last_words(self) -> str:
        files = [self.directory / "stderr", self.directory / "radius.log"]
        return "\n".join(each.read_text(errors="replace")[-2000:] for each in files)
