"""A mutant of every rejecting branch of the cores, and what kills it.

Each is planted in a process of its own.  The tests of the core are set upon it until one fails,
then the scenarios, seeds of the simulator and the breadth-first search.  Generated examples are the
same at every run and fewer than in `./dev test`, and none is made smaller; what passes so without a
mutant (`unharmed`) kills when it fails.  A mutant whose tests can't even be collected, and one that
hangs, are told apart from those that are killed.  `EXPLAINED` says why some may live.

The guards that the traces are about (`tests.scenarios.test_guards`) are mutants, too: each is to be
shown by the scenario of its trace.

`python -m tests.simulator.mutants NAME...` plants those whose names begin so.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import copy
import importlib
import io
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from types import CodeType, ModuleType
from typing import Any, Final, cast

import msgspec
import pytest
from msgspec import Struct

from tests.simulator.branches import (
    ROOT,
    Branch,
    asked_first,
    branches,
    cores,
    file_of,
    functions,
    rejects,
)

__all__ = ["CRASHES", "HANGS", "TRACES", "UNHARMED", "Fate", "run", "traces", "unharmed"]

LAST: Final = (
    ("scenarios", ["tests/scenarios/test_scenarios.py"]),
    ("simulator", ["tests/simulator/test_run.py", "-k", "rule and (safety-0 or liveness-0)"]),
    ("search", ["tests/simulator/test_search.py", "-k", "test_no_state"]),
)
"""Who is asked when the tests of the core let a mutant live."""
TRACES: Final = "trace"
"""How the names of their guards begin."""
UNHARMED: Final = "no mutant"
HANGS: Final = "no test: it hangs"
CRASHES: Final = "no test: it crashes"
_AT_THE_MAKING: Final = "__post_init__"
"""A msgspec struct keeps this when its class is made."""


class Fate(Struct, frozen=True):
    """What became of one mutant."""

    name: str
    killer: str
    """Empty: it lives."""
    test: str = ""
    """The one that failed first."""
    commit: str = ""
    """An earlier one at which it was killed, if it was not planted again since."""


# Planting.


class _Change(ast.NodeTransformer):
    """Puts a constant in the place of one condition."""

    def __init__(self, branch: Branch) -> None:
        self.branch = branch
        self.done = 0

    def visit(self, node: ast.AST) -> Any:
        branch = self.branch
        at = (getattr(node, "lineno", 0), getattr(node, "col_offset", -1))
        if at == (branch.line, branch.column) and isinstance(node, ast.Match):
            self.done += 1
            other = next(case for case in node.cases if not rejects(case.body))
            node.cases[branch.operand].body = copy.deepcopy(other.body)
            return node
        if isinstance(node, ast.expr) and at == (branch.line, branch.column):
            text = " ".join(ast.unparse(node).split())
            constant = ast.copy_location(ast.Constant(branch.value), node)
            if branch.operand < 0 and text == branch.text:
                self.done += 1
                if branch.function or not isinstance(node, ast.Call):
                    return constant
                return cast("ast.Attribute", node.func).value
            if branch.operand >= 0 and isinstance(node, ast.BoolOp):
                words = " ".join(ast.unparse(node.values[branch.operand]).split())
                if words == branch.text and not self.done:
                    self.done += 1
                    node.values[branch.operand] = constant
                    return node
        return self.generic_visit(node)


def plant(branch: Branch) -> None:
    """Put the mutant into this process, for good."""
    module = importlib.import_module(branch.module)
    tree = ast.parse(file_of(branch.module).read_text())
    function = copy.deepcopy(dict(functions(tree))[branch.function])
    change = _Change(branch)
    change.visit(function)
    assert change.done == 1, branch
    future = ast.ImportFrom("__future__", [ast.alias("annotations")], 0)
    body = ast.fix_missing_locations(ast.Module([future, function], []))
    names: dict[str, Any] = {}
    exec(compile(body, branch.name, "exec"), vars(module), names)  # noqa: S102
    [new] = [each for name, each in names.items() if name == function.name]
    _put(module, branch.function, new)


def _put(module: ModuleType, name: str, new: Any) -> None:
    owner, _, method = name.rpartition(".")
    if not owner:
        old = getattr(module, name)
        for each in list(sys.modules.values()):
            if getattr(each, name, None) is old:
                setattr(each, name, new)
        return
    kind = getattr(module, owner)
    old = vars(kind)[method]
    setattr(kind, method, new)
    for table in (x for x in vars(kind).values() if isinstance(x, dict)):
        for verb, handler in table.items():
            if handler is old:
                table[verb] = new


class _Planted(SourceFileLoader):
    """Loads a module with the mutant in it: what a class takes at its making can't be put later."""

    def __init__(self, branch: Branch) -> None:
        super().__init__(branch.module, str(file_of(branch.module)))
        self._branch = branch

    def get_code(self, fullname: str) -> CodeType:
        tree = ast.parse(file_of(self._branch.module).read_text())
        change = _Change(self._branch)
        change.visit(tree)
        assert change.done == 1, self._branch
        return compile(tree, self.path, "exec")


