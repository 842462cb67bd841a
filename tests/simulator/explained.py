"""Mutants that may live, and why: each is named as `tests.simulator.mutants` names it."""

from __future__ import annotations

from typing import Final

EXPLAINED: Final[dict[str, str]] = {
    "auth_workers.credit:Credit.grant: not poor -> False": (
        "the same program: to nobody nothing is granted; the condition saves time"
    ),
    "auth_workers.policy:Policies._is_unfit_whoever_calls: index is None -> False": (
        "the same program: where no policy matches, the dialog is over before; the condition is "
        "for the type checker"
    ),
    "broker.registry:Registry.tick: now < self._look_at -> False": (
        "the same program: sessions are looked through more often than it is of use"
    ),
    "broker.switchboard:Switchboard.send: entry.agent is not None -> True": (
        "the same program: an entry that is OWNED has an agent (`broker.entries.Entry`); "
        "the condition is for the type checker"
    ),
    "broker.switchboard:Switchboard.received: entry.worker is not None -> True": (
        "the same program: an entry that is OWNED has a worker, likewise"
    ),
    "broker.registry:Registry.end: session.is_over -> False": (
        "the same program today: whoever ends a session finds it in a table, and one that is over "
        "is in none; a second end would be a KeyError"
    ),
    "port_agents.line_call:LineCall._call_ended: self.call is None -> False": (
        "a modem that ends a call which it never announced: neither tests nor seeds have seen one; "
        "without the condition that would be an AttributeError"
    ),
}
