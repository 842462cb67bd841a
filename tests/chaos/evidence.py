"""What programs left behind, as events of the history: workers' logs, services' words, records."""

from __future__ import annotations

import re
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path

import msgspec

from dialgate.history import Accepted, Charged, Event, Opened, Stored, decode_event
from dialgate.records import CallFacts
from tests.chaos.cluster import Cluster

_VERDICT = re.compile(
    r'^timestamp=(?P<at>\S+) .*event="dialog over" outcome=success .*'
    r"hport=(?P<hport>\S+) caller=(?P<caller>\d*) user=(?P<user>\S+) tries=\d+ call=(?P<call>\w+) "
)


def gather(cluster: Cluster) -> Iterator[Event]:
    """Yield what everybody but the callers has to say, once the programs have ended."""
    yield from _services(cluster)
    charges = _charges(cluster.state_file)
    for worker in cluster.of("worker"):
        yield from _verdicts(worker.log, charges)
    yield from _records(cluster.state_file)


def _services(cluster: Cluster) -> Iterator[Event]:
    for line in cluster.history.read_bytes().splitlines():
        opened = decode_event(line)
        assert isinstance(opened, Opened), "a service writes nothing else"
        yield msgspec.structs.replace(opened, caller=_whole(opened.hport, opened.caller))


def _charges(state: Path) -> Counter[tuple[str, str]]:
    """Return how many answers the state has charged to each user, by where they came from."""
    with closing(sqlite3.connect(f"file:{state}?mode=ro", uri=True)) as file:
        rows = file.execute("SELECT user, place, charged FROM tries WHERE place <> ''")
        return Counter({(user, place): charged for user, place, charged in rows})


def _verdicts(log: Path, charges: Counter[tuple[str, str]]) -> Iterator[Event]:
    """Yield what a worker accepted, and that it was charged where the state has a charge for it."""
    for found in filter(None, map(_VERDICT.match, log.read_text(errors="replace").splitlines())):
        at = datetime.fromisoformat(found["at"]).timestamp()
        number, hport = found["caller"], found["hport"]
        agent = hport.partition("/")[0].replace("site", "agent")
        place = f"number {number}" if number else f"port {hport} of {agent}"
        charge = (found["user"], place)
        if charges[charge] > 0:
            charges[charge] -= 1
            yield Charged(at=at, call=found["call"], user=found["user"])
        yield Accepted(at=at, call=found["call"], user=found["user"])


def _records(state: Path) -> Iterator[Event]:
    """Yield the records that brokers have stored; what stayed in a spool is lost to the cluster."""
    with closing(sqlite3.connect(f"file:{state}?mode=ro", uri=True)) as file:
        for record, call, kind, hport, text in file.execute(
            "SELECT record, call, kind, hport, facts FROM call_records"
        ):
            facts = msgspec.json.decode(text, type=CallFacts)
            yield Stored(
                at=facts.rang_at,
                record=record.hex(),
                call=call.hex(),
                kind=kind,
                hport=hport,
                caller=_whole(hport, facts.caller),
            )


def _whole(hport: str, number: str) -> str:
    """Return a caller's number as callers write it: numbers are used once a line."""
    return f"{hport}#{number}" if number else ""
