"""Every package of the framework has tests, in the folder of the same name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
COMMANDS = "tests/commands"

COMPLETE = (
    "oneoff/core/command.py",
    "oneoff/commands/shell.py",
    "oneoff/commands/system/health.py",
    "oneoff/commands/system/maintenance/on.py",
    "oneoff/database/__init__.py",
    "oneoff/database/locks/base.py",
    "oneoff/services/__init__.py",
    "tests/unit/core/test_command.py",
    "tests/commands/test_shell.py",
    "tests/commands/test_system_health.py",
    "tests/commands/test_system_maintenance.py",
    "tests/servers/database/locks/test_base.py",
)


def untested(root: Path) -> Iterator[str]:
    """Yield the packages of `oneoff` that have modules but no tests.

    The tests of `oneoff/commands/x` are `tests/commands/test_x.py` or `tests/commands/test_x_*.py`.
    """
    for folder in sorted({module.parent for module in (root / "oneoff").rglob("*.py")}):
        modules = {module.name for module in folder.glob("*.py")} - {"__init__.py"}
        if not modules or folder.name == "versions":  # revisions: a folder of scripts
            continue
        places = list(_places(folder.relative_to(root / "oneoff").as_posix()))
        if not any(_holds(root, place) for place in places):
            yield f"{folder.relative_to(root).as_posix()}: no test is {' or '.join(places)}"


def _places(package: str) -> Iterator[str]:
    noun = package.removeprefix("commands").strip("/").replace("/", "_")
    if not package.startswith("commands"):
        yield f"tests/unit/{package}/test_*.py"
        yield f"tests/servers/{package}/test_*.py"
    elif noun:
        yield f"{COMMANDS}/test_{noun}.py"
        yield f"{COMMANDS}/test_{noun}_*.py"
    else:
        yield f"{COMMANDS}/test_*.py"


def _holds(root: Path, place: str) -> bool:
    return any(root.glob(place))


def packages_among_tests(root: Path) -> list[str]:
    """Return the `__init__.py` files in folders of tests."""
    folders = (root / "tests/unit", root / "tests/servers")
    found = (path for folder in folders for path in folder.rglob("__init__.py"))
    return sorted(path.relative_to(root).as_posix() for path in found)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Make a small repository that follows the rule."""
    write(tmp_path, COMPLETE)
    return tmp_path


def write(root: Path, names: Iterable[str]) -> None:
    """Write empty files."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("")


def test_every_package_of_the_framework_has_tests() -> None:
    """The tests of a package are in the folder with the same name."""
    assert [] == list(untested(ROOT))


def test_a_complete_tree_has_no_finding(tree: Path) -> None:
    """A package without modules needs no tests."""
    assert [] == list(untested(tree))


@pytest.mark.parametrize(
    ("test", "package"),
    [
        ("tests/unit/core/test_command.py", "oneoff/core"),
        ("tests/servers/database/locks/test_base.py", "oneoff/database/locks"),
        ("tests/commands/test_system_maintenance.py", "oneoff/commands/system/maintenance"),
    ],
)
def test_a_package_without_tests_is_found(tree: Path, test: str, package: str) -> None:
    """The finding contains the folder where they are missing."""
    (tree / test).unlink()

    (finding,) = untested(tree)

    assert f"{package}: no test is tests/" in finding


def test_tests_of_a_subpackage_do_not_count_for_its_parent(tree: Path) -> None:
    """Tests of `oneoff/database/locks` do not cover a module of `oneoff/database`."""
    write(tree, ["oneoff/database/engine.py"])

    (finding,) = untested(tree)

    assert finding.startswith("oneoff/database: no test is tests/unit/database/test_*.py or ")


def test_a_new_noun_of_commands_needs_tests(tree: Path) -> None:
    """Tests of a noun that starts with the same letters do not count."""
    write(tree, ["oneoff/commands/sys/info.py"])

    assert ["oneoff/commands/sys"] == [text.partition(":")[0] for text in untested(tree)]


def test_no_folder_of_tests_is_a_package(tree: Path) -> None:
    """A package `redis` here would hide the library of this name from every test."""
    assert [] == packages_among_tests(ROOT)

    write(tree, ["tests/unit/redis/__init__.py"])

    assert ["tests/unit/redis/__init__.py"] == packages_among_tests(tree)
