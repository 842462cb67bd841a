"""Compiles the cores that pyproject.toml lists into the wheel, with mypyc, for `./dev wheel`.

The sources are the same and stay in the wheel; an extension module beside a source file is what
Python imports.  Without HATCH_BUILD_HOOK_ENABLE_CUSTOM=true, and in an editable installation, this
does nothing: the wheel is pure Python (docs/adr/0023).
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

__all__ = ["CompiledCores"]

WARNINGS = ["--strict", "--explicit-package-bases", "--local-partial-types"]
"""What mypy is told about the sources: as `./dev check` does."""


class CompiledCores(BuildHookInterface[Any]):
    """The hook that hatchling calls around the making of a wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and put the extension modules beside their sources."""
        if version == "editable":
            return
        root = Path(self.root)
        libraries = root / "build" / "cores"
        with contextlib.chdir(root):
            _compile(self.config["modules"], root / "build", libraries)
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
        for library in sorted(libraries.rglob("*.so")):
            build_data["force_include"][str(library)] = str(library.relative_to(libraries))


def _compile(modules: list[str], scratch: Path, libraries: Path) -> None:
    """Compile `modules`, paths below the current directory, into `libraries`."""
    from mypyc.build import mypycify  # noqa: PLC0415 - pure wheels are built without mypy
    from setuptools import Distribution  # noqa: PLC0415
    from setuptools.command.build_ext import build_ext  # noqa: PLC0415

    extensions = mypycify(
        [*WARNINGS, *modules], opt_level="2", debug_level="0", target_dir=str(scratch / "c")
    )
    command = build_ext(Distribution({"name": "dialgate", "ext_modules": extensions}))
    command.build_lib = str(libraries)
    command.build_temp = str(scratch / "objects")
    command.parallel = os.cpu_count()
    command.ensure_finalized()
    command.run()
