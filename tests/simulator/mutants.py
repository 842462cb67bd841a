"""One mutant for every rejecting branch of the cores, and what kills it.

A branch rejects when all it does is to drop, count, refuse, raise, or return without effect.  The
list of them is read from the cores' source (`branches`); nobody picks.  Of each a mutant is made
that never rejects there: an `if` that is never true, a condition's operand that doesn't count, an
`else` that is never reached, a return of several conditions without one of them.

`python -m tests.simulator.mutants` plants each in a process of its own and sets the tests of the
core upon it, then the scenarios, seeds of the simulator and the breadth-first search; it prints who
killed it, or that it lives.  `EXPLAINED` says why some may.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import copy
import importlib
import io
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, Final, NamedTuple

import pytest

ROOT: Final = Path(__file__).parent.parent.parent
ROOTS: Final = (
    "broker.core",
    "port_agents.agent",
    "auth_workers.session",
    "auth_workers.policy",
    "auth_workers.charging",
    "auth_workers.authenticators.local",
    "auth_workers.authenticators.one_time_code",
)
"""What decides in each program: its core, and who judges a caller.  All that they import is looked
through, so a module that is new is on the list by itself."""
NO_CORES: Final = (
    "dialgate.codes",
    "dialgate.database",
    "dialgate.errors",
    "dialgate.keys",
    "dialgate.passwords",
    "dialgate.settings",
    "dialgate.state",
    "dialgate.text",
    "dialgate.user_sessions",
    "dialgate.users",
    "auth_workers.hashing",
    "auth_workers.kinds",
    "port_agents.direct_line",
)
"""What they import besides: the configuration, where things are stored, what is written.  A direct
line has no modem, so no caller whom anything here could reject."""
MORE_TESTS: Final = {
    "auth_workers.authenticators": [
        "tests/auth_workers/test_login.py",
        "tests/auth_workers/test_charging.py",
    ],
    "auth_workers.judging": ["tests/auth_workers/test_policy.py"],
    "auth_workers.session_dialog": [
        "tests/auth_workers/test_session_table.py",
        "tests/auth_workers/test_session.py",
    ],
    "broker.board": ["tests/broker/test_core.py", "tests/broker/test_http.py"],
    "broker.commands": ["tests/broker/test_core.py"],
    "broker.conduct": ["tests/broker/test_core.py"],
    "broker.core": ["tests/broker/test_registry.py", "tests/broker/test_dispatch.py"],
    "broker.dispatch": ["tests/broker/test_switchboard.py"],
    "broker.registry": ["tests/broker/test_core.py"],
    "broker.switchboard": ["tests/broker/test_core.py", "tests/broker/test_dispatch.py"],
    "dialgate.policy.keys": ["tests/dialgate/policy/test_rules.py"],
    "dialgate.wire.fields": ["tests/dialgate/wire/test_bodies.py"],
    "dialgate.wire.body_codec": ["tests/dialgate/wire/test_bodies.py"],
    "port_agents.admission": ["tests/port_agents/test_line.py"],
    "port_agents.agent": ["tests/port_agents/test_line.py"],
    "port_agents.brokers": ["tests/port_agents/test_agent.py"],
    "port_agents.call": ["tests/port_agents/test_line.py"],
    "port_agents.exchange": [
        "tests/port_agents/test_dialog.py",
        "tests/port_agents/test_dialog_table.py",
    ],
    "port_agents.line_call": [
        "tests/port_agents/test_line.py",
        "tests/port_agents/test_line_callers.py",
        "tests/port_agents/test_ppp.py",
    ],
    "port_agents.modem_arming": ["tests/port_agents/test_modem.py"],
    "port_agents.modem_ladder": ["tests/port_agents/test_modem.py"],
    "port_agents.orders": ["tests/port_agents/test_agent.py"],
    "port_agents.retries": ["tests/port_agents/test_dialog.py"],
}
"""Tests that are asked behind those of the module's own name."""
LAST: Final = (
    ("scenarios", ["tests/scenarios/test_scenarios.py"]),
    ("simulator", ["tests/simulator/test_run.py", "-k", "rule and (safety-0 or liveness-0)"]),
    ("search", ["tests/simulator/test_search.py", "-k", "test_no_state"]),
)
"""Who is asked when they let a mutant live."""
_EFFECTLESS: Final = frozenset({"drop", "drops", "refuse", "lost_to_sender", "misses", "error"})
_AT_THE_MAKING: Final = "__post_init__"
"""A msgspec struct keeps this when its class is made."""
_REFUSALS: Final = frozenset({"Rejected", "Refused", "Unavailable", "Undecided", "Barred", "None"})
"""Values that are a refusal."""


