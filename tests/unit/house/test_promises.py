"""Each promise of the documentation names a test that exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PAGES = [ROOT / "docs" / "explanation" / f"{name}.md" for name in ("promises", "security")]
_ROW = re.compile(r"^\| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)
_TEST = re.compile(r"`(tests/\S+\.py)::(test_\w+)`")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_each_promise_names_a_test_that_exists(page: Path) -> None:
    """A test that is renamed or removed leaves its promise without one."""
    rows = promises(page.read_text(encoding="utf-8"))

    assert len(rows) > 20
    assert {} == {promise: test for promise, test in rows.items() if not exists(test)}


def test_a_promise_without_a_test_is_found() -> None:
    """No test, a test that does not exist, or one in a file that does not exist."""
    here = "tests/unit/house/test_promises.py"

    assert not exists("soon")
    assert not exists(f"`{here}::test_nothing`")
    assert not exists("`tests/unit/house/test_nothing.py::test_nothing`")
    assert exists(f"`{here}::test_a_promise_without_a_test_is_found`")


def promises(text: str) -> dict[str, str]:
    """Return the tests by promise."""
    heads = {"Promise", "---"}
    return {promise: test for promise, test in _ROW.findall(text) if promise not in heads}


def exists(test: str) -> bool:
    """Return whether a cell of the table names a test function."""
    found = _TEST.fullmatch(test)
    if found is None or not (ROOT / found[1]).exists():
        return False
    tree = ast.parse((ROOT / found[1]).read_text(encoding="utf-8"))
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return found[2] in {node.name for node in tree.body if isinstance(node, functions)}
