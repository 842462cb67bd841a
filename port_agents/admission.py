"""What a verdict means for the caller: which service he gets, how long, what he is told last.

Pure.  Not who is admitted: that is the dialog's word, and the service's own authentication follows
as it always did (rashost.md, rule 1).

Invariant: a verdict can choose among the services that the configuration has, and can shorten a
service's limits, never lengthen them.  One that names another service is not obeyed halfway: its
caller gets none, rather than one that somebody else was to have.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping
from typing import Any, Final

from dialgate.codes import Winerror
from dialgate.wire.bodies import FAILURE
from port_agents.call import Call, Disconnect
from port_agents.dialog_actions import Verdict
from port_agents.line_actions import Admission, LineSettings, ServiceLimits

__all__ = ["GOODBYES", "LAST_WORD_BYTES_MAX", "Stay", "admit", "is_same_user", "last_word"]

LAST_WORD_BYTES_MAX: Final = 512
"""Longest last word, so that it leaves before the hang-up at 2400 bit/s."""

_NO_DECISION: Final = "Authentication is not available, try again later"
_TIMED_OUT: Final = "Login timed out"
GOODBYES: Final[Mapping[Disconnect, bytes]] = {
    Disconnect.SESSION_TIMEOUT: b"Disconnected: the session time is over\r\n",
    Disconnect.IDLE_TIMEOUT: b"Disconnected: idle for too long\r\n",
}
"""What a caller is told who has reached a limit of his stay."""


def admit(settings: LineSettings, call: Call, verdict: Verdict) -> tuple[str, Admission]:
    """Return the service for a caller whose verdict is success, and what it is started with.

    It need not be one that there is: whoever starts it says so.
    """
    wanted = verdict.attributes.get("service") or settings.service
    name = wanted if isinstance(wanted, str) else ""
    limits = settings.services.get(name, ServiceLimits())
    admission = Admission(
        user=verdict.username,
        domain=verdict.domain,
        attributes=verdict.attributes,
        hport=settings.hport,
        site=settings.site,
        call=call.id,
        caller=call.caller.number,
        connect_speed=call.connect_speed,
        session_timeout_s=_shorter(limits.session_timeout_s, verdict, "session_timeout_s"),
        idle_timeout_s=0
        if limits.is_direct
        else _shorter(limits.idle_timeout_s, verdict, "idle_timeout_s"),
    )
    return name, admission


def admit_ppp(settings: LineSettings, call: Call) -> tuple[str, Admission]:
    """Return the service for a caller who speaks PPP, and his admission: nobody knows who he is."""
    limits = settings.services.get(settings.ppp_service, ServiceLimits())
    return settings.ppp_service, Admission(
        user="",
        domain="",
        attributes={},
        hport=settings.hport,
        site=settings.site,
        call=call.id,
        caller=call.caller.number,
        connect_speed=call.connect_speed,
        session_timeout_s=limits.session_timeout_s,
        idle_timeout_s=0 if limits.is_direct else limits.idle_timeout_s,
    )


def last_word(verdict: Verdict) -> tuple[Disconnect, bytes]:
    """Return why a caller without success is hung up on, and what he is told before."""
    refused = verdict.msg_id == FAILURE
    undecided = _TIMED_OUT if verdict.error == Winerror.ERROR_TIMEOUT.code else _NO_DECISION
    text = verdict.attributes.get("message", "" if refused else undecided)
    reason = Disconnect.REFUSED if refused else Disconnect.UNDECIDED
    return reason, _line(text) if isinstance(text, str) else b""


def is_same_user(verdict: Verdict, name: str) -> bool:
    """Return whether a service that calls its user `name` means the one that was admitted.

    Upper and lower case differ, as everywhere; with the verdict's domain before it the name is the
    same, too (rashost.md, rule 5).
    """
    name = unicodedata.normalize("NFC", name)
    whole = f"{verdict.domain}\\{verdict.username}"
    return name == verdict.username or (bool(verdict.domain) and name == whole)


class Stay:
    """How long a caller may stay at a service, and how often that is told; in seconds, 0: none."""

    __slots__ = ("_active_at", "_idle_timeout_s", "_interim_at", "_interim_s", "_over_at")

    def __init__(
        self, session_timeout_s: int, idle_timeout_s: int, now: float, interim_s: int = 0
    ) -> None:
        self._over_at = now + (session_timeout_s or math.inf)
        self._idle_timeout_s = idle_timeout_s or math.inf
        self._active_at = now
        self._interim_s = interim_s or math.inf
        self._interim_at = now + self._interim_s

    def active(self, now: float) -> None:
        """Take note that bytes went one way or the other."""
        self._active_at = now

    def take_interim(self, now: float) -> bool:
        """Return whether an interim record is due, and wait for the next."""
        if now < self._interim_at:
            return False
        self._interim_at = now + self._interim_s
        return True

    def over(self, now: float) -> Disconnect | None:
        """Return the limit that is reached."""
        if now >= self._over_at:
            return Disconnect.SESSION_TIMEOUT
        if now >= self._active_at + self._idle_timeout_s:
            return Disconnect.IDLE_TIMEOUT
        return None

    def deadline(self) -> float:
        """Return when the next limit is reached if nothing happens until then."""
        return min(self._over_at, self._active_at + self._idle_timeout_s, self._interim_at)


def _shorter(configured_s: int, verdict: Verdict, attribute: str) -> int:
    attributes: Mapping[str, Any] = verdict.attributes
    given_s = attributes.get(attribute, 0)
    if not isinstance(given_s, int) or isinstance(given_s, bool) or given_s <= 0:
        return configured_s
    return min(configured_s, given_s) if configured_s else given_s


def _line(text: str) -> bytes:
    """Return `text` as the terminal wants it, with CR LF at each line's end."""
    body = "\r\n".join(text.splitlines()).encode()[:LAST_WORD_BYTES_MAX]
    return body + b"\r\n" if body else b""
