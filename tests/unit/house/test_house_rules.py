"""Rules for the code of this repository that no linter checks.

Each rule is also tested with code that breaks it: a rule that never finds anything proves nothing.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

Rule = Callable[[str, ast.Module], Iterator[str]]

ROOT = Path(__file__).resolve().parents[3]
FOLDERS = ("oneoff", "app", "commands", "migrations", "tests", "benchmarks")
LONGEST_MODULE = 400
LONGEST_FUNCTION = 50
EVERYTHING = {"Exception", "BaseException"}

COMMITTERS = {
    "oneoff/runtime/executor.py": "step 8 of a run",
    "oneoff/runtime/audit/record.py": "a run's record stays when its work is rolled back",
    "oneoff/database/transaction.py": "the transaction the executor commits",
    "oneoff/database/engine.py": "a transaction of the framework's own",
    "oneoff/database/schema/upgrade.py": "the framework's own tables",
    "oneoff/services/migrations/env_file.py": "what env.py did on its own connection",
    "oneoff/services/batch/transactions.py": "one transaction a batch, with its checkpoint in it",
    "oneoff/services/shell/session.py": "ends the transaction of an input that only read",
    "oneoff/commands/db/reset.py": "seeds, in a transaction after the migrations' own",
}


def modules_are_short(name: str, tree: ast.Module) -> Iterator[str]:
    """Yield a module with more lines than the limit."""
    length = max((node.end_lineno or 0 for node in tree.body), default=0)
    if length > LONGEST_MODULE:
        yield f"{name}: {length} lines; split it, {LONGEST_MODULE} are the limit"


def functions_are_short(name: str, tree: ast.Module) -> Iterator[str]:
    """Yield functions with more lines than the limit, without docstrings. Revisions are exempt."""
    if "/versions/" in name:
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = _length(node)
            if length > LONGEST_FUNCTION:
                yield (
                    f"{name}:{node.lineno} {node.name}: {length} lines; {LONGEST_FUNCTION} "
                    "are the limit"
                )


def no_error_is_swallowed(name: str, tree: ast.Module) -> Iterator[str]:
    """Yield handlers that hide every error, including bugs."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler):
            everything = node.type is None or bool(_names(node.type) & EVERYTHING)
            hides = everything and all(isinstance(line, ast.Pass) for line in node.body)
        else:
            hides = _calls(node, "suppress") and bool(_names(node) & EVERYTHING)
        if hides:
            yield f"{name}:{_line(node)} swallows every error; name the ones that are meant"


def only_owners_commit(name: str, tree: ast.Module) -> Iterator[str]:
    """Yield commits outside the modules that may commit: a dry run must be able to roll back."""
    if name.startswith(("oneoff/", "app/", "commands/")) and name not in COMMITTERS:
        for node in ast.walk(tree):
            if _calls(node, "commit"):
                yield f"{name}:{_line(node)} commits; leave that to the executor"


def nobody_calls_input(name: str, tree: ast.Module) -> Iterator[str]:
    """Yield calls of `input`, which fails without a terminal and can't be interrupted."""
    for node in ast.walk(tree):
        if _calls(node, "input"):
            yield f"{name}:{_line(node)} asks by itself; oneoff/runtime/terminal.py does that"


def the_framework_knows_no_project(name: str, tree: ast.Module) -> Iterator[str]:
    """Yield imports of the reference project by the framework, also for types."""
    if name.startswith("oneoff/"):
        for node in ast.walk(tree):
            if _imported(node) & {"app", "commands"}:
                yield f"{name}:{_line(node)} imports the project"


def sqlite_connections_are_closed(name: str, tree: ast.Module) -> Iterator[str]:
    """Yield SQLite connections without `closing(...)`: `with` alone commits, but does not close."""
    calls = [node for node in ast.walk(tree) if _connects_to_sqlite(node)]
    closed = [
        inner
        for node in ast.walk(tree)
        if _calls(node, "closing") or _calls(node, "close")
        for inner in ast.walk(node)
    ]
    for node in calls:
        if node not in closed:
            yield f"{name}:{_line(node)} may leave a connection open; use closing(...)"


