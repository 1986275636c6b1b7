"""The public API: its names, their page, and its imports."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PUBLIC = (
    "oneoff",
    "oneoff.cli",
    "oneoff.testing",
    "oneoff.integrations.asgi",
    "oneoff.integrations.arq",
    "oneoff.integrations.process_logs",
)
LAZY = ("oneoff", "oneoff.integrations.asgi", "oneoff.integrations.arq")
WITHOUT_LIST = {"oneoff.integrations.process_logs": ["WORKER_LOGGING", "configure_logging"]}
"""A module that is public, and has internal names too."""


def names_of(module: str) -> list[str]:
    """Return the public names of a module."""
    return sorted(WITHOUT_LIST.get(module) or import_module(module).__all__)


@pytest.mark.parametrize("module", PUBLIC)
def test_every_public_name_exists(module: str) -> None:
    """Each can be imported."""
    loaded = import_module(module)

    assert [] == [name for name in names_of(module) if not hasattr(loaded, name)]


@pytest.mark.parametrize("module", LAZY)
def test_type_checkers_see_the_names_that_are_loaded(module: str) -> None:
    """The imports for type checkers and the table are the same."""
    loaded = import_module(module)
    tree = ast.parse(Path(str(loaded.__file__)).read_text(encoding="utf-8"))
    imported = {
        (str(node.module).removeprefix("oneoff."), alias.asname)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname
    }

    assert imported == {
        (home.removeprefix("oneoff."), name)
        for home, names in loaded._NAMES_BY_MODULE.items()
        for name in names
    }


def test_importing_oneoff_loads_nothing_else() -> None:
    """Each name is loaded when it is first used."""
    code = "import sys, oneoff; print([name for name in sys.modules if name[:7] == 'oneoff.'])"

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert "[]\n" == done.stdout


def test_a_middleware_loads_no_database() -> None:
    """An application without it does not need to load SQLAlchemy."""
    code = """
import sys
from oneoff.integrations.asgi import MaintenanceMiddleware, RequestIdMiddleware
print("sqlalchemy" in sys.modules)
"""

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert "False\n" == done.stdout


@pytest.mark.parametrize("module", PUBLIC)
def test_the_page_of_public_names_is_complete(module: str) -> None:
    """It has a line for each name, in the section of its module."""
    page = (ROOT / "docs/reference/public-names.md").read_text(encoding="utf-8")
    section = page.partition(f"\n## {module}\n")[2].partition("\n## ")[0]

    assert names_of(module) == sorted(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE))


def test_scripts_and_docs_import_only_public_names() -> None:
    """Contracts check only packages. This checks `manage.py`, migrations and docs."""
    past = [
        f"{name}: {module}"
        for name, module in _imports_outside_of_packages()
        if module.partition(".")[0] == "oneoff" and module not in PUBLIC
    ]

    assert [] == past


def _imports_outside_of_packages() -> Iterator[tuple[str, str]]:
    sources = [ROOT / "manage.py", *(ROOT / "migrations").rglob("*.py")]
    sources += (ROOT / "tests/acceptance/project").rglob("*.py")
    for path in sources:
        yield from _imports(path, path.read_text(encoding="utf-8"))
    for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for block in re.findall(
            r"```python\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL
        ):
            yield from _imports(path, block)


def _imports(path: Path, text: str) -> Iterator[tuple[str, str]]:
    # By text: an example on a page may be a part of a module.
    for module in re.findall(r"^\s*(?:from|import) (oneoff[\w.]*)", text, re.MULTILINE):
        yield path.relative_to(ROOT).as_posix(), module
