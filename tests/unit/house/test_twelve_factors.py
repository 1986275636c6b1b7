"""The table of the twelve factors names files and tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "explanation" / "twelve-factor.md"
LOCKS = sorted(path.name for path in ROOT.glob("requirements*.txt"))
_ROW = re.compile(r"^\| ([IVX]+)\. [^|]+ \| [^|]+ \| ([^|]+) \| `([^|]+)` \|$", re.MULTILINE)
_PACKAGE = re.compile(r"^[a-z0-9][^\n]*==[^\n]*\\\n((?:    --hash=[^\n]*\n?)*)", re.MULTILINE)
NUMERALS = "I II III IV V VI VII VIII IX X XI XII".split()


def rows() -> list[tuple[str, list[str], str]]:
    """Return factor, files and test of each row."""
    found = _ROW.findall(PAGE.read_text(encoding="utf-8"))
    return [(factor, re.findall(r"`([^`]+)`", where), test) for factor, where, test in found]


def missing(files: list[str], test: str) -> list[str]:
    """Return the files that do not exist, and the test if it does not."""
    path, _, name = test.partition("::")
    source = ROOT / path
    found = source.is_file() and f"def {name}(" in source.read_text(encoding="utf-8")
    return [file for file in files if not (ROOT / file).exists()] + [test] * (not found)


def test_each_factor_names_files_and_a_test_that_exist() -> None:
    """A file or test that is renamed leaves its factor without a proof."""
    table = rows()

    assert NUMERALS == [factor for factor, _, _ in table]
    assert [] == [name for _, files, test in table for name in missing(files, test)]
    assert all(files for _, files, _ in table)


def test_a_missing_file_or_test_is_found() -> None:
    """A file, a function, and the file of a function."""
    here = "tests/unit/house/test_twelve_factors.py"
    tests = [f"{here}::test_nothing", "tests/none.py::test_a_missing_file_or_test_is_found"]

    assert ["app/none.py"] == missing(
        ["app/none.py", "Procfile"], f"{here}::test_a_missing_file_or_test_is_found"
    )
    assert tests == [name for test in tests for name in missing([], test)]


@pytest.mark.parametrize("lock", LOCKS)
def test_each_lock_has_a_hash_for_each_package_and_names_no_server(lock: str) -> None:
    """Pip refuses what was not locked, and everybody uses the package server of their own."""
    text = (ROOT / lock).read_text(encoding="utf-8")
    names = re.findall(r"^[a-z0-9][^\s=]*==", text, re.MULTILINE)
    hashes = _PACKAGE.findall(text)

    assert len(names) > 5
    assert len(names) == len([found for found in hashes if found])
    assert not re.search(r"://|^--(?:extra-)?index", text, re.MULTILINE)