class _Planter(MetaPathFinder):
    """Finds that module before anybody else does."""

    def __init__(self, branch: Branch) -> None:
        assert branch.module not in sys.modules, "nobody has imported it yet"
        self._branch = branch

    def find_spec(
        self, fullname: str, path: object, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        del path, target
        if fullname != self._branch.module:
            return None
        return spec_from_file_location(fullname, file_of(fullname), loader=_Planted(self._branch))


# Killing.


class _Watch:
    """Has what is slow run last, and keeps which test failed, and whether it hung."""

    def __init__(self) -> None:
        self.failed = ""
        self.hung = False

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Put what generates examples, or needs a server, behind the rest."""
        items.sort(key=lambda item: ("postgresql" in item.name, _generates(item)))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take down the first that failed."""
        if report.failed and not self.failed:
            self.failed = report.nodeid
            self.hung = "from pytest-timeout" in report.longreprtext


def _generates(item: pytest.Item) -> bool:
    return bool(getattr(getattr(item, "obj", None), "is_hypothesis_test", False))


def _kill(branch: Branch) -> Fate:
    """Return who kills a mutant that is planted in this process, if anybody does."""
    sys.setrecursionlimit(2000)
    for who, tests in (("tests of the core", asked_first(branch.module)), *LAST):
        status, watch = _ask(*tests)
        if status == pytest.ExitCode.TESTS_FAILED:
            return Fate(branch.name, HANGS if watch.hung else who, watch.failed)
        if status != pytest.ExitCode.OK:
            return Fate(branch.name, CRASHES, f"{who}: {pytest.ExitCode(status).name.lower()}")
    return Fate(branch.name, "")


def _ask(*tests: str) -> tuple[int, _Watch]:
    """Run tests until one fails."""
    watch = _Watch()
    words = ["-x", "-q", "--no-header", "--timeout=60", "-o", "faulthandler_timeout=0", *tests]
    words += ["-p", "no:cacheprovider"]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        status = pytest.main(words, plugins=[watch])
    return status, watch


def _fate_of(branch: Branch) -> Fate:
    """Return what becomes of a mutant, planted in a child of this process."""
    if branch.function.endswith(_AT_THE_MAKING) or not branch.function:
        words = [sys.executable, "-m", "tests.simulator.mutants", "--from-the-start", branch.name]
        told = subprocess.run(words, cwd=ROOT, stdout=subprocess.PIPE, check=False).stdout
        line = told.rpartition(b"\n")[2]
        return msgspec.json.decode(line, type=Fate) if line else Fate(branch.name, CRASHES)

    def work() -> Fate:
        plant(branch)
        return _kill(branch)

    return _in_a_child(branch.name, work)


def _in_a_child(name: str, work: Callable[[], Fate]) -> Fate:
    """Return what `work` returns in a process that takes the mutant with it."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        try:
            fate = work()
        except BaseException as error:  # noqa: BLE001 - whatever it is, the parent is told
            fate = Fate(name, CRASHES, f"{type(error).__name__}: {error}"[:400])
        os.write(write, msgspec.json.encode(fate))
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        told = pipe.read()
    os.waitpid(child, 0)
    return msgspec.json.decode(told, type=Fate) if told else Fate(name, CRASHES)


def run(chosen: Iterable[Branch], *, until: float = float("inf")) -> list[Fate]:
    """Return what became of mutants; those not come to by `until` are not in it."""
    _prepare()
    fates: list[Fate] = []
    for branch in chosen:
        if time.monotonic() > until:
            break
        fates.append(_told(_fate_of(branch)))
    return fates


def traces() -> list[Fate]:
    """Return, of each trace's guard, whether the scenario shows that it is missing."""
    _prepare()
    guards = importlib.import_module("tests.scenarios.test_guards")
    fates: list[Fate] = []
    for trace, bugs in guards.GUARDS.items():
        places = ", ".join(f"{bug.of.__name__}.{bug.method}: {bug.right}" for bug in bugs)

        name = f"trace {trace}: {places}"

        def work(trace: str = trace, name: str = name) -> Fate:
            broken = guards.broken_without(trace, pytest.MonkeyPatch())
            return Fate(name, "its scenario" if broken else "", broken[0] if broken else "")

        fates.append(_told(_in_a_child(name, work)))
    return fates


def unharmed() -> list[Fate]:
    """Return whether all those tests pass without a mutant; it is "killed" if one fails."""
    _prepare()
    asked = dict.fromkeys(file for branch in branches() for file in asked_first(branch.module))

    def work() -> Fate:
        for _, tests in (("", asked), *LAST):
            status, watch = _ask(*tests)
            if status != pytest.ExitCode.OK:
                return Fate(UNHARMED, pytest.ExitCode(status).name.lower(), watch.failed)
        return Fate(UNHARMED, "")

    return [_told(_in_a_child(UNHARMED, work))]


def _prepare() -> None:
    """Import once what each child needs."""
    os.environ["HYPOTHESIS_PROFILE"] = "mutants"
    for module in cores():
        importlib.import_module(module)
    # Collects no test, but loads pytest's plugins and conftest.py.
    _ask("--collect-only", "tests/simulator/branches.py")


def _told(fate: Fate) -> Fate:
    print(f"{fate.killer or 'LIVES':<20} {fate.name}  {fate.test}", flush=True)  # noqa: T201
    return fate


def main() -> None:
    """Plant some, and say what became of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", nargs="*", help="how the names of those begin that are planted")
    parser.add_argument("--from-the-start", metavar="NAME", help="in this process, before all else")
    arguments = parser.parse_args()
    if arguments.from_the_start:
        os.environ["HYPOTHESIS_PROFILE"] = "mutants"
        [branch] = [each for each in branches() if each.name == arguments.from_the_start]
        sys.meta_path.insert(0, _Planter(branch))
        sys.stdout.write("\n" + msgspec.json.encode(_kill(branch)).decode())
        return
    beginnings = tuple(arguments.name) or ""
    run(each for each in branches() if each.name.startswith(beginnings))


if __name__ == "__main__":
    main()
