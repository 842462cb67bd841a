"""A broker's HTTP interface as the commands use it: one request, one JSON object back."""

from __future__ import annotations

import getpass
import http.client
import json
from collections.abc import Mapping
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from dialgate.codes import Code, describe
from dialgate.errors import DialgateError
from dialgate.settings import HostPort, load, parse_host_port, require
from dialgate.wire.limits import NAME_CHARS_MAX

__all__ = ["Client", "NoAnswer", "connect", "operator_name", "refusal_of"]

READ_S: Final = 5.0
"""How long the broker may take to answer what it knows."""
ANSWER_BYTES_MAX: Final = 64 * 1024 * 1024


class NoAnswer(DialgateError):
    """The broker can't be reached, or does not answer in time."""


class Client:
    """Asks one broker; each request has its own connection and time limit."""

    def __init__(self, address: HostPort, token: str = "") -> None:
        self._address = address
        self._token = token

    def get(self, path: str) -> dict[str, Any]:
        """Return what the broker says at `path`.

        Raises:
            NoAnswer: it can't be reached.
            DialgateError: it refuses.
        """
        return self._request("GET", path, b"", READ_S)

    def post(self, path: str, body: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
        """Send `body` to `path` and return the answer.

        Raises:
            NoAnswer: it can't be reached.
            DialgateError: it refuses.
        """
        return self._request("POST", path, json.dumps(body).encode(), timeout_s)

    def _request(self, method: str, path: str, body: bytes, timeout_s: float) -> dict[str, Any]:
        host = self._address.host
        connection = http.client.HTTPConnection(host, self._address.port, timeout=timeout_s)
        headers = {"Content-Type": "application/json"} if body else {}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        try:
            connection.request(method, path, body or None, headers)
            response = connection.getresponse()
            content = response.read(ANSWER_BYTES_MAX)
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise NoAnswer(
                f"the broker at http://{self._address} does not answer ({reason}): is it running?"
            ) from None
        finally:
            connection.close()
        return self._answer(response.status, content)

    def _answer(self, status: int, content: bytes) -> dict[str, Any]:
        try:
            answer = json.loads(content)
        except ValueError:
            answer = None
        if status == HTTPStatus.OK and isinstance(answer, dict):
            return answer
        text = answer.get("text") if isinstance(answer, dict) else None
        reason = text or f"HTTP status {status}"
        raise DialgateError(f"the broker at http://{self._address} refuses: {reason}")


def connect(config: str) -> Client:
    """Return a client of the broker that the file `config` names.

    Raises:
        DialgateError: the file has a fault or names no broker, or the operators' token can't be
            read.
    """
    broker = require(load(config), "broker", config)
    address = parse_host_port(broker.http)
    if address.wildcard:
        address = replace(address, host="::1" if ":" in address.host else "127.0.0.1")
    token = ""
    if broker.operator_token_file:
        try:
            token = Path(broker.operator_token_file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise DialgateError(
                f"{broker.operator_token_file}: the operators' token can't be read ({error})"
            ) from None
    return Client(address, token)


def operator_name() -> str:
    """Return who gives an order, for log and record."""
    try:
        return getpass.getuser()[:NAME_CHARS_MAX]
    except (KeyError, OSError):  # no such user in the password file
        return "unknown"


def refusal_of(answer: Mapping[str, Any]) -> str:
    """Return why an order failed, or nothing when it worked."""
    match answer.get("code"):
        case 0 | [_, 0]:
            return ""
        case [str(namespace), int(number)]:
            return str(answer.get("text") or describe(Code(namespace, number)))
        case _:
            return "the broker's answer has no code"
