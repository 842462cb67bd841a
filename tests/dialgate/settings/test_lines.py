"""Ports by the row, and what is wrong with one."""

from __future__ import annotations

from pathlib import Path

import pytest

from dialgate.errors import ConfigError
from dialgate.settings import PortSettings, load, model_of, require
from dialgate.settings.lines import expand
from dialgate.settings.models import MODELS, ModelSettings
from tests.dialgate.sample import SAMPLE, altered, write

BANK = """[[agent.banks]]
hport = "oslo/{n}"
devices = "/dev/ttyD{0..63}"
service = "console"
rings = 2
"""
PORTS = SAMPLE[SAMPLE.index("[[agent.ports]]") : SAMPLE.index("[services.console]")]


def with_bank(*changes: tuple[str, str], ports: str = "") -> str:
    return altered((PORTS, ports + altered(*changes, text=BANK)))


def test_a_bank_is_as_many_ports_with_shared_settings(tmp_path: Path) -> None:
    lines = require(load(write(tmp_path, with_bank())), "agent").lines

    assert len(lines) == 64
    assert (lines[63].hport, lines[63].device, lines[63].rings) == ("oslo/63", "/dev/ttyD63", 2)
    assert isinstance(lines[0], PortSettings)


def test_single_ports_come_before_those_of_banks(tmp_path: Path) -> None:
    single = '[[agent.ports]]\nhport = "oslo/first"\ndevice = "/dev/ttyS0"\nservice = "console"\n'

    lines = require(load(write(tmp_path, with_bank(ports=single))), "agent").lines

    assert [line.hport for line in lines[:2]] == ["oslo/first", "oslo/0"]


def test_a_range_that_begins_with_0_keeps_its_width() -> None:
    assert expand("/dev/tty{08..10}") == [
        ("08", "/dev/tty08"),
        ("09", "/dev/tty09"),
        ("10", "/dev/tty10"),
    ]
    assert expand("/dev/ttyD{9..10}") == [("9", "/dev/ttyD9"), ("10", "/dev/ttyD10")]


@pytest.mark.parametrize(
    ("devices", "why"),
    [
        ("/dev/ttyD", "has no range of numbers"),
        ("/dev/ttyD{0-63}", "has no range of numbers"),
        ("/dev/ttyD{1..2}{3..4}", "has more than one range"),
        ("/dev/ttyD{5..4}", "counts 0 devices, and an agent has 1 to 512"),
        ("/dev/ttyD{0..512}", "counts 513 devices, and an agent has 1 to 512"),
    ],
)
def test_a_range_that_is_none_is_refused(devices: str, why: str) -> None:
    with pytest.raises(ValueError, match=f"^{why}$"):
        expand(devices)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (
            with_bank(("{0..63}", "63")),
            (
                'agent.banks[0].devices: "/dev/ttyD63" has no range of numbers: '
                'write it as "/dev/ttyD{0..63}"'
            ),
        ),
        (
            with_bank(("oslo/{n}", "oslo")),
            'agent.banks[0].hport: "oslo" is one name for 64 ports: write it as "oslo/{n}"',
        ),
        (
            with_bank(("{0..63}", "{0..511}"), ports=PORTS),
            (
                "agent.banks: has 514 ports, and an agent has 512 at most: "
                "let another agent have some of them"
            ),
        ),
        (
            altered((PORTS, "")),
            "agent.ports: is missing: add a [[agent.ports]] table",
        ),
        (
            with_bank(ports=PORTS),
            (
                'agent.banks[0].hport: "oslo/1" is the name of agent.ports[0] too: '
                "give each port a name of its own"
            ),
        ),
        (
            with_bank(("rings = 2", 'model = "courier"')),
            (
                'agent.banks[0].model: "courier" is no model that is known here: '
                f"add [models.courier]; there are: {', '.join(sorted(MODELS))}"
            ),
        ),
        (
            with_bank(("rings = 2", 'model = "no-caller-id"\ncaller_id = true')),
            (
                'agent.banks[0].caller_id: is true, but the model "no-caller-id" has no command '
                "for it: remove it, or give [models] a caller_id"
            ),
        ),
    ],
)
def test_what_is_wrong_with_a_bank_is_said_once(tmp_path: Path, text: str, fault: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load(write(tmp_path, text))

    (found,) = raised.value.faults
    assert str(found).partition(": ")[2] == fault


def test_512_ports_of_banks_are_allowed(tmp_path: Path) -> None:
    text = with_bank(("{0..63}", "{0..511}"))

    assert len(require(load(write(tmp_path, text)), "agent").lines) == 512


def test_a_model_of_the_operators_own_comes_before_a_known_one(tmp_path: Path) -> None:
    text = with_bank(("rings = 2", 'model = "zyxel"')) + '[models.zyxel]\ninit = ["AT&F5"]\n'
    settings = load(write(tmp_path, text))
    (line, *_) = require(settings, "agent").lines

    assert model_of(line, settings.models) == ModelSettings(init=("AT&F5",))
    assert model_of(line, {}) == MODELS["zyxel"]
