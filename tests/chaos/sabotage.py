"""Programs with bugs on purpose, which a run of chaos must find.

A patch names the text that it takes the place of: `tests/test_sabotage.py` tells at once when that
text has changed.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from tests.integration.processes import PROJECT

__all__ = ["SABOTAGE", "copy_of_the_programs", "patched"]

PACKAGES: Final = ("auth_workers", "broker", "dialgate", "port_agents")

Patch = tuple[str, str, str]
"""A file, what stands there, and what stands there in the sabotaged copy."""

SABOTAGE: Final[dict[str, list[Patch]]] = {
    # Hands callers over whatever the verdict is.
    "agent-1": [
        ("port_agents/line_call.py", "if verdict.msg_id == SUCCESS:", "if True:"),
        ("port_agents/dialog.py", "verdict is not None and verdict.msg_id == SUCCESS", "True"),
        ("port_agents/line_call.py", "not handed_over or dialog.verdict", "dialog.verdict"),
    ],
    # Forgets the calls that are over.
    "agent-2": [("port_agents/line.py", 'actions.append(Record("stop", replace(call)))', "pass")],
    # Answers one call a port, and says that it is idle.
    "agent-3": [
        (
            "port_agents/line.py",
            "self.modem.may_answer = is_free and",
            "self.modem.may_answer = is_free and not self._last_disconnect and",
        )
    ],
    # Takes every password for right.
    "worker-2": [
        ("auth_workers/authenticators/local.py", "return user if matches else None", "return user")
    ],
}


def copy_of_the_programs(directory: Path, patches: list[Patch]) -> Path:
    """Copy the programs into `directory` with `patches`, and return it."""
    for package in PACKAGES:
        shutil.copytree(PROJECT / package, directory / package)
    for name, text in patched(patches).items():
        (directory / name).write_text(text)
    return directory


def patched(patches: list[Patch]) -> dict[str, str]:
    """Return the whole new text of each file that `patches` changes."""
    texts: dict[str, str] = {}
    for name, right, wrong in patches:
        text = texts.get(name) or (PROJECT / name).read_text()
        assert text.count(right) == 1, f"{name} has no single {right!r}"
        texts[name] = text.replace(right, wrong)
    return texts
