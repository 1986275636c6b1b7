"""The public API: its names, their page, and its imports."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from scripts.site.hooks import api_pages, with_links_to_the_api

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


@pytest.mark.parametrize("module", PUBLIC)
def test_the_api_on_the_site_has_each_public_name(module: str) -> None:
    """The page of public names links to its entry."""
    page = (ROOT / "docs/reference/public-names.md").read_text(encoding="utf-8")
    names = [f"{module}.{name}" for name in names_of(module)]
    entries = api_pages(page)[f"reference/api/{module}.md"]
    linked = with_links_to_the_api(page)

    assert names == sorted(re.findall(r"^::: (.+)$", entries, re.MULTILINE))
    assert [] == [name for name in names if f"(api/{module}.md#{name})" not in linked]


@pytest.mark.parametrize("module", PUBLIC)
def test_docstrings_of_public_names_explain_every_argument(module: str) -> None:
    """Functions, classes and their public methods: the reference is made from them."""
    loaded = import_module(module)

    assert [] == [gap for name in names_of(module) for gap in gaps(name, getattr(loaded, name))]


def test_a_missing_docstring_or_argument_is_found() -> None:
    """In a function, in the arguments of a class, and in a method."""

    def undocumented(size: int) -> None: ...

    class Open:
        """Open it.

        Args:
            path: Where it is.
        """

        def __init__(self, path: str, mode: str) -> None: ...

        def close(self, wait: float) -> None:
            """Close it."""

    assert ["f: no docstring"] == list(gaps("f", undocumented))
    assert ["Open: mode", "Open.close: wait"] == list(gaps("Open", Open))


DOCUMENTED_AT_BASE = {"ActiveConnections", "Autovacuum", "BatchTime", "LockWaiters", "ReplicaLag"}
"""The probes: `Throttle.reason` explains the argument of their methods."""
BY_ATTRIBUTES = {"Result", "HeldLock"}
"""Arguments that are the attributes of the class, or that only the framework passes."""


def gaps(name: str, value: Any) -> Iterator[str]:
    """Yield what the docstring of a public name lacks, and those of its public methods."""
    if isinstance(value, type):
        yield from _of_class(name, value)
    elif inspect.isfunction(value):
        yield from _of_function(name, value, value.__doc__)


def _of_class(name: str, cls: type) -> Iterator[str]:
    own = vars(cls)
    documents_fields = "__dataclass_fields__" in own or name in BY_ATTRIBUTES
    if not cls.__doc__:
        yield f"{name}: no docstring"
    elif "__init__" in own and not documents_fields and not getattr(cls, "_is_protocol", False):
        yield from _of_function(name, own["__init__"], f"{cls.__doc__}{own['__init__'].__doc__}")
    if name in DOCUMENTED_AT_BASE | BY_ATTRIBUTES:
        return
    for method, value in own.items():
        function = getattr(value, "__func__", value)
        if not method.startswith("_") and inspect.isfunction(function):
            yield from _of_function(f"{name}.{method}", function, function.__doc__)


def _of_function(name: str, function: Callable[..., Any], doc: str | None) -> Iterator[str]:
    if not doc:
        yield f"{name}: no docstring"
        return
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    for parameter in inspect.signature(function).parameters.values():
        word = parameter.name
        if word not in {"self", "cls"} and parameter.kind not in kinds and f"{word}:" not in doc:
            yield f"{name}: {word}"


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