class Branch(NamedTuple):
    """One rejecting branch, and how its mutant differs."""

    module: str
    function: str
    """Qualified: `Class.method`."""
    line: int
    column: int
    operand: int
    """Of the condition; -1: all of it."""
    value: bool
    """What the condition, or the operand, is instead."""
    text: str
    """The condition as it is written, or the operand."""
    nth: int = 1
    """Of those that are written alike in one function."""

    @property
    def name(self) -> str:
        """A name that outlives changes elsewhere in the file."""
        which = "" if self.nth == 1 else f" ({self.nth})"
        return f"{self.module}:{self.function}: {self.text} -> {self.value}{which}"


@cache
def branches() -> tuple[Branch, ...]:
    """Return every rejecting branch of the cores."""
    found: list[Branch] = []
    for module in cores():
        tree = ast.parse(_file(module).read_text())
        for name, function in _functions(tree):
            if "super()" not in ast.unparse(function):
                found += _of(module, name, function)
    alike: Counter[str] = Counter()
    for index, branch in enumerate(found):
        alike[branch.name] += 1
        found[index] = branch._replace(nth=alike[branch.name])
    return tuple(found)


@cache
def cores() -> tuple[str, ...]:
    """Return `ROOTS` and all that they import, but `NO_CORES`, by name."""
    found: set[str] = set()
    todo = list(ROOTS)
    while todo:
        module = todo.pop()
        if module in found or not _file(module).exists() or module.startswith(NO_CORES):
            continue
        found.add(module)
        for node in ast.parse(_file(module).read_text()).body:
            if isinstance(node, ast.ImportFrom) and node.module:
                todo += [node.module, *(f"{node.module}.{each.name}" for each in node.names)]
    return tuple(sorted(found))


def _file(module: str) -> Path:
    path = ROOT / module.replace(".", "/")
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def asked_first(module: str) -> list[str]:
    """Return the files that are asked first: those named like the module, then `MORE_TESTS`."""
    package, _, name = module.rpartition(".")
    folder = ROOT / "tests" / package.replace(".", "/")
    named = [
        path
        for path in sorted(folder.glob(f"test_{name}*.py"))
        if path.stem in {f"test_{name}", f"test_{name}_table"}
    ]
    files = [str(path.relative_to(ROOT)) for path in named] + MORE_TESTS.get(module, [])
    return list(dict.fromkeys(files))


def _functions(tree: ast.Module) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, node
        elif isinstance(node, ast.ClassDef):
            for each in node.body:
                if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef):
                    yield f"{node.name}.{each.name}", each


def _of(module: str, name: str, function: ast.AST) -> Iterator[Branch]:
    for node in ast.walk(function):
        if isinstance(node, ast.If):
            if _rejects(node.body):
                yield from _conditions(module, name, node.test, value=False)
            elif node.orelse and not isinstance(node.orelse[0], ast.If) and _rejects(node.orelse):
                yield from _conditions(module, name, node.test, value=True)
        elif isinstance(node, ast.match_case) and node.guard is not None and _rejects(node.body):
            yield from _conditions(module, name, node.guard, value=False)
        elif isinstance(node, ast.Match):
            yield from _cases(module, name, node)
        elif isinstance(node, ast.While) and not isinstance(node.test, ast.Constant):
            # Who asks again and again has a bound; a loop that waits for nobody ends by itself.
            if any(isinstance(each, ast.Await) for each in ast.walk(node)):
                yield from _conditions(module, name, node.test, value=True)
        elif isinstance(node, ast.Return | ast.Assign | ast.keyword):
            given = node.value
            if isinstance(given, ast.IfExp):
                yield from _choice(module, name, given)
            if isinstance(given, ast.BoolOp) and isinstance(given.op, ast.And):
                yield from _operands(module, name, given, value=True)


