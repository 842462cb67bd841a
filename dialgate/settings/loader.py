"""Read a configuration file: the struct, or every fault at once."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Final

from dialgate.errors import ConfigError, Fault
from dialgate.settings.checks import check_document
from dialgate.settings.conversion import struct_from
from dialgate.settings.document import Program, Settings
from dialgate.settings.findings import Findings
from dialgate.settings.locator import locate
from dialgate.settings.machine import check_machine
from dialgate.settings.presets import with_presets

__all__ = ["FILE_BYTES_MAX", "inspect", "load"]

FILE_BYTES_MAX: Final = 4 * 1024 * 1024

_TOML_PLACE: Final = re.compile(r" \(at line (\d+), column \d+\)| \(at end of document\)")


def load(file: str | Path, *programs: Program) -> Settings:
    """Return the settings in `file`.

    With `programs`, their tables must be there, and what they need of this machine is checked too:
    devices, directories, key files.

    Raises:
        ConfigError: with all faults, in the order of their lines.
    """
    settings, findings = _read(file)
    for program in programs:
        if getattr(settings, program) is None:
            mend = f"add a [{program}] table, or start `dialgate {program}` with another file"
            findings.fault((program,), "is missing", mend)
    check_machine(settings, programs, findings)
    findings.conclude()
    return settings


def inspect(file: str | Path) -> tuple[list[Fault], list[Fault]]:
    """Return faults and warnings of `file` and, for the programs it names, of this machine."""
    try:
        settings, findings = _read(file)
    except ConfigError as error:
        return list(error.faults), []
    if not settings.programs:
        findings.fault((), "names no program", "add a [broker], [worker] or [agent] table")
    check_machine(settings, settings.programs, findings)
    return findings.faults, findings.warnings


def _read(file: str | Path) -> tuple[Settings, Findings]:
    text = _text(Path(file))
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([_syntax_fault(str(file), text, str(error))]) from None
    findings = Findings(str(file), locate(text))
    settings: Settings = struct_from(Settings, with_presets(document), (), findings)
    check_document(settings, findings)
    return settings, findings


def _text(file: Path) -> str:
    """Return the file's text, with line ends as TOML counts them.

    Raises:
        ConfigError: it can't be read.
    """
    try:
        with file.open("rb") as stream:
            content = stream.read(FILE_BYTES_MAX + 1)
        if len(content) > FILE_BYTES_MAX:
            fault = Fault(str(file), 0, "", "is over 4 MiB", "name the configuration file")
            raise ConfigError([fault])
        return content.decode().replace("\r\n", "\n")
    except OSError as error:
        what = f"can't be read ({error.strerror})"
        mend = "name the configuration file with --config"
        raise ConfigError([Fault(str(file), 0, "", what, mend)]) from None
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        what = f"has the byte 0x{content[error.start]:02x}, which is not UTF-8"
        raise ConfigError([Fault(str(file), line, "", what, "save the file as UTF-8")]) from None


def _syntax_fault(file: str, text: str, message: str) -> Fault:
    place = _TOML_PLACE.search(message)
    line = int(place[1]) if place is not None and place[1] else text.count("\n") + 1
    what = f"is not TOML ({_TOML_PLACE.sub('', message)})"
    return Fault(file, line, "", what, "mend the line, or the one before it")
