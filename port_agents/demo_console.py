"""The demo's console of a plant: what an admitted caller reaches, over TCP, one line at a time.

It asks for no password: nobody gets here without one.  What it shows is true, of this demo.

Invariant: a visitor costs one connection and one line of at most `LINE_BYTES_MAX` bytes.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from types import TracebackType
from typing import Final, Self

__all__ = ["PROMPT", "PlantConsole"]

LINE_BYTES_MAX: Final = 256
IDLE_S: Final = 300.0
"""Silence after which a visitor is sent away."""
PROMPT: Final = b"plant> "

_LINE_END: Final = re.compile(rb"\r\n|\r\x00|\r|\n")
_HELP: Final = "status  who is here\r\necho X  say X\r\nhelp    this\r\nquit    hang up\r\n"


class PlantConsole:
    """A TCP service, as an asynchronous context; it listens on a free port of 127.0.0.1."""

    def __init__(self) -> None:
        self.port = 0
        """Where it listens."""
        self._visitors: set[asyncio.Task[None]] = set()
        self._visits = 0
        self._opened_at = 0.0
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        """Open the console."""
        self._opened_at = asyncio.get_running_loop().time()
        self._server = await asyncio.start_server(self._visit, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it, and send away who is there."""
        if self._server is not None:
            self._server.close()
        visitors = list(self._visitors)
        for visitor in visitors:
            visitor.cancel()
        await asyncio.gather(*visitors, return_exceptions=True)

    async def _visit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._visitors.add(task)
        self._visits += 1
        try:
            await self._talk(reader, writer)
        except (OSError, TimeoutError, asyncio.CancelledError):
            pass  # Gone, idle, or the demo ends: in each case there is nothing left to say.
        finally:
            self._visitors.discard(task)
            writer.close()
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\r\nPlant console of the demo; help shows what it understands.\r\n" + PROMPT)
        typed = b""
        while True:
            async with asyncio.timeout(IDLE_S):
                await writer.drain()
                data = await reader.read(LINE_BYTES_MAX)
            if not data:
                return
            *lines, typed = _LINE_END.split(typed + data)
            for line in lines:
                said = self._answer(line.decode("ascii", "replace").strip())
                if said is None:
                    writer.write(b"bye\r\n")
                    await writer.drain()
                    return
                writer.write(said.encode("ascii", "replace") + PROMPT)
            typed = typed[-LINE_BYTES_MAX:]

    def _answer(self, line: str) -> str | None:
        """Return what the console says to `line`; None: it hangs up."""
        command, _, rest = line.partition(" ")
        match command.lower():
            case "":
                return ""
            case "quit" | "exit" | "logout":
                return None
            case "help" | "?":
                return _HELP
            case "echo":
                return f"{printable(rest)}\r\n"
            case "status":
                up_s = asyncio.get_running_loop().time() - self._opened_at
                here = len(self._visitors)
                return f"up {up_s:.0f} s, visits {self._visits}, here now {here}\r\n"
            case _:
                return f"{printable(command)}: not understood; help shows what is\r\n"


def printable(text: str) -> str:
    """Return `text` with nothing in it that a terminal would obey."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