def _cases(module: str, name: str, match: ast.Match) -> Iterator[Branch]:
    """Yield the rows of a table that reject where another of the same event does not."""
    if all(_rejects(case.body) for case in match.cases):
        return
    for index, case in enumerate(match.cases):
        if _rejects(case.body) and not isinstance(case.body[0], ast.Raise | ast.Return):
            text = f"case {ast.unparse(case.pattern)}"
            yield Branch(module, name, match.lineno, match.col_offset, index, True, text)


def _choice(module: str, name: str, given: ast.IfExp) -> Iterator[Branch]:
    """Yield a choice between something and a refusal."""
    if _refuses(given.body) != _refuses(given.orelse):
        yield from _conditions(module, name, given.test, value=_refuses(given.orelse))


def _conditions(module: str, name: str, test: ast.expr, *, value: bool) -> Iterator[Branch]:
    yield Branch(
        module, name, test.lineno, test.col_offset, -1, value, " ".join(ast.unparse(test).split())
    )
    # Of several conditions each rejects for itself.
    joined = ast.And if value else ast.Or
    if isinstance(test, ast.BoolOp) and isinstance(test.op, joined):
        yield from _operands(module, name, test, value=value)


def _operands(module: str, name: str, test: ast.BoolOp, *, value: bool) -> Iterator[Branch]:
    for index, operand in enumerate(test.values):
        text = " ".join(ast.unparse(operand).split())
        yield Branch(module, name, test.lineno, test.col_offset, index, value, text)


def _rejects(body: list[ast.stmt]) -> bool:
    """Return whether statements reject: they count a drop, or raise, or do nothing else."""
    last = body[-1]
    if isinstance(last, ast.Raise) or any(_counts(each) for each in body):
        return True
    if isinstance(last, ast.Return) and last.value is not None and _refuses(last.value):
        return True
    return all(_is_effectless(each) for each in body) and any(
        isinstance(each, ast.Raise | ast.Return | ast.Continue | ast.Break) or _counts(each)
        for each in body
    )


def _is_effectless(statement: ast.stmt) -> bool:
    match statement:
        case ast.Raise() | ast.Continue() | ast.Break() | ast.Pass():
            return True
        case ast.Return(value=value):
            return value is None or _is_nothing(value)
        case _:
            return _counts(statement)


def _is_nothing(value: ast.expr) -> bool:
    match value:
        case ast.Constant(value=constant):
            return not constant
        case ast.List(elts=[]) | ast.Tuple(elts=[]):
            return True
        case ast.Call():
            return _says(value)
        case ast.BinOp(right=right):
            return _is_nothing(right)
        case ast.Attribute() | ast.Name():
            last = ast.unparse(value).rpartition(".")[2].strip("_")
            return last.isupper() or last == "code"
        case _:
            return False


def _refuses(value: ast.expr) -> bool:
    """Return whether a value is a refusal: the class says so, or a constant of one."""
    name = ast.unparse(value.func if isinstance(value, ast.Call) else value).rpartition(".")[2]
    return name in _REFUSALS


def _counts(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.AugAssign):
        return "drops" in ast.unparse(statement.target)
    return isinstance(statement, ast.Expr) and _says(statement.value)


