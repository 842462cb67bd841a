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
    **{
        f"dialgate.one_time_codes:use_code: {condition} -> False": (
            "the same answer: what is no code of that length equals none"
        )
        for condition in (
            "len(plain) != row.digits or not plain.isascii() or (not plain.isdigit())",
            "len(plain) != row.digits",
            "not plain.isascii()",
            "not plain.isdigit()",
        )
    },
    "dialgate.sealing:Sealer.open: len(nonce) != NONCE_BYTES -> False": (
        "the same answer: the library refuses such a nonce by a CryptoError"
    ),
    "dialgate.wire.body_codec:read_map: nested -> True": (
        "the same answer, more slowly: keys are looked at one by one where their number would do"
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
    "port_agents.brokers:Brokers.closed: self.home is None -> False": (
        "the same program: the first session that opens is home, so one that ends has had one"
    ),
    "port_agents.brokers:Brokers.drain: link is None -> False": (
        "the same answer: what is no link is no home's"
    ),
    "port_agents.line_call:LineCall._call_ended: self.call is None -> False": (
        "a modem that ends a call which it never announced: neither tests nor seeds have seen one; "
        "without the condition that would be an AttributeError"
    ),
}
