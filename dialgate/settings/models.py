"""`[models.NAME]`: what the kinds of modems differ in, those that are known and the operator's own.

Each known model is one line of `MODELS`.  Only what differs in practice is here: everything after
CONNECT is the same for all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from dialgate.settings.lines import LineOptions, ModemCommand

__all__ = ["MODELS", "ModelSettings", "model_of"]

_READY: Final = "ATE0Q0V1X4&C1&D2S0=0"
"""No echo, results in words, DCD follows the carrier, DTR hangs up, no answer by itself."""


class ModelSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A kind of modem. One of a known name takes its place."""

    init: Annotated[tuple[ModemCommand, ...], Meta(min_length=1, max_length=32)] = ("ATZ", _READY)
    """Commands that make the modem ready: no echo, results in words, `&C1`, `&D2`, `S0=0`."""
    caller_id: Annotated[
        str, Meta(pattern=r"\A[ -~]{0,80}\Z", description="a modem command, or empty")
    ] = "AT+VCID=1"
    """The command that has caller id given. Empty: it has none."""
    hangup: Literal["auto", "dtr", "escape"] = "auto"
    """How it hangs up: drop DTR, or `+++` and ATH. `auto`: DTR where there are modem lines."""


MODELS: Final[Mapping[str, ModelSettings]] = {
    "hayes": ModelSettings(),
    "conexant": ModelSettings(init=("AT&F", _READY)),
    "rockwell": ModelSettings(init=("AT&F", _READY), caller_id="AT#CID=1"),
    "lucent": ModelSettings(init=("AT&F", _READY), caller_id="AT+VCID=1"),
    "multitech": ModelSettings(init=("AT&F", _READY), caller_id="AT+VCID=1"),
    "usr-courier": ModelSettings(init=("AT&F1", _READY), caller_id="AT#CID=1"),
    "usr-sportster": ModelSettings(init=("AT&F1", _READY), caller_id="AT#CID=1"),
    "zyxel": ModelSettings(caller_id="ATS40.2=1"),
    "no-caller-id": ModelSettings(caller_id=""),
}
"""The models that come with dialgate; `hayes` is what a port has that names none."""


def model_of(line: LineOptions, own: Mapping[str, ModelSettings]) -> ModelSettings | None:
    """Return the model of `line`, the operator's own before the known; None: there is none."""
    name = line.model or "hayes"
    return own.get(name) or MODELS.get(name)