def _says(value: ast.expr) -> bool:
    """Return whether a call drops or refuses."""
    if not isinstance(value, ast.Call):
        return False
    called = ast.unparse(value.func).rpartition(".")[2].strip("_")
    return any(word in called.split("_") or called == word for word in _EFFECTLESS)


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
            other = next(case for case in node.cases if not _rejects(case.body))
            node.cases[branch.operand].body = copy.deepcopy(other.body)
            return node
        if isinstance(node, ast.expr) and at == (branch.line, branch.column):
            text = " ".join(ast.unparse(node).split())
            constant = ast.copy_location(ast.Constant(branch.value), node)
            if branch.operand < 0 and text == branch.text:
                self.done += 1
                return constant
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
    tree = ast.parse(_file(branch.module).read_text())
    function = copy.deepcopy(dict(_functions(tree))[branch.function])
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
        super().__init__(branch.module, str(_file(branch.module)))
        self._branch = branch

    def get_code(self, fullname: str) -> CodeType:
        tree = ast.parse(_file(self._branch.module).read_text())
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
        return spec_from_file_location(fullname, _file(fullname), loader=_Planted(self._branch))


# Killing.


def kill(branch: Branch) -> str:
    """Return who kills a mutant that is planted here, or "" if it lives."""
    sys.setrecursionlimit(2000)
    own = [("tests of the core", [each]) for each in asked_first(branch.module)]
    for who, tests in (*own, *LAST):
        quiet = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", "--no-header"]
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            status = pytest.main([*quiet, "--timeout=60", *tests])
        if status == pytest.ExitCode.TESTS_FAILED:
            return who
        if status != pytest.ExitCode.OK:
            return f"{who} ({pytest.ExitCode(status).name.lower()})"
    return ""


def killed_by(branch: Branch) -> str:
    """Return who kills a mutant, planted in a child of this process."""
    if branch.function.endswith(_AT_THE_MAKING):
        words = [sys.executable, "-m", "tests.simulator.mutants", "--only", branch.name]
        told = subprocess.run(words, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
        _, was_told, who = told.stdout.rpartition("fate: ")
        return who.strip() if was_told else "planting"
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        try:
            plant(branch)
            who = kill(branch)
        except BaseException as error:  # noqa: BLE001 - whatever it is, the parent is told
            who = f"planting ({type(error).__name__}: {error})"
        os.write(write, who.encode()[:4000])
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        who = pipe.read().decode()
    _, status = os.waitpid(child, 0)
    return who or ("a test that hangs" if status else "")


def run(chosen: Iterable[Branch], *, until: float = float("inf")) -> dict[str, str]:
    """Return who killed which mutant, by name; those not come to by `until` are not in it."""
    for module in cores():
        importlib.import_module(module)
    fates: dict[str, str] = {}
    for branch in chosen:
        if time.monotonic() > until:
            break
        fates[branch.name] = killed_by(branch)
        print(f"{fates[branch.name] or 'LIVES':<40} {branch.name}", flush=True)  # noqa: T201
    return fates


def main() -> None:
    """Plant them all, or a part, and say what became of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", default="1/1", help="as 1/2: the first of two parts")
    parser.add_argument("--minutes", type=float, default=600.0, help="begin none after that")
    parser.add_argument("--report", type=Path)
    parser.add_argument("--only", metavar="NAME", help="plant one from the start, and say its fate")
    arguments = parser.parse_args()
    if arguments.only:
        [branch] = [each for each in branches() if each.name == arguments.only]
        sys.meta_path.insert(0, _Planter(branch))
        print(f"fate: {kill(branch)}")  # noqa: T201
        return
    part, _, parts = arguments.part.partition("/")
    every = branches()
    chosen = every[int(part) - 1 :: int(parts)]
    fates = run(chosen, until=time.monotonic() + 60 * arguments.minutes)
    sums = Counter(who or "LIVES" for who in fates.values())
    print(f"{len(every)} mutants, {len(fates)} planted: {dict(sums)}")  # noqa: T201
    if arguments.report:
        arguments.report.write_text(json.dumps(fates, indent=1) + "\n")


if __name__ == "__main__":
    main()
