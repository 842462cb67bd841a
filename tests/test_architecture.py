"""Rules about the files of the project that no linter knows.

Imports between packages are the business of import-linter: `[tool.importlinter]` in
pyproject.toml.  Each test here lists all that break its rule, so a failure tells what to mend.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement

ROOT: Final = Path(__file__).parent.parent
PACKAGES: Final = ("auth_workers", "broker", "dialgate", "port_agents", "simulator")

MODULE_LINES_MAX: Final = 399
"""A module is read in one sitting."""
FUNCTION_LINES_MAX: Final = 69
"""A function is seen on one screen; its docstring is not counted."""

UNTRACKED: Final = {"__pycache__", "build", "dist", "htmlcov"}
"""What tools leave beside the files of the project, apart from hidden directories."""

REGISTRY: Final = re.compile(
    r"pypi\.(org|python\.org)|pythonhosted\.org|npmjs\.(com|org)|crates\.io"
    r"|(docker|quay|ghcr)\.io|registry\.k8s\.io|(deb|security)\.debian\.org"
    r"|(archive|ports)\.ubuntu\.com"
)
"""Hosts of package registries: whoever installs may have a mirror, and sets it elsewhere."""

PRIVATE_PATH: Final = re.compile(r"(?<![\w.\-])/(work|root|farm)/")
"""Directories of the machine that a file was written on."""


def test_modules_are_short() -> None:
    too_long = {
        name: lines
        for name, text in sources(*PACKAGES, "benchmarks")
        if (lines := text.count("\n")) > MODULE_LINES_MAX
    }

    assert too_long == {}


def test_functions_are_short() -> None:
    too_long = {
        f"{name}:{function.lineno} {function.name}": lines
        for name, text in sources(*PACKAGES, "benchmarks")
        for function in functions(ast.parse(text))
        if (lines := lines_without_docstring(function)) > FUNCTION_LINES_MAX
    }

    assert too_long == {}


def test_every_module_has_a_docstring() -> None:
    without = [
        name
        for name, text in sources(*PACKAGES, "benchmarks", "tests")
        if ast.get_docstring(ast.parse(text)) is None
    ]

    assert without == []


def test_no_file_names_a_package_registry() -> None:
    assert lines_with(REGISTRY) == []


def test_no_file_names_a_path_of_a_developers_machine() -> None:
    assert lines_with(PRIVATE_PATH) == []


def test_every_dependency_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    groups = project["dependency-groups"]

    assert unpinned("runtime.txt", project["project"]["dependencies"]) == []
    assert unpinned("build.txt", groups["build"]) == []
    assert unpinned("dev.txt", project["project"]["dependencies"], *groups.values()) == []


def test_the_requirements_agree_with_each_other() -> None:
    assert pins("runtime.txt").items() <= pins("dev.txt").items()
    assert pins("build.txt").items() <= pins("dev.txt").items()


def test_every_pin_has_a_hash() -> None:
    without = [
        f"{path.name}: {block.split()[0]}"
        for path in (ROOT / "requirements").glob("*.txt")
        for block in re.split(r"\n(?=\w)", path.read_text())
        if not block.startswith("#") and "--hash=sha256:" not in block
    ]

    assert without == []


def test_what_inherits_from_a_compiled_class_is_compiled() -> None:
    """A compiled class refuses interpreted heirs, which shows in an installation and not here."""
    paths = compiled_paths()
    compiled = {path.removesuffix(".py").replace("/", ".") for path in paths}

    heirs = [
        f"{name}: {heir}"
        for name, text in sources(*PACKAGES)
        if name not in paths
        for heir in heirs_of(compiled, ast.parse(text))
    ]

    assert heirs == []


def test_no_compiled_class_declares_again_what_its_base_has() -> None:
    """Mypyc tells the collector of such a reference twice, and nothing near it is ever freed."""
    classes = {
        found.name: found
        for path in compiled_paths()
        for found in ast.walk(ast.parse((ROOT / path).read_text()))
        if isinstance(found, ast.ClassDef)
    }

    again = [
        f"{heir.name}.{name}: {base.name} has it"
        for heir in classes.values()
        for base in ancestors_of(heir, classes)
        for name in sorted((declared_in(heir) | assigned_in(heir)) & declared_in(base))
    ]

    assert again == []


def compiled_paths() -> list[str]:
    """Return the modules that a wheel has compiled."""
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
    paths: list[str] = wheel["targets"]["wheel"]["hooks"]["custom"]["modules"]
    return paths


def sources(*directories: str) -> Iterator[tuple[str, str]]:
    """Yield name and text of each Python module in these directories."""
    for directory in directories:
        for path in sorted((ROOT / directory).rglob("*.py")):
            yield str(path.relative_to(ROOT)), path.read_text()


def functions(module: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yield each function and method of a module, nested ones too."""
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def lines_without_docstring(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return how many lines a function has from `def` on."""
    lines = last_line(function) - function.lineno + 1
    if ast.get_docstring(function) is None:
        return lines
    docstring = function.body[0]
    return lines - (last_line(docstring) - docstring.lineno + 1)


def heirs_of(modules: set[str], tree: ast.Module) -> list[str]:
    """Return which classes have a base that is imported from one of `modules`."""
    imported = {
        alias.asname or alias.name
        for statement in ast.walk(tree)
        if isinstance(statement, ast.ImportFrom) and statement.module in modules
        for alias in statement.names
    }
    return [
        found.name
        for found in ast.walk(tree)
        if isinstance(found, ast.ClassDef)
        and any(isinstance(base, ast.Name) and base.id in imported for base in found.bases)
    ]


def ancestors_of(heir: ast.ClassDef, classes: dict[str, ast.ClassDef]) -> Iterator[ast.ClassDef]:
    """Yield those of `classes` that `heir` inherits from."""
    for base in heir.bases:
        if isinstance(base, ast.Name) and base.id in classes:
            yield classes[base.id]
            yield from ancestors_of(classes[base.id], classes)


def declared_in(found: ast.ClassDef) -> set[str]:
    """Return the attributes of instances that a class annotates, in its body or by `self`."""
    body = {
        each.target.id
        for each in found.body
        if isinstance(each, ast.AnnAssign)
        and isinstance(each.target, ast.Name)
        and not ast.unparse(each.annotation).startswith("ClassVar")
    }
    by_self = {
        each.target.attr
        for each in ast.walk(found)
        if isinstance(each, ast.AnnAssign)
        and isinstance(each.target, ast.Attribute)
        and isinstance(each.target.value, ast.Name)
        and each.target.value.id == "self"
    }
    return body | by_self


def assigned_in(found: ast.ClassDef) -> set[str]:
    """Return the names that a class gives values to in its body."""
    targets = [
        each
        for statement in found.body
        if isinstance(statement, ast.Assign)
        for each in statement.targets
    ]
    return {each.id for each in targets if isinstance(each, ast.Name)}


def last_line(statement: ast.stmt) -> int:
    """Return the number of a parsed statement's last line."""
    assert statement.end_lineno is not None, "only nodes made by hand have none"
    return statement.end_lineno


def project_files(directory: Path = ROOT) -> Iterator[Path]:
    """Yield each file of the project, whether git has it already or not."""
    for path in sorted(directory.iterdir()):
        if path.is_symlink() or path.name == ".git":  # A worktree's is a file.
            continue
        if not path.is_dir():
            yield path
        elif path.name not in UNTRACKED and (path.name == ".ci" or path.name[0] != "."):
            yield from project_files(path)


def lines_with(pattern: re.Pattern[str]) -> list[str]:
    """Return `file:line: match` for each line of the project's files that has the pattern."""
    return [
        f"{path.relative_to(ROOT)}:{number}: {found[0]}"
        for path in project_files()
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), start=1)
        if (found := pattern.search(line))
    ]


def pins(name: str) -> dict[str, str]:
    """Return the release that a requirements' file has for each distribution."""
    text = (ROOT / "requirements" / name).read_text()
    return dict(re.findall(r"^([\w.\-]+)==(\S+)", text, flags=re.MULTILINE))


def unpinned(name: str, *dependencies: list[str]) -> list[str]:
    """Return those dependencies that a requirements' file lacks or has in an unwanted release."""
    pinned = pins(name)
    wanted = [Requirement(text) for group in dependencies for text in group]
    return [
        str(each)
        for each in wanted
        if each.name not in pinned or not each.specifier.contains(pinned[each.name])
    ]
