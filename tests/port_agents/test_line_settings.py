"""From the file's words to the core's."""

from __future__ import annotations

from pathlib import Path

from dialgate.settings import load, require
from port_agents.line_settings import line_settings
from port_agents.modem_actions import ModemSettings
from tests.dialgate.sample import altered, write


def modem_with(tmp_path: Path, *options: str) -> ModemSettings:
    text = altered(("baud = 38400", "\n".join(options)))
    settings = load(write(tmp_path, text))
    return line_settings(settings, require(settings, "agent").lines[0]).modem


def test_how_long_a_last_word_may_take_is_the_agents(tmp_path: Path) -> None:
    agent = 'spool = "/var/lib/dialgate/spool.db"\n'
    text = altered((agent, agent + "last_word_timeout_s = 17\n"))
    settings = load(write(tmp_path, text))

    for port in require(settings, "agent").lines:
        assert line_settings(settings, port).last_word_timeout_s == 17


def test_a_port_that_says_nothing_is_a_hayes_modem(tmp_path: Path) -> None:
    assert modem_with(tmp_path).init == ("ATZ", "ATE0Q0V1X4&C1&D2S0=0")


def test_the_models_command_for_caller_id_comes_last(tmp_path: Path) -> None:
    modem = modem_with(tmp_path, 'model = "usr-courier"', "caller_id = true")

    assert modem.init == ("AT&F1", "ATE0Q0V1X4&C1&D2S0=0", "AT#CID=1")


def test_what_the_port_says_comes_before_its_model(tmp_path: Path) -> None:
    modem = modem_with(tmp_path, 'init = ["ATZ3"]', 'hangup = "escape"', 'model = "zyxel"')

    assert (modem.init, modem.hangup) == (("ATZ3",), "escape")
