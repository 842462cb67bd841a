"""Send a RADIUS request and wait for its answer, on the event loop.

Each request has a socket of its own on a port that the kernel chooses, connected to its server: a
reply counts only from that address, to that port, with that identifier and authenticator.  What
else arrives is counted and changes nothing, so that nobody can end a wait by sending rubbish.

Invariant: a request ends within (retries + 1) × timeout_s, answered or not.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from typing import Final

from auth_workers.radius.packets import Fault, Reply, Request
from dialgate.codes import Code, Mprerror
from dialgate.settings import HostPort

__all__ = ["Client", "Silent"]

_CODES: Final = {
    Fault.UNSIGNED: Mprerror.ERROR_NO_SIGNATURE.code,
    Fault.FORGED_MESSAGE: Mprerror.ERROR_INVALID_SIGNATURE.code,
    Fault.FORGED: Mprerror.ERROR_AUTHENTICATOR_MISMATCH.code,
    Fault.MALFORMED: Mprerror.ERROR_INVALID_PACKET.code,
    Fault.OTHER_REQUEST: Mprerror.ERROR_INVALID_PACKET_LENGTH_OR_ID.code,
}
"""What a wait without an answer ends with, by the worst that arrived: the first of these."""
_MEND: Final = {
    Fault.UNSIGNED: "have the server sign its replies, docs/authenticators.md says how",
    Fault.FORGED_MESSAGE: "is secret_file the server's secret for this worker?",
    Fault.FORGED: "is secret_file the server's secret for this worker?",
}


class Silent(Exception):
    """A server gave no answer that counts; the text names the server and says why."""

    def __init__(self, text: str, code: Code) -> None:
        super().__init__(text)
        self.code = code


@dataclass(slots=True)
class Client:
    """How requests are sent.

    Args:
        timeout_s: how long an answer may take before the request is sent again.
        retries: how often it is sent again.
        ignored: where datagrams that are no answer are counted, by server and why.
    """

    timeout_s: float
    retries: int
    ignored: Counter[tuple[str, Fault]]

    async def ask(self, server: HostPort, request: Request, *, hasty: bool = False) -> Reply:
        """Return the answer of `server`.

        Args:
            server: whom to ask.
            request: sent unchanged each time.
            hasty: give up at once where nothing listens, since there is another to ask.

        Raises:
            Silent: there is none in time.
        """
        loop = asyncio.get_running_loop()
        ear = _Ear(request)
        try:
            async with asyncio.timeout(self.timeout_s):
                transport, _ = await loop.create_datagram_endpoint(
                    lambda: ear, remote_addr=(server.host, server.port)
                )
        except (OSError, TimeoutError) as error:
            why = str(error) or "its name can't be looked up in time"
            raise Silent(f"{server}: {why}", _NO_ANSWER) from None
        try:
            for _ in range(self.retries + 1):
                transport.sendto(request.data)
                reply = await ear.listen(self.timeout_s, hasty=hasty)
                if reply is not None:
                    return reply
                if hasty and ear.refused:
                    break
        finally:
            transport.close()
            for fault, count in ear.faults.items():
                self.ignored[str(server), fault] += count
        raise self._silent(server, ear)

    def _silent(self, server: HostPort, ear: _Ear) -> Silent:
        if ear.refused and not ear.faults:
            return Silent(f"{server}: no server listens there", _NO_ANSWER)
        waited_s = self.timeout_s * (self.retries + 1)
        text = f"{server}: no answer in {waited_s:g} s"
        for fault, code in _CODES.items():
            if count := ear.faults[fault]:
                mend = f": {_MEND[fault]}" if fault in _MEND else ""
                return Silent(f"{text}, but {count} {fault.value}{mend}", code)
        return Silent(
            f"{text}: does it run, and does it know this worker and its secret?", _NO_ANSWER
        )


_NO_ANSWER: Final = Mprerror.ERROR_AUTH_SERVER_TIMEOUT.code


class _Ear(asyncio.DatagramProtocol):
    """What a request's socket hears."""

    def __init__(self, request: Request) -> None:
        self.faults: Counter[Fault] = Counter()
        """Datagrams that were no answer."""
        self.refused = False
        """Whether the server's machine said that nothing listens there."""
        self._request = request
        self._heard = asyncio.Event()
        self._reply: Reply | None = None

    async def listen(self, wait_s: float, *, hasty: bool) -> Reply | None:
        """Return the reply when it comes; None if it doesn't, or will not and we are hasty."""
        try:
            async with asyncio.timeout(wait_s):
                while self._reply is None and not (hasty and self.refused):
                    self._heard.clear()
                    await self._heard.wait()
        except TimeoutError:
            pass
        return self._reply

    def datagram_received(self, data: bytes, _address: object) -> None:
        """Take the reply, or count why this is none."""
        heard = self._request.read(data)
        if isinstance(heard, Fault):
            self.faults[heard] += 1
        elif self._reply is None:
            self._reply = heard
            self._heard.set()

    def error_received(self, _error: Exception) -> None:
        """Take note of what the network said: mostly that the port is closed."""
        self.refused = True
        self._heard.set()
