"""Every step of a line without a modem × every event, with modem lines and without.

As in `test_modem_table.py`: `TABLE` names the cells in which something happens, in all others the
step stays and no action comes, which is asserted too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import pytest

from dialgate.codes import Raserror
from port_agents.direct_line import CONNECT_TEXT, DirectLine
from port_agents.line_call import Stage
from port_agents.modem_actions import (
    Action,
    Armed,
    CallEnded,
    Caller,
    CallerBytes,
    Connected,
    Flush,
    ModemLines,
    ModemSettings,
    Reopen,
    SetDtr,
)
from port_agents.modem_steps import Step
from tests.port_agents.line_bench import SETTINGS, Bench

DOWN: Final = ModemLines(dcd=False, dsr=True, ri=False, cts=True)
UP: Final = replace(DOWN, dcd=True)
DEAD: Final = ModemLines(dcd=False, dsr=False, ri=False, cts=False)
WIRED: Final = ModemSettings(dcd_debounce_ms=200)
STEPS: Final = (Step.CLOSED, Step.DTR_LOW, Step.SETTLE, Step.IDLE, Step.DATA, Step.BOUNCE)
BARE_STEPS: Final = (Step.CLOSED, Step.SETTLE, Step.IDLE, Step.DATA)

Cell = tuple[Step, list[Action]]

BEGUN: Final = Connected(Caller(), 0, CONNECT_TEXT)
LOST: Final = CallEnded(Raserror.ERROR_REMOTE_DISCONNECTION.code)
BROKEN: Final = CallEnded(Raserror.ERROR_HARDWARE_FAILURE.code)
RESET: Final = CallEnded(Raserror.ERROR_USER_DISCONNECTION.code)
LOW: Final = SetDtr(on=False)
CALLS: Final = (Step.DATA, Step.BOUNCE)
NO_CALLS: Final = (Step.CLOSED, Step.DTR_LOW, Step.SETTLE, Step.IDLE)


def in_steps(steps: tuple[Step, ...], cell: Cell) -> dict[Step, Cell]:
    return dict.fromkeys(steps, cell)


TABLE: Final[Mapping[str, Mapping[Step, Cell]]] = {
    "opened": {
        **in_steps(NO_CALLS, (Step.DTR_LOW, [LOW])),
        **in_steps(CALLS, (Step.DTR_LOW, [BROKEN, LOW])),
    },
    "closed": {
        **in_steps(NO_CALLS, (Step.CLOSED, [Reopen(1.0)])),
        **in_steps(CALLS, (Step.CLOSED, [BROKEN, Reopen(1.0)])),
    },
    "Enter": {
        Step.IDLE: (Step.DATA, [BEGUN]),
        Step.DATA: (Step.DATA, [CallerBytes(b"\r")]),
        Step.BOUNCE: (Step.BOUNCE, [CallerBytes(b"\r")]),
    },
    "a byte": {
        Step.IDLE: (Step.DATA, [BEGUN, CallerBytes(b"~")]),
        Step.DATA: (Step.DATA, [CallerBytes(b"~")]),
        Step.BOUNCE: (Step.BOUNCE, [CallerBytes(b"~")]),
    },
    "DCD up": {
        Step.IDLE: (Step.DATA, [BEGUN]),
        Step.BOUNCE: (Step.DATA, []),
    },
    "DCD down": {Step.DATA: (Step.BOUNCE, [])},
    "hang up": in_steps(CALLS, (Step.DTR_LOW, [LOW])),
    "reset": {
        Step.CLOSED: (Step.CLOSED, [Reopen(0.0)]),
        **in_steps((Step.DTR_LOW, Step.SETTLE, Step.IDLE), (Step.DTR_LOW, [Flush(), LOW])),
        **in_steps(CALLS, (Step.DTR_LOW, [RESET, Flush(), LOW])),
    },
    "probe": {},
    "be busy": {},
    "time passes": {
        Step.DTR_LOW: (Step.SETTLE, [SetDtr(on=True)]),
        Step.SETTLE: (Step.IDLE, [Flush(), Armed()]),
        Step.BOUNCE: (Step.DTR_LOW, [LOST, Flush(), LOW]),
    },
}
BARE_TABLE: Final[Mapping[str, Mapping[Step, Cell]]] = {
    **TABLE,
    "opened": {
        **in_steps(NO_CALLS, (Step.SETTLE, [])),
        Step.DATA: (Step.SETTLE, [BROKEN]),
    },
    "DCD up": {},
    "DCD down": {},
    "hang up": {Step.DATA: (Step.SETTLE, [])},
    "reset": {
        Step.CLOSED: (Step.CLOSED, [Reopen(0.0)]),
        **in_steps((Step.SETTLE, Step.IDLE), (Step.SETTLE, [Flush()])),
        Step.DATA: (Step.SETTLE, [RESET, Flush()]),
    },
}


def line_in(step: Step, lines: ModemLines | None) -> DirectLine:
    line = DirectLine(WIRED)
    if step is Step.CLOSED:
        return line
    line.opened(lines, 0.0)
    while line._step is not step:
        match line._step:
            case Step.IDLE if lines is not None:
                line.lines_changed(UP, 0.0)
            case Step.IDLE:
                line.receive(b"\r", 0.0)
            case Step.DATA:
                line.lines_changed(DOWN, 0.0)
            case _:
                line.tick(line.deadline())
    return line


def happen(line: DirectLine, event: str) -> list[Action]:
    match event:
        case "opened":
            return line.opened(line.lines, 0.0)
        case "closed":
            return line.closed("unplugged", 0.0)
        case "Enter":
            return line.receive(b"\r", 0.0)
        case "a byte":
            return line.receive(b"\r~", 0.0) if line._step is Step.IDLE else line.receive(b"~", 0.0)
        case "DCD up":
            return line.lines_changed(UP, 0.0)
        case "DCD down":
            return line.lines_changed(DOWN, 0.0)
        case "hang up":
            return line.hang_up(0.0)
        case "reset":
            return line.reset(0.0)
        case "probe":
            return line.probe(0.0)
        case "be busy":
            return line.set_busy(True, 0.0)
        case _:
            return line.tick(1e6) if line.deadline() < math.inf else []


@pytest.mark.parametrize("event", TABLE)
@pytest.mark.parametrize("step", STEPS)
def test_cell_with_modem_lines(step: Step, event: str) -> None:
    line = line_in(step, DOWN)
    if event == "opened" and step is Step.CLOSED:
        assert line.opened(DOWN, 0.0) == [LOW]
        return

    actions = happen(line, event)

    assert (line._step, actions) == TABLE[event].get(step, (step, []))


@pytest.mark.parametrize("event", BARE_TABLE)
@pytest.mark.parametrize("step", BARE_STEPS)
def test_cell_without_modem_lines(step: Step, event: str) -> None:
    line = line_in(step, None)
    if event.startswith("DCD"):
        return  # Nothing is told of lines that are not there.

    actions = happen(line, event)

    assert (line._step, actions) == BARE_TABLE[event].get(step, (step, []))


@pytest.mark.parametrize("step", STEPS)
def test_only_a_closed_an_idle_line_and_a_call_wait_for_ever(step: Step) -> None:
    waits = line_in(step, DOWN).deadline() == math.inf

    assert waits == (step in {Step.CLOSED, Step.IDLE, Step.DATA})


def test_a_terminal_that_stays_on_gets_no_new_call_until_a_key_is_pressed() -> None:
    line = line_in(Step.DATA, DOWN)
    line.hang_up(0.0)
    line.tick(line.deadline())
    line.tick(line.deadline())
    assert line.lines_changed(UP, 5.0) == []

    assert line.receive(b"\r", 6.0) == [BEGUN]


def test_where_dcd_is_not_wired_the_loss_of_dsr_ends_the_call() -> None:
    line = line_in(Step.IDLE, DOWN)
    line.receive(b"\r", 0.0)
    assert line.watches_carrier

    line.lines_changed(DEAD, 1.0)

    assert line.tick(1.2)[0] == LOST


def test_a_line_that_may_not_answer_begins_no_call() -> None:
    line = line_in(Step.IDLE, DOWN)
    line.may_answer = False

    assert line.receive(b"\r", 0.0) == line.lines_changed(UP, 0.0) == []
    assert line.counters.dropped_bytes == 1


def direct(silence_s: float = 0.0, dcd: str = "auto") -> Bench:
    modem = replace(SETTINGS.modem, dcd=dcd)  # type: ignore[arg-type]
    settings = replace(SETTINGS, is_direct=True, silence_timeout_s=silence_s, modem=modem)
    bench = Bench(settings=settings)
    bench.plug_in()
    bench.take()
    return bench


def test_a_call_on_a_direct_line_is_authenticated_and_handed_over_as_any_other() -> None:
    bench = direct()
    bench.do(bench.line.receive(b"\r", bench.now))
    assert bench.take() == ["s1: BEGIN (1)", "authenticating"]
    bench.admit()
    assert bench.take() == ["s1: END (1)", "record start", "start console for ann", "online"]

    bench.do(bench.line.lines_changed(DEAD, bench.now))
    bench.service_ends()
    bench.wait(3)
    assert bench.take()[-1] == "idle"


def test_silence_ends_a_call_whose_end_no_line_shows() -> None:
    bench = direct(silence_s=30.0, dcd="ignore")
    bench.do(bench.line.receive(b"\r", bench.now))
    bench.ask()
    bench.wait(20)
    bench.do(bench.line.receive(b"a", bench.now))
    bench.wait(29)
    assert bench.line.stage is Stage.LOGIN
    bench.wait(2)

    assert "hanging-up idle-timeout" in bench.take()


def test_silence_ends_no_call_that_a_line_watches() -> None:
    bench = direct(silence_s=30.0)
    bench.do(bench.line.receive(b"\r", bench.now))
    bench.wait(100)

    assert bench.line.stage is Stage.LOGIN