RULES = (
    modules_are_short,
    functions_are_short,
    no_error_is_swallowed,
    only_owners_commit,
    nobody_calls_input,
    the_framework_knows_no_project,
    sqlite_connections_are_closed,
)
BROKEN = (
    (modules_are_short, "\n" * LONGEST_MODULE + "x = 1"),
    (functions_are_short, "def long():\n" + "    x = 1\n" * (LONGEST_FUNCTION + 1)),
    (no_error_is_swallowed, "try:\n    x = 1\nexcept:\n    pass"),
    (no_error_is_swallowed, "try:\n    x = 1\nexcept Exception as exc:\n    pass"),
    (no_error_is_swallowed, "try:\n    x = 1\nexcept (OSError, BaseException):\n    pass"),
    (no_error_is_swallowed, "with suppress(Exception):\n    x = 1"),
    (no_error_is_swallowed, "with contextlib.suppress(OSError, Exception):\n    x = 1"),
    (only_owners_commit, "session.commit()"),
    (only_owners_commit, "async def f():\n    await self.session.commit()"),
    (nobody_calls_input, "answer = input('sure? ')"),
    (the_framework_knows_no_project, "import app.models"),
    (the_framework_knows_no_project, "if TYPE_CHECKING:\n    from commands.user import list"),
    (the_framework_knows_no_project, "def f():\n    from app import users"),
    (sqlite_connections_are_closed, "with sqlite3.connect(path) as connection:\n    x = 1"),
    (sqlite_connections_are_closed, "connection = sqlite3.connect(path)\nconnection.close()"),
)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_all_code_follows_the_house_rules(rule: Rule) -> None:
    """In the framework, the project, the tests and the benchmarks."""
    broken = [line for name, tree in _sources() for line in rule(name, tree)]

    assert [] == broken


@pytest.mark.parametrize(("rule", "code"), BROKEN)
def test_each_rule_finds_code_that_breaks_it(rule: Rule, code: str) -> None:
    """It has one finding for each example."""
    assert 1 == len(list(rule("oneoff/example.py", ast.parse(code))))


def test_every_module_that_may_commit_does() -> None:
    """A module that does not commit must be removed from the list."""
    committing = {
        name
        for name, tree in _sources()
        if name in COMMITTERS and any(_calls(node, "commit") for node in ast.walk(tree))
    }

    assert set(COMMITTERS) == committing


def _sources() -> Iterator[tuple[str, ast.Module]]:
    """Yield each module's path and syntax tree, except benchmark code for other frameworks."""
    for path in sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        if not name.startswith(("benchmarks/projects/", "benchmarks/.")):
            yield name, ast.parse(path.read_text(encoding="utf-8"), name)


def _length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Count the lines from the first statement after the docstring to the last."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return (function.end_lineno or 0) - body[0].lineno + 1 if body else 0


def _calls(node: ast.AST, name: str) -> bool:
    """Return whether this is a call `name(...)` or `something.name(...)`."""
    if not isinstance(node, ast.Call):
        return False
    return name == getattr(node.func, "attr", getattr(node.func, "id", None))


def _connects_to_sqlite(node: ast.AST) -> bool:
    return _calls(node, "connect") and "sqlite3" in _names(node)


def _names(node: ast.AST) -> set[str]:
    return {name.id for name in ast.walk(node) if isinstance(name, ast.Name)}


def _imported(node: ast.AST) -> set[str]:
    """Return the top-level packages that an import statement names."""
    if isinstance(node, ast.Import):
        return {alias.name.partition(".")[0] for alias in node.names}
    if isinstance(node, ast.ImportFrom) and node.module and not node.level:
        return {node.module.partition(".")[0]}
    return set()


def _line(node: ast.AST) -> int:
    return int(getattr(node, "lineno", 0))
