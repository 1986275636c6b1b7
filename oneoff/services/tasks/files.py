"""Find the files of the catalogue that are out of date, and write them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from oneoff.core.errors import ConfigurationError
from oneoff.core.task import ID
from oneoff.services.tasks.catalogue import read_catalogue
from oneoff.services.tasks.page import GENERATED, pages

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oneoff.core.project import Project
    from oneoff.runtime.registry.registry import Registry


class StaleFile(NamedTuple):
    """A file that differs from the declarations; without a text it is to be deleted."""

    path: Path
    text: str | None


def stale_files(folder: Path, registry: Registry, project: Project) -> list[StaleFile]:
    """Return the files of a folder that differ from the catalogue.

    Raises:
        ConfigurationError: A command can't be imported, so the catalogue would be incomplete.
    """
    catalogue = read_catalogue(registry, project)
    if catalogue.broken:
        raise ConfigurationError(
            "; ".join(catalogue.warnings),
            why="the catalogue would be incomplete",
            try_="python manage.py commands check",
            code="command-broken",
        )
    wanted = {page.name: page.text for page in pages(catalogue, registry)}
    stale = [
        StaleFile(folder / name, text)
        for name, text in wanted.items()
        if _read(folder / name) != text
    ]
    # Only files that this command has written before are deleted.
    old = [path for path in sorted(folder.glob("*.md")) if ID.fullmatch(path.stem)]
    return stale + [
        StaleFile(path, None)
        for path in old
        if path.name not in wanted and GENERATED in (_read(path) or "")
    ]


def write(files: Sequence[StaleFile]) -> None:
    """Write or delete the files."""
    for file in files:
        if file.text is None:
            file.path.unlink()
        else:
            file.path.parent.mkdir(parents=True, exist_ok=True)
            file.path.write_text(file.text, encoding="utf-8")


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None
