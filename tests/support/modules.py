"""A module whose source a test writes."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path


class Module:
    """A module in a folder that is on `sys.path`.

    Attributes:
        name: Its name.
        folder: Its folder.
    """

    name = "module_of_a_test"

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, source: str, *, again: bool = False) -> None:
        """Write the source. A second one, of another length, replaces what was imported."""
        (self.folder / f"{self.name}.py").write_text(source)
        importlib.invalidate_caches()
        if again:
            sys.modules.pop(self.name, None)
