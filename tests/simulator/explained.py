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
    "port_agents.agent:Agent._offer: dialog is None -> False": (
        "the same program: a line whose dialog is not served has one; the condition is for the "
        "type checker"
    ),
    "port_agents.dialog:PortDialog.session: self._used is None -> False": (
        "the same program: a dialog that is begun was begun by a session, likewise"
    ),
    "auth_workers.radius.packets:_adds_up: size < ATTRIBUTE_HEAD_BYTES -> False": (
        "an attribute of length 0 is looked at for ever; the test of that ends by its time limit"
    ),
    "dialgate.one_time_codes:_use_recovery_code: RECOVERY_CODES.c.name == user -> True": (
        "the same answer: a digest is of the name, too; the condition is for the index"
    ),
    "port_agents.line_call:LineCall._dialog_closed: dialog.verdict is None -> False": (
        "the same program: who is handed over was admitted by a verdict; the condition is for the "
        "type checker"
    ),
    "port_agents.terminal:Terminal.tick: self._request is None -> False": (
        "the same program: without a question there is no deadline; the condition is for the type "
        "checker"
    ),
    "port_agents.terminal:Terminal.awaits_prompt: self._request is not None -> True": (
        "the same program: a line on which nothing is asked is looked at without need; the "
        "condition saves time"
    ),
    "port_agents.terminal:Terminal.awaits_prompt: self._deadline is None -> True": (
        "the same program: a line whose time-out runs is looked at again, likewise"
    ),
    "port_agents.modem_arming:ModemArming._has_carrier: self._lines is not None -> True": (
        "the same program: where DCD is watched there are lines; the condition is for the type "
        "checker"
    ),
    "port_agents.orders:Orders.line_settled: not self._open -> False": (
        "the same program: without orders none is looked at; the condition saves time"
    ),
}
