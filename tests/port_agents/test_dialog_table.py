"""The agent's dialog, every state × event (protocol §5, "Agent: one open dialog a port").

A row lists the cells in which something happens, as the actions in order and the phase after them;
in every other cell nothing is done and the phase stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import pytest

from dialgate.codes import NO_ERROR, Raserror, Winerror
from dialgate.wire.bodies import ERROR, Lost, Send
from dialgate.wire.body_codec import encode_body
from dialgate.wire.verbs import Verb
from port_agents.dialog_actions import Phase
from tests.port_agents.dialog_bench import DISCONNECTED, Bench, V, W

Cell = tuple[list[str], str]


# States.  The attempt is 1, begun on session 1, unless the name says otherwise.


def unbegun(bench: Bench) -> None:
    """No broker has answered yet."""
    bench.begin(None)


def backing_off(bench: Bench) -> None:
    """Attempts 1 and 2 were lost; the next BEGIN waits for half a second."""
    bench.begin()
    bench.lose()
    bench.lose()


def offered(bench: Bench) -> None:
    bench.begin()
    bench.refuse()


def begun(bench: Bench) -> None:
    bench.begin()


def asked(bench: Bench) -> None:
    bench.begin()
    bench.receive()


def answered(bench: Bench) -> None:
    asked(bench)
    bench.answer()


def asked_before(bench: Bench) -> None:
    """Asked under attempt 1; attempt 2 is out and has not spoken."""
    asked(bench)
    bench.lose()


def admitted(bench: Bench) -> None:
    begun(bench)
    bench.complete()


def refused(bench: Bench) -> None:
    begun(bench)
    bench.fail()


def withdrawn(bench: Bench) -> None:
    """A success was accepted, then the caller hung up."""
    admitted(bench)
    bench.end()


def ending(bench: Bench) -> None:
    begun(bench)
    bench.end()


def delayed_admission(bench: Bench) -> None:
    admitted(bench)
    bench.end_reply(NO_ERROR)


def delayed_refusal(bench: Bench) -> None:
    refused(bench)
    bench.end_reply(NO_ERROR)


def delayed_ending(bench: Bench) -> None:
    ending(bench)
    bench.end_reply(NO_ERROR)


def closed(bench: Bench) -> None:
    ending(bench)
    bench.end_reply()


STATES: Final[tuple[Callable[[Bench], None], ...]] = (
    unbegun,
    backing_off,
    offered,
    begun,
    asked,
    answered,
    asked_before,
    admitted,
    refused,
    withdrawn,
    ending,
    delayed_admission,
    delayed_refusal,
    delayed_ending,
    closed,
)

BAD: Final = b"\x81\xa3seq\xa3one"
_HELLO: Final = Send(worker=W, seq=1, data=b"hello")

EVENTS: Final[dict[str, Callable[[Bench], list[str]]]] = {
    "SEND 1": lambda bench: bench.send(1),
    "SEND 2": lambda bench: bench.send(2),
    "SEND 3": lambda bench: bench.send(3),
    "SEND bad": lambda bench: bench.message(Verb.SEND, BAD),
    "SEND other attempt": lambda bench: bench.message(Verb.SEND, _HELLO, attempt=9),
    "SEND other session": lambda bench: bench.message(Verb.SEND, _HELLO, session=7),
    "RECEIVE 1": lambda bench: bench.receive(1),
    "RECEIVE 1 of another worker": lambda bench: bench.receive(1, worker=V),
    "RECEIVE 2": lambda bench: bench.receive(2),
    "RECEIVE 3": lambda bench: bench.receive(3),
    "RECEIVE bad": lambda bench: bench.message(Verb.RECEIVE, BAD),
    "COMPLETE success": lambda bench: bench.complete(),
    "COMPLETE failure": lambda bench: bench.fail(),
    "COMPLETE error": lambda bench: bench.complete(ERROR, Winerror.ERROR_TIMEOUT.code),
    "COMPLETE bad": lambda bench: bench.message(Verb.COMPLETE, BAD),
    "END_REPLY": lambda bench: bench.end_reply(),
    "END_REPLY 0": lambda bench: bench.end_reply(NO_ERROR),
    "END_REPLY bad": lambda bench: bench.message(Verb.END_REPLY, BAD),
    "REFUSED 1311": lambda bench: bench.refuse(),
    "REFUSED 170": lambda bench: bench.refuse(Winerror.ERROR_BUSY.code),
    "REFUSED 5": lambda bench: bench.refuse(Winerror.ERROR_ACCESS_DENIED.code),
    "REFUSED bad": lambda bench: bench.message(Verb.REFUSED, BAD),
    "LOST": lambda bench: bench.lose(),
    "LOST other attempt": lambda bench: bench.message(
        Verb.LOST, encode_body(Lost(code=DISCONNECTED)), attempt=9
    ),
    "session over": lambda bench: bench.session_over(1),
    "other session over": lambda bench: bench.session_over(7),
    "session 2 found": lambda bench: bench.route(),
    "no session left": lambda bench: bench.route(None),
    "move to session 2": lambda bench: bench.move(),
    "give up": lambda bench: bench.give_up(),
    "answer": lambda bench: bench.answer(),
    "answer to another": lambda bench: bench.answer(5),
    "end": lambda bench: bench.end(),
    "end again": lambda bench: bench.end(Raserror.ERROR_USER_DISCONNECTION.code),
    "0.4 s": lambda bench: bench.wait(0.4),
    "0.5 s": lambda bench: bench.wait(0.5),
    "10 s": lambda bench: bench.wait(10),
    "13 s": lambda bench: bench.wait(13),
    "600 s": lambda bench: bench.wait(600),
}

CLOSED: Final = (["closed"], "CLOSED")
HANDED_OVER: Final = (["handed over"], "CLOSED")
DELAYED: Final[Cell] = ([], "DELAYED")

_FAILED: Final[Cell] = (["decided error win:13", "s1: END (1) win:13"], "ENDING")
_SUCCESS: Final[Cell] = (["s1: END (1) 0", "decided success ann"], "CLEANING_UP")
_AGAIN: Final[Cell] = (["s1: BEGIN (2) seq=0 owner=- cookie=-"], "BEGUN")
_ELSEWHERE: Final[Cell] = (["s2: BEGIN (2) seq=0 owner=- cookie=-"], "BEGUN")

BEGUN: Final[dict[str, Cell]] = {
    "SEND 1": (["show 'hello'"], "BEGUN"),
    "SEND 2": _AGAIN,
    "SEND 3": _AGAIN,
    "SEND bad": _FAILED,
    "RECEIVE 1": (["ask 1 'login: '"], "BEGUN"),
    "RECEIVE 1 of another worker": (["ask 1 'login: '"], "BEGUN"),
    "RECEIVE 2": _AGAIN,
    "RECEIVE 3": _AGAIN,
    "RECEIVE bad": _FAILED,
    "COMPLETE success": _SUCCESS,
    "COMPLETE failure": (["s1: END (1) 0", "decided failure"], "CLEANING_UP"),
    "COMPLETE error": (["s1: END (1) 0", "decided error win:1460"], "CLEANING_UP"),
    "COMPLETE bad": (["s1: END (1) 0", "decided error win:13"], "CLEANING_UP"),
    "REFUSED 1311": (["unserved win:1311"], "WAITING"),
    "REFUSED 170": (["unserved win:170"], "WAITING"),
    "REFUSED 5": (["decided error win:5", "closed"], "CLOSED"),
    "REFUSED bad": (["decided error win:13", "closed"], "CLOSED"),
    "LOST": _AGAIN,
    "session over": ([], "WAITING"),
    "move to session 2": _ELSEWHERE,
    "end": (["s1: END (1) ras:629"], "ENDING"),
    "end again": (["s1: END (1) ras:631"], "ENDING"),
    "600 s": (["decided error win:1460", "s1: END (1) win:1460"], "ENDING"),
}


_AGAIN_1: Final[Cell] = (["s1: BEGIN (2) seq=1 owner=w cookie=c1"], "BEGUN")
_ELSEWHERE_1: Final[Cell] = (["s2: BEGIN (2) seq=1 owner=w cookie=c1"], "BEGUN")

ASKED: Final[dict[str, Cell]] = {
    "SEND 1": ([], "BEGUN"),
    "SEND 2": (["show 'hello'"], "BEGUN"),
    "SEND 3": _AGAIN_1,
    "SEND bad": (["decided error win:13", "cancel", "s1: END (1) win:13"], "ENDING"),
    "RECEIVE 1": ([], "BEGUN"),
    "RECEIVE 1 of another worker": _AGAIN_1,
    "RECEIVE 2": (["s1: RECEIVED (1) seq=2 ras:616"], "BEGUN"),
    "RECEIVE 3": _AGAIN_1,
    "RECEIVE bad": (["decided error win:13", "cancel", "s1: END (1) win:13"], "ENDING"),
    "COMPLETE success": (["cancel", "s1: END (1) 0", "decided success ann"], "CLEANING_UP"),
    "COMPLETE failure": (["cancel", "s1: END (1) 0", "decided failure"], "CLEANING_UP"),
    "COMPLETE error": (["cancel", "s1: END (1) 0", "decided error win:1460"], "CLEANING_UP"),
    "COMPLETE bad": (["cancel", "s1: END (1) 0", "decided error win:13"], "CLEANING_UP"),
    "REFUSED 1311": (["unserved win:1311"], "WAITING"),
    "REFUSED 170": (["unserved win:170"], "WAITING"),
    "REFUSED 5": (["decided error win:5", "cancel", "closed"], "CLOSED"),
    "REFUSED bad": (["decided error win:13", "cancel", "closed"], "CLOSED"),
    "LOST": _AGAIN_1,
    "session over": ([], "WAITING"),
    "move to session 2": _ELSEWHERE_1,
    "answer": (["s1: RECEIVED (1) seq=1 0 'ann'"], "BEGUN"),
    "end": (["cancel", "s1: END (1) ras:629"], "ENDING"),
    "end again": (["cancel", "s1: END (1) ras:631"], "ENDING"),
    "600 s": (["decided error win:1460", "cancel", "s1: END (1) win:1460"], "ENDING"),
}

ANSWERED: Final[dict[str, Cell]] = BEGUN | {
    "SEND 1": ([], "BEGUN"),
    "SEND 2": (["show 'hello'"], "BEGUN"),
    "SEND 3": _AGAIN_1,
    "RECEIVE 1": (["s1: RECEIVED (1) seq=1 win:1237"], "BEGUN"),
    "RECEIVE 1 of another worker": _AGAIN_1,
    "RECEIVE 2": (["ask 2 'login: '"], "BEGUN"),
    "RECEIVE 3": _AGAIN_1,
    "LOST": _AGAIN_1,
    "move to session 2": _ELSEWHERE_1,
}

_AGAIN_3: Final[Cell] = (["s1: BEGIN (3) seq=1 owner=w cookie=c1"], "BEGUN")

ASKED_BEFORE: Final[dict[str, Cell]] = {
    name: ([line.replace("(1)", "(2)") for line in lines], phase)
    for name, (lines, phase) in ASKED.items()
} | {
    "SEND 3": _AGAIN_3,
    "RECEIVE 1 of another worker": _AGAIN_3,
    "RECEIVE 2": (["ask 2 'login: ' anew"], "BEGUN"),
    "RECEIVE 3": _AGAIN_3,
    "LOST": ([], "WAITING"),
    "move to session 2": (["s2: BEGIN (3) seq=1 owner=w cookie=c1"], "BEGUN"),
    # Kept, since nobody of attempt 2 has asked for it yet.
    "answer": ([], "BEGUN"),
}


def ended(how: Cell) -> dict[str, Cell]:
    """Return the row of a state in which END is out and `how` is how it closes."""
    return {
        "END_REPLY": how,
        "END_REPLY 0": DELAYED,
        "REFUSED 1311": how,
        "REFUSED 170": how,
        "REFUSED 5": how,
        "REFUSED bad": how,
        "LOST": how,
        "session over": how,
        "13 s": how,
        "600 s": how,
    }


def released(how: Cell) -> dict[str, Cell]:
    """Return the row of a state in which END was answered 0 and `how` is how it closes."""
    row = ended(how)
    del row["END_REPLY 0"]
    completes = ("COMPLETE success", "COMPLETE failure", "COMPLETE error", "COMPLETE bad")
    return row | dict.fromkeys(completes, how)


TABLE: Final[dict[Callable[[Bench], None], dict[str, Cell]]] = {
    unbegun: {
        "session 2 found": (["s2: BEGIN (1) seq=0 owner=- cookie=-"], "BEGUN"),
        "move to session 2": (["s2: BEGIN (1) seq=0 owner=- cookie=-"], "BEGUN"),
        "end": CLOSED,
        "end again": CLOSED,
        "10 s": (["decided error win:1311", "closed"], "CLOSED"),
        "13 s": (["decided error win:1311", "closed"], "CLOSED"),
        "600 s": (["decided error win:1311", "closed"], "CLOSED"),
    },
    backing_off: {
        "move to session 2": (["s2: BEGIN (3) seq=0 owner=- cookie=-"], "BEGUN"),
        "end": CLOSED,
        "end again": CLOSED,
        "0.5 s": (["s1: BEGIN (3) seq=0 owner=- cookie=-"], "BEGUN"),
        "10 s": (["s1: BEGIN (3) seq=0 owner=- cookie=-"], "BEGUN"),
        "13 s": (["s1: BEGIN (3) seq=0 owner=- cookie=-"], "BEGUN"),
        "600 s": (
            [
                "s1: BEGIN (3) seq=0 owner=- cookie=-",
                "decided error win:1460",
                "s1: END (3) win:1460",
            ],
            "ENDING",
        ),
    },
    offered: {
        "move to session 2": _ELSEWHERE,
        "give up": (["decided error win:1311", "closed"], "CLOSED"),
        "end": CLOSED,
        "end again": CLOSED,
        "10 s": (["decided error win:1311", "closed"], "CLOSED"),
        "13 s": (["decided error win:1311", "closed"], "CLOSED"),
        "600 s": (["decided error win:1311", "closed"], "CLOSED"),
    },
    begun: BEGUN,
    asked: ASKED,
    answered: ANSWERED,
    asked_before: ASKED_BEFORE,
    admitted: ended(HANDED_OVER),
    refused: ended(CLOSED),
    withdrawn: ended(CLOSED),
    ending: ended(CLOSED),
    delayed_admission: released(HANDED_OVER),
    delayed_refusal: released(CLOSED),
    delayed_ending: released(CLOSED),
    closed: {},
}


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
def test_every_cell_does_what_the_protocol_says(state: Callable[[Bench], None], event: str) -> None:
    bench = Bench()
    state(bench)
    before = bench.dialog.phase

    done = EVENTS[event](bench)

    assert (done, bench.dialog.phase.name) == TABLE[state].get(event, ([], before.name))


def test_the_table_names_only_events_there_are() -> None:
    assert {event for row in TABLE.values() for event in row} <= EVENTS.keys()
    assert set(TABLE) == set(STATES)


def test_every_phase_but_closed_has_a_deadline() -> None:
    for state in STATES:
        bench = Bench()
        state(bench)

        assert (bench.dialog.deadline() < float("inf")) == (bench.dialog.phase is not Phase.CLOSED)
