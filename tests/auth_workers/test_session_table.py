"""The worker's table of protocol §5, every state × event.

The dialog's attempt is 2, begun on session 1; its task is 1.  A row lists the cells in which
something happens, as the actions in order and the state after them; in every other cell nothing is
done and the dialog stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import pytest

from auth_workers.session_dialog import State
from auth_workers.verdict import Granted, Refused
from dialgate.codes import NO_ERROR, Winerror
from dialgate.wire.verbs import Verb
from tests.auth_workers.core_bench import ME, OTHER, Bench, D

Cell = tuple[list[str], str]


def unknown(bench: Bench) -> None:
    """Nothing has been heard of the dialog."""


def thinking(bench: Bench) -> None:
    bench.begin(2)
    bench.send(b"hello")


def asking(bench: Bench) -> None:
    thinking(bench)
    bench.receive(b"login: ")


def silent(bench: Bench) -> None:
    asking(bench)
    bench.lost(2)


def decided(bench: Bench) -> None:
    thinking(bench)
    bench.complete(Granted("ann"))


def finished(bench: Bench) -> None:
    decided(bench)
    bench.finish()


def decided_silent(bench: Bench) -> None:
    finished(bench)
    bench.lost(2)


def delayed(bench: Bench) -> None:
    thinking(bench)
    bench.delay_end()
    bench.end(2)


def delayed_decided(bench: Bench) -> None:
    decided(bench)
    bench.delay_end()
    bench.end(2, NO_ERROR)


def ending(bench: Bench) -> None:
    asking(bench)
    bench.end(2)


def over(bench: Bench) -> None:
    finished(bench)
    bench.end(2, NO_ERROR)


STATES: Final[dict[str, Callable[[Bench], None]]] = {
    state.__name__: state
    for state in (
        unknown,
        thinking,
        asking,
        silent,
        decided,
        finished,
        decided_silent,
        delayed,
        delayed_decided,
        ending,
        over,
    )
}

EVENTS: Final[dict[str, Callable[[Bench], list[str]]]] = {
    "BEGIN, lower": lambda bench: bench.begin(1, session=2),
    "BEGIN, same": lambda bench: bench.begin(2, owner=ME, session=2),
    "BEGIN, higher, owner is this worker": lambda bench: bench.begin(3, owner=ME, session=2),
    "BEGIN, higher, owner is another": lambda bench: bench.begin(3, owner=OTHER, seq=1, session=2),
    "BEGIN, higher, no owner": lambda bench: bench.begin(3, session=2),
    "BEGIN, higher, malformed": lambda bench: bench.hear(Verb.BEGIN, b"\x80", 3, session=2),
    "RECEIVED": lambda bench: bench.received(2, 2, b"ann"),
    "RECEIVED 1237": lambda bench: bench.received(2, 2, status=Winerror.ERROR_RETRY.code),
    "RECEIVED, other seq": lambda bench: bench.received(2, 1, b"ann"),
    "RECEIVED, lower": lambda bench: bench.received(1, 2, b"ann"),
    "RECEIVED, higher": lambda bench: bench.received(3, 2, b"ann"),
    "RECEIVED, other session": lambda bench: bench.received(2, 2, b"ann", session=2),
    "RECEIVED, malformed": lambda bench: bench.hear(Verb.RECEIVED, b"\x80", 2),
    "LOST": lambda bench: bench.lost(2),
    "LOST, lower": lambda bench: bench.lost(1),
    "LOST, higher": lambda bench: bench.lost(3),
    "LOST, other session": lambda bench: bench.lost(2, session=2),
    "END, normal": lambda bench: bench.end(2, NO_ERROR),
    "END, abnormal": lambda bench: bench.end(2),
    "END, malformed": lambda bench: bench.hear(Verb.END, b"\x80", 2),
    "END, lower": lambda bench: bench.end(1),
    "END, higher": lambda bench: bench.end(3),
    "END, other session": lambda bench: bench.end(2, session=2),
    "session over": lambda bench: bench.close(1),
    "other session over": lambda bench: bench.close(2),
    "a verb not for workers": lambda bench: bench.hear(Verb.SEND, b"\x80", 2),
    "task sends": lambda bench: bench.send(b"hello"),
    "task asks": lambda bench: bench.receive(b"login: "),
    "task decides": lambda bench: bench.complete(Refused("bob")),
    "task finished": lambda bench: bench.finish(),
    "1 s": lambda bench: bench.wait(1.0),
    "clean-up bound": lambda bench: bench.wait(2.0),
    "end_lease_ms": lambda bench: bench.wait(10.0),
    "reattach_s": lambda bench: bench.wait(30.0),
    "dialog_max_s": lambda bench: bench.wait(600.0),
}

TABLE: Final[dict[str, dict[str, Cell]]] = {
    "BEGIN, lower": {
        "unknown": (["start 1 (1)"], "running (1)"),
    },
    "BEGIN, same": {
        "unknown": (["start 1 (2)"], "running"),
    },
    "BEGIN, higher, owner is this worker": {
        "unknown": (["start 1 (3)"], "running (3)"),
        "thinking": (["s2: SEND (3) seq=1 'hello'"], "running (3)"),
        "asking": (
            ["s2: SEND (3) seq=1 'hello'", "s2: RECEIVE (3) seq=2 'login: '"],
            "running (3)",
        ),
        "silent": (
            ["s2: SEND (3) seq=1 'hello'", "s2: RECEIVE (3) seq=2 'login: '"],
            "running (3)",
        ),
        "decided": (["s2: SEND (3) seq=1 'hello'", "s2: COMPLETE (3) success ann"], "decided (3)"),
        "finished": (["s2: SEND (3) seq=1 'hello'", "s2: COMPLETE (3) success ann"], "decided (3)"),
        "decided_silent": (
            ["s2: SEND (3) seq=1 'hello'", "s2: COMPLETE (3) success ann"],
            "decided (3)",
        ),
        "delayed": (["cancel 1 ras:619", "outcome superseded", "start 2 (3)"], "running (3)"),
        "delayed_decided": (["cancel 1 ras:619", "start 2 (3)"], "running (3)"),
        "ending": (["outcome superseded", "start 2 (3)"], "running (3)"),
        "over": (["start 2 (3)"], "running (3)"),
    },
    "BEGIN, higher, owner is another": {
        "unknown": (["start 1 (3)"], "running (3)"),
        "thinking": (["cancel 1 ras:619", "outcome superseded", "start 2 (3)"], "running (3)"),
        "asking": (["cancel 1 ras:619", "outcome superseded", "start 2 (3)"], "running (3)"),
        "silent": (["cancel 1 ras:619", "outcome superseded", "start 2 (3)"], "running (3)"),
        "decided": (["cancel 1 ras:619", "start 2 (3)"], "running (3)"),
        "finished": (["start 2 (3)"], "running (3)"),
        "decided_silent": (["start 2 (3)"], "running (3)"),
        "delayed": (["cancel 1 ras:619", "outcome superseded", "start 2 (3)"], "running (3)"),
        "delayed_decided": (["cancel 1 ras:619", "start 2 (3)"], "running (3)"),
        "ending": (["outcome superseded", "start 2 (3)"], "running (3)"),
        "over": (["start 2 (3)"], "running (3)"),
    },
    "BEGIN, higher, no owner": {
        "unknown": (["start 1 (3)"], "running (3)"),
        "thinking": (["cancel 1 ras:619", "outcome superseded", "start 2 (3)"], "running (3)"),
        "asking": (["cancel 1 ras:619", "outcome superseded", "start 2 (3)"], "running (3)"),
        "silent": (["cancel 1 ras:619", "outcome superseded", "start 2 (3)"], "running (3)"),
        "decided": (["cancel 1 ras:619", "start 2 (3)"], "running (3)"),
        "finished": (["start 2 (3)"], "running (3)"),
        "decided_silent": (["start 2 (3)"], "running (3)"),
        "delayed": (["cancel 1 ras:619", "outcome superseded", "start 2 (3)"], "running (3)"),
        "delayed_decided": (["cancel 1 ras:619", "start 2 (3)"], "running (3)"),
        "ending": (["outcome superseded", "start 2 (3)"], "running (3)"),
        "over": (["start 2 (3)"], "running (3)"),
    },
    "BEGIN, higher, malformed": {
        "unknown": (["s2: REFUSED (3) win:13"], "over"),
        "thinking": (["cancel 1 ras:619", "outcome superseded", "s2: REFUSED (3) win:13"], "over"),
        "asking": (["cancel 1 ras:619", "outcome superseded", "s2: REFUSED (3) win:13"], "over"),
        "silent": (["cancel 1 ras:619", "outcome superseded", "s2: REFUSED (3) win:13"], "over"),
        "decided": (["cancel 1 ras:619", "s2: REFUSED (3) win:13"], "over"),
        "finished": (["s2: REFUSED (3) win:13"], "over"),
        "decided_silent": (["s2: REFUSED (3) win:13"], "over"),
        "delayed": (["cancel 1 ras:619", "outcome superseded", "s2: REFUSED (3) win:13"], "over"),
        "delayed_decided": (["cancel 1 ras:619", "s2: REFUSED (3) win:13"], "over"),
        "ending": (["outcome superseded", "s2: REFUSED (3) win:13"], "over"),
        "over": (["s2: REFUSED (3) win:13"], "over"),
    },
    "RECEIVED": {
        "asking": (["answer 1 win:0 'ann'"], "running"),
    },
    "RECEIVED 1237": {
        "asking": (["s1: RECEIVE (2) seq=3 'login: '"], "running"),
    },
    "RECEIVED, other seq": {},
    "RECEIVED, lower": {},
    "RECEIVED, higher": {},
    "RECEIVED, other session": {},
    "RECEIVED, malformed": {
        "thinking": (
            ["s1: COMPLETE (2) error win:13", "outcome error", "cancel 1 win:13"],
            "decided",
        ),
        "asking": (
            ["s1: COMPLETE (2) error win:13", "outcome error", "cancel 1 win:13"],
            "decided",
        ),
    },
    "LOST": {
        "thinking": ([], "running silent"),
        "asking": ([], "running silent"),
        "decided": ([], "decided silent"),
        "finished": ([], "decided silent"),
        "delayed": (["cancel 1 ras:619", "outcome lost"], "over"),
        "delayed_decided": (["cancel 1 ras:619"], "over"),
        "ending": (["outcome lost"], "over"),
    },
    "LOST, lower": {},
    "LOST, higher": {},
    "LOST, other session": {},
    "END, normal": {
        "unknown": (["s1: END_REPLY (2) ras:619"], "unknown"),
        "thinking": (["cancel 1 ras:619"], "ending"),
        "asking": (["cancel 1 ras:619"], "ending"),
        "silent": (["cancel 1 ras:619"], "ending"),
        "decided": (["cancel 1 ras:619"], "ending"),
        "finished": (["s1: END_REPLY (2) ras:619"], "over"),
        "decided_silent": (["s1: END_REPLY (2) ras:619"], "over"),
        "over": (["s1: END_REPLY (2) ras:619"], "over"),
    },
    "END, abnormal": {
        "unknown": (["s1: END_REPLY (2) ras:619"], "unknown"),
        "thinking": (["cancel 1 ras:619"], "ending"),
        "asking": (["cancel 1 ras:619"], "ending"),
        "silent": (["cancel 1 ras:619"], "ending"),
        "decided": (["cancel 1 ras:619"], "ending"),
        "finished": (["s1: END_REPLY (2) ras:619"], "over"),
        "decided_silent": (["s1: END_REPLY (2) ras:619"], "over"),
        "over": (["s1: END_REPLY (2) ras:619"], "over"),
    },
    "END, malformed": {
        "unknown": (["s1: END_REPLY (2) ras:619"], "unknown"),
        "thinking": (["cancel 1 win:13"], "ending"),
        "asking": (["cancel 1 win:13"], "ending"),
        "silent": (["cancel 1 win:13"], "ending"),
        "decided": (["cancel 1 win:13"], "ending"),
        "finished": (["s1: END_REPLY (2) ras:619"], "over"),
        "decided_silent": (["s1: END_REPLY (2) ras:619"], "over"),
        "over": (["s1: END_REPLY (2) ras:619"], "over"),
    },
    "END, lower": {
        "unknown": (["s1: END_REPLY (1) ras:619"], "unknown"),
        "thinking": (["s1: END_REPLY (1) ras:619"], "running"),
        "asking": (["s1: END_REPLY (1) ras:619"], "running"),
        "silent": (["s1: END_REPLY (1) ras:619"], "running silent"),
        "decided": (["s1: END_REPLY (1) ras:619"], "decided"),
        "finished": (["s1: END_REPLY (1) ras:619"], "decided"),
        "decided_silent": (["s1: END_REPLY (1) ras:619"], "decided silent"),
        "delayed": (["s1: END_REPLY (1) ras:619"], "delayed"),
        "delayed_decided": (["s1: END_REPLY (1) ras:619"], "delayed"),
        "ending": (["s1: END_REPLY (1) ras:619"], "ending"),
        "over": (["s1: END_REPLY (1) ras:619"], "over"),
    },
    "END, higher": {
        "unknown": (["s1: END_REPLY (3) ras:619"], "unknown"),
        "thinking": (["s1: END_REPLY (3) ras:619"], "running"),
        "asking": (["s1: END_REPLY (3) ras:619"], "running"),
        "silent": (["s1: END_REPLY (3) ras:619"], "running silent"),
        "decided": (["s1: END_REPLY (3) ras:619"], "decided"),
        "finished": (["s1: END_REPLY (3) ras:619"], "decided"),
        "decided_silent": (["s1: END_REPLY (3) ras:619"], "decided silent"),
        "delayed": (["s1: END_REPLY (3) ras:619"], "delayed"),
        "delayed_decided": (["s1: END_REPLY (3) ras:619"], "delayed"),
        "ending": (["s1: END_REPLY (3) ras:619"], "ending"),
        "over": (["s1: END_REPLY (3) ras:619"], "over"),
    },
    "END, other session": {
        "unknown": (["s2: END_REPLY (2) ras:619"], "unknown"),
        "thinking": (["s2: END_REPLY (2) ras:619"], "running"),
        "asking": (["s2: END_REPLY (2) ras:619"], "running"),
        "silent": (["s2: END_REPLY (2) ras:619"], "running silent"),
        "decided": (["s2: END_REPLY (2) ras:619"], "decided"),
        "finished": (["s2: END_REPLY (2) ras:619"], "decided"),
        "decided_silent": (["s2: END_REPLY (2) ras:619"], "decided silent"),
        "delayed": (["s2: END_REPLY (2) ras:619"], "delayed"),
        "delayed_decided": (["s2: END_REPLY (2) ras:619"], "delayed"),
        "ending": (["s2: END_REPLY (2) ras:619"], "ending"),
        "over": (["s2: END_REPLY (2) ras:619"], "over"),
    },
    "session over": {
        "thinking": ([], "running silent"),
        "asking": ([], "running silent"),
        "decided": ([], "decided silent"),
        "finished": ([], "decided silent"),
        "delayed": (["cancel 1 ras:619", "outcome lost"], "over"),
        "delayed_decided": (["cancel 1 ras:619"], "over"),
        "ending": (["outcome lost"], "over"),
    },
    "other session over": {},
    "a verb not for workers": {},
    "task sends": {
        "unknown": (["ras:619"], "unknown"),
        "thinking": (["s1: SEND (2) seq=2 'hello'"], "running"),
        "asking": (["ras:616"], "running"),
        "silent": (["ras:616"], "running silent"),
        "decided": (["ras:619"], "decided"),
        "finished": (["ras:619"], "decided"),
        "decided_silent": (["ras:619"], "decided silent"),
        "delayed": (["ras:619"], "delayed"),
        "delayed_decided": (["ras:619"], "delayed"),
        "ending": (["ras:619"], "ending"),
        "over": (["ras:619"], "over"),
    },
    "task asks": {
        "unknown": (["ras:619"], "unknown"),
        "thinking": (["s1: RECEIVE (2) seq=2 'login: '"], "running"),
        "asking": (["ras:616"], "running"),
        "silent": (["ras:616"], "running silent"),
        "decided": (["ras:619"], "decided"),
        "finished": (["ras:619"], "decided"),
        "decided_silent": (["ras:619"], "decided silent"),
        "delayed": (["ras:619"], "delayed"),
        "delayed_decided": (["ras:619"], "delayed"),
        "ending": (["ras:619"], "ending"),
        "over": (["ras:619"], "over"),
    },
    "task decides": {
        "thinking": (["s1: COMPLETE (2) failure bob", "outcome failure"], "decided"),
        "asking": (["s1: COMPLETE (2) failure bob", "outcome failure"], "decided"),
        "silent": (["outcome failure"], "decided silent"),
        "delayed": (["s1: COMPLETE (2) failure bob", "outcome ended"], "over"),
        "delayed_decided": (["s1: COMPLETE (2) failure bob"], "over"),
    },
    "task finished": {
        "thinking": (["s1: COMPLETE (2) error ras:645", "outcome error"], "decided"),
        "asking": (["s1: COMPLETE (2) error ras:645", "outcome error"], "decided"),
        "silent": (["outcome error"], "decided silent"),
        "delayed": (["s1: COMPLETE (2) error ras:645", "outcome ended"], "over"),
        "delayed_decided": (["s1: COMPLETE (2) success ann"], "over"),
        "ending": (["s1: END_REPLY (2) ras:619", "outcome ended"], "over"),
    },
    "1 s": {},
    "clean-up bound": {
        "ending": (["s1: END_REPLY (2) ras:619", "outcome ended"], "over"),
    },
    "end_lease_ms": {
        "delayed": (["cancel 1 win:1460", "outcome ended"], "over"),
        "delayed_decided": (["cancel 1 win:1460"], "over"),
        "ending": (["s1: END_REPLY (2) ras:619", "outcome ended"], "over"),
    },
    "reattach_s": {
        "silent": (["cancel 1 ras:619", "outcome lost"], "over"),
        "decided_silent": ([], "over"),
        "delayed": (["cancel 1 win:1460", "outcome ended"], "over"),
        "delayed_decided": (["cancel 1 win:1460"], "over"),
        "ending": (["s1: END_REPLY (2) ras:619", "outcome ended"], "over"),
    },
    "dialog_max_s": {
        "thinking": (
            ["s1: COMPLETE (2) error win:1460", "cancel 1 win:1460", "outcome error"],
            "over",
        ),
        "asking": (
            ["s1: COMPLETE (2) error win:1460", "cancel 1 win:1460", "outcome error"],
            "over",
        ),
        "silent": (["cancel 1 win:1460", "outcome error"], "over"),
        "decided": (["cancel 1 win:1460"], "over"),
        "finished": ([], "over"),
        "decided_silent": ([], "over"),
        "delayed": (
            ["s1: COMPLETE (2) error win:1460", "cancel 1 win:1460", "outcome ended"],
            "over",
        ),
        "delayed_decided": (["s1: COMPLETE (2) error win:1460", "cancel 1 win:1460"], "over"),
        "ending": (["s1: END_REPLY (2) ras:619", "outcome ended"], "over"),
        "over": ([], "unknown"),
    },
}


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("state", STATES)
def test_every_cell_of_the_workers_table(state: str, event: str) -> None:
    bench = Bench()
    STATES[state](bench)
    stood = where(bench)

    did = EVENTS[event](bench)

    assert (did, where(bench)) == TABLE[event].get(state, ([], stood))


def test_the_table_names_every_event_and_no_other() -> None:
    assert TABLE.keys() == EVENTS.keys()
    assert all(row.keys() <= STATES.keys() for row in TABLE.values())
    assert {where_after(state).split()[0] for state in STATES} == {
        "unknown",
        *(state.value for state in State),
    }


def where_after(state: str) -> str:
    bench = Bench()
    STATES[state](bench)
    return where(bench)


def where(bench: Bench) -> str:
    """Return where the dialog stands, with its attempt if that isn't 2 any more."""
    dialog = bench.worker._dialogs.get(D)
    if dialog is None:
        return "over" if bench.worker.attempts.highest(D) else "unknown"
    attempt = f" ({dialog.attempt})" if dialog.attempt != 2 else ""
    return dialog.state.value + " silent" * dialog.silent + attempt
