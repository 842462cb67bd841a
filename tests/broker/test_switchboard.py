"""Protocol §5's table "Broker: one entry a dialog": every cell of it.

A row is an event, a column the state that dialog d is in, under attempt 2.  A cell tells what the
broker then says (`A END_REPLY(2) 619`), drops, and to which state d goes (`> PINNED`).  An empty
cell: nothing of the kind.  `=`: as to the left.  A dot: can't be.

A and B are agents, W0 the owner, W1 another worker; both have spent their credit, unless the event
says otherwise.  In the two columns at the right the entry has no agent any more.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final

import pytest

from dialgate.codes import NO_ERROR
from dialgate.wire.verbs import Role
from tests.broker.house import DISCONNECTED, House, Peer

TABLE: Final = """
                           | none                          | WAITING                     | OWNED                                     | ENDING                                      | PINNED                     | ENDING alone              | PINNED alone
BEGIN(3), nobody free      | > WAITING                     | =                           | W0 END(2) 619 > WAITING                   | drop state                                  | =                          | > WAITING                 | =
BEGIN(3), W1 free          | W1 BEGIN(3) > OWNED           | .                           | W0 END(2) 619, W1 BEGIN(3) > OWNED        | drop state                                  | =                          | W1 BEGIN(3) > OWNED       | =
BEGIN(3), owner W0         | W0 BEGIN(3) > OWNED           | =                           | =                                         | drop state                                  | =                          | W0 BEGIN(3) > OWNED       | =
BEGIN(2)                   | > WAITING                     | drop stale                  | =                                         | =                                           | =                          | =                         | =
BEGIN(1)                   | > WAITING                     | drop stale                  | =                                         | =                                           | =                          | =                         | =
BEGIN e(1), same port      |                               | > none                      | W0 END(2) 619 > ENDING alone              | > ENDING alone                              | > PINNED alone             |                           |
credit of W1               |                               | W1 BEGIN(2) > OWNED         |                                           |                                             |                            |                           |
its owner W2 is welcomed   |                               | W2 BEGIN(2) > OWNED         |                                           |                                             |                            |                           |
SEND(2) of W0              | drop unknown, W0 LOST(2) 1168 | drop owner, W0 LOST(2) 1168 | A SEND(2)                                 | drop state                                  | =                          | =                         | =
RECEIVE(2) of W0           | drop unknown, W0 LOST(2) 1168 | drop owner, W0 LOST(2) 1168 | A RECEIVE(2)                              | drop state                                  | =                          | =                         | =
COMPLETE(2) of W0          | drop unknown, W0 LOST(2) 1168 | drop owner, W0 LOST(2) 1168 | A COMPLETE(2)                             | drop state                                  | A COMPLETE(2) > none       | drop state                | drop agent > none
REFUSED(2) of W0           | drop unknown, W0 LOST(2) 1168 | drop owner, W0 LOST(2) 1168 | A REFUSED(2) 1311 > none                  | A END_REPLY(2) 619 > none                   | drop state                 | > none                    | drop state
SEND(2) of W1              | drop unknown, W1 LOST(2) 1168 | drop owner, W1 LOST(2) 1168 | =                                         | =                                           | =                          | =                         | =
RECEIVE(2) of W1           | drop unknown, W1 LOST(2) 1168 | drop owner, W1 LOST(2) 1168 | =                                         | =                                           | =                          | =                         | =
COMPLETE(2) of W1          | drop unknown, W1 LOST(2) 1168 | drop owner, W1 LOST(2) 1168 | =                                         | =                                           | =                          | =                         | =
REFUSED(2) of W1           | drop unknown, W1 LOST(2) 1168 | drop owner, W1 LOST(2) 1168 | =                                         | =                                           | =                          | =                         | =
SEND(1) of W0              | drop unknown, W0 LOST(1) 1168 | drop owner, W0 LOST(1) 1168 | =                                         | =                                           | =                          | =                         | =
RECEIVE(3) of W0           | drop unknown, W0 LOST(3) 1168 | drop owner, W0 LOST(3) 1168 | =                                         | =                                           | =                          | =                         | =
COMPLETE(1) of W0          | drop unknown, W0 LOST(1) 1168 | drop owner, W0 LOST(1) 1168 | =                                         | =                                           | =                          | =                         | =
COMPLETE(3) of W0          | drop unknown, W0 LOST(3) 1168 | drop owner, W0 LOST(3) 1168 | =                                         | =                                           | =                          | =                         | =
REFUSED(1) of W0           | drop unknown, W0 LOST(1) 1168 | drop owner, W0 LOST(1) 1168 | =                                         | =                                           | =                          | =                         | =
END_REPLY(2) 619 of W0     | drop unknown                  | drop owner                  | drop state                                | A END_REPLY(2) 619 > none                   | drop state                 | drop agent > none         | drop state
END_REPLY(2) 0 of W0       | drop unknown                  | drop owner                  | drop state                                | A END_REPLY(2) 0 > PINNED                   | drop state                 | drop agent > PINNED alone | drop state
END_REPLY(2) 619 of W1     | drop unknown                  | drop owner                  | =                                         | =                                           | =                          | =                         | =
END_REPLY(2) 0 of W1       | drop unknown                  | drop owner                  | =                                         | =                                           | =                          | =                         | =
END_REPLY(1) 619 of W0     | drop unknown                  | drop owner                  | =                                         | =                                           | =                          | =                         | =
END_REPLY(3) 0 of W0       | drop unknown                  | drop owner                  | =                                         | =                                           | =                          | =                         | =
RECEIVED(2)                | drop unknown, A LOST(2) 1168  | drop state                  | W0 RECEIVED(2)                            | drop state                                  | =                          | =                         | =
RECEIVED(1)                | drop unknown, A LOST(1) 1168  | drop stale                  | =                                         | =                                           | =                          | =                         | =
RECEIVED(3)                | drop unknown, A LOST(3) 1168  | drop stale                  | =                                         | =                                           | =                          | =                         | =
END(2)                     | A LOST(2) 1168                | A END_REPLY(2) 619 > none   | W0 END(2) 619 > ENDING                    | drop state                                  | =                          | =                         | =
END(1)                     | A LOST(1) 1168                | A END_REPLY(1) 619          | =                                         | =                                           | =                          | =                         | =
END(3)                     | A LOST(3) 1168                | A ERROR 13                  | =                                         | A END_REPLY(3) 619                          | =                          | =                         | =
BEGIN(3) of B              | > WAITING                     | B ERROR 5                   | =                                         | =                                           | =                          | =                         | =
BEGIN(3), another hport    | > WAITING                     | A ERROR 5                   | =                                         | =                                           | =                          | =                         | =
BEGIN(1), another hport    | > WAITING                     | A ERROR 5                   | =                                         | =                                           | =                          | =                         | =
RECEIVED(2) of B           | drop unknown, B LOST(2) 1168  | B ERROR 5                   | =                                         | =                                           | =                          | =                         | =
END(2) of B                | B LOST(2) 1168                | B ERROR 5                   | =                                         | =                                           | =                          | =                         | =
END(1) of B                | B LOST(1) 1168                | B ERROR 5                   | =                                         | =                                           | =                          | =                         | =
queue time, or lease, over |                               | A REFUSED(2) 1311 > none    |                                           | A END_REPLY(2) 1460, W0 LOST(2) 1460 > none | =                          | W0 LOST(2) 1460 > none    | =
W0 falls silent            |                               |                             | A LOST(2) 645 > none                      | A END_REPLY(2) 645 > none                   | =                          | > none                    | =
a send to W0 fails         | drop unsent                   | =                           | drop unsent, A LOST(2) 645 > none         | drop unsent, A END_REPLY(2) 645 > none      | =                          | drop unsent > none        | =
BYE of W0                  |                               |                             | A LOST(2) 645 > none                      | A END_REPLY(2) 645 > none                   | =                          | > none                    | =
W0 has a newer session     |                               |                             | A LOST(2) 645 > none                      | A END_REPLY(2) 645 > none                   | =                          | > none                    | =
A falls silent             |                               | > none                      | W0 END(2) 619 > ENDING alone              | > ENDING alone                              | > PINNED alone             |                           |
a send to A fails          | drop unsent                   | drop unsent > none          | drop unsent, W0 END(2) 619 > ENDING alone | drop unsent > ENDING alone                  | drop unsent > PINNED alone | drop unsent               | =
BYE of A                   |                               | > none                      | W0 LOST(2) 619 > none                     | > none                                      | =                          | =                         | =
A has a newer session      |                               | > none                      | W0 LOST(2) 619 > none                     | > none                                      | =                          | =                         | =
A was lost and says HELLO  |                               | > none                      | W0 END(2) 619 > none                      | > none                                      | =                          | =                         | =
"""  # noqa: E501 - a table is read across


class Table(House):
    """A broker with dialog d in one of the states."""

    def __init__(self, state: str) -> None:
        # Long enough for peers to fall silent before lease or queue time is over.
        super().__init__(end_lease_ms=60_000, queue_timeout_ms=60_000)
        self.a, self.b = self.agent("A"), self.agent("B")
        self.w0, self.w1 = self.worker("W0"), self.worker("W1")
        self.w2 = self.peer(Role.WORKER, "W2")
        column, _, alone = state.partition(" ")
        if column not in {"none", "WAITING"}:
            self.w0.ready(1)
        if column != "none":
            self.a.begin("d", 2, owner="W2")
        if alone:
            # Another call on the port takes the agent away from d, and is over at once.
            self.a.begin("e")
            self.a.end("e")
        elif column in {"ENDING", "PINNED"}:
            self.a.end("d", 2)
        if column == "PINNED":
            self.w0.end_reply("d", 2, NO_ERROR)
        self.happened()
        assert self.state("d").split("(")[0] == column

    def happened(self) -> str:
        """Return what was dropped and said since the last call, and where d went."""
        before, self._before = self._before, (self.drops(), self.state("d"))
        drops, state = self._before
        parts = [
            f"drop {SHORT[reason]}" for reason in drops if drops[reason] != before[0].get(reason, 0)
        ]
        parts += [
            f"{peer.name} {text.replace(' d(', '(').replace('win:', '').replace('ras:', '')}"
            for peer in self.peers
            for text in peer.hears()
            if text not in {"WELCOME", "PING"} and " e(" not in text
        ]
        went = "" if state == before[1] else " > " + re.sub(r"\(\d\)", "", state)
        return (", ".join(parts) + went).strip()

    _before: tuple[dict[str, int], str] = ({}, "none")


SHORT: Final = {
    "unknown dialog": "unknown",
    "not its owner or attempt": "owner",
    "stale attempt": "stale",
    "dialog waits or ends": "state",
    "no agent": "agent",
    "send failed": "unsent",
}


def w1_is_free(table: Table) -> None:
    table.w1.ready(1)
    table.a.begin("d", 3)


def silence(peer: Peer) -> None:
    peer.is_silent = True
    peer.house.wait(3.2)


def lost_and_back(table: Table) -> None:
    silence(table.a)
    table.a.greet()


EVENTS: Final[dict[str, Callable[[Table], object]]] = {
    "BEGIN(3), nobody free": lambda t: t.a.begin("d", 3),
    "BEGIN(3), W1 free": w1_is_free,
    "BEGIN(3), owner W0": lambda t: t.a.begin("d", 3, owner="W0"),
    "BEGIN(2)": lambda t: t.a.begin("d", 2),
    "BEGIN(1)": lambda t: t.a.begin("d", 1),
    "BEGIN e(1), same port": lambda t: t.a.begin("e", 1),
    "credit of W1": lambda t: t.w1.ready(1),
    "its owner W2 is welcomed": lambda t: t.w2.greet(),
    "queue time, or lease, over": lambda t: t.wait(60.2),
    "W0 falls silent": lambda t: silence(t.w0),
    "a send to W0 fails": lambda t: t.w0.fails(),
    "BYE of W0": lambda t: t.w0.bye(),
    "W0 has a newer session": lambda t: t.w0.greet(),
    "A falls silent": lambda t: silence(t.a),
    "a send to A fails": lambda t: t.a.fails(),
    "BYE of A": lambda t: t.a.bye(),
    "A has a newer session": lambda t: t.a.greet(),
    "A was lost and says HELLO": lost_and_back,
    "BEGIN(3) of B": lambda t: t.b.begin("d", 3),
    "BEGIN(3), another hport": lambda t: t.a.begin("d", 3, "p2"),
    "BEGIN(1), another hport": lambda t: t.a.begin("d", 1, "p2"),
    "RECEIVED(2) of B": lambda t: t.b.received("d", 2),
    "END(2) of B": lambda t: t.b.end("d", 2),
    "END(1) of B": lambda t: t.b.end("d", 1),
}


def message(event: str) -> Callable[[Table], object]:
    """Return the event that is one message, `VERB(attempt)` or `VERB(attempt) code of WORKER`."""
    found = re.fullmatch(r"(\w+)\((\d)\)(.*)", event)
    assert found is not None
    verb, attempt, rest = found.groups()

    def say(table: Table) -> None:
        worker = table.w1 if rest.endswith("of W1") else table.w0
        say_it = {
            "SEND": worker.send,
            "RECEIVE": worker.ask,
            "COMPLETE": worker.complete,
            "REFUSED": worker.refuse,
            "RECEIVED": table.a.received,
            "END": table.a.end,
        }
        if verb == "END_REPLY":
            worker.end_reply("d", int(attempt), NO_ERROR if rest.startswith(" 0") else DISCONNECTED)
        else:
            say_it[verb]("d", int(attempt))

    return say


def cells() -> Iterator[object]:
    head, *rows = (
        [cell.strip() for cell in row.split("|")] for row in TABLE.strip("\n").splitlines()
    )
    for event, *expected in rows:
        said = ""
        for state, cell in zip(head[1:], expected, strict=True):
            said = said if cell == "=" else cell
            if said != ".":
                yield pytest.param(event, state, said, id=f"{event} in {state}")


@pytest.mark.parametrize(("event", "state", "expected"), list(cells()))
def test_cell(event: str, state: str, expected: str) -> None:
    table = Table(state)

    (EVENTS.get(event) or message(event))(table)

    assert table.happened() == expected
