"""Only the composition root may name modules by import strings."""

from __future__ import annotations

import ast
import re
from importlib import import_module
from pathlib import Path

from oneoff.core.project import load_object
from oneoff.runtime.container import BUILTIN
from oneoff.runtime.registry.packages import BUILT_IN

ROOT = Path(__file__).resolve().parents[3]
LAYERS = ("runtime", "database", "redis", "config", "core", "utils")
IMPORT_STRING = re.compile(r"oneoff(\.\w+)+(:\w+)?")
ROOT_OF_COMPOSITION = {
    "oneoff/runtime/container.py": set(BUILTIN.values()),
    "oneoff/runtime/registry/packages.py": {BUILT_IN},
}


def test_every_import_string_of_the_composition_root_exists() -> None:
    """Providers are functions, and the package of built-in commands can be imported."""
    providers = [load_object(text) for text in BUILTIN.values()]

    assert all(map(callable, providers))
    assert BUILT_IN == import_module(BUILT_IN).__name__


def test_no_other_module_uses_import_strings() -> None:
    """Import contracts do not see such an import."""
    found = {
        path.relative_to(ROOT).as_posix(): strings
        for layer in LAYERS
        for path in (ROOT / "oneoff" / layer).rglob("*.py")
        if (strings := _import_strings(path))
    }

    assert ROOT_OF_COMPOSITION == found


def _import_strings(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    texts = (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant))
    return {text for text in texts if isinstance(text, str) and IMPORT_STRING.fullmatch(text)}
