"""Stand-ins for pppd: processes that speak LCP on their terminals (RFC 1661 and 1662).

Where calls are answered, one asks for the link, agrees to all that it is asked for and ends when it
is asked to; the file named by its argument gets a line of what the agent told it of the caller.
Where calls are made, `end_link` asks the other one to end.
"""

from __future__ import annotations

import os
import sys
import termios
import tty
from collections.abc import Iterator
from pathlib import Path
from typing import Final

__all__ = ["STANDIN", "Frames", "configure_request", "end_link", "frame"]

STANDIN: Final = (sys.executable, "-m", "tests.integration.standin_pppd")
"""The answering one; its argument follows."""

LCP: Final = b"\xc0\x21"
REQUEST, ACK, _NAK, _REJECT, TERMINATE, TERMINATED = range(1, 7)
_FLAG, _ESCAPE, _FLIP = 0x7E, 0x7D, 0x20
_FCS_START, _FCS_POLYNOMIAL, _FCS_GOOD = 0xFFFF, 0x8408, 0xF0B8


def fcs(data: bytes | bytearray) -> int:
    """Return the check sequence of RFC 1662, C.2, not yet complemented."""
    value = _FCS_START
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (_FCS_POLYNOMIAL if value & 1 else 0)
    return value


def frame(packet: bytes) -> bytes:
    """Return a packet as it goes over the line, with all that may need it escaped."""
    whole = b"\xff\x03" + packet
    whole += (fcs(whole) ^ 0xFFFF).to_bytes(2, "little")
    sent = bytearray([_FLAG])
    for byte in whole:
        plain = byte >= ord(" ") and byte not in {_FLAG, _ESCAPE}
        sent += bytes([byte] if plain else [_ESCAPE, byte ^ _FLIP])
    return bytes(sent) + bytes([_FLAG])


def lcp(code: int, number: int, rest: bytes = b"") -> bytes:
    return LCP + bytes([code, number]) + (4 + len(rest)).to_bytes(2) + rest


def configure_request(number: int, options: bytes = b"") -> bytes:
    """Return the packet that opens a link."""
    return lcp(REQUEST, number, options)


class Frames:
    """Finds the good packets in a stream."""

    def __init__(self) -> None:
        self._pending = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield packets, protocol first."""
        *pieces, self._pending = (self._pending + data).split(bytes([_FLAG]))
        for piece in pieces:
            whole = bytearray()
            flip = 0
            for byte in piece:
                if byte == _ESCAPE:
                    flip = _FLIP
                else:
                    whole.append(byte ^ flip)
                    flip = 0
            if fcs(whole) == _FCS_GOOD and whole.startswith(b"\xff\x03"):
                yield bytes(whole[2:-2])


def packets() -> Iterator[bytes]:
    """Yield what the other end sends, until it hangs up."""
    frames = Frames()
    while data := os.read(0, 4096):
        yield from frames.feed(data)


def end_link(told: Path) -> None:
    """Terminate the link, and write down what this program was called with once that is agreed."""
    os.write(0, frame(lcp(TERMINATE, 9)))
    if any(packet == lcp(TERMINATED, 9) for packet in packets()):
        told.write_text(" ".join(sys.argv[1:]))


def main() -> None:
    """Speak until the other end terminates the link or hangs up."""
    tty.setraw(0, termios.TCSANOW)  # What has come already is the caller's first frame.
    told = [os.environ.get(f"DIALGATE_{name}", "unset") for name in ("USER", "CALLER", "HPORT")]
    Path(sys.argv[1]).write_text(f"{told}\n")
    os.write(1, frame(configure_request(1)))
    for packet in packets():
        if packet[:3] == LCP + bytes([REQUEST]):
            os.write(1, frame(lcp(ACK, packet[3], packet[6:])))
        elif packet[:3] == LCP + bytes([TERMINATE]):
            os.write(1, frame(lcp(TERMINATED, packet[3])))
            return


if __name__ == "__main__":
    main()
