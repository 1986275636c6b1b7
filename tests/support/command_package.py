"""A package of commands whose files a test writes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from oneoff.runtime.registry.registry import Registry

NAME = "ninth"
COMMAND = '''
from oneoff import Access, Argument, BaseCommand, Flag, Option, Result, Secret, SecretStr


class Report(BaseCommand):
    """Write a report."""

    examples = ("report",)

    {inputs}

    async def handle(self{resources}) -> Result:
        return Result.unchanged("written")
'''


def command(inputs: str = "", resources: str = "") -> str:
    """Return the source of a command."""
    return COMMAND.format(inputs=inputs, resources=resources)


class Package:
    """The package `ninth` in a folder.

    Args:
        folder: The folder in which the package is created.
    """

    def __init__(self, folder: Path) -> None:
        self.root = str(folder)
        self._folder = folder / NAME
        self._folder.mkdir()
        self.write(__init__="")

    def write(self, **texts: str) -> None:
        """Write modules of the package; the keywords are their names, the values their sources."""
        for name, text in texts.items():
            (self._folder / f"{name}.py").write_text(text)

    def registry(self) -> Registry:
        """Return a registry of only this package."""
        return Registry((NAME,), self.root)


@contextmanager
def importable(folder: Path) -> Iterator[Package]:
    """Create the package; its imported modules are removed from `sys.modules` at the end."""
    sys.path.insert(0, str(folder))
    try:
        yield Package(folder)
    finally:
        sys.path.remove(str(folder))
        for name in [name for name in sys.modules if name.partition(".")[0] == NAME]:
            del sys.modules[name]
