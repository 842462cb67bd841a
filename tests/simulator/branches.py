"""Every rejecting branch of the cores, read from their source: nobody picks.

A branch rejects when all it does is to drop, count, refuse, raise, or return without effect.  Of
each, `tests.simulator.mutants` makes a mutant that never rejects there: an `if` that is never true,
a condition's operand that doesn't count, an `else` that is never reached, a return of several
conditions without one of them.  A statement of SQL rejects by what follows `where`, each for
itself, and where it does nothing because the key is there.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple, TypeGuard

__all__ = ["ROOT", "Branch", "asked_first", "branches", "cores", "file_of", "functions", "rejects"]

ROOT: Final = Path(__file__).parent.parent.parent
ROOTS: Final = (
    "broker.core",
    "port_agents.agent",
    "auth_workers.session",
    "auth_workers.policy",
    "auth_workers.charging",
    "auth_workers.authenticators.local",
    "auth_workers.authenticators.one_time_code",
    "auth_workers.authenticators.radius",
    "dialgate.calls",
    "dialgate.user_copy",
)
"""What decides in each program: its core; who judges a caller; which users are known on a site;
which records are new.  All that they import is looked through, so a module that is new is on the
list by itself."""
NO_CORES: Final = (
    "dialgate.codes",
    "dialgate.database",
    "dialgate.errors",
    "dialgate.keys",
    "dialgate.settings",
    "dialgate.state",
    "dialgate.text",
    "auth_workers.kinds",
    "auth_workers.radius.accountant",
    "auth_workers.radius.accounting",
    "auth_workers.radius.client",
    "auth_workers.radius.ledger",
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
    "dialgate.users": [
        "tests/auth_workers/authenticators/test_local.py",
        "tests/dialgate/cli/test_users.py",
        "tests/dialgate/test_user_sync.py",
    ],
    "dialgate.wire.fields": ["tests/dialgate/wire/test_bodies.py"],
    "dialgate.wire.body_codec": ["tests/dialgate/wire/test_bodies.py"],
    "port_agents.admission": ["tests/port_agents/test_line.py"],
    "port_agents.agent": ["tests/port_agents/test_line.py"],
    "port_agents.brokers": ["tests/port_agents/test_agent.py"],
    "port_agents.call": ["tests/port_agents/test_line.py"],
    "port_agents.dialog": ["tests/port_agents/test_agent.py"],
    "port_agents.exchange": [
        "tests/port_agents/test_dialog.py",
        "tests/port_agents/test_dialog_table.py",
    ],
    "port_agents.line": [
        "tests/port_agents/test_line_callers.py",
        "tests/port_agents/test_line_down.py",
        "tests/port_agents/test_agent.py",
    ],
    "port_agents.line_call": [
        "tests/port_agents/test_line.py",
        "tests/port_agents/test_line_callers.py",
        "tests/port_agents/test_ppp.py",
        "tests/port_agents/test_agent.py",
    ],
    "port_agents.modem": ["tests/port_agents/test_line_callers.py"],
    "port_agents.modem_arming": [
        "tests/port_agents/test_modem.py",
        "tests/port_agents/test_modem_table.py",
    ],
    "port_agents.modem_ladder": [
        "tests/port_agents/test_modem.py",
        "tests/port_agents/test_modem_table.py",
    ],
    "port_agents.orders": ["tests/port_agents/test_agent.py"],
    "port_agents.retries": ["tests/port_agents/test_dialog.py"],
}
"""Tests that are asked behind those of the module's own name."""
_EFFECTLESS: Final = frozenset({"drop", "drops", "refuse", "lost_to_sender", "misses", "error"})
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
        tree = ast.parse(file_of(module).read_text())
        found += _keys(module, tree)
        for name, function in functions(tree):
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
        if module in found or not file_of(module).exists() or module.startswith(NO_CORES):
            continue
        found.add(module)
        for node in ast.parse(file_of(module).read_text()).body:
            if isinstance(node, ast.ImportFrom) and node.module:
                todo += [node.module, *(f"{node.module}.{each.name}" for each in node.names)]
    return tuple(sorted(found))


def file_of(module: str) -> Path:
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


def functions(tree: ast.Module) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
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
            if rejects(node.body):
                yield from _conditions(module, name, node.test, value=False)
            elif node.orelse and not isinstance(node.orelse[0], ast.If) and rejects(node.orelse):
                yield from _conditions(module, name, node.test, value=True)
        elif isinstance(node, ast.match_case) and node.guard is not None and rejects(node.body):
            yield from _conditions(module, name, node.guard, value=False)
        elif isinstance(node, ast.Match):
            yield from _cases(module, name, node)
        elif isinstance(node, ast.While) and not isinstance(node.test, ast.Constant):
            # Who asks again and again has a bound; a loop that waits for nobody ends by itself.
            if any(isinstance(each, ast.Await) for each in ast.walk(node)):
                yield from _conditions(module, name, node.test, value=True)
        elif _calls(node, "where"):
            for condition in node.args:
                if not isinstance(condition, ast.Starred):
                    yield from _conditions(module, name, condition, value=True)
        elif isinstance(node, ast.Return | ast.Assign | ast.keyword):
            given = node.value
            if isinstance(given, ast.IfExp):
                yield from _choice(module, name, given)
            if isinstance(given, ast.BoolOp) and isinstance(given.op, ast.And):
                yield from _operands(module, name, given, value=True)


def _keys(module: str, tree: ast.Module) -> Iterator[Branch]:
    """Yield the statements, made when the module is, that leave alone what has their key."""
    for node in ast.walk(ast.Module([x for x in tree.body if isinstance(x, ast.AnnAssign)], [])):
        if _calls(node, "on_conflict_do_nothing"):
            text = ast.unparse(node)
            yield Branch(module, "", node.lineno, node.col_offset, -1, True, text)


def _calls(node: ast.AST, method: str) -> TypeGuard[ast.Call]:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == method
    )


def _cases(module: str, name: str, match: ast.Match) -> Iterator[Branch]:
    """Yield the rows of a table that reject where another of the same event does not."""
    if all(rejects(case.body) for case in match.cases):
        return
    for index, case in enumerate(match.cases):
        if rejects(case.body) and not isinstance(case.body[0], ast.Raise | ast.Return):
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


def rejects(body: list[ast.stmt]) -> bool:
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
