"""What programs left behind, as events of the history: workers' logs, services' words, records."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path

import msgspec

from dialgate.history import Accepted, Charged, Event, Opened, Stored, decode_event
from dialgate.records import CallFacts
from tests.chaos.cluster import Cluster

_VERDICT = re.compile(
    r'^timestamp=(?P<at>\S+) .*event="dialog over" outcome=(?P<outcome>\w+) .*'
    r'user="?(?P<user>[^ "]*)"? tries=(?P<tries>\d+) call=(?P<call>\w+) '
)


def gather(cluster: Cluster) -> Iterator[Event]:
    """Yield what everybody but the callers has to say, once the programs have ended."""
    yield from _services(cluster)
    for worker in cluster.of("worker"):
        yield from _verdicts(worker.log)
    for agent in cluster.of("agent"):
        yield from _records(cluster.spool(agent))


def _services(cluster: Cluster) -> Iterator[Event]:
    for line in cluster.history.read_bytes().splitlines():
        opened = decode_event(line)
        assert isinstance(opened, Opened), "a service writes nothing else"
        yield msgspec.structs.replace(opened, caller=_whole(opened.hport, opened.caller))


def _verdicts(log: Path) -> Iterator[Event]:
    """Yield what a worker accepted, and that it was charged if the worker has counted a try.

    Its count is no count of answers: a question that died with its worker counts, too.
    """
    for line in log.read_text(errors="replace").splitlines():
        if (found := _VERDICT.match(line)) and found["outcome"] == "success":
            at = datetime.fromisoformat(found["at"]).timestamp()
            call, user = found["call"], found["user"]
            if int(found["tries"]):
                yield Charged(at=at, call=call, user=user)
            yield Accepted(at=at, call=call, user=user)


def _records(spool: Path) -> Iterator[Event]:
    with closing(sqlite3.connect(f"file:{spool}?mode=ro", uri=True)) as file:
        for record, call, kind, body in file.execute(
            "SELECT record, call, kind, body FROM records"
        ):
            facts = msgspec.json.decode(body, type=CallFacts)
            yield Stored(
                at=facts.rang_at,
                record=record.hex(),
                call=call.hex(),
                kind=kind,
                hport=facts.hport,
                caller=_whole(facts.hport, facts.caller),
            )


def _whole(hport: str, number: str) -> str:
    """Return a caller's number as callers write it: numbers are used once a line."""
    return f"{hport}#{number}" if number else ""
