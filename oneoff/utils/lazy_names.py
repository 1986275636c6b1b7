"""Load the public names of a package when they are first used (PEP 562).

`oneoff/__init__.py` does the same without this module, to save an import at start-up.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module


def lazy_names(
    package: str, names_by_module: Mapping[str, Sequence[str]]
) -> Callable[[str], object]:
    """Return a package's `__getattr__`.

    Args:
        package: Its `__name__`.
        names_by_module: The names that each module defines.
    """
    module_of = {name: module for module, names in names_by_module.items() for name in names}

    def load(name: str) -> object:
        if name not in module_of:
            message = f"module {package!r} has no attribute {name!r}"
            raise AttributeError(message)
        value: object = getattr(import_module(module_of[name]), name)
        setattr(sys.modules[package], name, value)
        return value

    return load
