"""A broker's HTTP side that says what a test has told it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

__all__ = ["FakeBroker", "fake_broker"]


@dataclass
class FakeBroker:
    """Answers requests by path, and keeps what was sent."""

    answers: dict[str, tuple[int, Any]] = field(default_factory=dict)
    """Status and JSON, or bytes as they are, by path."""
    orders: list[tuple[dict[str, Any], str]] = field(default_factory=list)
    """Each POST's body and Authorization."""
    address: str = ""


@contextmanager
def fake_broker() -> Iterator[FakeBroker]:
    """Serve a `FakeBroker` on a free port of 127.0.0.1 while the context lasts."""
    broker = FakeBroker()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, answer = broker.answers.get(self.path, (404, {"text": "no such path"}))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(answer if isinstance(answer, bytes) else json.dumps(answer).encode())

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            assert self.headers["Content-Type"] == "application/json"
            broker.orders.append((body, self.headers.get("Authorization", "")))
            self.do_GET()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        broker.address = f"127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield broker
        server.shutdown()
        thread.join()
