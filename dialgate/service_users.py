"""What a service that authenticates again tells its agent: whom it knows the caller as.

The words of one exchange over the agent's Unix socket, a line of JSON each way, and the asking side
of it; the answering side is `port_agents.service_users`.  docs/services.md is for those who write
services.

Invariant: a token is in no `repr` and no exception's text.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from dialgate.errors import DialgateError, UsageError
from dialgate.wire.limits import USERNAME_BYTES_MAX

__all__ = [
    "LINE_BYTES_MAX",
    "SOCKET_VARIABLE",
    "TOKEN_VARIABLE",
    "Claim",
    "Ruling",
    "claim_user",
]

SOCKET_VARIABLE: Final = "DIALGATE_SERVICE_SOCKET"
TOKEN_VARIABLE: Final = "DIALGATE_SERVICE_TOKEN"  # noqa: S105 - a variable's name
LINE_BYTES_MAX: Final = 4096
ANSWER_S: Final = 5.0
"""How long the agent may take to answer."""


class Claim(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A service's word about its user."""

    token: Annotated[str, Meta(max_length=128)]
    """Names the call; whoever has it is its service."""
    user: Annotated[str, Meta(min_length=1, max_length=2 * USERNAME_BYTES_MAX)]

    def __repr__(self) -> str:
        """Leave the token out."""
        return f"Claim(user={self.user!r})"


class Ruling(Struct, frozen=True, kw_only=True):
    """The agent's answer."""

    same: bool
    """Whether it is the user whom the verdict named; if not, the call is being ended."""
    text: str = ""
    """Why not."""


def claim_user(environment: Mapping[str, str], user: str) -> Ruling:
    """Tell the agent that the caller is `user`; return its ruling.

    Args:
        environment: the service's, as the agent made it.
        user: at most 256 bytes of UTF-8.

    Raises:
        UsageError: this is no service, or nobody can have that name.
        DialgateError: the agent can't be asked.
    """
    path, token = environment.get(SOCKET_VARIABLE), environment.get(TOKEN_VARIABLE)
    if not path or not token:
        raise UsageError(
            f"{SOCKET_VARIABLE} and {TOKEN_VARIABLE} are not set: "
            "call this from a service that an agent has started"
        )
    if not user or len(user.encode(errors="surrogateescape")) > USERNAME_BYTES_MAX:
        raise UsageError(f"a user's name has 1 to {USERNAME_BYTES_MAX} bytes")
    try:
        line = msgspec.json.encode(Claim(token=token, user=user)) + b"\n"
        return msgspec.json.decode(_ask(path, line), type=Ruling)
    except UnicodeEncodeError:
        raise UsageError("a user's name is UTF-8") from None
    except OSError as error:
        raise DialgateError(
            f"{path}: the agent can't be asked: {error.strerror or error}"
        ) from None
    except msgspec.MsgspecError:
        raise DialgateError(f"{path}: the agent did not answer") from None


def _ask(path: str, line: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(ANSWER_S)
        connection.connect(path)
        connection.sendall(line)
        with connection.makefile("rb") as stream:
            return stream.readline(LINE_BYTES_MAX)
