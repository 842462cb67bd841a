"""Every step of a modem × every event, once with DCD watched and once without modem lines.

Goal: no cell is left to chance.  Method: a modem is brought to each step by what a device would
say; then one event comes.  `TABLE` names the cells in which something happens, with the step after
it and the actions; in all others the step stays and no action comes, which is asserted too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Final

import pytest

from dialgate.codes import Raserror
from port_agents.modem import (
    Action,
    Armed,
    CallEnded,
    Caller,
    CallerBytes,
    Connected,
    Faulted,
    Flush,
    Modem,
    ModemLines,
    ModemSettings,
    Reopen,
    Ringing,
    SetDtr,
    Write,
)
from port_agents.modem_steps import Step

DOWN: Final = ModemLines(dcd=False, dsr=True, ri=False, cts=True)
UP: Final = replace(DOWN, dcd=True)
WIRED: Final = ModemSettings(
    init=("ATZ", "ATE0"),
    rings=2,
    caller_id_wait_ms=500,
    dcd_debounce_ms=200,
    probe_interval_s=300,
    has_hook=True,
)
BARE: Final = replace(WIRED, dcd="ignore")
WIRINGS: Final = {"wired": WIRED, "bare": BARE}
REACHABLE: Final = [
    pytest.param(wiring, step, id=f"{wiring}-{step.name}")
    for wiring in WIRINGS
    for step in Step
    # Without modem lines no event leads to these.
    if wiring == "wired" or step not in {Step.CARRIER, Step.BOUNCE, Step.DTR_LOW, Step.DCD_FALL}
]

Cell = tuple[Step, list[Action]]

OPENED: Final[Cell] = (Step.SETTLE, [SetDtr(on=True)])
ESCAPE: Final[Cell] = (Step.GUARD, [])
REOPEN: Final[Action] = Reopen(1.0)
PULSE: Final[list[Action]] = [Flush(), SetDtr(on=False)]
GAVE_UP: Final = CallEnded(Raserror.ERROR_REMOTE_DISCONNECTION.code)
BROKEN: Final = CallEnded(Raserror.ERROR_HARDWARE_FAILURE.code)
RESET: Final = CallEnded(Raserror.ERROR_USER_DISCONNECTION.code)
UNASKED: Final = CallEnded(Raserror.ERROR_DISCONNECTION.code)
STUCK: Final = Faulted(
    "dcd-stuck: DCD stays up with no call; put &C1 and &D2 in init, check the cable, "
    'or set dcd = "ignore"'
)
SILENT: Final = Faulted('init command "ATZ": no answer in 5 s')
REFUSED: Final = 'init command "ATZ": the modem said "ERROR"'
ANSWER: Final = Write(b"ATA\r")
CONNECTED: Final = Connected(Caller(), 9600, "CONNECT 9600")

STILL_UP: Final = (Step.DTR_LOW, Step.DCD_FALL, Step.GUARD, Step.ESCAPE, Step.ON_HOOK)
"""Here DCD is up: the call that did not end, or an earlier one, is hung up again."""
CALLS: Final = (
    Step.RINGING,
    Step.CALLER_ID,
    Step.ANSWER,
    Step.CARRIER,
    Step.DATA,
    Step.BOUNCE,
)
NO_CALLS: Final = tuple(step for step in Step if step not in CALLS)


def in_steps(steps: tuple[Step, ...], cell: Cell) -> dict[Step, Cell]:
    return dict.fromkeys(steps, cell)


TABLE: Final[Mapping[str, Mapping[Step, Cell]]] = {
    "opened": {
        **in_steps(NO_CALLS, OPENED),
        **in_steps(CALLS, (Step.SETTLE, [BROKEN, SetDtr(on=True)])),
    },
    "closed": {
        **in_steps(NO_CALLS, (Step.CLOSED, [REOPEN])),
        **in_steps(CALLS, (Step.CLOSED, [BROKEN, REOPEN])),
    },
    "OK": {
        Step.INIT: (Step.INIT, [Write(b"ATE0\r")]),
        Step.ON_HOOK: (Step.SETTLE, []),
        Step.DATA: (Step.DATA, [CallerBytes(b"\r\nOK\r\n")]),
        Step.PROBE: (Step.IDLE, [Armed()]),
        Step.GOING_OFF: (Step.OFF_HOOK, []),
    },
    "ERROR": {
        Step.PROBE: (Step.FAULTED, [Faulted('probe "AT": the modem said "ERROR"')]),
        Step.GOING_OFF: (Step.IDLE, [Armed()]),
        Step.INIT: (Step.FAULTED, [Faulted('init command "ATZ": the modem said "ERROR"')]),
        Step.ANSWER: (Step.DTR_LOW, [CallEnded(Raserror.ERROR_FROM_DEVICE.code), *PULSE]),
        Step.DATA: (Step.DATA, [CallerBytes(b"\r\nERROR\r\n")]),
    },
    "RING": {
        **in_steps((Step.IDLE, Step.PROBE), (Step.RINGING, [Ringing(1, Caller())])),
        Step.RINGING: (Step.CALLER_ID, [Ringing(2, Caller())]),
        Step.CALLER_ID: (Step.CALLER_ID, [Ringing(3, Caller())]),
        Step.DATA: (Step.DATA, [CallerBytes(b"\r\nRING\r\n")]),
    },
    "NO CARRIER": {
        Step.RINGING: (Step.IDLE, [GAVE_UP, Armed()]),
        Step.CALLER_ID: (Step.IDLE, [GAVE_UP, Armed()]),
        Step.ANSWER: (Step.DTR_LOW, [CallEnded(Raserror.ERROR_NO_CARRIER.code), *PULSE]),
        Step.DATA: (Step.DATA, [CallerBytes(b"\r\nNO CARRIER\r\n")]),
    },
    "CONNECT 9600": {
        **in_steps((Step.IDLE, Step.PROBE), (Step.DTR_LOW, PULSE)),
        Step.RINGING: (Step.DTR_LOW, [UNASKED, *PULSE]),
        Step.CALLER_ID: (Step.DTR_LOW, [UNASKED, *PULSE]),
        Step.ANSWER: (Step.CARRIER, []),
        Step.DATA: (Step.DATA, [CallerBytes(b"\r\nCONNECT 9600\r\n")]),
    },
    "NMBR = 5551": {Step.DATA: (Step.DATA, [CallerBytes(b"\r\nNMBR = 5551\r\n")])},
    "x\x00\xff": {Step.DATA: (Step.DATA, [CallerBytes(b"\r\nx\x00\xff\r\n")])},
    "DCD up": {
        **in_steps((Step.IDLE, Step.PROBE), (Step.DTR_LOW, PULSE)),
        Step.BOUNCE: (Step.DATA, []),
        Step.RINGING: (Step.DTR_LOW, [UNASKED, *PULSE]),
        Step.CALLER_ID: (Step.DTR_LOW, [UNASKED, *PULSE]),
        Step.CARRIER: (Step.DATA, [CONNECTED]),
    },
    "DCD down": {
        Step.DATA: (Step.BOUNCE, []),
        Step.DCD_FALL: (Step.SETTLE, []),
    },
    "hang up": {
        Step.RINGING: (Step.IDLE, [Armed()]),
        Step.CALLER_ID: (Step.IDLE, [Armed()]),
        **in_steps(
            (Step.ANSWER, Step.CARRIER, Step.DATA, Step.BOUNCE),
            (Step.DTR_LOW, [SetDtr(on=False)]),
        ),
    },
    "reset": {
        **in_steps(NO_CALLS, OPENED),
        **in_steps(CALLS, (Step.DTR_LOW, [RESET, *PULSE])),
        Step.CLOSED: (Step.CLOSED, [Reopen(0.0)]),
        **in_steps(STILL_UP, (Step.DTR_LOW, [SetDtr(on=True), SetDtr(on=False)])),
    },
    "time passes": {
        Step.SETTLE: (Step.INIT, [Flush(), Write(b"ATZ\r")]),
        Step.INIT: (Step.FAULTED, [SILENT]),
        Step.RINGING: (Step.IDLE, [GAVE_UP, Armed()]),
        Step.CALLER_ID: (Step.ANSWER, [ANSWER]),
        Step.ANSWER: (Step.DTR_LOW, [CallEnded(Raserror.ERROR_REQUEST_TIMEOUT.code), *PULSE]),
        Step.CARRIER: (Step.DTR_LOW, [CallEnded(Raserror.ERROR_NO_CARRIER.code), *PULSE]),
        Step.DTR_LOW: (Step.DCD_FALL, [SetDtr(on=True)]),
        Step.DCD_FALL: (Step.FAULTED, [STUCK]),
        Step.GUARD: (Step.ESCAPE, [Flush(), Write(b"+++")]),
        Step.ESCAPE: (Step.ON_HOOK, [Write(b"\rATH\r")]),
        Step.ON_HOOK: (Step.SETTLE, []),
        Step.FAULTED: OPENED,
        Step.IDLE: (Step.PROBE, [Write(b"AT\r")]),
        Step.PROBE: (Step.FAULTED, [Faulted('probe "AT": no answer in 5 s')]),
        Step.BOUNCE: (Step.DTR_LOW, [GAVE_UP, *PULSE]),
        Step.GOING_OFF: (Step.IDLE, [Armed()]),
        Step.OFF_HOOK: (Step.GOING_OFF, [Write(b"ATH1\r")]),
        Step.HOOK: (
            Step.QUARANTINED,
            [Faulted(f"{REFUSED}; the hook failed: it did not end within 60 s")],
        ),
        Step.QUARANTINED: (Step.CLOSED, [Reopen(0.0)]),
    },
    "too early": {},
    "probe": {
        Step.IDLE: (Step.PROBE, [Write(b"AT\r")]),
        Step.OFF_HOOK: (Step.GOING_OFF, [Write(b"ATH1\r")]),
    },
    "be busy": {Step.IDLE: (Step.GOING_OFF, [Write(b"ATH1\r")])},
    "be busy no more": {
        **in_steps((Step.GOING_OFF, Step.OFF_HOOK), (Step.DTR_LOW, [SetDtr(on=False)])),
    },
    "hook ended": {Step.HOOK: (Step.CLOSED, [Reopen(0.0)])},
    "hook failed": {
        Step.HOOK: (Step.QUARANTINED, [Faulted(f"{REFUSED}; the hook failed: no power")]),
    },
}
"""The cells with DCD watched."""

BARE_TABLE: Final[Mapping[str, Mapping[Step, Cell]]] = {
    **TABLE,
    "opened": {
        **in_steps(NO_CALLS, ESCAPE),
        **in_steps(CALLS, (Step.GUARD, [BROKEN])),
    },
    # The end of the line may be the beginning of NO CARRIER: it is held back.
    "OK": {**TABLE["OK"], Step.DATA: (Step.DATA, [CallerBytes(b"\r\nOK")])},
    "ERROR": {
        **TABLE["ERROR"],
        Step.ANSWER: (Step.GUARD, [CallEnded(Raserror.ERROR_FROM_DEVICE.code), Flush()]),
        Step.DATA: (Step.DATA, [CallerBytes(b"\r\nERROR")]),
    },
    "RING": {**TABLE["RING"], Step.DATA: (Step.DATA, [CallerBytes(b"\r\nRING")])},
    "NO CARRIER": {
        **TABLE["NO CARRIER"],
        Step.ANSWER: (Step.GUARD, [CallEnded(Raserror.ERROR_NO_CARRIER.code), Flush()]),
        Step.DATA: (Step.GUARD, [GAVE_UP, Flush()]),
    },
    "CONNECT 9600": {
        **in_steps((Step.IDLE, Step.PROBE), (Step.GUARD, [Flush()])),
        Step.RINGING: (Step.GUARD, [UNASKED, Flush()]),
        Step.CALLER_ID: (Step.GUARD, [UNASKED, Flush()]),
        Step.ANSWER: (Step.DATA, [CONNECTED]),
        Step.DATA: (Step.DATA, [CallerBytes(b"\r\nCONNECT 9600")]),
    },
    "NMBR = 5551": {Step.DATA: (Step.DATA, [CallerBytes(b"\r\nNMBR = 5551")])},
    "x\x00\xff": {Step.DATA: (Step.DATA, [CallerBytes(b"\r\nx\x00\xff")])},
    "DCD up": {},
    "DCD down": {},
    "hang up": {
        Step.RINGING: (Step.IDLE, [Armed()]),
        Step.CALLER_ID: (Step.IDLE, [Armed()]),
        **in_steps((Step.ANSWER, Step.DATA), ESCAPE),
    },
    "reset": {
        **in_steps(NO_CALLS, ESCAPE),
        **in_steps(CALLS, (Step.GUARD, [RESET, Flush()])),
        Step.CLOSED: (Step.CLOSED, [Reopen(0.0)]),
    },
    "time passes": {
        **TABLE["time passes"],
        Step.ANSWER: (Step.GUARD, [CallEnded(Raserror.ERROR_REQUEST_TIMEOUT.code), Flush()]),
        Step.FAULTED: ESCAPE,
    },
    "be busy no more": {**in_steps((Step.GOING_OFF, Step.OFF_HOOK), ESCAPE)},
}
"""The cells where the device has no modem lines."""


def said(modem: Modem, *lines: str) -> None:
    for line in lines:
        modem.receive(b"\r\n" + line.encode("latin-1") + b"\r\n", 0.0)


def due(modem: Modem) -> None:
    modem.tick(modem.deadline())


def modem_in(step: Step, settings: ModemSettings) -> Modem:
    """Return a modem that a device has brought to `step`."""
    modem = Modem(settings)
    wired = settings.dcd == "auto"
    hangs_up_first = step in {Step.GUARD, Step.ESCAPE, Step.ON_HOOK}
    start = ["GUARD", "ESCAPE", "ON_HOOK"]
    if wired:
        start = ["DTR_LOW", "DCD_FALL", *start] if hangs_up_first else []
    call = ["SETTLE", "INIT", "IDLE", "RINGING", "CALLER_ID", "ANSWER"]
    end = ["CARRIER", "DATA", "DTR_LOW", "DCD_FALL"] if wired else ["DATA"]
    way = [Step[name] for name in start + call + end]
    if step is Step.FAULTED:
        way = [*way[: way.index(Step.INIT) + 1], Step.FAULTED]
    if step in {Step.HOOK, Step.QUARANTINED}:
        way = [*way[: way.index(Step.INIT) + 1], Step.FAULTED]
    if step in {Step.PROBE, Step.GOING_OFF, Step.OFF_HOOK}:
        way = [*way[: way.index(Step.IDLE) + 1], Step.GOING_OFF, Step.OFF_HOOK]
        way = [*way[:-2], Step.PROBE] if step is Step.PROBE else way
    if step is Step.BOUNCE:
        way = [*way[: way.index(Step.DATA) + 1], Step.BOUNCE]
    if step is Step.CLOSED:
        return modem
    modem.opened((UP if hangs_up_first else DOWN) if wired else None, 0.0)
    target = Step.FAULTED if step in {Step.HOOK, Step.QUARANTINED} else step
    for passed, following in pairwise([*way[: way.index(target) + 1]]):
        assert modem._step is passed
        match following:
            case Step.SETTLE:
                said(modem, "OK")
            case Step.IDLE:
                said(modem, "OK", "OK")
            case Step.RINGING | Step.CALLER_ID:
                said(modem, "RING")
            case Step.CARRIER:
                said(modem, "CONNECT 9600")
            case Step.DATA if wired:
                modem.lines_changed(UP, 0.0)
            case Step.DATA:
                said(modem, "CONNECT 9600")
            case Step.DTR_LOW:
                modem.hang_up(0.0)
            case Step.FAULTED:
                said(modem, "ERROR")
            case Step.PROBE:
                modem.probe(0.0)
            case Step.GOING_OFF:
                modem.set_busy(True, 0.0)
            case Step.OFF_HOOK:
                said(modem, "OK")
            case Step.BOUNCE:
                modem.lines_changed(DOWN, 0.0)
            case _:
                due(modem)
    while modem._step is not step:
        climb(modem, wired=wired)
    return modem


def climb(modem: Modem, *, wired: bool) -> None:
    """Let the next thing go wrong with a modem that is at fault."""
    match modem._step:
        case Step.CLOSED:
            modem.opened(DOWN if wired else None, 0.0)
        case Step.INIT:
            said(modem, "ERROR")
        case Step.HOOK:
            modem.hook_ended("no power", 0.0)
        case _:
            due(modem)


def happen(modem: Modem, event: str) -> list[Action]:
    """Let `event` come to `modem`."""
    wired = modem.settings.dcd == "auto"
    match event:
        case "opened":
            return modem.opened(DOWN if wired else None, 0.0)
        case "closed":
            return modem.closed("unplugged", 0.0)
        case "DCD up":
            return modem.lines_changed(UP, 0.0)
        case "DCD down":
            return modem.lines_changed(DOWN, 0.0)
        case "hang up":
            return modem.hang_up(0.0)
        case "reset":
            return modem.reset(0.0)
        case "probe":
            return modem.probe(0.0)
        case "be busy":
            return modem.set_busy(True, 0.0)
        case "be busy no more":
            return modem.set_busy(False, 0.0)
        case "hook ended":
            return modem.hook_ended("", 0.0)
        case "hook failed":
            return modem.hook_ended("no power", 0.0)
        case "time passes":
            return modem.tick(1e6) if modem.deadline() < math.inf else []
        case "too early":
            return modem.tick(math.nextafter(modem.deadline(), 0.0))
        case _:
            return modem.receive(b"\r\n" + event.encode("latin-1") + b"\r\n", 0.0)


@pytest.mark.parametrize("event", TABLE)
@pytest.mark.parametrize(("wiring", "step"), REACHABLE)
def test_cell(wiring: str, step: Step, event: str) -> None:
    table = TABLE if wiring == "wired" else BARE_TABLE
    modem = modem_in(step, WIRINGS[wiring])

    actions = happen(modem, event)

    expected_step, expected_actions = table[event].get(step, (step, []))
    assert (modem._step, actions) == (expected_step, expected_actions)


@pytest.mark.parametrize(("wiring", "step"), REACHABLE)
def test_every_step_but_closed_and_a_call_has_a_deadline(wiring: str, step: Step) -> None:
    modem = modem_in(step, WIRINGS[wiring])

    waits_for_ever = modem.deadline() == math.inf

    assert waits_for_ever == (step in {Step.CLOSED, Step.DATA})
