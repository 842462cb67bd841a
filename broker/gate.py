"""Who may speak to the broker: CURVE keys, ZAP, and the right behind each frame (protocol §7).

One ZAP domain a socket, and ZAP_ENFORCE_DOMAIN on both: without it, CURVE accepts every key when
no handler lives.  ZAP only lets a connection in; who a frame comes from is its `User-Id`, looked up
frame by frame, so that a key whose file is deleted is refused at once, not at the next handshake.

Not here: what a right allows (broker.registry).
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Final

import structlog
import zmq
from zmq.auth.thread import ThreadAuthenticator

from broker.sessions import REVOKED, Revoked
from dialgate.errors import KeyFileError
from dialgate.keys import Directory, KeyPair, Right, load_directory, load_secret
from dialgate.wire.verbs import Role

__all__ = ["CurveGate", "OpenGate"]

log = structlog.get_logger(__name__)

_DOMAINS: Final = {Role.AGENT: "dialgate-agents", Role.WORKER: "dialgate-workers"}


class OpenGate:
    """`insecure = true`: everyone on this machine may connect as anyone."""

    def protect(self, _socket: zmq.Socket[bytes], _role: Role) -> Callable[[zmq.Frame], None]:
        """Leave the socket without a lock."""
        return _no_right

    def reload(self) -> None:
        """Nothing to read again."""

    def is_alive(self) -> bool:
        """Return True: there is no handler that could die."""
        return True

    def close(self) -> None:
        """Nothing to stop."""


class CurveGate:
    """CURVE with static keys from a directory.

    Args:
        context: where ZAP is asked; the sockets' own.
        directory: of the keys.
        name: the broker's.
        roles: whose sockets are locked; the others are on ipc, where the file system says who may.

    Raises:
        KeyFileError: the broker's secret or the directory can't be used.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        directory: Path,
        name: str,
        roles: Collection[Role],
    ) -> None:
        self._roles = roles
        self._place = directory
        self._pair: KeyPair = load_secret(directory, "broker", name)
        self._directory: Directory = load_directory(directory)
        self._stamp = self._changed_at()
        self._authenticator = ThreadAuthenticator(context)
        self._authenticator.start()
        for role, domain in _DOMAINS.items():
            self._authenticator.configure_curve_callback(
                domain=domain, credentials_provider=_Credentials(self._knows(role))
            )

    def protect(
        self, socket: zmq.Socket[bytes], role: Role
    ) -> Callable[[zmq.Frame], Right | Revoked | None]:
        """Make `socket` a CURVE server that asks ZAP, if its role's sockets are locked.

        Call it before `bind`.  Returns what tells the right of a frame's sender.
        """
        if role not in self._roles:
            return _no_right
        socket.setsockopt(zmq.CURVE_SERVER, 1)
        socket.setsockopt(zmq.CURVE_SECRETKEY, self._pair.secret)
        socket.setsockopt(zmq.CURVE_PUBLICKEY, self._pair.public)
        socket.setsockopt(zmq.ZAP_DOMAIN, _DOMAINS[role].encode())
        socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
        return self._right

    def _right(self, frame: zmq.Frame) -> Right | Revoked:
        """Return what the sender of `frame` may, now."""
        try:
            key = str(frame.get("User-Id"))
        except zmq.ZMQError:
            # No handshake of ours lets a frame through without it.
            return REVOKED
        return self._directory.right_of(key) or REVOKED

    def reload(self) -> None:
        """Read the directory again if it has changed.

        A key whose file is gone or unfit is refused from now on; a directory that can't be read at
        all leaves the keys in force that were read before.
        """
        stamp = self._changed_at()
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._directory = load_directory(self._place, leave_out=_tell_left_out)
        except KeyFileError as error:
            # A fault of a file, told in one line; a traceback would say less.
            log.error("keys not reloaded, the old ones stay", error=str(error))  # noqa: TRY400
        else:
            log.info("key directory reloaded", keys=len(self._directory.rights))

    def is_alive(self) -> bool:
        """Return whether the ZAP handler lives; if not, no new peer gets in until a restart."""
        return self._authenticator.is_alive()

    def close(self) -> None:
        """Stop the ZAP handler."""
        self._authenticator.stop()

    def _knows(self, role: Role) -> Callable[[str], bool]:
        def knows(key: str) -> bool:
            right = self._directory.right_of(key)
            return right is not None and right.role == role

        return knows

    def _changed_at(self) -> tuple[int, ...]:
        """Return a stamp that differs when a file was added, removed or rewritten."""
        try:
            files = sorted(self._place.glob("*.key"))
            return (
                self._place.stat().st_mtime_ns,
                *(file.stat().st_mtime_ns for file in files),
            )
        except OSError:
            return ()


def _no_right(_frame: zmq.Frame) -> None:
    """Return None: no key, so no right to hold a frame against."""


def _tell_left_out(error: KeyFileError) -> None:
    log.error("key left out", error=str(error))


class _Credentials:
    """pyzmq's form of a key check.

    It must not raise: an exception here would end the ZAP thread for good.
    """

    def __init__(self, knows: Callable[[str], bool]) -> None:
        self._knows = knows

    def callback(self, _domain: str, key: bytes) -> bool:
        """Return whether the Z85 `key` may connect."""
        return self._knows(key.decode("ascii", "replace"))
