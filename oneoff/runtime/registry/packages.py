"""Find packages of commands and their modules, without importing anything."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # typing's own constant would cost 5 ms at every start
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    Module = tuple[str, str, os.DirEntry[str], bool]
    """One source file of a package of commands: the name of its command, or of its group if it is
    an `__init__.py`; its dotted name; its directory entry; whether it belongs to a group. A tuple,
    because 500 instances of a class would slow the start-up down noticeably."""

BUILT_IN = "oneoff.commands"
SUFFIX = ".py"


def is_name(text: str) -> bool:
    """Return whether a file or folder with this name, without its suffix, can be a command."""
    return text.isidentifier() and not text.startswith("_")


def parts_of(words: Iterable[str]) -> list[str]:
    """Return the first words that can be parts of a command's name, as files spell them."""
    parts = []
    for word in words:
        part = word.replace("-", "_")
        if "_" in word or not is_name(part):
            break
        parts.append(part)
    return parts


def locate(package: str, root: str) -> tuple[str, ...]:
    """Return the folders of a package in which an import would look; none if it doesn't exist.

    Args:
        package: Dotted name.
        root: The project's root folder, the first entry of `sys.path`.
    """
    top, *rest = package.split(".")
    bases = _top_level(top, root)
    # The search path of a package without __init__.py may contain one folder in two spellings.
    folders: dict[str, str] = {}
    for base in bases:
        folder = os.path.join(base, *rest)
        folders.setdefault(os.path.realpath(folder), folder)
    return tuple(folder for folder in folders.values() if os.path.isdir(folder))


def _top_level(name: str, root: str) -> Sequence[str]:
    if name in sys.modules:
        return list(getattr(sys.modules[name], "__path__", ()))
    folder = os.path.join(root, name)
    if os.path.isfile(os.path.join(folder, "__init__.py")):
        return [folder]
    from importlib.util import find_spec  # costs 2 ms, and most projects don't need it

    spec = find_spec(name)
    return list(spec.submodule_search_locations or ()) if spec else []


def walk(folder: str, package: str) -> list[Module]:
    """Return every command module and group in a package's folder, in no particular order."""
    found: list[Module] = []
    _walk(folder, package, "", frozenset(), found)
    return found


def _walk(
    folder: str, package: str, prefix: str, above: frozenset[tuple[int, int]], found: list[Module]
) -> None:
    with os.scandir(folder) as entries:
        for entry in entries:
            stem = entry.name.removesuffix(SUFFIX)
            if entry.name == "__init__.py":
                found.append((prefix.rstrip(), package, entry, True))
            elif not is_name(stem):
                continue
            elif stem != entry.name:
                name = prefix + stem.replace("_", "-")
                found.append((name, f"{package}.{stem}", entry, False))
            elif entry.is_dir() and (identity := _identity(entry)) not in above:
                # Without the check, a link to one of its own parents would be followed endlessly.
                deeper = f"{prefix}{stem.replace('_', '-')} "
                _walk(entry.path, f"{package}.{stem}", deeper, above | {identity}, found)


def _identity(entry: os.DirEntry[str]) -> tuple[int, int]:
    stat = entry.stat()
    return stat.st_dev, stat.st_ino
