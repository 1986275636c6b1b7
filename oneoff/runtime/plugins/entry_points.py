"""Read the entry points of installed plug-ins, without importing anything.

The metadata files are read as text: importlib.metadata costs 25 ms at every start.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # typing's own constant would cost 5 ms at every start
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

GROUPS = COMMANDS, RESOURCES, EVENTS = "commands", "resources", "events"
"""The entry-point groups, without `oneoff.`: packages of commands (`reports = acme.commands`),
providers by the names of their resources (`mailer = acme.mail:open_mailer`), and functions that
return a listener (`tracing = acme.tracing:listener`)."""
_PREFIX = "oneoff."


class EntryPoint:
    """One line of the metadata of an installed distribution.

    Attributes:
        group: The entry-point group, without `oneoff.`: one of `GROUPS`.
        name: The name before `=`.
        value: The import string after `=`: "package.module" or "package.module:attribute".
        distribution: Name and version of the distribution, as its metadata folder is named:
            "acme_reports 1.0".
    """

    __slots__ = ("distribution", "group", "name", "value")

    def __init__(self, group: str, name: str, value: str, distribution: str) -> None:
        self.group = group
        self.name = name
        self.value = value
        self.distribution = distribution


def installed_entry_points(search_path: Sequence[str] | None = None) -> list[EntryPoint]:
    """Return the entry points of all groups of oneoff, in the order of the import path.

    Args:
        search_path: Folders to search instead of `sys.path`.
    """
    found: dict[str, list[EntryPoint]] = {}
    for folder in sys.path if search_path is None else search_path:
        for info in _metadata_folders(folder or "."):
            text = _read(os.path.join(folder, info, "entry_points.txt"))
            if f"[{_PREFIX}" in text:
                title = info.rpartition(".")[0]
                # The first installation on the path hides the others, as in imports.
                name = title.partition("-")[0].lower()
                found.setdefault(name, list(_parsed(text, title.replace("-", " ", 1))))
    return [point for points in found.values() for point in points]


def _metadata_folders(folder: str) -> list[str]:
    try:
        return sorted(
            name for name in os.listdir(folder) if name.endswith((".dist-info", ".egg-info"))
        )
    except OSError:
        return []


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except (OSError, UnicodeDecodeError):
        return ""


def _parsed(text: str, distribution: str) -> Iterator[EntryPoint]:
    """Yield the lines `name = value` of our groups, without the extras after a value."""
    group = ""
    for line in map(str.strip, text.splitlines()):
        name, equals, value = line.partition("=")
        if line.startswith("["):
            section = line.strip("[] ")
            group = section.removeprefix(_PREFIX) if section.startswith(_PREFIX) else ""
        elif group in GROUPS and equals and not line.startswith(("#", ";")):
            yield EntryPoint(group, name.strip(), value.partition("[")[0].strip(), distribution)
